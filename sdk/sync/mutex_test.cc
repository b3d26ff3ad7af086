#include "braid/sync/mutex.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(MutexTest, OneTaskAtATime) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    int inside = 0;
    int done = 0;
    for (int i = 0; i < 5; ++i) {
      group.Start("task", [&]() -> Task<void> {
        for (int round = 0; round < 10; ++round) {
          Mutex::Guard guard = co_await mutex.Lock();
          EXPECT_EQ(++inside, 1);
          co_await Checkpoint();
          EXPECT_EQ(--inside, 0);
          ++done;
        }
      });
    }
    co_await OrReturn(group.Join());
    EXPECT_EQ(done, 50);
    EXPECT_FALSE(mutex.locked());
    co_return absl::OkStatus();
  });
}

TEST(MutexTest, UnlockingHandsItToTheNextInLine) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    std::vector<int> order;
    std::optional<Mutex::Guard> guard = co_await mutex.Lock();
    for (int i = 0; i < 3; ++i) {
      group.Start("waiter", [&, i]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        order.push_back(i);
        // Asking again means going to the end of the line.
        guard.Unlock();
        guard = co_await mutex.Lock();
        order.push_back(i);
      });
      co_await OthersWait();
    }
    EXPECT_EQ(mutex.stats().tasks_waiting, 3u);
    guard.reset();
    EXPECT_TRUE(mutex.locked()) << "reserved for the first waiter";
    EXPECT_FALSE(mutex.TryLock().has_value()) << "nobody gets in between";
    co_await OrReturn(group.Join());
    EXPECT_EQ(order, (std::vector{0, 1, 2, 0, 1, 2}));
    co_return absl::OkStatus();
  });
}

TEST(MutexTest, TryLock) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    std::optional<Mutex::Guard> guard = mutex.TryLock();
    EXPECT_TRUE(guard.has_value());
    group.Start("other", [&]() -> Task<void> {
      EXPECT_FALSE(mutex.TryLock().has_value());
      co_return;
    });
    co_await OrReturn(group.Join());
    guard.reset();
    EXPECT_FALSE(mutex.locked());
    co_return absl::OkStatus();
  });
}

TEST(MutexTest, MayBeUsedWhereNoLoopRuns) {
  Mutex mutex;
  {
    std::optional<Mutex::Guard> guard = mutex.TryLock();
    EXPECT_TRUE(guard.has_value());
    EXPECT_FALSE(mutex.TryLock().has_value());
    EXPECT_TRUE(mutex.stats().locked);
    EXPECT_EQ(mutex.stats().owner, 0u);
  }
  EXPECT_TRUE(mutex.TryLock().has_value());
}

TEST(MutexTest, ATaskThatEndsOrIsStoppedLeavesNothingLocked) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    auto stopped = group.Start("stopped", [&]() -> Task<void> {
      Mutex::Guard guard = co_await mutex.Lock();
      co_await SleepForever();
    });
    co_await OthersWait();
    EXPECT_TRUE(mutex.locked());
    stopped.Cancel();
    Mutex::Guard guard = co_await mutex.Lock();
    EXPECT_TRUE(stopped.done());
    co_return absl::OkStatus();
  });
}

TEST(MutexTest, StatsNameTheOwner) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    EXPECT_EQ(mutex.stats().owner, 0u);
    auto owner = group.Start("owner", [&]() -> Task<void> {
      Mutex::Guard guard = co_await mutex.Lock();
      co_await SleepFor(1s);
    });
    auto next = group.Start("next", [&]() -> Task<void> {
      co_await SleepFor(1ms);
      Mutex::Guard guard = co_await mutex.Lock();
      co_await SleepFor(1s);
    });
    co_await SleepFor(500ms);
    EXPECT_TRUE(mutex.stats().locked);
    EXPECT_EQ(mutex.stats().owner, owner.id());
    EXPECT_EQ(mutex.stats().tasks_waiting, 1u);
    co_await SleepFor(1s);
    EXPECT_EQ(mutex.stats().owner, next.id());
    EXPECT_EQ(mutex.stats().tasks_waiting, 0u);
    co_return co_await group.Join();
  });
}

TEST(MutexTest, GuardsMove) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Mutex other;
    Mutex::Guard guard = co_await mutex.Lock();
    Mutex::Guard moved = std::move(guard);
    EXPECT_FALSE(guard);  // NOLINT(bugprone-use-after-move)
    EXPECT_TRUE(moved);
    moved = co_await other.Lock();
    EXPECT_FALSE(mutex.locked()) << "what it held before is unlocked";
    EXPECT_TRUE(other.locked());
    group.Start(
        "holder",
        [&](Mutex::Guard guard) -> Task<void> {
          co_await SleepFor(1s);
          EXPECT_TRUE(other.locked());
          guard.Unlock();
          EXPECT_FALSE(guard);
          guard.Unlock();
        },
        std::move(moved));
    co_await OrReturn(group.Join());
    EXPECT_FALSE(other.locked());
    co_return absl::OkStatus();
  });
}

TEST(MutexTest, ATimeoutOnTheLockLeavesTheLine) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    group.Start("owner", [&]() -> Task<void> {
      Mutex::Guard guard = co_await mutex.Lock();
      co_await SleepFor(10s);
    });
    co_await OthersWait();
    auto late = co_await FailAfter(1s, mutex.Lock());
    EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(mutex.stats().tasks_waiting, 0u);
    auto in_time = co_await FailAfter(10s, mutex.Lock());
    EXPECT_TRUE(in_time.ok());
    co_return absl::OkStatus();
  });
}

TEST(MutexDeathTest, LockingTwiceInOneTask) {
  const char* says = "locks a mutex that it has locked already";
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 Mutex mutex;
                 Mutex::Guard guard = co_await mutex.Lock();
                 Mutex::Guard again = co_await mutex.Lock();
                 co_return absl::OkStatus();
               }),
               says);
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 Mutex mutex;
                 Mutex::Guard guard = co_await mutex.Lock();
                 EXPECT_FALSE(mutex.TryLock().has_value());
                 co_return absl::OkStatus();
               }),
               says);
  // Also a lock that was handed over, and one taken inside a time limit.
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
                 Mutex mutex;
                 group.Start("first", [&]() -> Task<void> {
                   Mutex::Guard guard = co_await mutex.Lock();
                   co_await SleepFor(1s);
                 });
                 co_await OthersWait();
                 auto guard = co_await FailAfter(5s, mutex.Lock());
                 auto again = co_await FailAfter(5s, mutex.Lock());
                 co_return absl::OkStatus();
               }),
               says);
}

TEST(MutexDeathTest, OutlivesItsGuards) {
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 auto mutex = std::make_unique<Mutex>();
                 Mutex::Guard guard = co_await mutex->Lock();
                 mutex.reset();
                 co_return absl::OkStatus();
               }),
               "destroyed while it is locked");
}

}  // namespace
}  // namespace braid
