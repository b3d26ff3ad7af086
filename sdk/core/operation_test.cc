// Leaf operations: the order of looking, trying and waiting, and the five
// places where bugs live.

#include "braid/core/operation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
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
using testing::ElementsAre;

// A mail box of one: what a task waits for may be handed to it and must not get
// lost. Cancelling is refused once the item is on its way.
class Box {
 public:
  auto Take() { return Operation<TakeOp, Box*>(this); }

  void Put(std::unique_ptr<int> item) {
    if (waiter_ != nullptr) {
      waiter_->Deliver(std::move(item));
    } else {
      item_ = std::move(item);
    }
  }
  // The item is on its way to the one who waits, and will be there later.
  void BeginDelivery() { waiter_->too_late = true; }
  bool waiting() const { return waiter_ != nullptr; }
  bool empty() const { return item_ == nullptr; }

 private:
  class TakeOp final : public OperationBase {
   public:
    explicit TakeOp(Box* box) : box_(box) {}

    bool Try() {
      if (box_->item_ == nullptr) return false;
      result_ = std::move(box_->item_);
      return true;
    }
    void Suspend() { box_->waiter_ = this; }
    void Cancel() noexcept override {
      if (too_late) return;
      box_->waiter_ = nullptr;
      Stop();
    }
    std::unique_ptr<int> TakeResult() { return std::move(result_); }

    void Deliver(std::unique_ptr<int> item) {
      box_->waiter_ = nullptr;
      result_ = std::move(item);
      Complete();
    }
    bool too_late = false;

   private:
    Box* box_;
    std::unique_ptr<int> result_;
  };

  TakeOp* waiter_ = nullptr;
  std::unique_ptr<int> item_;
};

TEST(Operation, ADescriptionDoesNothing) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    gate.Open(3);
    {
      auto dropped = gate.Wait();
      auto moved = std::move(dropped);
      EXPECT_EQ(gate.tries(), 0);
      EXPECT_EQ(co_await std::move(moved), 3);
    }
    EXPECT_EQ(gate.tries(), 1);
  });
}

// Order: look for cancellation, then try, then wait.
TEST(Operation, LooksForCancellationBeforeItTries) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Box box;
    box.Put(std::make_unique<int>(1));
    CancelScope scope;
    scope.Cancel();
    auto result = co_await scope.Run(box.Take());
    EXPECT_FALSE(result.has_value());
    EXPECT_FALSE(box.empty());  // stopped means it did not happen
    EXPECT_EQ(*(co_await box.Take()), 1);
  });
}

TEST(Operation, ReadyAtOnceItNeitherWaitsNorSwitches) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    Box box;
    box.Put(std::make_unique<int>(1));
    const uint64_t switches = detail::Loop::Current().stats().switches;
    EXPECT_EQ(*(co_await box.Take()), 1);
    EXPECT_EQ(detail::Loop::Current().stats().switches, switches);
  });
}

// The 65th ready operation in a row has happened when its task goes to the back
// of the queue; a cancel that comes then is too late for it.
TEST(Operation, CancelledWhileItYieldsItIsDelivered) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    int delivered = 0;
    std::vector<std::unique_ptr<int>> taken;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "canceller",
          [](CancelScope* scope, int* seen, int* delivered) -> Task<void> {
            *seen = *delivered;
            scope->Cancel();
            co_return;
          },
          &scope, &delivered, &delivered);
      const bool completed = co_await scope.Run([&]() -> Task<void> {
        Box box;
        for (int i = 0; i < 1000; ++i) {
          box.Put(std::make_unique<int>(i));
          taken.push_back(co_await box.Take());
          ++delivered;
        }
      });
      EXPECT_FALSE(completed);
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(delivered, 65);
    EXPECT_EQ(taken.size(), 65u);
    EXPECT_EQ(*taken.back(), 64);
  });
}

// Nothing is lost between completion and resumption.
TEST(Operation, CancelledBetweenCompletionAndResumption) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Box box;
    CancelScope scope;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "puts and cancels",
          [](Box* box, CancelScope* scope) -> Task<void> {
            co_await SleepFor(1s);
            box->Put(std::make_unique<int>(9));
            scope->Cancel();
          },
          &box, &scope);
      auto result = co_await scope.Run(box.Take());
      EXPECT_TRUE(result.has_value() && **result == 9);
    });
    EXPECT_TRUE(status.ok());
  });
}

TEST(Operation, CancelledThenCompletedInTheSameTurn) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Box box;
    CancelScope scope;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "cancels and puts",
          [](Box* box, CancelScope* scope) -> Task<void> {
            co_await SleepFor(1s);
            scope->Cancel();
            EXPECT_FALSE(box->waiting());  // it has withdrawn already
            box->Put(std::make_unique<int>(9));
          },
          &box, &scope);
      EXPECT_FALSE((co_await scope.Run(box.Take())).has_value());
      EXPECT_FALSE(box.empty());  // and the item is still there
    });
    EXPECT_TRUE(status.ok());
  });
}

// Past its point of no return it refuses, completes, and the next checkpoint
// stops.
TEST(Operation, CancelledDuringAHandOffItCompletes) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Box box;
    CancelScope scope(Now() + 2s);
    int stage = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "delivers",
          [](Box* box) -> Task<void> {
            co_await SleepFor(1s);
            box->BeginDelivery();
            co_await SleepFor(2s);
            box->Put(std::make_unique<int>(4));
          },
          &box);
      EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
        EXPECT_EQ(*(co_await box.Take()), 4);
        stage = 1;
        co_await Checkpoint();
        stage = 2;
      }));
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(Operation, OneThatTakesItsTimeToStopKeepsItsTask) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate(Gate::OnCancel::kLater);
    bool frame_alive = false;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "withdraws",
          [](Gate* gate, bool* alive) -> Task<void> {
            co_await SleepFor(3s);
            EXPECT_TRUE(*alive);  // no frame with an operation in flight goes
            gate->Withdraw();
          },
          &gate, &frame_alive);
      EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
        struct Alive {
          explicit Alive(bool* alive) : alive(alive) { *alive = true; }
          ~Alive() { *alive = false; }
          bool* alive;
        } in_frame(&frame_alive);
        co_await gate.Wait();
      }));
      EXPECT_FALSE(frame_alive);
      EXPECT_EQ(gate.cancels(), 1);
      EXPECT_EQ(time.elapsed(), 3s);
    });
    EXPECT_TRUE(status.ok());
  });
}

// An operation whose cancel was asked for and which completes all the same.
TEST(Operation, CompletedAfterItWasAskedToWithdraw) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate gate(Gate::OnCancel::kLater);
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "opens",
          [](Gate* gate) -> Task<void> {
            co_await SleepFor(3s);
            gate->Open(12);
          },
          &gate);
      std::optional<int> result = co_await MoveOnAfter(1s, gate.Wait());
      EXPECT_EQ(result, 12);  // a value always beats a timeout
    });
    EXPECT_TRUE(status.ok());
  });
}

// Complete and Stop resume nothing: they may be called from any destructor.
TEST(Operation, CompletingItFromADestructorDuringAnUnwind) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    std::vector<std::string> order;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "waits",
          [](Gate* gate, std::vector<std::string>* order) -> Task<void> {
            co_await gate->Wait();
            order->push_back("resumed");
          },
          &gate, &order);
      auto handle = group.Start(
          "opens as it goes",
          [](Gate* gate, std::vector<std::string>* order) -> Task<void> {
            struct Opens {
              Opens(Gate* gate, std::vector<std::string>* order)
                  : gate(gate), order(order) {}
              ~Opens() {
                gate->Open();
                order->push_back("opened");
              }
              Gate* gate;
              std::vector<std::string>* order;
            } opens(gate, order);
            co_await SleepForever();
          },
          &gate, &order);
      co_await SleepFor(1s);
      handle.Cancel();
    });
    EXPECT_TRUE(status.ok());
    EXPECT_THAT(order, ElementsAre("opened", "resumed"));
  });
}

// Waiters of one primitive are served first come, first served.
TEST(Operation, TasksResumeInTheOrderOfCompletion) {
  std::vector<int> order;
  RunInOrder([&](VirtualTime&) -> Task<absl::Status> {
    Gate gate;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 5; ++i) {
            group.Start(
                "waits",
                [](Gate* gate, int i, std::vector<int>* order) -> Task<void> {
                  co_await gate->Wait();
                  order->push_back(i);
                },
                &gate, i, &order);
          }
          co_await SleepFor(1s);
          gate.Open();
          EXPECT_THAT(order, ElementsAre());  // nothing resumes inline
          co_return co_await group.Join();
        });
  });
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
}

// Misuse

TEST(OperationDeathTest, CompletedTwice) {
  class Twice final : public OperationBase {
   public:
    bool Try() { return false; }
    void Suspend() {
      Complete();
      Complete();
    }
    void Cancel() noexcept override {}
    void TakeResult() {}
  };
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 co_await Operation<Twice>();
               }),
               "an operation completed twice, or before it was awaited; this "
               "is a bug in the operation(.|\n)*in task 'main'");
}

TEST(OperationDeathTest, FromTheWrongThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  class Elsewhere final : public OperationBase {
   public:
    bool Try() { return false; }
    void Suspend() {
      std::thread([this] { Complete(); }).join();
    }
    void Cancel() noexcept override {}
    void TakeResult() {}
  };
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 co_await Operation<Elsewhere>();
               }),
               "an operation is completed on another thread");
}

TEST(OperationDeathTest, AwaitedOutsideOfATask) {
  EXPECT_DEATH(
      {
        Gate gate;
        auto awaiter = gate.Wait().MakeAwaiter();
        awaiter.Ready();
      },
      "no loop runs on this thread; call this from a task");
}

TEST(OperationDeathTest, DestroyedInFlight) {
  EXPECT_DEATH(
      RunInOrder([](VirtualTime&) -> Task<void> {
        auto waits = []() -> Task<void> { co_await SleepForever(); };
        using Awaiter = detail::AwaiterOf<Task<void>>;
        std::unique_ptr<Awaiter> awaiter(new Awaiter(waits().MakeAwaiter()));
        // Begun by hand, and dropped while it waits.
        detail::Link* begun = awaiter->Start(nullptr);
        detail::Continue(begun).resume();
        awaiter.reset();
        co_return;
      }),
      "the frame of an operation in flight is destroyed");
}

}  // namespace
}  // namespace braid
