// IpKey: an IP address as the echo service's tables see it.
//
// Sixteen bytes as two integers, IPv4 in its mapped form (RFC 4291,
// section 2.5.5.2), so that one comparison covers both families and a
// dual-stack socket's IPv4 peers are the same as an IPv4 socket's. Not for
// talking to the kernel: that is SocketAddress.

#ifndef BRAID_SERVICES_UDP_ECHO_IP_KEY_H_
#define BRAID_SERVICES_UDP_ECHO_IP_KEY_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace braid::udp_echo {

struct IpKey {
  static constexpr uint64_t kMappedTag = 0x0000'ffff'0000'0000;

  constexpr IpKey() = default;
  constexpr IpKey(uint64_t high, uint64_t low) : high(high), low(low) {}

  // An IPv4 address in host byte order.
  static constexpr IpKey V4(uint32_t address) {
    return {0, kMappedTag | address};
  }
  static constexpr IpKey V4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return V4(uint32_t{a} << 24 | uint32_t{b} << 16 | uint32_t{c} << 8 | d);
  }
  // The 4 or 16 bytes of an address in network byte order.
  static constexpr IpKey FromBytes(std::span<const uint8_t> bytes) {
    if (bytes.size() == 4) return V4(bytes[0], bytes[1], bytes[2], bytes[3]);
    IpKey key;
    for (size_t i = 0; i < 8; ++i) key.high = key.high << 8 | bytes[i];
    for (size_t i = 8; i < 16; ++i) key.low = key.low << 8 | bytes[i];
    return key;
  }

  constexpr bool is_v4() const {
    return high == 0 && (low >> 32) == (kMappedTag >> 32);
  }
  constexpr uint32_t v4() const { return static_cast<uint32_t>(low); }

  // 0.0.0.0 and ::.
  constexpr bool IsUnspecified() const {
    return high == 0 && (low == 0 || low == kMappedTag);
  }
  // 224.0.0.0/4 and ff00::/8.
  constexpr bool IsMulticast() const {
    return is_v4() ? v4() >> 28 == 0xe : high >> 56 == 0xff;
  }
  // 240.0.0.0/4: reserved, and 255.255.255.255, the limited broadcast, in it.
  // IPv6 has no broadcast.
  constexpr bool IsBroadcastOrReserved() const {
    return is_v4() && v4() >> 28 == 0xf;
  }

  // The network that one customer usually has: /24 for IPv4, /56 for IPv6
  // (RIPE-690). Never zero.
  constexpr uint64_t Prefix() const {
    constexpr uint64_t kV4 = uint64_t{1} << 63;
    constexpr uint64_t kV6 = uint64_t{1} << 62;
    return is_v4() ? kV4 | v4() >> 8 : kV6 | high >> 8;
  }

  friend constexpr bool operator==(const IpKey&, const IpKey&) = default;

  uint64_t high = 0;
  uint64_t low = 0;
};

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_IP_KEY_H_
