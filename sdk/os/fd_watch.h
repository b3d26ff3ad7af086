// FdWatch: waits until a file descriptor can be read from or written to.
//
//   FdWatch watch = co_await OrReturn(FdWatch::Open(fd));
//   co_await OrReturn(watch.Readable());
//   read(fd, ...);
//
// For: descriptors that a foreign library reads and writes itself (a database's
// connection, a device). Not for: Braid's own sockets and files, which wait by
// themselves.
//
// The descriptor stays its owner's, who closes it after the watch has gone or
// was closed. One watch per descriptor; of its awaitables, one of each kind at
// a time: another gets Busy (IsBusy). After Close, and if the watch goes
// meanwhile: Closed.
//
// Threads: the loop's.

#ifndef BRAID_OS_FD_WATCH_H_
#define BRAID_OS_FD_WATCH_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/io_operation.h"
#include "braid/core/operation.h"

namespace braid {

class FdWatch {
 public:
  // INVALID_ARGUMENT if `fd` isn't open.
  static absl::StatusOr<FdWatch> Open(int fd);

  FdWatch(FdWatch&&) noexcept = default;
  FdWatch& operator=(FdWatch&&) noexcept = default;
  // Closes the watch, not the descriptor.
  ~FdWatch() = default;

  // Completes when a read would not block: there is something, or the end, or
  // an error. co_await gives absl::Status. Cancelled: stopped while it waits.
  auto Readable() {
    return Operation<WaitOp, Descriptor*, IoDirection>(handle_.Use(),
                                                       IoDirection::kIn);
  }
  // The same of a write.
  auto Writable() {
    return Operation<WaitOp, Descriptor*, IoDirection>(handle_.Use(),
                                                       IoDirection::kOut);
  }

  // What waits gets Closed. Begins at the call; awaiting it completes once the
  // descriptor may be closed. Idempotent. Cancelled: closed all the same.
  auto Close() { return CloseHandle(handle_); }

 private:
  class WaitOp final : public PollOperation {
   public:
    WaitOp(Descriptor* descriptor, IoDirection direction)
        : PollOperation(descriptor, direction) {}
    absl::Status TakeResult() noexcept {
      if (error != 0) [[unlikely]]
        return Error("wait");
      return absl::OkStatus();
    }
  };

  explicit FdWatch(IoHandle handle) : handle_(std::move(handle)) {}

  IoHandle handle_;
};

}  // namespace braid

#endif  // BRAID_OS_FD_WATCH_H_
