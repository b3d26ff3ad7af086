// Mailboxes on one loop and between threads. Cancellation is in
// cancellation_test.cc.

#include "braid/thread/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/thread/sharded.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(MailboxTest, ItemsComeInOrderAndThenTheEnd) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<int>(3);
    for (int i = 0; i < 3; ++i) co_await OrReturn(sender.Send(i));
    EXPECT_TRUE(IsWouldBlock(sender.TrySend(3)));
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(co_await OrReturn(receiver.Receive()), i);
    EXPECT_TRUE(IsWouldBlock(receiver.TryReceive().status()));
    MailboxSender<int> copy = sender;
    sender.Close();
    EXPECT_TRUE(sender.closed());
    EXPECT_TRUE(IsClosed(co_await sender.Send(1)));
    EXPECT_TRUE(copy.TrySend(4).ok());
    copy = MailboxSender<int>();
    EXPECT_EQ(co_await OrReturn(receiver.Receive()), 4);
    EXPECT_EQ(co_await OrReturn(receiver.Receive()), std::nullopt);
    EXPECT_EQ(*receiver.TryReceive(), std::nullopt);
    co_return absl::OkStatus();
  });
}

TEST(MailboxTest, AClosedReceiverRefuses) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<std::unique_ptr<int>>(1);
    co_await OrReturn(sender.Send(std::make_unique<int>(1)));
    auto item = std::make_unique<int>(2);
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start("sender", [&]() -> Task<void> {
        EXPECT_TRUE(IsBroken(co_await sender.Send(std::move(item))));
      });
      co_await UntilWaiting("sender");
      receiver.Close();
    }));
    EXPECT_NE(item, nullptr) << "it was not sent";
    EXPECT_TRUE(IsBroken(sender.TrySend(std::move(item))));
    EXPECT_NE(item, nullptr);
    EXPECT_TRUE(IsClosed((co_await receiver.Receive()).status()));
    EXPECT_TRUE(IsClosed(receiver.TryReceive().status()));
    co_return absl::OkStatus();
  });
}

TEST(MailboxTest, ClosingAReceiverEndsItsWaits) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<int>(1);
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 2; ++i) {
        group.Start("receiver", [&]() -> Task<void> {
          EXPECT_TRUE(IsClosed((co_await receiver.Receive()).status()));
        });
      }
      co_await UntilWaiting("receiver");
      receiver.Close();
    });
  });
}

TEST(MailboxTest, WaitersAreServedInTheirOrder) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<int>(1);
    std::vector<int> received(4, -1);
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 4; ++i) {
        group.Start("receiver " + std::to_string(i), [&, i]() -> Task<void> {
          received[i] = **co_await receiver.Receive();
        });
        co_await UntilWaiting("receiver " + std::to_string(i));
      }
      for (int i = 0; i < 4; ++i) (void)co_await sender.Send(i);
    }));
    EXPECT_EQ(received, (std::vector<int>{0, 1, 2, 3}));

    co_await OrReturn(sender.Send(0));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 1; i < 5; ++i) {
            group.Start("sender " + std::to_string(i),
                        [&, i]() -> Task<absl::Status> {
                          co_return co_await sender.Send(i);
                        });
            co_await UntilWaiting("sender " + std::to_string(i));
          }
          for (int i = 0; i < 5; ++i)
            EXPECT_EQ(co_await OrReturn(receiver.Receive()), i);
          co_return co_await group.Join();
        });
  });
}

// A sender may go while a task waits in it; the end comes after its item.
TEST(MailboxTest, TheEndComesAfterWhatIsBeingSent) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<int>(1);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("sender", [&]() -> Task<absl::Status> {
            for (int i = 0; i < 2; ++i) co_await OrReturn(sender.Send(i));
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("sender");
          sender.Close();
          EXPECT_EQ(co_await OrReturn(receiver.Receive()), 0);
          EXPECT_EQ(co_await OrReturn(receiver.Receive()), 1);
          EXPECT_EQ(co_await OrReturn(receiver.Receive()), std::nullopt);
          co_return co_await group.Join();
        });
  });
}

// What is dropped may hold the mailbox's own ends.
TEST(MailboxTest, AnItemMayHoldASenderOfItsMailbox) {
  struct Item {
    MailboxSender<Item> reply;
  };
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<Item>(2);
    co_await OrReturn(sender.Send(Item{sender}));
    Item last{std::move(sender)};
    MailboxSender<Item> by = last.reply;
    co_await OrReturn(by.Send(std::move(last)));
    by.Close();
    co_return absl::OkStatus();
  });
}

TEST(MailboxTest, WakesAReceiverOnceForABurst) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<int>(100);
    int received = 0;
    const uint64_t before = detail::Loop::Current().stats().posts;
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start("receiver", [&]() -> Task<void> {
        while ((co_await receiver.Receive()).value().has_value()) ++received;
      });
      co_await UntilWaiting("receiver");
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(sender.TrySend(i).ok());
      sender.Close();
    }));
    EXPECT_EQ(received, 100);
    EXPECT_EQ(detail::Loop::Current().stats().posts - before, 1u);
    co_return absl::OkStatus();
  });
}

TEST(MailboxTest, ThreadsTrySendFromAnywhere) {
  RunOnRealBackends("threads", []() -> Task<absl::Status> {
    constexpr int kEach = 2000;
    constexpr int kThreads = 3;
    auto [sender, receiver] = MakeMailbox<std::pair<int, int>>(16);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([thread, sender = sender]() mutable {
        for (int i = 0; i < kEach;) {
          if (sender.TrySend({thread, i}).ok()) {
            ++i;
          } else {
            std::this_thread::yield();
          }
        }
      });
    }
    sender.Close();
    std::vector<int> next(kThreads, 0);
    while (auto item = co_await OrReturn(receiver.Receive()))
      EXPECT_EQ(item->second, next[item->first]++);
    EXPECT_EQ(next, std::vector<int>(kThreads, kEach));
    for (std::thread& thread : threads) thread.join();
    co_return absl::OkStatus();
  });
}

// Loops that send to one, whose room is small: nothing is lost, each sender's
// items come in order. In a simulation too.
TEST(MailboxTest, ShardsSendToOneLoop) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    constexpr int kEach = 500;
    constexpr int kShards = 3;
    auto [sender, receiver] = MakeMailbox<std::pair<int, int>>(2);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start(
              "shards", [sender = std::move(sender)]() -> Task<absl::Status> {
                co_return co_await RunSharded(
                    kShards, [&sender](Shard shard) -> Task<absl::Status> {
                      MailboxSender<std::pair<int, int>> mine = sender;
                      for (int i = 0; i < kEach; ++i)
                        co_await OrReturn(mine.Send(std::pair(shard.index, i)));
                      co_return absl::OkStatus();
                    });
              });
          std::vector<int> next(kShards, 0);
          while (auto item = co_await OrReturn(receiver.Receive()))
            EXPECT_EQ(item->second, next[item->first]++);
          EXPECT_EQ(next, std::vector<int>(kShards, kEach));
          co_return co_await group.Join();
        });
  });
}

// A question goes there, its answer comes back, between two loops.
TEST(MailboxTest, TwoLoopsTalk) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [ask, questions] = MakeMailbox<int>(1);
    auto [answer, answers] = MakeMailbox<int>(1);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("shard", [&]() -> Task<absl::Status> {
            co_return co_await RunSharded(1, [&](Shard) -> Task<absl::Status> {
              while (auto question = co_await OrReturn(questions.Receive()))
                co_await OrReturn(answer.Send(*question * 2));
              co_return absl::OkStatus();
            });
          });
          for (int i = 0; i < 200; ++i) {
            co_await OrReturn(ask.Send(i));
            EXPECT_EQ(co_await OrReturn(answers.Receive()), 2 * i);
          }
          ask.Close();
          co_return co_await group.Join();
        });
  });
}

// The loop of the receiver ends, with the mailbox open and tasks in it.
TEST(MailboxTest, OutlivesTheReceivingLoop) {
  RunOnRealBackends("loops that end", []() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<int>(2);
    co_await OrReturn(RunSharded(1, [&](Shard) -> Task<absl::Status> {
      EXPECT_FALSE((co_await MoveOnAfter(1ms, receiver.Receive())));
      EXPECT_TRUE(sender.TrySend(1).ok());
      EXPECT_EQ(co_await OrReturn(receiver.Receive()), 1);
      co_return absl::OkStatus();
    }));
    EXPECT_TRUE(sender.TrySend(2).ok());
    EXPECT_TRUE(sender.TrySend(3).ok());
    EXPECT_FALSE((co_await MoveOnAfter(1ms, sender.Send(4))));
    receiver.Close();
    EXPECT_TRUE(IsBroken(co_await sender.Send(5)));
    // Its own end counts first, as with a channel.
    sender.Close();
    EXPECT_TRUE(IsClosed(co_await sender.Send(6)));
    EXPECT_TRUE(IsClosed(sender.TrySend(7)));
    co_return absl::OkStatus();
  });
}

// And that of a sender.
TEST(MailboxTest, OutlivesASendingLoop) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<int>(1);
    co_await OrReturn(RunSharded(2, [&](Shard shard) -> Task<absl::Status> {
      MailboxSender<int> mine = sender;
      (void)co_await MoveOnAfter(1ms, [&]() -> Task<void> {
        for (;;) (void)co_await mine.Send(shard.index);
      });
      co_return absl::OkStatus();
    }));
    sender.Close();
    EXPECT_TRUE((co_await OrReturn(receiver.Receive())).has_value());
    EXPECT_EQ(co_await OrReturn(receiver.Receive()), std::nullopt);
    co_return absl::OkStatus();
  });
}

TEST(MailboxDeathTest, IsReceivedFromOnOneLoop) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      RunOnBackend("asio",
                   []() -> Task<absl::Status> {
                     auto [sender, receiver] = MakeMailbox<int>(2);
                     EXPECT_TRUE(IsWouldBlock(receiver.TryReceive().status()));
                     co_return co_await RunSharded(
                         1, [&](Shard) -> Task<absl::Status> {
                           co_return (co_await receiver.Receive()).status();
                         });
                   }),
      "another loop than the one that received first");
  EXPECT_DEATH(MakeMailbox<int>(0), "room for one item");
}

}  // namespace
}  // namespace braid
