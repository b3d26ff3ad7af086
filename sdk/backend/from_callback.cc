#include "braid/backend/from_callback.h"

namespace braid::detail {

bool CallbackStateBase::Await(Waiter& waiter) {
  const std::lock_guard lock(mutex_);
  if (called_) return true;
  waiter_ = &waiter;
  return false;
}

bool CallbackStateBase::Abandon() {
  const std::lock_guard lock(mutex_);
  if (called_) return false;
  abandoned_ = true;
  waiter_ = nullptr;
  return true;
}

bool CallbackStateBase::BeginWithdraw() {
  const std::lock_guard lock(mutex_);
  withdrawing_ = !called_;
  return withdrawing_;
}

void CallbackStateBase::EndWithdraw() {
  {
    const std::lock_guard lock(mutex_);
    withdrawing_ = false;
    if (!dropped_) return;
  }
  Dropped();
}

void CallbackStateBase::Announce() {
  if (waiter_ == nullptr) return;  // still within `start`
  AddRef();
  loop_->Post(this);
}

void CallbackStateBase::Deliver(InboxNode& node) {
  auto& self = static_cast<CallbackStateBase&>(node);
  Waiter* waiter = nullptr;
  {
    // Whoever posted this has left the loop alone once the lock is free.
    const std::lock_guard lock(self.mutex_);
    waiter = std::exchange(self.waiter_, nullptr);
  }
  waiter->Complete();
  self.DropRef();
}

}  // namespace braid::detail
