#include "braid/sync/watch.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

Task<void> Follow(Watch<int>::Reader reader, std::vector<int>& seen) {
  while (std::optional<int> value = co_await reader.Next()) {
    seen.push_back(*value);
  }
}

TEST(WatchTest, ReadersGetTheLatestValueAndTheLastOne) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    std::optional<Watch<int>> watch(1);
    std::vector<int> seen;
    std::vector<int> also_seen;
    group.Start("reader", Follow, watch->Subscribe(), std::ref(seen));
    group.Start("reader", Follow, watch->Subscribe(), std::ref(also_seen));
    co_await OthersWait();
    EXPECT_EQ(watch->stats().readers, 2u);
    EXPECT_EQ(watch->stats().tasks_waiting, 2u);
    watch->Set(2);
    co_await OthersWait();
    watch->Set(3);
    watch->Set(4);  // 3 is skipped
    co_await OthersWait();
    watch->Set(5);
    watch->Close();
    EXPECT_TRUE(watch->closed());
    EXPECT_TRUE(watch->stats().closed);
    EXPECT_EQ(watch->stats().values, 5u);
    co_await OrReturn(group.Join());
    EXPECT_EQ(seen, (std::vector{1, 2, 4, 5}));
    EXPECT_EQ(also_seen, seen);
    co_return absl::OkStatus();
  });
}

TEST(WatchTest, AReaderOutlivesTheWatch) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    std::optional<Watch<int>> watch(1);
    Watch<int>::Reader late = watch->Subscribe();
    std::vector<int> seen;
    group.Start("reader", Follow, watch->Subscribe(), std::ref(seen));
    co_await OthersWait();
    watch.reset();
    co_await OrReturn(group.Join());
    EXPECT_EQ(seen, (std::vector{1}));
    EXPECT_TRUE(late.changed());
    EXPECT_EQ(late.Get(), 1);
    EXPECT_EQ(co_await late.Next(), 1);
    EXPECT_EQ(co_await late.Next(), std::nullopt);
    EXPECT_EQ(co_await late.Next(), std::nullopt);
    co_return absl::OkStatus();
  });
}

TEST(WatchTest, MayBeSetWhereNoLoopRuns) {
  Watch<std::string> watch("one");
  watch.Set("two");
  EXPECT_EQ(watch.Get(), "two");
  RunGroupInOrder([&](TaskGroup&) -> Task<absl::Status> {
    Watch<std::string>::Reader reader = watch.Subscribe();
    EXPECT_EQ(co_await reader.Next(), "two");
    EXPECT_FALSE(reader.changed());
    co_return absl::OkStatus();
  });
}

TEST(WatchTest, CopiesOfAReaderFollowEachForItself) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    Watch<int> watch(1);
    Watch<int>::Reader one = watch.Subscribe();
    co_await one.Next();
    Watch<int>::Reader two = one;
    watch.Set(2);
    EXPECT_EQ(co_await one.Next(), 2);
    EXPECT_TRUE(two.changed());
    EXPECT_EQ(co_await two.Next(), 2);
    two = watch.Subscribe();
    EXPECT_EQ(co_await two.Next(), 2);
    EXPECT_EQ(watch.stats().readers, 2u);
    co_return absl::OkStatus();
  });
}

TEST(WatchTest, UpdateChangesInPlace) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    const std::vector<int> one = {1};
    const std::vector<int> two = {1, 2};
    Watch<std::vector<int>> watch(one);
    Watch<std::vector<int>>::Reader reader = watch.Subscribe();
    co_await reader.Next();
    watch.Update([](std::vector<int>& value) { value.push_back(2); });
    EXPECT_EQ(co_await reader.Next(), two);
    EXPECT_THROW(watch.Update([](auto&) { throw std::runtime_error("no"); }),
                 std::runtime_error);
    EXPECT_FALSE(reader.changed());
    co_return absl::OkStatus();
  });
}

TEST(WatchTest, AWaitThatWasHandedAValueAndAnotherOneGivesTheNewer) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Watch<int> watch(0);
    Watch<int>::Reader reader = watch.Subscribe();
    co_await reader.Next();
    std::optional<int> got;
    group.Start("reader",
                [&]() -> Task<void> { got = co_await reader.Next(); });
    co_await OthersWait();
    watch.Set(1);
    watch.Set(2);
    watch.Close();
    co_await OrReturn(group.Join());
    EXPECT_EQ(got, 2);
    EXPECT_EQ(co_await reader.Next(), std::nullopt);
    co_return absl::OkStatus();
  });
}

TEST(WatchTest, ManyTasksMayWaitOnOneReader) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Watch<int> watch(0);
    Watch<int>::Reader reader = watch.Subscribe();
    co_await reader.Next();
    int got = 0;
    for (int i = 0; i < 3; ++i) {
      group.Start("reader", [&]() -> Task<void> {
        EXPECT_EQ(co_await reader.Next(), 1);
        ++got;
      });
    }
    co_await OthersWait();
    watch.Set(1);
    co_await OrReturn(group.Join());
    EXPECT_EQ(got, 3);
    co_return absl::OkStatus();
  });
}

TEST(WatchTest, WaitForLooksAtTheLatestFirst) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Watch<int> watch(1);
    Watch<int>::Reader reader = watch.Subscribe();
    co_await reader.Next();
    EXPECT_EQ(co_await reader.WaitFor([](int v) { return v == 1; }), 1)
        << "also if it was seen before";
    group.Start("writer", [&]() -> Task<void> {
      for (int i = 2; i <= 5; ++i) {
        co_await SleepFor(1s);
        watch.Set(i);
      }
      watch.Close();
    });
    EXPECT_EQ(co_await reader.WaitFor([](int v) { return v >= 3; }), 3);
    EXPECT_FALSE(reader.changed());
    EXPECT_EQ(co_await reader.WaitFor([](int v) { return v > 5; }),
              std::nullopt);
    co_return co_await group.Join();
  });
}

TEST(WatchTest, AStoppedWaitHasSeenNothing) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    Watch<int> watch(1);
    Watch<int>::Reader reader = watch.Subscribe();
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE((co_await scope.Run(reader.Next())).has_value());
    EXPECT_TRUE(reader.changed());
    EXPECT_EQ(co_await reader.Next(), 1);
    co_return absl::OkStatus();
  });
}

TEST(WatchDeathTest, AClosedWatchGetsNoValues) {
  Watch<int> watch(1);
  watch.Close();
  watch.Close();
  EXPECT_DEATH(watch.Set(2), "closed watch is given a value");
  EXPECT_DEATH(watch.Update([](int& value) { ++value; }),
               "closed watch is given a value");
}

}  // namespace
}  // namespace braid
