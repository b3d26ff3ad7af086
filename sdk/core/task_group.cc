#include "braid/core/task_group.h"

namespace braid {

void TaskGroup::Adopt(detail::ChildBase& child) {
  detail::Check(!closed_ && set_.host != nullptr,
                "a task is started in a group that has closed; keep the "
                "group's body running, or start it elsewhere");
  detail::Loop& loop = *set_.host->loop();
  detail::Check(&loop == detail::Loop::CurrentOrNull(),
                "a task is started in a group of another thread's loop; hand "
                "the work to that loop");
  child.group_ = this;
  set_.Started();
  child.Start(loop, &set_.scope, child.innermost);
}

void TaskGroup::TaskFailed(const detail::TaskNode& task, absl::Status status,
                           std::exception_ptr exception) {
  set_.scope.Cancel(CancelCause::Source::kChildFailed,
                    detail::FailureReason(task.name.view(), status, exception));
  if (exception != nullptr) {
    failures_.Add(std::move(exception));
  } else {
    failures_.Add(std::move(status));
  }
}

namespace detail {

void ChildBase::Finish(ChildEnd end) {
  while (JoinWaiter* waiter = waiters_.PopFront())
    waiter->OperationBase::Complete();
  End();
  TaskGroup* group = std::exchange(group_, nullptr);
  if (starter != nullptr) {
    Starter* to = std::exchange(starter, nullptr);
    to->ended(*to, *this, end);
    end = ChildEnd::kCompleted;  // the starter has it
  }
  if (end == ChildEnd::kFailed) [[unlikely]]
    group->TaskFailed(*this, status(), exception());
  group->set_.Ended(end == ChildEnd::kStopped, own.cancelled());
  if (group->set_.live == 0 && group->join_ != nullptr) group->join_->Wake();
}

}  // namespace detail
}  // namespace braid
