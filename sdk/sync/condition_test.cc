#include "braid/sync/condition.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/mutex.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(ConditionTest, WaitGivesTheMutexUpAndTakesItBack) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    bool woken = false;
    group.Start("waiter", [&]() -> Task<void> {
      Mutex::Guard guard = co_await mutex.Lock();
      co_await changed.Wait(guard);
      EXPECT_TRUE(guard);
      EXPECT_TRUE(mutex.locked());
      woken = true;
    });
    co_await OthersWait();
    EXPECT_EQ(changed.stats().tasks_waiting, 1u);
    EXPECT_FALSE(mutex.locked());
    Mutex::Guard guard = co_await mutex.Lock();
    changed.Notify();
    EXPECT_EQ(changed.stats().tasks_waiting, 0u);
    EXPECT_EQ(changed.stats().tasks_locking, 1u);
    co_await SleepFor(1s);
    EXPECT_FALSE(woken) << "the mutex is still ours";
    guard.Unlock();
    EXPECT_EQ(changed.stats().tasks_locking, 0u);
    co_await OrReturn(group.Join());
    EXPECT_TRUE(woken);
    EXPECT_FALSE(mutex.locked());
    co_return absl::OkStatus();
  });
}

TEST(ConditionTest, NotifiesInTheOrderInWhichTasksCame) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    std::vector<int> order;
    for (int i = 0; i < 5; ++i) {
      group.Start("waiter", [&, i]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        co_await changed.Wait(guard);
        order.push_back(i);
      });
      co_await OthersWait();
    }
    changed.Notify();
    co_await OthersWait();
    EXPECT_EQ(order, (std::vector{0}));
    changed.Notify(2);
    co_await OthersWait();
    EXPECT_EQ(order, (std::vector{0, 1, 2}));
    changed.NotifyAll();
    co_await OrReturn(group.Join());
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
    co_return absl::OkStatus();
  });
}

TEST(ConditionTest, ANotificationIsNotKept) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    changed.NotifyAll();
    Mutex::Guard guard = co_await mutex.Lock();
    EXPECT_FALSE(co_await MoveOnAfter(1s, changed.Wait(guard)));
    co_return absl::OkStatus();
  });
}

TEST(ConditionTest, WaitForLooksWithTheMutexLocked) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    int value = 0;
    group.Start("counter", [&]() -> Task<void> {
      for (int i = 0; i < 10; ++i) {
        co_await SleepFor(1s);
        Mutex::Guard guard = co_await mutex.Lock();
        ++value;
        changed.NotifyAll();
      }
    });
    Mutex::Guard guard = co_await mutex.Lock();
    int looks = 0;
    co_await changed.WaitFor(guard, [&] {
      EXPECT_TRUE(guard);
      ++looks;
      return value >= 3;
    });
    EXPECT_EQ(value, 3);
    EXPECT_EQ(looks, 4);
    // Holds already: doesn't wait.
    const Time before = Now();
    co_await changed.WaitFor(guard, [&] { return value >= 3; });
    EXPECT_EQ(Now(), before);
    guard.Unlock();
    co_return co_await group.Join();
  });
}

// A stopped wait destroys the task's locals, and what protects them must be
// locked by then, however long others hold it.
TEST(ConditionTest, ACancelledWaitTakesTheMutexBackFirst) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    bool seen_locked = false;
    struct Looks {
      ~Looks() { *seen = static_cast<bool>(*guard); }
      Mutex::Guard* guard;
      bool* seen;
    };
    auto waiter = group.Start("waiter", [&]() -> Task<void> {
      Mutex::Guard guard = co_await mutex.Lock();
      Looks looks{&guard, &seen_locked};
      co_await changed.Wait(guard);
    });
    co_await OthersWait();
    Mutex::Guard guard = co_await mutex.Lock();
    waiter.Cancel();
    EXPECT_EQ(changed.stats().tasks_waiting, 0u);
    EXPECT_EQ(changed.stats().tasks_locking, 1u);
    co_await SleepFor(1s);
    EXPECT_FALSE(waiter.done());
    guard.Unlock();
    co_await OthersWait();
    EXPECT_TRUE(waiter.done());
    EXPECT_TRUE(seen_locked);
    EXPECT_FALSE(mutex.locked());
    co_return absl::OkStatus();
  });
}

TEST(ConditionTest, TheGuardHoldsTheMutexAfterATimeout) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    group.Start("busy", [&]() -> Task<void> {
      co_await SleepFor(500ms);
      Mutex::Guard guard = co_await mutex.Lock();
      co_await SleepFor(1s);
    });
    const Time start = Now();
    Mutex::Guard guard = co_await mutex.Lock();
    EXPECT_FALSE(co_await MoveOnAfter(1s, changed.Wait(guard)));
    EXPECT_TRUE(guard);
    EXPECT_EQ(Now() - start, 1500ms);
    co_return co_await group.Join();
  });
}

// A shield that is set and cleared again while a cancelled wait still stands in
// line for the mutex cancels it a second time.
TEST(ConditionTest, AWaitMayBeCancelledTwiceWhileItTakesTheMutexBack) {
  for (const bool notified : {false, true}) {
    RunGroupInManyOrders([notified](TaskGroup& group) -> Task<absl::Status> {
      Mutex mutex;
      Condition changed;
      CancelScope scope;
      int woken = 0;
      auto waiter = group.Start("waiter", [&]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        co_await scope.Run(changed.Wait(guard));
        ++woken;
      });
      co_await OthersWait();
      auto next = group.Start("next", [&]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        co_await changed.Wait(guard);
        ++woken;
      });
      co_await OthersWait();
      Mutex::Guard guard = co_await mutex.Lock();
      if (notified) changed.Notify();
      waiter.Cancel();
      scope.SetShield(true);
      scope.SetShield(false);
      scope.Cancel();
      guard.Unlock();
      EXPECT_TRUE((co_await waiter.Join()).stopped());
      co_await OthersWait();
      EXPECT_EQ(woken, notified ? 1 : 0);
      EXPECT_EQ(next.done(), notified);
      next.Cancel();
      co_return co_await group.Join();
    });
  }
}

TEST(ConditionTest, ACancelledTaskPassesItsNotificationOn) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    std::vector<int> woken;
    std::vector<TaskHandle<void>> waiters;
    for (int i = 0; i < 3; ++i) {
      waiters.push_back(group.Start("waiter", [&, i]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        co_await changed.Wait(guard);
        woken.push_back(i);
      }));
      co_await OthersWait();
    }
    Mutex::Guard guard = co_await mutex.Lock();
    changed.Notify();
    // Notified, but it doesn't have the mutex yet.
    waiters[0].Cancel();
    EXPECT_EQ(changed.stats().tasks_waiting, 1u);
    EXPECT_EQ(changed.stats().tasks_locking, 2u);
    guard.Unlock();
    co_await OthersWait();
    EXPECT_TRUE(waiters[0].done());
    EXPECT_EQ(woken, (std::vector{1}));
    waiters[2].Cancel();
    co_return co_await group.Join();
  });
}

TEST(ConditionTest, ATaskThatHasTheMutexBackKeepsItsNotification) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    std::vector<int> woken;
    std::vector<TaskHandle<void>> waiters;
    for (int i = 0; i < 2; ++i) {
      waiters.push_back(group.Start("waiter", [&, i]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        co_await changed.Wait(guard);
        woken.push_back(i);
      }));
      co_await OthersWait();
    }
    changed.Notify();  // the mutex is free: the wait has happened
    waiters[0].Cancel();
    co_await OthersWait();
    EXPECT_EQ(woken, (std::vector{0}));
    EXPECT_FALSE(waiters[1].done());
    waiters[1].Cancel();
    co_return co_await group.Join();
  });
}

// A cancellation too large for one go is on its way to a task that waits; the
// mutex is free, so a notification would be all that it needs.
TEST(ConditionTest, NotifiesPastTasksThatAreBeingCancelled) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    Mutex mutex;
    Condition changed;
    int woken = 0;
    auto wait = [&]() -> Task<void> {
      Mutex::Guard guard = co_await mutex.Lock();
      co_await changed.Wait(guard);
      ++woken;
    };
    CancelScope scope;
    group.Start("crowd", [&]() -> Task<void> {
      co_await scope.Run(
          WithTaskGroup([&](TaskGroup& crowd) -> Task<absl::Status> {
            for (size_t i = 0; i < 3 * detail::Loop::kCancelChunk; ++i) {
              crowd.Start("sleeper",
                          []() -> Task<void> { co_await SleepForever(); });
            }
            co_await OthersWait();
            crowd.Start("waiter", wait);
            co_return co_await crowd.Join();
          }));
    });
    co_await SleepFor(1s);
    auto survivor = group.Start("survivor", wait);
    co_await OthersWait();
    EXPECT_EQ(changed.stats().tasks_waiting, 2u);
    scope.Cancel();
    EXPECT_EQ(changed.stats().tasks_waiting, 2u) << "not there yet";
    changed.Notify();
    EXPECT_TRUE((co_await survivor.Join()).ok());
    co_await OrReturn(group.Join());
    EXPECT_EQ(woken, 1);
    co_return absl::OkStatus();
  });
}

// A bounded queue, as people write it; tasks are cancelled at random points.
// Were a notification lost with a cancelled task, the others would wait for
// ever, and virtual time reports that.
TEST(ConditionTest, NothingHangsWhenTasksAreCancelledAtRandom) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    RunGroupInOrder(
        [seed](TaskGroup& group) -> Task<absl::Status> {
          std::mt19937_64 random(seed);
          Mutex mutex;
          Condition not_empty;
          Condition not_full;
          std::deque<int> queue;
          int put = 0;
          int got = 0;
          auto producer = [&]() -> Task<void> {
            for (;;) {
              Mutex::Guard guard = co_await mutex.Lock();
              co_await not_full.WaitFor(guard,
                                        [&] { return queue.size() < 2; });
              queue.push_back(put++);
              not_empty.Notify();
              guard.Unlock();
              if (random() % 4 == 0) co_await SleepFor(1ms);
            }
          };
          auto consumer = [&]() -> Task<void> {
            for (;;) {
              Mutex::Guard guard = co_await mutex.Lock();
              co_await not_empty.WaitFor(guard, [&] { return !queue.empty(); });
              EXPECT_EQ(queue.front(), got++);
              queue.pop_front();
              not_full.Notify();
              if (random() % 4 == 0) co_await SleepFor(1ms);
            }
          };
          // One of each stays, and must get along.
          auto last_producer = group.Start("producer", producer);
          auto last_consumer = group.Start("consumer", consumer);
          std::vector<TaskHandle<void>> others;
          others.reserve(10);
          for (int i = 0; i < 10; ++i) {
            others.push_back(i % 2 == 0 ? group.Start("producer", producer)
                                        : group.Start("consumer", consumer));
          }
          for (TaskHandle<void>& other : others) {
            for (uint64_t i = random() % 20; i > 0; --i) {
              if (random() % 2 == 0) {
                co_await Checkpoint();
              } else {
                co_await SleepFor(1ms);
              }
            }
            other.Cancel();
          }
          const int before = got;
          co_await SleepFor(1s);
          EXPECT_GT(got, before + 100);
          last_producer.Cancel();
          last_consumer.Cancel();
          co_return co_await group.Join();
        },
        {.shuffle_seed = seed});
  }
}

TEST(ConditionDeathTest, WaitNeedsTheMutex) {
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 Condition changed;
                 Mutex::Guard guard;
                 co_await changed.Wait(guard);
                 co_return absl::OkStatus();
               }),
               "without holding the mutex");
}

TEST(ConditionDeathTest, OneMutexForEachCondition) {
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
                 Condition changed;
                 Mutex one;
                 Mutex two;
                 for (Mutex* mutex : {&one, &two}) {
                   group.Start("waiter", [&, mutex]() -> Task<void> {
                     Mutex::Guard guard = co_await mutex->Lock();
                     co_await changed.Wait(guard);
                   });
                 }
                 co_return co_await group.Join();
               }),
               "with different mutexes");
}

TEST(ConditionDeathTest, OutlivesItsWaiters) {
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
                 auto changed = std::make_unique<Condition>();
                 Mutex mutex;
                 group.Start("waiter", [&]() -> Task<void> {
                   Mutex::Guard guard = co_await mutex.Lock();
                   co_await changed->Wait(guard);
                 });
                 co_await OthersWait();
                 Mutex::Guard guard = co_await mutex.Lock();
                 changed->NotifyAll();  // they still wait for the mutex
                 changed.reset();
                 co_return absl::OkStatus();
               }),
               "destroyed while tasks wait");
}

}  // namespace
}  // namespace braid
