// How the tests of this folder run their bodies: on virtual time, in a task
// group, with the ready tasks in order and in many shuffled orders.

#ifndef BRAID_SYNC_RUN_TEST_BODY_H_
#define BRAID_SYNC_RUN_TEST_BODY_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "braid/core/core.h"
#include "braid/testing/virtual_time.h"
#include "gtest/gtest.h"

namespace braid {

// Runs `body`, a callable that takes a TaskGroup& and returns a
// Task<absl::Status>, with ready tasks in the order in which they became ready.
template <typename Body>
void RunGroupInOrder(Body body, LoopOptions options = {}) {
  VirtualTime time;
  const absl::Status status = Run(
      time,
      [&]() -> Task<absl::Status> { co_return co_await WithTaskGroup(body); },
      options);
  EXPECT_TRUE(status.ok()) << status;
}

// The same, and then in shuffled orders: for what may not depend on the order.
template <typename Body>
void RunGroupInManyOrders(Body body) {
  RunGroupInOrder(body);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "shuffle_seed = " << seed);
    RunGroupInOrder(body, {.shuffle_seed = seed});
  }
}

// Completes when every other task waits for something: virtual time only moves
// then.
inline auto OthersWait() { return SleepFor(std::chrono::nanoseconds(1)); }

}  // namespace braid

#endif  // BRAID_SYNC_RUN_TEST_BODY_H_
