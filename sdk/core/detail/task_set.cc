#include "braid/core/detail/task_set.h"

#include "braid/core/status.h"

namespace braid::detail {

std::string Describe(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception that is not a std::exception";
  }
}

bool TaskSet::Contains(const TaskNode& task) const {
  if (&task == host) return false;  // most often, and the tree may be deep
  const Scope* node = task.scope;
  while (node != nullptr && node->parent() != &scope) node = node->parent();
  return node != nullptr && node->owner() != nullptr && node->owner() != host;
}

absl::Status Failures::Take() {
  if (exceptions_.empty()) {
    absl::Status first = std::move(statuses_.front());
    statuses_.erase(statuses_.begin());
    return WithSuppressed(std::move(first), statuses_);
  }
  if (exceptions_.size() == 1 && statuses_.empty())
    std::rethrow_exception(exceptions_[0]);
  throw GroupError(std::move(exceptions_), std::move(statuses_));
}

std::string FailureReason(std::string_view task, const absl::Status& status,
                          const std::exception_ptr& exception) {
  return "task '" + std::string(task) + "' failed: " +
         (exception != nullptr ? Describe(exception) : status.ToString());
}

}  // namespace braid::detail
