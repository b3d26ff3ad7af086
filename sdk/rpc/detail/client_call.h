// One call on a client: begins it, and makes its end an end of operations.
//
// The rule of deadlines lives here. A call inherits the deadline of the scope
// it begins in. Two clocks then run for one limit, the scope's and the
// transport's. Where the transport's comes first by a hair, its error is held
// back until the scope has had its chance to fire, so that what the caller sees
// doesn't depend on which was faster: it is always the scope.

#ifndef BRAID_RPC_DETAIL_CLIENT_CALL_H_
#define BRAID_RPC_DETAIL_CLIENT_CALL_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/detail/timer_queue.h"
#include "braid/core/operation.h"
#include "braid/core/time.h"
#include "braid/rpc/call_options.h"
#include "braid/rpc/detail/message_flow.h"
#include "braid/rpc/metadata.h"
#include "braid/rpc/transport.h"

namespace braid::rpc::detail {

// What the calls of a channel share.
class ChannelState {
 public:
  ChannelState(std::shared_ptr<ClientTransport> transport,
               RpcObserver* observer)
      : transport_(std::move(transport)), observer_(observer) {}

  ClientTransport& transport() { return *transport_; }
  // nullptr if nobody observes.
  MethodObserver* ObserverOf(const Method& method);

 private:
  std::shared_ptr<ClientTransport> transport_;
  RpcObserver* observer_;
  std::vector<std::pair<const Method*, MethodObserver*>> methods_;
};

class ClientCall : public ClientWireEvents, private braid::detail::Timer {
 public:
  ClientCall(const ClientCall&) = delete;
  ClientCall& operator=(const ClientCall&) = delete;

 protected:
  ClientCall(std::shared_ptr<ChannelState> channel, const Method* method)
      : Timer([](Timer& timer) { static_cast<ClientCall&>(timer).End(); }),
        channel_(std::move(channel)),
        method_(method) {}
  // Cancels the call if it has not ended.
  ~ClientCall();

  // From a task. `request` is an error where it can't be sent: the call ends
  // with that. May end before it returns.
  void Begin(std::optional<absl::StatusOr<std::string>> request,
             CallOptions& options);
  // Asks for an early end; Ended follows.
  void Cancel();
  // True: the call has ended, and Ended is held back no more but will not come.
  bool DropHeldEnd();

  // The call is over; wire() is gone.
  virtual void Ended(const absl::Status& status) = 0;

  const Method& method() const { return *method_; }
  ClientWire* wire() { return wire_; }
  MethodObserver* observer() { return observer_; }
  const Metadata& headers() const { return headers_; }
  const Metadata& trailers() const { return trailers_; }

 private:
  void OnHeaders(Metadata headers) final { headers_ = std::move(headers); }
  void OnEnd(absl::Status status, Metadata trailers) final;
  void Count(absl::StatusCode code);
  void End();

  std::shared_ptr<ChannelState> channel_;
  const Method* method_;
  Loop* loop_ = nullptr;
  ClientWire* wire_ = nullptr;
  MethodObserver* observer_ = nullptr;
  CallInfo* info_ = nullptr;
  Time begin_ = kNever;
  Time scope_deadline_ = kNever;  // inherited, and the call's
  absl::Status status_;
  Metadata headers_;
  Metadata trailers_;
  bool cancelled_ = false;
};

// A call with one request and one reply, as an operation.
class UnaryOp : public OperationBase, private ClientCall {
 public:
  UnaryOp(std::shared_ptr<ChannelState> channel, const Method* method,
          absl::StatusOr<std::string> request, CallOptions options)
      : ClientCall(std::move(channel), method),
        request_(std::move(request)),
        options_(std::move(options)) {}

  bool Try() { return false; }
  void Suspend();
  void Cancel() noexcept override;

 protected:
  // Fills `reply`.
  absl::Status Take(google::protobuf::MessageLite& reply);

 private:
  void OnRead(std::optional<std::string> message) override;
  void OnWritten(bool) override {}
  void Ended(const absl::Status& status) override;

  absl::StatusOr<std::string> request_;
  CallOptions options_;
  std::optional<std::string> reply_;
  absl::Status status_;
  bool stopping_ = false;
};

template <typename Reply>
class UnaryMessageOp final : public UnaryOp {
 public:
  using UnaryOp::UnaryOp;

  absl::StatusOr<Reply> TakeResult() {
    Reply reply;
    absl::Status status = Take(reply);
    if (!status.ok()) return status;
    return reply;
  }
};

// A call with a stream in at least one direction. Its handle owns it.
class StreamingCall final : public ClientCall, private MessageFlow::Port {
 public:
  // Begins it.
  StreamingCall(std::shared_ptr<ChannelState> channel, const Method* method,
                std::optional<absl::StatusOr<std::string>> request,
                CallOptions options);

  MessageFlow& flow() { return flow_; }
  using ClientCall::Cancel;
  using ClientCall::headers;
  using ClientCall::trailers;

 private:
  void OnRead(std::optional<std::string> message) override;
  void OnWritten(bool ok) override { flow_.Written(ok); }
  void Ended(const absl::Status& status) override;

  // The flow's way to the wire, which goes before the end is told.
  void Read() override {
    // An only reply is read unasked.
    if (wire() != nullptr && ServerStreams(method().kind())) wire()->Read();
  }
  void Write(std::string message) override {
    if (wire() != nullptr) wire()->Write(std::move(message));
  }
  void HalfClose() override {
    if (wire() != nullptr) wire()->HalfClose();
  }

  MessageFlow flow_;
  std::optional<std::string> only_reply_;  // of a method that has just one
};

}  // namespace braid::rpc::detail

#endif  // BRAID_RPC_DETAIL_CLIENT_CALL_H_
