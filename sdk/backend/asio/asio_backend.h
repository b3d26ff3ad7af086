// The Asio backend: sockets by trying first and waiting for readiness.
//
// For: portability, and living inside programs that use Boost.Asio. It comes in
// two forms:
//   - on its own: MakeAsioBackend(), for braid::Run;
//   - as a guest of an io_context that the application already runs: RunOn
//     (guest.h).
// In both, whatever Asio can do asynchronously can be awaited (use_braid.h). A
// program that never does so pays nothing for it: the io_context is made when
// it is first asked for, and until then the loop waits for its sockets
// directly.
//
// Timers are exact to the kernel's timer slack, 50 us unless the thread has set
// another (prctl(2), PR_SET_TIMERSLACK).

#ifndef BRAID_BACKEND_ASIO_ASIO_BACKEND_H_
#define BRAID_BACKEND_ASIO_ASIO_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/host.h"

namespace braid {

// A backend for braid::Run. Fails if the process is out of descriptors.
absl::StatusOr<std::unique_ptr<Backend>> MakeAsioBackend(
    std::shared_ptr<Host> host = MakeRealHost());

}  // namespace braid

#endif  // BRAID_BACKEND_ASIO_ASIO_BACKEND_H_
