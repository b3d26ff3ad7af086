#include "braid/sync/condition.h"

#include <utility>

#include "braid/core/check.h"

namespace braid {

Condition::~Condition() {
  detail::Check(waiters_.empty() && locking_ == 0,
                "a condition is destroyed while tasks wait in it; end the "
                "tasks first");
}

void Condition::Notify(size_t n) {
  home_.CheckHere();
  while (n > 0 && !waiters_.empty()) {
    auto& waiter = static_cast<WaitOp&>(waiters_.PopFront());
    if (waiter.task()->due()) {
      waiter.Relock(WaitOp::State::kStopping);
    } else {
      waiter.Relock(WaitOp::State::kNotified);
      --n;
    }
  }
}

void Condition::WaitOp::Suspend() {
  condition_->home_.Enter();
  mutex_ = std::exchange(guard_->mutex_, nullptr);
  detail::Check(mutex_ != nullptr,
                "a task waits in a condition without holding the mutex; lock "
                "it and pass the guard");
  const auto* first = static_cast<const WaitOp*>(condition_->waiters_.front());
  detail::Check(first == nullptr || first->mutex_ == mutex_,
                "tasks wait in one condition with different mutexes; use a "
                "condition for each mutex");
  shielded_ = true;
  owner_ = mutex_->owner_;
  WaitIn(condition_->waiters_);
  mutex_->Unlock();
}

void Condition::WaitOp::Cancel() noexcept {
  switch (state_) {
    case State::kWaiting:
      queue()->Remove(*this);
      Relock(State::kStopping);
      break;
    case State::kNotified:
      state_ = State::kStopping;
      condition_->Notify();
      break;
    case State::kStopping:
      break;
  }
}

void Condition::WaitOp::Relock(State state) {
  state_ = state;
  ++condition_->locking_;
  mutex_->LockFor(*this);
}

void Condition::WaitOp::Locked() {
  --condition_->locking_;
  guard_->mutex_ = mutex_;
  if (state_ == State::kStopping) {
    Stop();
  } else {
    Complete();
  }
}

}  // namespace braid
