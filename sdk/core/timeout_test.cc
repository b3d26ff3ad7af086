// MoveOnAfter, MoveOnAt, FailAfter, FailAt and Shield.

#include "braid/core/timeout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/test_bodies.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

size_t Timers() { return detail::Loop::Current().stats().timers; }

// The table of results.

using OfInt = Task<int>;
using OfVoid = Task<void>;
using OfStatus = Task<absl::Status>;
using OfEither = Task<absl::StatusOr<int>>;

#define TYPE_OF(function, body) \
  decltype(function(std::declval<Delay>(), std::declval<body>()))
static_assert(kGives<std::optional<int>, TYPE_OF(MoveOnAfter, OfInt)>);
static_assert(kGives<bool, TYPE_OF(MoveOnAfter, OfVoid)>);
static_assert(
    kGives<std::optional<absl::Status>, TYPE_OF(MoveOnAfter, OfStatus)>);
static_assert(
    kGives<std::optional<absl::StatusOr<int>>, TYPE_OF(MoveOnAfter, OfEither)>);
static_assert(kGives<absl::StatusOr<int>, TYPE_OF(FailAfter, OfInt)>);
static_assert(kGives<absl::Status, TYPE_OF(FailAfter, OfVoid)>);
static_assert(kGives<absl::Status, TYPE_OF(FailAfter, OfStatus)>);
static_assert(kGives<absl::StatusOr<int>, TYPE_OF(FailAfter, OfEither)>);
#undef TYPE_OF
static_assert(kGives<int, decltype(Shield(std::declval<OfInt>()))>);
static_assert(kGives<void, decltype(Shield(std::declval<OfVoid>()))>);

TEST(MoveOnAfter, GivesTheResultOrNothing) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(co_await MoveOnAfter(2s, IntIn(1s)), 3);
    EXPECT_TRUE(co_await MoveOnAfter(2s, VoidIn(1s)));
    EXPECT_EQ(co_await MoveOnAfter(2s, StatusIn(1s, absl::NotFoundError("no"))),
              absl::NotFoundError("no"));
    EXPECT_EQ(**(co_await MoveOnAfter(2s, EitherIn(1s, 4))), 4);
    EXPECT_EQ(time.elapsed(), 4s);

    EXPECT_EQ(co_await MoveOnAfter(1s, IntIn(2s)), std::nullopt);
    EXPECT_FALSE(co_await MoveOnAfter(1s, VoidIn(2s)));
    EXPECT_EQ(co_await MoveOnAfter(1s, StatusIn(2s, absl::OkStatus())),
              std::nullopt);
    EXPECT_FALSE((co_await MoveOnAfter(1s, EitherIn(2s, 4))).has_value());
    EXPECT_EQ(time.elapsed(), 8s);
    EXPECT_EQ(Timers(), 0u);
  });
}

TEST(FailAfter, GivesTheResultOrDeadlineExceeded) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(*(co_await FailAfter(2s, IntIn(1s))), 3);
    EXPECT_EQ(co_await FailAfter(2s, VoidIn(1s)), absl::OkStatus());
    EXPECT_EQ(co_await FailAfter(2s, StatusIn(1s, absl::NotFoundError("no"))),
              absl::NotFoundError("no"));
    EXPECT_EQ(*(co_await FailAfter(2s, EitherIn(1s, 4))), 4);
    EXPECT_EQ(time.elapsed(), 4s);

    EXPECT_EQ((co_await FailAfter(1s, IntIn(2s))).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    const absl::Status status = co_await FailAfter(1500ms, VoidIn(2s));
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("did not complete within 1.5 s"));
    EXPECT_EQ((co_await FailAfter(1s, StatusIn(2s, absl::OkStatus()))).code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ((co_await FailAfter(1s, EitherIn(2s, 4))).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(time.elapsed(), 8500ms);
    EXPECT_EQ(Timers(), 0u);
  });
}

TEST(MoveOnAt, AndFailAtTakeAPointInTime) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    const Time start = Now();
    EXPECT_EQ(co_await MoveOnAt(start + 2s, IntIn(1s)), 3);
    EXPECT_EQ(co_await MoveOnAt(start + 2s, IntIn(2s)), std::nullopt);
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(*(co_await FailAt(start + 5s, IntIn(1s))), 3);
    EXPECT_EQ((co_await FailAt(start + 5s, IntIn(5s))).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(time.elapsed(), 5s);
    // One that has passed is like a negative delay.
    EXPECT_EQ(co_await MoveOnAt(start, IntIn(1s)), std::nullopt);
    EXPECT_EQ(co_await MoveOnAt(kAlways, IntIn(1s)), std::nullopt);
    EXPECT_EQ(time.elapsed(), 5s);
    EXPECT_EQ(co_await MoveOnAt(kNever, IntIn(1s)), 3);
  });
}

TEST(MoveOnAfter, TakesEveryKindOfDuration) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_FALSE(co_await MoveOnAfter(absl::Milliseconds(1500), VoidIn(1h)));
    EXPECT_EQ(time.elapsed(), 1500ms);
    EXPECT_FALSE(
        co_await MoveOnAfter(std::chrono::duration<double>(0.25), VoidIn(1h)));
    EXPECT_EQ(time.elapsed(), 1750ms);
    EXPECT_FALSE(co_await MoveOnAfter(std::chrono::minutes(1), VoidIn(1h)));
    EXPECT_EQ(time.elapsed(), 61750ms);
    EXPECT_FALSE(co_await MoveOnAfter(1ns, VoidIn(1h)));
    EXPECT_EQ(time.elapsed(), 61750ms + 1ns);
  });
}

TEST(MoveOnAfter, InfiniteMeansNoLimit) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto body = []() -> Task<void> {
      EXPECT_EQ(Timers(), 0u);
      EXPECT_EQ(CurrentDeadline(), kNever);
      co_await SleepFor(1h);
    };
    EXPECT_TRUE(co_await MoveOnAfter(kForever, body));
    EXPECT_TRUE(co_await MoveOnAfter(absl::InfiniteDuration(), body));
    EXPECT_TRUE(co_await MoveOnAfter(
        std::chrono::duration<double>(std::numeric_limits<double>::infinity()),
        body));
    EXPECT_TRUE(co_await MoveOnAfter(std::chrono::hours(1'000'000'000), body));
    EXPECT_TRUE((co_await FailAfter(kForever, body)).ok());
  });
}

TEST(MoveOnAfter, NegativeAndZeroHaveExpired) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    for (Delay delay : {Delay(0s), Delay(-1s), Delay(-absl::InfiniteDuration()),
                        Delay(std::chrono::duration<double>(
                            -std::numeric_limits<double>::infinity()))}) {
      int stage = 0;
      EXPECT_FALSE(co_await MoveOnAfter(delay, [&]() -> Task<void> {
        stage = 1;  // it begins, and stops at its first checkpoint
        co_await Checkpoint();
        stage = 2;
      }));
      EXPECT_EQ(stage, 1);
      // Without one it completes: a value always beats a timeout.
      EXPECT_EQ(co_await MoveOnAfter(delay, []() -> Task<int> { co_return 9; }),
                9);
    }
    EXPECT_EQ(time.elapsed(), 0s);
    EXPECT_EQ(Timers(), 0u);
  });
}

TEST(MoveOnAfterDeathTest, NaN) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 (void)co_await MoveOnAfter(
                     std::chrono::duration<double>(std::nan("")), VoidIn(1s));
               }),
               "a delay is NaN; pass a number of seconds, or kForever");
}

// The clock is read when the limit is awaited, not when it was written, nor at
// the start of the loop's turn.
TEST(MoveOnAfter, StartsAtTheAwait) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    auto limited = MoveOnAfter(2s, VoidIn(1h));
    co_await SleepFor(5s);
    time.Advance(1s);
    EXPECT_FALSE(co_await std::move(limited));
    EXPECT_EQ(time.elapsed(), 8s);
  });
}

// A value always beats a timeout.

TEST(MoveOnAfter, AValueInTheSameTurnWins) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    // The event comes at the very instant of the deadline, before it...
    Gate gate;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      CancelScope scope;
      group.Start(
          "both",
          [](Gate* gate, CancelScope* scope) -> Task<void> {
            co_await SleepFor(1s);
            gate->Open(8);
            scope->SetDeadline(Now());
          },
          &gate, &scope);
      EXPECT_EQ(co_await scope.Run(gate.Wait()), 8);
      EXPECT_TRUE(scope.cancel_called());
      EXPECT_FALSE(scope.caught());
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(MoveOnAfter, ASleepThatEndsAtTheVeryInstantWins) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_TRUE(co_await MoveOnAfter(1s, SleepFor(1s)));
    EXPECT_TRUE(co_await MoveOnAfter(1s, SleepUntil(Now() + 1s)));
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_FALSE(co_await MoveOnAfter(1s - 1ns, SleepFor(1s)));
    EXPECT_EQ(time.elapsed(), 3s - 1ns);
    // The body's value wins too where its sleep was its last checkpoint.
    EXPECT_EQ(co_await MoveOnAfter(1s, IntIn(1s)), 3);
  });
}

TEST(MoveOnAfter, ABodyThatIsBusyPastItsLimitGivesItsValue) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(co_await MoveOnAfter(1s,
                                   [&]() -> Task<int> {
                                     time.Advance(5s);
                                     co_return 1;
                                   }),
              1);
    EXPECT_EQ(Timers(), 0u);
  });
}

// Nesting

TEST(MoveOnAfter, TheTighterOfTwoLimitsStopsTheBody) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::vector<int> stages;
    EXPECT_TRUE(co_await MoveOnAfter(2s, [&]() -> Task<void> {
      EXPECT_FALSE(co_await MoveOnAfter(1s, VoidIn(1h)));
      stages.push_back(1);
    }));
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
      (void)co_await MoveOnAfter(2s, VoidIn(1h));
      stages.push_back(2);
    }));
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_THAT(stages, ElementsAre(1));
    EXPECT_EQ(Timers(), 0u);
  });
}

// The stop would have come from outside anyway: the outer one takes it.
TEST(MoveOnAfter, OfTwoLimitsInTheSameInstantTheOuterTakesIt) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    bool inner_gave = false;
    EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
      (void)co_await MoveOnAfter(1s, VoidIn(1h));
      inner_gave = true;
    }));
    EXPECT_FALSE(inner_gave);
    EXPECT_EQ(time.elapsed(), 1s);

    // Also if the inner timer was registered first.
    CancelScope outer;
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      (void)co_await MoveOnAfter(1s, [&]() -> Task<void> {
        outer.SetDeadline(Now() + 1s);
        co_await VoidIn(1h);
      });
      inner_gave = true;
    }));
    EXPECT_FALSE(inner_gave);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(MoveOnAfter, DirectlyNestedLimits) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::optional<bool> result =
        co_await MoveOnAfter(2s, MoveOnAfter(1s, VoidIn(1h)));
    EXPECT_EQ(result, std::optional<bool>(false));
    result = co_await MoveOnAfter(1s, MoveOnAfter(2s, VoidIn(1h)));
    EXPECT_EQ(result, std::nullopt);
    result = co_await MoveOnAfter(1s, MoveOnAfter(1s, VoidIn(1h)));
    EXPECT_EQ(result, std::nullopt);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

// DEADLINE_EXCEEDED only if this limit stopped the body.
TEST(FailAfter, AStopFromOutsideIsNotThisLimits) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    bool inner_gave = false;
    const absl::Status outer = co_await FailAfter(1s, [&]() -> Task<void> {
      (co_await FailAfter(5s, VoidIn(1h))).IgnoreError();
      inner_gave = true;
    });
    EXPECT_EQ(outer.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_FALSE(inner_gave);
    EXPECT_EQ(time.elapsed(), 1s);

    CancelScope scope(Now() + 1s);
    EXPECT_EQ(co_await scope.Run(FailAfter(1s, VoidIn(1h))), std::nullopt);
  });
}

TEST(FailAfter, ABodysOwnErrorIsItsResult) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    const absl::Status own = absl::DeadlineExceededError("the body's own");
    EXPECT_EQ(co_await FailAfter(2s, StatusIn(1s, own)), own);
    EXPECT_EQ((co_await FailAfter(2s, EitherIn(1s, own))).status(), own);
  });
}

// Exceptions

TEST(FailAfter, ExceptionsPassThroughAllOfThem) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto thrower = []() -> Task<int> {
      co_await SleepFor(1s);
      throw std::runtime_error("boom");
    };
    std::vector<std::string> caught;
    try {
      (void)co_await MoveOnAfter(2s, thrower);
    } catch (const std::runtime_error& e) {
      caught.push_back(std::string("move on ") + e.what());
    }
    try {
      (void)co_await FailAfter(2s, thrower);
    } catch (const std::runtime_error& e) {
      caught.push_back(std::string("fail ") + e.what());
    }
    try {
      co_await Shield(thrower);
    } catch (const std::runtime_error& e) {
      caught.push_back(std::string("shield ") + e.what());
    }
    EXPECT_THAT(caught,
                ElementsAre("move on boom", "fail boom", "shield boom"));
    EXPECT_EQ(Timers(), 0u);
    EXPECT_EQ(CurrentDeadline(), kNever);
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()() const {
    throw std::runtime_error("at once");
  }
};

TEST(FailAfter, ACallableThatThrowsAtOnceLeavesAllOfThem) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int caught = 0;
    for (int i = 0; i < 3; ++i) {
      try {
        if (i == 0) (void)co_await MoveOnAfter(2s, ThrowsAtOnce());
        if (i == 1) (co_await FailAfter(2s, ThrowsAtOnce())).IgnoreError();
        if (i == 2) co_await Shield(ThrowsAtOnce());
      } catch (const std::runtime_error&) {
        ++caught;
      }
      EXPECT_EQ(CurrentDeadline(), kNever);
    }
    EXPECT_EQ(caught, 3);
    EXPECT_EQ(Timers(), 0u);
  });
}

// Shield

TEST(Shield, TheBodyFinishesAndTheStopWaitsForTheNextCheckpoint) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int stage = 0;
    EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
      EXPECT_EQ(co_await Shield(IntIn(3s)), 3);
      stage = 1;
      EXPECT_TRUE(CancelPending());
      co_await Checkpoint();
      stage = 2;
    }));
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(Shield, BegunUnderAStopItStillRunsWhole) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    EXPECT_EQ(co_await scope.Run([]() -> Task<int> {
      EXPECT_TRUE(CancelPending());
      const int three = co_await Shield([]() -> Task<int> {
        EXPECT_FALSE(CancelPending());
        co_await Checkpoint();
        co_return co_await IntIn(1s);
      });
      co_return three;
    }),
              3);
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(Shield, LimitsInsideStillWork) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
      co_await Shield([&]() -> Task<void> {
        EXPECT_FALSE(co_await MoveOnAfter(5s, VoidIn(1h)));
        EXPECT_EQ(time.elapsed(), 5s);
      });
      co_await Checkpoint();
    }));
    // The limit of a clean-up under a stop, written the other way round.
    EXPECT_EQ(co_await Shield(MoveOnAfter(1s, IntIn(1h))), std::nullopt);
    EXPECT_EQ(time.elapsed(), 6s);
  });
}

}  // namespace
}  // namespace braid
