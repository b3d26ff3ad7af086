// Mutex: one task at a time, across awaits.
//
//   Mutex mutex;
//   {
//     Mutex::Guard guard = co_await mutex.Lock();
//     co_await connection.Send(request);
//     reply = co_await connection.Receive();
//   }                                          // the guard unlocks
//
// For: a stretch of code with awaits in it that no other task may run at the
// same time. Between two awaits a task has its loop to itself anyway and needs
// no mutex. Not for: threads; a Mutex belongs to the thread of the loop that
// awaits it first (checked). It may be built where no loop runs.
//
// Rules: tasks get the lock in the order in which they asked. Unlocking hands
// it to the next one at once, so nobody can take it in between, and never to a
// task with a pending cancellation. The guard unlocks when it is destroyed, so
// a task that ends or is stopped leaves nothing locked. Locking twice in one
// task is a failed check. It outlives its guards and waiters (checked).

#ifndef BRAID_SYNC_MUTEX_H_
#define BRAID_SYNC_MUTEX_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "braid/core/check.h"
#include "braid/core/operation.h"
#include "braid/sync/detail/wait_queue.h"

namespace braid {

class Condition;

class Mutex {
 public:
  struct Stats {
    bool locked = false;
    // TaskInfo::id of the task that locked it; 0 if it isn't locked, or was
    // locked where no task ran.
    uint64_t owner = 0;
    size_t tasks_waiting = 0;
  };

  // Holds the lock. Unlocks when it is destroyed, also where that happens
  // because its task was stopped; resumes nothing inline.
  class [[nodiscard("the lock is released at once")]] Guard {
   public:
    // Holds nothing.
    Guard() = default;
    Guard(Guard&& other) noexcept
        : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&& other) noexcept {
      if (this != &other) {
        Unlock();
        mutex_ = std::exchange(other.mutex_, nullptr);
      }
      return *this;
    }
    ~Guard() { Unlock(); }

    // Unlocks early. Nothing happens if it holds nothing.
    void Unlock() {
      if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->Unlock();
    }
    // Whether it holds the lock.
    explicit operator bool() const { return mutex_ != nullptr; }

   private:
    friend class Mutex;
    friend class Condition;
    explicit Guard(Mutex* mutex) : mutex_(mutex) {}

    Mutex* mutex_ = nullptr;
  };

  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() {
    detail::Check(!locked(),
                  "a mutex is destroyed while it is locked; let it outlive the "
                  "guards");
  }

  // Completes with a Guard once the calling task has the lock. Cancelled while
  // it waits: it leaves the queue, and the lock goes to others.
  //
  // The lock counts as the task's that asked for it until it is unlocked, also
  // if the guard is moved into another task.
  auto Lock() { return Operation<LockOp, Mutex*>(this); }

  // A Guard if the mutex is free, nothing if another task has it. Doesn't look
  // for cancellation.
  [[nodiscard]] std::optional<Guard> TryLock();

  bool locked() const { return owner_ != kFree; }
  // Linear in the number of waiting tasks.
  Stats stats() const;

 private:
  friend class Condition;

  static constexpr uint64_t kFree = 0;  // no task has this id
  static constexpr uint64_t kNoTask = UINT64_MAX;

  // Something that waits for the lock.
  class Waiter : public detail::WaitOperation {
   public:
    // It has the lock now.
    virtual void Locked() = 0;

   protected:
    friend class Mutex;
    ~Waiter() = default;

    uint64_t owner_ = kFree;  // whose the lock is then
    bool shielded_ = false;   // it gets the lock even if its task is cancelled
  };

  class LockOp final : public Waiter {
   public:
    explicit LockOp(Mutex* mutex) : mutex_(mutex) {}
    bool Try() {
      mutex_->home_.Enter();
      owner_ = detail::Loop::Current().CurrentTask().id;
      if (!mutex_->TryTake(owner_)) return false;
      guard_.mutex_ = mutex_;
      return true;
    }
    void Suspend() { WaitIn(mutex_->waiters_); }
    void Locked() override {
      guard_.mutex_ = mutex_;
      Complete();
    }
    Guard TakeResult() noexcept { return std::move(guard_); }

   private:
    Mutex* mutex_;
    Guard guard_;  // unlocks where a crash comes before it is taken
  };

  bool TryTake(uint64_t task) {
    if (owner_ == kFree) [[likely]] {
      owner_ = task;
      return true;
    }
    detail::Check(owner_ != task || task == kNoTask,
                  "a task locks a mutex that it has locked already and would "
                  "wait for itself; unlock the guard first, or pass the guard "
                  "on to what needs the lock");
    return false;
  }

  void Unlock() {
    home_.CheckHere();
    owner_ = kFree;
    if (!waiters_.empty()) [[unlikely]] {
      HandOver();
    }
  }
  void HandOver();
  // Gives the lock to `waiter`, now or in its turn.
  void LockFor(Waiter& waiter);

  detail::WaitQueue waiters_;
  uint64_t owner_ = kFree;
  detail::Home home_;
};

}  // namespace braid

#endif  // BRAID_SYNC_MUTEX_H_
