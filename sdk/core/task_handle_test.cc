// TaskHandle and Outcome: cancel one task, wait for it, look at how it ended.

#include "braid/core/task_handle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/cancel_scope.h"
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

// A group whose body may wait for its tasks without being stopped when one of
// them fails.
template <typename B>
Task<absl::Status> Shielded(B body) {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
    co_await Shield([&]() -> Task<void> { co_await body(group); });
  });
}

TEST(TaskHandle, GivesTheOutcomeOfEachKindOfTask) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await Shielded([](TaskGroup& group) -> Task<void> {
      TaskHandle<int> of_int = group.Start("int", []() -> Task<int> {
        co_await SleepFor(1s);
        co_return 3;
      });
      TaskHandle<void> of_void =
          group.Start("void", []() -> Task<void> { co_return; });
      TaskHandle<void> of_status =
          group.Start("status", []() -> Task<absl::Status> {
            co_await SleepFor(1s);
            co_return absl::OkStatus();
          });
      TaskHandle<std::unique_ptr<int>> of_either = group.Start(
          "either", []() -> Task<absl::StatusOr<std::unique_ptr<int>>> {
            co_return std::make_unique<int>(4);
          });
      Outcome<int> int_outcome = co_await of_int.Join();
      EXPECT_TRUE(int_outcome.ok());
      EXPECT_EQ(int_outcome.value(), 3);
      EXPECT_EQ(int_outcome.status(), absl::OkStatus());
      EXPECT_TRUE((co_await of_void.Join()).ok());
      EXPECT_TRUE((co_await of_status.Join()).ok());
      EXPECT_EQ(*(co_await of_either.Join()).value(), 4);
      EXPECT_EQ(of_int.name(), "int");
      EXPECT_NE(of_int.id(), of_void.id());
    });
    EXPECT_EQ(status, absl::OkStatus());
  });
}

TEST(TaskHandle, AReferenceIsGivenAsAReferenceWrapper) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int object = 1;
    auto refer = [](int* object) -> Task<int&> {
      co_await Checkpoint();
      co_return *object;
    };
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("refers", refer, &object);
      Outcome<int&> outcome = co_await handle.Join();
      EXPECT_EQ(&outcome.value().get(), &object);
    });
    EXPECT_TRUE(status.ok());
    std::optional<std::reference_wrapper<int>> maybe =
        co_await MoveOnAfter(1s, refer(&object));
    EXPECT_EQ(&maybe->get(), &object);
    absl::StatusOr<std::reference_wrapper<int>> must =
        co_await FailAfter(1s, refer(&object));
    EXPECT_EQ(&must->get(), &object);
    auto from_group = co_await WithTaskGroup(
        [&](TaskGroup&) -> Task<int&> { co_return co_await refer(&object); });
    EXPECT_EQ(&from_group->get(), &object);
    int& shielded = co_await Shield(refer(&object));
    EXPECT_EQ(&shielded, &object);
  });
}

TEST(TaskHandle, GivesErrorsAndExceptionsAndTheGroupGetsThemToo) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await Shielded([](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("fails", []() -> Task<absl::StatusOr<int>> {
        co_return absl::NotFoundError("x");
      });
      for (int i = 0; i < 2; ++i) {
        Outcome<int> outcome = co_await handle.Join();
        EXPECT_TRUE(outcome.failed());
        EXPECT_EQ(outcome.status(), absl::NotFoundError("x"));
        EXPECT_EQ(outcome.exception(), nullptr);
      }
    });
    EXPECT_EQ(status, absl::NotFoundError("x"));

    // Story: the first reader took the exception away, and the second saw a
    // task that had been stopped.
    std::string caught;
    try {
      (co_await Shielded([](TaskGroup& group) -> Task<void> {
        auto handle = group.Start("throws", []() -> Task<void> {
          throw std::runtime_error("boom");
          co_return;
        });
        for (int i = 0; i < 2; ++i) {
          Outcome<void> outcome = co_await handle.Join();
          EXPECT_TRUE(outcome.failed());
          EXPECT_FALSE(outcome.stopped());
          EXPECT_EQ(outcome.status().code(), absl::StatusCode::kUnknown);
          EXPECT_NE(outcome.exception(), nullptr);
        }
      })).IgnoreError();
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
  });
}

TEST(TaskHandle, CancelStopsOneTaskAlone) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int others = 0;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 3; ++i) {
            group.Start(
                "other",
                [](int* others) -> Task<void> {
                  co_await SleepFor(5s);
                  ++*others;
                },
                &others);
          }
          auto handle = group.Start("victim", []() -> Task<void> {
            co_await Shield([]() -> Task<void> { co_await SleepFor(2s); });
            EXPECT_EQ(CancelReason()->reason, "first");
            EXPECT_EQ(CancelReason()->task, "main");
            co_await Checkpoint();
          });
          co_await SleepFor(1s);
          EXPECT_FALSE(handle.done());
          handle.Cancel("first");
          handle.Cancel("second");
          Outcome<void> outcome = co_await handle.Join();
          EXPECT_TRUE(outcome.stopped());
          EXPECT_FALSE(outcome.ok());
          EXPECT_FALSE(outcome.failed());
          EXPECT_EQ(outcome.status().code(), absl::StatusCode::kCancelled);
          EXPECT_TRUE(handle.done());
          EXPECT_EQ(time.elapsed(), 2s);
          handle.Cancel("after the end");
          EXPECT_FALSE(group.cancel_called());
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());  // neither an error nor a stop for the group
    EXPECT_EQ(others, 3);
  });
}

TEST(TaskHandle, CancelBeforeTheTaskBegins) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int stage = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto handle = group.Start(
          "victim",
          [](int* stage) -> Task<void> {
            *stage = 1;  // a child always begins
            co_await Checkpoint();
            *stage = 2;
          },
          &stage);
      handle.Cancel();
      EXPECT_TRUE((co_await handle.Join()).stopped());
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(stage, 1);
  });
}

TEST(TaskHandle, ACancelledTaskThatCompletesGivesItsValue) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("completes", []() -> Task<int> {
        co_await Shield(SleepFor(1s));
        co_return 8;
      });
      handle.Cancel();
      Outcome<int> outcome = co_await handle.Join();
      EXPECT_TRUE(outcome.ok());
      EXPECT_EQ(outcome.value(), 8);
    });
    EXPECT_TRUE(status.ok());
  });
}

TEST(TaskHandle, SeveralTasksMayWait) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    std::vector<int> seen;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("waited for", []() -> Task<int> {
        co_await SleepFor(1s);
        co_return 5;
      });
      for (int i = 0; i < 4; ++i) {
        group.Start(
            "waiter",
            [](TaskHandle<int> handle, std::vector<int>* seen) -> Task<void> {
              Outcome<int> outcome = co_await handle.Join();
              seen->push_back(outcome.value());
            },
            handle, &seen);
      }
      co_return;
    });
    EXPECT_TRUE(status.ok());
    EXPECT_THAT(seen, testing::ElementsAre(5, 5, 5, 5));
  });
}

TEST(TaskHandle, WaitersAreServedInOrder) {
  std::vector<int> order;
  RunInOrder([&](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("waited for",
                                []() -> Task<void> { co_await SleepFor(1s); });
      for (int i = 0; i < 4; ++i) {
        group.Start(
            "waiter",
            [](TaskHandle<void> handle, int i,
               std::vector<int>* order) -> Task<void> {
              (void)co_await handle.Join();
              order->push_back(i);
            },
            handle, i, &order);
      }
      co_return;
    });
  });
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 3));
}

TEST(TaskHandle, OutlivesItsGroupAndItsLoop) {
  std::optional<TaskHandle<std::string>> kept;
  RunInOrder([&](VirtualTime&) -> Task<void> {
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      kept = group.Start(std::string("a name on the heap, long enough"),
                         []() -> Task<std::string> {
                           co_await SleepFor(1s);
                           co_return std::string(40, 'r');
                         });
      co_return;
    });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(kept->done());
    kept->Cancel();
    Outcome<std::string> outcome = co_await kept->Join();
    EXPECT_EQ(outcome.value(), std::string(40, 'r'));
  });
  EXPECT_TRUE(kept->done());
  EXPECT_EQ(kept->name(), "a name on the heap, long enough");
  TaskHandle<std::string> copy = *kept;
  kept.reset();
  EXPECT_TRUE(copy.done());
}

// Join, in the five places. Cancelling the wait leaves the task alone.

TEST(TaskHandle, JoinCancelledBeforeItBegins) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      auto ended = group.Start("ended", []() -> Task<void> { co_return; });
      auto runs =
          group.Start("runs", []() -> Task<void> { co_await SleepFor(1s); });
      (void)co_await ended.Join();
      for (auto* handle : {&ended, &runs}) {
        CancelScope scope;
        scope.Cancel();
        // Cancellation is looked for first, also where it would be ready.
        EXPECT_FALSE((co_await scope.Run(handle->Join())).has_value());
      }
      EXPECT_TRUE((co_await runs.Join()).ok());
    });
    EXPECT_TRUE(status.ok());
  });
}

TEST(TaskHandle, JoinCancelledWhileItWaits) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("runs", []() -> Task<int> {
        co_await SleepFor(2s);
        co_return 1;
      });
      EXPECT_FALSE((co_await MoveOnAfter(1s, handle.Join())).has_value());
      EXPECT_EQ(time.elapsed(), 1s);
      EXPECT_EQ((co_await handle.Join()).value(), 1);
      EXPECT_EQ(time.elapsed(), 2s);
    });
    EXPECT_TRUE(status.ok());
  });
}

TEST(TaskHandle, JoinCancelledBetweenCompletionAndResumption) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (int yields = 0; yields < 4; ++yields) {
      Gate gate;
      CancelScope scope;
      auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        auto handle = group.Start(
            "ends",
            [](Gate* gate) -> Task<std::unique_ptr<int>> {
              co_await gate->Wait();
              co_return std::make_unique<int>(6);
            },
            &gate);
        group.Start(
            "canceller",
            [](Gate* gate, CancelScope* scope, int yields) -> Task<void> {
              co_await SleepFor(1s);
              gate->Open();
              for (int i = 0; i < yields; ++i) co_await Checkpoint();
              scope->Cancel();
            },
            &gate, &scope, yields);
        auto outcome = co_await scope.Run(handle.Join());
        // What wasn't delivered is still there: nothing is lost in between.
        if (!outcome.has_value()) outcome = co_await handle.Join();
        EXPECT_EQ(*outcome->value(), 6);
      });
      EXPECT_TRUE(status.ok());
    }
  });
}

TEST(TaskHandle, AWaiterThatGoesDoesNotDisturbTheOthers) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int served = 0;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto handle = group.Start(
              "runs", []() -> Task<void> { co_await SleepFor(3s); });
          std::vector<TaskHandle<void>> waiters;
          for (int i = 0; i < 5; ++i) {
            waiters.push_back(group.Start(
                "waiter",
                [](TaskHandle<void> handle, int* served) -> Task<void> {
                  (void)co_await handle.Join();
                  ++*served;
                },
                handle, &served));
          }
          co_await SleepFor(1s);
          for (int i : {0, 2, 4}) waiters[i].Cancel();
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(served, 2);
  });
}

TEST(TaskHandleDeathTest, ATaskWaitsForItself) {
  EXPECT_DEATH(
      RunInOrder([](VirtualTime&) -> Task<absl::Status> {
        co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
          std::optional<TaskHandle<void>> handle;
          handle = group.Start("narcissus", [&handle]() -> Task<void> {
            (void)co_await handle->Join();
          });
          co_await SleepForever();
        });
      }),
      "a task waits for its own end(.|\n)*in task 'narcissus'");
}

}  // namespace
}  // namespace braid
