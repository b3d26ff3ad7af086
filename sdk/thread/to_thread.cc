#include "braid/thread/to_thread.h"

#include <stdexcept>
#include <utility>

#include "braid/backend/backend.h"
#include "braid/core/loop_local.h"

namespace braid {
namespace {

constexpr size_t kDefaultTokens = 40;

// The functions of one loop that are with worker threads.
struct Outstanding {
  Outstanding() = default;
  Outstanding(const Outstanding&) = delete;
  Outstanding& operator=(const Outstanding&) = delete;
  // Those that are there yet have been abandoned.
  ~Outstanding() {
    while (detail::ThreadJob* job = jobs.PopFront()) job->Forget();
  }

  CapacityLimiter limiter{kDefaultTokens};
  detail::IntrusiveList<detail::ThreadJob> jobs;
};

constexpr LoopLocal<Outstanding> outstanding;

}  // namespace

CapacityLimiter& DefaultThreadLimiter() { return outstanding.Get().limiter; }

namespace detail {

bool ThreadJob::Start(Waiter& waiter) {
  portal_.emplace(Portal::Current());
  waiter_ = &waiter;
  self_ = shared_from_this();
  outstanding.Get().jobs.PushBack(*this);
  absl::Status status = CurrentBackend().host().StartJob(self_);
  if (status.ok()) return true;
  Leave();
  DropFunction();
  Refuse(std::move(status));
  return false;
}

bool ThreadJob::Withdraw(bool by_force) noexcept {
  if (Advance(State::kQueued, State::kWithdrawn)) {
    DropFunction();
    Leave();
    return true;
  }
  const bool over = (abandon_on_cancel_ || by_force) &&
                    Advance(State::kRunning, State::kAbandoned);
  if (over) {
    waiter_ = nullptr;
    // Its thread went with the machine and won't come to it; what it refers to
    // goes next.
    if (by_force) DropFunction();
  }
  stop_.request_stop();
  return over;
}

bool ThreadJob::Begin() noexcept {
  return Advance(State::kQueued, State::kRunning);
}

void ThreadJob::Run() noexcept {
  Call();
  if (!Advance(State::kRunning, State::kDone)) {
    DropFunction();
    DropResult();
  }
  // If the loop has ended it has forgotten this.
  portal_->Post([self = shared_from_this()] { self->Ended(); });
}

void ThreadJob::Ended() {
  Leave();
  if (waiter_ == nullptr) return;
  DropFunction();
  std::exchange(waiter_, nullptr)->Complete();
}

void ThreadJob::Leave() {
  if (self_ == nullptr) return;  // the loop is ending, and has forgotten it
  outstanding.Get().jobs.Remove(*this);
  Forget();
}

void ThreadJob::Forget() {
  const std::shared_ptr<ThreadJob> self = std::move(self_);
  token_.reset();
}

std::exception_ptr NoThreadException(const absl::Status& status) {
  return std::make_exception_ptr(
      std::runtime_error(std::string(status.message())));
}

}  // namespace detail
}  // namespace braid
