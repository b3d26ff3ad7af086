// What every primitive is made of: a FIFO of waiting tasks, and the thread it
// belongs to.
//
// For: sdk/sync and other leaf operations whose waiters are served in order.
// Nothing here allocates, and nothing resumes a task inline.

#ifndef BRAID_SYNC_DETAIL_WAIT_QUEUE_H_
#define BRAID_SYNC_DETAIL_WAIT_QUEUE_H_

#include <cstddef>
#include <source_location>

#include "braid/core/check.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/loop.h"
#include "braid/core/operation.h"

namespace braid::detail {

class WaitQueue;

// The state of an operation that waits in one queue until somebody takes it out
// and completes it. A cancelled one leaves the queue at once.
class WaitOperation : public OperationBase, public IntrusiveListNode {
 public:
  inline void Cancel() noexcept override;

  // From Suspend(), or later to wait for something else.
  inline void WaitIn(WaitQueue& queue);

  // For whoever took it out of the queue.
  using OperationBase::Complete;
  using OperationBase::Stop;

 protected:
  WaitOperation() = default;
  ~WaitOperation() = default;

  WaitQueue* queue() const { return queue_; }

 private:
  WaitQueue* queue_ = nullptr;
};

class WaitQueue {
 public:
  bool empty() const { return waiters_.empty(); }
  // Linear.
  size_t Count() const { return waiters_.Count(); }

  // The first waiter, nullptr if there is none; and the one after `waiter`.
  WaitOperation* front() { return waiters_.front(); }
  WaitOperation* Next(WaitOperation* waiter) { return waiters_.Next(waiter); }

  void PushBack(WaitOperation& waiter) { waiters_.PushBack(waiter); }
  void Remove(WaitOperation& waiter) { waiters_.Remove(waiter); }
  // It must not be empty.
  WaitOperation& PopFront() {
    WaitOperation* first = waiters_.front();
    if (first == nullptr) __builtin_unreachable();
    waiters_.Remove(*first);
    return *first;
  }

  // Stops the tasks at the front that have a pending cancellation, so that
  // nothing is handed to them: a large cancellation that is still on its way
  // through the tree has not reached them yet. At other times a task leaves the
  // queue at the moment it is cancelled.
  [[gnu::always_inline]] void DropDue() {
    if (!empty() && front()->task()->due()) [[unlikely]]
      StopDue();
  }
  // The first waiter that something may be handed to, taken out; nullptr if
  // there is none.
  WaitOperation* PopLive() {
    DropDue();
    return empty() ? nullptr : &PopFront();
  }

 private:
  void StopDue();

  IntrusiveList<WaitOperation> waiters_;
};

inline void WaitOperation::WaitIn(WaitQueue& queue) {
  queue_ = &queue;
  queue.PushBack(*this);
}

inline void WaitOperation::Cancel() noexcept {
  queue_->Remove(*this);
  Stop();
}

// The thread a primitive belongs to. It may be built anywhere, also where no
// loop runs; the first await settles it, and any use from another thread after
// that is a failed check.
class Home {
 public:
  // From an await.
  void Enter() {
    if (home_ != &current_loop) [[unlikely]] {
      Settle();
    }
  }
  // Whether Enter() has nothing to do.
  bool here() const { return home_ == &current_loop; }
  // From anything else.
  void CheckHere() const {
    if (home_ != &current_loop && home_ != nullptr) [[unlikely]] {
      WrongThread();
    }
  }

 private:
  void Settle();
  [[noreturn]] static void WrongThread();

  // The address of a thread-local tells threads apart for nothing.
  Loop** home_ = nullptr;
};

}  // namespace braid::detail

#endif  // BRAID_SYNC_DETAIL_WAIT_QUEUE_H_
