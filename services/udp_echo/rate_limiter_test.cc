#include "services/udp_echo/rate_limiter.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <random>

#include "gtest/gtest.h"
#include "services/udp_echo/ip_key.h"

namespace braid::udp_echo {
namespace {

using namespace std::chrono_literals;
using Verdict = RateLimiter::Verdict;

constexpr Time kStart = Time(Duration(1'000'000'000'000));
constexpr std::array<uint64_t, 2> kKey = {0x1234567890abcdef,
                                          0xfedcba0987654321};

uint64_t PrefixOf(uint32_t i) { return IpKey::V4(i << 8).Prefix(); }

int PassesOf(RateLimiter& limiter, uint64_t prefix, Time now, int tries) {
  int passed = 0;
  for (int i = 0; i < tries; ++i)
    passed += limiter.Take(prefix, now) == Verdict::kPass ? 1 : 0;
  return passed;
}

TEST(RateLimiterTest, BurstThenRate) {
  RateLimiter limiter({.rate = 10, .burst = 5}, 64, kKey);
  const uint64_t prefix = PrefixOf(1);
  EXPECT_EQ(PassesOf(limiter, prefix, kStart, 100), 5);
  EXPECT_EQ(limiter.Take(prefix, kStart + 99ms), Verdict::kLimited);
  EXPECT_EQ(limiter.Take(prefix, kStart + 100ms), Verdict::kPass);
  EXPECT_EQ(limiter.Take(prefix, kStart + 100ms), Verdict::kLimited);
  EXPECT_EQ(PassesOf(limiter, prefix, kStart + 100ms + 300ms, 100), 3);
  EXPECT_EQ(PassesOf(limiter, prefix, kStart + 1h, 100), 5)
      << "never more than the burst is saved up";
}

TEST(RateLimiterTest, WhatIsRefusedCostsNothing) {
  RateLimiter limiter({.rate = 10, .burst = 1}, 64, kKey);
  int passed = 0;
  for (int ms = 0; ms < 10'000; ++ms)
    passed += PassesOf(limiter, PrefixOf(1),
                       kStart + std::chrono::milliseconds(ms), 1);
  EXPECT_EQ(passed, 100)
      << "who sends a hundred times too much still gets the rate";
}

TEST(RateLimiterTest, PrefixesDontShare) {
  RateLimiter limiter({.rate = 1, .burst = 2}, 64, kKey);
  EXPECT_EQ(PassesOf(limiter, PrefixOf(1), kStart, 10), 2);
  EXPECT_EQ(PassesOf(limiter, PrefixOf(2), kStart, 10), 2);
  EXPECT_EQ(
      PassesOf(limiter, IpKey(0x20010db800000000, 1).Prefix(), kStart, 10), 2);
}

TEST(RateLimiterTest, NoLimit) {
  RateLimiter limiter({.rate = 0, .burst = 1}, 8, kKey);
  EXPECT_EQ(PassesOf(limiter, PrefixOf(1), kStart, 100'000), 100'000);
  EXPECT_EQ(limiter.InUse(kStart), 0u);
}

TEST(RateLimiterTest, AStepBackInTimeCountsAsNone) {
  RateLimiter limiter({.rate = 10, .burst = 2}, 64, kKey);
  EXPECT_EQ(PassesOf(limiter, PrefixOf(1), kStart + 1h, 10), 2);
  EXPECT_EQ(limiter.Take(PrefixOf(1), kStart), Verdict::kLimited);
  EXPECT_EQ(limiter.Take(PrefixOf(1), kStart + 200ms), Verdict::kPass)
      << "not locked out for an hour";
}

TEST(RateLimiterTest, ANewLimitHoldsFromTheNextDatagram) {
  RateLimiter limiter({.rate = 0.001, .burst = 3}, 64, kKey);
  EXPECT_EQ(PassesOf(limiter, PrefixOf(1), kStart, 10), 3);
  limiter.SetLimit({.rate = 10, .burst = 1});
  EXPECT_EQ(limiter.Take(PrefixOf(1), kStart), Verdict::kLimited);
  EXPECT_EQ(limiter.Take(PrefixOf(1), kStart + 100ms), Verdict::kPass)
      << "not the old limit's fifty minutes";
  limiter.SetLimit({.rate = 0, .burst = 1});
  EXPECT_EQ(PassesOf(limiter, PrefixOf(1), kStart + 100ms, 100), 100);
}

TEST(RateLimiterTest, ExtremeLimits) {
  RateLimiter slow({.rate = 1e-300, .burst = UINT32_MAX}, 8, kKey);
  EXPECT_EQ(slow.Take(PrefixOf(1), kStart), Verdict::kPass);
  EXPECT_EQ(slow.Take(PrefixOf(1), kStart), Verdict::kLimited);
  RateLimiter fast({.rate = 1e9, .burst = UINT32_MAX}, 8, kKey);
  EXPECT_EQ(PassesOf(fast, PrefixOf(1), kStart, 1000), 1000);
}

// The attack on a table that evicts the least recently used: send from enough
// other prefixes, and one's own used-up bucket is forgotten.
TEST(RateLimiterTest, AFloodOfPrefixesDoesntRefillABucket) {
  RateLimiter limiter({.rate = 1, .burst = 4}, 1024, kKey);
  EXPECT_EQ(PassesOf(limiter, PrefixOf(0), kStart, 10), 4);
  for (uint32_t i = 1; i < 200'000; ++i) limiter.Take(PrefixOf(i), kStart);
  EXPECT_EQ(PassesOf(limiter, PrefixOf(0), kStart, 10), 0);
}

TEST(RateLimiterTest, AFloodOfPrefixesGetsNoMoreThanTheTableAndOneShare) {
  RateLimiter limiter({.rate = 1, .burst = 4}, 1024, kKey);
  int passed = 0;
  int full = 0;
  for (uint32_t i = 0; i < 200'000; ++i) {
    const Verdict verdict = limiter.Take(PrefixOf(i), kStart);
    passed += verdict == Verdict::kPass ? 1 : 0;
    full += verdict == Verdict::kTableFull ? 1 : 0;
  }
  EXPECT_EQ(passed, 1024 + 4);
  EXPECT_EQ(full, 200'000 - 1024 - 4);
  EXPECT_EQ(limiter.InUse(kStart), 1024u);
  EXPECT_EQ(limiter.capacity(), 1024u);
  // A second on, one datagram's worth has been refilled everywhere: every place
  // is free again.
  EXPECT_EQ(limiter.InUse(kStart + 1s), 0u);
  EXPECT_EQ(limiter.Take(PrefixOf(300'000), kStart + 1s), Verdict::kPass);
}

TEST(RateLimiterTest, WhoHasAPlaceKeepsItsRateUnderAFlood) {
  RateLimiter limiter({.rate = 10, .burst = 10}, 1024, kKey);
  int passed = 0;
  Time now = kStart;
  uint32_t spoofed = 1;
  // 10 a second for 100 s, among 20,000 others a second.
  for (int tick = 0; tick < 1000; ++tick, now += 100ms) {
    passed += PassesOf(limiter, PrefixOf(0), now, 1);
    for (int i = 0; i < 2000; ++i)
      limiter.Take(PrefixOf(spoofed++ & 0xfffff), now + 1ms);
  }
  // Its bucket is full again just before each datagram, which frees its place;
  // the flood then has to hit it.
  EXPECT_GE(passed, 990);
}

TEST(RateLimiterTest, TheTableFillsEvenly) {
  std::mt19937_64 random(1);
  constexpr uint32_t kCapacity = 65536;
  for (int round = 0; round < 5; ++round) {
    RateLimiter limiter({.rate = 1, .burst = 1}, kCapacity,
                        {random(), random()});
    // Neighbouring prefixes, the worst case for a poor hash.
    uint32_t i = 0;
    for (; i < kCapacity * 8 / 10; ++i) {
      limiter.Take(PrefixOf(i), kStart);
      if (i == kCapacity * 40 / 100) EXPECT_EQ(limiter.InUse(kStart), i + 1);
    }
    EXPECT_GT(limiter.InUse(kStart), i - i / 50);
  }
}

// Counting all of a table of 256 MiB every second took an idle service's loop
// away for a twentieth of its time.
TEST(RateLimiterTest, OfALargeTableASampleIsCounted) {
  RateLimiter limiter({.rate = 1, .burst = 1}, 1 << 20, kKey);
  EXPECT_EQ(limiter.InUse(kStart), 0u);
  for (uint32_t i = 0; i < 300'000; ++i) limiter.Take(PrefixOf(i), kStart);
  EXPECT_NEAR(static_cast<double>(limiter.InUse(kStart)), 300'000, 6'000);
}

TEST(RateLimiterTest, CapacityIsRoundedUp) {
  EXPECT_EQ(RateLimiter({.rate = 1, .burst = 1}, 0, kKey).capacity(), 8u);
  EXPECT_EQ(RateLimiter({.rate = 1, .burst = 1}, 1000, kKey).capacity(), 1024u);
}

TEST(RateLimiterDeathTest, ImpossibleLimits) {
  EXPECT_DEATH(RateLimiter({.rate = -1, .burst = 1}, 8, kKey), "rate limit");
  EXPECT_DEATH(RateLimiter({.rate = 1, .burst = 0}, 8, kKey), "burst");
}

}  // namespace
}  // namespace braid::udp_echo
