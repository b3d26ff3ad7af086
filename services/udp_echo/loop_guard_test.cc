#include "services/udp_echo/loop_guard.h"

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace braid::udp_echo {
namespace {

constexpr IpKey kPeer = IpKey::V4(192, 0, 2, 7);
constexpr IpKey kLocal = IpKey::V4(198, 51, 100, 1);
constexpr IpKey kPeer6 = IpKey(0x20010db800000000, 1);

TEST(LoopGuardTest, AnOrdinaryDatagramIsAnswered) {
  LoopGuard guard(std::vector<uint16_t>{7007}, {});
  EXPECT_EQ(guard.Judge(kPeer, 40000, kLocal), std::nullopt);
  EXPECT_EQ(guard.Judge(kPeer6, 40000, IpKey(0x20010db800000000, 2)),
            std::nullopt);
  EXPECT_EQ(guard.Judge(kPeer, 1, kLocal), std::nullopt);
  EXPECT_EQ(guard.Judge(kPeer, 65535, kLocal), std::nullopt);
  EXPECT_EQ(guard.Judge(kPeer, 40000, IpKey()), std::nullopt)
      << "an unknown destination is no reason to drop";
}

TEST(LoopGuardTest, PortsOfServicesThatAnswerAreNot) {
  LoopGuard guard(std::vector<uint16_t>{7007}, std::vector<uint16_t>{7008});
  for (uint16_t port : {0, 7, 11, 13, 17, 19, 37, 53, 69, 123, 862, 7008}) {
    EXPECT_EQ(guard.Judge(kPeer, port, kLocal), DropReason::kSourcePort)
        << port;
    EXPECT_EQ(guard.Judge(kPeer6, port, kLocal), DropReason::kSourcePort)
        << port;
  }
}

TEST(LoopGuardTest, EveryOtherPortIsFree) {
  LoopGuard guard(std::vector<uint16_t>{7007}, {});
  std::set<int> refused = {0, 7007};
  for (const LoopProneService& service : LoopProneServices())
    refused.insert(service.port);
  for (int port = 0; port < 65536; ++port) {
    EXPECT_EQ(
        guard.Judge(kPeer, static_cast<uint16_t>(port), kLocal).has_value(),
        refused.contains(port))
        << port;
  }
}

TEST(LoopGuardTest, OwnPortsAreOwnEndpointsOnEveryAddress) {
  LoopGuard guard(std::vector<uint16_t>{7007, 7}, {});
  EXPECT_EQ(guard.Judge(kLocal, 7007, kLocal), DropReason::kOwnEndpoint);
  EXPECT_EQ(guard.Judge(IpKey::V4(127, 0, 0, 2), 7007, IpKey::V4(127, 0, 0, 1)),
            DropReason::kOwnEndpoint);
  EXPECT_EQ(guard.Judge(kPeer6, 7007, kLocal), DropReason::kOwnEndpoint);
  EXPECT_EQ(guard.Judge(kPeer, 7, kLocal), DropReason::kOwnEndpoint)
      << "the more exact reason, if both hold";
}

TEST(LoopGuardTest, AddressesThatAreNoOnesAreNotAnswered) {
  LoopGuard guard({}, {});
  for (const IpKey& source : {
           IpKey::V4(0),
           IpKey(),
           IpKey::V4(224, 0, 0, 1),
           IpKey::V4(239, 255, 255, 255),
           IpKey::V4(240, 0, 0, 1),
           IpKey::V4(255, 255, 255, 255),
           IpKey(0xff02000000000000, 1),
       }) {
    EXPECT_EQ(guard.Judge(source, 40000, kLocal), DropReason::kSourceAddress)
        << source.high << " " << source.low;
  }
  EXPECT_EQ(guard.Judge(IpKey::V4(223, 255, 255, 255), 40000, kLocal),
            std::nullopt);
  EXPECT_EQ(guard.Judge(IpKey(0xfe80000000000000, 1), 40000, kLocal),
            std::nullopt);
}

TEST(LoopGuardTest, WhatWasSentToManyIsNotAnswered) {
  LoopGuard guard({}, {});
  EXPECT_EQ(guard.Judge(kPeer, 40000, IpKey::V4(255, 255, 255, 255)),
            DropReason::kDestinationAddress);
  EXPECT_EQ(guard.Judge(kPeer, 40000, IpKey::V4(224, 0, 0, 1)),
            DropReason::kDestinationAddress);
  EXPECT_EQ(guard.Judge(kPeer6, 40000, IpKey(0xff02000000000000, 1)),
            DropReason::kDestinationAddress);
}

TEST(IpKeyTest, BytesOfBothFamilies) {
  const uint8_t v4[] = {192, 0, 2, 7};
  const uint8_t mapped[] = {0, 0, 0,    0,    0,   0, 0, 0,
                            0, 0, 0xff, 0xff, 192, 0, 2, 7};
  const uint8_t v6[] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,
                        0,    0,    0,    0,    0, 0, 0, 1};
  EXPECT_EQ(IpKey::FromBytes(v4), kPeer);
  EXPECT_EQ(IpKey::FromBytes(mapped), kPeer)
      << "a dual-stack socket's IPv4 peer";
  EXPECT_EQ(IpKey::FromBytes(v6), kPeer6);
  EXPECT_TRUE(kPeer.is_v4());
  EXPECT_FALSE(kPeer6.is_v4());
}

TEST(IpKeyTest, Prefixes) {
  EXPECT_EQ(IpKey::V4(192, 0, 2, 7).Prefix(),
            IpKey::V4(192, 0, 2, 255).Prefix());
  EXPECT_NE(IpKey::V4(192, 0, 2, 7).Prefix(), IpKey::V4(192, 0, 3, 7).Prefix());
  EXPECT_EQ(IpKey(0x20010db8000001ff, 1).Prefix(),
            IpKey(0x20010db800000100, 2).Prefix());
  EXPECT_NE(IpKey(0x20010db800000100, 1).Prefix(),
            IpKey(0x20010db800000200, 1).Prefix());
  EXPECT_NE(IpKey::V4(0).Prefix(), 0u);
  EXPECT_NE(IpKey().Prefix(), 0u);
  // The same bits in the two families are not the same prefix.
  EXPECT_NE(IpKey::V4(192, 0, 2, 7).Prefix(),
            IpKey(uint64_t{0xc00002} << 8, 0).Prefix());
}

}  // namespace
}  // namespace braid::udp_echo
