// Ring: the two queues that are shared with the kernel.
//
// The part of the io_uring backend that knows how a ring is made, what the
// kernel can do, and what goes wrong with the system call. Not for: what the
// requests mean, which is uring_backend.cc.

#ifndef BRAID_BACKEND_URING_RING_H_
#define BRAID_BACKEND_URING_RING_H_

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "braid/backend/uring/uring_backend.h"
#include "braid/core/time.h"

namespace braid::detail {

class Ring {
 public:
  static absl::StatusOr<std::unique_ptr<Ring>> Open(
      const UringOptions& options);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  // From Attach to Detach, requests may be made, on this thread. It has to be
  // the same each time.
  void Attach();
  void Detach();

  // A place for one more request, cleared by whoever prepares it. Hands over
  // those before it if there is none.
  io_uring_sqe* Next() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    return entry != nullptr ? entry : NextWhenFull();
  }
  bool has_requests() const { return io_uring_sq_ready(&ring_) > 0; }
  // Whether there are completions, or Look would make some.
  bool has_news() const {
    return (IO_URING_READ_ONCE(*ring_.sq.kflags) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0 ||
           io_uring_cq_ready(&ring_) > 0;
  }
  // For the ioprio of a send or receive that can't be done yet: so that it
  // isn't tried before it waits. 0 before Linux 5.19.
  uint16_t poll_first() const { return poll_first_; }
  // How often requests were handed over.
  uint64_t hand_overs() const { return hand_overs_; }

  // Hands over what there is.
  void Submit();
  // And makes completions of what has happened.
  void Look();
  // And waits for one, at most this long; kForever: no limit. A signal ends it.
  static constexpr Duration kForever = Duration::max();
  void Wait(Duration limit);

  // Gives every completion to `handle`, which may make requests.
  template <typename F>
  void TakeCompletions(F handle) {
    for (;;) {
      io_uring_cqe* completion = nullptr;
      unsigned head = 0;
      unsigned taken = 0;
      io_uring_for_each_cqe(&ring_, head, completion) {
        ++taken;
        handle(*completion);
      }
      io_uring_cq_advance(&ring_, taken);
      // What didn't go into the queue comes with the next call.
      if (taken == 0) return;
    }
  }

  io_uring* raw() { return &ring_; }

 private:
  Ring() = default;
  io_uring_sqe* NextWhenFull();
  // Looks at what the system call said.
  void Judge(int result);

  io_uring ring_ = {};
  uint64_t hand_overs_ = 0;
  uint16_t poll_first_ = 0;
  std::thread::id thread_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_URING_RING_H_
