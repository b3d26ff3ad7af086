// Loop::Abandon: the end of a loop whose machine loses its power.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "braid/core/core.h"
#include "braid/core/run.h"
#include "braid/testing/gate.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Lets everything happen that can without time passing, and then cuts the
// power.
class PowerCut final : public Driver {
 public:
  void Run(detail::Loop& loop) override {
    while (loop.Turn()) {
    }
    if (loop.finished()) return;
    abandoned = loop.Abandon();
    if (abandoned) return;
    gate->Withdraw();
    abandoned_then = loop.Abandon();
  }
  Time Now() override { return Time(1h); }
  void Wake() noexcept override {}

  bool abandoned = false;
  bool abandoned_then = false;
  Gate* gate = nullptr;
};

struct Says {
  Says(std::vector<std::string>* log, std::string text)
      : log(log), text(std::move(text)) {}
  ~Says() { log->push_back(text); }
  std::vector<std::string>* log;
  std::string text;
};

int tries = 0;

// Completes at once, and counts that.
class CountOp final : public OperationBase {
 public:
  CountOp() = default;
  bool Try() { return ++tries > 0; }
  void Suspend() {}
  void Cancel() noexcept override { Stop(); }
  void TakeResult() noexcept {}
};

TEST(AbandonTest, DestroysInnermostFirstAndResumesNothing) {
  PowerCut driver;
  std::vector<std::string> log;
  const absl::Status status = ::braid::Run(driver, [&]() -> Task<absl::Status> {
    Says outer(&log, "outer");
    const auto inner = [&]() -> Task<void> {
      Says innermost(&log, "innermost");
      co_await SleepFor(1s);
      log.push_back("resumed");
    };
    (void)co_await MoveOnAfter(1h, inner());
    log.push_back("resumed");
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(driver.abandoned);
  EXPECT_EQ(log, (std::vector<std::string>{"innermost", "outer"}));
}

TEST(AbandonTest, ShieldsAndCleanUpsAreNoRefuge) {
  PowerCut driver;
  Gate closed;
  tries = 0;
  int ran = 0;
  const absl::Status status = ::braid::Run(driver, [&]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("shielded", [&]() -> Task<void> {
            co_await Shield(closed.Wait());
            ++ran;
          });
          group.Start("clean-up", [&]() -> Task<void> {
            co_await Finally(closed.Wait(), [&]() -> Task<void> {
              ++ran;
              co_return;
            });
          });
          // One that is an operation, and could complete at once.
          group.Start("operation", [&]() -> Task<void> {
            co_await Finally(closed.Wait(),
                             [] { return Operation<CountOp>(); });
          });
          co_return co_await group.Join();
        });
  });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(driver.abandoned);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(tries, 0);
}

// Something completed, but nobody has seen it yet: nor will they.
TEST(AbandonTest, WhatIsReadyDoesNotRun) {
  class Ready final : public Driver {
   public:
    void Run(detail::Loop& loop) override {
      while (loop.Turn()) {
      }
      gate.Open();
      abandoned = loop.Abandon();
    }
    Time Now() override { return Time(1h); }
    void Wake() noexcept override {}
    Gate gate;
    bool abandoned = false;
  } driver;
  int ran = 0;
  const absl::Status status = ::braid::Run(driver, [&]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 3; ++i) {
            group.Start("waiter", [&]() -> Task<void> {
              (void)co_await AnyOf(driver.gate.Wait(), SleepForever());
              ++ran;
            });
          }
          co_await driver.gate.Wait();
          ++ran;
          co_return absl::OkStatus();
        });
  });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(driver.abandoned);
  EXPECT_EQ(ran, 0);
}

// A destructor may start tasks and set events: they don't begin.
TEST(AbandonTest, ADestructorThatStartsATaskStartsNothing) {
  PowerCut driver;
  int ran = 0;
  struct StartsAnother {
    TaskGroup* group;
    int* ran;
    ~StartsAnother() {
      group->Start("late", [ran = ran]() -> Task<void> {
        ++*ran;
        co_return;
      });
    }
  };
  const absl::Status status = ::braid::Run(driver, [&]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("starter", [&]() -> Task<void> {
            StartsAnother another{&group, &ran};
            co_await SleepForever();
          });
          co_return co_await group.Join();
        });
  });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(driver.abandoned);
  EXPECT_EQ(ran, 0);
}

TEST(AbandonTest, AnOperationThatRefusesIsToldOf) {
  PowerCut driver;
  Gate refuses(Gate::OnCancel::kRefuse);
  driver.gate = &refuses;
  const absl::Status status = ::braid::Run(
      driver, [&]() -> Task<void> { (void)co_await refuses.Wait(); });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_FALSE(driver.abandoned);
  EXPECT_TRUE(driver.abandoned_then);
}

}  // namespace
}  // namespace braid
