// Clean-up that may wait, graceful stops, and calls that resume nothing inline.

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <string>

#include "braid/core/core.h"
#include "braid/sync/sync.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// ---------------------------------------------------------- 10. Finally

template <typename T>
std::string Name(const Outcome<T>& outcome) {
  return outcome.ok()                     ? "ok"
         : outcome.stopped()              ? "stopped"
         : outcome.exception() != nullptr ? "threw"
                                          : Text(outcome.status());
}

// A clean-up that takes a tick and says what it was told.
auto Tells() {
  return [](const auto& outcome) -> Task<void> {
    co_await SleepFor(Ticks(1));
    Saw("clean-up: " + Name(outcome));
  };
}

TEST(Finally, RunsAfterABodyThatCompleted) {
  Conforms("clean-up: ok@2, 7", []() -> Task<void> {
    const int value = co_await Finally(GiveIn(1, 7), Tells());
    Saw(std::to_string(value));
  });
}

TEST(Finally, RunsAfterABodyThatFailed) {
  Conforms("clean-up: broken@2, broken", []() -> Task<void> {
    Saw(Text(co_await Finally(FailIn(1, "broken"), Tells())));
  });
}

TEST(Finally, RunsAfterABodyThatThrew) {
  Conforms("clean-up: threw@2, caught: thrown", []() -> Task<void> {
    try {
      co_await Finally(ThrowIn(1, "thrown"), Tells());
    } catch (const std::exception& e) {
      Saw(std::string("caught: ") + e.what());
    }
  });
}

TEST(Finally, RunsAfterABodyThatWasStoppedAndTheStopGoesOn) {
  Conforms("clean-up: stopped@2, not resumed, moved on", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1), []() -> Task<void> {
      const SaysAtItsEnd end("not resumed");
      co_await Finally(SleepForever(), Tells());
      Saw("resumed");
    });
    Saw("moved on");
  });
}

TEST(Finally, RunsEvenIfItsBodyWasStoppedBeforeItDidAnything) {
  Conforms("clean-up: stopped@1", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run(Finally(SleepForever(), Tells()));
  });
}

TEST(Finally, TheBodysFramesAreGoneBeforeTheCleanUp) {
  Conforms("body's local@1, clean-up: stopped@2", []() -> Task<void> {
    (void)co_await MoveOnAfter(Ticks(1),
                               Finally(
                                   []() -> Task<void> {
                                     const SaysAtItsEnd local("body's local");
                                     co_await SleepForever();
                                   },
                                   Tells()));
  });
}

TEST(Finally, TheCleanUpIsShielded) {
  Conforms("clean-up: stopped@3, moved on", []() -> Task<void> {
    // The limit outside passes again and again, in vain.
    (void)co_await MoveOnAfter(Ticks(1), [] {
      return Finally(SleepForever(),
                     [](const Outcome<void>& outcome) -> Task<void> {
                       for (int i = 0; i < 2; ++i) co_await SleepFor(Ticks(1));
                       Saw("clean-up: " + Name(outcome));
                     });
    });
    Saw("moved on");
  });
}

TEST(Finally, ACleanUpsErrorIsTheResultOfABodyThatWasOk) {
  Conforms("at the end@1", []() -> Task<void> {
    Saw(Text(
        (co_await Finally(GiveIn(0, 7), FailIn(1, "at the end"))).status()));
  });
}

TEST(Finally, ACleanUpsErrorStandsBehindTheBodys) {
  Conforms("broken (at the end)@1", []() -> Task<void> {
    Saw(AllOfText(
        co_await Finally(FailIn(0, "broken"), FailIn(1, "at the end"))));
  });
}

TEST(Finally, ACleanUpsErrorIsTheResultOfABodyThatWasStopped) {
  Conforms("at the end@2, caught: yes", []() -> Task<void> {
    CancelScope scope(Now() + Ticks(1));
    const auto result =
        co_await scope.Run(Finally(SleepForever(), FailIn(1, "at the end")));
    Saw(Text(*result));
    Saw(scope.caught() ? "caught: yes" : "caught: no");
  });
}

TEST(Finally, PastItsLimitTheCleanUpIsStopped) {
  Conforms("clean-up stopped@2, DEADLINE_EXCEEDED", []() -> Task<void> {
    const absl::Status status = co_await Finally(
        SleepFor(0s),
        []() -> Task<absl::Status> {
          co_await WaitForever("clean-up");
          co_return absl::OkStatus();
        },
        Ticks(2));
    Saw(absl::StatusCodeToString(status.code()));
  });
}

TEST(Finally, NestedCleanUpsRunInsideOut) {
  Conforms("inner@2, outer@3", []() -> Task<void> {
    (void)co_await MoveOnAfter(
        Ticks(1),
        Finally(Finally(SleepForever(), SayIn(1, "inner")), SayIn(1, "outer")));
  });
}

TEST(Finally, ACleanUpMayHoldAWholeGroup) {
  Conforms("[one, two]@2, moved on", []() -> Task<void> {
    (void)co_await MoveOnAfter(
        Ticks(1), Finally(SleepForever(), []() -> Task<absl::Status> {
          co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
            group.Start("one", SayIn, 1, "one");
            group.Start("two", SayIn, 1, "two");
            co_return;
          });
        }));
    Saw("moved on");
  });
}

TEST(Finally, ALimitInACleanUpWorks) {
  Conforms("gave up@2", []() -> Task<void> {
    (void)co_await MoveOnAfter(
        Ticks(1), Finally(SleepForever(), []() -> Task<void> {
          if (!co_await MoveOnAfter(Ticks(1), SleepForever())) Saw("gave up");
        }));
  });
}

TEST(Finally, AGroupWaitsForItsTasksCleanUps) {
  Conforms("clean-up@2, group", []() -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("task", []() -> Task<void> {
        co_await Finally(SleepForever(), SayIn(1, "clean-up"));
      });
      co_await SleepFor(Ticks(1));
      group.Cancel();
    })).IgnoreError();
    Saw("group");
  });
}

// ------------------------------------------------------ 11. graceful stop

Task<void> Server(std::string name, int ticks) {
  co_await StopRequested();
  Saw(name + " hears");
  co_await SayIn(ticks, name + " finished");
}

TEST(StopRequest, IsHeardAndStopsNobody) {
  Conforms("asked@1, server hears, server finished@2",
           [](TaskGroup& group) -> Task<void> {
             group.Start("server", Server, "server", 1);
             co_await SayIn(1, "asked");
             group.RequestStop();
           });
}

TEST(StopRequest, ReachesBodiesTasksAndNestedGroups) {
  Conforms("[task hears, nested hears, leg hears]@1",
           [](TaskGroup& group) -> Task<void> {
             const auto hears = [](std::string name) -> Task<void> {
               co_await StopRequested();
               Saw(name + " hears");
             };
             group.Start("task", hears, "task");
             group.Start("nested", [hears]() -> Task<absl::Status> {
               co_return co_await WithTaskGroup(
                   [hears](TaskGroup& inner) -> Task<void> {
                     inner.Start("nested", hears, "nested");
                     co_return;
                   });
             });
             group.Start("legs", [hears]() -> Task<void> {
               co_await AllOf(hears("leg"), SleepFor(Ticks(1)));
             });
             co_await SleepFor(Ticks(1));
             group.RequestStop();
           });
}

TEST(StopRequest, DoesNotReachOutwards) {
  Conforms("inner hears, outer: not asked", []() -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& inner) -> Task<void> {
      inner.RequestStop();
      co_await StopRequested();
      Saw("inner hears");
    })).IgnoreError();
    Saw(IsStopRequested() ? "outer: asked" : "outer: not asked");
  });
}

TEST(StopRequest, OnceMadeItStands) {
  Conforms("late hears", [](TaskGroup& group) -> Task<void> {
    group.RequestStop();
    group.RequestStop();
    group.Start("late", []() -> Task<void> {
      EXPECT_TRUE(IsStopRequested());
      co_await StopRequested();
      Saw("late hears");
    });
    co_return;
  });
}

TEST(StopRequest, ShieldsDoNotHideIt) {
  Conforms("hears@1", [](TaskGroup& group) -> Task<void> {
    group.Start("shielded", []() -> Task<void> {
      co_await Shield(StopRequested());
      Saw("hears");
    });
    co_await SleepFor(Ticks(1));
    group.RequestStop();
  });
}

TEST(StopRequest, ACancelIsNone) {
  Conforms("stopped, asked: no", [](TaskGroup& group) -> Task<void> {
    CancelScope scope;
    group.Start("canceller", [&]() -> Task<void> {
      scope.Cancel();
      co_return;
    });
    (void)co_await scope.Run([]() -> Task<void> {
      const SaysAtItsEnd end("stopped");
      co_await StopRequested();
      Saw("heard");
    });
    Saw(IsStopRequested() ? "asked: yes" : "asked: no");
  });
}

TEST(StopRequest, AServingLoopTakesNoMoreAndItsWorkEnds) {
  Conforms("took 1, took 2@1, no more@2, worked 1@3, worked 2@4",
           [](TaskGroup& group) -> Task<absl::Status> {
             auto [sender, receiver] = MakeChannel<int>(8);
             group.Start("loop", [&]() -> Task<absl::Status> {
               for (;;) {
                 auto [item, stopping] =
                     co_await AnyOf(receiver.Receive(), StopRequested());
                 if (stopping) break;
                 const int number = *co_await OrReturn(*std::move(item));
                 Saw("took " + std::to_string(number));
                 group.Start("work", SayIn, 3,
                             "worked " + std::to_string(number));
               }
               Saw("no more");
               co_return absl::OkStatus();
             });
             co_await OrReturn(sender.Send(1));
             co_await SleepFor(Ticks(1));
             co_await OrReturn(sender.Send(2));
             co_await SleepFor(Ticks(1));
             group.RequestStop();
             co_return co_await group.Join();
           });
}

// ------------------------------------- 12. nothing resumes inline

// Starts a task that waits as `wait` does, and says when it goes on; calls
// `wake`, and says that it has returned.
template <typename Wait, typename Wake>
Task<void> SayBothSides(TaskGroup& group, Wait wait, Wake wake) {
  group.Start("waiter", [wait]() -> Task<void> {
    co_await wait();
    Saw("waiter goes on");
  });
  co_await OthersWait();
  wake();
  Saw("the call returned");
  (co_await group.Join()).IgnoreError();
}

constexpr char kReturnsFirst[] = "the call returned, waiter goes on";

TEST(NothingResumesInline, EventSet) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    Event event;
    co_await SayBothSides(
        group, [&]() -> Task<void> { co_await event.Wait(); },
        [&] { event.Set(); });
  });
}

TEST(NothingResumesInline, MutexUnlock) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    Mutex mutex;
    Mutex::Guard guard = co_await mutex.Lock();
    co_await SayBothSides(
        group, [&]() -> Task<void> { (void)co_await mutex.Lock(); },
        [&] { guard.Unlock(); });
  });
}

TEST(NothingResumesInline, SemaphoreRelease) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    Semaphore semaphore(0);
    co_await SayBothSides(
        group, [&]() -> Task<void> { (void)co_await semaphore.Acquire(); },
        [&] { semaphore.Release(); });
  });
}

TEST(NothingResumesInline, LimiterSetTotal) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    CapacityLimiter limiter(0);
    co_await SayBothSides(
        group, [&]() -> Task<void> { (void)co_await limiter.Acquire(); },
        [&] { limiter.SetTotal(1); });
  });
}

TEST(NothingResumesInline, ConditionNotify) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    Mutex mutex;
    Condition condition;
    co_await SayBothSides(
        group,
        [&]() -> Task<void> {
          Mutex::Guard guard = co_await mutex.Lock();
          co_await condition.Wait(guard);
        },
        [&] { condition.Notify(); });
  });
}

TEST(NothingResumesInline, WatchSet) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    Watch<int> watch(0);
    auto reader = watch.Subscribe();
    (void)co_await reader.Next();
    co_await SayBothSides(
        group, [&]() -> Task<void> { (void)co_await reader.Next(); },
        [&] { watch.Set(1); });
  });
}

TEST(NothingResumesInline, ChannelTrySend) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    auto channel = MakeChannel<int>(0);
    co_await SayBothSides(
        group,
        [&]() -> Task<void> { (void)co_await channel.receiver.Receive(); },
        [&] { EXPECT_TRUE(channel.sender.TrySend(1).ok()); });
  });
}

TEST(NothingResumesInline, ChannelTryReceive) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    auto channel = MakeChannel<int>(0);
    co_await SayBothSides(
        group, [&]() -> Task<void> { (void)co_await channel.sender.Send(1); },
        [&] { EXPECT_TRUE(channel.receiver.TryReceive().ok()); });
  });
}

TEST(NothingResumesInline, ChannelClose) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    auto channel = MakeChannel<int>(0);
    co_await SayBothSides(
        group,
        [&]() -> Task<void> { (void)co_await channel.receiver.Receive(); },
        [&] { channel.sender.Close(); });
  });
}

TEST(NothingResumesInline, RequestStop) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    co_await SayBothSides(
        group, []() -> Task<void> { co_await StopRequested(); },
        [&] { group.RequestStop(); });
  });
}

TEST(NothingResumesInline, ScopeCancel) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    CancelScope scope;
    co_await SayBothSides(
        group,
        [&]() -> Task<void> { (void)co_await scope.Run(SleepForever()); },
        [&] { scope.Cancel(); });
  });
}

TEST(NothingResumesInline, ScopeSetDeadline) {
  Conforms(kReturnsFirst, [](TaskGroup& group) -> Task<void> {
    CancelScope scope;
    co_await SayBothSides(
        group,
        [&]() -> Task<void> { (void)co_await scope.Run(SleepForever()); },
        [&] { scope.SetDeadline(Now()); });
  });
}

TEST(NothingResumesInline, HandleCancel) {
  Conforms("the call returned, task stopped",
           [](TaskGroup& group) -> Task<void> {
             auto task = group.Start("task", WaitForever, "task");
             co_await OthersWait();
             task.Cancel();
             Saw("the call returned");
           });
}

TEST(NothingResumesInline, ReadySet) {
  Conforms("the call returned, starter goes on",
           [](TaskGroup& group) -> Task<absl::Status> {
             const auto task = [](Ready<void> ready) -> Task<void> {
               ready.Set();
               Saw("the call returned");
               co_return;
             };
             co_await OrReturn(group.StartAndWait("task", task));
             Saw("starter goes on");
             co_return absl::OkStatus();
           });
}

}  // namespace
}  // namespace braid::conformance
