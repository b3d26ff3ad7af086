#include "braid/core/sleep.h"

#include <algorithm>

namespace braid {
namespace detail {

void SleepOp::Suspend() {
  Loop& loop = *task()->loop();
  Time deadline = at_;
  if (relative_) {
    if (delay_.is_infinite()) return;
    if (delay_.nanoseconds() <= Duration::zero()) return Complete();
    deadline = Add(loop.Now(), delay_);
  }
  if (deadline == kNever) return;
  if (deadline <= loop.turn_time()) return Complete();
  loop.timers().Add(*this, deadline);
}

void SleepOp::Cancel() noexcept {
  task()->loop()->timers().Remove(*this);
  Stop();
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
