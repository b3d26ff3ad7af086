#include "braid/thread/mailbox.h"

#include "braid/core/status.h"

namespace braid::detail {

absl::Status MailboxSendStatus(Transfer transfer) {
  if (transfer == Transfer::kDone) return absl::OkStatus();
  if (transfer == Transfer::kClosed) {
    return ClosedError("send to a mailbox: this sender is closed");
  }
  if (transfer == Transfer::kBroken)
    return BrokenError("send to a mailbox: its receiver is closed");
  return WouldBlockError("send to a mailbox: it is full");
}

absl::Status MailboxReceiveError(Transfer transfer) {
  if (transfer == Transfer::kClosed)
    return ClosedError("receive from a mailbox: this receiver is closed");
  return WouldBlockError("receive from a mailbox: it is empty");
}

}  // namespace braid::detail
