#include "braid/core/timeout.h"

#include <cstdio>

namespace braid::detail {

absl::Status DeadlineExceeded(const Limit& limit) {
  if (!limit.relative)
    return absl::DeadlineExceededError(
        "the deadline passed before the operation completed");
  char text[96];
  std::snprintf(
      text, sizeof(text), "the operation did not complete within %.9g s",
      std::chrono::duration<double>(limit.delay.nanoseconds()).count());
  return absl::DeadlineExceededError(text);
}

}  // namespace braid::detail
