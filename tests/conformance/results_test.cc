// Combinators and the shapes of their results.

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

std::string Text(const std::optional<int>& value) {
  return value.has_value() ? std::to_string(*value) : "nothing";
}
std::string Text(const absl::StatusOr<int>& value) {
  return value.ok() ? std::to_string(*value)
                    : conformance::Text(value.status());
}

// Awaits `body` and says the exception it throws.
template <typename B>
Task<void> SayException(B body) {
  try {
    (void)co_await std::move(body);
    Saw("nothing thrown");
  } catch (const GroupError& e) {
    Saw("GroupError of " + std::to_string(e.exceptions().size()) + " and " +
        std::to_string(e.statuses().size()));
  } catch (const std::exception& e) {
    Saw(e.what());
  }
}

// -------------------------------------------------------------------- AllOf

TEST(AllOf, GivesAllValuesInTheOrderOfItsBodies) {
  Conforms("1 and 2@2", []() -> Task<void> {
    auto [one, two] = co_await AllOf(GiveIn(2, 1), GiveIn(1, 2));
    Saw(std::to_string(one) + " and " + std::to_string(two));
  });
}

TEST(AllOf, ARangeGivesAVectorInItsOrder) {
  Conforms("3 2 1@3", []() -> Task<void> {
    std::vector<Task<int>> tasks;
    for (int i = 3; i > 0; --i) tasks.push_back(GiveIn(i, i));
    std::string all;
    for (const int value : co_await AllOf(std::move(tasks)))
      all += (all.empty() ? "" : " ") + std::to_string(value);
    Saw(all);
  });
}

TEST(AllOf, AnEmptyRangeCompletesAtOnce) {
  Conforms("0", []() -> Task<void> {
    Saw(std::to_string((co_await AllOf(std::vector<Task<int>>())).size()));
  });
}

TEST(AllOf, RunsItsBodiesSideBySide) {
  Conforms("a@1, b@2, c@3, all", []() -> Task<void> {
    co_await AllOf(SayIn(3, "c"), SayIn(1, "a"), SayIn(2, "b"));
    Saw("all");
  });
}

TEST(AllOf, TheFirstErrorCancelsTheRest) {
  Conforms("other stopped@1, broken", []() -> Task<void> {
    Saw(conformance::Text(
        co_await AllOf(WaitForever("other"), FailIn(1, "broken"))));
  });
}

TEST(AllOf, OtherErrorsStandBehindTheFirst) {
  Conforms("first (second)@1", []() -> Task<void> {
    Saw(AllOfText(co_await AllOf(Finally(SleepForever(), FailIn(0, "second")),
                                 FailIn(1, "first"))));
  });
}

TEST(AllOf, AnExceptionCancelsTheRestAndIsRethrown) {
  Conforms("other stopped@1, thrown", []() -> Task<void> {
    co_await SayException(AllOf(WaitForever("other"), ThrowIn(1, "thrown")));
  });
}

TEST(AllOf, AnExceptionAmongOtherFailuresComesInAGroupError) {
  Conforms("GroupError of 1 and 1@1", []() -> Task<void> {
    co_await SayException(AllOf(Finally(SleepForever(), FailIn(0, "second")),
                                ThrowIn(1, "first")));
  });
}

TEST(AllOf, StoppedFromOutsideStopsAll) {
  Conforms("[a stopped, b stopped]@1, moved on", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1),
                               AllOf(WaitForever("a"), WaitForever("b")));
    Saw("moved on");
  });
}

TEST(AllOf, ValuesOfAllBeatAStop) {
  Conforms("1 and 2", []() -> Task<void> {
    CancelScope scope;
    const auto values = co_await scope.Run(AllOf(
        [&]() -> Task<int> {
          scope.Cancel();
          co_return 1;
        },
        []() -> Task<int> { co_return 2; }));
    Saw(std::to_string(std::get<0>(*values)) + " and " +
        std::to_string(std::get<1>(*values)));
  });
}

TEST(AllOf, WaitsForBodiesThatCleanUp) {
  Conforms("clean-up@3, broken", []() -> Task<void> {
    Saw(conformance::Text(co_await AllOf(
        Finally(SleepForever(), SayIn(2, "clean-up")), FailIn(1, "broken"))));
  });
}

// -------------------------------------------------------------------- AnyOf

TEST(AnyOf, TheFirstToCompleteCancelsTheOthers) {
  Conforms("other stopped@1, 7, other: no", []() -> Task<void> {
    auto [value, other] = co_await AnyOf(GiveIn(1, 7), WaitForever("other"));
    Saw(Text(value));
    Saw(other ? "other: yes" : "other: no");
  });
}

TEST(AnyOf, EveryBodyThatCompletedIsThere) {
  Conforms("1 and 2@1", []() -> Task<void> {
    const Time at = Now() + Ticks(1);
    const auto give = [at](int value) -> Task<int> {
      co_await SleepUntil(at);
      co_return value;
    };
    auto [one, two] = co_await AnyOf(give(1), give(2));
    Saw(Text(one) + " and " + Text(two));
  });
}

TEST(AnyOf, WhatCompletesWhileItIsBeingCancelledIsThereToo) {
  Conforms("1 and 2@3", []() -> Task<void> {
    auto [one, two] = co_await AnyOf(GiveIn(1, 1), Shield(GiveIn(3, 2)));
    Saw(Text(one) + " and " + Text(two));
  });
}

TEST(AnyOf, AnErrorStatusIsACompletion) {
  Conforms("other stopped@1, broken", []() -> Task<void> {
    auto [error, other] =
        co_await AnyOf(FailIn(1, "broken"), WaitForever("other"));
    Saw(conformance::Text(*error));
  });
}

TEST(AnyOf, AnExceptionIsRethrownAfterTheOthersHaveEnded) {
  Conforms("other stopped@1, thrown", []() -> Task<void> {
    co_await SayException(AnyOf(WaitForever("other"), ThrowIn(1, "thrown")));
  });
}

TEST(AnyOf, AllBodiesBeginEvenIfOneIsDoneAtOnce) {
  Conforms("[first, second begins], second stopped", []() -> Task<void> {
    (void)co_await AnyOf(
        []() -> Task<void> {
          Saw("first");
          co_return;
        },
        []() -> Task<void> {
          Saw("second begins");
          co_await WaitForever("second");
        });
  });
}

TEST(AnyOf, StoppedFromOutsideStopsAll) {
  Conforms("[a stopped, b stopped]@1, moved on", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1),
                               AnyOf(WaitForever("a"), WaitForever("b")));
    Saw("moved on");
  });
}

TEST(AnyOf, AValueBeatsAStop) {
  Conforms("7", []() -> Task<void> {
    CancelScope scope;
    auto result = co_await scope.Run(AnyOf(
        [&]() -> Task<int> {
          scope.Cancel();
          co_return 7;
        },
        SleepForever()));
    Saw(Text(std::get<0>(*result)));
  });
}

TEST(AnyOf, WithASleepIsATimeout) {
  Conforms("expired@1", []() -> Task<void> {
    auto [value, expired] = co_await AnyOf(GiveIn(2, 7), SleepFor(Ticks(1)));
    Saw(expired && !value.has_value() ? "expired" : "not expired");
  });
}

TEST(AnyOf, Nests) {
  Conforms("inner 7@1", []() -> Task<void> {
    auto [inner, other] =
        co_await AnyOf(AnyOf(GiveIn(1, 7), SleepForever()), SleepFor(Ticks(2)));
    Saw("inner " + Text(std::get<0>(*inner)));
  });
}

// ------------------------------------------------------------------ FirstOk

TEST(FirstOk, TheFirstSuccessEndsTheOthers) {
  Conforms("7@1", []() -> Task<void> {
    Saw(Text(co_await FirstOk(GiveOrFailIn(2, 8), GiveOrFailIn(1, 7))));
  });
}

TEST(FirstOk, ErrorsBeforeASuccessDoNotMatter) {
  Conforms("7@2", []() -> Task<void> {
    Saw(Text(co_await FirstOk(GiveOrFailIn(1, absl::AbortedError("broken")),
                              GiveOrFailIn(2, 7))));
  });
}

TEST(FirstOk, AllThatFailedAreOneErrorWithTheCodeOfTheFirst) {
  Conforms("ABORTED and 1 behind it@2", []() -> Task<void> {
    const absl::StatusOr<int> result =
        co_await FirstOk(GiveOrFailIn(2, absl::InternalError("second")),
                         GiveOrFailIn(1, absl::AbortedError("first")));
    Saw(absl::StatusCodeToString(result.status().code()) + " and " +
        std::to_string(SuppressedErrors(result.status()).size()) +
        " behind it");
  });
}

TEST(FirstOk, AnExceptionIsAFailureAmongOthers) {
  Conforms("OK@2", []() -> Task<void> {
    Saw(conformance::Text(
        co_await FirstOk(ThrowIn(1, "thrown"), SleepFor(Ticks(2)))));
  });
}

TEST(FirstOk, OfNothingIsAnError) {
  Conforms("INVALID_ARGUMENT", []() -> Task<void> {
    Saw(absl::StatusCodeToString(
        (co_await FirstOk(std::vector<Task<absl::Status>>())).code()));
  });
}

TEST(FirstOk, StoppedFromOutsideBeforeASuccessStopsAll) {
  Conforms("[a stopped, b stopped]@1, moved on", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1),
                               FirstOk(WaitForever("a"), WaitForever("b")));
    Saw("moved on");
  });
}

TEST(FirstOk, WaitsForTheOthersCleanUps) {
  Conforms("clean-up@2, OK", []() -> Task<void> {
    Saw(conformance::Text(co_await FirstOk(
        Finally(SleepForever(), SayIn(1, "clean-up")), SleepFor(Ticks(1)))));
  });
}

// ----------------------------------------------------------------- OrReturn

TEST(OrReturn, UnwrapsAValue) {
  Conforms("7@1", []() -> Task<absl::Status> {
    Saw(std::to_string(co_await OrReturn(GiveOrFailIn(1, 7))));
    co_return absl::OkStatus();
  });
}

TEST(OrReturn, AnErrorEndsTheCoroutineAndItsCallerGoesOn) {
  Conforms("local@1, caller: broken", []() -> Task<void> {
    Saw("caller: " + conformance::Text(co_await []() -> Task<absl::Status> {
          const SaysAtItsEnd local("local");
          co_await OrReturn(FailIn(1, "broken"));
          Saw("not reached");
          co_return absl::OkStatus();
        }()));
  });
}

TEST(OrReturn, OfAPlainResultIsNoCheckpoint) {
  Conforms("7", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run([]() -> Task<absl::Status> {
      Saw(std::to_string(co_await OrReturn(absl::StatusOr<int>(7))));
      co_return absl::OkStatus();
    });
  });
}

TEST(OrReturn, IsStoppedAsWhatItAwaits) {
  Conforms("stopped@1, moved on", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), []() -> Task<absl::Status> {
      const SaysAtItsEnd end("stopped");
      co_await OrReturn(FailAfter(kForever, SleepForever()));
      Saw("not reached");
      co_return absl::OkStatus();
    });
    Saw("moved on");
  });
}

TEST(OrReturn, KeepsWhatStandsBehindAnError) {
  Conforms("first (second)", []() -> Task<void> {
    Saw(AllOfText(co_await []() -> Task<absl::Status> {
      co_await OrReturn(WithSuppressed(absl::AbortedError("first"),
                                       {absl::AbortedError("second")}));
      co_return absl::OkStatus();
    }()));
  });
}

}  // namespace
}  // namespace braid::conformance
