// CancelEverywhere: runs a body again and again, and cancels it at one place
// after the other.
//
// For: finding what a cancel breaks: a lock that stays locked, an item that is
// lost, a task that waits for ever.
//
//   TEST(Store, IsWholeAfterACancel) {
//     std::optional<Store> store;
//     CancelEverywhere(
//         [&]() -> Task<absl::Status> {
//           store.emplace();
//           co_return co_await store->Put("key", "value");
//         },
//         [&] { EXPECT_TRUE(store->Check().ok()); });
//   }
//
// Each run is on a simulated host of its own (sim/sim_backend.h), on virtual
// time, with tasks in the order they became ready. The first is cancelled
// before it begins, the second when a task has waited for the first time, and
// so on, until one ends before its cancel comes. A run has to end, as OK or
// stopped: an error, and a task that waits on for what can't happen, fail the
// test and name the place. `after`, if there is one, is called after each run.
//
// The body gives nothing or an absl::Status, and is called anew for each run;
// what it captures must be made anew by it. It may start tasks and use sockets;
// it must do the same each time.

#ifndef BRAID_TESTING_CANCEL_EVERYWHERE_H_
#define BRAID_TESTING_CANCEL_EVERYWHERE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "braid/backend/backend.h"
#include "braid/core/awaitable.h"
#include "braid/core/run.h"
#include "braid/core/task.h"

namespace braid {
namespace detail {

// Cancels what runs on it after `switches` switches between tasks, and says
// then that it has.
std::unique_ptr<Backend> MakeCancellingBackend(uint64_t switches,
                                               bool* cancelled);

}  // namespace detail

// Gives how many places there are.
template <typename B>
int CancelEverywhere(B body, const std::function<void()>& after = nullptr) {
  constexpr int kMost = 100'000;
  for (int place = 0; place <= kMost; ++place) {
    SCOPED_TRACE("cancelled after " + std::to_string(place) + " switches");
    bool cancelled = false;
    {
      const std::unique_ptr<Backend> backend = detail::MakeCancellingBackend(
          static_cast<uint64_t>(place), &cancelled);
      const absl::Status status = Run(
          *backend,
          [&]() -> Task<detail::BodyResult<B>> { co_return co_await body(); },
          {.turn_budget = 1});
      EXPECT_TRUE(status.ok() || (cancelled && absl::IsCancelled(status)))
          << status;
    }
    if (after != nullptr) after();
    if (!cancelled || testing::Test::HasFailure()) return place;
  }
  ADD_FAILURE() << "there are more than " << kMost
                << " places; give a body that ends sooner";
  return kMost;
}

}  // namespace braid

#endif  // BRAID_TESTING_CANCEL_EVERYWHERE_H_
