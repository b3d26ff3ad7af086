#include "braid/sync/resource_guard.h"

#include "braid/core/status.h"

namespace braid {

absl::Status ResourceGuard::Busy() const {
  return BusyError("another task is already " + action_);
}

}  // namespace braid
