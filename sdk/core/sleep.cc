#include "braid/core/sleep.h"

#include <algorithm>

namespace braid {
namespace detail {

void SleepOp::Suspend() {
  Loop& loop = *task()->loop();
  if (relative_) {
    if (delay_.is_infinite()) return;
    if (delay_.nanoseconds() <= Duration::zero()) return Complete();
    at_ = Add(loop.Now(), delay_);
  }
  if (at_ == kNever) return;
  if (at_ <= loop.turn_time()) return Complete();
  loop.timers().Add(*this, at_);
}

void SleepOp::Cancel() noexcept {
  Loop& loop = *task()->loop();
  loop.timers().Remove(*this);
  // A deadline of the same instant may have been registered before this timer.
  // The time has come all the same, and what has happened is not taken back.
  if (at_ <= loop.turn_time()) {
    Complete();
  } else {
    Stop();
  }
}

}  // namespace detail

Time CurrentDeadline() {
  const detail::Scope* scope = detail::Loop::Current().CurrentTask().scope;
  if (scope->due()) return kAlways;
  Time earliest = kNever;
  for (; scope != nullptr; scope = scope->parent()) {
    earliest = std::min(earliest, scope->deadline());
    if (scope->shield()) break;
  }
  return earliest;
}

}  // namespace braid
