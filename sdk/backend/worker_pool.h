// WorkerPool: the threads of a real host. Not for programs, which use ToThread
// and RunSharded.
//
// A job gets a thread at once: one that is idle, the last to become so first,
// or a new one. How many there may be is for those to limit who hand jobs in.
// A thread without a job for `idle_limit` ends. Where the system gives no new
// one, the job is refused: those that are there may be busy for ever.
//
// The pool may go while jobs run: it waits for the idle threads to end, and
// lets the others go on, which end with their job.

#ifndef BRAID_BACKEND_WORKER_POOL_H_
#define BRAID_BACKEND_WORKER_POOL_H_

#include <chrono>
#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "braid/backend/host.h"
#include "braid/core/time.h"

namespace braid::detail {

class WorkerPool {
 public:
  // As AnyIO and Trio have it.
  static constexpr Duration kIdleLimit = std::chrono::seconds(10);

  explicit WorkerPool(Duration idle_limit = kIdleLimit);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool();

  // As Host::StartJob.
  absl::Status Start(std::shared_ptr<HostJob> job);

  // How many there are now, busy or idle.
  size_t threads() const;

 private:
  class State;
  std::shared_ptr<State> state_;  // the threads share it
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_WORKER_POOL_H_
