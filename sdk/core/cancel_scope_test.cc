// CancelScope: what a boundary takes and what it lets through, deadlines that
// move, shields, and what can go wrong with each.

#include "braid/core/cancel_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
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

Task<void> Forever() { co_await SleepForever(); }

// Results

TEST(CancelScope, GivesAnOptionalOfTheBodysResult) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope a, b, c, d;
    auto gives_int = co_await a.Run([]() -> Task<int> { co_return 1; });
    static_assert(std::is_same_v<decltype(gives_int), std::optional<int>>);
    EXPECT_EQ(gives_int, 1);

    auto gives_nothing = co_await b.Run([]() -> Task<void> { co_return; });
    static_assert(std::is_same_v<decltype(gives_nothing), bool>);
    EXPECT_TRUE(gives_nothing);

    auto gives_status = co_await c.Run(
        []() -> Task<absl::Status> { co_return absl::NotFoundError("x"); });
    static_assert(
        std::is_same_v<decltype(gives_status), std::optional<absl::Status>>);
    EXPECT_EQ(gives_status, absl::NotFoundError("x"));

    auto gives_either =
        co_await d.Run([]() -> Task<absl::StatusOr<std::unique_ptr<int>>> {
          co_return std::make_unique<int>(4);
        });
    static_assert(
        std::is_same_v<decltype(gives_either),
                       std::optional<absl::StatusOr<std::unique_ptr<int>>>>);
    EXPECT_EQ(***gives_either, 4);
    EXPECT_FALSE(a.cancel_called());
    EXPECT_FALSE(a.caught());
    EXPECT_FALSE(a.cause().has_value());
  });
}

TEST(CancelScope, TakesATaskAnOperationAndACallable) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    CancelScope a, b, c;
    EXPECT_TRUE(co_await a.Run(SleepFor(1s)));
    Task<void> task = []() -> Task<void> { co_await SleepFor(1s); }();
    EXPECT_TRUE(co_await b.Run(std::move(task)));
    // A variable of its own: g++ 12 destroys what a closure inside a co_await
    // captures twice.
    auto callable = [number = std::make_unique<int>(3)]() -> Task<int> {
      co_await SleepFor(1s);
      co_return *number;  // the callable lives as long as its task
    };
    EXPECT_EQ(co_await c.Run(std::move(callable)), 3);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(CancelScope, AResultThatThrowsWhenMovedIsAnException) {
  struct Throws {
    Throws() = default;
    explicit Throws(int left) : left(left) {}
    Throws(Throws&& other) : left(other.left - 1) {
      if (left == 0) throw std::runtime_error("moved");
    }
    int left = 100;
  };
  RunInOrder([](VirtualTime&) -> Task<void> {
    for (int at : {1, 2, 3, 4}) {
      CancelScope scope;
      std::string caught;
      try {
        (void)co_await scope.Run(
            [at]() -> Task<Throws> { co_return Throws(at); });
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      // Into the boundary, out of it, into the optional; then it has arrived.
      EXPECT_EQ(caught, at <= 3 ? "moved" : "") << at;
    }
  });
}

TEST(CancelScope, ExceptionsPassThrough) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    std::string caught;
    try {
      co_await outer.Run([&]() -> Task<void> {
        co_await inner.Run([]() -> Task<void> {
          co_await Checkpoint();
          throw std::runtime_error("boom");
        });
      });
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
    // Both scopes have been left.
    EXPECT_EQ(CurrentDeadline(), kNever);
    co_await Checkpoint();
  });
}

// A callable that is no coroutine may throw before there is a task.
struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()() const {
    throw std::runtime_error("at once");
  }
};

TEST(CancelScope, ACallableThatThrowsAtOnceLeavesTheScope) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope(Now() + 1s);
    std::string caught;
    try {
      co_await scope.Run(ThrowsAtOnce());
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "at once");
    EXPECT_EQ(CurrentDeadline(), kNever);
    co_await SleepFor(2s);
    EXPECT_FALSE(scope.caught());
  });
}

// Cancelling

TEST(CancelScope, CancelStopsTheBodyWhereItWaits) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "canceller",
          [](CancelScope* scope) -> Task<void> {
            co_await SleepFor(3s);
            scope->Cancel("enough");
          },
          &scope);
      EXPECT_FALSE(co_await scope.Run(Forever()));
      EXPECT_EQ(Now().time_since_epoch().count() % 1000, 0);
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(time.elapsed(), 3s);
    EXPECT_TRUE(scope.cancel_called());
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(scope.cause()->source, CancelCause::Source::kExplicit);
    EXPECT_EQ(scope.cause()->reason, "enough");
    EXPECT_EQ(scope.cause()->task, "canceller");
    EXPECT_EQ(scope.cause()->ToString(),
              "cancelled by task 'canceller': enough");
  });
}

TEST(CancelScope, CancelledBeforeRunTheBodyBeginsAndStopsAtItsFirstCheckpoint) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    scope.Cancel("early");
    int stage = 0;
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      stage = 1;
      EXPECT_TRUE(CancelPending());
      EXPECT_EQ(CancelReason()->reason, "early");
      co_await SleepFor(1s);
      stage = 2;
    }));
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(time.elapsed(), 0s);
    EXPECT_FALSE(CancelPending());
  });
}

// A value always beats a cancel.
TEST(CancelScope, ABodyThatCompletesNeverthelessGivesItsValue) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    std::optional<int> value = co_await scope.Run([&]() -> Task<int> {
      scope.Cancel();
      co_return 5;  // no checkpoint in between
    });
    EXPECT_EQ(value, 5);
    EXPECT_TRUE(scope.cancel_called());
    EXPECT_FALSE(scope.caught());
  });
}

TEST(CancelScope, AFirstReasonWins) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    scope.Cancel("first");
    scope.Cancel("second");
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      scope.Cancel("third");
      co_await Checkpoint();
    }));
    EXPECT_EQ(scope.cause()->reason, "first");
    scope.Cancel("after the end");
    EXPECT_EQ(scope.cause()->reason, "first");
  });
}

// Completed means it happened, whatever is cancelled before the task goes on.
TEST(CancelScope, CancelBetweenCompletionAndResumptionComesTooLate) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    Gate gate;
    int stage = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "opener",
          [](Gate* gate, CancelScope* scope) -> Task<void> {
            co_await SleepFor(1s);
            gate->Open(7);
            scope->Cancel();
          },
          &gate, &scope);
      EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
        EXPECT_EQ(co_await gate.Wait(), 7);
        stage = 1;
        EXPECT_TRUE(CancelPending());
        co_await Checkpoint();
        stage = 2;
      }));
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(gate.cancels(), 0);
  });
}

TEST(CancelScope, CancelTwiceAsksTheOperationOnce) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    for (Gate::OnCancel on_cancel :
         {Gate::OnCancel::kStop, Gate::OnCancel::kRefuse,
          Gate::OnCancel::kLater}) {
      CancelScope outer;
      CancelScope inner;
      Gate gate(on_cancel);
      const Time start = Now();
      auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        group.Start(
            "canceller",
            [](Gate* gate, CancelScope* inner,
               CancelScope* outer) -> Task<void> {
              co_await SleepFor(1s);
              inner->Cancel();
              inner->Cancel();
              outer->Cancel();
              // What was asked to withdraw is not asked again, whatever
              // happens around it.
              inner->SetShield(true);
              inner->SetShield(false);
              outer->SetShield(true);
              outer->SetShield(false);
              if (gate->waiting() > 0) {
                co_await SleepFor(1s);
                gate->Withdraw();
              }
            },
            &gate, &inner, &outer);
        EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
          co_await inner.Run([&]() -> Task<void> { co_await gate.Wait(); });
          ADD_FAILURE() << "the outer scope is cancelled too";
        }));
      });
      EXPECT_TRUE(status.ok());
      EXPECT_EQ(gate.cancels(), 1);
      EXPECT_EQ(Now() - start, on_cancel == Gate::OnCancel::kStop ? 1s : 2s);
    }
    (void)time;
  });
}

// An operation whose withdrawal takes its time is asked once, also if a shield
// makes the cancel go away and come back meanwhile.
TEST(CancelScope, AShieldMeanwhileDoesNotAskTheOperationAgain) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    Gate gate(Gate::OnCancel::kLater);
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "canceller",
          [](Gate* gate, CancelScope* inner, CancelScope* outer) -> Task<void> {
            co_await SleepFor(1s);
            outer->Cancel();
            EXPECT_EQ(gate->cancels(), 1);
            inner->SetShield(true);
            inner->SetShield(false);
            EXPECT_EQ(gate->cancels(), 1);
            inner->SetShield(true);
            inner->Cancel();
            EXPECT_EQ(gate->cancels(), 1);
            co_await SleepFor(1s);
            gate->Withdraw();
          },
          &gate, &inner, &outer);
      EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
        EXPECT_FALSE(
            co_await inner.Run([&]() -> Task<void> { co_await gate.Wait(); }));
        co_await Checkpoint();
      }));
    });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(inner.caught());
    EXPECT_TRUE(outer.caught());
  });
}

// Level-triggered: whatever can still run inside stops at its next checkpoint.

TEST(CancelScope, ARefusedOperationsSuccessorStops) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope(Now() + 1s);
    Gate gate(Gate::OnCancel::kRefuse);
    int stage = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "opener",
          [](Gate* gate) -> Task<void> {
            co_await SleepFor(5s);
            gate->Open(1);
          },
          &gate);
      EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
        EXPECT_EQ(co_await gate.Wait(), 1);  // it happened
        stage = 1;
        co_await gate.Wait();
        stage = 2;
      }));
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(gate.tries(), 1);  // cancellation is looked for before the try
    EXPECT_EQ(time.elapsed(), 5s);
  });
}

TEST(CancelScope, ItStaysCancelledHoweverOftenABodyGoesOn) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    int swallowed = 0;
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      scope.Cancel();
      for (int i = 0; i < 3; ++i) {
        // Each shield lets one sleep pass; what follows it is due again.
        co_await Shield(SleepFor(1s));
        ++swallowed;
        EXPECT_TRUE(CancelPending());
      }
      co_await SleepFor(1s);
      ++swallowed;
    }));
    EXPECT_EQ(swallowed, 3);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(CancelScope, AnInnerScopeInADueOneIsDueFromTheStart) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    outer.Cancel("outer");
    bool inner_ended = false;
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      co_await inner.Run([]() -> Task<void> {
        EXPECT_TRUE(CancelPending());
        EXPECT_EQ(CancelReason()->reason, "outer");
        co_await Checkpoint();
      });
      inner_ended = true;
    }));
    EXPECT_FALSE(inner_ended);
    EXPECT_FALSE(inner.caught());
    EXPECT_TRUE(outer.caught());
  });
}

// A stop that also comes from outside is the outermost's.
TEST(CancelScope, OfTwoCancelledScopesTheOuterTakesTheStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (bool outer_first : {true, false}) {
      CancelScope outer;
      CancelScope middle;
      CancelScope inner;
      auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        group.Start("canceller", [&outer, &inner, outer_first]() -> Task<void> {
          co_await Checkpoint();
          (outer_first ? outer : inner).Cancel();
          (outer_first ? inner : outer).Cancel();
        });
        EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
          co_await middle.Run([&]() -> Task<void> {
            co_await inner.Run(Forever());
            ADD_FAILURE() << "resumed under a stop";
          });
          ADD_FAILURE() << "resumed under a stop";
        }));
      });
      EXPECT_TRUE(status.ok());
      EXPECT_TRUE(outer.caught());
      EXPECT_FALSE(middle.caught());
      EXPECT_FALSE(inner.caught());
    }
  });
}

TEST(CancelScope, AScopeTakesWhatItWasCancelledForAndNoMore) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer;
    CancelScope middle;
    CancelScope inner;
    std::vector<int> stages;
    EXPECT_TRUE(co_await outer.Run([&]() -> Task<void> {
      EXPECT_FALSE(co_await middle.Run([&]() -> Task<void> {
        middle.SetDeadline(Now() + 1s);
        co_await inner.Run(Forever());
        stages.push_back(1);
      }));
      stages.push_back(2);
      co_await SleepFor(1s);
      stages.push_back(3);
    }));
    EXPECT_THAT(stages, ElementsAre(2, 3));
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// D5: a scope that absorbed a stop says so, also where an error outranked it.
TEST(CancelScope, CaughtWhereAGroupInsideFailedWhileBeingStopped) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope(Now() + 1s);
    auto result = co_await scope.Run([]() -> Task<absl::Status> {
      co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
        group.Start("fails in clean-up", []() -> Task<absl::Status> {
          co_await Shield(SleepFor(2s));
          co_return absl::DataLossError("late");
        });
        group.Start("is stopped", Forever);
        co_await SleepForever();
      });
    });
    EXPECT_EQ(result, absl::DataLossError("late"));  // errors never vanish
    EXPECT_TRUE(scope.caught());
  });
}

// Deadlines

TEST(CancelScope, ADeadlineFiresExactly) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope(Now() + 1500ms);
    EXPECT_EQ(scope.deadline(), Now() + 1500ms);
    EXPECT_FALSE(co_await scope.Run(Forever()));
    EXPECT_EQ(time.elapsed(), 1500ms);
    EXPECT_EQ(scope.cause()->source, CancelCause::Source::kDeadline);
    EXPECT_EQ(scope.cause()->task, "");
    EXPECT_EQ(scope.cause()->ToString(), "deadline passed");
    EXPECT_EQ(detail::Loop::Current().stats().timers, 0u);
  });
}

TEST(CancelScope, ADeadlineMovesEitherWayUntilItFires) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    const Time start = Now();
    for (const auto& [first, second, expected] :
         {std::tuple{5s, 2s, 2s}, std::tuple{2s, 5s, 5s}}) {
      const Time begin = Now();
      CancelScope scope(begin + first);
      auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        group.Start(
            "mover",
            [](CancelScope* scope, Time to) -> Task<void> {
              co_await SleepFor(1s);
              scope->SetDeadline(to);
            },
            &scope, begin + second);
        EXPECT_FALSE(co_await scope.Run(Forever()));
        EXPECT_EQ(Now() - begin, expected);
      });
      EXPECT_TRUE(status.ok());
    }
    EXPECT_EQ(Now() - start, 7s);
    (void)time;
  });
}

TEST(CancelScope, ADeadlineMovedIntoThePastFiresAtOnce) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      co_await SleepFor(1s);
      scope.SetDeadline(Now() - 1ns);
      EXPECT_TRUE(scope.cancel_called());
      EXPECT_TRUE(CancelPending());
      co_await Checkpoint();
      ADD_FAILURE() << "went on";
    }));
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(CancelScope, ADeadlineMovedAwayNeverFires) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope(Now() + 1s);
    EXPECT_TRUE(co_await scope.Run([&]() -> Task<void> {
      scope.SetDeadline(kNever);
      EXPECT_EQ(detail::Loop::Current().stats().timers, 0u);
      co_await SleepFor(5s);
    }));
    EXPECT_EQ(time.elapsed(), 5s);
  });
}

TEST(CancelScope, MovingADeadlineThatHasFiredUndoesNothing) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope(Now() + 1s);
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      co_await Shield([&]() -> Task<void> {
        co_await SleepFor(2s);
        scope.SetDeadline(Now() + 1h);
        EXPECT_TRUE(scope.cancel_called());
      });
      EXPECT_TRUE(CancelPending());
      co_await Checkpoint();
    }));
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(detail::Loop::Current().stats().timers, 0u);
  });
}

// D3: the clock decides, not whether the loop has looked at it yet; and what
// was said once stays so.
TEST(CancelScope, APassedDeadlineIsACancelBeforeAnyCheckpoint) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope(Now() + 1s);
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      EXPECT_FALSE(scope.cancel_called());
      time.Advance(1s);  // busy for so long
      EXPECT_TRUE(scope.cancel_called());
      scope.SetDeadline(Now() + 1h);
      EXPECT_TRUE(scope.cancel_called());
      co_await Checkpoint();
      ADD_FAILURE() << "went on";
    }));
    EXPECT_TRUE(scope.caught());
  });
}

TEST(CancelScope, ADeadlineAfterTheEndIsNoCancel) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope(Now() + 1s);
    EXPECT_TRUE(co_await scope.Run(SleepFor(500ms)));
    co_await SleepFor(10s);
    EXPECT_FALSE(scope.cancel_called());
    EXPECT_EQ(time.elapsed(), 10500ms);
  });
}

TEST(CancelScope, ADeadlineThatPassedBeforeRun) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope(Now() + 1s);
    co_await SleepFor(2s);
    EXPECT_TRUE(scope.cancel_called());
    bool began = false;
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      began = true;
      co_await Checkpoint();
      ADD_FAILURE() << "went on";
    }));
    EXPECT_TRUE(began);
  });
}

TEST(CancelScope, CurrentDeadlineIsTheEarliestThatCanBeSeen) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    EXPECT_EQ(CurrentDeadline(), kNever);
    const Time now = Now();
    CancelScope outer(now + 5s);
    CancelScope middle(now + 7s);
    CancelScope inner(now + 6s);
    co_await outer.Run([&]() -> Task<void> {
      EXPECT_EQ(CurrentDeadline(), now + 5s);
      co_await middle.Run([&]() -> Task<void> {
        EXPECT_EQ(CurrentDeadline(), now + 5s);
        middle.SetShield(true);
        EXPECT_EQ(CurrentDeadline(), now + 7s);
        co_await inner.Run([&]() -> Task<void> {
          EXPECT_EQ(CurrentDeadline(), now + 6s);
          outer.Cancel();
          EXPECT_EQ(CurrentDeadline(), now + 6s);
          middle.SetShield(false);
          EXPECT_EQ(CurrentDeadline(), kAlways);
          co_return;
        });
      });
    });
    EXPECT_EQ(CurrentDeadline(), kNever);
  });
}

// Shields

TEST(CancelScope, AShieldHidesWhatIsOutsideAndNothingElse) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer(Now() + 1s);
    CancelScope shielded;
    shielded.SetShield(true);
    EXPECT_TRUE(shielded.shield());
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      EXPECT_TRUE(co_await shielded.Run([&]() -> Task<void> {
        co_await SleepFor(2s);  // the outer deadline passes meanwhile
        EXPECT_FALSE(CancelPending());
      }));
      EXPECT_TRUE(CancelPending());
      co_await Checkpoint();
    }));
    EXPECT_EQ(time.elapsed(), 2s);

    CancelScope own(Now() + 1s);
    own.SetShield(true);
    EXPECT_FALSE(co_await own.Run(Forever()));
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(CancelScope, ClearingAShieldStopsAtOnceWhatShouldHaveStopped) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer(Now() + 1s);
    CancelScope shielded;
    shielded.SetShield(true);
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "clears",
          [](CancelScope* scope) -> Task<void> {
            co_await SleepFor(3s);
            scope->SetShield(false);
          },
          &shielded);
      EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
        (void)co_await shielded.Run(Forever());
        ADD_FAILURE() << "resumed";
      }));
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(time.elapsed(), 3s);
    EXPECT_FALSE(shielded.caught());
    EXPECT_TRUE(outer.caught());
  });
}

TEST(CancelScope, AShieldSetLaterProtectsWhatHasNotStoppedYet) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      EXPECT_TRUE(co_await inner.Run([&]() -> Task<void> {
        outer.Cancel();
        EXPECT_TRUE(CancelPending());
        inner.SetShield(true);
        EXPECT_FALSE(CancelPending());
        co_await SleepFor(1s);
      }));
      co_await Checkpoint();
    }));
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

// The stop was decided when the shield came: it goes on to who decided it.
TEST(CancelScope, AShieldSetBetweenStopAndUnwindDoesNotLoseTheStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    Gate gate;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "canceller",
          [](CancelScope* outer, CancelScope* inner) -> Task<void> {
            co_await SleepFor(1s);
            outer->Cancel();
            inner->SetShield(true);
          },
          &outer, &inner);
      EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
        co_await inner.Run([&]() -> Task<void> { co_await gate.Wait(); });
        ADD_FAILURE() << "resumed with no result";
      }));
    });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(outer.caught());
  });
}

TEST(CancelScope, AShieldCoversTasksStartedInside) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer(Now() + 1s);
    CancelScope shielded;
    shielded.SetShield(true);
    int ended = 0;
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      co_await shielded.Run([&]() -> Task<void> {
        auto status =
            co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
              for (int i = 0; i < 3; ++i) {
                group.Start(
                    "sleeper",
                    [](int* ended) -> Task<void> {
                      co_await SleepFor(2s);
                      ++*ended;
                    },
                    &ended);
              }
              co_return co_await group.Join();
            });
        EXPECT_TRUE(status.ok());
      });
      co_await Checkpoint();
    }));
    EXPECT_EQ(ended, 3);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// Misuse

TEST(CancelScopeDeathTest, RunTwice) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 CancelScope scope;
                 co_await scope.Run(Checkpoint());
                 co_await scope.Run(Checkpoint());
               }),
               "a cancel scope is entered twice; make a new one for each use");
}

TEST(CancelScopeDeathTest, RunInsideItself) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 CancelScope scope;
                 co_await scope.Run(
                     [&]() -> Task<void> { co_await scope.Run(Checkpoint()); });
               }),
               "a cancel scope is entered twice; make a new one for each use");
}

TEST(CancelScopeDeathTest, DestroyedWhileItsBodyRuns) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 auto scope = std::make_unique<CancelScope>();
                 co_await scope->Run([&]() -> Task<void> {
                   scope.reset();
                   co_return;
                 });
               }),
               "a cancel scope is destroyed while something runs inside it");
}

}  // namespace
}  // namespace braid
