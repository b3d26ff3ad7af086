// Points in time and delays, as every deadline of Braid takes them.
//
// `Time` is a reading of the loop's monotonic clock: comparable within one run,
// meaningless across runs or hosts; it is not the wall clock. `Delay` is what a
// caller may write for "how long": any std::chrono duration, absl::Duration, or
// kForever.
//
//   co_await SleepFor(20ms);
//   co_await SleepUntil(Now() + 1s);
//   auto reply = co_await MoveOnAfter(absl::Seconds(2), client.Query(q));

#ifndef BRAID_CORE_TIME_H_
#define BRAID_CORE_TIME_H_

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <ratio>

#include "braid/core/check.h"

namespace braid {

// The clock of a loop. It has no now(): time comes from the loop's backend, so
// that a simulation can supply it.
struct LoopClock {
  using rep = int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<LoopClock, duration>;
  static constexpr bool is_steady = true;
};

using Duration = std::chrono::nanoseconds;
using Time = LoopClock::time_point;

// A deadline that never comes.
inline constexpr Time kNever = Time::max();
// A deadline that has always passed.
inline constexpr Time kAlways = Time::min();

// A length of time from the moment of the await. Rules: infinite means no
// limit, negative means already expired, a NaN is a failed check. Converts from
// every std::chrono::duration and from absl::Duration.
class Delay {
 public:
  template <typename Rep, typename Period>
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr Delay(std::chrono::duration<Rep, Period> delay)
      : nanoseconds_(Saturate(delay)) {}

  // absl::Duration, found through its own conversion so that no header of it is
  // needed here.
  template <typename D>
    requires requires(D d) {
      { ToChronoNanoseconds(d) } -> std::same_as<std::chrono::nanoseconds>;
    }
  constexpr Delay(D delay)  // NOLINT(google-explicit-constructor)
      : nanoseconds_(ToChronoNanoseconds(delay)) {}

  constexpr Duration nanoseconds() const { return nanoseconds_; }
  constexpr bool is_infinite() const { return nanoseconds_ == Duration::max(); }

 private:
  template <typename Rep, typename Period>
  static constexpr Duration Saturate(std::chrono::duration<Rep, Period> delay) {
    if constexpr (std::chrono::treat_as_floating_point_v<Rep>) {
      detail::Check(delay.count() == delay.count(),
                    "a delay is NaN; pass a number of seconds, or kForever");
    }
    // Compared in double, where no conversion can overflow; 2^63 ns are 292
    // years.
    const double ns = std::chrono::duration<double, std::nano>(delay).count();
    if (ns >= 0x1p63) return Duration::max();
    if (ns <= -0x1p63) return Duration::min();
    return std::chrono::duration_cast<Duration>(delay);
  }

  Duration nanoseconds_;
};

// No limit.
inline constexpr Delay kForever = Duration::max();

namespace detail {

// `now` + `delay`, saturating at kNever.
constexpr Time Add(Time now, Delay delay) {
  const int64_t a = now.time_since_epoch().count();
  const int64_t b = delay.nanoseconds().count();
  int64_t sum = 0;
  if (delay.is_infinite() || __builtin_add_overflow(a, b, &sum))
    return b < 0 ? kAlways : kNever;
  return Time(Duration(sum));
}

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_TIME_H_
