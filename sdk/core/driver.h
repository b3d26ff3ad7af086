// Driver: what drives a loop; what a loop can be told, and tells.
//
// For: writing a backend (backend/backend.h is a Driver with sockets), running
// on one that is tuned, and watching how a loop does. Programs get a Driver
// from MakeBackend and hand it to Run.

#ifndef BRAID_CORE_DRIVER_H_
#define BRAID_CORE_DRIVER_H_

#include <cstdint>
#include <optional>

#include "braid/core/time.h"

namespace braid {

namespace detail {
class Loop;
}

// Supplies time and a way to be woken. Implemented by every backend.
class Driver {
 public:
  virtual ~Driver() = default;

  // Calls loop.Turn(), and waits for I/O, timers and wake-ups in between, until
  // loop.finished(). The loop is already bound to this thread.
  virtual void Run(detail::Loop& loop) = 0;
  // The loop's monotonic clock, read afresh.
  virtual Time Now() = 0;
  // Makes a wait of this driver end soon. From any thread, any number of times.
  virtual void Wake() noexcept = 0;
};

// Counters since the loop began, for metrics and tests.
struct LoopStats {
  uint64_t turns = 0;     // times the ready queue was worked on
  uint64_t switches = 0;  // times a task was given the thread
  uint64_t tasks_started = 0;
  uint64_t tasks_alive = 0;
  uint64_t timers_fired = 0;
  uint64_t cancels_delivered = 0;  // nodes of the tree that became due
  uint64_t cleanup_failures = 0;   // clean-ups that hit their limit or failed
                                   // where no result could carry it
  uint64_t posts = 0;              // hand-overs from other threads
  uint64_t ready = 0;              // length of the ready queue now
  uint64_t timers = 0;             // armed now
  uint64_t frame_pool_bytes = 0;   // cached for reuse
  uint64_t frame_pool_misses = 0;  // frames and records that came from malloc
};

// How a loop runs.
struct LoopOptions {
  // Set: each batch of ready tasks is run in an order drawn from this seed, to
  // find code that relies on order.
  std::optional<uint64_t> shuffle_seed = std::nullopt;
  // How long a clean-up may take if it doesn't say.
  Duration cleanup_limit = std::chrono::seconds(10);
  // Tasks and ready operations between two looks at timers and I/O, at least 1.
  int turn_budget = 256;
};

}  // namespace braid

#endif  // BRAID_CORE_DRIVER_H_
