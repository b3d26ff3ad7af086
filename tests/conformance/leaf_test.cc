// Leaf operations, all of them, under the rules that hold for each: look for
// cancellation, then try; completed means it happened, stopped means it did
// not, and what was not taken is there for the next one.

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/os/signals.h"
#include "braid/sync/sync.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/network.h"

namespace braid::conformance {
namespace {

// A thing that can be waited for.
class Leaf {
 public:
  virtual ~Leaf() = default;
  virtual Task<absl::Status> Open(TaskGroup&) { co_return absl::OkStatus(); }
  // Awaits the operation once.
  virtual Task<absl::Status> Wait() = 0;
  // Lets one Wait complete, one that waits or a later one.
  virtual Task<absl::Status> Release() = 0;
};

// Leaves whose release is a plain call, and whose wait can't fail.
class SyncLeaf : public Leaf {
 public:
  Task<absl::Status> Wait() final {
    co_await Await();
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() final {
    Let();
    co_return absl::OkStatus();
  }

 private:
  virtual Task<void> Await() = 0;
  virtual void Let() = 0;
};

class EventWait final : public SyncLeaf {
  Task<void> Await() override { co_await event_.Wait(); }
  void Let() override { event_.Set(); }
  Event event_;
};

class MutexLock final : public Leaf {
  Task<absl::Status> Open(TaskGroup& group) override {
    group.Start("holder", [this]() -> Task<void> {
      const Mutex::Guard guard = co_await mutex_.Lock();
      co_await unlock_.Wait();
    });
    co_await OthersWait();
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    const Mutex::Guard guard = co_await mutex_.Lock();
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    unlock_.Set();
    co_return absl::OkStatus();
  }
  Mutex mutex_;
  Event unlock_;
};

class SemaphoreAcquire final : public SyncLeaf {
  Task<void> Await() override { (co_await semaphore_.Acquire()).Detach(); }
  void Let() override { semaphore_.Release(); }
  Semaphore semaphore_{0};
};

class LimiterAcquire final : public SyncLeaf {
  Task<void> Await() override { (void)co_await limiter_.Acquire(); }
  void Let() override { limiter_.SetTotal(1); }
  CapacityLimiter limiter_{0};
};

class ConditionWait final : public SyncLeaf {
  Task<void> Await() override {
    Mutex::Guard guard = co_await mutex_.Lock();
    co_await condition_.WaitFor(guard, [this] { return there_ > 0; });
    --there_;
  }
  void Let() override {
    ++there_;
    condition_.Notify();
  }
  Mutex mutex_;
  Condition condition_;
  int there_ = 0;
};

class WatchNext final : public SyncLeaf {
 public:
  WatchNext() { EXPECT_TRUE(reader_.changed()); }

 private:
  Task<void> Await() override {
    do {
      co_await reader_.Next();
    } while (reader_.Get() == 0);
  }
  void Let() override { watch_.Set(++value_); }
  Watch<int> watch_{0};
  Watch<int>::Reader reader_ = watch_.Subscribe();
  int value_ = 0;
};

class ChannelReceive final : public SyncLeaf {
  Task<void> Await() override {
    EXPECT_TRUE((co_await channel_.receiver.Receive()).ok());
  }
  void Let() override { EXPECT_TRUE(channel_.sender.TrySend(1).ok()); }
  Channel<int> channel_ = MakeChannel<int>(4);
};

class ChannelSend final : public SyncLeaf {
 public:
  ChannelSend() { EXPECT_TRUE(channel_.sender.TrySend(0).ok()); }

 private:
  Task<void> Await() override {
    EXPECT_TRUE((co_await channel_.sender.Send(1)).ok());
  }
  void Let() override { EXPECT_TRUE(channel_.receiver.TryReceive().ok()); }
  Channel<int> channel_ = MakeChannel<int>(1);
};

class StopRequestWait final : public Leaf {
  Task<absl::Status> Open(TaskGroup& group) override {
    group_ = &group;
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    co_await StopRequested();
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    group_->RequestStop();
    co_return absl::OkStatus();
  }
  TaskGroup* group_ = nullptr;
};

class HandleJoin final : public Leaf {
  Task<absl::Status> Open(TaskGroup& group) override {
    task_ =
        group.Start("joined", [this]() -> Task<void> { co_await end_.Wait(); });
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    (void)co_await task_->Join();
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    end_.Set();
    co_return absl::OkStatus();
  }
  Event end_;
  std::optional<TaskHandle<void>> task_;
};

class UdpLeaf : public Leaf {
 public:
  Task<absl::Status> Open(TaskGroup&) final {
    sender_ = co_await OrReturn(UdpSocket::Bind(kLoopback));
    receiver_ = co_await OrReturn(UdpSocket::Bind(kLoopback));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() final {
    co_return co_await sender_->SendTo("x", receiver_->local_address());
  }

 protected:
  std::optional<UdpSocket> sender_;
  std::optional<UdpSocket> receiver_;
};

class UdpReceive final : public UdpLeaf {
  Task<absl::Status> Wait() override {
    co_await OrReturn(receiver_->Receive(buffer_));
    co_return absl::OkStatus();
  }
  std::array<char, 8> buffer_;
};

class UdpReceiveBatch final : public UdpLeaf {
  Task<absl::Status> Wait() override {
    co_await OrReturn(receiver_->ReceiveBatch());
    co_return absl::OkStatus();
  }
};

class TcpLeaf : public Leaf {
 public:
  Task<absl::Status> Open(TaskGroup&) override {
    ends_ = co_await OrReturn(ConnectedTcp());
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    co_return co_await ends_->client.Send("x");
  }

 protected:
  std::optional<TcpEnds> ends_;
};

class TcpReceive final : public TcpLeaf {
  Task<absl::Status> Wait() override {
    co_await OrReturn(ends_->server.Receive(buffer_));
    co_return absl::OkStatus();
  }
  std::array<char, 1> buffer_;
};

class TcpReceiveChunk final : public TcpLeaf {
  Task<absl::Status> Wait() override {
    co_await OrReturn(ends_->server.ReceiveChunk());
    co_return absl::OkStatus();
  }
};

class TcpAccept final : public Leaf {
  Task<absl::Status> Open(TaskGroup&) override {
    listener_ = co_await OrReturn(TcpListener::Bind(kLoopback));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    co_await OrReturn(listener_->Accept());
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    client_ = co_await OrReturn(TcpStream::Connect(listener_->local_address()));
    co_return absl::OkStatus();
  }
  std::optional<TcpListener> listener_;
  std::optional<TcpStream> client_;
};

class SignalNext final : public Leaf {
  Task<absl::Status> Open(TaskGroup&) override {
    signals_ = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    co_await OrReturn(signals_->Next());
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    if (SimHost* host = SimHost::CurrentOrNull()) {
      host->Signal(SIGUSR1);
      co_await SleepFor(Duration());  // it comes after this turn
    } else {
      raise(SIGUSR1);
    }
    co_return absl::OkStatus();
  }
  std::optional<SignalStream> signals_;
};

struct Row {
  const char* name;
  std::unique_ptr<Leaf> (*make)();
};
void PrintTo(const Row& row, std::ostream* stream) { *stream << row.name; }
template <typename L>
Row RowOf(const char* name) {
  return {name,
          []() -> std::unique_ptr<Leaf> { return std::make_unique<L>(); }};
}

class LeafOperation : public testing::TestWithParam<Row> {
 protected:
  using Script = Task<absl::Status> (*)(TaskGroup&, Leaf&);

  // Runs the script on a leaf that is open, and waits for nothing yet.
  static void EachConforms(const char* expected, Script script) {
    Conforms(
        expected,
        [](Row row, Script its_script) -> Task<absl::Status> {
          const std::unique_ptr<Leaf> leaf = row.make();
          co_return co_await WithTaskGroup(
              [&](TaskGroup& group) -> Task<absl::Status> {
                co_await OrReturn(leaf->Open(group));
                co_await OrReturn(its_script(group, *leaf));
                co_return co_await group.Join();
              });
        },
        GetParam(), script);
  }
};

// What a leaf that has not lost or doubled its one release does.
Task<absl::Status> SayWaited(Leaf& leaf, const char* what) {
  co_await OrReturn(leaf.Wait());
  Saw(what);
  co_return absl::OkStatus();
}

TEST_P(LeafOperation, WaitsUntilItIsReleased) {
  EachConforms("released@1, completed",
               [](TaskGroup& group, Leaf& leaf) -> Task<absl::Status> {
                 group.Start("waiter", SayWaited, std::ref(leaf), "completed");
                 co_await SayIn(1, "released");
                 co_return co_await leaf.Release();
               });
}

TEST_P(LeafOperation, ReleasedBeforehandItCompletes) {
  EachConforms("completed", [](TaskGroup&, Leaf& leaf) -> Task<absl::Status> {
    co_await OrReturn(leaf.Release());
    co_return co_await SayWaited(leaf, "completed");
  });
}

TEST_P(LeafOperation, InACancelledScopeItDoesNotHappen) {
  EachConforms("stopped, taken by the next",
               [](TaskGroup&, Leaf& leaf) -> Task<absl::Status> {
                 co_await OrReturn(leaf.Release());
                 CancelScope scope;
                 scope.Cancel();
                 if (!(co_await scope.Run(leaf.Wait())).has_value())
                   Saw("stopped");
                 co_return co_await SayWaited(leaf, "taken by the next");
               });
}

TEST_P(LeafOperation, StoppedWhileItWaitsItDidNotHappen) {
  EachConforms("stopped@1, taken by the next",
               [](TaskGroup&, Leaf& leaf) -> Task<absl::Status> {
                 if (!(co_await MoveOnAfter(Ticks(1), leaf.Wait())).has_value())
                   Saw("stopped");
                 co_await OrReturn(leaf.Release());
                 co_return co_await SayWaited(leaf, "taken by the next");
               });
}

TEST_P(LeafOperation, StoppedAgainAndAgainItLosesNothing) {
  EachConforms("stopped 20 times, taken by the next",
               [](TaskGroup& group, Leaf& leaf) -> Task<absl::Status> {
                 int stopped = 0;
                 for (int i = 0; i < 20; ++i) {
                   auto task = group.Start("waiter", SayWaited, std::ref(leaf),
                                           "too early");
                   // Before it begins, while it begins, and while it waits.
                   for (int steps = i % 4; steps > 0; --steps)
                     co_await Checkpoint();
                   task.Cancel();
                   task.Cancel();
                   stopped += (co_await task.Join()).stopped() ? 1 : 0;
                 }
                 Saw("stopped " + std::to_string(stopped) + " times");
                 co_await OrReturn(leaf.Release());
                 co_return co_await SayWaited(leaf, "taken by the next");
               });
}

TEST_P(LeafOperation, ReleasedAndCancelledAtOnceItIsNeitherLostNorDoubled) {
  EachConforms(
      "taken once", [](TaskGroup& group, Leaf& leaf) -> Task<absl::Status> {
        auto task = group.Start("waiter", [&leaf]() -> Task<absl::Status> {
          co_return co_await leaf.Wait();
        });
        co_await OthersWait();
        co_await OrReturn(leaf.Release());
        task.Cancel();
        // Which of the two came first is open; whoever was stopped left it.
        if (!(co_await task.Join()).ok()) co_await OrReturn(leaf.Wait());
        Saw("taken once");
        co_return absl::OkStatus();
      });
}

TEST_P(LeafOperation, AsALegThatLosesItDidNotHappen) {
  EachConforms("lost@1, taken by the next",
               [](TaskGroup&, Leaf& leaf) -> Task<absl::Status> {
                 auto [result, slept] =
                     co_await AnyOf(leaf.Wait(), SleepFor(Ticks(1)));
                 if (!result.has_value() && slept) Saw("lost");
                 co_await OrReturn(leaf.Release());
                 co_return co_await SayWaited(leaf, "taken by the next");
               });
}

TEST_P(LeafOperation, UnderAShieldItIsNotStopped) {
  EachConforms("released@2, completed",
               [](TaskGroup& group, Leaf& leaf) -> Task<absl::Status> {
                 group.Start("waiter", [&leaf]() -> Task<void> {
                   (void)co_await MoveOnAfter(
                       Ticks(1), Shield(SayWaited(leaf, "completed")));
                 });
                 co_await SayIn(2, "released");
                 co_return co_await leaf.Release();
               });
}

TEST_P(LeafOperation, InCleanUpItWaitsForItsRelease) {
  EachConforms(
      "released@2, completed",
      [](TaskGroup& group, Leaf& leaf) -> Task<absl::Status> {
        auto task = group.Start("task", [&leaf]() -> Task<void> {
          (co_await Finally(SleepForever(), SayWaited(leaf, "completed")))
              .IgnoreError();
        });
        co_await SleepFor(Ticks(1));
        task.Cancel();
        co_await SayIn(1, "released");
        co_return co_await leaf.Release();
      });
}

TEST_P(LeafOperation, ItsTaskGoesWithItsGroup) {
  EachConforms(
      "stopped@1, taken by the next",
      [](TaskGroup&, Leaf& leaf) -> Task<absl::Status> {
        co_await OrReturn(WithTaskGroup([&](TaskGroup& inner) -> Task<void> {
          inner.Start("waiter", [&]() -> Task<absl::Status> {
            const SaysAtItsEnd end("stopped");
            co_return co_await leaf.Wait();
          });
          co_await SleepFor(Ticks(1));
          inner.Cancel();
        }));
        co_await OrReturn(leaf.Release());
        co_return co_await SayWaited(leaf, "taken by the next");
      });
}

INSTANTIATE_TEST_SUITE_P(
    All, LeafOperation,
    testing::Values(
        RowOf<EventWait>("EventWait"), RowOf<MutexLock>("MutexLock"),
        RowOf<SemaphoreAcquire>("SemaphoreAcquire"),
        RowOf<LimiterAcquire>("LimiterAcquire"),
        RowOf<ConditionWait>("ConditionWait"), RowOf<WatchNext>("WatchNext"),
        RowOf<ChannelReceive>("ChannelReceive"),
        RowOf<ChannelSend>("ChannelSend"),
        RowOf<StopRequestWait>("StopRequested"),
        RowOf<HandleJoin>("TaskHandleJoin"), RowOf<UdpReceive>("UdpReceive"),
        RowOf<UdpReceiveBatch>("UdpReceiveBatch"),
        RowOf<TcpReceive>("TcpReceive"),
        RowOf<TcpReceiveChunk>("TcpReceiveChunk"),
        RowOf<TcpAccept>("TcpAccept"), RowOf<SignalNext>("SignalNext")),
    [](const testing::TestParamInfo<Row>& row) { return row.param.name; });

}  // namespace
}  // namespace braid::conformance
