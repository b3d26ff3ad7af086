// Runs a test body on virtual time, in the order tasks became ready and in
// several other orders.
//
// For: tests that must hold whatever the order of ready tasks is, which the
// scheduler leaves open.
//
//   TEST(Cache, FillsOnce) {
//     RunInEveryOrder([](VirtualTime& time) -> Task<void> { ... });
//   }
//
// The body gives nothing or an absl::Status; anything but OK fails the test, a
// deadlock with the tree of tasks. Not for: tests that assert the order itself;
// those call RunInOrder.

#ifndef BRAID_TESTING_EVERY_ORDER_H_
#define BRAID_TESTING_EVERY_ORDER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/run.h"
#include "braid/core/task.h"
#include "braid/testing/virtual_time.h"

namespace braid {

// Runs `body(time)` once, ready tasks first in, first out.
template <typename B>
void RunInOrder(B body, LoopOptions options = {}) {
  VirtualTime time;
  using Result = detail::BodyResult<B, VirtualTime&>;
  const absl::Status status = Run(
      time, [&]() -> Task<Result> { co_return co_await body(time); }, options);
  EXPECT_TRUE(status.ok()) << status;
}

// Runs `body(time)` again and again: first in, first out, then shuffled.
template <typename B>
void RunInEveryOrder(B body) {
  RunInOrder(body);
  constexpr uint64_t kSeeds = 8;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE("shuffle_seed = " + std::to_string(seed));
    RunInOrder(body, LoopOptions{.shuffle_seed = seed});
    if (testing::Test::HasFailure()) return;  // one order is enough to look at
  }
}

}  // namespace braid

#endif  // BRAID_TESTING_EVERY_ORDER_H_
