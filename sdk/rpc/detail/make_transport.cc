#include "braid/rpc/detail/make_transport.h"

#include "braid/backend/sim/sim_backend.h"
#include "braid/rpc/client.h"

namespace braid::rpc {
namespace detail {

using braid::detail::SimBackend;

std::shared_ptr<ServerTransport> MakeServerTransport(
    const ServerOptions& options) {
  if (SimBackend* sim = SimBackend::CurrentOrNull())
    return MakeSimServerTransport(options, *sim);
  return MakeGrpcServerTransport(options);
}

std::shared_ptr<ClientTransport> MakeClientTransport(
    const std::string& target, const ChannelOptions& options) {
  if (SimBackend* sim = SimBackend::CurrentOrNull())
    return MakeSimClientTransport(target, options, *sim);
  return MakeGrpcClientTransport(target, options);
}

}  // namespace detail

Channel Channel::To(const std::string& target, const ChannelOptions& options) {
  return Channel(detail::MakeClientTransport(target, options),
                 options.observer);
}

}  // namespace braid::rpc
