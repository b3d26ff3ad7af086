#include "braid/os/child_watch.h"

#include <optional>

#include "braid/backend/host.h"

namespace braid {

absl::StatusOr<ChildWatch> ChildWatch::Open(pid_t pid) {
  Backend& backend = CurrentBackend();
  auto child = backend.host().OpenChild(pid);
  if (!child.ok()) return child.status();
  absl::StatusOr<IoHandle> handle =
      backend.Adopt((*child)->fd(), IoKind::kPollable);
  if (!handle.ok()) return handle.status();
  return ChildWatch(pid, *std::move(child), *std::move(handle));
}

absl::StatusOr<ExitStatus> ChildWatch::ExitedOp::TakeResult() {
  if (error != 0) return Error("wait for a child");
  const absl::StatusOr<std::optional<ExitStatus>> status = child_->Peek();
  if (!status.ok()) return status.status();
  detail::Check(status->has_value(),
                "a child counts as ended and has not; this is a bug in Braid");
  return **status;
}

}  // namespace braid
