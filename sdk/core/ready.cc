#include "braid/core/ready.h"

#include <string>
#include <utility>

namespace braid::detail {

StartingOp::~StartingOp() {
  if (token_ != nullptr) token_->op_ = nullptr;
}

void StartingOp::Begin(ChildBase& child) {
  child_ = &child;
  child.starter = this;
}

void StartingOp::BecomeReady() {
  if (cancelled_) return;  // just now
  child_->starter = nullptr;
  child_ = nullptr;
  ready_ = true;
  Complete();
}

void StartingOp::Cancel() noexcept {
  // Not before the child has ended: it uses what the caller lent it, and its
  // error must not get lost.
  cancelled_ = true;
  child_->CancelTask("the call that started it was cancelled");
}

void StartingOp::ChildEnded(Starter& starter, ChildBase& child, ChildEnd end) {
  auto& self = static_cast<StartingOp&>(starter);
  self.child_ = nullptr;
  // The task may have handed it on to another that goes on.
  if (self.token_ != nullptr)
    std::exchange(self.token_, nullptr)->op_ = nullptr;
  if (end == ChildEnd::kStopped && self.cancelled_) return self.Stop();
  const std::string name(child.name.view());
  switch (end) {
    case ChildEnd::kFailed:
      self.exception_ = child.exception();
      self.failure_ = child.status();
      break;
    case ChildEnd::kCompleted:
      if (self.cancelled_) return self.Stop();
      self.failure_ = absl::FailedPreconditionError(
          "task '" + name + "' ended without saying that it is ready");
      break;
    case ChildEnd::kStopped:
      self.failure_ = absl::CancelledError(
          "task '" + name + "' was cancelled before it was ready");
      break;
  }
  self.Complete();
}

absl::Status StartingOp::TakeFailure() {
  if (exception_ != nullptr) Rethrow(exception_);
  return failure_;
}

ReadyBase::ReadyBase(StartingOp* op) : op_(op) { op->token_ = this; }

ReadyBase::ReadyBase(ReadyBase&& other) noexcept
    : op_(std::exchange(other.op_, nullptr)),
      reported_(std::exchange(other.reported_, true)) {
  if (op_ != nullptr) op_->token_ = this;
}

ReadyBase::~ReadyBase() {
  if (op_ != nullptr) op_->token_ = nullptr;
}

StartingOp* ReadyBase::BeginReport() {
  Check(!reported_,
        "Ready::Set is called twice, or on a Ready that was moved from");
  reported_ = true;
  return op_ != nullptr && op_->listens() ? op_ : nullptr;
}

void ReadyBase::EndReport() {
  op_->token_ = nullptr;
  std::exchange(op_, nullptr)->BecomeReady();
}

}  // namespace braid::detail
