// What the RPC layer tells about its calls: the seam for metrics.
//
// For: rate, errors, duration and messages per method, under whatever names.
// An observer is asked once for each method, so that its series exist from the
// start. Callbacks come on the loop, from the middle of the RPC machinery: they
// only count. Not for: changing what a call does.

#ifndef BRAID_RPC_OBSERVER_H_
#define BRAID_RPC_OBSERVER_H_

#include <cstdint>
#include <exception>

#include "absl/status/status.h"
#include "braid/core/time.h"
#include "braid/rpc/method.h"

namespace braid::rpc {

// Follows the calls of one method.
class MethodObserver {
 public:
  virtual ~MethodObserver() = default;

  virtual void Started() {}
  virtual void MessageReceived() {}
  virtual void MessageSent() {}
  // Once for each Started. On a server: the handler has ended and `code` is
  // what it answered; the duration is from the call's arrival to here. On a
  // client: the call has ended, by whatever; a call that was cancelled with its
  // scope is CANCELLED.
  virtual void Handled(absl::StatusCode /*code*/, Duration /*duration*/) {}
  // Servers: a handler ended with `exception`; Handled(kInternal) follows. The
  // client is told no more than that.
  virtual void HandlerThrew(const std::exception_ptr& /*exception*/) {}
};

// Of a server or a channel. Outlives it.
class RpcObserver {
 public:
  virtual ~RpcObserver() = default;

  // Gives the observer of one method; it must outlive the server or channel.
  // Asked for each method of a service when the service is added, for each
  // method of a client when the client is made, and on a server once for
  // "/unknown/unknown", which stands for calls of methods that aren't there.
  virtual MethodObserver& ForMethod(const Method& method) = 0;

  // Servers: `calls` more were turned away by the limit of concurrent calls,
  // before anything was looked at.
  virtual void Rejected(uint64_t /*calls*/) {}
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_OBSERVER_H_
