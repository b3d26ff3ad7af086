// ChildWatch: waits until a child process has ended, and says how.
//
//   ChildWatch child = co_await OrReturn(ChildWatch::Open(pid));
//   ExitStatus status = co_await OrReturn(child.Exited());
//   if (!status.success()) ... status.ToString() ...
//
// For: children that were started with fork or posix_spawn, which nobody else
// waits for. It needs no SIGCHLD. Not for: starting or ending them.
//
// While the watch is there, the child's id isn't given to another process, and
// the system remembers how it ended: Exited may be awaited any number of times,
// by several tasks one after the other. When the watch goes, a child that has
// ended is forgotten (it is no zombie then); one that hasn't is its starter's
// to wait for.
//
// Linux 5.4 (pidfd_open, waitid with P_PIDFD). Threads: the loop's.

#ifndef BRAID_OS_CHILD_WATCH_H_
#define BRAID_OS_CHILD_WATCH_H_

#include <sys/types.h>

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/child_process.h"
#include "braid/backend/io_operation.h"
#include "braid/core/operation.h"

namespace braid {

class ChildWatch {
 public:
  // NOT_FOUND: there is no such process. FAILED_PRECONDITION: it isn't this
  // process's child, or another has waited for it. UNIMPLEMENTED in a
  // simulation.
  static absl::StatusOr<ChildWatch> Open(pid_t pid);

  ChildWatch(ChildWatch&&) noexcept = default;
  ChildWatch& operator=(ChildWatch&&) noexcept = default;
  // What waits gets Closed (IsClosed).
  ~ChildWatch() = default;

  // Completes when the child has ended. co_await gives
  // absl::StatusOr<ExitStatus>. One at a time: another gets Busy (IsBusy).
  // Cancelled: nothing is lost.
  auto Exited() {
    return Operation<ExitedOp, Descriptor*,
                     std::shared_ptr<detail::ChildDescriptor>>(handle_.Use(),
                                                               child_);
  }

  pid_t pid() const { return pid_; }

 private:
  class ExitedOp final : public PollOperation {
   public:
    ExitedOp(Descriptor* descriptor,
             std::shared_ptr<detail::ChildDescriptor> child)
        : PollOperation(descriptor, IoDirection::kIn),
          child_(std::move(child)) {}
    absl::StatusOr<ExitStatus> TakeResult();

   private:
    const std::shared_ptr<detail::ChildDescriptor> child_;
  };

  ChildWatch(pid_t pid, std::shared_ptr<detail::ChildDescriptor> child,
             IoHandle handle)
      : pid_(pid), child_(std::move(child)), handle_(std::move(handle)) {}

  pid_t pid_;
  std::shared_ptr<detail::ChildDescriptor> child_;
  IoHandle handle_;  // borrows its descriptor
};

}  // namespace braid

#endif  // BRAID_OS_CHILD_WATCH_H_
