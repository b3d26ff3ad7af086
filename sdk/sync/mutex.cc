#include "braid/sync/mutex.h"

namespace braid {

std::optional<Mutex::Guard> Mutex::TryLock() {
  home_.CheckHere();
  const detail::Loop* loop = detail::Loop::CurrentOrNull();
  const detail::TaskNode* task = loop == nullptr ? nullptr : loop->current();
  if (!TryTake(task == nullptr ? kNoTask : task->id)) return std::nullopt;
  return Guard(this);
}

Mutex::Stats Mutex::stats() const {
  return {locked(), owner_ == kNoTask ? 0 : owner_, waiters_.Count()};
}

void Mutex::HandOver() {
  while (!waiters_.empty()) {
    auto& waiter = static_cast<Waiter&>(waiters_.PopFront());
    if (waiter.shielded_ || !waiter.task()->due()) {
      owner_ = waiter.owner_;
      waiter.Locked();
      return;
    }
    waiter.Stop();
  }
}

void Mutex::LockFor(Waiter& waiter) {
  if (owner_ == kFree) {
    owner_ = waiter.owner_;
    waiter.Locked();
  } else {
    waiter.WaitIn(waiters_);
  }
}

}  // namespace braid
