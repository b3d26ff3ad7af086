// RequestStop, StopRequested and IsStopRequested: who hears it, and that it
// stops nobody.

#include "braid/core/stop_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/all_of.h"
#include "braid/core/any_of.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/finally.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

static_assert(std::is_void_v<detail::ResultOf<decltype(StopRequested())>>);

// Runs `body` in a group, inside `RunInEveryOrder`.
template <typename B>
void InAGroup(B body) {
  RunInEveryOrder([body](VirtualTime& time) -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          co_await body(time, group);
          co_return co_await group.Join();
        });
  });
}

TEST(StopRequest, WakesBodyAndTasksAndStopsNobody) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<void> {
    int heard = 0;
    int worked = 0;
    for (int i = 0; i < 3; ++i) {
      group.Start("worker", [&heard, &worked]() -> Task<void> {
        EXPECT_FALSE(IsStopRequested());
        co_await StopRequested();
        ++heard;
        EXPECT_TRUE(IsStopRequested());
        EXPECT_FALSE(CancelPending());
        co_await SleepFor(1s);  // finishes what it has
        ++worked;
      });
    }
    group.Start("requester", [&group]() -> Task<void> {
      co_await SleepFor(1s);
      group.RequestStop();
      group.RequestStop();
    });
    co_await StopRequested();
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_TRUE(IsStopRequested());
    (void)co_await group.Join();
    EXPECT_EQ(heard, 3);
    EXPECT_EQ(worked, 3);
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_FALSE(group.cancel_called());
  });
}

// It never goes away: whoever asks later is told at once, without waiting.
TEST(StopRequest, OnceMadeItStands) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<void> {
    group.RequestStop();
    const uint64_t switches = detail::Loop::Current().stats().switches;
    co_await StopRequested();
    co_await StopRequested();
    EXPECT_EQ(detail::Loop::Current().stats().switches, switches);
    int heard = 0;
    group.Start("late", [&heard]() -> Task<void> {
      EXPECT_TRUE(IsStopRequested());
      co_await StopRequested();
      ++heard;
    });
    (void)co_await group.Join();
    EXPECT_EQ(heard, 1);
    EXPECT_EQ(time.elapsed(), 0s);
  });
}

TEST(StopRequest, ReachesEverythingInside) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<void> {
    std::vector<std::string> heard;
    auto hear = [&heard](const char* who) {
      return [&heard, who]() -> Task<void> {
        co_await StopRequested();
        heard.push_back(who);
      };
    };
    group.Start("nested", [&]() -> Task<absl::Status> {
      co_return co_await WithTaskGroup(
          [&](TaskGroup& inner) -> Task<absl::Status> {
            inner.Start("child", hear("nested group"));
            co_return co_await inner.Join();
          });
    });
    group.Start("legs", [&]() -> Task<void> {
      co_await AllOf(hear("leg"), SleepFor(1s));
    });
    group.Start("scopes", [&]() -> Task<void> {
      co_await MoveOnAfter(1h, hear("limit"));
    });
    group.Start("shield",
                [&]() -> Task<void> { co_await Shield(hear("shield")); });
    group.Start("cleanup", [&]() -> Task<void> {
      co_await Finally(SleepFor(0s), hear("clean-up"));
    });
    co_await SleepFor(1s);
    group.RequestStop();
    (void)co_await group.Join();
    EXPECT_THAT(heard,
                testing::UnorderedElementsAre("nested group", "leg", "limit",
                                              "shield", "clean-up"));
  });
}

TEST(StopRequest, DoesNotReachOutwardsOrSideways) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<void> {
    bool sibling_heard = false;
    auto sibling = group.Start("sibling", [&]() -> Task<void> {
      co_await StopRequested();
      sibling_heard = true;
    });
    (co_await WithTaskGroup([&](TaskGroup& inner) -> Task<void> {
      inner.RequestStop();
      EXPECT_TRUE(IsStopRequested());
      co_await StopRequested();
    })).IgnoreError();
    EXPECT_FALSE(IsStopRequested());
    co_await SleepFor(1s);
    EXPECT_FALSE(sibling_heard);
    sibling.Cancel();
    // Of a group that is inside one that is asked, and of one that is not.
    EXPECT_FALSE(co_await MoveOnAfter(1s, StopRequested()));
  });
}

TEST(StopRequest, WaitersResumeInTheOrderTheyCame) {
  RunInOrder([](VirtualTime&) -> Task<absl::Status> {
    std::vector<int> order;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 4; ++i) {
            group.Start("waiter", [&order, i]() -> Task<void> {
              co_await StopRequested();
              order.push_back(i);
            });
          }
          co_await SleepFor(1s);
          group.RequestStop();
          EXPECT_THAT(order, testing::IsEmpty()) << "nothing resumes inline";
          absl::Status status = co_await group.Join();
          EXPECT_THAT(order, ElementsAre(0, 1, 2, 3));
          co_return status;
        });
  });
}

// The five places where operations go wrong.

TEST(StopRequest, CancelledBeforeStart) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<void> {
    group.RequestStop();
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(co_await scope.Run(StopRequested()))
        << "cancellation is looked for first";
  });
}

TEST(StopRequest, CancelledWhileWaitingAndTwice) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    auto task = group.Start("waiter", [&]() -> Task<void> {
      co_await outer.Run(
          [&]() -> Task<void> { co_await inner.Run(StopRequested()); });
    });
    co_await SleepFor(1s);
    inner.Cancel();
    inner.Cancel();
    outer.Cancel();
    task.Cancel();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_FALSE(co_await MoveOnAfter(1s, StopRequested()));
    EXPECT_EQ(time.elapsed(), 2s);
    group.RequestStop();  // nobody is left in the line
  });
}

TEST(StopRequest, CancelledBetweenCompletionAndResumption) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<void> {
    int stage = 0;
    auto task = group.Start("waiter", [&]() -> Task<void> {
      co_await StopRequested();
      stage = 1;
      co_await Checkpoint();
      stage = 2;
    });
    co_await SleepFor(1s);
    group.RequestStop();
    task.Cancel();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_EQ(stage, 1);
  });
}

TEST(StopRequest, InCleanUp) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<void> {
    bool heard = false;
    auto task = group.Start("task", [&]() -> Task<void> {
      co_await Finally(SleepForever(), [&]() -> Task<void> {
        co_await StopRequested();
        heard = true;
      });
    });
    co_await SleepFor(1s);
    task.Cancel();
    co_await SleepFor(1s);
    group.RequestStop();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_TRUE(heard);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(StopRequest, AsALeg) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<void> {
    group.Start("requester", [&]() -> Task<void> {
      co_await SleepFor(2s);
      group.RequestStop();
    });
    int items = 0;
    for (;;) {
      auto [tick, stopping] = co_await AnyOf(SleepFor(600ms), StopRequested());
      if (tick) ++items;
      if (stopping) break;
    }
    EXPECT_EQ(items, 3);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// A cancel does not count as one, and the other way round.
TEST(StopRequest, IsNoCancelAndACancelIsNone) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& inner) -> Task<void> {
      inner.Cancel();
      EXPECT_FALSE(IsStopRequested());
      co_return;
    })).IgnoreError();
    EXPECT_FALSE(IsStopRequested());
    group.RequestStop();
    EXPECT_FALSE(CancelPending());
    EXPECT_FALSE(CancelReason().has_value());
    group.Cancel();
    EXPECT_TRUE(IsStopRequested());
    EXPECT_TRUE(CancelPending());
  });
}

TEST(StopRequest, FromADestructorDuringAnUnwind) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<void> {
    struct Requests {
      ~Requests() { group->RequestStop(); }
      TaskGroup* group;
    };
    auto task = group.Start("task", [&]() -> Task<void> {
      Requests requests{&group};
      co_await SleepForever();
    });
    bool heard = false;
    group.Start("waiter", [&]() -> Task<void> {
      co_await StopRequested();
      heard = true;
    });
    co_await SleepFor(1s);
    task.Cancel();
    co_await StopRequested();
    co_await SleepFor(1s);
    EXPECT_TRUE(heard);
  });
}

// Many wait, each in a group of its own; a request reaches only its own, and
// waiters come and go while it is made.
TEST(StopRequest, ManyWaitersInManyGroups) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<void> {
    constexpr int kGroups = 300;
    int heard = 0;
    std::vector<TaskGroup*> groups;
    for (int i = 0; i < kGroups; ++i) {
      group.Start("group", [&]() -> Task<void> {
        (co_await WithTaskGroup([&](TaskGroup& inner) -> Task<absl::Status> {
          groups.push_back(&inner);
          inner.Start("child", [&]() -> Task<void> {
            co_await StopRequested();
            ++heard;
          });
          co_return co_await inner.Join();
        })).IgnoreError();
      });
    }
    co_await SleepFor(1s);
    EXPECT_EQ(groups.size(), size_t{kGroups});
    for (int i = 0; i < kGroups; i += 2) groups[i]->RequestStop();
    co_await SleepFor(1s);
    EXPECT_EQ(heard, kGroups / 2);
    group.RequestStop();
    (void)co_await group.Join();
    EXPECT_EQ(heard, kGroups);
  });
}

}  // namespace
}  // namespace braid
