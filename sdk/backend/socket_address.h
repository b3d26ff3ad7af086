// SocketAddress: an IP address and a port, as every socket call takes them.
//
//   SocketAddress any = SocketAddress::Any(7007);  // [::], and IPv4 too
//   absl::StatusOr<SocketAddress> a = SocketAddress::Parse("127.0.0.1:7007");
//   absl::StatusOr<SocketAddress> b = SocketAddress::Parse("[fe80::1%2]:80");
//
// A small value, trivially copyable. Not for: names (resolver.h), and
// Unix-domain sockets, whose addresses are paths.

#ifndef BRAID_BACKEND_SOCKET_ADDRESS_H_
#define BRAID_BACKEND_SOCKET_ADDRESS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

struct sockaddr;

namespace braid {

class SocketAddress {
 public:
  // No address.
  constexpr SocketAddress() = default;

  // "1.2.3.4:80", "[::1]:80", "[fe80::1%2]:80"; a scope is the number of an
  // interface. Anything else is INVALID_ARGUMENT that says what is allowed.
  static absl::StatusOr<SocketAddress> Parse(std::string_view text);
  // The same without the port: "1.2.3.4", "::1", "fe80::1%2".
  static absl::StatusOr<SocketAddress> ParseHost(std::string_view host,
                                                 uint16_t port);

  // Bytes in network order, as they stand in a packet.
  static SocketAddress V4(std::span<const uint8_t, 4> bytes, uint16_t port);
  static SocketAddress V6(std::span<const uint8_t, 16> bytes, uint16_t port,
                          uint32_t scope = 0);

  // To bind: every address of the machine, IPv6 and IPv4; IPv4 only.
  static SocketAddress Any(uint16_t port);
  static SocketAddress AnyV4(uint16_t port);
  // 127.0.0.1 and ::1.
  static SocketAddress LoopbackV4(uint16_t port);
  static SocketAddress LoopbackV6(uint16_t port);

  bool empty() const { return size() == 0; }
  bool is_v4() const { return size() == kSizeV4; }
  bool is_v6() const { return size() == kSizeV6; }
  // An IPv4 peer of an IPv6 socket: ::ffff:1.2.3.4.
  bool is_v4_mapped() const;
  // 0.0.0.0 or ::, mapped or not.
  bool is_any() const;
  bool is_loopback() const;
  bool is_multicast() const;

  uint16_t port() const;
  SocketAddress WithPort(uint16_t port) const;
  // The number of the interface a link-local IPv6 address belongs to; 0 for
  // none.
  uint32_t scope() const;
  // 4 or 16 bytes in network order; none if empty.
  std::span<const uint8_t> bytes() const;
  // A mapped address as the IPv4 address it stands for, any other as it is.
  SocketAddress Unmapped() const;

  // As Parse takes it; "(no address)" if empty.
  std::string ToString() const;
  // Without the port and brackets.
  std::string HostString() const;

  friend bool operator==(const SocketAddress& a, const SocketAddress& b) {
    return a.size() == b.size() &&
           std::memcmp(a.raw_.data(), b.raw_.data(), a.size()) == 0;
  }
  template <typename H>
  friend H AbslHashValue(H h, const SocketAddress& a) {
    return H::combine(
        H::combine_contiguous(std::move(h), a.raw_.data(), a.size()), a.size());
  }

  // For backends: the kernel's own form, a sockaddr_in or sockaddr_in6.
  const sockaddr* raw() const {
    return reinterpret_cast<const sockaddr*>(raw_.data());
  }
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(raw_.data()); }
  // Of the form in use.
  uint32_t size() const {
    uint16_t family = 0;
    std::memcpy(&family, raw_.data(), sizeof family);
    return family == kFamilyV6 ? kSizeV6 : family == kFamilyV4 ? kSizeV4 : 0;
  }
  static constexpr uint32_t kCapacity = 28;

 private:
  // Of Linux; socket_address.cc asserts them.
  static constexpr uint16_t kFamilyV4 = 2;
  static constexpr uint16_t kFamilyV6 = 10;
  static constexpr uint32_t kSizeV4 = 16;
  static constexpr uint32_t kSizeV6 = 28;

  alignas(4) std::array<unsigned char, kCapacity> raw_ = {};
};

}  // namespace braid

#endif  // BRAID_BACKEND_SOCKET_ADDRESS_H_
