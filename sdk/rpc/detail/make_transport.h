// Where a server's transport comes from, if the program brings none.

#ifndef BRAID_RPC_DETAIL_MAKE_TRANSPORT_H_
#define BRAID_RPC_DETAIL_MAKE_TRANSPORT_H_

#include <memory>

#include "braid/rpc/transport.h"

namespace braid::rpc {

struct ServerOptions;

namespace detail {

// gRPC over HTTP/2.
std::shared_ptr<ServerTransport> MakeServerTransport(
    const ServerOptions& options);

}  // namespace detail
}  // namespace braid::rpc

#endif  // BRAID_RPC_DETAIL_MAKE_TRANSPORT_H_
