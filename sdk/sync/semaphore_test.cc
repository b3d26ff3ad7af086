#include "braid/sync/semaphore.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(SemaphoreTest, AtMostSoManyAtATime) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Semaphore semaphore(3);
    int inside = 0;
    int most = 0;
    for (int i = 0; i < 10; ++i) {
      group.Start("task", [&]() -> Task<void> {
        Semaphore::Permit permit = co_await semaphore.Acquire();
        most = std::max(most, ++inside);
        co_await SleepFor(1s);
        --inside;
      });
    }
    co_await OrReturn(group.Join());
    EXPECT_EQ(most, 3);
    EXPECT_EQ(semaphore.value(), 3u);
    co_return absl::OkStatus();
  });
}

TEST(SemaphoreTest, APermitThatComesBackGoesToTheNextInLine) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Semaphore semaphore(1);
    std::vector<int> order;
    std::optional<Semaphore::Permit> permit = semaphore.TryAcquire();
    for (int i = 0; i < 3; ++i) {
      group.Start("waiter", [&, i]() -> Task<void> {
        Semaphore::Permit permit = co_await semaphore.Acquire();
        order.push_back(i);
        co_await SleepFor(1s);
      });
      co_await OthersWait();
    }
    EXPECT_EQ(semaphore.stats().tasks_waiting, 3u);
    EXPECT_EQ(semaphore.stats().permits_held, 1u);
    permit.reset();
    EXPECT_EQ(semaphore.value(), 0u) << "reserved for the first waiter";
    EXPECT_EQ(semaphore.stats().permits_held, 1u);
    EXPECT_FALSE(semaphore.TryAcquire().has_value());
    co_await OrReturn(group.Join());
    EXPECT_EQ(order, (std::vector{0, 1, 2}));
    EXPECT_EQ(semaphore.stats().permits_held, 0u);
    co_return absl::OkStatus();
  });
}

TEST(SemaphoreTest, CountsWhatOneTaskProvidesAndAnotherUsesUp) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Semaphore ready(0);
    group.Start("provider", [&]() -> Task<void> {
      for (int i = 0; i < 5; ++i) {
        ready.Release();
        co_await Checkpoint();
      }
    });
    for (int i = 0; i < 5; ++i) (co_await ready.Acquire()).Detach();
    EXPECT_EQ(ready.value(), 0u);
    EXPECT_FALSE(ready.TryAcquire().has_value());
    co_return absl::OkStatus();
  });
}

TEST(SemaphoreTest, MayBeReleasedWhereNoLoopRuns) {
  Semaphore semaphore(0, 2);
  semaphore.Release();
  semaphore.Release();
  EXPECT_EQ(semaphore.value(), 2u);
  EXPECT_EQ(semaphore.max_value(), 2u);
  RunGroupInOrder([&](TaskGroup&) -> Task<absl::Status> {
    Semaphore::Permit one = co_await semaphore.Acquire();
    Semaphore::Permit two = co_await semaphore.Acquire();
    EXPECT_EQ(semaphore.value(), 0u);
    co_return absl::OkStatus();
  });
  EXPECT_EQ(semaphore.value(), 2u);
}

TEST(SemaphoreTest, PermitsMove) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    Semaphore semaphore(2);
    Semaphore::Permit first = co_await semaphore.Acquire();
    Semaphore::Permit moved = std::move(first);
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(semaphore.value(), 1u);
    moved = co_await semaphore.Acquire();
    EXPECT_EQ(semaphore.value(), 1u) << "the one it held before went back";
    moved.Release();
    moved.Release();
    EXPECT_EQ(semaphore.value(), 2u);
    co_return absl::OkStatus();
  });
}

TEST(SemaphoreTest, AStoppedTaskGivesItsPermitBack) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Semaphore semaphore(1);
    auto holder = group.Start("holder", [&]() -> Task<void> {
      Semaphore::Permit permit = co_await semaphore.Acquire();
      co_await SleepForever();
    });
    co_await OthersWait();
    holder.Cancel();
    Semaphore::Permit permit = co_await semaphore.Acquire();
    co_return absl::OkStatus();
  });
}

TEST(SemaphoreDeathTest, IsNotReleasedAboveItsMaximum) {
  Semaphore semaphore(1, 1);
  EXPECT_DEATH(semaphore.Release(), "released above its maximum");
  EXPECT_DEATH(Semaphore(2, 1), "more permits than its maximum");
}

TEST(SemaphoreDeathTest, OutlivesItsPermits) {
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 auto semaphore = std::make_unique<Semaphore>(1);
                 Semaphore::Permit permit = co_await semaphore->Acquire();
                 semaphore.reset();
                 co_return absl::OkStatus();
               }),
               "destroyed while permits are held");
}

}  // namespace
}  // namespace braid
