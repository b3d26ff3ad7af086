// MemoryTransport: a client and a server on one loop, with nothing in between.
//
// For: testing services and their clients on virtual time: no sockets, no
// threads, the same order every time.
//
//   rpc::MemoryTransport network;
//   rpc::ServerOptions options;
//   options.transport = network.server();
//   rpc::Server server(std::move(options));
//   rpc::Channel channel(network.client());
//
// It does what gRPC does: messages are bytes, a call has a deadline that holds
// on both sides, a slow reader holds up the writer, a message above the limit
// ends the call, and each step takes its way through the loop. One server, any
// number of channels. Not for: lost connections, delays that vary, many hosts;
// that is the simulated network's.

#ifndef BRAID_RPC_TESTING_MEMORY_TRANSPORT_H_
#define BRAID_RPC_TESTING_MEMORY_TRANSPORT_H_

#include <cstddef>
#include <memory>

#include "braid/core/time.h"
#include "braid/rpc/transport.h"

namespace braid::rpc {

struct MemoryTransportOptions {
  // How long each step takes: a request, a reply, a cancellation.
  Duration latency = Duration::zero();
  // Messages on their way in one direction before the writer is held up.
  size_t window = 2;
  size_t max_request_bytes = 4 << 20;
  size_t max_reply_bytes = 4 << 20;
  size_t max_concurrent_calls = 10'000;
};

class MemoryTransport {
 public:
  using Options = MemoryTransportOptions;

  explicit MemoryTransport(Options options = {});
  MemoryTransport(const MemoryTransport&) = delete;
  MemoryTransport& operator=(const MemoryTransport&) = delete;
  ~MemoryTransport();

  // They may outlive this object, and each other.
  std::shared_ptr<ServerTransport> server();
  std::shared_ptr<ClientTransport> client();

  // Calls that exist in the transport: begun, and not given up by both sides.
  size_t calls() const;

  class State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_TESTING_MEMORY_TRANSPORT_H_
