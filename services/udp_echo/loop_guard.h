// LoopGuard: which datagrams an echo service must not answer.
//
// For: two services that answer every datagram, set upon each other by one
// datagram with a forged source, keep the network busy for ever (CERT
// VU#417980, CVE-2024-2169); an answer to a broadcast is sent back by a whole
// network to the forged source (CERT CA-1998-01). No reply goes
//   - to port 0, which says that none is wanted (RFC 768), nor to the ports of
//     services that answer anything, or answer an error with an error; see
//     LoopProneServices();
//   - to one of this service's own endpoints. A datagram from any address that
//     comes *from a port this service listens on* counts as one, so that
//     neighbours on the same port can't be set upon each other either;
//   - to an address that can't be one sender's: unspecified, multicast,
//     broadcast, reserved (RFC 1122, section 4.1.3.6);
//   - to what was sent to a multicast or broadcast address (RFC 1122, section
//     3.2.1.3 forbids it as a source).
//
// What it can't see: a service on another port that answers, and isn't in the
// list. Name its port in the configuration; until then the rate limit ends such
// a loop, because a loop whose one datagram is dropped is over.
//
// Costs one look into a table of 8 KiB. No allocation after construction, not
// synchronised.

#ifndef BRAID_SERVICES_UDP_ECHO_LOOP_GUARD_H_
#define BRAID_SERVICES_UDP_ECHO_LOOP_GUARD_H_

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "services/udp_echo/drop_reason.h"
#include "services/udp_echo/ip_key.h"

namespace braid::udp_echo {

struct LoopProneService {
  uint16_t port;
  std::string_view name;
  std::string_view why;
};

// The services that the guard knows, by UDP port, ascending.
std::span<const LoopProneService> LoopProneServices();

class LoopGuard {
 public:
  // `own_ports`: the ports this service listens on. `more_ports`: those of
  // other services that answer, in any order.
  LoopGuard(std::span<const uint16_t> own_ports,
            std::span<const uint16_t> more_ports);

  // Whether a datagram may be answered; if not, why. `destination`: the address
  // it was sent to, unspecified if unknown.
  std::optional<DropReason> Judge(const IpKey& source, uint16_t source_port,
                                  const IpKey& destination) const {
    if (own_[source_port]) return DropReason::kOwnEndpoint;
    if (loop_prone_[source_port]) return DropReason::kSourcePort;
    if (source.IsUnspecified() || source.IsMulticast() ||
        source.IsBroadcastOrReserved()) {
      return DropReason::kSourceAddress;
    }
    if (destination.IsMulticast() || destination.IsBroadcastOrReserved())
      return DropReason::kDestinationAddress;
    return std::nullopt;
  }

 private:
  std::bitset<65536> loop_prone_;
  std::bitset<65536> own_;
};

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_LOOP_GUARD_H_
