// FailEverywhere: runs a body again and again, and lets one thing after the
// other fail: each allocation, each call of the system, each deadline.
//
// For: finding what an error breaks that hardly ever happens: a socket that
// stays open, an item that is lost, an error that nobody hears of, a task that
// waits for ever. The sibling of CancelEverywhere.
//
//   TEST(Store, IsWholeAfterAnError) {
//     std::optional<Store> store;
//     FailEverywhere(
//         [&]() -> Task<absl::Status> {
//           store.emplace();
//           co_return co_await store->Put("key", "value");
//         },
//         [&](const absl::Status& status) {
//           EXPECT_TRUE(store->Check().ok());
//           EXPECT_EQ(store->Has("key"), status.ok());
//         });
//   }
//
// The body gives nothing or an absl::Status, and is called anew for each run;
// what it captures must be made anew by it. As a Task it runs on a simulated
// host of its own (sim/sim_backend.h), on virtual time. A function that is no
// coroutine makes a Simulation and runs it, with a fixed seed. Either must do
// the same each time, so that the n-th thing is the same one in every run.
//
// In the first run nothing fails, and it has to succeed. Then, for each kind,
// the 1st thing fails, in the next run the 2nd, and so on until a run in which
// nothing did. What fails, fails once:
//   - allocation: operator new throws std::bad_alloc. Those count that a task's
//     own code makes, and the SDK on its behalf while that could tell it;
//     docs/testing.md says which can't.
//   - call: a socket, a connection, a transfer, a file operation, a look-up of
//     a name, the start of a thread gives an error that such a call can give.
//   - deadline: that of a scope (FailAfter, MoveOnAfter, CancelScope) has come
//     when the task inside has begun to wait. Those under which nobody waits
//     are not counted, and neither are sleeps.
//
// A run has to end: with OK, with an error or an exception, or stopped. It
// fails the test if a task waits for what can't happen, if it goes on for ever,
// if a socket or memory is left, or if `after`, which is called after each run,
// says so: as after(status) or after(). An exception is an error there:
// RESOURCE_EXHAUSTED for std::bad_alloc, UNKNOWN for others. The failure names
// the thing:
//
//   call 3 fails: --braid_fail=call:3 or BRAID_FAIL=call:3 runs that alone
//
// The target is @braid//sdk:fail_everywhere and not part of @braid//sdk:testing
// because it replaces operator new. Threads: one at a time in a process.

#ifndef BRAID_TESTING_FAIL_EVERYWHERE_H_
#define BRAID_TESTING_FAIL_EVERYWHERE_H_

#include <functional>
#include <type_traits>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "braid/backend/backend.h"
#include "braid/core/awaitable.h"
#include "braid/core/run.h"
#include "braid/core/task.h"

namespace braid {

struct FailOptions {
  // What is to fail.
  bool allocations = true;
  bool calls = true;
  bool deadlines = true;
  // Whether memory that each run leaves behind fails the test: for bodies that
  // keep nothing from run to run.
  bool leaks = true;
};

namespace detail {

// Calls `run` on a backend of its own, which has no sockets left then.
absl::Status RunAlone(absl::FunctionRef<absl::Status(Backend&)> run);

int FailInTurn(const std::function<absl::Status()>& run,
               const std::function<void(const absl::Status&)>& after,
               const FailOptions& options);

}  // namespace detail

// Gives how many things there are that can fail.
template <typename B, typename A = std::nullptr_t>
int FailEverywhere(B body, A after = nullptr, const FailOptions& options = {}) {
  return detail::FailInTurn(
      [&]() -> absl::Status {
        if constexpr (Body<B>) {
          return detail::RunAlone([&](Backend& backend) -> absl::Status {
            return Run(backend,
                       [&]() -> Task<detail::BodyResult<B>> {
                         co_return co_await body();
                       },
                       {.turn_budget = 1});
          });
        } else if constexpr (std::is_void_v<std::invoke_result_t<B&>>) {
          body();
          return absl::OkStatus();
        } else {
          return body();
        }
      },
      [&]([[maybe_unused]] const absl::Status& status) {
        if constexpr (std::is_invocable_v<A&, const absl::Status&>) {
          after(status);
        } else if constexpr (std::is_invocable_v<A&>) {
          after();
        } else {
          static_assert(std::is_null_pointer_v<A>,
                        "what is called after each run takes nothing or an "
                        "absl::Status");
        }
      },
      options);
}

}  // namespace braid

#endif  // BRAID_TESTING_FAIL_EVERYWHERE_H_
