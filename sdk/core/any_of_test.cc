// AnyOf: the first to complete ends the others, and nothing that completed is
// lost.

#include "braid/core/any_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/all_of.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/finally.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/test_bodies.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

// The table of results.

template <typename... Bs>
using Of = decltype(AnyOf(std::declval<Bs>()...));

using Sleep = decltype(SleepFor(std::declval<Delay>()));

static_assert(kGives<std::tuple<std::optional<int>>, Of<Task<int>>>);
static_assert(kGives<std::tuple<bool>, Of<Task<void>>>);
static_assert(kGives<std::tuple<bool, bool>, Of<Sleep, Task<void>>>);
static_assert(kGives<std::tuple<std::optional<bool>>, Of<Task<bool>>>);
static_assert(kGives<std::tuple<std::optional<std::reference_wrapper<int>>>,
                     Of<Task<int&>>>);
static_assert(kGives<std::tuple<std::optional<absl::Status>,
                                std::optional<absl::StatusOr<int>>>,
                     Of<Task<absl::Status>, Task<absl::StatusOr<int>>>>);
static_assert(
    kGives<std::tuple<std::optional<std::tuple<std::optional<int>, bool>>,
                      std::optional<std::tuple<int, int>>>,
           Of<Of<Task<int>, Task<void>>,
              decltype(AllOf(std::declval<Task<int>>(),
                             std::declval<Task<int>>()))>>);

TEST(AnyOf, TheFirstToCompleteEndsTheOthers) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto [number, slept, called] = co_await AnyOf(
        IntIn(1s), SleepFor(2s), []() -> Task<void> { co_await SleepFor(3s); });
    EXPECT_EQ(number, 3);
    EXPECT_FALSE(slept);
    EXPECT_FALSE(called);
    EXPECT_EQ(time.elapsed(), 1s);
    auto [late, done] = co_await AnyOf(IntIn(2s), VoidIn(1s));
    EXPECT_EQ(late, std::nullopt);
    EXPECT_TRUE(done);
    EXPECT_EQ(time.elapsed(), 2s);
    auto [only] = co_await AnyOf(IntIn(1s));
    EXPECT_EQ(only, 3);
    EXPECT_EQ(Stats().timers, 0u);
    EXPECT_EQ(Stats().tasks_alive, 1u);
    EXPECT_FALSE(CancelPending());
  });
}

TEST(AnyOf, AnErrorStatusIsACompletion) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto [failed, slow] = co_await AnyOf(EitherIn(1s, absl::NotFoundError("x")),
                                         StatusIn(2s, absl::OkStatus()));
    EXPECT_EQ(failed->status(), absl::NotFoundError("x"));
    EXPECT_EQ(slow, std::nullopt);
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(AnyOf, CarriesMoveOnlyAndReferenceResults) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int number = 5;
    auto [unique, reference] = co_await AnyOf(
        []() -> Task<std::unique_ptr<int>> {
          co_return std::make_unique<int>(1);
        },
        [&]() -> Task<int&> { co_return number; });
    // At least one of them, and in the order they began, both: neither has a
    // checkpoint.
    EXPECT_TRUE(unique.has_value());
    EXPECT_TRUE(reference.has_value());
    EXPECT_EQ(**unique, 1);
    EXPECT_EQ(&reference->get(), &number);
  });
}

// Nothing is lost

TEST(AnyOf, LegsThatCompleteInTheSameInstantAreAllThere) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate a;
    Gate b;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(1s);
            a.Open(1);
            b.Open(2);
          });
          auto [from_a, from_b, slept] =
              co_await AnyOf(a.Wait(), b.Wait(), SleepFor(1h));
          EXPECT_EQ(from_a, 1);
          EXPECT_EQ(from_b, 2);
          EXPECT_FALSE(slept);
        });
    EXPECT_TRUE(status.ok());
  });
}

TEST(AnyOf, LegsThatRefuseToBeCancelledAreWaitedForAndDelivered) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate refuses(Gate::OnCancel::kRefuse);
    Gate later(Gate::OnCancel::kLater);
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(2s);
            refuses.Open(5);
            co_await SleepFor(2s);
            later.Withdraw();
          });
          auto [refused, withdrew, slept, shielded] = co_await AnyOf(
              refuses.Wait(), later.Wait(), SleepFor(1s), Shield(IntIn(3s, 6)));
          EXPECT_EQ(refused, 5);
          EXPECT_EQ(withdrew, std::nullopt);
          EXPECT_TRUE(slept);
          EXPECT_EQ(shielded, 6);
          EXPECT_EQ(time.elapsed(), 4s);
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(refuses.cancels(), 1);
    EXPECT_EQ(later.cancels(), 1);
  });
}

// A leg past its last checkpoint goes on to its value.
TEST(AnyOf, ALegBetweenCompletionAndResumptionIsDelivered) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(1s);
            gate.Open(7);
          });
          auto [slept, woke, went_on] =
              co_await AnyOf(SleepFor(1s), gate.Wait(), [&]() -> Task<int> {
                const int value = co_await gate.Wait();
                co_return value + 1;
              });
          // Whoever was first, what has happened is there: the gate was opened
          // either before the others were cancelled, and delivers, or after.
          EXPECT_TRUE(slept || woke.has_value());
          EXPECT_EQ(woke.has_value(), went_on.has_value());
          if (woke.has_value()) {
            EXPECT_EQ(woke, 7);
            EXPECT_EQ(went_on, 8);
          }
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(gate.waiting(), 0u);
  });
}

TEST(AnyOf, WhereALegIsDoneAtOnceTheOthersBeginAllTheSame) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    Gate open;
    open.Open(1);
    Gate other;
    other.Open(2);
    int begun = 0;
    auto [first, second, third] =
        co_await AnyOf(open.Wait(), other.Wait(), [&]() -> Task<void> {
          ++begun;
          co_await Checkpoint();
        });
    EXPECT_EQ(first, 1);
    // The second looks for cancellation before it tries: it takes nothing.
    EXPECT_EQ(second, std::nullopt);
    EXPECT_EQ(other.tries(), 0);
    EXPECT_EQ(begun, 1);
    EXPECT_FALSE(third);
  });
}

TEST(AnyOf, SaysWhyTheOthersWereCancelled) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    std::optional<CancelCause> cause;
    co_await AnyOf(SleepFor(1s), [&]() -> Task<void> {
      struct AtTheEnd {
        ~AtTheEnd() { *cause = CancelReason(); }
        std::optional<CancelCause>* cause;
      } at_the_end{&cause};
      co_await SleepForever();
    });
    EXPECT_EQ(cause->source, CancelCause::Source::kLegCompleted);
    EXPECT_EQ(cause->ToString(), "another leg completed first");
  });
}

// Exceptions

TEST(AnyOf, AnExceptionIsRethrown) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::string caught;
    try {
      (void)co_await AnyOf(VoidIn(1h), ThrowIn<int>(1s, "boom"));
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
    EXPECT_EQ(time.elapsed(), 1s);
    // Also one that comes while its leg is being cancelled.
    try {
      (void)co_await AnyOf(IntIn(1s), Shield(ThrowIn<int>(2s, "late")));
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "late");
    EXPECT_EQ(time.elapsed(), 3s);
    bool several = false;
    try {
      (void)co_await AnyOf(ThrowIn<int>(1s, "first"),
                           Shield(ThrowIn<int>(2s, "second")));
    } catch (const GroupError& e) {
      several = true;
      EXPECT_EQ(e.exceptions().size(), 2u);
      EXPECT_THAT(e.what(), HasSubstr("2 tasks failed; first; second"));
    }
    EXPECT_TRUE(several);
    EXPECT_EQ(Stats().timers, 0u);
    EXPECT_FALSE(CancelPending());
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()() const {
    throw std::runtime_error("at once");
  }
};

TEST(AnyOf, ACallableThatThrowsAtOnceIsALegThatFailed) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    bool caught = false;
    try {
      co_await AnyOf(VoidIn(1h), ThrowsAtOnce());
    } catch (const std::runtime_error&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
    EXPECT_EQ(time.elapsed(), 0s);
  });
}

// Stops from outside

TEST(AnyOf, StoppedBeforeAnyHasCompleted) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate;
    CancelScope scope(Now() + 1s);
    EXPECT_FALSE((co_await scope.Run(AnyOf(gate.Wait(), IntIn(1h)))));
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(gate.waiting(), 0u);
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(Stats().timers, 0u);
    EXPECT_EQ(Stats().tasks_alive, 1u);
  });
}

TEST(AnyOf, StoppedBeforeItStarts) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate open;
    open.Open(1);
    CancelScope scope;
    scope.Cancel();
    int begun = 0;
    EXPECT_FALSE((co_await scope.Run(AnyOf(open.Wait(), [&]() -> Task<void> {
      ++begun;
      co_await Checkpoint();
    }))));
    EXPECT_EQ(begun, 1);
    EXPECT_EQ(open.tries(), 0) << "cancellation is looked for first";
  });
}

TEST(AnyOf, AValueBeatsAStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    CancelScope scope;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(1s);
            gate.Open(4);
            scope.Cancel();
            scope.Cancel("twice");
          });
          auto result = co_await scope.Run(AnyOf(gate.Wait(), SleepFor(1h)));
          EXPECT_TRUE(result.has_value());
          EXPECT_EQ(std::get<0>(*result), 4);
          EXPECT_FALSE(std::get<1>(*result));
        });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(scope.cancel_called());
    EXPECT_TRUE(scope.caught()) << "it stopped the other leg";
  });
}

TEST(AnyOf, AValueThatComesWhileAllAreBeingStoppedIsDelivered) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate refuses(Gate::OnCancel::kRefuse);
    CancelScope scope(Now() + 1s);
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(2s);
            refuses.Open(4);
          });
          int stage = 0;
          EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
            auto [value, slept] = co_await AnyOf(refuses.Wait(), SleepFor(1h));
            EXPECT_EQ(value, 4);
            EXPECT_FALSE(slept);
            EXPECT_EQ(time.elapsed(), 2s);
            stage = 1;
            EXPECT_TRUE(CancelPending());
            co_await Checkpoint();
            stage = 2;
          }));
          EXPECT_EQ(stage, 1);
        });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(scope.caught());
  });
}

TEST(AnyOf, AnExceptionOutranksAStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope(Now() + 1s);
    std::string caught;
    try {
      (void)co_await scope.Run(
          AnyOf(VoidIn(1h), Shield(ThrowIn<int>(2s, "late"))));
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "late");
    EXPECT_TRUE(scope.caught()) << "the other leg was stopped by it";
  });
}

TEST(AnyOf, InCleanUp) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate;
    EXPECT_FALSE(co_await MoveOnAfter(
        1s, Finally(VoidIn(1h), [&]() -> Task<void> {
          auto [opened, slept] = co_await AnyOf(gate.Wait(), SleepFor(1s));
          EXPECT_EQ(opened, std::nullopt);
          EXPECT_TRUE(slept);
        })));
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_FALSE(co_await MoveOnAfter(1s, Finally(
                                              VoidIn(1h),
                                              [&]() -> Task<void> {
                                                (void)co_await AnyOf(
                                                    gate.Wait(), VoidIn(1h));
                                                ADD_FAILURE() << "it went on";
                                              },
                                              1s)));
    EXPECT_EQ(time.elapsed(), 4s);
    EXPECT_EQ(gate.waiting(), 0u);
  });
}

// Nesting

TEST(AnyOf, Nests) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate refuses(Gate::OnCancel::kRefuse);
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(2s);
            refuses.Open(4);
          });
          // The inner one is cancelled by the outer, and what one of its legs
          // has is delivered through both.
          auto [inner, slept] =
              co_await AnyOf(AnyOf(refuses.Wait(), SleepFor(1h)), SleepFor(1s));
          EXPECT_TRUE(inner.has_value());
          EXPECT_EQ(std::get<0>(*inner), 4);
          EXPECT_FALSE(std::get<1>(*inner));
          EXPECT_TRUE(slept);
          EXPECT_EQ(time.elapsed(), 2s);
          // Inside AllOf, and around it.
          auto [any, number] =
              co_await AllOf(AnyOf(IntIn(1s), IntIn(2s)), IntIn(3s, 9));
          EXPECT_EQ(std::get<0>(any), 3);
          EXPECT_EQ(std::get<1>(any), std::nullopt);
          EXPECT_EQ(number, 9);
          auto [all, limit] =
              co_await AnyOf(AllOf(IntIn(1s), IntIn(2s)), SleepFor(1s));
          EXPECT_EQ(all, std::nullopt);
          EXPECT_TRUE(limit);
        });
    EXPECT_TRUE(status.ok());
  });
}

TEST(AnyOf, DeadlinesOfLegs) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto [limited, slept] =
        co_await AnyOf(MoveOnAfter(1s, IntIn(1h)), SleepFor(2s));
    EXPECT_TRUE(limited.has_value()) << "that nothing came is a completion";
    EXPECT_EQ(*limited, std::nullopt);
    EXPECT_FALSE(slept);
    // Stopped by the other leg, it isn't its own limit that stopped it.
    auto [failed, done] =
        co_await AnyOf(FailAfter(2s, VoidIn(1h)), SleepFor(1s));
    EXPECT_EQ(failed, std::nullopt);
    EXPECT_TRUE(done);
    EXPECT_EQ(time.elapsed(), 2s);
    const Time deadline = Now() + 5s;
    EXPECT_TRUE((co_await MoveOnAt(deadline, AnyOf([=]() -> Task<void> {
                                     EXPECT_EQ(CurrentDeadline(), deadline);
                                     co_return;
                                   })))
                    .has_value());
  });
}

// What destructors do

TEST(AnyOf, ALegsLocalMayCancelSetAndStart) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate;
    int ran = 0;
    CancelScope scope;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          // Cancelled twice: by the other leg, and from outside by its own
          // local.
          auto result = co_await scope.Run(
              AnyOf(SleepFor(1s), Shield(gate.Wait()), [&]() -> Task<void> {
                MeddlesAtItsEnd local{&gate, &scope, &group, &ran};
                co_await SleepForever();
              }));
          EXPECT_TRUE(result.has_value());
          EXPECT_TRUE(std::get<0>(*result));
          EXPECT_EQ(std::get<1>(*result), 1);
          EXPECT_FALSE(std::get<2>(*result));
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(ran, 1);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// A thousand rounds of a race that either side may win: what was opened is
// either delivered or still there.
TEST(AnyOf, RacesLoseNothing) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int sent = 0;
    int received = 0;
    std::vector<int> items;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          Gate gate;
          group.Start("sender", [&]() -> Task<void> {
            for (int i = 0; i < 1000; ++i) {
              co_await SleepFor(2ns);
              if (gate.waiting() == 0) continue;
              ++sent;
              gate.Open(sent);  // one waits, so one takes it
              gate.Close();
            }
          });
          for (int i = 0; i < 1000; ++i) {
            auto [item, expired] =
                co_await AnyOf(gate.Wait(), SleepFor(Duration(1 + i % 3)));
            EXPECT_TRUE(item.has_value() || expired);
            if (item.has_value()) {
              ++received;
              EXPECT_EQ(*item, received);
            }
          }
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(sent, received);
    EXPECT_GT(received, 100);
  });
}

// Misuse

TEST(AnyOfDeathTest, AwaitedTwice) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 auto any = AnyOf(IntIn(1s), IntIn(1s));
                 (void)co_await std::move(any);
                 (void)co_await std::move(any);
               }),
               "a task is awaited twice");
}

}  // namespace
}  // namespace braid
