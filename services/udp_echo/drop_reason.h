// Why a datagram that was received gets no reply.
//
// Every received datagram is either echoed or dropped for exactly one of these,
// so that the counters add up. What the kernel dropped before the service saw
// it is counted apart.

#ifndef BRAID_SERVICES_UDP_ECHO_DROP_REASON_H_
#define BRAID_SERVICES_UDP_ECHO_DROP_REASON_H_

#include <cstddef>
#include <string_view>

#include "braid/core/check.h"

namespace braid::udp_echo {

enum class DropReason {
  // Port 0, or the port of a service that may answer the answer.
  kSourcePort,
  // It says that it comes from one of this service's own endpoints.
  kOwnEndpoint,
  // Unspecified, multicast, broadcast or reserved.
  kSourceAddress,
  // It was sent to a multicast or broadcast address.
  kDestinationAddress,
  // Its source prefix has used up its rate.
  kRateLimited,
  // Too many prefixes at once, and those that share what is left have used it
  // up.
  kTableFull,
  // It is larger than the receive buffer; a part of it would be another reply.
  kTruncated,
  // The kernel refused the reply.
  kSendFailed,
};
inline constexpr size_t kDropReasons = 8;

// The value of the label `reason`.
constexpr std::string_view DropReasonName(DropReason reason) {
  switch (reason) {
    case DropReason::kSourcePort:
      return "source_port";
    case DropReason::kOwnEndpoint:
      return "own_endpoint";
    case DropReason::kSourceAddress:
      return "source_address";
    case DropReason::kDestinationAddress:
      return "destination_address";
    case DropReason::kRateLimited:
      return "rate_limited";
    case DropReason::kTableFull:
      return "table_full";
    case DropReason::kTruncated:
      return "truncated";
    case DropReason::kSendFailed:
      return "send_failed";
  }
  detail::Check(false, "a drop reason without a name");
  return "";
}

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_DROP_REASON_H_
