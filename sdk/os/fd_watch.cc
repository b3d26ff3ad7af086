#include "braid/os/fd_watch.h"

#include <utility>

namespace braid {

absl::StatusOr<FdWatch> FdWatch::Open(int fd) {
  absl::StatusOr<IoHandle> handle =
      CurrentBackend().Adopt(fd, IoKind::kPollable);
  if (!handle.ok()) return handle.status();
  return FdWatch(*std::move(handle));
}

}  // namespace braid
