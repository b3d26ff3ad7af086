// What travels between the machines of a simulation. Not for programs.

#ifndef BRAID_BACKEND_SIM_PACKET_H_
#define BRAID_BACKEND_SIM_PACKET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "braid/backend/socket_address.h"

namespace braid::detail {

// Addresses in packets are never of the mapped form ::ffff:1.2.3.4.
struct Packet {
  enum class Kind : uint8_t {
    kUdp,
    kTcp,
    kUnreachable,  // of ICMP: what `from` had sent to `to` can't be delivered
  };
  // Of TCP (RFC 9293, 3.1).
  static constexpr uint8_t kFin = 1;
  static constexpr uint8_t kSyn = 2;
  static constexpr uint8_t kRst = 4;
  static constexpr uint8_t kAck = 16;

  bool Has(uint8_t flag) const { return (flags & flag) != 0; }
  // With the headers of IP and of the transport.
  size_t WireSize() const {
    return payload.size() + (from.is_v4() ? 20 : 40) +
           (kind == Kind::kTcp ? 20 : 8);
  }
  // "udp 10.0.0.1:7 > 10.0.0.2:8 5 bytes".
  std::string Describe() const;

  Kind kind = Kind::kUdp;
  SocketAddress from;
  SocketAddress to;
  std::string payload;

  // TCP. Numbers have 64 bits, so that they never wrap around: each connection
  // has a range of its own.
  static constexpr uint64_t kNumbersPerConnection = uint64_t{1} << 36;
  uint8_t flags = 0;
  uint64_t seq = 0;
  uint64_t ack = 0;
  uint64_t window = 0;  // bytes
  size_t mss = 0;       // with SYN

  // kUnreachable: an errno, and what it is about.
  int error = 0;
  Kind about = Kind::kUdp;
};

// An address as something that can be ordered and looked up.
using AddressKey = std::array<uint8_t, 19>;
AddressKey KeyOf(const SocketAddress& address);

// The IPv6 form of an address; an IPv4 one is mapped.
SocketAddress Mapped(const SocketAddress& address);

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_PACKET_H_
