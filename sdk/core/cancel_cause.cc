#include "braid/core/cancel_cause.h"

namespace braid {

std::string CancelCause::ToString() const {
  std::string text;
  switch (source) {
    case Source::kExplicit:
      text = "cancelled";
      break;
    case Source::kDeadline:
      text = "deadline passed";
      break;
    case Source::kChildFailed:
      text = "a sibling failed";
      break;
    case Source::kLegCompleted:
      text = "another leg completed first";
      break;
    case Source::kBodyEnded:
      text = "the body it stood under has ended";
      break;
  }
  if (!task.empty()) text += " by task '" + task + "'";
  if (!reason.empty()) text += ": " + reason;
  return text;
}

}  // namespace braid
