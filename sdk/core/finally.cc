#include "braid/core/finally.h"

#include <chrono>
#include <cstdio>

#include "braid/core/status.h"

namespace braid::detail {

absl::Status CleanupLimitPassed(Duration limit) {
  char text[112];
  std::snprintf(
      text, sizeof(text),
      "the clean-up did not end within its limit of %.9g s and was stopped",
      std::chrono::duration<double>(limit).count());
  return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                    [&] { return absl::DeadlineExceededError(text); });
}

}  // namespace braid::detail
