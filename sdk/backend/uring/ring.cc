#include "braid/backend/uring/ring.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <source_location>
#include <string>
#include <vector>

#include "braid/backend/errno_status.h"
#include "braid/core/check.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BRAID_THREAD_SANITIZER 1
#endif
#endif
#ifdef BRAID_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace braid::detail {
namespace {

// liburing maps a ring's memory by system calls that ThreadSanitizer doesn't
// see. Memory that one thread's ring gave back and another's got looks to it
// as if both used it at the same time.
#ifdef BRAID_THREAD_SANITIZER
char memory_of_rings;
void RingMemoryComes() { __tsan_acquire(&memory_of_rings); }
void RingMemoryGoes() { __tsan_release(&memory_of_rings); }
#else
void RingMemoryComes() {}
void RingMemoryGoes() {}
#endif

// The least that a queue is made with where memory is short.
constexpr unsigned kLeastSubmissions = 32;
// The kernel gives the memory of a ring that was closed back some milliseconds
// later: until then it counts against the limit of the same user.
constexpr int kRetries = 20;
constexpr Duration kRetryAfter = std::chrono::milliseconds(10);
// How long a call that found no memory for its requests is let rest.
constexpr Duration kBreath = std::chrono::milliseconds(1);

// A kernel without them is from before 5.11.
constexpr unsigned kNeeded =
    IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG;

absl::Status CannotOpen(int error) {
  constexpr char kInstead[] =
      "; use --backend=asio, or auto, which takes it by itself";
  std::string message = "io_uring_setup: ";
  switch (error) {
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(
          message +
          "io_uring is not permitted here: by a seccomp profile, as that of "
          "most containers, or by the sysctl kernel.io_uring_disabled" +
          kInstead);
    case ENOSYS:
    case EINVAL:
      return absl::UnimplementedError(
          message + "this kernel has no io_uring, or one from before 5.11" +
          kInstead);
    case ENOMEM:
      return absl::ResourceExhaustedError(
          message +
          "not enough memory that may be locked (RLIMIT_MEMLOCK, `ulimit "
          "-l`); raise that" +
          kInstead);
    default:
      return ErrnoStatus(error, "io_uring_setup");
  }
}

void Pause(Duration time) {
  const timespec request = {.tv_sec = 0, .tv_nsec = time.count()};
  ::nanosleep(&request, nullptr);
}

// An errno.
int Make(io_uring& ring, unsigned flags, unsigned submissions,
         unsigned completions) {
  io_uring_params params = {};
  params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = completions;
  const int error = -io_uring_queue_init_params(submissions, &ring, &params);
  if (error != 0) return error;
  RingMemoryComes();
  if ((params.features & kNeeded) == kNeeded) return 0;
  io_uring_queue_exit(&ring);
  return ENOSYS;
}

// With shorter queues where memory is short. An errno.
int MakeWhatFits(io_uring& ring, unsigned flags, const UringOptions& options) {
  unsigned submissions = options.submissions;
  unsigned completions = options.completions;
  for (;;) {
    const int error = Make(ring, flags, submissions, completions);
    if (error != ENOMEM || submissions <= kLeastSubmissions) return error;
    submissions /= 2;
    completions = std::max(completions / 2, submissions);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Ring>> Ring::Open(const UringOptions& options) {
  // From the newest kernel's to the oldest's. Disabled at first: the thread
  // that enables it is the one that may use it.
  std::vector<unsigned> modes;
  constexpr unsigned kCommon = IORING_SETUP_R_DISABLED;
  if (options.deferred_work) {
    modes.push_back(kCommon | IORING_SETUP_SUBMIT_ALL |
                    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                    IORING_SETUP_TASKRUN_FLAG);
  }
  if (options.cooperative_work) {
    modes.push_back(kCommon | IORING_SETUP_SUBMIT_ALL |
                    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
  }
  modes.push_back(kCommon);

  std::unique_ptr<Ring> ring(new Ring);
  int error = EINVAL;
  unsigned mode = 0;
  for (size_t i = 0; i < modes.size() && error == EINVAL; ++i) {
    mode = modes[i];
    error = MakeWhatFits(ring->ring_, mode, options);
  }
  for (int i = 0; i < kRetries && error == ENOMEM; ++i) {
    Pause(kRetryAfter);
    error = MakeWhatFits(ring->ring_, mode, options);
  }
  if (error != 0) {
    ring->ring_.ring_fd = -1;
    return CannotOpen(error);
  }
  // It came with the second of them.
  if ((ring->ring_.flags &
       (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN)) != 0) {
    ring->poll_first_ = IORING_RECVSEND_POLL_FIRST;
  }
  return ring;
}

Ring::~Ring() {
  if (ring_.ring_fd < 0) return;
  RingMemoryGoes();
  io_uring_queue_exit(&ring_);
}

void Ring::Attach() {
  if (thread_ == std::thread::id()) {
    thread_ = std::this_thread::get_id();
    // Not io_uring_enable_rings: liburing 2.3 declares it, and doesn't export
    // it.
    const int64_t result = ::syscall(__NR_io_uring_register, ring_.ring_fd,
                                     IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    Check(result == 0, "io_uring_register: a ring can't be enabled");
  }
  Check(thread_ == std::this_thread::get_id(),
        "a uring backend runs on another thread than the first time; make one "
        "for each thread");
  // Saves looking the descriptor up at every call; needs Linux 5.18.
  (void)io_uring_register_ring_fd(&ring_);
}

void Ring::Detach() { (void)io_uring_unregister_ring_fd(&ring_); }

io_uring_sqe* Ring::NextWhenFull() {
  io_uring_sqe* entry = nullptr;
  while (entry == nullptr) {
    Submit();
    entry = io_uring_get_sqe(&ring_);
  }
  return entry;
}

void Ring::Submit() {
  ++hand_overs_;
  Judge(io_uring_submit(&ring_));
}

void Ring::Look() {
  ++hand_overs_;
  Judge(io_uring_submit_and_get_events(&ring_));
}

void Ring::Wait(Duration limit) {
  ++hand_overs_;
  if (limit == kForever) {
    Judge(io_uring_submit_and_wait(&ring_, 1));
    return;
  }
  __kernel_timespec timeout;
  timeout.tv_sec = limit / std::chrono::seconds(1);
  timeout.tv_nsec = (limit % std::chrono::seconds(1)).count();
  io_uring_cqe* completion = nullptr;
  Judge(io_uring_submit_and_wait_timeout(&ring_, &completion, 1, &timeout,
                                         nullptr));
}

void Ring::Judge(int result) {
  if (result >= 0) return;
  switch (-result) {
    case EINTR:
    case ETIME:
      return;
    case EAGAIN:
    case EBUSY:
    case ENOMEM:
      // The kernel has no memory for requests, or wants its completions to be
      // read first. Whoever called tries again: not at once.
      Pause(kBreath);
      return;
    default: {
      const std::string why = ErrnoStatus(-result, "io_uring_enter").ToString();
      CheckFailed(why.c_str(), std::source_location::current());
    }
  }
}

}  // namespace braid::detail
