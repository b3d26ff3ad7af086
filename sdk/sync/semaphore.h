// Semaphore: at most so many at a time.
//
//   Semaphore uploads(8);
//   Semaphore::Permit permit = co_await uploads.Acquire();
//   co_await Upload(file);                     // the permit goes back after it
//
// For: limiting how much goes on at once, and counting what one task provides
// and another uses up (Release without a permit, Permit::Detach). Where each
// task or object may have one at most and the limit changes while the program
// runs, use CapacityLimiter; for one at a time, Mutex.
//
// Rules: tasks get permits in the order in which they asked. A permit that
// comes back goes to the next one at once, so nobody can take it in between,
// and never to a task with a pending cancellation. Who gives it back does not
// matter.
//
// It may be built, and released into, where no loop runs; it belongs to the
// thread of the loop that awaits it first, and outlives its permits and waiters
// (both checked).

#ifndef BRAID_SYNC_SEMAPHORE_H_
#define BRAID_SYNC_SEMAPHORE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "braid/core/check.h"
#include "braid/core/operation.h"
#include "braid/sync/detail/wait_queue.h"

namespace braid {

class Semaphore {
 public:
  struct Stats {
    size_t value = 0;
    size_t permits_held = 0;  // by Permit objects
    size_t tasks_waiting = 0;
  };

  // One permit, given back when this is destroyed, also where that happens
  // because its task was stopped; resumes nothing inline.
  class [[nodiscard("the permit is given back at once")]] Permit {
   public:
    // Holds nothing.
    Permit() = default;
    Permit(Permit&& other) noexcept
        : semaphore_(std::exchange(other.semaphore_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      if (this != &other) {
        Release();
        semaphore_ = std::exchange(other.semaphore_, nullptr);
      }
      return *this;
    }
    ~Permit() { Release(); }

    // Gives it back early. Nothing happens if it holds nothing.
    void Release() {
      if (Semaphore* semaphore = Forget()) semaphore->Release();
    }
    // Uses it up: it does not go back. Semaphore::Release makes another.
    void Detach() { Forget(); }
    // Whether it holds a permit.
    explicit operator bool() const { return semaphore_ != nullptr; }

   private:
    friend class Semaphore;
    explicit Permit(Semaphore* semaphore) : semaphore_(semaphore) {}
    Semaphore* Forget() {
      if (semaphore_ != nullptr) --semaphore_->held_;
      return std::exchange(semaphore_, nullptr);
    }

    Semaphore* semaphore_ = nullptr;
  };

  // `initial` permits are free. There are never more than `max` free ones.
  explicit Semaphore(size_t initial, size_t max = SIZE_MAX)
      : value_(initial), max_(max) {
    detail::Check(initial <= max,
                  "a semaphore begins with more permits than its maximum");
  }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  ~Semaphore() {
    detail::Check(held_ == 0,
                  "a semaphore is destroyed while permits are held; let it "
                  "outlive them");
  }

  // Completes with a Permit once there is one for the calling task. Cancelled
  // while it waits: it leaves the queue and no permit is used up.
  auto Acquire() { return Operation<AcquireOp, Semaphore*>(this); }

  // A Permit if one is free. Doesn't look for cancellation.
  [[nodiscard]] std::optional<Permit> TryAcquire() {
    home_.CheckHere();
    if (!TryTake()) return std::nullopt;
    return Permit(this);
  }

  // Adds a permit: one that was detached, or a new one. More free permits than
  // the maximum is a failed check. Resumes nothing inline.
  void Release() {
    home_.CheckHere();
    if (auto* waiter = static_cast<AcquireOp*>(waiters_.PopLive())) {
      ++held_;
      waiter->Give();
      return;
    }
    detail::Check(value_ < max_,
                  "a semaphore is released above its maximum; release only "
                  "what was acquired and detached");
    ++value_;
  }

  // Permits that are free.
  size_t value() const { return value_; }
  size_t max_value() const { return max_; }
  // Linear in the number of waiting tasks.
  Stats stats() const { return {value_, held_, waiters_.Count()}; }

 private:
  class AcquireOp final : public detail::WaitOperation {
   public:
    explicit AcquireOp(Semaphore* semaphore) : semaphore_(semaphore) {}
    bool Try() {
      semaphore_->home_.Enter();
      if (!semaphore_->TryTake()) return false;
      permit_.semaphore_ = semaphore_;
      return true;
    }
    void Suspend() { WaitIn(semaphore_->waiters_); }
    void Give() {
      permit_.semaphore_ = semaphore_;
      Complete();
    }
    Permit TakeResult() noexcept { return std::move(permit_); }

   private:
    Semaphore* semaphore_;
    Permit permit_;  // goes back where a crash comes before it is taken
  };

  bool TryTake() {
    if (value_ == 0) return false;
    --value_;
    ++held_;
    return true;
  }

  size_t value_;
  size_t max_;
  size_t held_ = 0;  // by Permits
  detail::WaitQueue waiters_;
  detail::Home home_;
};

}  // namespace braid

#endif  // BRAID_SYNC_SEMAPHORE_H_
