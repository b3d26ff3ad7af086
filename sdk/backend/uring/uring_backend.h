// The io_uring backend: sockets without a system call for each thing they do.
//
// For: speed, on Linux 5.11 and later (io_uring(7)); best on 6.1 and later.
// What tasks ask for in one turn of the loop is handed to the kernel by the
// same call that waits for what comes next. Not for: kernels and containers
// that forbid io_uring, where --backend=auto takes the Asio backend.
//
// A program sees what it sees on the Asio backend, but for this:
//   - A cancelled operation whose memory the kernel has (stream sends and
//     receives, accept, connect) ends when the kernel has let go of it, a turn
//     of the loop later; if it happened meanwhile, it completes.
//   - A datagram of at most 2 KiB to an address that datagrams came from is
//     copied, and leaves at the end of the turn. That it could not be sent
//     (which the network itself never tells) is an error of the next send.
//     Before the socket closes, it has left.
//   - Up to 96 datagrams that nobody has asked for yet wait in the socket's
//     handle, besides those in the kernel's buffer.
//
// Threads: it runs on one thread, the first to call Run.

#ifndef BRAID_BACKEND_URING_URING_BACKEND_H_
#define BRAID_BACKEND_URING_URING_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/host.h"

namespace braid {

// A backend for braid::Run. PERMISSION_DENIED if a security profile or
// kernel.io_uring_disabled forbids io_uring, UNIMPLEMENTED if the kernel is too
// old for it, RESOURCE_EXHAUSTED if the process is out of descriptors or
// lockable memory (RLIMIT_MEMLOCK); each says what to do.
absl::StatusOr<std::unique_ptr<Backend>> MakeUringBackend(
    std::shared_ptr<Host> host = MakeRealHost());

namespace detail {

// What tests take away: limits, and what older kernels don't have.
struct UringOptions {
  unsigned submissions = 256;
  unsigned completions = 2048;
  // For datagrams; a power of two.
  unsigned buffers = 256;
  bool deferred_work = true;      // Linux 6.1
  bool cooperative_work = true;   // Linux 5.19
  bool provided_buffers = true;   // Linux 5.19
  bool multishot_receive = true;  // Linux 6.0
  bool requests_wait = true;      // also on non-blocking sockets
  bool file_requests = true;      // Linux 5.6
  bool path_requests = true;      // Linux 5.15
};

absl::StatusOr<std::unique_ptr<Backend>> MakeUringBackend(
    const UringOptions& options, std::shared_ptr<Host> host = MakeRealHost());

}  // namespace detail
}  // namespace braid

#endif  // BRAID_BACKEND_URING_URING_BACKEND_H_
