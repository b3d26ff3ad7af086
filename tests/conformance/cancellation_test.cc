// Cancellation: scopes, deadlines, shields, what a stop is and what it is not.

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "braid/core/core.h"
#include "braid/sync/sync.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// "7", or "nothing".
std::string Text(const std::optional<int>& value) {
  return value.has_value() ? std::to_string(*value) : "nothing";
}
const char* YesNo(bool yes) { return yes ? "yes" : "no"; }

// ------------------------------------------------------------ 6. scopes

TEST(CancelScope, GivesItsBodysValue) {
  Conforms("7@1", []() -> Task<void> {
    CancelScope scope;
    Saw(Text(co_await scope.Run(GiveIn(1, 7))));
  });
}

TEST(CancelScope, GivesNothingWhenItStoppedItsBody) {
  Conforms("body stopped@1, nothing, caught: yes",
           [](TaskGroup& group) -> Task<void> {
             CancelScope scope;
             group.Start("canceller", [&]() -> Task<void> {
               co_await SleepFor(Ticks(1));
               scope.Cancel();
             });
             const bool ended = co_await scope.Run(WaitForever("body"));
             Saw(ended ? "ended" : "nothing");
             Saw(std::string("caught: ") + YesNo(scope.caught()));
           });
}

TEST(CancelScope, ABodyThatCompletesNeverthelessGivesItsValue) {
  Conforms("7, called: yes, caught: no", []() -> Task<void> {
    CancelScope scope;
    Saw(Text(co_await scope.Run([&]() -> Task<int> {
      scope.Cancel();
      co_return 7;
    })));
    Saw(std::string("called: ") + YesNo(scope.cancel_called()));
    Saw(std::string("caught: ") + YesNo(scope.caught()));
  });
}

TEST(CancelScope,
     CancelledBeforehandItsBodyBeginsAndStopsAtItsFirstCheckpoint) {
  Conforms("begins, at the checkpoint, moved on", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run([]() -> Task<void> {
      Saw("begins");
      const SaysAtItsEnd end("at the checkpoint");
      co_await Checkpoint();
      Saw("not reached");
    });
    Saw("moved on");
  });
}

TEST(CancelScope, TheFirstReasonWins) {
  Conforms("first", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel("first");
    scope.Cancel("second");
    Saw(scope.cause().value_or(CancelCause()).reason);
    co_return;
  });
}

TEST(CancelScope, SaysWhichTaskCancelledIt) {
  Conforms("canceller: enough", [](TaskGroup& group) -> Task<void> {
    CancelScope scope;
    group.Start("canceller", [&]() -> Task<void> {
      scope.Cancel("enough");
      co_return;
    });
    (void)co_await scope.Run(SleepForever());
    Saw(scope.cause()->task + ": " + scope.cause()->reason);
  });
}

TEST(CancelScope, CancelFlowsDownIntoScopesTasksAndLegs) {
  Conforms("[scope stopped, task stopped, leg stopped, body stopped]@1",
           []() -> Task<void> {
             CancelScope scope(Now() + Ticks(1));
             (void)co_await scope.Run(
                 WithTaskGroup([](TaskGroup& group) -> Task<void> {
                   group.Start("scope", []() -> Task<void> {
                     CancelScope inner;
                     (void)co_await inner.Run(WaitForever("scope"));
                   });
                   group.Start("task", WaitForever, "task");
                   group.Start("legs", []() -> Task<void> {
                     (void)co_await AnyOf(WaitForever("leg"), SleepForever());
                   });
                   co_await WaitForever("body");
                 }));
           });
}

TEST(CancelScope, CancelDoesNotReachOutwardsOrSideways) {
  Conforms("inner stopped@1, sideways@2, outwards@3",
           [](TaskGroup& group) -> Task<void> {
             group.Start("sideways", SayIn, 2, "sideways");
             CancelScope inner(Now() + Ticks(1));
             (void)co_await inner.Run(WaitForever("inner"));
             co_await SayIn(2, "outwards");
           });
}

TEST(CancelScope, ItIsALevelWhateverStillRunsInsideStops) {
  Conforms("body, child begins, child stopped", []() -> Task<void> {
    CancelScope scope;
    (void)co_await scope.Run(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      scope.Cancel();
      Saw("body");
      group.Start("child", []() -> Task<void> {
        Saw("child begins");
        co_await WaitForever("child");
      });
      co_return;
    }));
  });
}

TEST(CancelScope, ASecondScopeInACancelledOneStopsToo) {
  Conforms("first stopped, second not begun", []() -> Task<void> {
    CancelScope outer;
    (void)co_await outer.Run([&]() -> Task<void> {
      const SaysAtItsEnd end("second not begun");
      outer.Cancel();
      {
        CancelScope inner;
        (void)co_await inner.Run(WaitForever("first"));
      }
      Saw("not reached: the stop is the outer scope's");
    });
  });
}

TEST(CancelScope, OfTwoCancelledScopesTheOuterTakesTheStop) {
  Conforms("stopped@1, outer caught: yes, inner caught: no",
           []() -> Task<void> {
             CancelScope outer;
             CancelScope inner;
             (void)co_await outer.Run([&]() -> Task<void> {
               const Time at = Now() + Ticks(1);
               outer.SetDeadline(at);
               inner.SetDeadline(at);
               (void)co_await inner.Run([]() -> Task<void> {
                 const SaysAtItsEnd end("stopped");
                 co_await SleepForever();
               });
               Saw("not reached");
             });
             Saw(std::string("outer caught: ") + YesNo(outer.caught()));
             Saw(std::string("inner caught: ") + YesNo(inner.caught()));
           });
}

TEST(CancelScope, CaughtWhereAGroupInsideHadAnErrorWhileBeingStopped) {
  Conforms("error@1, caught: yes", []() -> Task<void> {
    CancelScope scope(Now() + Ticks(1));
    const auto result =
        co_await scope.Run(WithTaskGroup([](TaskGroup& group) -> Task<void> {
          group.Start("task", []() -> Task<absl::Status> {
            co_return co_await Finally(SleepForever(), FailIn(0, "error"));
          });
          co_await SleepForever();
        }));
    Saw(conformance::Text(*result));
    Saw(std::string("caught: ") + YesNo(scope.caught()));
  });
}

// --------------------------------------------------------------- deadlines

TEST(Deadline, StopsTheBodyAtThatTime) {
  Conforms("body stopped@3", []() -> Task<void> {
    CancelScope scope(Now() + Ticks(3));
    (void)co_await scope.Run(WaitForever("body"));
  });
}

TEST(Deadline, MovesLaterUntilItHasFired) {
  Conforms("moved@1, stopped@4", [](TaskGroup& group) -> Task<void> {
    const Time start = Now();
    CancelScope scope(start + Ticks(2));
    group.Start("mover", [&]() -> Task<void> {
      co_await SayIn(1, "moved");
      scope.SetDeadline(start + Ticks(4));
    });
    (void)co_await scope.Run([]() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      co_await SleepForever();
    });
  });
}

TEST(Deadline, MovesEarlierUntilItHasFired) {
  Conforms("moved@1, stopped@2", [](TaskGroup& group) -> Task<void> {
    const Time start = Now();
    CancelScope scope(start + 1h);
    group.Start("mover", [&]() -> Task<void> {
      co_await SayIn(1, "moved");
      scope.SetDeadline(start + Ticks(2));
    });
    (void)co_await scope.Run([]() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      co_await SleepForever();
    });
  });
}

TEST(Deadline, MovedAwayItNeverFires) {
  Conforms("7@2", [](TaskGroup& group) -> Task<void> {
    CancelScope scope(Now() + Ticks(2));
    group.Start("mover", [&]() -> Task<void> {
      co_await SleepFor(Ticks(1));
      scope.SetDeadline(kNever);
    });
    Saw(Text(co_await scope.Run(GiveIn(2, 7))));
  });
}

TEST(Deadline, MovingOneThatHasFiredUndoesNothing) {
  Conforms("checkpoint stops@1", []() -> Task<void> {
    CancelScope scope(Now() + Ticks(1));
    (void)co_await scope.Run([&]() -> Task<void> {
      co_await Shield(SleepFor(Ticks(1)));
      EXPECT_TRUE(scope.cancel_called());
      scope.SetDeadline(kNever);
      const SaysAtItsEnd end("checkpoint stops");
      co_await Checkpoint();
      Saw("not reached");
    });
  });
}

TEST(Deadline, OnceItHasPassedCancelWasCalledDeliveredOrNot) {
  Conforms("called: yes", []() -> Task<void> {
    CancelScope scope;
    (void)co_await scope.Run([&]() -> Task<void> {
      scope.SetDeadline(Now() - 1ns);
      Saw(std::string("called: ") + YesNo(scope.cancel_called()));
      co_return;
    });
  });
}

TEST(Deadline, AfterTheEndOfItsBodyItIsNoCancel) {
  Conforms("called: no@2", []() -> Task<void> {
    CancelScope scope(Now() + Ticks(1));
    (void)co_await scope.Run([]() -> Task<void> { co_return; });
    co_await SleepFor(Ticks(2));
    Saw(std::string("called: ") + YesNo(scope.cancel_called()));
  });
}

TEST(Deadline, ThatHasPassedBeforehandStopsAtTheFirstCheckpoint) {
  Conforms("begins, stopped, nothing", []() -> Task<void> {
    const auto result = co_await MoveOnAt(kAlways, []() -> Task<int> {
      Saw("begins");
      const SaysAtItsEnd end("stopped");
      co_await Checkpoint();
      co_return 7;
    });
    Saw(Text(result));
  });
}

TEST(Deadline, TheEarliestAroundATaskCanBeAsked) {
  Conforms("3, 1, 3, never, always", []() -> Task<void> {
    const Time start = Now();
    const auto say = [start] {
      const Time at = CurrentDeadline();
      Saw(at == kNever    ? "never"
          : at == kAlways ? "always"
                          : std::to_string((at - start) / Ticks(1)));
    };
    (void)co_await MoveOnAt(start + Ticks(3), [&]() -> Task<void> {
      say();
      (void)co_await MoveOnAt(start + Ticks(1), [&]() -> Task<void> {
        say();
        co_return;
      });
      (void)co_await MoveOnAt(start + Ticks(9), [&]() -> Task<void> {
        say();
        co_await Shield([&]() -> Task<void> {
          say();
          co_return;
        });
      });
      CancelScope scope;
      scope.Cancel();
      (void)co_await scope.Run([&]() -> Task<void> {
        say();
        co_return;
      });
    });
  });
}

TEST(MoveOnAfter, GivesTheValueOfABodyThatIsInTime) {
  Conforms("7@1", []() -> Task<void> {
    Saw(Text(co_await MoveOnAfter(Ticks(2), GiveIn(1, 7))));
  });
}

TEST(MoveOnAfter, GivesNothingOfABodyThatIsLate) {
  Conforms("nothing@1", []() -> Task<void> {
    Saw(Text(co_await MoveOnAfter(Ticks(1), GiveIn(2, 7))));
  });
}

TEST(MoveOnAfter, ABodyWithoutAValueGivesABool) {
  Conforms("no@1, yes@2", []() -> Task<void> {
    Saw(YesNo(co_await MoveOnAfter(Ticks(1), SleepFor(Ticks(2)))));
    Saw(YesNo(co_await MoveOnAfter(Ticks(2), SleepFor(Ticks(1)))));
  });
}

TEST(MoveOnAfter, StartsItsClockAtTheAwait) {
  Conforms("7@5", []() -> Task<void> {
    auto limited = MoveOnAfter(Ticks(3), GiveIn(2, 7));
    co_await SleepFor(Ticks(3));
    Saw(Text(co_await std::move(limited)));
  });
}

TEST(MoveOnAfter, AValueOfTheSameInstantBeatsTheLimit) {
  Conforms("7@1, 8@2", []() -> Task<void> {
    const Time start = Now();
    Saw(Text(co_await MoveOnAt(start + Ticks(1), [&]() -> Task<int> {
      co_await SleepUntil(start + Ticks(1));
      co_return 7;
    })));
    // Whichever of the two was registered first.
    CancelScope scope;
    Saw(Text(co_await scope.Run([&]() -> Task<int> {
      scope.SetDeadline(start + Ticks(2));
      co_await SleepUntil(start + Ticks(2));
      co_return 8;
    })));
  });
}

TEST(MoveOnAfter, OfTwoLimitsTheTighterStopsTheBody) {
  Conforms(
      "inner: nothing@1, outer: done, outer: nothing@3", []() -> Task<void> {
        const bool first = co_await MoveOnAfter(Ticks(2), []() -> Task<void> {
          const auto inner = co_await MoveOnAfter(Ticks(1), GiveIn(9, 7));
          Saw("inner: " + Text(inner));
        });
        Saw(first ? "outer: done" : "outer: nothing");
        const bool second = co_await MoveOnAfter(Ticks(2), []() -> Task<void> {
          (void)co_await MoveOnAfter(Ticks(3), GiveIn(9, 7));
          Saw("not reached");
        });
        Saw(second ? "outer: done" : "outer: nothing");
      });
}

TEST(MoveOnAfter, AnInfiniteDelayIsNoLimit) {
  Conforms("7@1, 7@2, 7@3", []() -> Task<void> {
    Saw(Text(co_await MoveOnAfter(kForever, GiveIn(1, 7))));
    Saw(Text(co_await MoveOnAfter(absl::InfiniteDuration(), GiveIn(1, 7))));
    Saw(Text(co_await MoveOnAfter(
        std::chrono::duration<double>(std::numeric_limits<double>::infinity()),
        GiveIn(1, 7))));
  });
}

TEST(MoveOnAfter, ANegativeDelayHasExpired) {
  Conforms("nothing, nothing", []() -> Task<void> {
    Saw(Text(co_await MoveOnAfter(-1s, GiveIn(0, 7))));
    Saw(Text(co_await MoveOnAfter(0s, GiveIn(1, 7))));
  });
}

TEST(MoveOnAfter, AnExpiredLimitStillGivesTheValueOfABodyWithoutCheckpoints) {
  Conforms("7", []() -> Task<void> {
    Saw(Text(co_await MoveOnAfter(-1s, []() -> Task<int> { co_return 7; })));
  });
}

TEST(FailAfter, IsDeadlineExceededWhenThisLimitStoppedTheBody) {
  Conforms("DEADLINE_EXCEEDED@1", []() -> Task<void> {
    Saw(absl::StatusCodeToString(
        (co_await FailAfter(Ticks(1), SleepForever())).code()));
  });
}

TEST(FailAfter, PassesTheBodysOwnErrorOn) {
  Conforms("broken@1", []() -> Task<void> {
    Saw(conformance::Text(co_await FailAfter(Ticks(2), FailIn(1, "broken"))));
  });
}

TEST(FailAfter, PassesAStopFromOutsideOn) {
  Conforms("stopped@1, moved on", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      (co_await FailAfter(Ticks(2), SleepForever())).IgnoreError();
      Saw("not reached");
    });
    Saw("moved on");
  });
}

TEST(FailAfter, AnOuterLimitOfTheSameInstantTakesIt) {
  Conforms("inner not reached@1, outer DEADLINE_EXCEEDED", []() -> Task<void> {
    const Time at = Now() + Ticks(1);
    const absl::Status status =
        co_await FailAt(at, [at]() -> Task<absl::Status> {
          const SaysAtItsEnd end("inner not reached");
          co_await OrReturn(FailAt(at, SleepForever()));
          co_return absl::OkStatus();
        });
    Saw("outer " + absl::StatusCodeToString(status.code()));
  });
}

// ----------------------------------------------------------------- shields

TEST(Shield, ItsBodyFinishesAndTheStopWaitsForTheNextCheckpoint) {
  Conforms("body@2, after, stopped", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
      co_await Shield(SayIn(2, "body"));
      Saw("after");
      const SaysAtItsEnd end("stopped");
      co_await Checkpoint();
      Saw("not reached");
    });
  });
}

TEST(Shield, InACancelledScopeItsBodyStillRunsWhole) {
  Conforms("body@1", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run(Shield(SayIn(1, "body")));
  });
}

TEST(Shield, CancelsAndLimitsInsideStillWork) {
  Conforms("own cancel, own limit@1", []() -> Task<void> {
    CancelScope outer;
    outer.Cancel();
    (void)co_await outer.Run(Shield([]() -> Task<void> {
      CancelScope inner;
      inner.Cancel();
      (void)co_await inner.Run(SleepForever());
      Saw("own cancel");
      (void)co_await MoveOnAfter(Ticks(1), SleepForever());
      Saw("own limit");
    }));
  });
}

TEST(Shield, ItsScopesOwnCancelStillWorks) {
  Conforms("stopped@1", [](TaskGroup& group) -> Task<void> {
    CancelScope scope;
    scope.SetShield(true);
    group.Start("canceller", [&]() -> Task<void> {
      co_await SleepFor(Ticks(1));
      scope.Cancel();
    });
    (void)co_await scope.Run([]() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      co_await SleepForever();
    });
  });
}

TEST(Shield, ClearedItStopsAtOnceWhatShouldHaveStopped) {
  Conforms("outer cancelled@1, cleared@2, body stopped",
           [](TaskGroup& group) -> Task<void> {
             CancelScope outer;
             CancelScope inner;
             inner.SetShield(true);
             group.Start("clearer", [&]() -> Task<void> {
               co_await SleepFor(Ticks(1));
               outer.Cancel();
               Saw("outer cancelled");
               co_await SayIn(1, "cleared");
               inner.SetShield(false);
             });
             (void)co_await outer.Run([&]() -> Task<void> {
               (void)co_await inner.Run(WaitForever("body"));
             });
           });
}

TEST(Shield, CoversTasksThatAreStartedInside) {
  Conforms("task@2, stopped", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      co_await Shield([]() -> Task<void> {
        (co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
          group.Start("task", SayIn, 2, "task");
          co_return;
        })).IgnoreError();
      });
      co_await Checkpoint();
    });
  });
}

TEST(Shield, OfAGroupHidesWhatIsOutsideFromBodyAndTasks) {
  Conforms("task@2, body@3, group over", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
      const SaysAtItsEnd end("group over");
      (co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
        group.SetShield(true);
        group.Start("task", SayIn, 2, "task");
        co_await SayIn(3, "body");
      })).IgnoreError();
      co_await Checkpoint();
    });
  });
}

// ------------------------------------------------ 7. what a stop is

TEST(Stop, DestroysFramesInnermostFirstAndResumesNone) {
  Conforms("inner, middle, outer, moved on", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run([]() -> Task<void> {
      const SaysAtItsEnd outer("outer");
      co_await []() -> Task<void> {
        const SaysAtItsEnd middle("middle");
        co_await []() -> Task<void> {
          const SaysAtItsEnd inner("inner");
          co_await Checkpoint();
          Saw("inner resumed");
        }();
        Saw("middle resumed");
      }();
      Saw("outer resumed");
    });
    Saw("moved on");
  });
}

TEST(Stop, NoHandlerCanSwallowIt) {
  Conforms("stopped@1", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      for (;;) {
        try {
          co_await SleepForever();
        } catch (...) {
          Saw("caught something");
        }
      }
    });
  });
}

TEST(Stop, DestructorsMayCancelSetAndClose) {
  Conforms("first stopped@1, second stopped, event",
           [](TaskGroup& group) -> Task<absl::Status> {
             struct Meddles {
               Meddles(CancelScope* its_scope, Event* its_event)
                   : scope(its_scope), event(its_event) {}
               ~Meddles() {
                 scope->Cancel();
                 event->Set();
               }
               CancelScope* scope;
               Event* event;
             };
             CancelScope first(Now() + Ticks(1));
             CancelScope second;
             Event event;
             group.Start("second", [&]() -> Task<void> {
               (void)co_await second.Run(WaitForever("second"));
               co_await event.Wait();
               Saw("event");
             });
             (void)co_await first.Run([&]() -> Task<void> {
               const Meddles local(&second, &event);
               co_await WaitForever("first");
             });
             co_return co_await group.Join();
           });
}

TEST(Stop, ATaskKnowsThatItIsToStopAndWhy) {
  Conforms("no, yes: enough", []() -> Task<void> {
    Saw(YesNo(CancelPending()));
    CancelScope scope;
    (void)co_await scope.Run([&]() -> Task<void> {
      scope.Cancel("enough");
      Saw(std::string(YesNo(CancelPending())) + ": " +
          CancelReason().value_or(CancelCause()).reason);
      co_return;
    });
  });
}

// ------------------------------------------------------ 8. checkpoints

TEST(Checkpoints, AwaitingATaskIsNone) {
  Conforms("inside, after", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run([]() -> Task<void> {
      co_await []() -> Task<void> {
        Saw("inside");
        co_return;
      }();
      Saw("after");
    });
  });
}

TEST(Checkpoints, StartIsNone) {
  Conforms("after, begins", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run(WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("task", []() -> Task<void> {
        Saw("begins");
        co_return;
      });
      Saw("after");
      co_return;
    }));
  });
}

TEST(Checkpoints, EnteringScopesAndGroupsIsNone) {
  Conforms("scope, group, limit, shield", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    const auto say = [](const char* what) -> Task<void> {
      Saw(what);
      co_return;
    };
    (void)co_await scope.Run([&]() -> Task<void> {
      CancelScope inner;
      (void)co_await inner.Run(say("scope"));
      (co_await WithTaskGroup([&](TaskGroup&) -> Task<void> {
        co_await say("group");
      })).IgnoreError();
      (void)co_await MoveOnAfter(1s, say("limit"));
      co_await Shield(say("shield"));
    });
  });
}

TEST(Checkpoints, AnUncontendedOperationIsOneToo) {
  Conforms("event, mutex, channel", []() -> Task<void> {
    const auto stops_at = [](const char* what, auto operation) -> Task<void> {
      CancelScope scope;
      scope.Cancel();
      (void)co_await scope.Run([&]() -> Task<void> {
        const SaysAtItsEnd end(what);
        (void)co_await operation();
        Saw("not reached");
      });
    };
    Event event;
    event.Set();
    co_await stops_at("event", [&]() -> Task<void> { co_await event.Wait(); });
    Mutex mutex;
    co_await stops_at("mutex", [&]() -> Task<void> {
      const Mutex::Guard guard = co_await mutex.Lock();
    });
    auto [sender, receiver] = MakeChannel<int>(1);
    co_await stops_at("channel", [&]() -> Task<void> {
      (co_await sender.Send(1)).IgnoreError();
    });
    EXPECT_TRUE(IsWouldBlock(receiver.TryReceive().status()));
  });
}

TEST(Checkpoints, OperationsReadyAtOnceGiveWayAfterSixtyFour) {
  Conforms("64 without giving way, other ran, then more",
           [](TaskGroup& group) -> Task<absl::Status> {
             Event set;
             set.Set();
             bool other_ran = false;
             co_await Checkpoint();  // a fresh allowance
             group.Start("other", [&]() -> Task<void> {
               other_ran = true;
               Saw("other ran");
               co_return;
             });
             int before = 0;
             while (!other_ran) {
               co_await set.Wait();
               if (!other_ran && ++before == 64) Saw("64 without giving way");
             }
             // Both were ready then, and either may have been the first.
             EXPECT_LE(before, 2 * 64 + 1);
             Saw("then more");
             co_return co_await group.Join();
           });
}

TEST(Checkpoints, TryVariantsDoNotLookForCancellation) {
  Conforms("sent, received, locked, permit", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run([]() -> Task<void> {
      auto [sender, receiver] = MakeChannel<int>(1);
      if (sender.TrySend(1).ok()) Saw("sent");
      if (receiver.TryReceive().ok()) Saw("received");
      Mutex mutex;
      if (mutex.TryLock().has_value()) Saw("locked");
      Semaphore semaphore(1);
      if (semaphore.TryAcquire().has_value()) Saw("permit");
      co_return;
    });
  });
}

}  // namespace
}  // namespace braid::conformance
