// No operation of this folder allocates: neither one that is ready at once nor
// one that waits. Replaces the global operator new, so nothing else is here.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>

#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "braid/sync/sync.h"
#include "braid/testing/allocations.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

constexpr int kRounds = AllocationMeter::kRounds;  // of each task

TEST(AllocationTest, TheMeterMeasures) {
  EXPECT_NONFATAL_FAILURE(
      {
        AllocationMeter meter;
        for (int i = 0; i < kRounds; ++i) {
          meter.Tick();
          ::operator delete(::operator new(1));
        }
      },
      "at_end_ - at_begin_");
}

TEST(AllocationTest, Mutex) {
  RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
    AllocationMeter meter;
    Mutex mutex;
    for (int task = 0; task < 2; ++task) {
      group.Start("task", [&]() -> Task<void> {
        for (int i = 0; i < kRounds; ++i) {
          Mutex::Guard guard = co_await mutex.Lock();
          co_await Checkpoint();
          meter.Tick();
        }
      });
    }
    co_return co_await group.Join();
  });
}

TEST(AllocationTest, Semaphore) {
  RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
    AllocationMeter meter;
    Semaphore semaphore(2);
    for (int task = 0; task < 3; ++task) {
      group.Start("task", [&]() -> Task<void> {
        for (int i = 0; i < kRounds; ++i) {
          Semaphore::Permit permit = co_await semaphore.Acquire();
          co_await Checkpoint();
          meter.Tick();
        }
      });
    }
    co_return co_await group.Join();
  });
}

TEST(AllocationTest, CapacityLimiter) {
  RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
    AllocationMeter meter;
    CapacityLimiter limiter(2);
    for (int task = 0; task < 3; ++task) {
      group.Start("task", [&]() -> Task<void> {
        for (int i = 0; i < kRounds; ++i) {
          CapacityLimiter::Token token = co_await limiter.Acquire();
          co_await Checkpoint();
          meter.Tick();
        }
      });
    }
    co_return co_await group.Join();
  });
}

TEST(AllocationTest, ConditionAndEvent) {
  RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
    AllocationMeter meter;
    Mutex mutex;
    Condition turned;
    int turn = 0;
    for (int task = 0; task < 2; ++task) {
      group.Start("task", [&, task]() -> Task<void> {
        Mutex::Guard guard = co_await mutex.Lock();
        for (int i = 0; i < kRounds; ++i) {
          while (turn != task) co_await turned.Wait(guard);
          turn = 1 - task;
          turned.Notify();
          Event event;
          event.Set();
          co_await event.Wait();
          meter.Tick();
        }
      });
    }
    co_return co_await group.Join();
  });
}

TEST(AllocationTest, Watch) {
  RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
    AllocationMeter meter;
    Watch<int> watch(0);
    group.Start("reader", [&]() -> Task<void> {
      Watch<int>::Reader reader = watch.Subscribe();
      while (co_await reader.Next()) meter.Tick();
    });
    for (int i = 0; i < kRounds; ++i) {
      watch.Set(i);
      co_await Checkpoint();
    }
    watch.Close();
    co_return co_await group.Join();
  });
}

TEST(AllocationTest, Channel) {
  for (size_t capacity : {0, 1, 64}) {
    SCOPED_TRACE(capacity);
    RunGroupInOrder([capacity](TaskGroup& group) -> Task<absl::Status> {
      AllocationMeter meter;
      auto [sender, receiver] = MakeChannel<std::string>(capacity);
      group.Start("sender", [&]() -> Task<absl::Status> {
        for (int i = 0; i < kRounds; ++i) {
          std::string item = "short";
          co_await OrReturn(sender.Send(std::move(item)));
        }
        co_return absl::OkStatus();
      });
      for (int i = 0; i < kRounds; ++i) {
        co_await OrReturn(receiver.Receive());
        meter.Tick();
      }
      co_return co_await group.Join();
    });
  }
}

}  // namespace
}  // namespace braid
