#include "braid/sync/channel.h"

#include "braid/core/status.h"

namespace braid::detail {

absl::Status SendError(Transfer transfer) {
  if (transfer == Transfer::kClosed) {
    return ClosedError("an item is sent on a Sender that is closed");
  }
  if (transfer == Transfer::kBroken) {
    return BrokenError(
        "an item is sent on a channel whose receivers have all been closed");
  }
  return WouldBlockError(
      "the channel's buffer is full and no task waits to receive");
}

absl::Status ReceiveError(Transfer transfer) {
  if (transfer == Transfer::kClosed) {
    return ClosedError("an item is received from a Receiver that is closed");
  }
  return WouldBlockError(
      "the channel's buffer is empty and no task waits to send");
}

}  // namespace braid::detail
