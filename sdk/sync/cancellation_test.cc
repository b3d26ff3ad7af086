// Every awaitable of this folder under cancellation at each of the points where
// such code goes wrong: before the start, while it waits, between completion
// and resumption, twice, in clean-up, as a leg of a combinator, and while a
// cancellation too large for one go is on its way to it.
//
// A *case* is one awaitable: Wait() awaits it once and counts in `completed`,
// Release() lets exactly one Wait() complete, a waiting or a later one (if it
// is for_all(), all of them). Whatever was cancelled in between, what was
// released is there for somebody else.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "braid/sync/sync.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

class Case {
 public:
  virtual ~Case() = default;

  virtual Task<void> Wait() = 0;
  virtual void Release() = 0;
  virtual size_t waiting() const = 0;
  // Whether one Release() is for all that wait, now and later.
  virtual bool for_all() const { return false; }

  int completed = 0;
};

class EventWait final : public Case {
 public:
  explicit EventWait(TaskGroup&) {}
  Task<void> Wait() override {
    co_await event_.Wait();
    ++completed;
  }
  void Release() override { event_.Set(); }
  size_t waiting() const override { return event_.stats().tasks_waiting; }
  bool for_all() const override { return true; }

 private:
  Event event_;
};

class MutexLock final : public Case {
 public:
  explicit MutexLock(TaskGroup&) : held_(mutex_.TryLock()) {}
  // What a Wait() takes, a Release() gives back.
  Task<void> Wait() override {
    Mutex::Guard guard = co_await mutex_.Lock();
    ++completed;
    held_ = std::move(guard);
  }
  void Release() override { held_.reset(); }
  size_t waiting() const override { return mutex_.stats().tasks_waiting; }

 private:
  Mutex mutex_;
  std::optional<Mutex::Guard> held_;
};

class SemaphoreAcquire final : public Case {
 public:
  explicit SemaphoreAcquire(TaskGroup&) {}
  Task<void> Wait() override {
    (co_await semaphore_.Acquire()).Detach();
    ++completed;
  }
  void Release() override { semaphore_.Release(); }
  size_t waiting() const override { return semaphore_.stats().tasks_waiting; }

 private:
  Semaphore semaphore_{0};
};

class LimiterAcquire final : public Case {
 public:
  explicit LimiterAcquire(TaskGroup&) {}
  Task<void> Wait() override {
    CapacityLimiter::Token token = co_await limiter_.Acquire();
    ++completed;
    tokens_.push_back(std::move(token));
  }
  void Release() override { limiter_.SetTotal(limiter_.total() + 1); }
  size_t waiting() const override { return limiter_.stats().tasks_waiting; }

 private:
  CapacityLimiter limiter_{0};
  std::vector<CapacityLimiter::Token> tokens_;
};

class ConditionWait final : public Case {
 public:
  explicit ConditionWait(TaskGroup&) {}
  Task<void> Wait() override {
    Mutex::Guard guard = co_await mutex_.Lock();
    co_await condition_.WaitFor(guard, [&] { return released_ > 0; });
    --released_;
    ++completed;
  }
  void Release() override {
    ++released_;
    condition_.Notify();
  }
  size_t waiting() const override {
    return condition_.stats().tasks_waiting + condition_.stats().tasks_locking;
  }

 private:
  Mutex mutex_;
  Condition condition_;
  int released_ = 0;
};

class WatchNext final : public Case {
 public:
  explicit WatchNext(TaskGroup&) {}
  Task<void> Wait() override {
    Watch<int>::Reader reader = watch_.Subscribe();
    if (reader.Get() == 0) {
      EXPECT_EQ(co_await reader.Next(), 0);
    }
    EXPECT_EQ(co_await reader.Next(), 1);
    ++completed;
  }
  void Release() override { watch_.Set(1); }
  size_t waiting() const override { return watch_.stats().tasks_waiting; }
  bool for_all() const override { return true; }

 private:
  Watch<int> watch_{0};
};

// An item that is moved only when it is sent, so that the test sees it if one
// is lost.
std::string SomeItem() {
  return "an item that is too long to be stored in the object";
}

template <size_t kCapacity>
class ChannelSend final : public Case {
 public:
  explicit ChannelSend(TaskGroup& group) : group_(group) {
    for (size_t i = 0; i < kCapacity; ++i) {
      EXPECT_TRUE(channel_.sender.TrySend(SomeItem()).ok());
    }
  }
  Task<void> Wait() override {
    std::string item = SomeItem();
    bool sent = false;
    struct Check {
      ~Check() { EXPECT_EQ(*item, *sent ? std::string() : SomeItem()); }
      const std::string* item;
      const bool* sent;
    } check{&item, &sent};
    const absl::Status status = co_await channel_.sender.Send(std::move(item));
    EXPECT_TRUE(status.ok()) << status;
    sent = true;
    ++completed;
  }
  void Release() override {
    if (channel_.receiver.TryReceive().ok()) return;
    // Nobody sends: whoever will, finds a receiver that waits.
    group_.Start("receiver", [this]() -> Task<absl::Status> {
      const absl::StatusOr<std::optional<std::string>> item =
          co_await channel_.receiver.Receive();
      co_return item.status();
    });
  }
  size_t waiting() const override {
    return channel_.sender.stats().tasks_waiting_to_send;
  }

 private:
  TaskGroup& group_;
  Channel<std::string> channel_ = MakeChannel<std::string>(kCapacity);
};

template <size_t kCapacity>
class ChannelReceive final : public Case {
 public:
  explicit ChannelReceive(TaskGroup& group) : group_(group) {}
  Task<void> Wait() override {
    EXPECT_EQ(*co_await channel_.receiver.Receive(), SomeItem());
    ++completed;
  }
  void Release() override {
    if (channel_.sender.TrySend(SomeItem()).ok()) return;
    // Nobody receives: whoever will, finds a sender that waits.
    group_.Start("sender", [this]() -> Task<absl::Status> {
      co_return co_await channel_.sender.Send(SomeItem());
    });
  }
  size_t waiting() const override {
    return channel_.receiver.stats().tasks_waiting_to_receive;
  }

 private:
  TaskGroup& group_;
  Channel<std::string> channel_ = MakeChannel<std::string>(kCapacity);
};

using MakeCase = std::unique_ptr<Case> (*)(TaskGroup& group);

template <typename T>
std::unique_ptr<Case> Make(TaskGroup& group) {
  return std::make_unique<T>(group);
}

struct Param {
  const char* name;
  MakeCase make;
};

class CancellationTest : public testing::TestWithParam<Param> {
 protected:
  // Runs `body(group, it)` with a new case in many orders.
  template <typename Body>
  void ForTheCase(Body body) {
    RunGroupInManyOrders([&](TaskGroup& group) -> Task<absl::Status> {
      const std::unique_ptr<Case> it = GetParam().make(group);
      co_return co_await body(group, *it);
    });
  }
};

INSTANTIATE_TEST_SUITE_P(
    Sync, CancellationTest,
    testing::Values(Param{"Event", Make<EventWait>},
                    Param{"Mutex", Make<MutexLock>},
                    Param{"Semaphore", Make<SemaphoreAcquire>},
                    Param{"CapacityLimiter", Make<LimiterAcquire>},
                    Param{"Condition", Make<ConditionWait>},
                    Param{"Watch", Make<WatchNext>},
                    Param{"SendRendezvous", Make<ChannelSend<0>>},
                    Param{"SendBuffered", Make<ChannelSend<2>>},
                    Param{"ReceiveRendezvous", Make<ChannelReceive<0>>},
                    Param{"ReceiveBuffered", Make<ChannelReceive<2>>}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(CancellationTest, BeforeStart) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    it.Release();
    co_await OthersWait();
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(co_await scope.Run(it.Wait()));
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(it.completed, 0);
    co_await it.Wait();  // what was released is still there
    EXPECT_EQ(it.completed, 1);
    co_return co_await group.Join();
  });
}

TEST_P(CancellationTest, WhileWaiting) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    auto first = group.Start("first", &Case::Wait, &it);
    co_await OthersWait();
    auto second = group.Start("second", &Case::Wait, &it);
    co_await OthersWait();
    EXPECT_EQ(it.waiting(), 2u);
    first.Cancel();
    EXPECT_EQ(it.waiting(), 1u) << "it leaves the line at once";
    it.Release();
    co_await OthersWait();
    EXPECT_TRUE((co_await first.Join()).stopped());
    EXPECT_TRUE((co_await second.Join()).ok());
    EXPECT_EQ(it.completed, 1);
    co_return co_await group.Join();
  });
}

// In the middle and at the end of the line, too.
TEST_P(CancellationTest, AnywhereInTheLine) {
  for (int gone = 0; gone < 4; ++gone) {
    ForTheCase([gone](TaskGroup& group, Case& it) -> Task<absl::Status> {
      std::vector<TaskHandle<void>> tasks;
      for (int i = 0; i < 4; ++i) {
        tasks.push_back(group.Start("task", &Case::Wait, &it));
        co_await OthersWait();
      }
      tasks[gone].Cancel();
      for (int i = 0; i < 3; ++i) {
        it.Release();
        co_await OthersWait();
        if (!it.for_all()) {
          EXPECT_EQ(it.completed, i + 1);
        }
      }
      EXPECT_EQ(it.completed, 3);
      EXPECT_TRUE(tasks[gone].done());
      co_return co_await group.Join();
    });
  }
}

TEST_P(CancellationTest, AfterCompletionBeforeResumption) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    auto task = group.Start("task", &Case::Wait, &it);
    co_await OthersWait();
    it.Release();
    task.Cancel();  // too late: the operation has happened
    co_await OthersWait();
    EXPECT_EQ(it.completed, 1);
    EXPECT_TRUE((co_await task.Join()).ok());
    EXPECT_EQ(it.waiting(), 0u);
    co_return co_await group.Join();
  });
}

TEST_P(CancellationTest, Twice) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    CancelScope outer;
    CancelScope inner;
    auto task = group.Start("task", [&]() -> Task<void> {
      co_await outer.Run(
          [&]() -> Task<void> { co_await inner.Run(it.Wait()); });
    });
    co_await OthersWait();
    inner.Cancel();
    inner.Cancel();
    outer.Cancel();
    task.Cancel();
    EXPECT_EQ(it.waiting(), 0u);
    it.Release();
    co_await it.Wait();
    EXPECT_EQ(it.completed, 1);
    // And twice after completion.
    it.completed = 0;
    auto late = group.Start("late", &Case::Wait, &it);
    co_await OthersWait();
    if (!it.for_all()) it.Release();
    late.Cancel();
    late.Cancel();
    co_await OthersWait();
    EXPECT_EQ(it.completed, 1);
    co_return co_await group.Join();
  });
}

TEST_P(CancellationTest, InCleanUp) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    auto task = group.Start("task", [&]() -> Task<void> {
      co_await Finally([]() -> Task<void> { co_await SleepForever(); },
                       [&](const Outcome<void>& outcome) -> Task<void> {
                         EXPECT_TRUE(outcome.stopped());
                         co_await it.Wait();
                       });
    });
    co_await OthersWait();
    task.Cancel();
    co_await OthersWait();
    EXPECT_EQ(it.waiting(), 1u) << "clean-up is shielded, and waits";
    it.Release();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_EQ(it.completed, 1);
    co_return co_await group.Join();
  });
}

// The clean-up itself hits its limit: cancelled inside the shield.
TEST_P(CancellationTest, InCleanUpThatTakesTooLong) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    auto task = group.Start("task", [&]() -> Task<void> {
      co_await Finally([]() -> Task<void> { co_await SleepForever(); },
                       [&]() -> Task<void> { co_await it.Wait(); }, 1s);
    });
    co_await OthersWait();
    task.Cancel();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_EQ(it.waiting(), 0u);
    EXPECT_EQ(it.completed, 0);
    it.Release();
    co_await it.Wait();
    co_return co_await group.Join();
  });
}

// Two of one event and one of the other: whichever comes first, what was
// released is either with the leg or still there.
TEST_P(CancellationTest, AsALegOfACombinator) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    auto [waited, slept] = co_await AnyOf(it.Wait(), SleepFor(1s));
    EXPECT_FALSE(waited);
    EXPECT_TRUE(slept);
    EXPECT_EQ(it.waiting(), 0u);
    group.Start("releaser", [&]() -> Task<void> {
      co_await SleepFor(1s);
      it.Release();
    });
    auto [waited_again, slept_again] = co_await AnyOf(it.Wait(), SleepFor(1s));
    EXPECT_TRUE(waited_again || slept_again);
    EXPECT_EQ(waited_again, it.completed == 1);
    co_await OthersWait();
    if (!waited_again) co_await it.Wait();
    EXPECT_EQ(it.completed, 1);
    co_return co_await group.Join();
  });
}

// More tasks than one cancellation marks in one go: some still stand in line,
// with a pending cancellation, when something is released. It must go past them
// to the one task that goes on.
TEST_P(CancellationTest, NothingGoesToATaskThatIsBeingCancelled) {
  ForTheCase([](TaskGroup& group, Case& it) -> Task<absl::Status> {
    constexpr int kTasks = 3 * detail::Loop::kCancelChunk;
    CancelScope scope;
    group.Start("crowd", [&]() -> Task<void> {
      co_await scope.Run([&]() -> Task<absl::Status> {
        co_return co_await WithTaskGroup(
            [&](TaskGroup& crowd) -> Task<absl::Status> {
              for (int i = 0; i < kTasks; ++i) {
                crowd.Start("one of many", &Case::Wait, &it);
              }
              co_return co_await crowd.Join();
            });
      });
    });
    co_await OthersWait();
    EXPECT_EQ(it.waiting(), static_cast<size_t>(kTasks));
    auto survivor = group.Start("survivor", &Case::Wait, &it);
    co_await OthersWait();
    scope.Cancel();
    EXPECT_GT(it.waiting(), 1u) << "or this test tests nothing";
    EXPECT_EQ(it.completed, 0);
    it.Release();
    EXPECT_TRUE((co_await survivor.Join()).ok());
    if (!it.for_all()) {
      EXPECT_EQ(it.completed, 1);
    }
    co_return co_await group.Join();
  });
}

}  // namespace
}  // namespace braid
