// Server: serves services over gRPC, for as long as its task runs.
//
//   EchoControlImpl control;
//   rpc::ServerOptions options;
//   options.listen = {"127.0.0.1:7008"};
//   rpc::Server server(std::move(options));
//   server.AddService(control);
//   co_await OrReturn(server.Listen());        // port in use: known here
//   group.Start("rpc", &rpc::Server::Serve, &server);
//   ...
//   group.RequestStop();                       // drains, then Serve ends
//
// Health (grpc.health.v1) and reflection come with it. Each call is a task.
//
// The end comes in steps, so that nobody's call is cut who can be served:
//   1. health says NOT_SERVING: load balancers go elsewhere;
//   2. for `lame_duck`, calls are served as before;
//   3. handlers are asked to stop (StopRequested()), and new calls and
//      connections are turned away with UNAVAILABLE;
//   4. after `drain_limit`, what still runs is cancelled, and its clients get
//      UNAVAILABLE;
//   5. when the last handler has ended and everything is released, Serve ends.
// RequestStop of a group around Serve begins with 1, a cancel with 4.
//
// Threads: all of it on one loop. gRPC's own threads, and one that waits for
// its completions, never run any of the program's code.

#ifndef BRAID_RPC_SERVER_H_
#define BRAID_RPC_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/task.h"
#include "braid/core/time.h"
#include "braid/rpc/health.h"
#include "braid/rpc/observer.h"
#include "braid/rpc/service.h"
#include "braid/rpc/transport.h"

namespace braid::rpc {

// How a server proves who it is, and whom it lets in. PEM text.
struct ServerTls {
  std::string private_key;
  std::string certificate_chain;
  // Mutual TLS: clients must have a certificate that leads to one of these.
  // Empty: clients need none.
  std::string trusted_client_certificates;
};

struct ServerOptions {
  // "127.0.0.1:7008", "[::]:0" (any free port), "unix:/run/echo.sock".
  std::vector<std::string> listen;
  // Without it, nothing is encrypted.
  std::optional<ServerTls> tls;
  // Several processes may listen on one address, and share what comes.
  bool reuse_port = false;
  // Larger requests end their call with RESOURCE_EXHAUSTED.
  size_t max_request_bytes = 4 << 20;
  // Calls above this number are turned away with RESOURCE_EXHAUSTED, before
  // they cost anything. Streams count as long as they last.
  size_t max_concurrent_calls = 10'000;
  Delay lame_duck = Duration::zero();
  Delay drain_limit = std::chrono::seconds(10);
  bool reflection = true;
  RpcObserver* observer = nullptr;
  // What to listen with. Empty: gRPC over HTTP/2 at `listen`, or, on a loop of
  // a simulation, its network there, without Unix sockets and TLS. Has limits
  // of its own.
  std::shared_ptr<ServerTransport> transport;
};

class Server {
 public:
  struct Stats {
    uint64_t accepted = 0;  // calls, since the beginning
    uint64_t rejected = 0;  // turned away by max_concurrent_calls
    size_t active = 0;      // calls now
  };

  explicit Server(ServerOptions options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Closes what it listens on, if Serve was not awaited.
  ~Server();

  // Before Listen. `service` outlives the server. Two services of one name are
  // a failed check.
  void AddService(Service& service);

  // Takes the addresses: UNAVAILABLE, naming it, if one can't be had, which may
  // be tried again; INVALID_ARGUMENT for none, and for one without a port.
  // Calls that come from now on wait for Serve. On the loop that will serve.
  absl::Status Listen();
  // The port of `options.listen[index]`; 0 for a Unix socket.
  int port(size_t index = 0) const;

  // Serves until it is asked to stop or cancelled, and drained; see above.
  // Listens first if that has not been done. Once.
  Task<absl::Status> Serve();

  // Everything is SERVING from when Serve begins. A program may say otherwise
  // of single services, or of "", the server as a whole.
  Health& health();

  Stats stats() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_SERVER_H_
