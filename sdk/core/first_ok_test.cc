// FirstOk: the first success wins; if there is none, every reason is told.

#include "braid/core/first_ok.h"

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
#include "braid/core/all_of.h"
#include "braid/core/any_of.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/finally.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"
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
using testing::IsEmpty;

// The table of results.

template <typename... Bs>
using Of = decltype(FirstOk(std::declval<Bs>()...));

using OfInt = Task<int>;
using OfVoid = Task<void>;
using OfStatus = Task<absl::Status>;
using OfEither = Task<absl::StatusOr<int>>;

static_assert(kGives<absl::StatusOr<int>, Of<OfEither>>);
static_assert(kGives<absl::StatusOr<int>, Of<OfEither, OfInt>>);
static_assert(kGives<absl::StatusOr<int>, Of<OfInt>>);
static_assert(kGives<absl::Status, Of<OfStatus, OfVoid>>);
static_assert(
    kGives<absl::StatusOr<std::reference_wrapper<int>>, Of<Task<int&>>>);
static_assert(kGives<absl::StatusOr<int>, Of<std::vector<OfEither>>>);
static_assert(kGives<absl::StatusOr<int>, Of<std::vector<OfInt>>>);
static_assert(kGives<absl::Status, Of<std::vector<OfStatus>>>);
static_assert(kGives<absl::StatusOr<int>, Of<Of<OfEither, OfInt>, OfInt>>);

TEST(FirstOk, TheFirstSuccessWinsAndEndsTheOthers) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(*(co_await FirstOk(EitherIn(3s, 1), EitherIn(2s, 2),
                                 EitherIn(1s, absl::NotFoundError("x")))),
              2);
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(*(co_await FirstOk(IntIn(2s, 1), EitherIn(1s, 2))), 2);
    EXPECT_TRUE(
        (co_await FirstOk(StatusIn(1s, absl::AbortedError("x")), SleepFor(2s)))
            .ok());
    EXPECT_EQ(time.elapsed(), 5s);
    EXPECT_EQ(Stats().timers, 0u);
    EXPECT_EQ(Stats().tasks_alive, 1u);
    EXPECT_FALSE(CancelPending());
  });
}

TEST(FirstOk, TakesARange) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::vector<OfEither> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(i % 2 == 0 ? EitherIn(1s, absl::NotFoundError("x"))
                                 : EitherIn(1s * (6 - i), i));
    }
    EXPECT_EQ(*(co_await FirstOk(std::move(tasks))), 3);
    EXPECT_EQ(time.elapsed(), 3s);
    auto call = [own = std::make_unique<int>(7)]() -> Task<int> {
      co_await SleepFor(1s);
      co_return *own;
    };
    std::vector<decltype(call)> callables;
    callables.push_back(std::move(call));
    EXPECT_EQ(*(co_await FirstOk(std::move(callables))), 7);
    Gate gate;
    gate.Open(8);
    std::vector<decltype(gate.Wait())> waits;
    waits.push_back(gate.Wait());
    waits.push_back(gate.Wait());
    EXPECT_EQ(*(co_await FirstOk(std::move(waits))), 8);
  });
}

// A list of replicas that a configuration left empty is no reason to end the
// program, as it was.
TEST(FirstOk, OfNothingIsAnError) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_EQ((co_await FirstOk(std::vector<OfEither>())).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ((co_await FirstOk(std::vector<OfStatus>())).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(
        (co_await MoveOnAfter(1s, FirstOk(std::vector<OfInt>()))).has_value());
  });
}

TEST(FirstOk, CarriesMoveOnlyResults) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    absl::StatusOr<std::unique_ptr<int>> result = co_await FirstOk(
        []() -> Task<absl::StatusOr<std::unique_ptr<int>>> {
          co_return absl::AbortedError("x");
        },
        []() -> Task<std::unique_ptr<int>> {
          co_await SleepFor(1s);
          co_return std::make_unique<int>(4);
        });
    EXPECT_EQ(**result, 4);
  });
}

// It used to be the first in the order of the arguments: a slow replica that
// finished although it was cancelled hid the answer that had cancelled it.
TEST(FirstOk, ALaterSuccessDoesNotReplaceTheFirst) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(*(co_await FirstOk(Shield(EitherIn(3s, 1)), EitherIn(1s, 2),
                                 Shield(EitherIn(2s, 3)))),
              2);
    EXPECT_EQ(time.elapsed(), 3s) << "it waits for all";
    std::vector<decltype(Shield(IntIn(1s)))> range;
    range.push_back(Shield(IntIn(2s, 1)));
    range.push_back(Shield(IntIn(1s, 2)));
    EXPECT_EQ(*(co_await FirstOk(std::move(range))), 2);
    // An error that comes after it doesn't either.
    EXPECT_EQ(
        *(co_await FirstOk(Shield(EitherIn(2s, absl::AbortedError("late"))),
                           EitherIn(1s, 5))),
        5);
  });
}

// All fail

TEST(FirstOk, OneErrorIsGivenAsItself) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    const absl::Status error = ClosedError("gone");
    EXPECT_EQ((co_await FirstOk(EitherIn(1s, error))).status(), error);
    EXPECT_EQ(co_await FirstOk(StatusIn(1s, error)), error);
  });
}

TEST(FirstOk, SeveralErrorsAreMerged) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    const absl::StatusOr<int> result =
        co_await FirstOk(EitherIn(2s, absl::NotFoundError("second")),
                         EitherIn(1s, BrokenError("first")),
                         EitherIn(3s, absl::AbortedError("third")));
    EXPECT_EQ(time.elapsed(), 3s);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(IsBroken(result.status())) << "what it says beyond its code";
    EXPECT_THAT(std::string(result.status().message()),
                HasSubstr("all 3 alternatives failed: UNAVAILABLE: first"));
    EXPECT_THAT(std::string(result.status().message()),
                HasSubstr("; NOT_FOUND: second; ABORTED: third"));
    EXPECT_THAT(SuppressedErrors(result.status()),
                ElementsAre(absl::NotFoundError("second"),
                            absl::AbortedError("third")));
  });
}

TEST(FirstOk, AnExceptionIsAFailureAmongOthers) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_EQ(*(co_await FirstOk(ThrowIn<absl::StatusOr<int>>(1s, "x"),
                                 EitherIn(2s, 2))),
              2);
    std::string caught;
    try {
      (void)co_await FirstOk(ThrowIn<absl::StatusOr<int>>(1s, "alone"));
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "alone");
    bool several = false;
    try {
      (void)co_await FirstOk(EitherIn(1s, absl::NotFoundError("status")),
                             ThrowIn<absl::StatusOr<int>>(2s, "exception"));
    } catch (const GroupError& e) {
      several = true;
      EXPECT_THAT(e.statuses(), ElementsAre(absl::NotFoundError("status")));
      EXPECT_EQ(e.exceptions().size(), 1u);
    }
    EXPECT_TRUE(several);
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<int> operator()() const {
    throw std::runtime_error("at once");
  }
};

TEST(FirstOk, ACallableThatThrowsAtOnceIsALegThatFailed) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_EQ(*(co_await FirstOk(ThrowsAtOnce(), IntIn(1s, 4))), 4);
  });
}

TEST(FirstOk, InOrReturn) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    EXPECT_EQ(co_await OrReturn(FirstOk(EitherIn(1s, 6), EitherIn(2s, 7))), 6);
    const absl::Status failed = co_await []() -> Task<absl::Status> {
      (void)co_await OrReturn(FirstOk(EitherIn(1s, absl::AbortedError("x"))));
      ADD_FAILURE() << "it went on";
      co_return absl::OkStatus();
    }();
    EXPECT_EQ(failed, absl::AbortedError("x"));
    co_return absl::OkStatus();
  });
}

// Stops from outside

TEST(FirstOk, StoppedBeforeASuccess) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope(Now() + 2s);
    // One has failed by then: no reason to give that as the result, as the
    // other might have succeeded.
    EXPECT_FALSE((co_await scope.Run(
        FirstOk(EitherIn(1s, absl::NotFoundError("x")), EitherIn(1h, 1)))));
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(Stats().timers, 0u);
    EXPECT_EQ(Stats().tasks_alive, 1u);
  });
}

TEST(FirstOk, StoppedBeforeItStarts) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(
        (co_await scope.Run(FirstOk(EitherIn(1s, 1), EitherIn(2s, 2)))));
    EXPECT_EQ(time.elapsed(), 0s);
    // Without a checkpoint it succeeds.
    CancelScope again;
    again.Cancel();
    EXPECT_EQ(**(co_await again.Run(
                  FirstOk([]() -> Task<int> { co_return 5; }, IntIn(1s)))),
              5);
  });
}

TEST(FirstOk, ASuccessBeatsAStop) {
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
          auto result = co_await scope.Run(FirstOk(IntIn(1h), gate.Wait()));
          EXPECT_TRUE(result.has_value());
          EXPECT_EQ(**result, 4);
        });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(scope.caught()) << "it stopped the other leg";
  });
}

TEST(FirstOk, ASuccessThatComesWhileAllAreBeingStoppedIsGiven) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto result =
        co_await MoveOnAfter(1s, FirstOk(IntIn(1h), Shield(IntIn(2s, 6))));
    EXPECT_TRUE(result.has_value());
    EXPECT_EQ(**result, 6);
    // An error isn't: it came second to the stop of the other leg.
    EXPECT_FALSE((co_await MoveOnAfter(
        1s,
        FirstOk(IntIn(1h), Shield(EitherIn(2s, absl::AbortedError("x")))))));
    // If all fail, there is nothing that could still succeed.
    auto failed = co_await MoveOnAfter(
        1s, FirstOk(Shield(EitherIn(2s, absl::AbortedError("x"))),
                    Shield(EitherIn(3s, absl::NotFoundError("y")))));
    EXPECT_TRUE(failed.has_value());
    EXPECT_EQ(failed->status().code(), absl::StatusCode::kAborted);
  });
}

TEST(FirstOk, WaitsForLegsThatTakeTheirTimeToStop) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate later(Gate::OnCancel::kLater);
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(3s);
            EXPECT_EQ(later.cancels(), 1);
            later.Withdraw();
          });
          EXPECT_EQ(*(co_await FirstOk(later.Wait(), IntIn(1s, 7))), 7);
          EXPECT_EQ(time.elapsed(), 3s);
        });
    EXPECT_TRUE(status.ok());
  });
}

TEST(FirstOk, InCleanUp) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int got = 0;
    EXPECT_FALSE(co_await MoveOnAfter(
        1s, Finally(VoidIn(1h), [&]() -> Task<absl::Status> {
          got = co_await OrReturn(FirstOk(IntIn(2s, 1), IntIn(1s, 2)));
          co_return absl::OkStatus();
        })));
    EXPECT_EQ(got, 2);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(FirstOk, Nests) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(*(co_await FirstOk(FirstOk(EitherIn(1s, absl::AbortedError("a")),
                                         EitherIn(1s, absl::AbortedError("b"))),
                                 FirstOk(EitherIn(2s, absl::AbortedError("c")),
                                         EitherIn(3s, 4)))),
              4);
    EXPECT_EQ(time.elapsed(), 3s);
    // In AnyOf: hedged, within a limit.
    auto [reply, expired] =
        co_await AnyOf(FirstOk(EitherIn(5s, 1), EitherIn(4s, 2)), SleepFor(2s));
    EXPECT_FALSE(reply.has_value());
    EXPECT_TRUE(expired);
    // What stood behind an error inside stays behind the merged one.
    const absl::Status error =
        co_await FirstOk(AllOf(StatusIn(1s, absl::AbortedError("a")),
                               Shield(StatusIn(2s, absl::DataLossError("b")))),
                         StatusIn(3s, absl::NotFoundError("c")));
    EXPECT_EQ(error.code(), absl::StatusCode::kAborted);
    EXPECT_THAT(SuppressedErrors(error), ElementsAre(absl::DataLossError("b"),
                                                     absl::NotFoundError("c")));
  });
}

TEST(FirstOk, ALegsLocalMayCancelSetAndStart) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate;
    int ran = 0;
    CancelScope scope;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto result = co_await scope.Run(
              FirstOk(IntIn(1s, 1), Shield(gate.Wait()), [&]() -> Task<int> {
                MeddlesAtItsEnd local{&gate, &scope, &group, &ran, 2};
                co_await SleepForever();
                co_return 3;
              }));
          EXPECT_TRUE(result.has_value());
          EXPECT_EQ(**result, 1);
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(ran, 1);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(FirstOkDeathTest, AwaitedTwice) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 auto first = FirstOk(IntIn(1s), IntIn(1s));
                 (void)co_await std::move(first);
                 (void)co_await std::move(first);
               }),
               "a task is awaited twice");
}

}  // namespace
}  // namespace braid
