// Run: what comes out, and what may not be done.

#include "braid/core/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/task_local.h"
#include "braid/core/timeout.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Run, GivesTheBodysResultAsAStatus) {
  VirtualTime time;
  auto of_void =
      braid::Run(time, []() -> Task<void> { co_await SleepFor(1s); });
  static_assert(std::is_same_v<decltype(of_void), absl::Status>);
  EXPECT_EQ(of_void, absl::OkStatus());
  auto of_status = braid::Run(
      time, []() -> Task<absl::Status> { co_return absl::AbortedError("x"); });
  static_assert(std::is_same_v<decltype(of_status), absl::Status>);
  EXPECT_EQ(of_status, absl::AbortedError("x"));
  auto of_value = braid::Run(time, []() -> Task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(3);
  });
  static_assert(
      std::is_same_v<decltype(of_value), absl::StatusOr<std::unique_ptr<int>>>);
  EXPECT_EQ(**of_value, 3);
  auto of_either =
      braid::Run(time, []() -> Task<absl::StatusOr<int>> { co_return 4; });
  static_assert(std::is_same_v<decltype(of_either), absl::StatusOr<int>>);
  EXPECT_EQ(*of_either, 4);
  EXPECT_EQ(time.elapsed(), 1s);
}

Task<int> Function() { co_return 5; }

TEST(Run, TakesAFunctionATaskAndAnyDescription) {
  VirtualTime time;
  EXPECT_EQ(*braid::Run(time, Function), 5);
  EXPECT_EQ(*braid::Run(time, Function()), 5);
  EXPECT_EQ(*braid::Run(time, MoveOnAfter(1s, Function())),
            std::optional<int>(5));
  EXPECT_TRUE(braid::Run(time, SleepFor(1s)).ok());
}

TEST(Run, RethrowsAnException) {
  VirtualTime time;
  for (bool at_once : {false, true}) {
    EXPECT_THROW(braid::Run(time,
                            [&]() -> Task<void> {
                              if (!at_once) co_await SleepFor(1s);
                              throw std::runtime_error("boom");
                            })
                     .IgnoreError(),
                 std::runtime_error);
  }
  struct ThrowsWhenCalled {
    BRAID_CORO_WRAPPER Task<void> operator()() const {
      throw std::runtime_error("boom");
    }
  };
  EXPECT_THROW(braid::Run(time, ThrowsWhenCalled()).IgnoreError(),
               std::runtime_error);
  // And the thread can run another loop.
  EXPECT_EQ(*braid::Run(time, Function), 5);
}

TEST(Run, EverythingTheBodyStartedHasEnded) {
  VirtualTime time;
  int ended = 0;
  EXPECT_TRUE(braid::Run(time, [&]() -> Task<absl::Status> {
                co_return co_await WithTaskGroup(
                    [&](TaskGroup& group) -> Task<void> {
                      for (int i = 0; i < 10; ++i) {
                        group.Start(
                            "child",
                            [](int* ended) -> Task<void> {
                              co_await SleepFor(1s);
                              ++*ended;
                            },
                            &ended);
                      }
                      co_return;
                    });
              }).ok());
  EXPECT_EQ(ended, 10);
}

// A deadlock in virtual time is a result: CANCELLED with the tree of tasks.
TEST(Run, StoppedItGivesCancelledWithTheReason) {
  VirtualTime time;
  absl::Status status = braid::Run(time, []() -> Task<absl::Status> {
    co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("waits for nothing", []() -> Task<void> {
        Gate gate;
        co_await gate.Wait();
      });
      co_return;
    });
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(status.message()), HasSubstr("deadlock"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("waits for nothing"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("run_test.cc:"));
  absl::StatusOr<int> either = braid::Run(time, []() -> Task<int> {
    co_await SleepForever();
    co_return 1;
  });
  EXPECT_EQ(either.status().code(), absl::StatusCode::kCancelled);
}

TEST(Run, SameSeedSameOrder) {
  auto order = [](std::optional<uint64_t> seed) {
    std::vector<int> order;
    VirtualTime time;
    EXPECT_TRUE(
        braid::Run(
            time,
            [&]() -> Task<absl::Status> {
              co_return co_await WithTaskGroup(
                  [&](TaskGroup& group) -> Task<void> {
                    for (int i = 0; i < 20; ++i) {
                      group.Start(
                          "child",
                          [](int i, std::vector<int>* order) -> Task<void> {
                            order->push_back(i);
                            co_await Checkpoint();
                            order->push_back(100 + i);
                          },
                          i, &order);
                    }
                    co_return;
                  });
            },
            LoopOptions{.shuffle_seed = seed})
            .ok());
    return order;
  };
  EXPECT_EQ(order(std::nullopt), order(std::nullopt));
  EXPECT_EQ(order(7), order(7));
  EXPECT_NE(order(7), order(8));
  EXPECT_NE(order(7), order(std::nullopt));
  EXPECT_EQ(order(7).size(), 40u);
}

TEST(RunDeathTest, ALoopInsideALoop) {
  EXPECT_DEATH(
      {
        VirtualTime time;
        braid::Run(time, []() -> Task<void> {
          VirtualTime inner;
          braid::Run(inner, Function).IgnoreError();
          co_return;
        }).IgnoreError();
      },
      "a loop already runs on this thread; await the work instead of running "
      "another loop inside it");
}

TEST(RunDeathTest, ADriverThatReturnsTooEarly) {
  class Lazy final : public Driver {
   public:
    void Run(detail::Loop& loop) override { loop.Turn(); }
    Time Now() override { return Time(); }
    void Wake() noexcept override {}
  };
  EXPECT_DEATH(
      {
        Lazy driver;
        braid::Run(driver, []() -> Task<void> {
          co_await SleepForever();
        }).IgnoreError();
      },
      "a backend returned while tasks were alive; this is a bug in the "
      "backend");
}

TEST(RunDeathTest, WhatNeedsATask) {
  EXPECT_DEATH(Now(),
               "no loop runs on this thread; call this from a task, or "
               "enter through braid::Run");
  EXPECT_DEATH(CancelPending(), "no loop runs on this thread");
}

}  // namespace
}  // namespace braid
