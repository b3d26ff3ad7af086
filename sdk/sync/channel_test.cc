#include "braid/sync/channel.h"

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/detail/ring.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr size_t kCapacities[] = {0, 1, 2, 3, 64, kUnbounded};

template <typename T>
Task<absl::Status> SendAll(Sender<T> sender, std::vector<T> items) {
  for (T& item : items) co_await OrReturn(sender.Send(std::move(item)));
  co_return absl::OkStatus();
}

template <typename T>
Task<absl::Status> ReceiveAll(Receiver<T> receiver, std::vector<T>& items) {
  while (std::optional<T> item = co_await OrReturn(receiver.Receive())) {
    items.push_back(*std::move(item));
  }
  co_return absl::OkStatus();
}

TEST(ChannelTest, ItemsArriveInOrderAndThenTheEnd) {
  for (size_t capacity : kCapacities) {
    SCOPED_TRACE(capacity);
    RunGroupInManyOrders([capacity](TaskGroup& group) -> Task<absl::Status> {
      auto [sender, receiver] = MakeChannel<int>(capacity);
      std::vector<int> items;
      items.reserve(200);
      for (int i = 0; i < 200; ++i) items.push_back(i);
      std::vector<int> received;
      group.Start("sender", SendAll<int>, std::move(sender), items);
      group.Start("receiver", ReceiveAll<int>, std::move(receiver),
                  std::ref(received));
      co_await OrReturn(group.Join());
      EXPECT_EQ(received, items);
      co_return absl::OkStatus();
    });
  }
}

TEST(ChannelTest, CarriesWhatOnlyMoves) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<std::unique_ptr<int>>(1);
    std::vector<std::unique_ptr<int>> items;
    items.reserve(5);
    for (int i = 0; i < 5; ++i) items.push_back(std::make_unique<int>(i));
    std::vector<std::unique_ptr<int>> received;
    group.Start("sender", SendAll<std::unique_ptr<int>>, std::move(sender),
                std::move(items));
    group.Start("receiver", ReceiveAll<std::unique_ptr<int>>,
                std::move(receiver), std::ref(received));
    co_await OrReturn(group.Join());
    EXPECT_EQ(received.size(), 5u);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(*received[i], i);
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, WithoutABufferASendWaitsForAReceiver) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    EXPECT_TRUE(IsWouldBlock(sender.TrySend(1)));
    EXPECT_TRUE(IsWouldBlock(receiver.TryReceive().status()));
    bool sent = false;
    group.Start("sender", [&]() -> Task<absl::Status> {
      co_await OrReturn(sender.Send(1));
      sent = true;
      co_return absl::OkStatus();
    });
    co_await SleepFor(1s);
    EXPECT_FALSE(sent);
    EXPECT_EQ(co_await OrReturn(receiver.Receive()), 1);
    co_await OrReturn(group.Join());
    EXPECT_TRUE(sent);
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, TheBufferHoldsSoMany) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(3);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(sender.TrySend(i).ok());
    EXPECT_TRUE(IsWouldBlock(sender.TrySend(3)));
    group.Start("sender", [&]() -> Task<absl::Status> {
      co_return co_await sender.Send(3);
    });
    co_await OthersWait();
    // The place that gets free is the waiting sender's.
    EXPECT_EQ(*receiver.TryReceive(), 0);
    EXPECT_TRUE(IsWouldBlock(sender.TrySend(4)));
    co_await OrReturn(group.Join());
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(*receiver.TryReceive(), i);
    EXPECT_TRUE(IsWouldBlock(receiver.TryReceive().status()));
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, WithoutLimitNobodyWaitsToSend) {
  auto [sender, receiver] = MakeChannel<std::string>(kUnbounded);
  // Built and filled where no loop runs, and wrapped around while it grows.
  int sent = 0;
  int received = 0;
  for (int round = 1; round <= 100; ++round) {
    for (int i = 0; i < round; ++i) {
      EXPECT_TRUE(sender.TrySend(std::to_string(sent++)).ok());
    }
    for (int i = 0; i < round / 2; ++i) {
      EXPECT_EQ(*receiver.TryReceive(), std::to_string(received++));
    }
  }
  EXPECT_EQ(receiver.stats().capacity, kUnbounded);
  RunGroupInOrder([&](TaskGroup&) -> Task<absl::Status> {
    sender.Close();
    while (auto item = co_await OrReturn(receiver.Receive())) {
      EXPECT_EQ(*item, std::to_string(received++));
    }
    EXPECT_EQ(received, sent);
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, TasksAreServedInTheOrderInWhichTheyCame) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    std::vector<std::pair<int, int>> received;  // by whom, what
    for (int i = 0; i < 3; ++i) {
      group.Start("receiver", [&, i]() -> Task<absl::Status> {
        const std::optional<int> item = co_await OrReturn(receiver.Receive());
        received.emplace_back(i, *item);
        co_return absl::OkStatus();
      });
      co_await OthersWait();
    }
    for (int i = 0; i < 3; ++i) {
      co_await OrReturn(sender.Send(i));
      co_await OthersWait();
    }
    EXPECT_EQ(received,
              (std::vector<std::pair<int, int>>{{0, 0}, {1, 1}, {2, 2}}));
    for (int i = 0; i < 3; ++i) {
      group.Start("sender", [&, i]() -> Task<absl::Status> {
        co_return co_await sender.Send(i);
      });
      co_await OthersWait();
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(co_await OrReturn(receiver.Receive()), i);
    }
    co_return co_await group.Join();
  });
}

TEST(ChannelTest, ASendThatIsGivenUpLeavesTheItemWhereItWas) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<std::unique_ptr<int>>(0);
    auto item = std::make_unique<int>(7);
    // A time limit.
    EXPECT_FALSE(
        (co_await MoveOnAfter(1s, sender.Send(std::move(item)))).has_value());
    EXPECT_NE(item, nullptr);  // NOLINT(bugprone-use-after-move)
    // It can't be sent at once.
    EXPECT_TRUE(IsWouldBlock(sender.TrySend(std::move(item))));
    EXPECT_NE(item, nullptr);
    // Nobody will receive it.
    receiver.Close();
    EXPECT_TRUE(IsBroken(co_await sender.Send(std::move(item))));
    EXPECT_NE(item, nullptr);
    sender.Close();
    EXPECT_TRUE(IsClosed(co_await sender.Send(std::move(item))));
    EXPECT_TRUE(IsClosed(sender.TrySend(std::move(item))));
    EXPECT_NE(item, nullptr);
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, AnLvalueIsCopied) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<std::string>(2);
    const std::string item = "an item that does not fit into the object";
    co_await OrReturn(sender.Send(item));
    EXPECT_TRUE(sender.TrySend(item).ok());
    EXPECT_EQ(item.size(), 41u);
    EXPECT_EQ(co_await OrReturn(receiver.Receive()), item);
    EXPECT_EQ(co_await OrReturn(receiver.Receive()), item);
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, WhatIsInTheBufferIsReceivedBeforeTheEnd) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(4);
    EXPECT_TRUE(sender.TrySend(1).ok());
    EXPECT_TRUE(sender.TrySend(2).ok());
    sender.Close();
    EXPECT_EQ(co_await OrReturn(receiver.Receive()), 1);
    EXPECT_EQ(*receiver.TryReceive(), 2);
    // The end is a value, and stays.
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(co_await OrReturn(receiver.Receive()), std::nullopt);
      EXPECT_EQ(*receiver.TryReceive(), std::nullopt);
    }
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, TheLastSenderThatClosesEndsTheStream) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    Sender<int> clone = sender.Clone();
    bool ended = false;
    for (int i = 0; i < 2; ++i) {
      group.Start("receiver", [&]() -> Task<absl::Status> {
        EXPECT_EQ(co_await OrReturn(receiver.Receive()), std::nullopt);
        ended = true;
        co_return absl::OkStatus();
      });
    }
    co_await OthersWait();
    EXPECT_EQ(receiver.stats().open_senders, 2u);
    sender.Close();
    sender.Close();
    EXPECT_TRUE(sender.closed());
    EXPECT_EQ(receiver.stats().open_senders, 1u);
    co_await OthersWait();
    EXPECT_FALSE(ended);
    clone = Sender<int>();  // assignment closes, too
    EXPECT_FALSE(ended) << "nothing resumes inside";
    co_await OrReturn(group.Join());
    EXPECT_TRUE(ended);
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, TheLastReceiverThatClosesBreaksTheChannel) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<std::shared_ptr<int>>(1);
    std::optional<Receiver<std::shared_ptr<int>>> clone = receiver.Clone();
    auto item = std::make_shared<int>(1);
    EXPECT_TRUE(sender.TrySend(item).ok());
    int broken = 0;
    for (int i = 0; i < 2; ++i) {
      group.Start("sender", [&]() -> Task<void> {
        EXPECT_TRUE(IsBroken(co_await sender.Send(item)));
        ++broken;
      });
    }
    co_await OthersWait();
    EXPECT_EQ(item.use_count(), 4);
    receiver.Close();
    co_await OthersWait();
    EXPECT_EQ(broken, 0);
    clone.reset();
    co_await OthersWait();
    EXPECT_EQ(broken, 2);
    EXPECT_EQ(item.use_count(), 1) << "what was in the buffer is dropped";
    EXPECT_TRUE(IsBroken(co_await sender.Send(item)));
    EXPECT_TRUE(IsBroken(sender.TrySend(item)));
    co_return co_await group.Join();
  });
}

TEST(ChannelTest, ClosingAnEndWakesTheTasksThatWaitOnIt) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    Receiver<int> other_receiver = receiver.Clone();
    int closed = 0;
    for (int i = 0; i < 2; ++i) {
      group.Start("receiver", [&]() -> Task<void> {
        EXPECT_TRUE(IsClosed((co_await receiver.Receive()).status()));
        ++closed;
      });
    }
    co_await OthersWait();
    auto other = group.Start("other", [&]() -> Task<absl::Status> {
      EXPECT_EQ(co_await OrReturn(other_receiver.Receive()), 1);
      co_return absl::OkStatus();
    });
    co_await OthersWait();
    receiver.Close();
    co_await OthersWait();
    EXPECT_EQ(closed, 2);
    EXPECT_FALSE(other.done()) << "it waits on another end";
    co_await OrReturn(sender.Send(1));
    co_await OthersWait();
    EXPECT_TRUE(other.done());
    EXPECT_TRUE(IsClosed((co_await receiver.Receive()).status()));
    EXPECT_TRUE(IsClosed(receiver.TryReceive().status()));

    Sender<int> other_sender = sender.Clone();
    group.Start("sender", [&]() -> Task<void> {
      EXPECT_TRUE(IsClosed(co_await sender.Send(2)));
      ++closed;
    });
    co_await OthersWait();
    group.Start("other", [&]() -> Task<absl::Status> {
      co_return co_await other_sender.Send(3);
    });
    co_await OthersWait();
    sender.Close();
    EXPECT_EQ(co_await OrReturn(other_receiver.Receive()), 3);
    co_await OrReturn(group.Join());
    EXPECT_EQ(closed, 3);
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, AnEndMayMoveOrGoWhileTasksWaitOnIt) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto channel = MakeChannel<int>(0);
    auto receiver =
        std::make_unique<Receiver<int>>(std::move(channel.receiver));
    bool closed = false;
    group.Start("receiver", [&]() -> Task<absl::Status> {
      EXPECT_EQ(co_await OrReturn(receiver->Receive()), 1);
      closed = IsClosed((co_await receiver->Receive()).status());
      co_return absl::OkStatus();
    });
    co_await OthersWait();
    receiver = std::make_unique<Receiver<int>>(std::move(*receiver));
    co_await OrReturn(channel.sender.Send(1));
    co_await OthersWait();
    Receiver<int> moved = std::move(*receiver);
    receiver.reset();
    co_await OthersWait();
    EXPECT_FALSE(closed);
    moved = Receiver<int>();
    co_await OrReturn(group.Join());
    EXPECT_TRUE(closed);
    EXPECT_TRUE(IsBroken(channel.sender.TrySend(2)));
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, AnEndMayCloseBeforeTheOperationBegins) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    // The legs begin in any order.
    auto close = [&, &s = sender, &r = receiver]() -> Task<void> {
      s.Close();
      r.Close();
      co_return;
    };
    const auto all = co_await AllOf(sender.Send(1), receiver.Receive(), close);
    if (all.ok()) {
      EXPECT_EQ(std::get<1>(*all), 1);
    } else {
      EXPECT_TRUE(IsClosed(all.status()) || IsBroken(all.status()));
    }
    co_return absl::OkStatus();
  });
}

TEST(ChannelTest, AClosedOrMovedFromEndIsClosed) {
  auto [sender, receiver] = MakeChannel<int>(1);
  Sender<int> moved = std::move(sender);
  EXPECT_TRUE(sender.closed());  // NOLINT(bugprone-use-after-move)
  EXPECT_FALSE(moved.closed());
  EXPECT_TRUE(IsClosed(sender.TrySend(1)));
  EXPECT_TRUE(sender.Clone().closed());
  EXPECT_EQ(sender.stats().capacity, 0u);
  EXPECT_TRUE(Receiver<int>().closed());
  EXPECT_TRUE(IsClosed(Receiver<int>().TryReceive().status()));
  Sender<int>& self = moved;
  moved = std::move(self);
  EXPECT_FALSE(moved.closed());
  EXPECT_TRUE(moved.TrySend(1).ok());
}

TEST(ChannelTest, Stats) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(2);
    Sender<int> second = sender.Clone();
    for (int i = 0; i < 5; ++i) {
      group.Start("sender", [&, i]() -> Task<absl::Status> {
        co_return co_await sender.Send(i);
      });
    }
    co_await OthersWait();
    ChannelStats now = receiver.stats();
    EXPECT_EQ(now.buffer_used, 2u);
    EXPECT_EQ(now.peak_buffer_used, 2u);
    EXPECT_EQ(now.capacity, 2u);
    EXPECT_EQ(now.open_senders, 2u);
    EXPECT_EQ(now.open_receivers, 1u);
    EXPECT_EQ(now.tasks_waiting_to_send, 3u);
    EXPECT_EQ(now.tasks_waiting_to_receive, 0u);
    for (int i = 0; i < 5; ++i) co_await OrReturn(receiver.Receive());
    auto waiter = group.Start(
        "receiver", [&]() -> Task<void> { (void)co_await receiver.Receive(); });
    co_await OthersWait();
    now = sender.stats();
    EXPECT_EQ(now.buffer_used, 0u);
    EXPECT_EQ(now.peak_buffer_used, 2u);
    EXPECT_EQ(now.tasks_waiting_to_send, 0u);
    EXPECT_EQ(now.tasks_waiting_to_receive, 1u);
    waiter.Cancel();
    co_return co_await group.Join();
  });
}

// An item that was received and one that was handed over but whose receiver is
// being cancelled: both are somebody's.
TEST(ChannelTest, AnItemThatWasHandedOverIsGiven) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    std::optional<int> got;
    auto task = group.Start("receiver", [&]() -> Task<absl::Status> {
      got = co_await OrReturn(receiver.Receive());
      co_await Checkpoint();
      ADD_FAILURE() << "the next checkpoint stops";
      co_return absl::OkStatus();
    });
    co_await OthersWait();
    EXPECT_TRUE(sender.TrySend(1).ok());
    receiver.Close();  // too late for the operation
    task.Cancel();
    co_await OthersWait();
    EXPECT_EQ(got, 1);
    EXPECT_TRUE((co_await task.Join()).stopped());
    co_return co_await group.Join();
  });
}

// More tasks than one cancellation marks in one go: some still wait, with a
// pending cancellation, when an item is sent or taken by an await.
TEST(ChannelTest, AnItemGoesPastTasksThatAreBeingCancelled) {
  for (size_t capacity : {size_t{0}, size_t{1}}) {
    RunGroupInManyOrders([capacity](TaskGroup& group) -> Task<absl::Status> {
      constexpr int kTasks = 3 * detail::Loop::kCancelChunk;
      auto [sender, receiver] = MakeChannel<int>(capacity);
      int received = 0;
      CancelScope receivers;
      group.Start("receivers", [&]() -> Task<void> {
        co_await receivers.Run(
            WithTaskGroup([&](TaskGroup& crowd) -> Task<absl::Status> {
              for (int i = 0; i < kTasks; ++i) {
                crowd.Start("receiver", [&]() -> Task<void> {
                  (void)co_await receiver.Receive();
                  ++received;
                });
              }
              co_return co_await crowd.Join();
            }));
      });
      co_await OthersWait();
      receivers.Cancel();
      EXPECT_GT(receiver.stats().tasks_waiting_to_receive, 0u);
      // Without a buffer it has to wait for another receiver.
      group.Start("other", [&]() -> Task<absl::Status> {
        EXPECT_EQ(co_await OrReturn(receiver.Receive()), 7);
        co_return absl::OkStatus();
      });
      co_await OrReturn(sender.Send(7));
      co_await OthersWait();
      EXPECT_EQ(received, 0);

      for (size_t i = 0; i < capacity; ++i) {
        EXPECT_TRUE(sender.TrySend(1).ok());
      }
      int sent = 0;
      CancelScope senders;
      group.Start("senders", [&]() -> Task<void> {
        co_await senders.Run(
            WithTaskGroup([&](TaskGroup& crowd) -> Task<absl::Status> {
              for (int i = 0; i < kTasks; ++i) {
                crowd.Start("sender", [&]() -> Task<void> {
                  (void)co_await sender.Send(2);
                  ++sent;
                });
              }
              co_return co_await crowd.Join();
            }));
      });
      co_await OthersWait();
      senders.Cancel();
      EXPECT_GT(receiver.stats().tasks_waiting_to_send, 0u);
      if (capacity > 0) {
        EXPECT_EQ(co_await OrReturn(receiver.Receive()), 1);
      } else {
        EXPECT_FALSE((co_await MoveOnAfter(1s, receiver.Receive())));
      }
      co_await OthersWait();
      EXPECT_EQ(sent, 0);
      EXPECT_EQ(receiver.stats().buffer_used, 0u);
      co_return co_await group.Join();
    });
  }
}

// What is buffered may hold ends of the channel it is in: requests with the
// means to ask again, say. Dropping them closes those in the middle of closing.
TEST(ChannelTest, ItemsMayHoldEndsOfTheirOwnChannel) {
  struct Request {
    Sender<Request> again;
  };
  for (size_t capacity : {size_t{4}, kUnbounded}) {
    auto [sender, receiver] = MakeChannel<Request>(capacity);
    EXPECT_TRUE(sender.TrySend(Request{sender.Clone()}).ok());
    EXPECT_TRUE(sender.TrySend(Request{sender.Clone()}).ok());
    Sender<Request> last = sender.Clone();
    EXPECT_TRUE(last.TrySend(Request{std::move(sender)}).ok());
    last.Close();
    EXPECT_EQ(receiver.stats().open_senders, 3u);
    receiver.Close();
  }
}

// Sends another of itself when it goes, as jobs do that have to be done by
// somebody: of a channel that nobody receives from, that has to be refused.
// The buffer took it, said so, and dropped it.
struct Resends {
  Resends(Sender<Resends>* to, int* accepted) : to(to), accepted(accepted) {}
  Resends(Resends&& other) noexcept
      : to(std::exchange(other.to, nullptr)), accepted(other.accepted) {}
  ~Resends() {
    if (to == nullptr || *accepted > 10) return;
    const absl::Status status = to->TrySend(Resends(nullptr, accepted));
    if (status.ok()) ++*accepted;
    EXPECT_TRUE(IsBroken(status)) << status;
  }
  Sender<Resends>* to;
  int* accepted;
};

TEST(ChannelTest, WhatItsItemsSendWhenTheReceiverGoesIsRefused) {
  for (const size_t capacity : {size_t{4}, kUnbounded}) {
    RunGroupInOrder([capacity](TaskGroup&) -> Task<absl::Status> {
      Channel<Resends> channel = MakeChannel<Resends>(capacity);
      int accepted = 0;
      // The fast way is open only once something was awaited.
      co_await OrReturn(channel.sender.Send(Resends(nullptr, &accepted)));
      EXPECT_TRUE(
          channel.sender.TrySend(Resends(&channel.sender, &accepted)).ok());
      channel.receiver.Close();
      EXPECT_EQ(accepted, 0);
      co_return absl::OkStatus();
    });
  }
}

TEST(ChannelTest, OperationsThatAreReadyLetOthersRunNowAndThen) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(kUnbounded);
    bool other_ran = false;
    group.Start("other", [&]() -> Task<void> {
      other_ran = true;
      co_return;
    });
    int sent = 0;
    for (; sent < 1000 && !other_ran; ++sent) {
      co_await OrReturn(sender.Send(sent));
    }
    EXPECT_LT(sent, 1000) << "the other task has to wait for ever";
    co_return co_await group.Join();
  });
}

TEST(ChannelTest, AnAbsurdCapacityIsAnException) {
  EXPECT_THROW((void)MakeChannel<int>(kUnbounded - 1), std::bad_alloc);
  EXPECT_THROW((void)MakeChannel<int>(kUnbounded / 2), std::bad_alloc);
}

TEST(ChannelDeathTest, BelongsToTheThreadThatAwaitedIt) {
  EXPECT_DEATH(
      {
        auto channel = MakeChannel<int>(1);
        RunGroupInOrder([&](TaskGroup&) -> Task<absl::Status> {
          co_return co_await channel.sender.Send(1);
        });
        std::thread([&] { (void)channel.receiver.TryReceive(); }).join();
      },
      "used from another thread");
}

// Counts its objects.
struct Counted {
  explicit Counted(int value) : value(value) { ++alive; }
  Counted(Counted&& other) noexcept : value(other.value) { ++alive; }
  ~Counted() { --alive; }
  int value;
  static inline int alive = 0;
};

TEST(RingTest, KeepsTheOrderAndLosesNothing) {
  {
    detail::Ring<Counted> ring(5);
    EXPECT_TRUE(ring.empty());
    int in = 0;
    int out = 0;
    for (int round = 0; round < 20; ++round) {
      while (ring.size() < 5) ring.Push(Counted(in++));
      EXPECT_EQ(Counted::alive, 5);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(ring.Pop().value, out++);
    }
    EXPECT_EQ(ring.size(), 2u);
    EXPECT_GE(ring.Grow(), 3u);
    while (ring.size() < 16) ring.Push(Counted(in++));
    EXPECT_EQ(ring.Grow(), 32u);
    while (!ring.empty()) EXPECT_EQ(ring.Pop().value, out++);
    EXPECT_EQ(in, out);
    EXPECT_EQ(Counted::alive, 0);
    ring.Push(Counted(0));
  }
  EXPECT_EQ(Counted::alive, 0) << "the rest goes with the ring";
}

}  // namespace
}  // namespace braid
