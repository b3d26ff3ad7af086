#include "braid/core/detail/task_set.h"

#include <new>
#include <vector>

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
  std::vector<absl::Status> statuses(statuses_.begin(), statuses_.end());
  if (unkept_ > 0) {
    statuses.push_back(
        absl::ResourceExhaustedError(std::to_string(unkept_) +
                                     " more failed, and there was no memory to "
                                     "keep what they said"));
  }
  if (exceptions_.empty()) {
    absl::Status first = std::move(statuses.front());
    statuses.erase(statuses.begin());
    return WithSuppressed(std::move(first), statuses);
  }
  if (exceptions_.size() == 1 && statuses.empty())
    std::rethrow_exception(exceptions_[0]);
  throw GroupError({exceptions_.begin(), exceptions_.end()},
                   std::move(statuses));
}

void Failures::Add(absl::Status status) noexcept {
  try {
    statuses_.push_back(std::move(status));
  } catch (const std::bad_alloc&) {
    ++unkept_;
  }
}

void Failures::Add(std::exception_ptr exception) noexcept {
  try {
    exceptions_.push_back(std::move(exception));
  } catch (const std::bad_alloc&) {
    ++unkept_;
  }
}

std::string FailureReason(std::string_view task, const absl::Status& status,
                          const std::exception_ptr& exception) noexcept {
  try {
    return "task '" + std::string(task) + "' failed: " +
           (exception != nullptr ? Describe(exception) : status.ToString());
  } catch (const std::bad_alloc&) {
    return "";
  }
}

}  // namespace braid::detail
