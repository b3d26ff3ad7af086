#include "braid/backend/socket_address.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/hash/hash_testing.h"

namespace braid {
namespace {

SocketAddress Parsed(std::string_view text) {
  absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.value_or(SocketAddress());
}

TEST(SocketAddress, ParsesWhatItPrints) {
  for (const char* text :
       {"127.0.0.1:7007", "0.0.0.0:0", "255.255.255.255:65535", "[::]:0",
        "[::1]:80", "[2001:db8::1]:443", "[fe80::1%2]:80",
        "[::ffff:1.2.3.4]:5"}) {
    EXPECT_EQ(Parsed(text).ToString(), text);
  }
  EXPECT_EQ(Parsed("[0:0:0:0:0:0:0:1]:80").ToString(), "[::1]:80");
}

TEST(SocketAddress, RefusesWhatIsNone) {
  for (const char* text : {"",
                           ":",
                           ":80",
                           "localhost:80",
                           "1.2.3.4",
                           "1.2.3.4:",
                           "1.2.3.4:65536",
                           "1.2.3.4:-1",
                           "1.2.3.4:+1",
                           "1.2.3.4: 1",
                           "1.2.3.4:1 ",
                           "1.2.3:80",
                           "1.2.3.4.5:80",
                           "256.0.0.1:80",
                           "::1:80",
                           "[::1]",
                           "[::1",
                           "[::1]80",
                           "[1.2.3.4]:80",
                           "[fe80::1%]:80",
                           "[fe80::1%eth0]:80",
                           "1.2.3.4%1:80",
                           "[::g]:80",
                           "[]:80",
                           "1.2.3.4:80:90",
                           "1.2.3.4:99999999999999999999"}) {
    const absl::Status status = SocketAddress::Parse(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(status.message().find(text), std::string::npos) << status;
  }
  // A text may end before its bytes do.
  EXPECT_FALSE(SocketAddress::Parse(std::string_view("1.2.3.4\0:80", 11)).ok());
}

TEST(SocketAddress, HasItsParts) {
  const SocketAddress v4 = Parsed("1.2.3.4:80");
  EXPECT_TRUE(v4.is_v4());
  EXPECT_FALSE(v4.is_v6());
  EXPECT_EQ(v4.port(), 80);
  EXPECT_EQ(v4.HostString(), "1.2.3.4");
  EXPECT_EQ(std::vector<uint8_t>(v4.bytes().begin(), v4.bytes().end()),
            (std::vector<uint8_t>{1, 2, 3, 4}));
  EXPECT_EQ(v4.WithPort(443).ToString(), "1.2.3.4:443");
  const SocketAddress v6 = Parsed("[fe80::1%3]:80");
  EXPECT_TRUE(v6.is_v6());
  EXPECT_EQ(v6.scope(), 3u);
  EXPECT_EQ(v6.bytes().size(), 16u);
  EXPECT_EQ(v6.HostString(), "fe80::1%3");
}

TEST(SocketAddress, KnowsSpecialAddresses) {
  EXPECT_TRUE(SocketAddress().empty());
  EXPECT_FALSE(SocketAddress().is_any());
  EXPECT_EQ(SocketAddress().ToString(), "(no address)");
  for (const char* any : {"0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1"})
    EXPECT_TRUE(Parsed(any).is_any()) << any;
  for (const char* loopback :
       {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"}) {
    EXPECT_TRUE(Parsed(loopback).is_loopback()) << loopback;
  }
  for (const char* multicast : {"224.0.0.1:1", "239.1.1.1:1", "[ff02::1]:1"}) {
    EXPECT_TRUE(Parsed(multicast).is_multicast()) << multicast;
  }
  const SocketAddress plain = Parsed("8.8.8.8:53");
  EXPECT_FALSE(plain.is_any() || plain.is_loopback() || plain.is_multicast() ||
               plain.is_v4_mapped());
  EXPECT_EQ(SocketAddress::Any(7), Parsed("[::]:7"));
  EXPECT_EQ(SocketAddress::AnyV4(7), Parsed("0.0.0.0:7"));
  EXPECT_EQ(SocketAddress::LoopbackV4(7), Parsed("127.0.0.1:7"));
  EXPECT_EQ(SocketAddress::LoopbackV6(7), Parsed("[::1]:7"));
}

TEST(SocketAddress, AMappedAddressStandsForAnIPv4One) {
  const SocketAddress mapped = Parsed("[::ffff:10.0.0.1]:99");
  EXPECT_TRUE(mapped.is_v4_mapped());
  EXPECT_EQ(mapped.Unmapped(), Parsed("10.0.0.1:99"));
  EXPECT_EQ(Parsed("[::1]:99").Unmapped(), Parsed("[::1]:99"));
}

TEST(SocketAddress, ComparesAndHashes) {
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly({
      SocketAddress(),
      Parsed("1.2.3.4:80"),
      Parsed("1.2.3.4:81"),
      Parsed("1.2.3.5:80"),
      Parsed("[::ffff:1.2.3.4]:80"),
      Parsed("[fe80::1%1]:80"),
      Parsed("[fe80::1%2]:80"),
  }));
}

}  // namespace
}  // namespace braid
