#include "braid/core/time.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ratio>

#include "absl/time/time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(Delay, ConvertsFromEveryDuration) {
  EXPECT_EQ(Delay(3s).nanoseconds(), 3s);
  EXPECT_EQ(Delay(7ns).nanoseconds(), 7ns);
  EXPECT_EQ(Delay(-5ms).nanoseconds(), -5ms);
  EXPECT_EQ(Delay(std::chrono::duration<double>(0.5)).nanoseconds(), 500ms);
  EXPECT_EQ(Delay(std::chrono::duration<float, std::milli>(2)).nanoseconds(),
            2ms);
  EXPECT_EQ(
      Delay(std::chrono::duration<int8_t, std::ratio<60>>(2)).nanoseconds(),
      2min);
  // Finer than a nanosecond: towards zero.
  EXPECT_EQ(
      Delay(std::chrono::duration<int64_t, std::pico>(1999)).nanoseconds(),
      1ns);
  EXPECT_EQ(Delay(absl::Seconds(2)).nanoseconds(), 2s);
  EXPECT_EQ(Delay(absl::Nanoseconds(-3)).nanoseconds(), -3ns);
  EXPECT_EQ(Delay(absl::ZeroDuration()).nanoseconds(), 0ns);
}

TEST(Delay, WhatIsTooLongIsInfinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(kForever.is_infinite());
  EXPECT_TRUE(Delay(std::chrono::hours::max()).is_infinite());
  EXPECT_TRUE(Delay(std::chrono::seconds::max()).is_infinite());
  EXPECT_TRUE(Delay(std::chrono::duration<double>(infinity)).is_infinite());
  EXPECT_TRUE(Delay(std::chrono::duration<double>(1e300)).is_infinite());
  EXPECT_TRUE(Delay(absl::InfiniteDuration()).is_infinite());
  EXPECT_TRUE(Delay(Duration::max()).is_infinite());
  EXPECT_FALSE(Delay(Duration::max() - 1h).is_infinite());

  EXPECT_EQ(Delay(std::chrono::hours::min()).nanoseconds(), Duration::min());
  EXPECT_EQ(Delay(std::chrono::duration<double>(-infinity)).nanoseconds(),
            Duration::min());
  EXPECT_EQ(Delay(-absl::InfiniteDuration()).nanoseconds(), Duration::min());
}

TEST(DelayDeathTest, NaN) {
  EXPECT_DEATH(Delay(std::chrono::duration<double>(std::nan(""))),
               "a delay is NaN; pass a number of seconds, or kForever");
}

TEST(Add, Saturates) {
  const Time now(1h);
  EXPECT_EQ(detail::Add(now, 1s), now + 1s);
  EXPECT_EQ(detail::Add(now, -2h), Time(-1h));
  EXPECT_EQ(detail::Add(now, kForever), kNever);
  EXPECT_EQ(detail::Add(now, Duration::max() - 1ns), kNever);
  EXPECT_EQ(detail::Add(Time(-1h), Duration::min()), kAlways);
  EXPECT_EQ(detail::Add(Time(-1h), Duration::max()), kNever);
  EXPECT_EQ(detail::Add(kNever, -1ns), kNever - 1ns);
}

static_assert(kAlways < Time() && Time() < kNever);
static_assert(Delay(1s).nanoseconds() == 1s);

}  // namespace
}  // namespace braid
