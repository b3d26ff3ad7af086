// Time and checkpoints.
//
//   co_await Checkpoint();  // let others run, and stop here if cancelled
//   co_await SleepFor(20ms);
//   Time start = Now();
//
// Sleeping completes at the first turn of the loop at or after its deadline;
// timers fire in the order of (deadline, registration) and cost no system call.
// Cancelled at any time; nothing is lost. A sleep whose time has come
// completes, also where a deadline of the same instant comes first.

#ifndef BRAID_CORE_SLEEP_H_
#define BRAID_CORE_SLEEP_H_

#include <optional>

#include "braid/core/awaitable.h"
#include "braid/core/cancel_cause.h"
#include "braid/core/detail/timer_queue.h"
#include "braid/core/operation.h"
#include "braid/core/time.h"

namespace braid {
namespace detail {

// Never ready and never parked: the task goes straight to the back of the ready
// queue, from where it can't be stopped any more.
class CheckpointAwaiter {
 public:
  bool Ready() const { return false; }
  void Start(Link* link) const {
    Loop& loop = Loop::Current();
    TaskNode& task = loop.CurrentTask();
    const bool due = loop.IsDue(task);
    task.ParkAt(link);
    if (due) [[unlikely]] {
      loop.EnqueueStopped(&task);
    } else {
      loop.Enqueue(&task);
    }
  }
  void TakeResult() const {}
};

class SleepOp final : public OperationBase, private Timer {
 public:
  explicit SleepOp(Delay delay)
      : Timer(&Fire), delay_(delay), at_(kNever), relative_(true) {}
  explicit SleepOp(Time at)
      : Timer(&Fire), delay_(kForever), at_(at), relative_(false) {}

  bool Try() { return false; }
  void Suspend();
  void Cancel() noexcept override;
  void TakeResult() {}

 private:
  static void Fire(Timer& timer) { static_cast<SleepOp&>(timer).Complete(); }

  Delay delay_;
  Time at_;
  bool relative_;
};

}  // namespace detail

// The loop's monotonic clock, read afresh. In a task or on a loop's thread.
inline Time Now() { return detail::Loop::Current().Now(); }

// Looks for cancellation and lets every other ready task run first.
inline auto Checkpoint() {
  return detail::Boundary<detail::CheckpointAwaiter>();
}

// Waits for `delay` from the await on. One that is zero or negative is a
// Checkpoint.
// It is an object and not a function so that an absl::Duration doesn't find
// absl::SleepFor instead, which blocks the thread.
inline constexpr struct {
  auto operator()(Delay delay) const {
    return Operation<detail::SleepOp, Delay>(delay);
  }
} SleepFor;  // NOLINT(readability-identifier-naming)

// Waits until `deadline`. One that has passed is a Checkpoint; kNever waits
// until cancelled.
inline auto SleepUntil(Time deadline) {
  return Operation<detail::SleepOp, Time>(deadline);
}

// Waits until cancelled.
inline auto SleepForever() { return SleepUntil(kNever); }

// Whether the current task stops at its next checkpoint.
inline bool CancelPending() {
  return detail::Loop::Current().CurrentTask().due();
}

// Why the current task stops at its next checkpoint: who cancelled it, with
// what reason. Empty if it doesn't.
inline std::optional<CancelCause> CancelReason() {
  return detail::Loop::Current().CurrentTask().scope->cause();
}

// The earliest deadline around the current task: kNever for none, kAlways if it
// is already cancelled. Shields hide what is outside of them.
Time CurrentDeadline();

}  // namespace braid

#endif  // BRAID_CORE_SLEEP_H_
