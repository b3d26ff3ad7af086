// What the tests of boundaries and combinators have in common: bodies that give
// each kind of result, or none, after a while.

#ifndef BRAID_CORE_TEST_BODIES_H_
#define BRAID_CORE_TEST_BODIES_H_

#include <stdexcept>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/testing/gate.h"

namespace braid {

inline Task<int> IntIn(Duration delay, int value = 3) {
  co_await SleepFor(delay);
  co_return value;
}
inline Task<void> VoidIn(Duration delay) { co_await SleepFor(delay); }
inline Task<absl::Status> StatusIn(Duration delay, absl::Status status) {
  co_await SleepFor(delay);
  co_return status;
}
inline Task<absl::StatusOr<int>> EitherIn(Duration delay,
                                          absl::StatusOr<int> either) {
  co_await SleepFor(delay);
  co_return either;
}
template <typename T = void>
Task<T> ThrowIn(Duration delay, std::string what) {
  co_await SleepFor(delay);
  throw std::runtime_error(what);
}

inline LoopStats Stats() { return detail::Loop::Current().stats(); }

// Whether awaiting a Description gives an Expected.
template <typename Expected, typename Description>
inline constexpr bool kGives =
    std::is_same_v<detail::ResultOf<Description>, Expected>;

// A local that does at its end what a destructor may do: lets a gate's waiters
// through, cancels a scope, and starts a task, which counts itself in `ran` a
// second later.
struct MeddlesAtItsEnd {
  ~MeddlesAtItsEnd() {
    gate->Open(value);
    scope->Cancel();
    group->Start("late", [ran = ran]() -> Task<void> {
      co_await SleepFor(std::chrono::seconds(1));
      ++*ran;
    });
  }
  Gate* gate;
  CancelScope* scope;
  TaskGroup* group;
  int* ran;
  int value = 1;  // what the gate gives
};

}  // namespace braid

#endif  // BRAID_CORE_TEST_BODIES_H_
