// The machine: one loop and its order, time, what is observable, what tasks
// inherit.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "braid/core/core.h"
#include "braid/core/loop_local.h"
#include "braid/sync/sync.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// ------------------------------------------------- 13. one loop, one thread

TEST(Loop, BetweenTwoAwaitsATaskHasItToItself) {
  Conforms("count 300", [](TaskGroup& group) -> Task<absl::Status> {
    int count = 0;
    for (int i = 0; i < 3; ++i) {
      group.Start("counter", [&]() -> Task<void> {
        for (int n = 0; n < 100; ++n) {
          const int read = count;
          count = read + 1;  // no await in between: nobody else was here
          co_await Checkpoint();
        }
      });
    }
    co_await OrReturn(group.Join());
    Saw("count " + std::to_string(count));
    co_return absl::OkStatus();
  });
}

// ------------------------------------------------------------ 14. operations

TEST(Operation, ADescriptionDoesNothingUntilItIsAwaited) {
  Conforms("free, locked", []() -> Task<void> {
    Mutex mutex;
    auto lock = mutex.Lock();
    Saw(mutex.locked() ? "locked" : "free");
    const Mutex::Guard guard = co_await std::move(lock);
    Saw(mutex.locked() ? "locked" : "free");
  });
}

TEST(Operation, OneThatIsDroppedUnawaitedNeverHappened) {
  Conforms("the item is still there", []() -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(1);
    co_await OrReturn(sender.Send(1));
    {
      [[maybe_unused]] auto dropped = receiver.Receive();
    }
    if (co_await OrReturn(receiver.TryReceive()) == 1)
      Saw("the item is still there");
    co_return absl::OkStatus();
  });
}

// ---------------------------------------------------------------- 16. fair

TEST(Fairness, ATaskThatNeverWaitsDoesNotHoldUpTime) {
  Conforms("", [](TaskGroup& group) -> Task<void> {
    bool fired = false;
    group.Start("timer", [&]() -> Task<void> {
      co_await SleepFor(1us);
      fired = true;
    });
    // Not for ever: it fails then. (The spin takes time in a simulation too.)
    for (int i = 0; i < 10'000'000 && !fired; ++i) co_await Checkpoint();
    EXPECT_TRUE(fired);
  });
}

TEST(Fairness, EveryReadyTaskHasItsTurnBeforeAnyHasItsNext) {
  Conforms("every round was fair", [](TaskGroup& group) -> Task<absl::Status> {
    std::vector<int> rounds(5);
    bool fair = true;
    for (size_t i = 0; i < rounds.size(); ++i) {
      group.Start("task", [&, i]() -> Task<void> {
        for (int round = 0; round < 20; ++round) {
          ++rounds[i];
          for (const int other : rounds) fair = fair && rounds[i] - other <= 1;
          co_await Checkpoint();
        }
      });
    }
    co_await OrReturn(group.Join());
    Saw(fair ? "every round was fair" : "some were not");
    co_return absl::OkStatus();
  });
}

// ---------------------------------------------------------------- 17. time

TEST(Time, TimersFireInTheOrderOfTheirDeadlines) {
  Conforms("1@1, 2@2, 3@3, 4@4", [](TaskGroup& group) -> Task<void> {
    for (const int at : {3, 1, 4, 2})
      group.Start("sleeper", SayIn, at, std::to_string(at));
    co_return;
  });
}

TEST(Time, ARelativeDelayBeginsAtTheAwait) {
  Conforms("late@4", []() -> Task<void> {
    auto sleep = SleepFor(Ticks(2));
    co_await SleepFor(Ticks(2));
    co_await std::move(sleep);
    Saw("late");
  });
}

TEST(Time, AnAbsoluteDeadlineDoesNotDrift) {
  Conforms("1@1, 2@2, 3@3", []() -> Task<void> {
    const Time start = Now();
    for (int i = 1; i <= 3; ++i) {
      co_await SleepUntil(start + Ticks(i));
      EXPECT_GE(Now(), start + Ticks(i));
      Saw(std::to_string(i));
    }
  });
}

TEST(Time, ItNeverGoesBackwards) {
  Conforms("", []() -> Task<void> {
    Time before = Now();
    for (int i = 0; i < 100; ++i) {
      co_await Checkpoint();
      const Time now = Now();
      EXPECT_GE(now, before);
      before = now;
    }
  });
}

TEST(Time, ASleepOfZeroOrLessIsACheckpoint) {
  Conforms("other, zero, other, negative, other, past",
           [](TaskGroup& group) -> Task<void> {
             const auto others_first = [&group]() -> Task<void> {
               group.Start("other", SayIn, -1, "other");
               co_await OthersWait();
             };
             co_await others_first();
             co_await SleepFor(0s);
             Saw("zero");
             co_await others_first();
             co_await SleepFor(-1h);
             Saw("negative");
             co_await others_first();
             co_await SleepUntil(Now() - 1s);
             Saw("past");
           });
}

TEST(Time, ASleepOfZeroLooksForCancellation) {
  Conforms("stopped", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run([]() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      co_await SleepFor(0s);
      Saw("not reached");
    });
  });
}

TEST(Time, ASleepForeverEndsOnlyByCancellation) {
  Conforms("forever stopped@2, until never stopped@3, infinite stopped@4",
           []() -> Task<void> {
             (void)co_await MoveOnAfter(Ticks(2), WaitForever("forever"));
             (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
               const SaysAtItsEnd end("until never stopped");
               co_await SleepUntil(kNever);
             });
             (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
               const SaysAtItsEnd end("infinite stopped");
               co_await SleepFor(absl::InfiniteDuration());
             });
           });
}

TEST(Time, TakesTheDurationsOfTheStandardAndOfAbseil) {
  Conforms("chrono@1, absl@2, seconds as double@3", []() -> Task<void> {
    co_await SleepFor(Ticks(1));
    Saw("chrono");
    co_await SleepFor(absl::FromChrono(Ticks(1)));
    Saw("absl");
    // Not below a tick where a double can't say it exactly.
    co_await SleepFor(std::chrono::duration<double>(Ticks(1)));
    Saw("seconds as double");
  });
}

TEST(Time, ManySleepsOfOneInstantEndTogether) {
  Conforms("1000 at once@1", [](TaskGroup& group) -> Task<absl::Status> {
    const Time at = Now() + Ticks(1);
    int awake = 0;
    for (int i = 0; i < 1000; ++i) {
      group.Start("sleeper", [&awake, at]() -> Task<void> {
        co_await SleepUntil(at);
        ++awake;
      });
    }
    co_await OrReturn(group.Join());
    Saw(std::to_string(awake) + " at once");
    co_return absl::OkStatus();
  });
}

TEST(Time, CancelledSleepsLeaveNoTimers) {
  Conforms("100 timers, 0 timers", []() -> Task<absl::Status> {
    const auto timers = [] { return detail::Loop::Current().stats().timers; };
    co_await OthersWait();
    const uint64_t before = timers();
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 100; ++i)
        group.Start("sleeper", []() -> Task<void> { co_await SleepFor(1h); });
      co_await OthersWait();
      Saw(std::to_string(timers() - before) + " timers");
      group.Cancel();
    }));
    Saw(std::to_string(timers() - before) + " timers");
    co_return absl::OkStatus();
  });
}

TEST(Time, ATimerThatIsSetWhileOthersFireIsNotMissed) {
  Conforms("a@1, b@2, c@3", [](TaskGroup& group) -> Task<void> {
    group.Start("a", [&group]() -> Task<void> {
      co_await SayIn(1, "a");
      group.Start("c", SayIn, 2, "c");
      group.Start("b", SayIn, 1, "b");
    });
    co_return;
  });
}

// -------------------------------------------------------- 19. observability

TEST(TaskTree, NamesTasksTheirParentsAndStates) {
  Conforms(
      "outer: waiting; inner: waiting; of outer: yes",
      [](TaskGroup& group) -> Task<void> {
        group.Start("outer", []() -> Task<absl::Status> {
          co_return co_await WithTaskGroup([](TaskGroup& inner) -> Task<void> {
            inner.Start("inner",
                        []() -> Task<void> { co_await SleepForever(); });
            co_return;
          });
        });
        co_await OthersWait();
        std::string text;
        uint64_t outer = 0;
        for (const TaskInfo& task : LiveTasks()) {
          if (task.name != "outer" && task.name != "inner") continue;
          text += task.name + (task.state == TaskInfo::State::kWaiting
                                   ? ": waiting; "
                                   : ": ?; ");
          if (task.name == "outer") {
            outer = task.id;
          } else {
            text += std::string("of outer: ") +
                    (task.parent_id == outer ? "yes" : "no");
          }
        }
        Saw(text);
        group.Cancel();
      });
}

TEST(TaskTree, SaysWhereATaskWaitsAndSinceWhen) {
  Conforms(
      "machine_test.cc since 1 tick@1", [](TaskGroup& group) -> Task<void> {
        group.Start("sleeper", []() -> Task<void> { co_await SleepForever(); });
        co_await SleepFor(Ticks(1));
        for (const TaskInfo& task : LiveTasks()) {
          if (task.name != "sleeper") continue;
          const std::string file = task.awaits.front().location.file_name();
          EXPECT_GE(task.age, Ticks(1) - 1ms) << "as of the turn's begin";
          Saw(file.substr(file.rfind('/') + 1) + " since " +
              (task.age >= Ticks(1) / 2 ? "1 tick" : "less"));
        }
        group.Cancel();
      });
}

TEST(TaskTree, SaysWhoCancelledATaskAndWhy) {
  Conforms("worker cancelled by boss: enough",
           [](TaskGroup& group) -> Task<void> {
             CancelScope scope;
             // It has been cancelled, and goes on to its next checkpoint.
             const auto worker = [&scope]() -> Task<void> {
               (void)co_await scope.Run([]() -> Task<void> {
                 co_await Shield(SleepFor(Ticks(0)));
                 for (const TaskInfo& task : LiveTasks()) {
                   if (!task.cancelled.has_value()) continue;
                   Saw(task.name + " cancelled by " + task.cancelled->task +
                       ": " + task.cancelled->reason);
                 }
               });
             };
             group.Start("boss", [&]() -> Task<void> {
               scope.Cancel("enough");
               group.Start("worker", worker);
               co_return;
             });
             co_await OthersWait();
             co_await OthersWait();
           });
}

TEST(CancelCause, OfADeadlineNamesNoTask) {
  Conforms("deadline; task ''@1", []() -> Task<void> {
    CancelScope scope(Now() + Ticks(1));
    (void)co_await scope.Run(SleepForever());
    const CancelCause cause = scope.cause().value();
    Saw(std::string(cause.source == CancelCause::Source::kDeadline ? "deadline"
                                                                   : "?") +
        "; task '" + cause.task + "'");
  });
}

TEST(CancelCause, OfASiblingsFailureTellsTheError) {
  Conforms("child failed; the error is named@1", []() -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("failing", FailIn, 1, "broken");
      group.Start("sibling", []() -> Task<void> {
        co_await Shield([]() -> Task<void> {
          co_await SleepFor(Ticks(1));
          co_await OthersWait();
        });
        const CancelCause cause = CancelReason().value_or(CancelCause());
        Saw(std::string(cause.source == CancelCause::Source::kChildFailed
                            ? "child failed"
                            : "?") +
            (cause.reason.find("broken") != std::string::npos
                 ? "; the error is named"
                 : "; no error is named"));
      });
      co_return;
    })).IgnoreError();
  });
}

TEST(CancelCause, OfALegThatCompletedFirst) {
  // A tick later: of two sleeps of one length, either may end first.
  Conforms("leg completed@2", []() -> Task<void> {
    (void)co_await AnyOf(SleepFor(Ticks(1)), []() -> Task<void> {
      co_await Shield([]() -> Task<void> { co_await SleepFor(Ticks(2)); });
      if (CancelReason().value_or(CancelCause()).source ==
          CancelCause::Source::kLegCompleted)
        Saw("leg completed");
    });
  });
}

TEST(Loop, CountsTasksThatWereStartedAndAreAlive) {
  Conforms("3 started, 3 alive, 0 alive", [](TaskGroup&) -> Task<absl::Status> {
    const auto stats = [] { return detail::Loop::Current().stats(); };
    const LoopStats before = stats();
    co_await OrReturn(WithTaskGroup([&](TaskGroup& inner) -> Task<void> {
      for (int i = 0; i < 3; ++i) inner.Start("task", GiveIn, 0, i);
      Saw(std::to_string(stats().tasks_started - before.tasks_started) +
          " started");
      Saw(std::to_string(stats().tasks_alive - before.tasks_alive) + " alive");
      co_return;
    }));
    Saw(std::to_string(stats().tasks_alive - before.tasks_alive) + " alive");
    co_return absl::OkStatus();
  });
}

// ------------------------------------------------- 15. context of a task

constexpr TaskLocal<std::string> kUser;

std::string User() {
  const std::string* user = kUser.Get();
  return user == nullptr ? "nobody" : *user;
}

TEST(TaskLocal, IsSeenInsideAndNowhereElse) {
  Conforms("nobody, ann, nobody", []() -> Task<void> {
    const auto say = []() -> Task<void> {
      Saw(User());
      co_return;
    };
    Saw(User());
    co_await kUser.With("ann", say());
    Saw(User());
  });
}

TEST(TaskLocal, IsInheritedByTasksAtTheirStart) {
  Conforms("ann, bob, ann", []() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [](TaskGroup& group) -> Task<absl::Status> {
          const auto say = []() -> Task<void> {
            Saw(User());
            co_return;
          };
          for (const char* user : {"ann", "bob", "ann"}) {
            co_await kUser.With(user, [&]() -> Task<void> {
              group.Start("task", say);
              co_return;
            });
            co_await OthersWait();
          }
          co_return absl::OkStatus();
        });
  });
}

TEST(TaskLocal, ATasksOwnChangesDoNotFlowBack) {
  Conforms("bob, ann", [](TaskGroup& group) -> Task<void> {
    co_await kUser.With("ann", [&]() -> Task<void> {
      auto task = group.Start("task", []() -> Task<void> {
        co_await kUser.With("bob", []() -> Task<void> {
          Saw(User());
          co_return;
        });
      });
      (void)co_await task.Join();
      Saw(User());
    });
  });
}

TEST(TaskLocal, AStopPutsTheOldValueBack) {
  Conforms("ann@1", []() -> Task<void> {
    co_await kUser.With("ann", []() -> Task<void> {
      (void)co_await MoveOnAfter(Ticks(1), kUser.With("bob", SleepForever()));
      Saw(User());
    });
  });
}

struct Counter {
  ~Counter() { EXPECT_EQ(count, 2); }
  int count = 0;
};
constexpr LoopLocal<Counter> kCounter;

TEST(LoopLocal, IsOneForEachRun) {
  Conforms("1, 2", []() -> Task<void> {
    for (int i = 0; i < 2; ++i) Saw(std::to_string(++kCounter.Get().count));
    co_return;
  });
}

}  // namespace
}  // namespace braid::conformance
