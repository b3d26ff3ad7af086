// Event, Mutex, Condition, Semaphore, CapacityLimiter, ResourceGuard, Watch.

#include "braid/sync/sync.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "braid/core/core.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// -------------------------------------------------------------------- Event

TEST(Event, WakesAllThatWait) {
  Conforms("set@1, [a, b, c]", [](TaskGroup& group) -> Task<absl::Status> {
    Event event;
    for (const char* name : {"a", "b", "c"}) {
      group.Start("waiter", [&event, name]() -> Task<void> {
        co_await event.Wait();
        Saw(name);
      });
      co_await OthersWait();
    }
    co_await SayIn(1, "set");
    event.Set();
    co_return co_await group.Join();
  });
}

TEST(Event, OnceSetItStaysSet) {
  Conforms("twice", []() -> Task<void> {
    Event event;
    event.Set();
    event.Set();
    co_await event.Wait();
    co_await event.Wait();
    EXPECT_TRUE(event.is_set());
    Saw("twice");
  });
}

TEST(Event, MayGoRightAfterItIsSet) {
  Conforms("gone, waiter", [](TaskGroup& group) -> Task<void> {
    auto event = std::make_unique<Event>();
    group.Start("waiter", [&event]() -> Task<void> {
      co_await event->Wait();
      Saw("waiter");
    });
    co_await OthersWait();
    event->Set();
    event.reset();
    Saw("gone");
    co_await OthersWait();
  });
}

// -------------------------------------------------------------------- Mutex

Task<void> HoldFor(Mutex* mutex, int ticks, std::string name) {
  const Mutex::Guard guard = co_await mutex->Lock();
  Saw(name + " has it");
  co_await SleepFor(Ticks(ticks));
}

// Starts so many tasks, each after the one before it waits.
Task<void> StartInLine(TaskGroup& group, Mutex* mutex,
                       std::initializer_list<const char*> names) {
  for (const char* name : names) {
    group.Start("holder", HoldFor, mutex, 1, name);
    co_await OthersWait();
  }
}

TEST(Mutex, TasksGetItInTheOrderInWhichTheyAsked) {
  Conforms("a has it, b has it@1, c has it@2",
           [](TaskGroup& group) -> Task<absl::Status> {
             Mutex mutex;
             co_await StartInLine(group, &mutex, {"a", "b", "c"});
             co_return co_await group.Join();
           });
}

TEST(Mutex, NobodyTakesItFromTheNextInLine) {
  Conforms("next has it, late has it@1",
           [](TaskGroup& group) -> Task<absl::Status> {
             Mutex mutex;
             {
               const Mutex::Guard guard = co_await mutex.Lock();
               co_await StartInLine(group, &mutex, {"next"});
             }
             EXPECT_FALSE(mutex.TryLock().has_value()) << "it is next's now";
             group.Start("late", HoldFor, &mutex, 1, "late");
             co_return co_await group.Join();
           });
}

TEST(Mutex, ATaskThatIsStoppedLeavesItUnlocked) {
  Conforms("a has it, b has it@1", [](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    auto holder = group.Start("holder", HoldFor, &mutex, 99, "a");
    co_await OthersWait();
    group.Start("holder", HoldFor, &mutex, 0, "b");
    co_await SleepFor(Ticks(1));
    holder.Cancel();
    co_return co_await group.Join();
  });
}

TEST(Mutex, ATaskThatFailsLeavesItUnlocked) {
  Conforms("free@1", []() -> Task<void> {
    Mutex mutex;
    (co_await [](Mutex* its_mutex) -> Task<absl::Status> {
      const Mutex::Guard guard = co_await its_mutex->Lock();
      co_await OrReturn(FailIn(1, "broken"));
      co_return absl::OkStatus();
    }(&mutex))
        .IgnoreError();
    Saw(mutex.locked() ? "locked" : "free");
  });
}

TEST(Mutex, OneThatGivesUpLeavesTheLine) {
  Conforms("a has it, gave up@1, c has it@2",
           [](TaskGroup& group) -> Task<absl::Status> {
             Mutex mutex;
             group.Start("a", HoldFor, &mutex, 2, "a");
             co_await OthersWait();
             group.Start("b", [&mutex]() -> Task<void> {
               (void)co_await MoveOnAfter(Ticks(1), HoldFor(&mutex, 1, "b"));
               Saw("gave up");
             });
             co_await OthersWait();
             group.Start("c", HoldFor, &mutex, 0, "c");
             co_return co_await group.Join();
           });
}

TEST(Mutex, ItIsNeverHandedToATaskThatIsBeingCancelled) {
  Conforms("c has it", [](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Mutex::Guard guard = co_await mutex.Lock();
    auto cancelled = group.Start("b", HoldFor, &mutex, 0, "b");
    co_await OthersWait();
    group.Start("c", HoldFor, &mutex, 0, "c");
    co_await OthersWait();
    cancelled.Cancel();
    guard.Unlock();
    co_return co_await group.Join();
  });
}

TEST(Mutex, TryLockNeverWaits) {
  Conforms("got it, refused, got it", []() -> Task<void> {
    Mutex mutex;
    {
      const auto first = mutex.TryLock();
      Saw(first.has_value() ? "got it" : "refused");
      co_await [](Mutex* its_mutex) -> Task<void> {
        co_await AllOf([its_mutex]() -> Task<void> {
          Saw(its_mutex->TryLock().has_value() ? "got it" : "refused");
          co_return;
        });
      }(&mutex);
    }
    Saw(mutex.TryLock().has_value() ? "got it" : "refused");
  });
}

TEST(Mutex, SaysWhoHasItAndHowManyWait) {
  Conforms(
      "locked by holder: 2 wait", [](TaskGroup& group) -> Task<absl::Status> {
        Mutex mutex;
        Event done;
        auto holder = group.Start("holder", [&]() -> Task<void> {
          const Mutex::Guard guard = co_await mutex.Lock();
          co_await done.Wait();
        });
        co_await OthersWait();
        for (int i = 0; i < 2; ++i) {
          group.Start("waiter",
                      [&]() -> Task<void> { (void)co_await mutex.Lock(); });
        }
        co_await OthersWait();
        const Mutex::Stats stats = mutex.stats();
        Saw(std::string(stats.owner == holder.id() ? "locked by holder" : "?") +
            ": " + std::to_string(stats.tasks_waiting) + " wait");
        done.Set();
        co_return co_await group.Join();
      });
}

// ---------------------------------------------------------------- Condition

// A queue that tasks watch.
struct Queue {
  Mutex mutex;
  Condition changed;
  std::deque<std::string> items;

  Task<void> Put(std::string item) {
    const Mutex::Guard guard = co_await mutex.Lock();
    items.push_back(std::move(item));
    changed.Notify();
  }
  Task<void> Take(std::string name) {
    Mutex::Guard guard = co_await mutex.Lock();
    co_await changed.WaitFor(guard, [this] { return !items.empty(); });
    Saw(name + " took " + items.front());
    items.pop_front();
  }
};

TEST(Condition, WaitGivesTheMutexUpAndTakesItBack) {
  Conforms("unlocked while it waits, locked after@1",
           [](TaskGroup& group) -> Task<absl::Status> {
             Mutex mutex;
             Condition condition;
             group.Start("waiter", [&]() -> Task<void> {
               Mutex::Guard guard = co_await mutex.Lock();
               co_await condition.Wait(guard);
               Saw(mutex.locked() ? "locked after" : "unlocked after");
             });
             co_await OthersWait();
             Saw(mutex.locked() ? "locked" : "unlocked while it waits");
             co_await SleepFor(Ticks(1));
             condition.Notify();
             co_return co_await group.Join();
           });
}

TEST(Condition, NotifiesInTheOrderInWhichTasksCame) {
  Conforms("a took 1@1, b took 2@2",
           [](TaskGroup& group) -> Task<absl::Status> {
             Queue queue;
             for (const char* name : {"a", "b"}) {
               group.Start("taker", &Queue::Take, &queue, name);
               co_await OthersWait();
             }
             for (const char* item : {"1", "2"}) {
               co_await SleepFor(Ticks(1));
               co_await queue.Put(item);
             }
             co_return co_await group.Join();
           });
}

TEST(Condition, ANotificationIsNotKeptForLaterOnes) {
  Conforms("gave up@1", []() -> Task<void> {
    Mutex mutex;
    Condition condition;
    condition.NotifyAll();
    Mutex::Guard guard = co_await mutex.Lock();
    if (!co_await MoveOnAfter(Ticks(1), condition.Wait(guard))) Saw("gave up");
    EXPECT_TRUE(static_cast<bool>(guard)) << "and has the mutex again";
  });
}

TEST(Condition, NotifyAllWakesEverybodyWhoWaits) {
  Conforms("[a, b, c]", [](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition condition;
    for (const char* name : {"a", "b", "c"}) {
      group.Start("waiter", [&, name]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        co_await condition.Wait(guard);
        Saw(name);
      });
    }
    co_await OthersWait();
    condition.NotifyAll();
    co_return co_await group.Join();
  });
}

TEST(Condition, ACancelledWaitTakesTheMutexBackFirst) {
  Conforms(
      "other unlocks@2, stopped with the mutex",
      [](TaskGroup& group) -> Task<absl::Status> {
        Mutex mutex;
        Condition condition;
        auto waiter = group.Start("waiter", [&]() -> Task<void> {
          Mutex::Guard guard = co_await mutex.Lock();
          struct Looks {
            explicit Looks(Mutex::Guard* its_guard) : guard(its_guard) {}
            ~Looks() {
              Saw(*guard ? "stopped with the mutex" : "stopped without it");
            }
            Mutex::Guard* guard;
          } const looks(&guard);
          co_await condition.Wait(guard);
        });
        co_await OthersWait();
        Mutex::Guard guard = co_await mutex.Lock();
        waiter.Cancel();
        co_await SayIn(2, "other unlocks");
        guard.Unlock();
        co_return co_await group.Join();
      });
}

TEST(Condition, ACancelledTaskPassesItsNotificationOn) {
  Conforms("b took 1", [](TaskGroup& group) -> Task<absl::Status> {
    Queue queue;
    auto cancelled = group.Start("a", &Queue::Take, &queue, "a");
    co_await OthersWait();
    group.Start("b", &Queue::Take, &queue, "b");
    co_await OthersWait();
    {
      const Mutex::Guard guard = co_await queue.mutex.Lock();
      queue.items.emplace_back("1");
      queue.changed.Notify();  // a's
      cancelled.Cancel();
    }
    co_return co_await group.Join();
  });
}

TEST(Condition, WaitForDoesNotWaitWhereItHolds) {
  Conforms("holds", []() -> Task<void> {
    Mutex mutex;
    Condition condition;
    Mutex::Guard guard = co_await mutex.Lock();
    co_await condition.WaitFor(guard, [] { return true; });
    Saw("holds");
  });
}

// ---------------------------------------------------------------- Semaphore

TEST(Semaphore, LetsSoManyInAtATime) {
  Conforms("[a, b], [c, d]@1, e@2", [](TaskGroup& group) -> Task<absl::Status> {
    Semaphore semaphore(2);
    for (const char* name : {"a", "b", "c", "d", "e"}) {
      group.Start("task", [&semaphore, name]() -> Task<void> {
        const auto permit = co_await semaphore.Acquire();
        Saw(name);
        co_await SleepFor(Ticks(1));
      });
      co_await OthersWait();
    }
    co_return co_await group.Join();
  });
}

TEST(Semaphore, PermitsGoOutInTheOrderTheyWereAskedFor) {
  Conforms("a@1, b@2, c@3", [](TaskGroup& group) -> Task<absl::Status> {
    Semaphore semaphore(0);
    for (const char* name : {"a", "b", "c"}) {
      group.Start("task", [&semaphore, name]() -> Task<void> {
        (co_await semaphore.Acquire()).Detach();
        Saw(name);
      });
      co_await OthersWait();
    }
    for (int i = 0; i < 3; ++i) {
      co_await SleepFor(Ticks(1));
      semaphore.Release();
    }
    co_return co_await group.Join();
  });
}

TEST(Semaphore, AStoppedTaskGivesItsPermitBack) {
  Conforms("1 free@1", []() -> Task<void> {
    Semaphore semaphore(1);
    (void)co_await MoveOnAfter(Ticks(1), [&]() -> Task<void> {
      const auto permit = co_await semaphore.Acquire();
      co_await SleepForever();
    });
    Saw(std::to_string(semaphore.value()) + " free");
  });
}

TEST(Semaphore, ACancelledWaitUsesNothingUp) {
  Conforms("gave up@1, 1 free", []() -> Task<void> {
    Semaphore semaphore(0);
    if (!(co_await MoveOnAfter(Ticks(1), semaphore.Acquire())).has_value())
      Saw("gave up");
    semaphore.Release();
    Saw(std::to_string(semaphore.value()) + " free");
  });
}

TEST(Semaphore, APermitGoesPastATaskThatIsBeingCancelled) {
  Conforms("b", [](TaskGroup& group) -> Task<absl::Status> {
    Semaphore semaphore(0);
    const auto take = [&](const char* name) -> Task<void> {
      (co_await semaphore.Acquire()).Detach();
      Saw(name);
    };
    auto cancelled = group.Start("task", take, "a");
    co_await OthersWait();
    group.Start("task", take, "b");
    co_await OthersWait();
    cancelled.Cancel();
    semaphore.Release();
    co_return co_await group.Join();
  });
}

TEST(Semaphore, ADetachedPermitDoesNotComeBack) {
  Conforms("0 free, 1 free", []() -> Task<void> {
    Semaphore semaphore(1);
    (co_await semaphore.Acquire()).Detach();
    Saw(std::to_string(semaphore.value()) + " free");
    semaphore.Release();
    Saw(std::to_string(semaphore.value()) + " free");
  });
}

// ---------------------------------------------------------- CapacityLimiter

TEST(CapacityLimiter, RaisingTheTotalLetsWaitersIn) {
  Conforms("[a, b]@1", [](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(0);
    for (const char* name : {"a", "b"}) {
      group.Start("task", [&limiter, name]() -> Task<void> {
        const auto token = co_await limiter.Acquire();
        Saw(name);
      });
    }
    co_await SleepFor(Ticks(1));
    limiter.SetTotal(2);
    co_return co_await group.Join();
  });
}

TEST(CapacityLimiter, LoweringItTakesNoneAway) {
  Conforms("available -1, refused, available 0", []() -> Task<void> {
    CapacityLimiter limiter(2);
    int one = 0;
    int two = 0;
    auto first = co_await limiter.AcquireOnBehalfOf(&one);
    {
      const auto second = co_await limiter.AcquireOnBehalfOf(&two);
      limiter.SetTotal(1);
      Saw("available " + std::to_string(limiter.available()));
      if (!limiter.TryAcquire().has_value()) Saw("refused");
    }
    Saw("available " + std::to_string(limiter.available()));
  });
}

TEST(CapacityLimiter, ATokenIsReservedForTheNextInLine) {
  Conforms("refused, waiter", [](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(1);
    int object = 0;
    auto token = co_await limiter.AcquireOnBehalfOf(&object);
    group.Start("waiter", [&]() -> Task<void> {
      const auto its_token = co_await limiter.Acquire();
      Saw("waiter");
    });
    co_await OthersWait();
    token.Release();
    if (!limiter.TryAcquire().has_value()) Saw("refused");
    co_return co_await group.Join();
  });
}

TEST(CapacityLimiter, WithoutALimitEverybodyGetsIn) {
  Conforms("100 borrowed", [](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(CapacityLimiter::kUnlimited);
    Event done;
    for (int i = 0; i < 100; ++i) {
      group.Start("task", [&]() -> Task<void> {
        const auto token = co_await limiter.Acquire();
        co_await done.Wait();
      });
    }
    co_await OthersWait();
    Saw(std::to_string(limiter.borrowed()) + " borrowed");
    done.Set();
    co_return co_await group.Join();
  });
}

TEST(CapacityLimiter, AStoppedBorrowerGivesItsTokenBack) {
  Conforms("0 borrowed@1", []() -> Task<void> {
    CapacityLimiter limiter(1);
    (void)co_await MoveOnAfter(Ticks(1), [&]() -> Task<void> {
      const auto token = co_await limiter.Acquire();
      co_await SleepForever();
    });
    Saw(std::to_string(limiter.borrowed()) + " borrowed");
  });
}

// ------------------------------------------------------------ ResourceGuard

TEST(ResourceGuard, TheSecondUserIsToldThatItIsBusy) {
  Conforms("another task is already sending", []() -> Task<absl::Status> {
    ResourceGuard resource("sending");
    const auto use = co_await OrReturn(resource.Enter());
    const absl::Status second = resource.Enter().status();
    EXPECT_TRUE(IsBusy(second)) << second;
    Saw(Text(second).substr(0, Text(second).find("sending") + 7));
    co_return absl::OkStatus();
  });
}

TEST(ResourceGuard, AStoppedUseEnds) {
  Conforms("free@1", []() -> Task<void> {
    ResourceGuard resource;
    (void)co_await MoveOnAfter(Ticks(1), [&]() -> Task<absl::Status> {
      const auto use = co_await OrReturn(resource.Enter());
      co_await SleepForever();
      co_return absl::OkStatus();
    });
    Saw(resource.in_use() ? "in use" : "free");
  });
}

// -------------------------------------------------------------------- Watch

TEST(Watch, AReaderGetsTheLatestValueAndSkipsOlderOnes) {
  Conforms("0, 3, end", []() -> Task<void> {
    Watch<int> watch(0);
    auto reader = watch.Subscribe();
    Saw(std::to_string(*co_await reader.Next()));
    for (int i = 1; i <= 3; ++i) watch.Set(i);
    Saw(std::to_string(*co_await reader.Next()));
    watch.Close();
    Saw((co_await reader.Next()).has_value() ? "more" : "end");
  });
}

TEST(Watch, EveryReaderGetsAValue) {
  Conforms("[a 1, b 1]@1", [](TaskGroup& group) -> Task<absl::Status> {
    Watch<int> watch(0);
    for (const char* name : {"a", "b"}) {
      group.Start("reader", [&watch, name]() -> Task<void> {
        auto reader = watch.Subscribe();
        (void)co_await reader.Next();
        Saw(std::string(name) + " " + std::to_string(*co_await reader.Next()));
      });
    }
    co_await SleepFor(Ticks(1));
    watch.Set(1);
    co_return co_await group.Join();
  });
}

TEST(Watch, AnEqualValueIsANewOne) {
  Conforms("0, 0", []() -> Task<void> {
    Watch<int> watch(0);
    auto reader = watch.Subscribe();
    Saw(std::to_string(*co_await reader.Next()));
    watch.Set(0);
    Saw(std::to_string(*co_await reader.Next()));
  });
}

TEST(Watch, AStoppedWaitHasSeenNothing) {
  Conforms("gave up@1, 1", []() -> Task<void> {
    Watch<int> watch(0);
    auto reader = watch.Subscribe();
    (void)co_await reader.Next();
    if (!(co_await MoveOnAfter(Ticks(1), reader.Next())).has_value())
      Saw("gave up");
    watch.Set(1);
    Saw(std::to_string(**co_await MoveOnAfter(1s, reader.Next())));
  });
}

TEST(Watch, TheLastValueIsSeenBeforeTheEnd) {
  Conforms("9, end", []() -> Task<void> {
    Watch<int> watch(0);
    auto reader = watch.Subscribe();
    (void)co_await reader.Next();
    watch.Set(9);
    watch.Close();
    Saw(std::to_string(*co_await reader.Next()));
    Saw((co_await reader.Next()).has_value() ? "more" : "end");
  });
}

TEST(Watch, ReadersMayOutliveIt) {
  Conforms("5, end", []() -> Task<void> {
    auto watch = std::make_unique<Watch<int>>(5);
    auto reader = watch->Subscribe();
    watch.reset();
    Saw(std::to_string(*co_await reader.Next()));
    Saw((co_await reader.Next()).has_value() ? "more" : "end");
  });
}

TEST(Watch, WaitForSkipsValuesThatWillNotDo) {
  Conforms("3@3", [](TaskGroup& group) -> Task<absl::Status> {
    Watch<int> watch(0);
    group.Start("reader", [&]() -> Task<void> {
      auto reader = watch.Subscribe();
      Saw(std::to_string(
          *co_await reader.WaitFor([](int value) { return value >= 3; })));
    });
    for (int i = 1; i <= 4; ++i) {
      co_await SleepFor(Ticks(1));
      watch.Set(i);
    }
    co_return co_await group.Join();
  });
}

}  // namespace
}  // namespace braid::conformance
