// Resolve: the addresses behind a name.
//
//   std::vector<SocketAddress> addresses =
//       co_await OrReturn(Resolve("example.org", "https"));
//
// For: names that a person wrote. Where an address is meant,
// SocketAddress::Parse says what is wrong with it.

#ifndef BRAID_NET_RESOLVER_H_
#define BRAID_NET_RESOLVER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "braid/backend/socket_address.h"
#include "braid/core/task.h"

namespace braid {

// The addresses of `host`, a name or a numeric address, with the port of
// `service`, a name, a number, or nothing for port 0. In the order in which
// they should be tried (RFC 6724), at least one. NOT_FOUND: there is no such
// name; UNAVAILABLE: no name server answers; INVALID_ARGUMENT: the name is
// empty. A numeric address and port are given at once, without asking anybody.
//
// Asks the system (getaddrinfo) on a thread of its own. Cancelled: stopped at
// once; the question is abandoned, and its answer thrown away. Threads: the
// loop's.
Task<absl::StatusOr<std::vector<SocketAddress>>> Resolve(std::string host,
                                                         std::string service);

}  // namespace braid

#endif  // BRAID_NET_RESOLVER_H_
