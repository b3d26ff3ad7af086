// The core where memory is short: what FailEverywhere finds in it.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/testing/fail_everywhere.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Of more than a std::string keeps in itself.
std::string Text() { return std::string(100, 'x'); }

Task<int> Number(int number) {
  co_await SleepFor(1ms);
  co_return number;
}

Task<absl::Status> Fail(Duration after) {
  co_await SleepFor(after);
  co_return absl::DataLossError(Text());
}

// The error of the task, or that there was no memory for it.
void ExpectTold(const absl::Status& status, const absl::Status& expected) {
  EXPECT_TRUE(status == expected || absl::IsResourceExhausted(status))
      << status;
}

TEST(Failure, OfATaskInAGroup) {
  FailEverywhere([]() -> Task<absl::Status> {
    absl::Status status =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
          group.Start("fails", Fail, 1s);
          group.Start("waits", []() -> Task<void> { co_await SleepForever(); });
          co_return co_await group.Join();
        });
    ExpectTold(status, absl::DataLossError(Text()));
    if (absl::IsDataLoss(status)) co_return absl::OkStatus();
    co_return status;
  });
}

TEST(Failure, OfSeveralTasksInAGroup) {
  FailEverywhere([]() -> Task<absl::Status> {
    absl::Status status =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 3; ++i) {
            group.Start("fails late", []() -> Task<absl::Status> {
              co_return co_await Finally(
                  SleepForever(),
                  [](const Outcome<void>&) -> Task<absl::Status> {
                    co_return absl::AbortedError(Text());
                  });
            });
          }
          co_return co_await Fail(1s);
        });
    EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsResourceExhausted(status))
        << status;
    co_return absl::OkStatus();
  });
}

TEST(Failure, ByExceptions) {
  FailEverywhere([]() -> Task<void> {
    try {
      (void)co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
        for (int i = 0; i < 2; ++i) {
          group.Start("throws", []() -> Task<void> {
            co_await SleepFor(1s);
            throw std::runtime_error(Text());
          });
        }
        co_return co_await group.Join();
      });
    } catch (const GroupError&) {
    } catch (const std::runtime_error&) {
    }
  });
}

TEST(Failure, OfTheStart) {
  FailEverywhere([]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [](TaskGroup& group) -> Task<absl::Status> {
          const std::string name = "a task whose name is not short at all";
          auto handle = group.Start(TaskName("task " + name), Number, 1);
          std::unique_ptr<int> moved = std::make_unique<int>(7);
          group.Start(
              "keeps",
              [kept = Text(),
               n = std::move(moved)](std::string text) -> Task<void> {
                co_await Number(static_cast<int>(kept.size() + text.size()));
              },
              Text());
          const int port = co_await OrReturn(group.StartAndWait(
              "listener", [](Ready<int> ready) -> Task<absl::Status> {
                co_await SleepFor(1ms);
                ready.Set(7);
                co_await SleepFor(1ms);
                co_return absl::OkStatus();
              }));
          EXPECT_EQ(port, 7);
          co_return co_await group.Join();
        });
  });
}

Task<void> Wait() { co_await SleepForever(); }

// Of more than one go marks: the rest is noted for the next turn, if there is
// memory for that.
TEST(Failure, OfALargeCancel) {
  FailEverywhere([]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 1100; ++i) group.Start("waits", Wait);
          co_await Checkpoint();
          group.Cancel("enough");
          co_return co_await group.Join();
        });
  });
}

TEST(Failure, InCombinators) {
  FailEverywhere([]() -> Task<absl::Status> {
    auto [a, b] = co_await AllOf(
        Number(1), []() -> Task<int> { co_return co_await Number(2); });
    EXPECT_EQ(a + b, 3);
    auto [c, d] = co_await AnyOf(Number(1), SleepFor(1s));
    EXPECT_TRUE(c.has_value() || d);
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(Number(i));
    const std::vector<int> all = co_await AllOf(std::move(tasks));
    EXPECT_EQ(all.size(), 3u);
    absl::Status none = co_await FirstOk(Fail(1ms), Fail(2ms));
    ExpectTold(none, none);
    co_return co_await FirstOk(Fail(1ms), []() -> Task<absl::Status> {
      co_await SleepFor(1s);
      co_return absl::OkStatus();
    });
  });
}

TEST(Failure, InScopes) {
  FailEverywhere([]() -> Task<absl::Status> {
    for (int i = 0; i < 3; ++i) {
      CancelScope scope;
      (void)co_await scope.Run([&]() -> Task<void> {
        co_await SleepFor(1ms);
        scope.Cancel(Text());
        co_await SleepForever();
      });
    }
    (void)co_await MoveOnAfter(1s, Number(3));
    (void)co_await MoveOnAfter(
        1s, []() -> Task<int> { co_return co_await Number(3); });
    (void)co_await FailAfter(1ms, SleepForever());
    co_await Shield([]() -> Task<void> { co_await Number(1); });
    co_return co_await FailAfter(1s, []() -> Task<absl::Status> {
      co_return co_await FailAfter(2s, SleepFor(1ms));
    });
  });
}

TEST(Failure, InCleanups) {
  int begun = 0, cleaned = 0;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        begun = cleaned = 0;
        co_return co_await WithBackground(
            []() -> Task<absl::Status> {
              co_await SleepForever();
              co_return absl::OkStatus();
            },
            [&]() -> Task<absl::Status> {
              co_return co_await Finally(
                  [&]() -> Task<absl::Status> {
                    ++begun;
                    co_await Number(1);
                    co_return absl::OkStatus();
                  },
                  [&](const Outcome<void>&) -> Task<void> {
                    ++cleaned;
                    co_await Number(2);
                  });
            });
      },
      [&] { EXPECT_LE(begun, cleaned + 1); });
}

}  // namespace
}  // namespace braid
