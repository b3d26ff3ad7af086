// Sleeping, checkpoints, and what a task can ask about time and cancellation.

#include "braid/core/sleep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/run.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

size_t Timers() { return detail::Loop::Current().stats().timers; }

TEST(SleepFor, TakesExactlyThatLong) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    co_await SleepFor(1500ms);
    EXPECT_EQ(time.elapsed(), 1500ms);
    co_await SleepFor(absl::Milliseconds(500));
    EXPECT_EQ(time.elapsed(), 2s);
    co_await SleepFor(std::chrono::duration<double>(0.5));
    EXPECT_EQ(time.elapsed(), 2500ms);
    co_await SleepFor(1ns);
    EXPECT_EQ(time.elapsed(), 2500ms + 1ns);
    EXPECT_EQ(Timers(), 0u);
  });
}

// From a fresh reading of the clock, not from the start of the turn.
TEST(SleepFor, StartsAtTheAwait) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    auto sleep = SleepFor(1s);
    time.Advance(10s);
    EXPECT_EQ(Now().time_since_epoch() % 1s, 0s);
    co_await std::move(sleep);
    EXPECT_EQ(time.elapsed(), 11s);
  });
}

TEST(SleepUntil, WaitsForAPointInTime) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    const Time start = Now();
    time.Advance(1s);
    co_await SleepUntil(start + 3s);
    EXPECT_EQ(time.elapsed(), 3s);
    EXPECT_EQ(Now(), start + 3s);
  });
}

// Timers fire in the order of (deadline, registration).
TEST(SleepFor, TasksWakeInTheOrderOfDeadlineThenRegistration) {
  std::vector<int> order;
  RunInOrder([&](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      int i = 0;
      for (int seconds : {3, 1, 2, 1, 3, 2, 1}) {
        group.Start(
            "sleeper",
            [](int seconds, int i, std::vector<int>* order) -> Task<void> {
              co_await SleepFor(std::chrono::seconds(seconds));
              order->push_back(i);
            },
            seconds, i++, &order);
      }
      co_return;
    });
  });
  EXPECT_THAT(order, ElementsAre(1, 3, 6, 2, 5, 0, 4));
}

TEST(SleepFor, ZeroAndNegativeAreACheckpoint) {
  std::vector<std::string> order;
  RunInOrder([&](VirtualTime& time) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "other",
          [](std::vector<std::string>* order) -> Task<void> {
            for (int i = 0; i < 5; ++i) {
              order->push_back("other");
              co_await Checkpoint();
            }
          },
          &order);
      const Time past = Now() - 1s;
      co_await SleepFor(0s);
      order.push_back("zero");
      co_await SleepFor(-1s);
      order.push_back("negative");
      co_await SleepFor(-absl::InfiniteDuration());
      order.push_back("-inf");
      co_await SleepUntil(past);
      order.push_back("past");
      EXPECT_EQ(time.elapsed(), 0s);
    });
  });
  EXPECT_THAT(order, ElementsAre("other", "zero", "other", "negative", "other",
                                 "-inf", "other", "past", "other"));
}

TEST(SleepForever, EndsOnlyByCancellation) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_FALSE(co_await MoveOnAfter(24h * 365 * 200, SleepForever()));
    EXPECT_EQ(time.elapsed(), 24h * 365 * 200);
    EXPECT_FALSE(co_await MoveOnAfter(1s, SleepFor(kForever)));
    EXPECT_FALSE(co_await MoveOnAfter(1s, SleepFor(absl::InfiniteDuration())));
    EXPECT_FALSE(co_await MoveOnAfter(1s, SleepUntil(kNever)));
    // Longer than the clock can count.
    EXPECT_FALSE(co_await MoveOnAfter(1s, SleepFor(24h * 365 * 291)));
    EXPECT_EQ(Timers(), 0u);
  });
}

TEST(SleepForDeathTest, NaN) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 co_await SleepFor(std::chrono::duration<double>(NAN));
               }),
               "a delay is NaN(.|\n)*in task 'main'");
}

TEST(SleepDeathTest, OutsideOfALoop) {
  EXPECT_DEATH(Now(), "no loop runs on this thread; call this from a task");
}

// The five places where bugs live, for a sleep and a checkpoint.

TEST(SleepFor, CancelledBeforeItBegins) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    for (int which = 0; which < 4; ++which) {
      CancelScope scope;
      scope.Cancel();
      bool went_on = false;
      EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
        if (which == 0) co_await SleepFor(1s);
        if (which == 1) co_await SleepFor(0s);
        if (which == 2) co_await SleepUntil(Now());
        if (which == 3) co_await Checkpoint();
        went_on = true;
      }));
      EXPECT_FALSE(went_on);
    }
    EXPECT_EQ(time.elapsed(), 0s);
    EXPECT_EQ(Timers(), 0u);
  });
}

TEST(SleepFor, CancelledWhileItWaits) {
  RunInEveryOrder([](VirtualTime& time) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("sleeper", []() -> Task<void> {
        co_await SleepFor(1h);
        ADD_FAILURE() << "went on";
      });
      co_await SleepFor(1s);
      EXPECT_EQ(Timers(), 1u);
      handle.Cancel();
      EXPECT_EQ(Timers(), 0u);
      EXPECT_TRUE((co_await handle.Join()).stopped());
      EXPECT_EQ(time.elapsed(), 1s);
    });
  });
}

TEST(SleepFor, CancelledBetweenCompletionAndResumption) {
  RunInOrder([](VirtualTime& time) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      int stage = 0;
      TaskHandle<void>* sleeper = nullptr;
      // Both wake in the same instant, and this one runs first.
      group.Start(
          "canceller",
          [](TaskHandle<void>** sleeper) -> Task<void> {
            co_await SleepFor(1s);
            (*sleeper)->Cancel();
          },
          &sleeper);
      auto handle = group.Start(
          "sleeper",
          [](int* stage) -> Task<void> {
            co_await SleepFor(1s);
            *stage = 1;
            EXPECT_TRUE(CancelPending());
            co_await Checkpoint();
            *stage = 2;
          },
          &stage);
      sleeper = &handle;
      EXPECT_TRUE((co_await handle.Join()).stopped());
      EXPECT_EQ(stage, 1);
      EXPECT_EQ(time.elapsed(), 1s);
    });
  });
}

TEST(SleepFor, CancelledTwiceAndInCleanUp) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    struct CancelsAtExit {
      explicit CancelsAtExit(CancelScope* scope) : scope(scope) {}
      ~CancelsAtExit() { scope->Cancel("again"); }
      CancelScope* scope;
    };
    CancelScope scope;
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      CancelsAtExit again(&scope);
      scope.SetDeadline(Now() + 1s);
      co_await SleepFor(1h);
    }));
    EXPECT_EQ(scope.cause()->source, CancelCause::Source::kDeadline);
    EXPECT_EQ(time.elapsed(), 1s);
    co_await SleepFor(1s);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// Checkpoint

TEST(Checkpoint, LetsEveryOtherReadyTaskRunFirst) {
  std::vector<int> order;
  RunInOrder([&](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 3; ++i) {
        group.Start(
            "task",
            [](int i, std::vector<int>* order) -> Task<void> {
              order->push_back(i);
              co_await Checkpoint();
              order->push_back(10 + i);
            },
            i, &order);
      }
      order.push_back(100);
      co_await Checkpoint();
      order.push_back(101);
      co_await Checkpoint();
      order.push_back(102);
    });
  });
  EXPECT_THAT(order, ElementsAre(100, 0, 1, 2, 101, 10, 11, 12, 102));
}

TEST(Checkpoint, StopsOnlyWhereItLooks) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    int passed = 0;
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      co_await Checkpoint();
      ++passed;
      scope.Cancel();
      ++passed;
      co_await Checkpoint();
      ++passed;
    }));
    EXPECT_EQ(passed, 2);
  });
}

// A task that yields is ready again: what cancels it then comes at its next
// checkpoint.
TEST(Checkpoint, CancelledBetweenYieldAndResumption) {
  RunInOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      int stage = 0;
      auto handle = group.Start(
          "yields",
          [](int* stage) -> Task<void> {
            *stage = 1;
            co_await Checkpoint();
            *stage = 2;
            co_await Checkpoint();
            *stage = 3;
          },
          &stage);
      co_await Checkpoint();
      EXPECT_EQ(stage, 1);
      handle.Cancel();
      EXPECT_TRUE((co_await handle.Join()).stopped());
      EXPECT_EQ(stage, 2);
    });
  });
}

// Asking

TEST(CancelReason, TellsWhoAndWhy) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_FALSE(CancelPending());
    EXPECT_FALSE(CancelReason().has_value());
    CancelScope outer;
    CancelScope inner;
    (void)co_await outer.Run([&]() -> Task<void> {
      outer.Cancel("outer reason");
      (void)co_await inner.Run([&]() -> Task<void> {
        EXPECT_TRUE(CancelPending());
        EXPECT_EQ(CancelReason()->reason, "outer reason");
        EXPECT_EQ(CancelReason()->task, "main");
        inner.SetShield(true);
        EXPECT_FALSE(CancelPending());
        EXPECT_FALSE(CancelReason().has_value());
        inner.Cancel("inner reason");
        EXPECT_TRUE(CancelPending());
        EXPECT_EQ(CancelReason()->reason, "inner reason");
        co_return;
      });
    });
    EXPECT_FALSE(CancelPending());
  });
}

TEST(CancelReason, OfADeadline) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_TRUE(co_await MoveOnAfter(0s, []() -> Task<void> {
      EXPECT_EQ(CancelReason()->source, CancelCause::Source::kDeadline);
      co_return;
    }));
  });
}

// D16: the reason names the task that failed, and how.
TEST(CancelReason, OfASiblingsFailure) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("reader", []() -> Task<absl::Status> {
        co_await SleepFor(1s);
        co_return absl::NotFoundError("no such file");
      });
      group.Start("sibling", []() -> Task<void> {
        co_await Shield(SleepFor(2s));
        EXPECT_EQ(CancelReason()->source, CancelCause::Source::kChildFailed);
        EXPECT_EQ(CancelReason()->task, "reader");
        EXPECT_EQ(CancelReason()->ToString(),
                  "a sibling failed by task 'reader': task 'reader' failed: "
                  "NOT_FOUND: no such file");
      });
      co_await SleepForever();
    });
    EXPECT_EQ(status, absl::NotFoundError("no such file"));
  });
}

}  // namespace
}  // namespace braid
