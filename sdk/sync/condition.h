// Condition: waits, with a mutex given up meanwhile, until another task says
// that what the mutex protects has changed.
//
//   Mutex mutex;
//   Condition changed;
//   // One task:
//   Mutex::Guard guard = co_await mutex.Lock();
//   co_await changed.WaitFor(guard, [&] { return !queue.empty(); });
//   // Another, which holds the mutex while it changes the queue:
//   queue.push_back(item);
//   changed.Notify();
//
// For: state behind a Mutex that several tasks watch for different things.
// Where the state changes without an await in between and no mutex is needed,
// Event, Watch or a channel say it shorter.
//
// Rules: waiters are notified in the order in which they began to wait. A
// notification goes to tasks that wait at that moment and is not kept for later
// ones. It is never given to a task with a pending cancellation; a task that is
// cancelled after it was notified and before it has the mutex again passes the
// notification on. So a task may be woken for what others have dealt with
// already: look at the state again, as WaitFor does.
//
// It may be built where no loop runs, belongs to the thread of the loop that
// awaits it first, and outlives its waiters (both checked).

#ifndef BRAID_SYNC_CONDITION_H_
#define BRAID_SYNC_CONDITION_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "braid/core/operation.h"
#include "braid/core/task.h"
#include "braid/sync/detail/wait_queue.h"
#include "braid/sync/mutex.h"

namespace braid {

class Condition {
 public:
  struct Stats {
    size_t tasks_waiting = 0;  // to be notified
    size_t tasks_locking = 0;  // notified or cancelled, for the mutex
  };

  Condition() = default;
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;
  ~Condition();

  // Unlocks the guard's mutex, waits for a notification, and locks the mutex
  // again. `guard` holds the lock (checked) and stays where it is; it is empty
  // while the task waits. All tasks that wait at one time use the same mutex
  // (checked).
  //
  // Completes when the task was notified and has the mutex. Cancelled: the
  // guard still gets the mutex back, however long that takes, before the task
  // is stopped, so that what the task's destructors look at is protected.
  auto Wait(Mutex::Guard& guard) {
    return Operation<WaitOp, Condition*, Mutex::Guard*>(this, &guard);
  }

  // Waits until `predicate()` holds; the mutex is locked whenever it is called.
  // Doesn't wait, and is no checkpoint, if it holds at once. `guard` outlives
  // the await. Cancelled as Wait.
  template <std::predicate Predicate>
  Task<void> WaitFor(Mutex::Guard& guard, Predicate predicate) {
    while (!predicate()) co_await Wait(guard);
  }

  // Wakes the `n` tasks that have waited longest, or all if there are fewer.
  // Resumes nothing inline: may be called from any destructor. The mutex need
  // not be locked, but is usually the reason why there is something to notify.
  void Notify(size_t n = 1);
  void NotifyAll() { Notify(SIZE_MAX); }

  // Linear in the number of waiting tasks.
  Stats stats() const { return {waiters_.Count(), locking_}; }

 private:
  class WaitOp final : public Mutex::Waiter {
   public:
    WaitOp(Condition* condition, Mutex::Guard* guard)
        : condition_(condition), guard_(guard) {}
    bool Try() { return false; }
    void Suspend();
    void Cancel() noexcept override;
    void Locked() override;
    void TakeResult() noexcept {}

   private:
    friend class Condition;
    enum class State : unsigned char { kWaiting, kNotified, kStopping };

    // It has left the condition's queue: from here on it waits for the mutex.
    void Relock(State state);

    Condition* condition_;
    Mutex::Guard* guard_;
    Mutex* mutex_ = nullptr;
    State state_ = State::kWaiting;
  };

  detail::WaitQueue waiters_;
  size_t locking_ = 0;
  detail::Home home_;
};

}  // namespace braid

#endif  // BRAID_SYNC_CONDITION_H_
