// Service: the base of what a server serves.
//
// For: generated code. For each `service` of a .proto there is a class
// `Foo::Service` with one virtual coroutine per method; a program overrides
// those it implements:
//
//   class EchoControlImpl final : public EchoControl::Service {
//     Task<absl::StatusOr<StatsReply>> GetStats(rpc::ServerContext& context,
//                                               StatsRequest request) override;
//   };
//   server.AddService(impl);
//
// A method that isn't overridden answers UNIMPLEMENTED. A handler runs as a
// task of the server: it is cancelled when the client cancels or goes away,
// when the call's deadline passes, and when the server has waited long enough
// for it at its end. Its error is what the client gets; an exception becomes
// INTERNAL, and the client isn't told what it says. The service outlives the
// server. Threads: the server's loop.

#ifndef BRAID_RPC_SERVICE_H_
#define BRAID_RPC_SERVICE_H_

#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/or_return.h"
#include "braid/core/task.h"
#include "braid/rpc/detail/server_call.h"
#include "braid/rpc/method.h"
#include "braid/rpc/server_context.h"
#include "braid/rpc/stream.h"

namespace braid::rpc {

class Service {
 public:
  class Entry {
   public:
    constexpr Entry(const Method* method, detail::Handler handler)
        : method_(method), handler_(handler) {}
    constexpr const Method& method() const { return *method_; }
    constexpr detail::Handler handler() const { return handler_; }

   private:
    const Method* method_;
    detail::Handler handler_;
  };

  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  virtual ~Service() = default;

  // "package.Service"
  std::string_view name() const { return name_; }
  std::span<const Entry> methods() const { return methods_; }

 protected:
  // Both live as long as the program.
  Service(std::string_view name, std::span<const Entry> methods)
      : name_(name), methods_(methods) {}

 private:
  std::string_view name_;
  std::span<const Entry> methods_;
};

namespace detail {

// One handler per shape of method. `kFunction` is the member function of the
// generated class S.

template <typename Reply>
absl::Status Answer(ServerCall& call, const absl::StatusOr<Reply>& reply) {
  if (!reply.ok()) return reply.status();
  call.SetReply(Serialize(*reply));
  return absl::OkStatus();
}

template <typename S, auto kFunction, typename Request, typename Reply>
Task<absl::Status> HandleUnary(Service& service, ServerCall& call) {
  std::optional<Request> request =
      co_await OrReturn(Receiving<Request>(&call.flow()));
  if (!request.has_value()) co_return call.NoRequest();
  absl::StatusOr<Reply> reply = co_await (static_cast<S&>(service).*kFunction)(
      call.context(), *std::move(request));
  co_return Answer(call, reply);
}

template <typename S, auto kFunction, typename Request, typename Reply>
Task<absl::Status> HandleClientStreaming(Service& service, ServerCall& call) {
  absl::StatusOr<Reply> reply = co_await (static_cast<S&>(service).*kFunction)(
      call.context(), Source<Request>(&call.flow()));
  co_return Answer(call, reply);
}

template <typename S, auto kFunction, typename Request, typename Reply>
Task<absl::Status> HandleServerStreaming(Service& service, ServerCall& call) {
  std::optional<Request> request =
      co_await OrReturn(Receiving<Request>(&call.flow()));
  if (!request.has_value()) co_return call.NoRequest();
  co_return co_await (static_cast<S&>(service).*kFunction)(
      call.context(), *std::move(request), Sink<Reply>(&call.flow()));
}

template <typename S, auto kFunction, typename Request, typename Reply>
Task<absl::Status> HandleBidiStreaming(Service& service, ServerCall& call) {
  co_return co_await (static_cast<S&>(service).*kFunction)(
      call.context(), Source<Request>(&call.flow()), Sink<Reply>(&call.flow()));
}

// What a generated method does that isn't overridden.
absl::Status Unimplemented(const ServerContext& context);

}  // namespace detail
}  // namespace braid::rpc

#endif  // BRAID_RPC_SERVICE_H_
