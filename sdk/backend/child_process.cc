#include "braid/backend/child_process.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "braid/backend/errno_status.h"
#include "braid/backend/signal_table.h"
#include "braid/backend/system_call.h"

namespace braid {

std::string ExitStatus::ToString() const {
  if (signal == 0) return "exit code " + std::to_string(code);
  return "killed by " + detail::SignalName(signal) +
         (dumped_core ? ", core dumped" : "");
}

namespace detail {

absl::StatusOr<std::shared_ptr<ChildDescriptor>> OpenChild(pid_t pid) {
  const std::string what = "watch child " + std::to_string(pid);
  if (pid <= 0)
    return absl::InvalidArgumentError(what + ": a process's id is positive");
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {
    if (errno == ESRCH)
      return absl::NotFoundError(what + ": there is no such process");
    return ErrnoStatus(errno, what);
  }
  auto child = std::make_shared<ChildDescriptor>(fd);
  const absl::StatusOr<std::optional<ExitStatus>> peeked = child->Peek();
  if (peeked.ok()) return child;
  return absl::Status(peeked.status().code(),
                      what + ": " + std::string(peeked.status().message()));
}

absl::StatusOr<std::optional<ExitStatus>> ChildDescriptor::Peek() const {
  siginfo_t info = {};
  const int result = Retrying([&] {
    return ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(fd_),
                    &info, WEXITED | WNOHANG | WNOWAIT);
  });
  if (result != 0 && errno == ECHILD) {
    return absl::FailedPreconditionError(
        "it isn't a child of this process, or another has waited for it "
        "(waitpid, or SIGCHLD is ignored)");
  }
  if (result != 0) return ErrnoStatus(errno, "wait for a child");
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  if (info.si_code == CLD_EXITED) return ExitStatus{.code = info.si_status};
  return ExitStatus{.signal = info.si_status,
                    .dumped_core = info.si_code == CLD_DUMPED};
}

ChildDescriptor::~ChildDescriptor() {
  siginfo_t info;
  Retrying([&] {
    return ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(fd_),
                    &info, WEXITED | WNOHANG);
  });
  ::close(fd_);
}

}  // namespace detail
}  // namespace braid
