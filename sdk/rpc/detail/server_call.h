// One call on a server: a task of the server's, between a wire and a handler.
//
// It owns itself: the wire's events, the handler's task and a message on its
// way keep it; when the last of them has gone it finishes the wire, tells the
// server and is gone. So Finish happens once, on the loop, after the handler
// and everything the handler started have ended.

#ifndef BRAID_RPC_DETAIL_SERVER_CALL_H_
#define BRAID_RPC_DETAIL_SERVER_CALL_H_

#include <exception>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/link.h"
#include "braid/core/detail/scope.h"
#include "braid/core/detail/task_node.h"
#include "braid/core/task.h"
#include "braid/rpc/detail/message_flow.h"
#include "braid/rpc/observer.h"
#include "braid/rpc/server_context.h"
#include "braid/rpc/transport.h"

namespace braid::rpc {

class Service;

namespace detail {

class ServerCall;

// Runs one call of a method: takes the request, awaits the service's function,
// sets the reply.
using Handler = Task<absl::Status> (*)(Service& service, ServerCall& call);

// Where calls run.
class CallHost {
 public:
  // `call` is finished and about to go.
  virtual void CallEnded(ServerCall& call) = 0;

 protected:
  ~CallHost() = default;
};

class ServerCall final : public ServerWireEvents,
                         public braid::detail::IntrusiveListNode,
                         private MessageFlow::Port,
                         private braid::detail::TaskNode,
                         private braid::detail::Link {
 public:
  static void* operator new(size_t size) {
    return braid::detail::AllocateFrame(size);
  }
  static void operator delete(void* p, size_t size) noexcept {
    braid::detail::ReleaseFrame(p, size);
  }

  // Starts `handler` as a task under `scope`. `observer` may be nullptr.
  static ServerCall* Start(CallHost& host, braid::detail::Scope& scope,
                           ServerWire& wire, const Method& method,
                           Service& service, Handler handler,
                           MethodObserver* observer);

  // For handlers.

  ServerContext& context() { return context_; }
  MessageFlow& flow() { return flow_; }
  // What the client gets if the handler returns OK.
  void SetReply(absl::StatusOr<std::string> reply) {
    reply_ = std::move(reply);
  }
  // What the client asked for, also where no such method is.
  std::string_view wire_path() const { return wire_.path(); }
  // A call of a method that takes one message came without.
  absl::Status NoRequest() const;

  // For the server.

  // The call will not end well: a message that is still on its way is given up.
  void GiveUp();

 private:
  ServerCall(CallHost& host, ServerWire& wire, const Method& method,
             Service& service, Handler handler, MethodObserver* observer);
  ~ServerCall() = default;

  // Events of the wire.
  void OnRead(std::optional<std::string> message) override;
  void OnWritten(bool ok) override;
  void OnCancelled() override;

  // The flow's way to the wire.
  void Read() override { wire_.Read(); }
  void Write(std::string message) override;
  void HalfClose() override {}  // a server's end is the status

  // The handler's task.
  static braid::detail::Link* Done(braid::detail::Link* link);
  static braid::detail::Unwound Stopped(braid::detail::Link* link);
  static const braid::detail::LinkOps kOps;
  absl::Status StatusOfStop() const;
  void TaskEnded(absl::Status status);
  // The first failure is what the client is told.
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  void SetHeaders();
  void Finish();

  CallHost& host_;
  ServerWire& wire_;
  MethodObserver* observer_;
  Time begin_ = kNever;
  ServerContext context_;
  MessageFlow flow_;
  std::optional<absl::StatusOr<std::string>> reply_;
  absl::Status status_;
  bool cancelled_ = false;
  bool task_ended_ = false;
  braid::detail::TaskAwaiter<absl::Status> handler_;
};

}  // namespace detail
}  // namespace braid::rpc

#endif  // BRAID_RPC_DETAIL_SERVER_CALL_H_
