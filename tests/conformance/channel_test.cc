// Channels.

#include "braid/sync/channel.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "braid/core/core.h"
#include "tests/conformance/conformance.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

std::string Text(const absl::StatusOr<std::optional<int>>& received) {
  if (IsClosed(received.status())) return "closed";
  if (IsBroken(received.status())) return "broken";
  if (IsWouldBlock(received.status())) return "would block";
  if (!received.ok()) return received.status().ToString();
  return received->has_value() ? std::to_string(**received) : "end";
}
std::string Text(const absl::Status& sent) {
  return sent.ok() ? "sent" : Text(absl::StatusOr<std::optional<int>>(sent));
}

Task<void> SayReceived(Receiver<int>* from, std::string name = "") {
  const auto received = co_await from->Receive();
  Saw((name.empty() ? "" : name + " ") + Text(received));
}
Task<void> SaySent(Sender<int>* to, int item) {
  const absl::Status status = co_await to->Send(item);
  Saw(std::to_string(item) + " " + Text(status));
}

TEST(Channel, ItemsArriveInTheOrderInWhichTheyWereSent) {
  Conforms("1, 2, 3, end", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(2);
    group.Start(
        "producer",
        [](Sender<int> out) -> Task<absl::Status> {
          for (int i = 1; i <= 3; ++i) co_await OrReturn(out.Send(i));
          co_return absl::OkStatus();
        },
        std::move(sender));
    for (int i = 0; i < 4; ++i) co_await SayReceived(&receiver);
    co_return absl::OkStatus();
  });
}

TEST(Channel, CarriesWhatOnlyMoves) {
  Conforms("7", []() -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<std::unique_ptr<int>>(1);
    co_await OrReturn(sender.Send(std::make_unique<int>(7)));
    const auto item = co_await OrReturn(receiver.Receive());
    Saw(std::to_string(**item));
    co_return absl::OkStatus();
  });
}

TEST(Channel, WithoutABufferASendWaitsForAReceiver) {
  Conforms("receiver@1, [1, 1 sent]", [](TaskGroup& group) -> Task<void> {
    auto [sender, receiver] = MakeChannel<int>(0);
    auto sending = group.Start("sender", SaySent, &sender, 1);
    co_await SayIn(1, "receiver");
    EXPECT_FALSE(sending.done());
    co_await SayReceived(&receiver);
    (void)co_await sending.Join();
  });
}

TEST(Channel, AFullBufferHoldsTheSenderBack) {
  Conforms("1 sent, 2 sent, receiver@1, [1, 3 sent]",
           [](TaskGroup& group) -> Task<absl::Status> {
             auto [sender, receiver] = MakeChannel<int>(2);
             group.Start("sender", [&]() -> Task<void> {
               for (int i = 1; i <= 3; ++i) co_await SaySent(&sender, i);
             });
             co_await SayIn(1, "receiver");
             co_await SayReceived(&receiver);
             co_return co_await group.Join();
           });
}

TEST(Channel, WithoutALimitNobodyWaitsToSend) {
  Conforms("1000 sent", []() -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(kUnbounded);
    int sent = 0;
    while (sent < 1000 && sender.TrySend(sent).ok()) ++sent;
    Saw(std::to_string(sent) + " sent");
    co_return absl::OkStatus();
  });
}

TEST(Channel, ReceiversAreServedInTheOrderInWhichTheyCame) {
  Conforms("a 1@1, b 2@2", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    for (const char* name : {"a", "b"}) {
      group.Start("receiver", SayReceived, &receiver, name);
      co_await OthersWait();
    }
    for (int i = 1; i <= 2; ++i) {
      co_await SleepFor(Ticks(1));
      co_await OrReturn(sender.Send(i));
    }
    co_return co_await group.Join();
  });
}

TEST(Channel, SendersAreServedInTheOrderInWhichTheyCame) {
  Conforms("received 1 2 3", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    for (int i = 1; i <= 3; ++i) {
      group.Start("sender", [&sender, i]() -> Task<absl::Status> {
        co_return co_await sender.Send(i);
      });
      co_await OthersWait();
    }
    std::string all = "received";
    for (int i = 0; i < 3; ++i) all += " " + Text(co_await receiver.Receive());
    Saw(all);
    co_return co_await group.Join();
  });
}

TEST(Channel, EachItemGoesToOneReceiver) {
  Conforms("6 items once", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(1);
    int count = 0;
    int sum = 0;
    for (int i = 0; i < 3; ++i) {
      group.Start("receiver", [&]() -> Task<absl::Status> {
        while (auto item = co_await OrReturn(receiver.Receive())) {
          ++count;
          sum += *item;
          co_await Checkpoint();
        }
        co_return absl::OkStatus();
      });
    }
    for (int i = 1; i <= 6; ++i) co_await OrReturn(sender.Send(i));
    sender.Close();
    co_await OrReturn(group.Join());
    EXPECT_EQ(sum, 21);
    Saw(std::to_string(count) + " items once");
    co_return absl::OkStatus();
  });
}

// -------------------------------------------------------------- cancellation

TEST(Channel, ASendThatWasStoppedLeavesTheItemWithItsSender) {
  Conforms("still have 7@1, nothing there", []() -> Task<void> {
    auto [sender, receiver] = MakeChannel<std::unique_ptr<int>>(0);
    auto item = std::make_unique<int>(7);
    EXPECT_FALSE((co_await MoveOnAfter(Ticks(1), sender.Send(std::move(item))))
                     .has_value());
    if (item != nullptr) Saw("still have " + std::to_string(*item));
    if (IsWouldBlock(receiver.TryReceive().status())) Saw("nothing there");
  });
}

TEST(Channel, AReceiveThatWasStoppedTookNothing) {
  Conforms("gave up@1, 7", []() -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(1);
    if (!(co_await MoveOnAfter(Ticks(1), receiver.Receive())).has_value())
      Saw("gave up");
    co_await OrReturn(sender.Send(7));
    co_await SayReceived(&receiver);
    co_return absl::OkStatus();
  });
}

TEST(Channel, AnItemThatWasHandedOverIsGivenWhateverIsCancelledThen) {
  Conforms("7", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    auto receiving = group.Start("receiver", SayReceived, &receiver, "");
    co_await OthersWait();
    co_await OrReturn(sender.Send(7));
    receiving.Cancel();
    co_return co_await group.Join();
  });
}

TEST(Channel, AnItemIsNeverHandedToATaskThatIsBeingCancelled) {
  Conforms("b 7", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    auto cancelled = group.Start("receiver", SayReceived, &receiver, "a");
    co_await OthersWait();
    group.Start("receiver", SayReceived, &receiver, "b");
    co_await OthersWait();
    cancelled.Cancel();
    co_await OrReturn(sender.Send(7));
    co_return co_await group.Join();
  });
}

TEST(Channel, ItemsOfAStoppedSenderDoNotBlockTheOthers) {
  Conforms("gave up@1, 2", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    group.Start("impatient", [&]() -> Task<void> {
      if (!(co_await MoveOnAfter(Ticks(1), sender.Send(1))).has_value())
        Saw("gave up");
    });
    co_await OthersWait();
    group.Start("patient", [&]() -> Task<absl::Status> {
      co_return co_await sender.Send(2);
    });
    co_await SleepFor(Ticks(1));
    co_await OthersWait();
    co_await SayReceived(&receiver);
    co_return co_await group.Join();
  });
}

// -------------------------------------------------------------------- ending

TEST(Channel, WhatIsInTheBufferIsReceivedBeforeTheEnd) {
  Conforms("1, 2, end, end", []() -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(2);
    co_await OrReturn(sender.Send(1));
    co_await OrReturn(sender.Send(2));
    sender.Close();
    for (int i = 0; i < 4; ++i) co_await SayReceived(&receiver);
    co_return absl::OkStatus();
  });
}

TEST(Channel, TheLastSenderThatClosesEndsTheStream) {
  Conforms("one closed, two closed@1, end", [](TaskGroup& group) -> Task<void> {
    auto [sender, receiver] = MakeChannel<int>(0);
    Sender<int> other = sender.Clone();
    auto receiving = group.Start("receiver", SayReceived, &receiver, "");
    co_await OthersWait();
    sender.Close();
    Saw("one closed");
    co_await SleepFor(Ticks(1));
    Saw("two closed");
    other.Close();
    (void)co_await receiving.Join();
  });
}

TEST(Channel, TheLastReceiverThatClosesBreaksIt) {
  Conforms("1 sent, 2 broken, 3 broken", [](TaskGroup& group) -> Task<void> {
    auto [sender, receiver] = MakeChannel<int>(1);
    Receiver<int> other = receiver.Clone();
    co_await SaySent(&sender, 1);
    auto sending = group.Start("sender", SaySent, &sender, 2);
    co_await OthersWait();
    receiver.Close();
    co_await OthersWait();
    EXPECT_FALSE(sending.done()) << "one is left";
    other.Close();
    (void)co_await sending.Join();
    co_await SaySent(&sender, 3);
  });
}

TEST(Channel, ClosingAnEndWakesTasksThatWaitOnIt) {
  Conforms("[1 closed, closed]@1", [](TaskGroup& group) -> Task<absl::Status> {
    auto full = MakeChannel<int>(0);
    auto empty = MakeChannel<int>(0);
    group.Start("sender", SaySent, &full.sender, 1);
    group.Start("receiver", SayReceived, &empty.receiver, "");
    co_await SleepFor(Ticks(1));
    full.sender.Close();
    empty.receiver.Close();
    co_return co_await group.Join();
  });
}

TEST(Channel, AnEndThatIsClosedRefusesItsLaterUse) {
  Conforms("1 closed, closed, would block", []() -> Task<void> {
    auto [sender, receiver] = MakeChannel<int>(1);
    Sender<int> other = sender.Clone();
    sender.Close();
    sender.Close();
    co_await SaySent(&sender, 1);
    Saw(Text(sender.TrySend(1)));
    Saw(Text(receiver.TryReceive()));
  });
}

TEST(Channel, TheBufferIsDroppedWithTheLastReceiver) {
  Conforms("dropped, closed the receiver", []() -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<SaysAtItsEnd>(1);
    co_await OrReturn(sender.Send(SaysAtItsEnd("dropped")));
    receiver.Close();
    Saw("closed the receiver");
    co_return absl::OkStatus();
  });
}

TEST(Channel, TryVariantsSayThatTheyWouldBlock) {
  Conforms("would block, sent, would block, 1, end", []() -> Task<void> {
    auto [sender, receiver] = MakeChannel<int>(1);
    Saw(Text(receiver.TryReceive()));
    Saw(Text(sender.TrySend(1)));
    Saw(Text(sender.TrySend(2)));
    Saw(Text(receiver.TryReceive()));
    sender.Close();
    Saw(Text(receiver.TryReceive()));
    co_return;
  });
}

TEST(Channel, AStoppedTaskClosesTheEndsItOwns) {
  Conforms("end@1", [](TaskGroup& group) -> Task<void> {
    auto [sender, receiver] = MakeChannel<int>(0);
    auto owner = group.Start(
        "owner",
        [](Sender<int> mine) -> Task<void> {
          co_await SleepForever();
          mine.Close();
        },
        std::move(sender));
    group.Start("canceller", [owner]() mutable -> Task<void> {
      co_await SleepFor(Ticks(1));
      owner.Cancel();
    });
    co_await SayReceived(&receiver);
  });
}

TEST(Channel, AnEndMayMoveWhileATaskWaitsOnIt) {
  Conforms("7@1", [](TaskGroup& group) -> Task<absl::Status> {
    auto [sender, receiver] = MakeChannel<int>(0);
    group.Start("receiver", SayReceived, &receiver, "");
    co_await SleepFor(Ticks(1));
    const Receiver<int> moved = std::move(receiver);
    co_await OrReturn(sender.Send(7));
    co_return co_await group.Join();
  });
}

TEST(Channel, SaysWhoWaitsAndWhatItHolds) {
  Conforms("2 held; 1 sender waits", [](TaskGroup& group) -> Task<void> {
    auto [sender, receiver] = MakeChannel<int>(2);
    for (int i = 0; i < 3; ++i) {
      group.Start("sender", [&sender, i]() -> Task<void> {
        (co_await sender.Send(i)).IgnoreError();
      });
    }
    co_await OthersWait();
    const ChannelStats stats = receiver.stats();
    Saw(std::to_string(stats.buffer_used) + " held; " +
        std::to_string(stats.tasks_waiting_to_send) + " sender waits");
    group.Cancel();
    co_await Shield([]() -> Task<void> { co_await OthersWait(); });
  });
}

TEST(Channel, APipelineOfTasksEndsWithItsSource) {
  Conforms("4, 16, 36, end", [](TaskGroup& group) -> Task<void> {
    auto [numbers, to_double] = MakeChannel<int>(0);
    auto [doubled, to_square] = MakeChannel<int>(0);
    auto [squared, results] = MakeChannel<int>(0);
    group.Start(
        "source",
        [](Sender<int> out) -> Task<absl::Status> {
          for (int i = 1; i <= 3; ++i) co_await OrReturn(out.Send(i));
          co_return absl::OkStatus();
        },
        std::move(numbers));
    const auto stage = [](Receiver<int> in, Sender<int> out,
                          int (*apply)(int)) -> Task<absl::Status> {
      while (auto item = co_await OrReturn(in.Receive()))
        co_await OrReturn(out.Send(apply(*item)));
      co_return absl::OkStatus();
    };
    group.Start("double", stage, std::move(to_double), std::move(doubled),
                [](int i) { return 2 * i; });
    group.Start("square", stage, std::move(to_square), std::move(squared),
                [](int i) { return i * i; });
    for (int i = 0; i < 4; ++i) co_await SayReceived(&results);
  });
}

}  // namespace
}  // namespace braid::conformance
