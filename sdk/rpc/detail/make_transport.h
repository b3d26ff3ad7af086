// Where transports come from, if the program brings none: in a simulation, the
// simulated network; elsewhere, gRPC.

#ifndef BRAID_RPC_DETAIL_MAKE_TRANSPORT_H_
#define BRAID_RPC_DETAIL_MAKE_TRANSPORT_H_

#include <memory>
#include <string>

#include "braid/rpc/transport.h"

namespace braid::detail {
class SimBackend;
}  // namespace braid::detail

namespace braid::rpc {

struct ChannelOptions;
struct ServerOptions;

namespace detail {

// For the loop of this thread.
std::shared_ptr<ServerTransport> MakeServerTransport(
    const ServerOptions& options);
// For the loop of this thread; gRPC's if there is none.
std::shared_ptr<ClientTransport> MakeClientTransport(
    const std::string& target, const ChannelOptions& options);

// gRPC over HTTP/2.
std::shared_ptr<ServerTransport> MakeGrpcServerTransport(
    const ServerOptions& options);
std::shared_ptr<ClientTransport> MakeGrpcClientTransport(
    const std::string& target, const ChannelOptions& options);

// Between simulated hosts: sim/link.h.
std::shared_ptr<ServerTransport> MakeSimServerTransport(
    const ServerOptions& options, braid::detail::SimBackend& backend);
std::shared_ptr<ClientTransport> MakeSimClientTransport(
    const std::string& target, const ChannelOptions& options,
    braid::detail::SimBackend& backend);

}  // namespace detail
}  // namespace braid::rpc

#endif  // BRAID_RPC_DETAIL_MAKE_TRANSPORT_H_
