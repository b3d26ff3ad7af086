// UdpSocket.

#include "braid/net/udp.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/network.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

struct Pair {
  UdpSocket a;
  UdpSocket b;
};
Task<absl::StatusOr<Pair>> BoundPair(UdpOptions options = {}) {
  UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback, options));
  UdpSocket b = co_await OrReturn(UdpSocket::Bind(kLoopback, options));
  co_return Pair{std::move(a), std::move(b)};
}

TEST(Udp, ADatagramArrivesWithTheAddressesOfBothEnds) {
  Conforms("hello from a to b", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    co_await OrReturn(a.SendTo("hello", b.local_address()));
    DatagramBuffer buffer;
    const Datagram got = co_await OrReturn(b.Receive(buffer));
    Saw(std::string(got.data.text()) +
        (got.peer == a.local_address() ? " from a" : " from ?") +
        (got.local == b.local_address() ? " to b" : " to ?"));
    co_return absl::OkStatus();
  });
}

TEST(Udp, AReplyGoesBack) {
  Conforms("ping, pong", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    co_await OrReturn(a.SendTo("ping", b.local_address()));
    DatagramBuffer buffer;
    const Datagram got = co_await OrReturn(b.Receive(buffer));
    Saw(got.data.text());
    co_await OrReturn(b.Reply(got, "pong"));
    Saw(co_await ReceiveText(&a));
    co_return absl::OkStatus();
  });
}

TEST(Udp, AnEmptyDatagramIsADatagram) {
  Conforms("'', 'x'", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    co_await OrReturn(a.SendTo("", b.local_address()));
    co_await OrReturn(a.SendTo("x", b.local_address()));
    for (int i = 0; i < 2; ++i) Saw("'" + co_await ReceiveText(&b) + "'");
    co_return absl::OkStatus();
  });
}

TEST(Udp, DatagramsAreNotMergedOrSplit) {
  Conforms("one, two, three", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    for (const char* text : {"one", "two", "three"})
      co_await OrReturn(a.SendTo(text, b.local_address()));
    for (int i = 0; i < 3; ++i) Saw(co_await ReceiveText(&b));
    co_return absl::OkStatus();
  });
}

TEST(Udp, OneThatIsLongerThanTheBufferIsCutAndSaysSo) {
  Conforms("hel of 5, next", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    co_await OrReturn(a.SendTo("hello", b.local_address()));
    co_await OrReturn(a.SendTo("next", b.local_address()));
    std::string small(3, '\0');
    const Datagram got = co_await OrReturn(b.Receive(small));
    EXPECT_TRUE(got.truncated());
    Saw(std::string(got.data.text()) + " of " + std::to_string(got.size));
    Saw(co_await ReceiveText(&b));
    co_return absl::OkStatus();
  });
}

TEST(Udp, TheLargestDatagramArrivesWhole) {
  Conforms("65507 bytes", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    const std::string large(65507, 'x');
    co_await OrReturn(a.SendTo(large, b.local_address()));
    Saw(std::to_string((co_await ReceiveText(&b)).size()) + " bytes");
    co_return absl::OkStatus();
  });
}

TEST(Udp, ATooLongDatagramIsAnErrorAndTheSocketStaysGood) {
  Conforms("INVALID_ARGUMENT, after", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    const std::string too_long(70'000, 'x');
    Saw(Kind(co_await a.SendTo(too_long, b.local_address())));
    co_await OrReturn(a.SendTo("after", b.local_address()));
    Saw(co_await ReceiveText(&b));
    co_return absl::OkStatus();
  });
}

TEST(Udp, ABurstIsKeptUntilItIsRead) {
  Conforms("150 in order", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair({.receive_buffer = 1 << 18}));
    for (int i = 0; i < 150; ++i)
      co_await OrReturn(a.SendTo(std::to_string(i), b.local_address()));
    int in_order = 0;
    while (in_order < 150 &&
           co_await ReceiveText(&b) == std::to_string(in_order))
      ++in_order;
    Saw(std::to_string(in_order) + " in order");
    co_return absl::OkStatus();
  });
}

TEST(Udp, AReceiverWaitsUntilOneComes) {
  Conforms("late@2", [](TaskGroup& group) -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    group.Start("receiver",
                [&]() -> Task<void> { Saw(co_await ReceiveText(&b)); });
    co_await SleepFor(Ticks(2));
    co_await OrReturn(a.SendTo("late", b.local_address()));
    co_return co_await group.Join();
  });
}

TEST(Udp, AConnectedSocketTalksToItsPeerOnly) {
  Conforms("from its peer", []() -> Task<absl::Status> {
    auto [server, stranger] = co_await OrReturn(BoundPair());
    UdpSocket client =
        co_await OrReturn(UdpSocket::Connect(server.local_address()));
    EXPECT_EQ(client.peer_address(), server.local_address());
    co_await OrReturn(client.Send("hello"));
    DatagramBuffer buffer;
    const Datagram hello = co_await OrReturn(server.Receive(buffer));
    co_await OrReturn(stranger.SendTo("from a stranger", hello.peer));
    co_await OrReturn(server.Reply(hello, "from its peer"));
    Saw(co_await ReceiveText(&client));
    co_return absl::OkStatus();
  });
}

TEST(Udp, APeerThatIsGoneIsAnErrorOfAConnectedSocketThatPasses) {
  Conforms("UNAVAILABLE, back again", []() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(UdpSocket::Bind(kLoopback));
    const SocketAddress address = server.local_address();
    UdpSocket client = co_await OrReturn(UdpSocket::Connect(address));
    co_await server.Close();
    co_await OrReturn(client.Send("anybody?"));
    Saw(co_await ReceiveText(&client));
    UdpSocket again = co_await OrReturn(UdpSocket::Bind(address));
    co_await OrReturn(client.Send("hello"));
    DatagramBuffer buffer;
    const Datagram hello = co_await OrReturn(again.Receive(buffer));
    co_await OrReturn(again.Reply(hello, "back again"));
    Saw(co_await ReceiveText(&client));
    co_return absl::OkStatus();
  });
}

TEST(Udp, APortThatIsTakenIsSaidSo) {
  Conforms("ALREADY_EXISTS; names it", []() -> Task<absl::Status> {
    UdpSocket first = co_await OrReturn(UdpSocket::Bind(kLoopback));
    const absl::Status second = UdpSocket::Bind(first.local_address()).status();
    const std::string port = std::to_string(first.local_address().port());
    Saw(Kind(second) +
        (Text(second).find(port) != std::string::npos ? "; names it" : ""));
    co_return absl::OkStatus();
  });
}

TEST(Udp, APortIsFreeAgainOnceCloseHasCompleted) {
  Conforms("bound 5 times", []() -> Task<absl::Status> {
    SocketAddress address = co_await OrReturn(SocketAddress::Parse(kLoopback));
    for (int i = 0; i < 5; ++i) {
      UdpSocket socket = co_await OrReturn(UdpSocket::Bind(address));
      address = socket.local_address();
      co_await socket.Close();
    }
    Saw("bound 5 times");
    co_return absl::OkStatus();
  });
}

TEST(Udp, SeveralSocketsShareAPortOnRequest) {
  Conforms("both bound", []() -> Task<absl::Status> {
    UdpSocket first =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.reuse_port = true}));
    UdpSocket second = co_await OrReturn(
        UdpSocket::Bind(first.local_address(), {.reuse_port = true}));
    Saw("both bound");
    co_return absl::OkStatus();
  });
}

TEST(Udp, SpeaksIPv6) {
  Conforms("six", []() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind("[::1]:0"));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind("[::1]:0"));
    co_await OrReturn(a.SendTo("six", b.local_address()));
    DatagramBuffer buffer;
    const Datagram got = co_await OrReturn(b.Receive(buffer));
    EXPECT_TRUE(got.peer.is_v6());
    Saw(got.data.text());
    co_return absl::OkStatus();
  });
}

TEST(Udp, OnAllAddressesIPv4PeersAreMapped) {
  Conforms("mapped, reply", []() -> Task<absl::Status> {
    UdpSocket all = co_await OrReturn(UdpSocket::Bind(SocketAddress::Any(0)));
    UdpSocket four = co_await OrReturn(UdpSocket::Bind(kLoopback));
    co_await OrReturn(four.SendTo(
        "x", SocketAddress::LoopbackV4(all.local_address().port())));
    DatagramBuffer buffer;
    const Datagram got = co_await OrReturn(all.Receive(buffer));
    Saw(got.peer.is_v4_mapped() ? "mapped" : got.peer.ToString());
    co_await OrReturn(all.Reply(got, "reply"));
    Saw(co_await ReceiveText(&four));
    co_return absl::OkStatus();
  });
}

TEST(Udp, ASecondReceiverIsBusy) {
  Conforms("busy, for the first", [](TaskGroup& group) -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    auto first = group.Start(
        "first", [&]() -> Task<void> { Saw(co_await ReceiveText(&b)); });
    co_await OthersWait();
    Saw(co_await ReceiveText(&b));
    co_await OrReturn(a.SendTo("for the first", b.local_address()));
    (void)co_await first.Join();
    co_return absl::OkStatus();
  });
}

TEST(Udp, CloseWakesWhoReceives) {
  Conforms("closed@1", [](TaskGroup& group) -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind(kLoopback));
    group.Start("receiver",
                [&]() -> Task<void> { Saw(co_await ReceiveText(&socket)); });
    co_await SleepFor(Ticks(1));
    co_await socket.Close();
    co_return co_await group.Join();
  });
}

TEST(Udp, ASocketThatIsClosedRefusesEverything) {
  Conforms("closed, closed, closed, closed", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    const SocketAddress to = b.local_address();
    co_await a.Close();
    co_await a.Close();
    Saw(Kind(co_await a.SendTo("x", to)));
    Saw(co_await ReceiveText(&a));
    Saw(Kind((co_await a.ReceiveBatch()).status()));
    const std::vector<Datagram> one(1);
    Saw(Kind((co_await a.SendBatch(one)).status()));
    co_return absl::OkStatus();
  });
}

TEST(Udp, ASocketThatGoesWakesWhoReceives) {
  Conforms("closed@1", [](TaskGroup& group) -> Task<absl::Status> {
    std::optional<UdpSocket> socket =
        co_await OrReturn(UdpSocket::Bind(kLoopback));
    group.Start("receiver",
                [&]() -> Task<void> { Saw(co_await ReceiveText(&*socket)); });
    co_await SleepFor(Ticks(1));
    socket.reset();
    co_return co_await group.Join();
  });
}

TEST(Udp, ACloseThatIsCancelledReleasesAllTheSame) {
  Conforms("bound again", []() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind(kLoopback));
    const SocketAddress address = socket.local_address();
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run([&]() -> Task<void> { co_await socket.Close(); });
    co_await socket.Close();
    co_await OrReturn(UdpSocket::Bind(address));
    Saw("bound again");
    co_return absl::OkStatus();
  });
}

TEST(Udp, AReceiveThatWasStoppedTookNothing) {
  Conforms("gave up@1, still here", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    if (!(co_await MoveOnAfter(Ticks(1), ReceiveText(&b))).has_value())
      Saw("gave up");
    co_await OrReturn(a.SendTo("still here", b.local_address()));
    Saw(co_await ReceiveText(&b));
    co_return absl::OkStatus();
  });
}

TEST(Udp, ASendInACancelledScopeSendsNothing) {
  Conforms("nothing came@1", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    CancelScope scope;
    scope.Cancel();
    (void)co_await scope.Run(a.SendTo("x", b.local_address()));
    if (!(co_await MoveOnAfter(Ticks(1), ReceiveText(&b))).has_value())
      Saw("nothing came");
    co_return absl::OkStatus();
  });
}

TEST(Udp, ABatchHoldsWhatIsThere) {
  Conforms("a b c", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    for (const char* text : {"a", "b", "c"})
      co_await OrReturn(a.SendTo(text, b.local_address()));
    std::string all;
    // How many come together is the backend's to say.
    while (all.size() < 5) {
      const DatagramBatch batch = co_await OrReturn(b.ReceiveBatch());
      EXPECT_GT(batch.size(), 0u);
      for (const Datagram& one : batch)
        all += (all.empty() ? "" : " ") + std::string(one.data.text());
    }
    Saw(all);
    co_return absl::OkStatus();
  });
}

TEST(Udp, ABatchIsSentInOrderToEachItsPeer) {
  Conforms("sent 4, b: 0 2, c: 1 3", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    UdpSocket c = co_await OrReturn(UdpSocket::Bind(kLoopback));
    std::string texts[] = {"0", "1", "2", "3"};
    std::vector<Datagram> batch(4);
    for (size_t i = 0; i < 4; ++i) {
      batch[i].data = texts[i];
      batch[i].peer = (i % 2 == 0 ? b : c).local_address();
    }
    size_t sent = 0;
    while (sent < 4) {
      sent += co_await OrReturn(
          a.SendBatch(std::span<const Datagram>(batch).subspan(sent)));
    }
    Saw("sent " + std::to_string(sent));
    for (UdpSocket* socket : {&b, &c}) {
      const std::string first = co_await ReceiveText(socket);
      Saw((socket == &b ? "b: " : "c: ") + first + " " +
          co_await ReceiveText(socket));
    }
    co_return absl::OkStatus();
  });
}

TEST(Udp, ABatchOfNothingIsSentAtOnce) {
  Conforms("sent 0", []() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind(kLoopback));
    Saw("sent " + std::to_string(co_await OrReturn(socket.SendBatch({}))));
    co_return absl::OkStatus();
  });
}

TEST(Udp, ABatchSaysWhatWasCut) {
  Conforms("cut to 16 of 20", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair({.batch_datagram_size = 16}));
    co_await OrReturn(a.SendTo(std::string(20, 'x'), b.local_address()));
    const DatagramBatch batch = co_await OrReturn(b.ReceiveBatch());
    EXPECT_TRUE(batch[0].truncated());
    Saw("cut to " + std::to_string(batch[0].data.size()) + " of " +
        std::to_string(batch[0].size));
    co_return absl::OkStatus();
  });
}

// Datagrams of every length up to 40 and back, in batches of at most 7; 'x' for
// each that isn't as it was sent.
Task<absl::Status> SendTriangle(UdpOptions sender, UdpOptions receiver) {
  UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback, sender));
  UdpSocket b = co_await OrReturn(UdpSocket::Bind(kLoopback, receiver));
  std::vector<std::string> texts;
  for (size_t i = 0; i < 160; ++i) {
    const size_t length = i / 2 < 40 ? i / 2 : 80 - i / 2;
    texts.emplace_back(length, static_cast<char>('a' + i % 26));
  }
  std::vector<Datagram> batch(texts.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    batch[i].data = texts[i];
    batch[i].peer = b.local_address();
  }
  std::span<const Datagram> rest = batch;
  while (!rest.empty())
    rest = rest.subspan(co_await OrReturn(a.SendBatch(rest)));
  size_t got = 0;
  std::string wrong;
  while (got < texts.size()) {
    const DatagramBatch some = co_await OrReturn(b.ReceiveBatch());
    EXPECT_LE(some.size(), 7u);
    for (const Datagram& one : some) {
      if (one.data.text() != texts[got++] || one.truncated() ||
          one.peer != a.local_address() || one.local != b.local_address()) {
        wrong += 'x';
      }
    }
  }
  Saw(std::to_string(got) + " as sent" + wrong);
  co_return absl::OkStatus();
}

TEST(Udp, OffloadChangesNothingThatIsSeen) {
  Conforms("160 as sent, 160 as sent, 160 as sent, 160 as sent",
           []() -> Task<absl::Status> {
             for (const bool sender : {false, true}) {
               for (const bool receiver : {false, true}) {
                 co_await OrReturn(SendTriangle({.offload = sender},
                                                {.receive_buffer = 1 << 18,
                                                 .batch_size = 7,
                                                 .offload = receiver}));
               }
             }
             co_return absl::OkStatus();
           });
}

TEST(Udp, WhatWaitsOfARunIsKeptFromAReceiveThatIsStopped) {
  Conforms("0, 1, nothing lost", []() -> Task<absl::Status> {
    auto [a, b] =
        co_await OrReturn(BoundPair({.batch_size = 1, .offload = true}));
    std::string texts[] = {"0", "1", "2"};
    std::vector<Datagram> batch(3);
    for (size_t i = 0; i < 3; ++i) {
      batch[i].data = texts[i];
      batch[i].peer = b.local_address();
    }
    std::span<const Datagram> rest = batch;
    while (!rest.empty())
      rest = rest.subspan(co_await OrReturn(a.SendBatch(rest)));
    {
      const DatagramBatch first = co_await OrReturn(b.ReceiveBatch());
      Saw(first[0].data.text());
    }
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE((co_await scope.Run(b.ReceiveBatch())).has_value());
    Saw(co_await ReceiveText(&b));
    const DatagramBatch last = co_await OrReturn(b.ReceiveBatch());
    if (last[0].data.text() == "2") Saw("nothing lost");
    co_return absl::OkStatus();
  });
}

TEST(Udp, BatchesThatAreLentHoldTheReceiverBack) {
  Conforms("holds back@1, two", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair({.max_batches = 1}));
    co_await OrReturn(a.SendTo("one", b.local_address()));
    std::optional<DatagramBatch> lent = co_await OrReturn(b.ReceiveBatch());
    co_await OrReturn(a.SendTo("two", b.local_address()));
    if (!(co_await MoveOnAfter(Ticks(1), b.ReceiveBatch())).has_value())
      Saw("holds back");
    lent.reset();
    const DatagramBatch next = co_await OrReturn(b.ReceiveBatch());
    Saw(next[0].data.text());
    co_return absl::OkStatus();
  });
}

TEST(Udp, ABatchMayOutliveItsSocket) {
  Conforms("kept", []() -> Task<absl::Status> {
    auto pair = co_await OrReturn(BoundPair());
    std::optional<UdpSocket> b = std::move(pair.b);
    co_await OrReturn(pair.a.SendTo("kept", b->local_address()));
    const DatagramBatch batch = co_await OrReturn(b->ReceiveBatch());
    co_await b->Close();
    b.reset();
    Saw(batch[0].data.text());
    co_return absl::OkStatus();
  });
}

TEST(Udp, OptionsOutOfRangeAreRefused) {
  Conforms(
      "INVALID_ARGUMENT, INVALID_ARGUMENT, INVALID_ARGUMENT",
      []() -> Task<void> {
        Saw(Kind(UdpSocket::Bind(kLoopback, {.batch_size = 0}).status()));
        Saw(Kind(UdpSocket::Bind(kLoopback, {.receive_buffer = -1}).status()));
        Saw(Kind(UdpSocket::Bind("localhost").status()));
        co_return;
      });
}

TEST(Udp, BothDirectionsAtOnce) {
  Conforms("20 each way", []() -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(BoundPair());
    int received = 0;
    const auto talk = [&](UdpSocket* from,
                          UdpSocket* to) -> Task<absl::Status> {
      for (int i = 0; i < 20; ++i)
        co_await OrReturn(from->SendTo("x", to->local_address()));
      for (int i = 0; i < 20; ++i)
        received += co_await ReceiveText(from) == "x" ? 1 : 0;
      co_return absl::OkStatus();
    };
    co_await OrReturn(AllOf(talk(&a, &b), talk(&b, &a)));
    Saw(std::to_string(received / 2) + " each way");
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid::conformance
