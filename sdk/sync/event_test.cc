#include "braid/sync/event.h"

#include <memory>
#include <thread>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(EventTest, WaitersGoOnOnceItIsSet) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Event event;
    int woken = 0;
    for (int i = 0; i < 3; ++i) {
      group.Start("waiter", [&]() -> Task<void> {
        co_await event.Wait();
        ++woken;
      });
    }
    co_await OthersWait();
    EXPECT_EQ(event.stats().tasks_waiting, 3u);
    EXPECT_FALSE(event.is_set());
    event.Set();
    EXPECT_TRUE(event.is_set());
    EXPECT_EQ(event.stats().tasks_waiting, 0u);
    EXPECT_EQ(woken, 0) << "nothing resumes inside Set()";
    co_return co_await group.Join();
  });
}

TEST(EventTest, WaitersGoOnInTheOrderInWhichTheyCame) {
  RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
    Event event;
    std::vector<int> order;
    for (int i = 0; i < 4; ++i) {
      group.Start("waiter", [&, i]() -> Task<void> {
        co_await event.Wait();
        order.push_back(i);
      });
    }
    co_await OthersWait();
    event.Set();
    co_await OrReturn(group.Join());
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
    co_return absl::OkStatus();
  });
}

TEST(EventTest, MayBeBuiltAndSetWhereNoLoopRuns) {
  Event event;
  event.Set();
  event.Set();
  for (int run = 0; run < 2; ++run) {
    RunGroupInOrder([&](TaskGroup&) -> Task<absl::Status> {
      co_await event.Wait();
      co_return absl::OkStatus();
    });
  }
}

TEST(EventTest, WaitingForASetEventIsACheckpoint) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    Event event;
    event.Set();
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(co_await scope.Run(event.Wait()));
    co_return absl::OkStatus();
  });
}

TEST(EventTest, MayBeSetByADestructorWhileItsTaskIsStopped) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Event event;
    struct SetsAtEnd {
      Event* event;
      ~SetsAtEnd() { event->Set(); }
    };
    auto stopped = group.Start("stopped", [&]() -> Task<void> {
      SetsAtEnd sets{&event};
      co_await SleepForever();
    });
    co_await OthersWait();
    stopped.Cancel();
    EXPECT_FALSE(event.is_set());
    co_await event.Wait();
    co_return absl::OkStatus();
  });
}

TEST(EventTest, MayGoRightAfterItIsSet) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto event = std::make_unique<Event>();
    bool woken = false;
    group.Start("waiter", [&]() -> Task<void> {
      co_await event->Wait();
      woken = true;
    });
    co_await OthersWait();
    event->Set();
    event.reset();
    co_await OrReturn(group.Join());
    EXPECT_TRUE(woken);
    co_return absl::OkStatus();
  });
}

TEST(EventDeathTest, OutlivesItsWaiters) {
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
                 auto event = std::make_unique<Event>();
                 group.Start("waiter",
                             [&]() -> Task<void> { co_await event->Wait(); });
                 co_await OthersWait();
                 event.reset();
                 co_return absl::OkStatus();
               }),
               "destroyed while tasks wait");
}

TEST(EventDeathTest, BelongsToTheThreadThatAwaitedIt) {
  EXPECT_DEATH(
      {
        Event event;
        RunGroupInOrder([&](TaskGroup&) -> Task<absl::Status> {
          co_await MoveOnAfter(1s, event.Wait());
          co_return absl::OkStatus();
        });
        std::thread([&] { event.Set(); }).join();
      },
      "used from another thread");
}

}  // namespace
}  // namespace braid
