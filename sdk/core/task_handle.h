// TaskHandle<T>: a view of a started task: cancel it alone, wait for its end,
// look at how it ended.
//
//   TaskHandle<int> handle = group.Start("sum", Sum, numbers);
//   Outcome<int> outcome = co_await handle.Join();
//
// Dropping the handle changes nothing: the group owns the task. Reading an
// outcome doesn't handle an error for the group. Copies refer to the same task.
// Threads: the loop's.

#ifndef BRAID_CORE_TASK_HANDLE_H_
#define BRAID_CORE_TASK_HANDLE_H_

#include <cstdint>
#include <string_view>
#include <utility>

#include "braid/core/detail/child.h"
#include "braid/core/operation.h"
#include "braid/core/outcome.h"

namespace braid {

template <typename T>
class TaskHandle {
 public:
  explicit TaskHandle(detail::ChildOf<T>* child) : child_(child) {
    child_->AddReference();
  }
  TaskHandle(const TaskHandle& other) : TaskHandle(other.child_) {}
  TaskHandle(TaskHandle&& other) noexcept
      : child_(std::exchange(other.child_, nullptr)) {}
  TaskHandle& operator=(TaskHandle other) noexcept {
    std::swap(child_, other.child_);
    return *this;
  }
  ~TaskHandle() {
    if (child_ != nullptr) child_->DropReference();
  }

  // Stops this task alone: neither an error nor a stop for its group. Nothing
  // happens if it has ended.
  void Cancel(std::string_view reason = {}) { child_->CancelTask(reason); }

  bool done() const { return child_->ended(); }
  std::string_view name() const { return child_->name.view(); }
  uint64_t id() const { return child_->id; }

  // Waits for the task's end and gives the outcome; a second Join finds a
  // moved-from value. Any number of tasks may wait. Cancelling the wait leaves
  // the task alone.
  auto Join() const { return Operation<JoinOp, TaskHandle>(*this); }

 private:
  class JoinOp final : public detail::JoinWaiter {
   public:
    explicit JoinOp(TaskHandle handle) : handle_(std::move(handle)) {}
    bool Try() { return handle_.done(); }
    void Suspend() {
      detail::Check(task() != handle_.child_,
                    "a task waits for its own end, which then never comes");
      handle_.child_->AddWaiter(*this);
    }
    Outcome<T> TakeResult() { return handle_.child_->TakeOutcome(); }

   private:
    TaskHandle handle_;
  };

  detail::ChildOf<T>* child_;
};

}  // namespace braid

#endif  // BRAID_CORE_TASK_HANDLE_H_
