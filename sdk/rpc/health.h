// Health: what a server says of itself, by the protocol grpc.health.v1.
//
//   server.health().Set("braid.echo.v1.EchoControl", false);
//
// For: load balancers and supervisors that ask whether to send work. It knows
// the server as a whole, by the name "", and each of its services; Check and
// Watch of other names answer NOT_FOUND and SERVICE_UNKNOWN. A server owns one.
// Threads: the loop's.

#ifndef BRAID_RPC_HEALTH_H_
#define BRAID_RPC_HEALTH_H_

#include <memory>
#include <string>
#include <string_view>

#include "braid/rpc/service.h"

namespace braid::rpc {

class Health {
 public:
  Health();
  Health(const Health&) = delete;
  Health& operator=(const Health&) = delete;
  ~Health();

  // Names a service that doesn't exist yet, too. Those that watch it are told.
  // Ignored once the server drains.
  void Set(std::string_view service, bool serving);
  bool serving(std::string_view service) const;

  // Everything is NOT_SERVING from now on.
  void Drain();

  // The service to be served.
  Service& service();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_HEALTH_H_
