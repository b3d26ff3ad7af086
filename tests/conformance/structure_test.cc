// Structure: tasks, groups, handles, errors that flow up, ordered teardown.

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "braid/core/core.h"
#include "braid/sync/mutex.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {
namespace {

// ---------------------------------------------------------------------- Task

TEST(Task, DoesNothingUntilItIsAwaited) {
  Conforms("made, ran, after", []() -> Task<void> {
    Task<void> task = SayIn(0, "ran");
    Saw("made");
    co_await std::move(task);
    Saw("after");
  });
}

TEST(Task, OneThatIsNeverAwaitedNeverRuns) {
  Conforms("argument gone, end", [](TaskGroup&) -> Task<void> {
    {
      auto never = [](SaysAtItsEnd) -> Task<void> {
        Saw("ran");
        co_return;
      };
      Task<void> task = never(SaysAtItsEnd("argument gone"));
    }
    Saw("end");
    co_return;
  });
}

TEST(Task, AwaitingOneLetsNobodyElseRun) {
  Conforms("before, inside, after, other", [](TaskGroup& group) -> Task<void> {
    group.Start("other", SayIn, 0, "other");
    Saw("before");
    co_await []() -> Task<void> {
      Saw("inside");
      co_return;
    }();
    Saw("after");
  });
}

TEST(Task, ItsLocalsAreGoneWhenTheAwaiterGoesOn) {
  Conforms("inner local, awaiter", []() -> Task<void> {
    co_await []() -> Task<void> {
      const SaysAtItsEnd local("inner local");
      co_await Checkpoint();
    }();
    Saw("awaiter");
  });
}

TEST(Task, ItsResultMayBeOneThatOnlyMoves) {
  Conforms("7", []() -> Task<void> {
    const std::unique_ptr<int> result =
        co_await []() -> Task<std::unique_ptr<int>> {
      co_return std::make_unique<int>(7);
    }();
    Saw(std::to_string(*result));
  });
}

TEST(Task, AnExceptionIsRethrownInItsAwaiter) {
  Conforms("local@1, caught: broken, goes on", []() -> Task<void> {
    try {
      const SaysAtItsEnd local("local");
      co_await ThrowIn(1, "broken");
    } catch (const std::exception& e) {
      Saw(std::string("caught: ") + e.what());
    }
    co_await Checkpoint();
    Saw("goes on");
  });
}

// ----------------------------------------------------- 1. no task outlives ...

TEST(TaskGroup, ReturnsWhenItsLastTaskHasEnded) {
  Conforms("body, short@1, long@3, group: OK", []() -> Task<void> {
    const absl::Status status =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
          group.Start("long", SayIn, 3, "long");
          group.Start("short", SayIn, 1, "short");
          Saw("body");
          co_return;
        });
    Saw("group: " + Text(status));
  });
}

TEST(TaskGroup, OfNothingReturnsAtOnce) {
  Conforms("after", [](TaskGroup& outer) -> Task<void> {
    outer.Start("other", SayIn, 0, "after");
    co_await OthersWait();
    const absl::Status status =
        co_await WithTaskGroup([](TaskGroup&) -> Task<void> { co_return; });
    EXPECT_TRUE(status.ok());
  });
}

TEST(TaskGroup, StartNeverRunsTheTaskInline) {
  Conforms("started, still in the body, task",
           [](TaskGroup& group) -> Task<void> {
             group.Start("task", []() -> Task<void> {
               Saw("task");
               co_return;
             });
             Saw("started");
             Saw("still in the body");
             co_return;
           });
}

TEST(TaskGroup, ATaskStartedByATaskIsWaitedForToo) {
  Conforms("first@1, second@2, third@3, group", []() -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("first", [&group]() -> Task<void> {
        co_await SayIn(1, "first");
        group.Start("second", [&group]() -> Task<void> {
          co_await SayIn(1, "second");
          group.Start("third", SayIn, 1, "third");
        });
      });
      co_return;
    })).IgnoreError();
    Saw("group");
  });
}

TEST(TaskGroup, ATaskBeginsEvenIfItsGroupIsCancelled) {
  Conforms("begins, stopped", [](TaskGroup& group) -> Task<void> {
    group.Cancel();
    group.Start("late", []() -> Task<void> {
      Saw("begins");
      const SaysAtItsEnd end("stopped");
      co_await Checkpoint();
      Saw("goes on");
    });
    co_return;
  });
}

TEST(TaskGroup, AnArgumentIsKeptUntilItsTaskHasEnded) {
  Conforms("task@1, argument", [](TaskGroup& group) -> Task<void> {
    group.Start(
        "task",
        [](const SaysAtItsEnd&) -> Task<void> { co_await SayIn(1, "task"); },
        SaysAtItsEnd("argument"));
    co_return;
  });
}

TEST(TaskGroup, ACallableIsKeptUntilItsTaskHasEnded) {
  Conforms("7@1, captured", [](TaskGroup& group) -> Task<void> {
    group.Start("task",
                [value = 7, kept = std::make_unique<SaysAtItsEnd>(
                                "captured")]() -> Task<void> {
                  co_await SayIn(1, std::to_string(value));
                });
    co_return;
  });
}

TEST(TaskGroup, ATaskRunsInTheGroupsScopesNotInItsStarters) {
  Conforms("starter stopped@1, task@2", [](TaskGroup& group) -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), [&]() -> Task<void> {
      group.Start("task", SayIn, 2, "task");
      co_await WaitForever("starter");
    });
  });
}

TEST(TaskGroup, NestedGroupsEndInsideOut) {
  Conforms("task@2, inner, outer", []() -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& outer) -> Task<void> {
      outer.Start("host", []() -> Task<absl::Status> {
        co_await OrReturn(WithTaskGroup([](TaskGroup& inner) -> Task<void> {
          inner.Start("task", SayIn, 2, "task");
          co_return;
        }));
        Saw("inner");
        co_return absl::OkStatus();
      });
      co_return;
    })).IgnoreError();
    Saw("outer");
  });
}

struct StartsAtItsEnd {
  explicit StartsAtItsEnd(TaskGroup* its_group) : group(its_group) {}
  ~StartsAtItsEnd() {
    Saw("destructor");
    group->Start("late", []() -> Task<void> {
      Saw("begins");
      co_await WaitForever("late");
    });
  }
  TaskGroup* group;
};

TEST(TaskGroup, ADestructorMayStartATaskWhileItsTaskIsStopped) {
  Conforms("destructor@1, begins, late stopped",
           [](TaskGroup& group) -> Task<void> {
             group.Start("task", [&group]() -> Task<void> {
               const StartsAtItsEnd local(&group);
               co_await SleepForever();
             });
             co_await SleepFor(Ticks(1));
             group.Cancel();
           });
}

TEST(TaskGroup, SizeCountsTasksThatHaveNotEnded) {
  Conforms("2, 1@1, 0@2", [](TaskGroup& group) -> Task<void> {
    group.Start("one", GiveIn, 1, 0);
    group.Start("two", GiveIn, 2, 0);
    Saw(std::to_string(group.size()));
    for (int i = 0; i < 2; ++i) {
      co_await SleepFor(Ticks(1));
      co_await OthersWait();
      Saw(std::to_string(group.size()));
    }
  });
}

TEST(TaskGroup, JoinWaitsForAllAndMayBeRepeated) {
  Conforms("one@1, joined, two@2, joined",
           [](TaskGroup& group) -> Task<absl::Status> {
             for (const char* name : {"one", "two"}) {
               group.Start("task", SayIn, 1, name);
               co_await OrReturn(group.Join());
               Saw("joined");
             }
             co_return absl::OkStatus();
           });
}

// -------------------------------------------------------- 2. errors flow up

// Runs a group and says what it gave.
template <typename B>
Task<void> SayGroup(B body) {
  try {
    const absl::Status status = co_await WithTaskGroup(body);
    Saw("group: " + AllOfText(status));
  } catch (const GroupError& e) {
    Saw("GroupError of " + std::to_string(e.exceptions().size()) + " and " +
        std::to_string(e.statuses().size()));
  } catch (const std::exception& e) {
    Saw(std::string("exception: ") + e.what());
  }
}

TEST(TaskGroup, ATaskThatFailsCancelsItsSiblings) {
  Conforms("sibling stopped@1, group: broken", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      group.Start("sibling", WaitForever, "sibling");
      group.Start("failing", FailIn, 1, "broken");
      co_return;
    });
  });
}

TEST(TaskGroup, ATaskThatFailsCancelsTheBody) {
  Conforms("body stopped@1, group: broken", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      group.Start("failing", FailIn, 1, "broken");
      co_await WaitForever("body");
    });
  });
}

TEST(TaskGroup, ABodyThatFailsCancelsTheTasks) {
  Conforms("task stopped@1, group: broken", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<absl::Status> {
      group.Start("task", WaitForever, "task");
      co_return co_await FailIn(1, "broken");
    });
  });
}

TEST(TaskGroup, OtherErrorsStandBehindTheFirst) {
  Conforms("group: first (second; third)@2", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      const auto fails_at_its_end = [](int ticks,
                                       const char* what) -> Task<absl::Status> {
        co_return co_await Finally(SleepForever(), FailIn(ticks, what));
      };
      group.Start("third", fails_at_its_end, 1, "third");
      group.Start("second", fails_at_its_end, 0, "second");
      group.Start("first", FailIn, 1, "first");
      co_return;
    });
  });
}

TEST(TaskGroup, OneExceptionIsRethrownAsItself) {
  Conforms("sibling stopped@1, exception: thrown", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      group.Start("sibling", WaitForever, "sibling");
      group.Start("throwing", ThrowIn, 1, "thrown");
      co_return;
    });
  });
}

TEST(TaskGroup, AnExceptionAmongOtherFailuresComesInAGroupError) {
  Conforms("GroupError of 1 and 1@2", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      group.Start("throws at its end", []() -> Task<void> {
        co_await Finally(SleepForever(), ThrowIn(1, "thrown"));
      });
      group.Start("failing", FailIn, 1, "broken");
      co_return;
    });
  });
}

TEST(TaskGroup, SeveralExceptionsComeInAGroupError) {
  Conforms("GroupError of 2 and 0@1", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      group.Start("throws at its end", []() -> Task<void> {
        co_await Finally(SleepForever(), ThrowIn(0, "second"));
      });
      group.Start("throwing", ThrowIn, 1, "first");
      co_return;
    });
  });
}

TEST(TaskGroup, AnErrorGoesUpThroughNestedGroups) {
  Conforms("inner sibling stopped@1, outer sibling stopped, group: deep",
           []() -> Task<void> {
             co_await SayGroup([](TaskGroup& outer) -> Task<void> {
               outer.Start("sibling", WaitForever, "outer sibling");
               outer.Start("host", []() -> Task<absl::Status> {
                 co_return co_await WithTaskGroup(
                     [](TaskGroup& inner) -> Task<void> {
                       inner.Start("sibling", WaitForever, "inner sibling");
                       inner.Start("failing", FailIn, 1, "deep");
                       co_return;
                     });
               });
               co_return;
             });
           });
}

TEST(TaskGroup, ReadingAnOutcomeDoesNotHandleTheError) {
  Conforms("read: broken@1, group: broken", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      auto failing = group.Start("failing", FailIn, 1, "broken");
      co_await Shield([&]() -> Task<void> {
        Saw("read: " + Text((co_await failing.Join()).status()));
      });
    });
  });
}

TEST(TaskGroup, AnErrorOfATaskThatIsBeingCancelledIsNotLost) {
  Conforms("group: at the end@2", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      group.Start("task", []() -> Task<absl::Status> {
        co_return co_await Finally(SleepForever(), FailIn(1, "at the end"));
      });
      co_await SleepFor(Ticks(1));
      group.Cancel();
    });
  });
}

// ------------------------------------------------- 3. what a group gives

// A group whose task fails in clean-up, gives what its body gives, or is
// stopped; in a scope that is cancelled at tick 1 if `outer_cancel`.
Task<void> SayWhatAGroupGives(bool fails, bool outer_cancel, bool own_cancel) {
  CancelScope scope;
  const auto result =
      co_await scope.Run(WithTaskGroup([&](TaskGroup& group) -> Task<int> {
        if (fails) {
          group.Start("fails", []() -> Task<absl::Status> {
            co_return co_await Finally(SleepFor(Ticks(1)), FailIn(0, "error"));
          });
        }
        if (outer_cancel) scope.SetDeadline(Now() + Ticks(1));
        if (own_cancel) group.SetDeadline(Now() + Ticks(1));
        co_await SleepFor(Ticks(2));
        co_return 7;
      }));
  if (!result.has_value()) {
    Saw("stopped");
  } else if (result->ok()) {
    Saw("value " + std::to_string(**result));
  } else {
    Saw((*result).status().code() == absl::StatusCode::kCancelled
            ? "CANCELLED"
            : Text(result->status()));
  }
}

TEST(TaskGroup, GivesAnErrorEvenUnderAnOuterCancel) {
  Conforms("error@1", SayWhatAGroupGives, true, true, true);
}

TEST(TaskGroup, IsStoppedIfAnEnclosingScopeStoppedAnyOfIt) {
  Conforms("stopped@1", SayWhatAGroupGives, false, true, true);
}

TEST(TaskGroup, GivesCancelledWhereItsOwnCancelStoppedABodyThatOwesAValue) {
  Conforms("CANCELLED@1", SayWhatAGroupGives, false, false, true);
}

TEST(TaskGroup, GivesTheBodysValueOtherwise) {
  Conforms("value 7@2", SayWhatAGroupGives, false, false, false);
}

TEST(TaskGroup, GivesOkWhereItsOwnCancelStoppedABodyThatOwesNothing) {
  Conforms("body stopped, OK", []() -> Task<void> {
    Saw(Text(co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Cancel();
      co_await WaitForever("body");
    })));
  });
}

TEST(TaskGroup, ABodyThatCompletesAfterItsOwnCancelGivesItsValue) {
  Conforms("task stopped, 7", []() -> Task<void> {
    const absl::StatusOr<int> result =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<int> {
          group.Start("task", WaitForever, "task");
          co_await OthersWait();
          group.Cancel();
          co_return 7;
        });
    Saw(std::to_string(result.value()));
  });
}

TEST(TaskGroup, ItsExitIsNoCancelPoint) {
  Conforms("task@1, group: OK, next checkpoint stops", []() -> Task<void> {
    CancelScope scope;
    (void)co_await scope.Run([&]() -> Task<void> {
      const absl::Status status =
          co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
            // It completes, and never looks for cancellation after that.
            group.Start("task", [&]() -> Task<void> {
              co_await SayIn(1, "task");
              scope.Cancel();
            });
            co_return;
          });
      Saw("group: " + Text(status));
      const SaysAtItsEnd end("next checkpoint stops");
      co_await Checkpoint();
      Saw("not reached");
    });
  });
}

TEST(TaskGroup, ATaskCancelledAloneIsNeitherErrorNorStopForTheGroup) {
  Conforms("task stopped, sibling@1, group: OK", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<void> {
      group.Start("sibling", SayIn, 1, "sibling");
      auto task = group.Start("task", WaitForever, "task");
      co_await OthersWait();
      task.Cancel();
    });
  });
}

// ------------------------------------------------------- 4. locals of the body

// A body whose local is used by a task for two ticks, left in one of four ways.
enum class Way { kJoin, kStop, kOrReturn, kPlainReturn };
Task<void> LeaveABody(Way way) {
  CancelScope scope;
  (void)co_await scope.Run(
      WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
        const SaysAtItsEnd local("body's local");
        group.Start("task",
                    []() -> Task<void> { co_await Shield(SayIn(2, "task")); });
        co_await OthersWait();
        co_await [](CancelScope& outer, Way how) -> Task<void> {
          const SaysAtItsEnd below("frame below");
          if (how == Way::kStop) {
            outer.Cancel();
            co_await SleepForever();
          }
        }(scope, way);
        if (way == Way::kOrReturn) co_await OrReturn(absl::AbortedError("end"));
        if (way == Way::kJoin) co_await OrReturn(group.Join());
        co_return absl::OkStatus();
      }));
}

TEST(TaskGroup, JoinKeepsTheBodysLocals) {
  Conforms("frame below, task@2, body's local", LeaveABody, Way::kJoin);
}

TEST(TaskGroup, AStopKeepsTheBodysOwnLocalsAndTakesThoseBelow) {
  Conforms("frame below, task@2, body's local", LeaveABody, Way::kStop);
}

TEST(TaskGroup, OrReturnKeepsTheBodysLocals) {
  Conforms("frame below, task@2, body's local", LeaveABody, Way::kOrReturn);
}

TEST(TaskGroup, APlainReturnDestroysTheBodysLocalsFirst) {
  Conforms("frame below, body's local, task@2", LeaveABody, Way::kPlainReturn);
}

// ---------------------------------------------------- 5. ordered teardown

Task<void> Background() {
  const SaysAtItsEnd end("background stopped");
  co_await SleepForever();
}

TEST(WithBackground, EndsTheBodyFirstAndThenTheBackground) {
  Conforms("body@1, background stopped, after", []() -> Task<void> {
    (co_await WithBackground(Background(), SayIn(1, "body"))).IgnoreError();
    Saw("after");
  });
}

TEST(WithBackground, AStopFromOutsideEndsTheBodyFirstToo) {
  Conforms("body cleans up@2, background stopped, moved on",
           []() -> Task<void> {
             (void)co_await MoveOnAfter(
                 Ticks(1), WithBackground(Background(), []() -> Task<void> {
                   co_await Finally(SleepForever(), SayIn(1, "body cleans up"));
                 }));
             Saw("moved on");
           });
}

TEST(WithBackground, ABackgroundThatFailsCancelsTheBody) {
  Conforms("body stopped@1, lost", []() -> Task<void> {
    Saw(Text(co_await WithBackground(FailIn(1, "lost"), WaitForever("body"))));
  });
}

TEST(WithBackground, ABackgroundThatEndsWellLeavesTheBodyAlone) {
  Conforms("background@1, body@2", []() -> Task<void> {
    (co_await WithBackground(SayIn(1, "background"), SayIn(2, "body")))
        .IgnoreError();
  });
}

TEST(WithBackground, ABodyThatFailsStillEndsTheBackground) {
  Conforms("background stopped@1, broken", []() -> Task<void> {
    Saw(Text(co_await WithBackground(Background(), FailIn(1, "broken"))));
  });
}

TEST(WithBackground, ErrorsOfBothAreGiven) {
  Conforms("lost (at its end)@1", []() -> Task<void> {
    Saw(AllOfText(co_await WithBackground(
        FailIn(1, "lost"), Finally(SleepForever(), FailIn(0, "at its end")))));
  });
}

TEST(WithBackground, GivesTheBodysValue) {
  Conforms("background stopped@1, 7", []() -> Task<void> {
    Saw(std::to_string(
        (co_await WithBackground(Background(), GiveIn(1, 7))).value()));
  });
}

// ------------------------------------------------------------------ handles

TEST(TaskHandle, GivesTheOutcomeOfAValue) {
  Conforms("value 7@1", [](TaskGroup& group) -> Task<void> {
    auto task = group.Start("task", GiveIn, 1, 7);
    const Outcome<int> outcome = co_await task.Join();
    Saw("value " + std::to_string(outcome.value()));
  });
}

TEST(TaskHandle, GivesTheOutcomeOfAStop) {
  Conforms("task stopped@1, stopped", [](TaskGroup& group) -> Task<void> {
    auto task = group.Start("task", WaitForever, "task");
    co_await SleepFor(Ticks(1));
    task.Cancel();
    Saw((co_await task.Join()).stopped() ? "stopped" : "not stopped");
  });
}

TEST(TaskHandle, CancelledBeforeItBeginsATaskBeginsAllTheSame) {
  Conforms("begins, task stopped", [](TaskGroup& group) -> Task<void> {
    auto task = group.Start("task", []() -> Task<void> {
      Saw("begins");
      co_await WaitForever("task");
    });
    task.Cancel();
    EXPECT_TRUE((co_await task.Join()).stopped());
  });
}

TEST(TaskHandle, ACancelledTaskThatCompletesGivesItsValue) {
  Conforms("value 7", [](TaskGroup& group) -> Task<void> {
    auto task = group.Start("task", []() -> Task<int> { co_return 7; });
    task.Cancel();
    Saw("value " + std::to_string((co_await task.Join()).value()));
  });
}

TEST(TaskHandle, AnyNumberOfTasksMayWait) {
  Conforms("[a, b, c]@1", [](TaskGroup& group) -> Task<void> {
    auto task = group.Start("task", GiveIn, 1, 0);
    for (const char* name : {"a", "b", "c"}) {
      group.Start("waiter", [task, name]() -> Task<void> {
        (void)co_await task.Join();
        Saw(name);
      });
    }
    co_return;
  });
}

TEST(TaskHandle, CancellingAWaitLeavesTheTaskAlone) {
  Conforms("gave up@1, task@2", [](TaskGroup& group) -> Task<void> {
    auto task = group.Start("task", SayIn, 2, "task");
    EXPECT_FALSE((co_await MoveOnAfter(Ticks(1), task.Join())).has_value());
    Saw("gave up");
  });
}

TEST(TaskHandle, AJoinOfOneThatHasEndedCompletesAtOnce) {
  Conforms("value 7@1", [](TaskGroup& group) -> Task<void> {
    auto task = group.Start("task", GiveIn, 1, 7);
    (co_await group.Join()).IgnoreError();
    EXPECT_TRUE(task.done());
    Saw("value " + std::to_string((co_await task.Join()).value()));
  });
}

TEST(TaskHandle, DroppingItChangesNothing) {
  Conforms("task@1", [](TaskGroup& group) -> Task<void> {
    {
      auto task = group.Start("task", SayIn, 1, "task");
    }
    co_return;
  });
}

// ------------------------------------------------------------- StartAndWait

Task<absl::Status> Listen(int ticks, Ready<int> ready) {
  co_await SleepFor(Ticks(ticks));
  ready.Set(7007);
  co_await WaitForever("listener");
  co_return absl::OkStatus();
}

TEST(StartAndWait, GivesWhatTheTaskIsReadyWithAndTheTaskGoesOn) {
  Conforms("port 7007@1, body@2, listener stopped",
           [](TaskGroup& group) -> Task<void> {
             const absl::StatusOr<int> port =
                 co_await group.StartAndWait("listener", Listen, 1);
             Saw("port " + std::to_string(port.value()));
             co_await SayIn(1, "body");
             group.Cancel();
           });
}

TEST(StartAndWait, AnErrorBeforeItIsReadyIsTheCallsAndLeavesTheGroupAlone) {
  Conforms("call: no port@1, sibling@2", [](TaskGroup& group) -> Task<void> {
    group.Start("sibling", SayIn, 2, "sibling");
    const auto fails = [](Ready<int>) -> Task<absl::Status> {
      co_return co_await FailIn(1, "no port");
    };
    Saw("call: " +
        Text((co_await group.StartAndWait("listener", fails)).status()));
  });
}

TEST(StartAndWait, ATaskThatEndsWithoutBeingReadyIsAnError) {
  Conforms("FAILED_PRECONDITION@1", [](TaskGroup& group) -> Task<void> {
    const auto silent = [](Ready<void>) -> Task<void> {
      co_await SleepFor(Ticks(1));
    };
    Saw(absl::StatusCodeToString(
        (co_await group.StartAndWait("silent", silent)).code()));
  });
}

TEST(StartAndWait, AnErrorAfterwardsIsTheGroups) {
  Conforms("ready, body stopped@1, group: later", []() -> Task<void> {
    co_await SayGroup([](TaskGroup& group) -> Task<absl::Status> {
      const auto fails = [](Ready<void> ready) -> Task<absl::Status> {
        ready.Set();
        co_return co_await FailIn(1, "later");
      };
      co_await OrReturn(group.StartAndWait("fails", fails));
      Saw("ready");
      co_await WaitForever("body");
      co_return absl::OkStatus();
    });
  });
}

TEST(StartAndWait, CancellingTheCallCancelsTheTaskAndWaitsForIt) {
  Conforms("task cleans up@2, moved on, sibling@3",
           [](TaskGroup& group) -> Task<void> {
             group.Start("sibling", SayIn, 3, "sibling");
             const auto slow = [](Ready<void>) -> Task<void> {
               co_await Finally(SleepForever(), SayIn(1, "task cleans up"));
             };
             EXPECT_FALSE((co_await MoveOnAfter(
                               Ticks(1), group.StartAndWait("slow", slow)))
                              .has_value());
             Saw("moved on");
           });
}

TEST(StartAndWait, InACancelledScopeThereIsNoTask) {
  Conforms("moved on", [](TaskGroup& group) -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE((co_await scope.Run(group.StartAndWait("listener", Listen, 0)))
                     .has_value());
    EXPECT_EQ(group.size(), 0u);
    Saw("moved on");
  });
}

// The caller is cancelled, its task says that it is ready and fails: the error
// is not lost to the cancel.
TEST(StartAndWait, AnErrorOfTheTaskOutranksTheCancelOfTheCall) {
  Conforms("call: too late@2", [](TaskGroup& group) -> Task<void> {
    const auto fails_late = [](Ready<int> ready) -> Task<absl::Status> {
      co_return co_await Finally(
          SleepForever(),
          [ready = std::move(ready)]() mutable -> Task<absl::Status> {
            co_await SleepFor(Ticks(1));
            ready.Set(1);
            co_return absl::AbortedError("too late");
          });
    };
    const auto result =
        co_await MoveOnAfter(Ticks(1), group.StartAndWait("late", fails_late));
    Saw("call: " + Text(result->status()));
  });
}

TEST(TaskGroup, TheOrderOfReadyTasksIsOpen) {
  Conforms("[a, b, c], then", [](TaskGroup& group) -> Task<absl::Status> {
    for (const char* name : {"a", "b", "c"})
      group.Start("task", SayIn, 0, name);
    co_await OrReturn(group.Join());
    Saw("then");
    co_return absl::OkStatus();
  });
}

// ------------------------------------------------------------- mistakes

using MistakeDeathTest = testing::Test;

TEST(MistakeDeathTest, AScopeIsUsedOnce) {
  EXPECT_DEATH(Conforms("",
                        []() -> Task<void> {
                          CancelScope scope;
                          (void)co_await scope.Run(SayIn(0, "first"));
                          (void)co_await scope.Run(SayIn(0, "second"));
                        }),
               "scope");
}

TEST(MistakeDeathTest, ATaskThatLocksAMutexTwiceIsToldSo) {
  EXPECT_DEATH(Conforms("",
                        []() -> Task<void> {
                          Mutex mutex;
                          const Mutex::Guard first = co_await mutex.Lock();
                          const Mutex::Guard second = co_await mutex.Lock();
                        }),
               "locks a mutex that it has locked already");
}

TEST(MistakeDeathTest, ADelayThatIsNoNumberIsRefused) {
  EXPECT_DEATH(
      Conforms("",
               []() -> Task<void> {
                 co_await SleepFor(std::chrono::duration<double>(std::nan("")));
               }),
      "NaN");
}

TEST(MistakeDeathTest, ATaskThatWaitsForItselfIsToldSo) {
  EXPECT_DEATH(Conforms("",
                        [](TaskGroup& group) -> Task<void> {
                          std::optional<TaskHandle<void>> self;
                          self = group.Start("self", [&]() -> Task<void> {
                            (void)co_await self->Join();
                          });
                          (void)co_await group.Join();
                        }),
               "waits for its own end");
}

}  // namespace
}  // namespace braid::conformance
