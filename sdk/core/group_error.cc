#include "braid/core/group_error.h"

#include <utility>

#include "braid/core/detail/task_set.h"

namespace braid {

GroupError::GroupError(std::vector<std::exception_ptr> exceptions,
                       std::vector<absl::Status> statuses)
    : exceptions_(std::move(exceptions)), statuses_(std::move(statuses)) {
  what_ =
      std::to_string(exceptions_.size() + statuses_.size()) + " tasks failed";
  for (const std::exception_ptr& exception : exceptions_)
    what_ += "; " + detail::Describe(exception);
  for (const absl::Status& status : statuses_)
    what_ += "; " + status.ToString();
}

}  // namespace braid
