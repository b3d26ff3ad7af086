#include "braid/rpc/detail/make_transport.h"

#include "braid/backend/sim/sim_backend.h"
#include "braid/core/detail/loop.h"
#include "braid/rpc/client.h"

namespace braid::rpc {
namespace detail {
namespace {

// nullptr: this is no simulation.
braid::detail::SimBackend* Simulated() {
  const auto* loop = braid::detail::Loop::CurrentOrNull();
  return loop == nullptr
             ? nullptr
             : dynamic_cast<braid::detail::SimBackend*>(&loop->driver());
}

}  // namespace

std::shared_ptr<ServerTransport> MakeServerTransport(
    const ServerOptions& options) {
  if (auto* sim = Simulated()) return MakeSimServerTransport(options, *sim);
  return MakeGrpcServerTransport(options);
}

std::shared_ptr<ClientTransport> MakeClientTransport(
    const std::string& target, const ChannelOptions& options) {
  if (auto* sim = Simulated())
    return MakeSimClientTransport(target, options, *sim);
  return MakeGrpcClientTransport(target, options);
}

}  // namespace detail

Channel Channel::To(const std::string& target, const ChannelOptions& options) {
  return Channel(detail::MakeClientTransport(target, options),
                 options.observer);
}

}  // namespace braid::rpc
