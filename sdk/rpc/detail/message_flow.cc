#include "braid/rpc/detail/message_flow.h"

#include <google/protobuf/message_lite.h>

#include "absl/strings/str_cat.h"
#include "braid/core/status.h"

namespace braid::rpc::detail {
namespace {

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

absl::StatusOr<std::string> Serialize(
    const google::protobuf::MessageLite& message) {
  std::string bytes;
  if (message.IsInitialized() && message.SerializeToString(&bytes)) {
    return bytes;
  }
  std::string missing = message.InitializationErrorString();
  return absl::InternalError(absl::StrCat(
      "a ", message.GetTypeName(), " can't be sent: ",
      message.IsInitialized() ? "it is larger than 2 GiB"
                              : "required fields aren't set: " + missing));
}

absl::Status Parse(const std::string& bytes, std::string_view path,
                   google::protobuf::MessageLite& message) {
  if (message.ParseFromString(bytes)) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("a message of ", View(path), " isn't a valid ",
                   message.GetTypeName(), " (", bytes.size(),
                   " bytes); are both sides built from the same .proto?"));
}

void MessageFlow::Arrived(std::string message) {
  Check(!message_.has_value(), "a wire gave a message that nobody asked for");
  reading_ = false;
  if (observer_ != nullptr) observer_->MessageReceived();
  message_ = std::move(message);
  Wake();
}

void MessageFlow::NoMoreMessages() {
  reading_ = false;
  no_more_ = true;
  Wake();
}

absl::StatusOr<std::optional<std::string>> MessageFlow::Take() {
  if (message_.has_value()) {
    std::optional<std::string> message = std::move(message_);
    message_.reset();
    return message;
  }
  if (end_.has_value() && !end_->ok()) return *end_;
  return std::nullopt;
}

void MessageFlow::Wake() {
  if (receiver_ == nullptr) return;
  ReceiveOp* op = std::exchange(receiver_, nullptr);
  op->result_ = Take();
  op->Complete();
}

void MessageFlow::Written(bool ok) {
  writing_ = false;
  // A broken call ends soon, and End tells everybody why.
  if (!ok || end_.has_value()) return;
  if (SendOp* op = senders_.PopFront()) {
    op->Send();
    op->Complete();
  }
}

void MessageFlow::End(const absl::Status& status) {
  if (end_.has_value()) return;
  end_ = status;
  Wake();
  while (SendOp* op = senders_.PopFront()) op->Complete();
}

bool MessageFlow::ReceiveOp::Try() {
  if (flow_->receiver_ != nullptr) {
    result_ =
        BusyError(absl::StrCat("another task is receiving from this call "
                               "of ",
                               View(flow_->path_)));
    return true;
  }
  if (!flow_->MayReceive()) return false;
  result_ = flow_->Take();
  return true;
}

void MessageFlow::ReceiveOp::Suspend() {
  flow_->receiver_ = this;
  if (flow_->reading_) return;
  flow_->reading_ = true;
  flow_->port_->Read();
}

void MessageFlow::ReceiveOp::Cancel() noexcept {
  flow_->receiver_ = nullptr;
  Stop();
}

bool MessageFlow::SendOp::Try() {
  if (!message_.ok() || flow_->end_.has_value() || flow_->closed_) return true;
  if (flow_->writing_) return false;
  Send();
  return true;
}

void MessageFlow::SendOp::Send() {
  sent_ = true;
  if (half_close_) {
    flow_->closed_ = true;
    flow_->port_->HalfClose();
    // Those behind it come too late.
    while (SendOp* op = flow_->senders_.PopFront()) op->Complete();
    return;
  }
  flow_->writing_ = true;
  if (flow_->observer_ != nullptr) flow_->observer_->MessageSent();
  flow_->port_->Write(*std::move(message_));
}

void MessageFlow::SendOp::Cancel() noexcept {
  flow_->senders_.Remove(*this);
  Stop();
}

absl::Status MessageFlow::SendOp::TakeResult() {
  if (sent_) return absl::OkStatus();
  if (!message_.ok()) return message_.status();
  if (flow_->end_.has_value() && !flow_->end_->ok()) return *flow_->end_;
  if (half_close_) return absl::OkStatus();
  return ClosedError(absl::StrCat(
      View(flow_->path_),
      flow_->closed_ ? ": no message can be sent after the last one"
                     : ": the call has ended, no message can be sent"));
}

}  // namespace braid::rpc::detail
