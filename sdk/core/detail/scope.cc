#include "braid/core/detail/scope.h"

#include <new>
#include <utility>

#include "braid/core/detail/loop.h"
#include "braid/core/detail/task_node.h"
#include "braid/core/operation.h"

namespace braid::detail {

void Scope::Enter(TaskNode& task) {
  Link(*task.loop(), task.scope, &task);
  task.scope = this;
}

void Scope::Leave() {
  Check(owner_->scope == this, "a cancel scope ends out of order");
  owner_->scope = parent_;
  Unlink();
}

void Scope::CheckThread() const {
  Check(loop_->OnItsThread(),
        "a cancel scope or task group is changed from another thread; hand "
        "the change to its own loop");
  loop_->Disturb();
}

void Scope::Cancel(CancelCause::Source source,
                   std::string_view reason) noexcept {
  if (cancelled_) return;
  cancelled_ = true;
  source_ = source;
  if (loop_ != nullptr) CheckThread();
  if (!reason.empty() || source == CancelCause::Source::kExplicit) {
    const TaskNode* by =
        current_loop != nullptr ? current_loop->current() : nullptr;
    try {
      detailed_cause_ = std::make_unique<CancelCause>(CancelCause{
          source, std::string(reason),
          by != nullptr ? std::string(by->name.view()) : std::string()});
    } catch (const std::bad_alloc&) {
      detailed_cause_ = nullptr;  // then without a reason, but cancelled
    }
  }
  if (loop_ == nullptr) return;
  loop_->timers_.Remove(*this);
  if (!due_) loop_->StartCancel(this);
}

void Scope::SetDeadline(Time deadline) {
  if (loop_ != nullptr) CheckThread();
  const bool too_late = loop_ != nullptr && cancel_called();
  deadline_ = deadline;
  if (loop_ == nullptr || too_late) return;
  loop_->timers_.Remove(*this);
  if (deadline != kNever) ArmDeadline(loop_->Now());
}

void Scope::ArmDeadline(Time now) {
  if (cancelled_ || deadline_ == kNever) return;
  if (deadline_ <= now) {
    Cancel(CancelCause::Source::kDeadline);
  } else {
    loop_->timers_.Add(*this, deadline_);
  }
}

void Scope::SetShield(bool shield) {
  if (loop_ != nullptr) CheckThread();
  if (shield_ == shield) return;
  if (loop_ == nullptr || shield) {
    shield_ = shield;
    if (loop_ != nullptr && due_ && !cancelled_) loop_->RecomputeDue(this);
    return;
  }
  shield_ = false;
  if (!due_ && due_from_outside()) loop_->StartCancel(this);
}

bool Scope::cancel_called() {
  const bool ended = entered_ && loop_ == nullptr;
  if (!cancelled_ && deadline_ != kNever && !ended) {
    const Loop* loop = loop_ != nullptr ? loop_ : current_loop;
    if (loop != nullptr && deadline_ <= loop->Now()) {
      Cancel(CancelCause::Source::kDeadline);
    }
  }
  return cancelled_;
}

bool Scope::DueSlow() const {
  if (loop_->abandoned_) return true;
  const uint32_t wave = loop_->cancel_wave_;
  const Scope* scope = this;
  bool due = false;
  while (scope != nullptr && scope->not_due_in_ != wave) {
    due = scope->due_;
    if (due || scope->shield_) break;
    scope = scope->parent_;
  }
  if (due) return true;
  for (const Scope* seen = this; seen != nullptr && seen->not_due_in_ != wave;
       seen = seen->parent_) {
    seen->not_due_in_ = wave;
    if (seen == scope) break;
  }
  return false;
}

void Scope::MakeDue() {
  due_ = true;
  ++loop_->stats_.cancels_delivered;
  if (owner_ == nullptr || owner_->scope != this) return;
  // Taken out first: it is asked once, however often a shield makes this node
  // due again.
  OperationBase* parked = std::exchange(owner_->parked, nullptr);
  if (parked != nullptr) parked->Cancel();
}

std::optional<CancelCause> Scope::cause() const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_) {
    if (scope->cancelled_) {
      return scope->detailed_cause_ != nullptr
                 ? *scope->detailed_cause_
                 : CancelCause{scope->source_, {}, {}};
    }
    if (scope->shield_) break;
  }
  return std::nullopt;
}

std::string Scope::CauseText() const noexcept {
  try {
    return cause().value_or(CancelCause()).ToString();
  } catch (const std::bad_alloc&) {
    return "";
  }
}

void Scope::MarkCaughtOutside() {
  for (Scope* scope = parent_; scope != nullptr; scope = scope->parent_) {
    if (scope->cancelled_) {
      scope->caught_ = true;
      return;
    }
    if (scope->shield_) return;
  }
}

void Scope::RequestStop() {
  if (stop_requested_) return;
  stop_requested_ = true;
  if (loop_ == nullptr) return;
  CheckThread();
  IntrusiveList<StopWaiter>& waiters = loop_->stop_waiters();
  for (StopWaiter* waiter = waiters.front(); waiter != nullptr;) {
    StopWaiter* next = waiters.Next(waiter);
    if (waiter->scope->stop_requested()) waiter->wake(*waiter);
    waiter = next;
  }
}

bool Scope::stop_requested() const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_) {
    if (scope->stop_requested_) return true;
  }
  return false;
}

void Scope::OnDeadline(Timer& timer) {
  static_cast<Scope&>(timer).Cancel(CancelCause::Source::kDeadline);
}

}  // namespace braid::detail
