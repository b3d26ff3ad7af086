// TaskGroup: tasks that run side by side and end together.
//
// *A body whose locals its tasks use ends with `co_return co_await
// group.Join();`*. `co_return` destroys the locals of a coroutine before anyone
// can wait for the tasks that still use them; Join waits first. When the body
// is stopped or leaves through OrReturn, its locals stay until the last task
// has ended, so only a plain co_return needs this.
//
//   absl::Status status = co_await WithTaskGroup(
//       [&](TaskGroup& group) -> Task<absl::Status> {
//         group.Start("reader", Read, std::move(connection));
//         group.Start("ticker", Tick, 1s);
//         co_return co_await group.Join();
//       });
//   // Every task has ended here.
//
// Rules:
//   - No task outlives its group. There is no detach.
//   - A task that fails (an error status, an exception) cancels its siblings
//     and the body. One failure is given as itself; several statuses as the
//     first, the others by SuppressedErrors(); one exception is rethrown, an
//     exception among several failures comes in a GroupError. None is dropped.
//   - The group gives, in this order: an error, even under a cancel from
//     outside; nothing (the stop goes on outwards) if an enclosing scope
//     stopped any of it; OK, or CANCELLED where a value is owed, if its own
//     Cancel stopped the body; the body's value. Leaving is not a checkpoint.
//   - A body of Task<void> or Task<absl::Status> gives absl::Status, one of
//     Task<T> or Task<absl::StatusOr<T>> gives absl::StatusOr<T>.
//   - Tasks run in the group's scopes, whoever starts them, and see the
//     starter's task-locals.
//
// Threads: all of it on the loop's thread.

#ifndef BRAID_CORE_TASK_GROUP_H_
#define BRAID_CORE_TASK_GROUP_H_

#include <concepts>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/child.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/task_set.h"
#include "braid/core/operation.h"
#include "braid/core/ready.h"
#include "braid/core/task.h"
#include "braid/core/task_handle.h"
#include "braid/core/time.h"

namespace braid {
namespace detail {

template <typename B>
class GroupAwaiter;

template <typename T, typename F, typename... Args>
class StartAndWaitOp;

}  // namespace detail

class TaskGroup {
 public:
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup() { closed_ = true; }

  // Starts `callable(args...)`, which returns a Task, as a task of this group.
  // The callable and the arguments are copied or moved in and kept until the
  // task has ended; std::ref passes a reference. Never runs the task inline; it
  // begins even if the group is already cancelled, and stops at its first
  // checkpoint then. May be called as long as the body or a task of the group
  // runs; afterwards is a failed check.
  template <typename F, typename... Args>
    requires detail::Startable<F, Args...>
  auto Start(TaskName name, F&& callable, Args&&... args) {
    auto* child = detail::MakeChild(std::move(name), std::forward<F>(callable),
                                    std::forward<Args>(args)...);
    Adopt(*child);
    return TaskHandle<detail::ValueOf<
        typename std::remove_pointer_t<decltype(child)>::Result>>(child);
  }

  // A Task made beforehand may refer to what is gone by the time it runs: pass
  // the function and its arguments instead.
  template <typename T>
  void Start(TaskName name, Task<T> task) = delete;

  // Starts a task and waits until it says that it is ready, and with what. The
  // callable takes a Ready<T> as its last parameter, after `args`:
  //
  //   Task<absl::Status> Listen(Ready<int> ready) { ...; ready.Set(port); ... }
  //   int port = co_await OrReturn(group.StartAndWait("listener", Listen));
  //
  // Gives absl::StatusOr<T>, or absl::Status for Ready<void>. Until it is ready
  // the task belongs to this call: its error is the result here and leaves the
  // group unharmed, ending without Set is FAILED_PRECONDITION, and cancelling
  // the call cancels the task and waits for its end (an error it ends with is
  // still given). From then on it is a task of the group.
  template <typename F, typename... Args>
    requires detail::TakesReadyLast<std::decay_t<F>>
  auto StartAndWait(TaskName name, F&& callable, Args&&... args) {
    using Last = typename detail::LastParameter<std::decay_t<F>>::Type;
    using Op = detail::StartAndWaitOp<typename Last::Value, std::decay_t<F>,
                                      std::decay_t<Args>...>;
    return Operation<Op, TaskGroup*, TaskName, std::decay_t<F>,
                     std::decay_t<Args>...>(this, std::move(name),
                                            std::forward<F>(callable),
                                            std::forward<Args>(args)...);
  }

  // Waits until every task of the group has ended. Cancelled like any
  // operation, the group's own Cancel included; the group waits for its tasks
  // all the same before it gives control back. Always OK: errors come out of
  // the group.
  auto Join() { return Operation<JoinOp, TaskGroup*>(this); }

  // Stops the body and every task, also those started later. Idempotent; the
  // first reason wins.
  void Cancel(std::string_view reason = {}) {
    set_.scope.Cancel(CancelCause::Source::kExplicit, reason);
  }

  // Asks the body and the tasks to finish what they have and take no more; see
  // stop_request.h.
  void RequestStop() { set_.scope.RequestStop(); }

  // As in CancelScope: the group is also one.
  void SetDeadline(Time deadline) { set_.scope.SetDeadline(deadline); }
  Time deadline() const { return set_.scope.deadline(); }
  void SetShield(bool shield) { set_.scope.SetShield(shield); }
  bool cancel_called() { return set_.scope.cancel_called(); }

  // Tasks that have not ended.
  size_t size() const { return set_.live; }

 private:
  template <typename B>
  friend class detail::GroupAwaiter;
  template <typename T, typename F, typename... Args>
  friend class detail::StartAndWaitOp;
  friend class detail::ChildBase;

  class JoinOp final : public OperationBase {
   public:
    explicit JoinOp(TaskGroup* group) : group_(group) {
      detail::Check(!group->closed_, "a task group is joined after it closed");
    }
    bool Try() { return group_->set_.live == 0; }
    void Suspend() {
      detail::Check(!group_->set_.Contains(*task()),
                    "a task joins the group it belongs to, and would wait for "
                    "itself; join it in the group's body");
      detail::Check(group_->join_ == nullptr,
                    "two tasks join the same group; the body alone does that");
      group_->join_ = this;
    }
    void Cancel() noexcept override {
      group_->join_ = nullptr;
      Stop();
    }
    absl::Status TakeResult() { return absl::OkStatus(); }
    void Wake() {
      group_->join_ = nullptr;
      Complete();
    }

   private:
    TaskGroup* group_;
  };

  TaskGroup() = default;

  void Adopt(detail::ChildBase& child);
  // Of a child, or of the host: the body.
  void TaskFailed(const detail::TaskNode& task, absl::Status status,
                  std::exception_ptr exception);

  detail::TaskSet set_;
  detail::Failures failures_;
  JoinOp* join_ = nullptr;
  bool closed_ = false;
};

namespace detail {

template <typename B>
class GroupAwaiter : public Link {
 public:
  using BodyType = BodyHolder<B, TaskGroup&>;
  using Result = typename BodyType::Result;

  explicit GroupAwaiter(B&& body) : Link(&kOps), body_(std::move(body)) {}

  bool Ready() const { return false; }

  Link* Start(Link* link) {
    parent = link;
    group_.set_.Enter();
    return body_.Start(this, group_);
  }

  FallibleOf<Result> TakeResult() {
    if (!group_.failures_.empty()) return group_.failures_.Take();
    if (!slot_.empty()) return TakeFallible(slot_);
    if constexpr (std::is_void_v<ValueOf<Result>>) {
      return absl::OkStatus();
    } else {
      return absl::CancelledError(
          "the task group was cancelled before its body had a value");
    }
  }

 private:
  static Link* Done(Link* link) {
    auto* self = static_cast<GroupAwaiter*>(link);
    if (!self->body_ended_) {
      self->body_ended_ = true;
      self->body_.CaptureInto(self->slot_);
      if (Failed(self->slot_)) {
        const bool threw = self->slot_.has_exception();
        self->group_.TaskFailed(
            *self->group_.set_.host,
            threw ? absl::OkStatus() : StatusOf(self->slot_),
            threw ? self->slot_.exception() : nullptr);
      }
    }
    if (self->WaitForTasks()) return nullptr;
    return self->Conclude() ? self->parent : Unwind(self->parent);
  }

  static Unwound Stopped(Link* link) {
    auto* self = static_cast<GroupAwaiter*>(link);
    self->body_ended_ = true;
    self->group_.set_.NoteStop();
    if (self->WaitForTasks()) return {nullptr, false};
    const bool goes_on = self->Conclude();
    return {self->parent, !goes_on};
  }

  // True: parked until the tasks have ended. The body's frame, where it was
  // kept for them, goes in between: its locals may start more.
  bool WaitForTasks() {
    if (group_.set_.WaitAt(this)) return true;
    body_.DestroyFrame();
    return group_.set_.WaitAt(this);
  }

  // Every task has ended. False: the stop goes on outwards.
  bool Conclude() {
    group_.closed_ = true;
    Scope& scope = group_.set_.scope;
    const bool failed = !group_.failures_.empty();
    if (failed && group_.set_.stopped_from_outside) scope.MarkCaughtOutside();
    scope.Leave();
    return failed || !group_.set_.stopped_from_outside;
  }

  static constexpr LinkOps kOps = {&Done, &Stopped, /*keeps_frame=*/true,
                                   "TaskGroup"};

  TaskGroup group_;
  BodyType body_;
  Slot<Result> slot_;
  bool body_ended_ = false;
};

template <typename B>
concept GroupBody = Body<B, TaskGroup&>;

template <typename T, typename F, typename... Args>
class StartAndWaitOp final : public StartingWithValue<T> {
 public:
  StartAndWaitOp(TaskGroup* group, TaskName name, F callable, Args... args)
      : group_(group),
        call_(std::move(name), std::move(callable), std::move(args)...) {}

  bool Try() {
    auto* child = std::apply(
        [this](TaskName& name, F& callable, Args&... args) {
          return MakeChild(std::move(name), std::move(callable),
                           std::move(args)..., Ready<T>(this));
        },
        call_);
    this->Begin(*child);
    group_->Adopt(*child);
    return false;
  }
  void Suspend() {}

  typename FallibleFor<T>::Type TakeResult() {
    if (!this->ready()) return this->TakeFailure();
    if constexpr (std::is_void_v<T>) {
      return absl::OkStatus();
    } else {
      return std::move(*this->value_);
    }
  }

 private:
  friend class Ready<T>;

  TaskGroup* group_;
  std::tuple<TaskName, F, Args...> call_;
};

}  // namespace detail

// Runs `body(group)` and gives its result once the body and every task of the
// group have ended; see above.
template <detail::GroupBody B>
auto WithTaskGroup(B&& body) {
  using Stored = std::decay_t<B>;
  return detail::Boundary<detail::GroupAwaiter<Stored>, Stored>(
      Stored(std::forward<B>(body)));
}

}  // namespace braid

#endif  // BRAID_CORE_TASK_GROUP_H_
