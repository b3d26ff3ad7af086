#include "services/udp_echo/top_talkers.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace braid::udp_echo {
namespace {

TEST(TopTalkersTest, ExactWhileThereIsRoom) {
  TopTalkers talkers(4);
  for (int i = 0; i < 3; ++i) talkers.Count(IpKey::V4(3), 10);
  talkers.Count(IpKey::V4(1), 0);
  for (int i = 0; i < 2; ++i) talkers.Count(IpKey(2, 2), 100);

  const std::vector<TopTalkers::Talker> top = talkers.Top(10);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].address, IpKey::V4(3));
  EXPECT_EQ(top[0].datagrams, 3u);
  EXPECT_EQ(top[0].overestimate, 0u);
  EXPECT_EQ(top[0].bytes, 30u);
  EXPECT_EQ(top[1].address, IpKey(2, 2));
  EXPECT_EQ(top[1].bytes, 200u);
  EXPECT_EQ(top[2].address, IpKey::V4(1));
  EXPECT_EQ(top[2].bytes, 0u);
}

TEST(TopTalkersTest, LimitAndTies) {
  TopTalkers talkers(8);
  for (uint32_t i = 8; i-- > 0;) talkers.Count(IpKey::V4(i), 1);
  const auto top = talkers.Top(3);
  ASSERT_EQ(top.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(top[i].address, IpKey::V4(i));
  EXPECT_TRUE(talkers.Top(0).empty());
}

TEST(TopTalkersTest, ANewcomerInheritsTheLeastCount) {
  TopTalkers talkers(1);
  for (int i = 0; i < 5; ++i) talkers.Count(IpKey::V4(1), 10);
  talkers.Count(IpKey::V4(2), 7);
  const auto top = talkers.Top(10);
  ASSERT_EQ(top.size(), 1u);
  EXPECT_EQ(top[0].address, IpKey::V4(2));
  EXPECT_EQ(top[0].datagrams, 6u);
  EXPECT_EQ(top[0].overestimate, 5u);
  EXPECT_EQ(top[0].bytes, 7u);
}

// Against exact counts: the sketch's two promises, over a skewed stream with
// many more addresses than places.
TEST(TopTalkersTest, BoundsHoldAgainstExactCounts) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    std::mt19937_64 random(seed);
    TopTalkers talkers(64);
    std::map<uint32_t, uint64_t> exact;
    constexpr uint64_t kTotal = 200'000;
    for (uint64_t i = 0; i < kTotal; ++i) {
      const double u = std::uniform_real_distribution<>(0.0, 1.0)(random);
      const auto address =
          static_cast<uint32_t>(std::pow(10'000.0, u));  // dense near 1
      ++exact[address];
      talkers.Count(IpKey::V4(address), 1);
      ASSERT_LE(talkers.size(), 64u);
    }
    std::map<uint32_t, TopTalkers::Talker> listed;
    for (const auto& talker : talkers.Top(64))
      listed[talker.address.v4()] = talker;
    for (const auto& [address, talker] : listed) {
      EXPECT_GE(talker.datagrams, exact[address]);
      EXPECT_LE(talker.datagrams - talker.overestimate, exact[address]);
    }
    for (const auto& [address, count] : exact) {
      if (count > kTotal / 64)
        EXPECT_TRUE(listed.contains(address)) << address << " sent " << count;
    }
  }
}

TEST(TopTalkersTest, FadingForgetsTheOldOnes) {
  TopTalkers talkers(2);
  for (int i = 0; i < 1000; ++i) talkers.Count(IpKey::V4(1), 1);
  for (int i = 0; i < 10; ++i) talkers.Fade();
  EXPECT_TRUE(talkers.Top(10).empty()) << "1000 halved ten times is nothing";
  for (int i = 0; i < 3; ++i) talkers.Count(IpKey::V4(2), 1);
  talkers.Count(IpKey::V4(3), 1);
  const auto top = talkers.Top(10);
  ASSERT_EQ(top.size(), 2u);
  EXPECT_EQ(top[0].address, IpKey::V4(2));
  EXPECT_EQ(top[1].address, IpKey::V4(3));
}

TEST(TopTalkersTest, OrderStaysRightWhileFading) {
  std::mt19937_64 random(7);
  TopTalkers talkers(32);
  for (int i = 0; i < 100'000; ++i) {
    talkers.Count(IpKey::V4(static_cast<uint32_t>(random() % 100)), 1);
    if (i % 1000 == 0) talkers.Fade();
  }
  // A newcomer replaces the least: nobody listed may be below what it
  // inherited.
  uint64_t least = UINT64_MAX;
  for (const auto& talker : talkers.Top(32))
    least = std::min(least, talker.datagrams);
  talkers.Count(IpKey(9, 9), 1);
  for (const auto& talker : talkers.Top(32)) {
    if (talker.address == IpKey(9, 9)) EXPECT_EQ(talker.overestimate, least);
  }
}

TEST(TopTalkersDeathTest, Capacity) {
  EXPECT_DEATH(TopTalkers(0), "top talkers");
  EXPECT_DEATH(TopTalkers(65537), "top talkers");
}

}  // namespace
}  // namespace braid::udp_echo
