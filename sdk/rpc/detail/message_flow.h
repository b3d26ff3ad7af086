// The messages of one call, both ways, between tasks and a port (the wire).
//
// This is where a transport's rules become those of operations:
//   - A read can't be withdrawn, so a stopped Receive leaves it under way and
//     the next one gets its message. Nothing is lost.
//   - One message is on its way at a time. A Send completes once the call has
//     taken the message, which it does when the one before has gone: a message
//     that was taken belongs to the call; a stopped Send has sent nothing.
//
// Not for: when a call begins and how it ends; that is ServerCall's and
// ClientCall's.

#ifndef BRAID_RPC_DETAIL_MESSAGE_FLOW_H_
#define BRAID_RPC_DETAIL_MESSAGE_FLOW_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/operation.h"
#include "braid/rpc/observer.h"
#include "braid/rpc/transport.h"

namespace google::protobuf {
class MessageLite;
}  // namespace google::protobuf

namespace braid::rpc::detail {

using braid::detail::Check;
using braid::detail::Loop;

// Fails where a required field of proto2 isn't set, and above 2 GiB.
absl::StatusOr<std::string> Serialize(
    const google::protobuf::MessageLite& message);
// INTERNAL, naming `path`, if `bytes` aren't such a message.
absl::Status Parse(const std::string& bytes, std::string_view path,
                   google::protobuf::MessageLite& message);

class MessageFlow {
 public:
  class ReceiveOp;
  class SendOp;

  // Where the flow asks for messages and puts them.
  class Port {
   public:
    virtual void Read() = 0;
    virtual void Write(std::string message) = 0;
    virtual void HalfClose() = 0;

   protected:
    ~Port() = default;
  };

  // `path`, `port` and the observer outlive it.
  MessageFlow(std::string_view path, Port* port) : path_(path), port_(port) {}
  MessageFlow(const MessageFlow&) = delete;
  MessageFlow& operator=(const MessageFlow&) = delete;

  void SetObserver(MethodObserver* observer) { observer_ = observer; }

  // Events.

  void Arrived(std::string message);
  // The other side has sent its last message: Receive gives nullopt.
  void NoMoreMessages();
  void Written(bool ok);
  // The call is over, whatever was under way. Receive gives what has come, then
  // nullopt or the error; Send gives the error. The first end counts.
  void End(const absl::Status& status);

  // Whether a message is on its way out.
  bool writing() const { return writing_; }
  std::string_view path() const { return path_; }

 private:
  bool MayReceive() const {
    return message_.has_value() || no_more_ || end_.has_value();
  }
  // What Receive gives; MayReceive().
  absl::StatusOr<std::optional<std::string>> Take();
  void Wake();

  std::string_view path_;
  Port* port_;
  MethodObserver* observer_ = nullptr;
  std::optional<std::string> message_;  // read, and not received yet
  std::optional<absl::Status> end_;
  ReceiveOp* receiver_ = nullptr;
  braid::detail::IntrusiveList<SendOp> senders_;  // waits for `writing_`
  bool reading_ = false;
  bool no_more_ = false;
  bool writing_ = false;
  bool closed_ = false;  // this side has half-closed
};

// Gives the next message; nullopt at the end.
class MessageFlow::ReceiveOp : public OperationBase {
 public:
  explicit ReceiveOp(MessageFlow* flow) : flow_(flow) {}

  bool Try();
  void Suspend();
  void Cancel() noexcept override;
  absl::StatusOr<std::optional<std::string>> TakeResult() {
    return std::move(result_);
  }

 protected:
  std::string_view path() const { return flow_->path_; }

 private:
  friend class MessageFlow;
  MessageFlow* flow_;
  absl::StatusOr<std::optional<std::string>> result_ = std::nullopt;
};

// Sends a message, or ends this side's messages.
class MessageFlow::SendOp : public OperationBase,
                            public braid::detail::IntrusiveListNode {
 public:
  SendOp(MessageFlow* flow, absl::StatusOr<std::string> message)
      : flow_(flow), message_(std::move(message)) {}
  // The end of a client's messages.
  explicit SendOp(MessageFlow* flow) : flow_(flow), half_close_(true) {}

  bool Try();
  void Suspend() { flow_->senders_.PushBack(*this); }
  void Cancel() noexcept override;
  absl::Status TakeResult();

 private:
  friend class MessageFlow;
  // Nothing is on its way.
  void Send();

  MessageFlow* flow_;
  absl::StatusOr<std::string> message_ = std::string();
  bool half_close_ = false;
  bool sent_ = false;
};

// A ReceiveOp whose messages are of a type.
template <typename Message>
class ReceiveMessageOp final : public MessageFlow::ReceiveOp {
 public:
  using ReceiveOp::ReceiveOp;

  absl::StatusOr<std::optional<Message>> TakeResult() {
    absl::StatusOr<std::optional<std::string>> bytes = ReceiveOp::TakeResult();
    if (!bytes.ok()) return std::move(bytes).status();
    std::optional<Message> message;
    if (bytes->has_value()) {
      absl::Status status = Parse(**bytes, path(), message.emplace());
      if (!status.ok()) return status;
    }
    return message;
  }
};

template <typename Message>
using Receiving = Operation<ReceiveMessageOp<Message>, MessageFlow*>;
using Sending =
    Operation<MessageFlow::SendOp, MessageFlow*, absl::StatusOr<std::string>>;
using HalfClosing = Operation<MessageFlow::SendOp, MessageFlow*>;

}  // namespace braid::rpc::detail

#endif  // BRAID_RPC_DETAIL_MESSAGE_FLOW_H_
