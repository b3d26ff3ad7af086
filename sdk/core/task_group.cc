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

void TaskGroup::ChildFailed(detail::ChildBase& child) {
  std::exception_ptr exception = child.exception();
  absl::Status status = child.status();
  set_.scope.Cancel(
      CancelCause::Source::kChildFailed,
      detail::FailureReason(child.name.view(), status, exception));
  if (exception != nullptr) {
    failures_.Add(std::move(exception));
  } else {
    failures_.Add(std::move(status));
  }
}

void TaskGroup::BodyFailed(const absl::Status& status,
                           const std::exception_ptr& exception) {
  set_.scope.Cancel(
      CancelCause::Source::kChildFailed,
      detail::FailureReason(set_.host->name.view(), status, exception));
  if (exception != nullptr) {
    failures_.Add(exception);
  } else {
    failures_.Add(status);
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
    group->ChildFailed(*this);
  group->set_.Ended(end == ChildEnd::kStopped, own.cancelled());
  if (group->set_.live == 0 && group->join_ != nullptr) group->join_->Wake();
}

}  // namespace detail
}  // namespace braid
