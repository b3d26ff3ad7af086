// Children of this process: how one ended.
//
// For: ChildWatch (sdk/os), and hosts. Not for: starting them.

#ifndef BRAID_BACKEND_CHILD_PROCESS_H_
#define BRAID_BACKEND_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace braid {

// How a process ended: of its own accord, with a code, or by a signal.
struct ExitStatus {
  int code = 0;              // 0 to 255; 0 too where a signal ended it
  int signal = 0;            // 0: none
  bool dumped_core = false;  // of one that a signal ended

  bool success() const { return code == 0 && signal == 0; }
  // "exit code 1", "killed by SIGTERM", for messages.
  std::string ToString() const;

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

namespace detail {

// A descriptor that is readable once a child has ended (pidfd_open(2), Linux
// 5.3).
class ChildDescriptor {
 public:
  explicit ChildDescriptor(int fd) : fd_(fd) {}
  ChildDescriptor(const ChildDescriptor&) = delete;
  ChildDescriptor& operator=(const ChildDescriptor&) = delete;
  // Closes it, and has the system forget the child if it has ended.
  ~ChildDescriptor();

  int fd() const { return fd_; }
  // How the child ended; nothing if it hasn't. It stays as it is: a zombie.
  absl::StatusOr<std::optional<ExitStatus>> Peek() const;

 private:
  const int fd_;
};

// NOT_FOUND: there is no such process; FAILED_PRECONDITION: it isn't this
// process's child.
absl::StatusOr<std::shared_ptr<ChildDescriptor>> OpenChild(pid_t pid);

}  // namespace detail
}  // namespace braid

#endif  // BRAID_BACKEND_CHILD_PROCESS_H_
