// Leaf operations: the points where a task waits, and where cancellation is
// looked for.
//
// For: writing a new thing to await, inside the SDK or outside. An operation
// has two parts, so that combinators can hold it without allocation and without
// a coroutine frame:
//   - a *description*, movable, returned by the function the user calls
//     (`event.Wait()`);
//   - a *state*, built in place by whoever awaits it, immovable, derived from
//     OperationBase.
//
//   class Event::WaitOp : public OperationBase {
//    public:
//     explicit WaitOp(Event* event);
//     // True: done without waiting.
//     bool Try();
//     // Called if Try() said false: register. Complete() or Stop() follows;
//     // not so where it throws, which it does before it has registered.
//     void Suspend();
//     // A request to withdraw. Stop() or Complete() follows, now or later.
//     void Cancel() noexcept override;
//     // What co_await gives. Called once, after completion only. Where it
//     // is noexcept, combinators need no frame for exceptions.
//     void TakeResult() noexcept;
//   };
//   auto Event::Wait() { return Operation<WaitOp, Event*>(this); }
//
// The rules every operation keeps (docs/awaiter-protocol.md has the state
// machine):
//   - It looks for cancellation first, then tries. A stopped operation did not
//     happen; a completed one did, and its result is delivered whatever was
//     cancelled meanwhile. Nothing is lost in between.
//   - After Suspend(), exactly one of Complete() and Stop() is called. Cancel()
//     is called at most once (but see RemainCancellable), and never after.
//   - Complete() and Stop() resume nothing: they put the task into the ready
//     queue. So all of this may happen inside a destructor.
//   - All of it happens on the thread of the loop that the task runs on.

#ifndef BRAID_CORE_OPERATION_H_
#define BRAID_CORE_OPERATION_H_

#include <utility>

#include "braid/core/check.h"
#include "braid/core/detail/link.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/pack.h"
#include "braid/core/detail/task_node.h"

namespace braid {

namespace detail {
template <typename Op>
class OperationAwaiter;
}

// The base of every leaf operation's state.
class OperationBase {
 public:
  OperationBase() = default;
  OperationBase(const OperationBase&) = delete;
  OperationBase& operator=(const OperationBase&) = delete;

  // Asks a parked operation to withdraw. It calls Stop() if that is still
  // possible, at once or later; otherwise it goes on and completes.
  virtual void Cancel() noexcept = 0;

  // The task that waits in this operation; nullptr if none does.
  detail::TaskNode* task() const { return task_; }

 protected:
  ~OperationBase() {
    detail::Check(
        task_ == nullptr,
        "the frame of an operation in flight is destroyed; this is a bug in "
        "Braid");
  }

  // The operation happened: the task goes on with its result.
  void Complete() {
    detail::TaskNode* task = Unpark();
    task->loop()->Enqueue(task);
  }
  // In a Cancel that is refused: asks to be asked again, by another scope, or
  // when the loop is ended without its tasks (Loop::abandoned()).
  void RemainCancellable() noexcept { task_->parked = this; }
  // The operation did not happen and will not: the task is stopped.
  void Stop() {
    detail::TaskNode* task = Unpark();
    task->loop()->EnqueueStopped(task);
  }

 private:
  template <typename Op>
  friend class detail::OperationAwaiter;

  void Park(detail::TaskNode* task, detail::Link* link) {
    task->ParkAt(link);
    task->parked = this;
    task_ = task;
  }
  detail::TaskNode* Unpark() {
    detail::Check(
        task_ != nullptr,
        "an operation completed twice, or before it was awaited; this is a "
        "bug in the operation");
    detail::Check(
        task_->loop()->OnItsThread(),
        "an operation is completed on another thread than its task's; hand "
        "the news to the task's loop");
    detail::TaskNode* task = std::exchange(task_, nullptr);
    task->parked = nullptr;
    return task;
  }

  detail::TaskNode* task_ = nullptr;
};

namespace detail {

// What drives an operation's state: cancellation first, then Try(), then
// Suspend(). Used by coroutines and by boundaries.
template <typename Op>
class OperationAwaiter {
 public:
  template <typename... Args>
  explicit OperationAwaiter(std::in_place_t, Args&&... args)
      : op_(std::forward<Args>(args)...) {}

  // True: completed without waiting, and TakeResult() may be called.
  [[gnu::always_inline]] bool Ready() {
    Loop& loop = Loop::Current();
    TaskNode& task = loop.CurrentTask();
    if (loop.IsDue(task)) [[unlikely]] {
      next_ = Next::kStop;
      return false;
    }
    if (!op_.Try()) return false;
    if (loop.TakeReady()) [[likely]]
      return true;
    next_ = Next::kYield;
    return false;
  }

  // Called if Ready() said false: waits, and goes on at `link`.
  void Start(Link* link) {
    TaskNode* task = Loop::Current().current();
    if (next_ == Next::kWait) [[likely]] {
      op_.Park(task, link);
      Parking parking(op_);
      op_.Suspend();
      parking.Keep();
      return;
    }
    task->ParkAt(link);
    if (next_ == Next::kYield) {
      task->loop()->Enqueue(task);
    } else {
      task->loop()->EnqueueStopped(task);
    }
  }

  decltype(auto) TakeResult() noexcept(noexcept(op_.TakeResult())) {
    return op_.TakeResult();
  }

  bool Failed() const noexcept
    requires requires(const Op& op) { op.Failed(); }
  {
    return op_.Failed();
  }
  decltype(auto) TakeValue() noexcept(noexcept(op_.TakeValue()))
    requires requires(Op& op) { op.TakeValue(); }
  {
    return op_.TakeValue();
  }

 private:
  enum class Next : unsigned char { kWait, kYield, kStop };

  // Where Suspend throws, its task doesn't wait: it goes on with the exception.
  class Parking {
   public:
    explicit Parking(Op& op) : op_(&op) {}
    Parking(const Parking&) = delete;
    Parking& operator=(const Parking&) = delete;
    ~Parking() {
      if (op_ != nullptr) op_->Unpark();
    }
    void Keep() { op_ = nullptr; }

   private:
    Op* op_;
  };

  Op op_;
  Next next_ = Next::kWait;
};

}  // namespace detail

// The description of an operation whose state is `Op(args...)`. Await it at
// once; it does nothing until then.
template <typename Op, typename... Args>
class [[nodiscard("an operation does nothing until it is awaited")]] Operation {
 public:
  explicit Operation(Args... args) : args_(std::move(args)...) {}

  using Awaiter = detail::OperationAwaiter<Op>;

  Awaiter MakeAwaiter() && {
    return args_.MoveInto([](Args&&... args) {
      return Awaiter(std::in_place, std::move(args)...);
    });
  }

 private:
  detail::Pack<Args...> args_;
};

}  // namespace braid

#endif  // BRAID_CORE_OPERATION_H_
