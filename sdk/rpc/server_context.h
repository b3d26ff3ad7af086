// ServerContext: what a handler knows about its call, and what it sends beside
// replies.
//
//   Task<absl::StatusOr<StatsReply>> GetStats(rpc::ServerContext& context,
//                                             StatsRequest request) override {
//     if (!context.metadata().Get("x-token")) {
//       co_return absl::UnauthenticatedError("no token");
//     }
//     context.trailers().Add("cost", "3");
//     ...
//   }
//
// Lives until the handler has ended. The call's deadline is that of the scope
// the handler runs in: CurrentDeadline() gives it, and calls that the handler
// makes inherit it. Threads: the loop's.

#ifndef BRAID_RPC_SERVER_CONTEXT_H_
#define BRAID_RPC_SERVER_CONTEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/time.h"
#include "braid/rpc/metadata.h"
#include "braid/rpc/method.h"
#include "braid/rpc/transport.h"

namespace braid::rpc {

namespace detail {
class ServerCall;
}  // namespace detail

class ServerContext {
 public:
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  const Method& method() const { return *method_; }
  // What the client sent beside its request.
  const Metadata& metadata() const { return wire_->metadata(); }
  // The client's address, such as "ipv4:127.0.0.1:40312". Not proved.
  std::string peer() const { return wire_->peer(); }
  // The names that the client's certificate proves, best first (SPIFFE ID,
  // subject alternative names, common name). Empty without mutual TLS.
  std::vector<std::string> peer_identity() const {
    return wire_->peer_identity();
  }
  // kNever if the client set none.
  Time deadline() const { return deadline_; }

  // Sent with the first reply, or with the status if there is none. Adding to
  // them later is a failed check.
  Metadata& headers();
  // Sends the headers now, ahead of any reply. INVALID_ARGUMENT if one of them
  // can't be sent. Not a checkpoint.
  absl::Status SendHeaders();
  bool headers_sent() const { return headers_sent_; }

  // Sent with the status.
  Metadata& trailers() { return trailers_; }

 private:
  friend class detail::ServerCall;
  ServerContext(const Method* method, ServerWire* wire)
      : method_(method), wire_(wire), deadline_(wire->deadline()) {}

  const Method* method_;
  ServerWire* wire_;
  Time deadline_;
  Metadata headers_;
  Metadata trailers_;
  bool headers_sent_ = false;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_SERVER_CONTEXT_H_
