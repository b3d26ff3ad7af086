// A status as it travels: a number, a text, and bytes for the details.
//
// The codes of absl::Status and of gRPC are the same numbers. Payloads travel
// as the details of a google.rpc.Status (type URL and bytes), except those that
// mean something inside one process only (IsClosed, SuppressedErrors): a server
// whose own connection broke must not make a client think that its one did.

#ifndef BRAID_RPC_DETAIL_WIRE_STATUS_H_
#define BRAID_RPC_DETAIL_WIRE_STATUS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace braid::rpc::detail {

// Trailers have a limit (8 KiB by default), and a peer that gets more than that
// sees another error than was meant: messages are cut at kMaxMessage, details
// that take more than kMaxDetails are left out.
inline constexpr size_t kMaxStatusMessage = 1024;
inline constexpr size_t kMaxStatusDetails = 3072;

std::string StatusMessage(const absl::Status& status);
// Empty if there are none.
std::string StatusDetailBytes(const absl::Status& status);

// A code that doesn't exist is UNKNOWN; details that can't be read are ignored.
absl::Status MakeStatus(int code, std::string_view message,
                        std::string_view details);

}  // namespace braid::rpc::detail

#endif  // BRAID_RPC_DETAIL_WIRE_STATUS_H_
