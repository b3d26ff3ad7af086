#include "braid/net/udp.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr char kLoopback[] = "127.0.0.1:0";

// What a socket does is the same with offload and without.
bool offload = false;

template <typename Body>
void EachWay(Body body) {
  for (const bool with : {false, true}) {
    SCOPED_TRACE(with ? "with offload" : "without offload");
    offload = with;
    RunOnEveryBackend(body);
  }
}

template <typename Body>
void EachWayOnRealBackends(const char* why, Body body) {
  for (const bool with : {false, true}) {
    SCOPED_TRACE(with ? "with offload" : "without offload");
    offload = with;
    RunOnRealBackends(why, body);
  }
}

template <typename Address>
absl::StatusOr<UdpSocket> Bind(const Address& address,
                               UdpOptions options = {}) {
  options.offload = offload;
  return UdpSocket::Bind(address, options);
}

absl::StatusOr<UdpSocket> Connect(const SocketAddress& peer) {
  return UdpSocket::Connect(peer, {.offload = offload});
}

// Two sockets that know each other.
struct Pair {
  UdpSocket a;
  UdpSocket b;
  SocketAddress to_a() const { return a.local_address(); }
  SocketAddress to_b() const { return b.local_address(); }
};

absl::StatusOr<Pair> MakePair(const UdpOptions& options = {}) {
  absl::StatusOr<UdpSocket> a = Bind(kLoopback, options);
  absl::StatusOr<UdpSocket> b = Bind(kLoopback, options);
  if (!a.ok()) return a.status();
  if (!b.ok()) return b.status();
  return Pair{*std::move(a), *std::move(b)};
}

Task<absl::StatusOr<std::string>> ReceiveText(UdpSocket* socket) {
  DatagramBuffer buffer;
  Datagram datagram = co_await OrReturn(socket->Receive(buffer));
  co_return std::string(datagram.data.text());
}

TEST(UdpSocket, SaysWhereItIsBound) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(Bind(kLoopback));
    EXPECT_EQ(socket.local_address().HostString(), "127.0.0.1");
    EXPECT_NE(socket.local_address().port(), 0);
    EXPECT_TRUE(socket.peer_address().empty());
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, DeliversDatagramsWithTheirAddresses) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    co_await OrReturn(pair.a.SendTo("one", pair.to_b()));
    co_await OrReturn(pair.a.SendTo("three", pair.to_b()));
    DatagramBuffer buffer;
    Datagram first = co_await OrReturn(pair.b.Receive(buffer));
    EXPECT_EQ(first.data.text(), "one");
    EXPECT_EQ(first.size, 3u);
    EXPECT_FALSE(first.truncated());
    EXPECT_EQ(first.peer, pair.to_a());
    EXPECT_EQ(first.local, pair.to_b());
    Datagram second = co_await OrReturn(pair.b.Receive(buffer));
    EXPECT_EQ(second.data.text(), "three");
    co_return absl::OkStatus();
  });
}

// One of the two backends of AnyIO drops them.
TEST(UdpSocket, AnEmptyDatagramIsADatagram) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    co_await OrReturn(pair.a.SendTo("", pair.to_b()));
    co_await OrReturn(pair.a.SendTo("x", pair.to_b()));
    DatagramBuffer buffer;
    Datagram empty = co_await OrReturn(pair.b.Receive(buffer));
    EXPECT_TRUE(empty.data.empty());
    EXPECT_FALSE(empty.truncated());
    EXPECT_EQ(empty.peer, pair.to_a());
    EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), "x");
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, SaysThatADatagramIsTruncated) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    co_await OrReturn(pair.a.SendTo("0123456789", pair.to_b()));
    co_await OrReturn(pair.a.SendTo("next", pair.to_b()));
    std::array<char, 4> buffer;
    Datagram datagram = co_await OrReturn(pair.b.Receive(buffer));
    EXPECT_EQ(datagram.data.text(), "0123");
    EXPECT_EQ(datagram.size, 10u);
    EXPECT_TRUE(datagram.truncated());
    EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), "next");
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, DeliversAWholeBurst) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    for (int i = 0; i < 150; ++i)
      co_await OrReturn(pair.a.SendTo(std::to_string(i), pair.to_b()));
    for (int i = 0; i < 150; ++i)
      EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), std::to_string(i));
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, SaysThatADatagramIsTooLong) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    const std::string tooLong(70'000, 'x');
    const absl::Status status = co_await pair.a.SendTo(tooLong, pair.to_b());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find("70000 bytes"), std::string::npos)
        << status;
    EXPECT_NE(status.message().find(pair.to_b().ToString()), std::string::npos)
        << status;
    // The largest there is, whole.
    const std::string largest(65'507, 'y');
    co_await OrReturn(pair.a.SendTo(largest, pair.to_b()));
    EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), largest);
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, AConnectedSocketIsToldThatItsPeerIsGone) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    UdpSocket client = co_await OrReturn(Connect(pair.to_b()));
    EXPECT_EQ(client.peer_address(), pair.to_b());
    const SocketAddress to_b = pair.to_b();
    co_await pair.b.Close();
    co_await OrReturn(client.Send("anyone?"));
    DatagramBuffer buffer;
    absl::StatusOr<Datagram> answer = co_await client.Receive(buffer);
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable)
        << answer.status();
    EXPECT_NE(answer.status().message().find("ECONNREFUSED"), std::string::npos)
        << answer.status();
    EXPECT_NE(answer.status().message().find(to_b.ToString()),
              std::string::npos)
        << answer.status();
    // It passes: the socket is still good.
    UdpSocket again = co_await OrReturn(Bind(to_b));
    co_await OrReturn(client.Send("and now?"));
    EXPECT_EQ(co_await OrReturn(ReceiveText(&again)), "and now?");
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, AConnectedSocketHearsItsPeerOnly) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    UdpSocket client = co_await OrReturn(Connect(pair.to_b()));
    co_await OrReturn(pair.a.SendTo("not for you", client.local_address()));
    co_await OrReturn(client.Send("hello"));
    DatagramBuffer buffer;
    Datagram hello = co_await OrReturn(pair.b.Receive(buffer));
    co_await OrReturn(pair.b.Reply(hello, "hi"));
    Datagram hi = co_await OrReturn(client.Receive(buffer));
    EXPECT_EQ(hi.data.text(), "hi");
    EXPECT_EQ(hi.peer, pair.to_b());
    EXPECT_EQ(hi.local, client.local_address());
    co_return absl::OkStatus();
  });
}

// A reply from another address would be thrown away by a connected peer.
TEST(UdpSocket, RepliesFromTheAddressThatWasWrittenTo) {
  EachWay([]() -> Task<absl::Status> {
    for (const SocketAddress& any :
         {SocketAddress::AnyV4(0), SocketAddress::Any(0)}) {
      UdpSocket server = co_await OrReturn(Bind(any));
      const SocketAddress second = co_await OrReturn(SocketAddress::Parse(
          "127.0.0.2:" + std::to_string(server.local_address().port())));
      UdpSocket client = co_await OrReturn(Bind(kLoopback));
      co_await OrReturn(client.SendTo("ping", second));
      DatagramBuffer buffer;
      Datagram ping = co_await OrReturn(server.Receive(buffer));
      EXPECT_EQ(ping.local.Unmapped(), second);
      EXPECT_EQ(ping.peer.Unmapped(), client.local_address());
      co_await OrReturn(server.Reply(ping, "pong"));
      Datagram pong = co_await OrReturn(client.Receive(buffer));
      EXPECT_EQ(pong.data.text(), "pong");
      EXPECT_EQ(pong.peer, second);

      // And in batches.
      co_await OrReturn(client.SendTo("ping", second));
      DatagramBatch batch = co_await OrReturn(server.ReceiveBatch());
      EXPECT_EQ(batch.size(), 1u);
      EXPECT_EQ(batch[0].local.Unmapped(), second);
      EXPECT_EQ(co_await OrReturn(server.SendBatch(batch.datagrams())), 1u);
      pong = co_await OrReturn(client.Receive(buffer));
      EXPECT_EQ(pong.peer, second);
    }
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, SpeaksIPv6) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(Bind("[::]:0", {.v6_only = true}));
    UdpSocket client = co_await OrReturn(Bind("[::1]:0"));
    const SocketAddress to_server =
        SocketAddress::LoopbackV6(server.local_address().port());
    co_await OrReturn(client.SendTo("six", to_server));
    DatagramBuffer buffer;
    Datagram datagram = co_await OrReturn(server.Receive(buffer));
    EXPECT_EQ(datagram.peer, client.local_address());
    EXPECT_EQ(datagram.local, to_server);
    co_await OrReturn(server.Reply(datagram, "sechs"));
    Datagram reply = co_await OrReturn(client.Receive(buffer));
    EXPECT_EQ(reply.data.text(), "sechs");
    EXPECT_EQ(reply.peer, to_server);
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, SaysWhichPortIsTaken) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket first = co_await OrReturn(Bind(kLoopback));
    const absl::Status status = Bind(first.local_address()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
    EXPECT_NE(status.message().find(first.local_address().ToString()),
              std::string::npos)
        << status;
    co_return absl::OkStatus();
  });
}

// It was ALREADY_EXISTS, as if the next port were worth a try.
TEST(UdpSocket, SaysThatAnAddressIsNotHere) {
  EachWay([]() -> Task<absl::Status> {
    const SocketAddress elsewhere = *SocketAddress::Parse("192.0.2.1:0");
    const absl::Status status = Bind(elsewhere).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_NE(status.message().find("192.0.2.1"), std::string::npos) << status;
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, SharesAPortOnRequest) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket first = co_await OrReturn(Bind(kLoopback, {.reuse_port = true}));
    UdpSocket second =
        co_await OrReturn(Bind(first.local_address(), {.reuse_port = true}));
    EXPECT_EQ(first.local_address(), second.local_address());
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, RefusesBadOptionsAndAddresses) {
  EachWay([]() -> Task<absl::Status> {
    EXPECT_EQ(Bind("localhost:7").status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Bind(SocketAddress()).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Bind(kLoopback, {.batch_size = 65}).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Bind(kLoopback, {.batch_size = 0}).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Bind(kLoopback, {.max_batches = 0}).status().code(),
              absl::StatusCode::kInvalidArgument);
    // 192.0.2.0/24 is nobody's (RFC 5737).
    EXPECT_FALSE(Bind("192.0.2.1:0").ok());
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, GivesTheBuffersItWasAskedFor) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(
        Bind(kLoopback, {.receive_buffer = 100'000, .send_buffer = 50'000}));
    EXPECT_GE(socket.Info().receive_buffer, 100'000);
    EXPECT_GE(socket.Info().send_buffer, 50'000);
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, CountsWhatTheKernelDrops) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket small =
        co_await OrReturn(Bind(kLoopback, {.receive_buffer = 4096}));
    UdpSocket sender = co_await OrReturn(Bind(kLoopback));
    EXPECT_EQ(small.Info().kernel_drops, 0u);
    constexpr uint64_t kSent = 1000;
    for (uint64_t i = 0; i < kSent; ++i)
      co_await OrReturn(sender.SendTo("filler", small.local_address()));
    uint64_t received = 0;
    DatagramBuffer buffer;
    const uint64_t drops = small.Info().kernel_drops;
    EXPECT_GT(drops, 0u);
    EXPECT_LT(drops, kSent);
    while (received + drops < kSent) {
      co_await OrReturn(small.Receive(buffer));
      ++received;
    }
    EXPECT_EQ(small.Info().kernel_drops, drops);
    co_return absl::OkStatus();
  });
}

// Batches.

TEST(UdpSocket, ReceivesAndSendsInBatches) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    std::vector<std::string> texts;
    std::vector<Datagram> out;
    for (int i = 0; i < 100; ++i)
      texts.push_back(std::string(static_cast<size_t>(i), 'x'));
    for (std::string& text : texts) {
      Datagram datagram;
      datagram.data = text;
      datagram.peer = pair.to_b();
      out.push_back(datagram);
    }
    std::span<const Datagram> rest = out;
    while (!rest.empty()) {
      const size_t sent = co_await OrReturn(pair.a.SendBatch(rest));
      EXPECT_GT(sent, 0u);
      rest = rest.subspan(sent);
    }
    size_t next = 0;
    while (next < texts.size()) {
      DatagramBatch batch = co_await OrReturn(pair.b.ReceiveBatch());
      EXPECT_GT(batch.size(), 0u);
      for (const Datagram& datagram : batch) {
        EXPECT_EQ(datagram.data.text(), texts[next++]);
        EXPECT_EQ(datagram.peer, pair.to_a());
        EXPECT_EQ(datagram.local, pair.to_b());
      }
    }
    EXPECT_EQ(next, texts.size());
    EXPECT_EQ(co_await OrReturn(pair.a.SendBatch({})), 0u);
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, BatchesSayWhatIsTruncated) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(
        MakePair({.batch_size = 8, .batch_datagram_size = 4}));
    co_await OrReturn(pair.a.SendTo("0123456789", pair.to_b()));
    co_await OrReturn(pair.a.SendTo("", pair.to_b()));
    DatagramBatch batch = co_await OrReturn(pair.b.ReceiveBatch());
    EXPECT_EQ(batch.size(), 2u);
    EXPECT_EQ(batch[0].data.text(), "0123");
    EXPECT_EQ(batch[0].size, 10u);
    EXPECT_TRUE(batch[0].truncated());
    EXPECT_FALSE(batch[1].truncated());
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, ABatchIsAsLargeAsItIsAskedToBe) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair({.batch_size = 2}));
    for (int i = 0; i < 5; ++i)
      co_await OrReturn(pair.a.SendTo("x", pair.to_b()));
    for (size_t size : {2u, 2u, 1u}) {
      DatagramBatch batch = co_await OrReturn(pair.b.ReceiveBatch());
      EXPECT_EQ(batch.size(), size);
    }
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, AnErrorInABatchIsAboutItsFirstDatagram) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    std::string tooLong(70'000, 'x');
    std::vector<Datagram> out(3);
    for (Datagram& datagram : out) datagram.peer = pair.to_b();
    out[1].data = tooLong;
    EXPECT_EQ(co_await OrReturn(pair.a.SendBatch(out)), 1u);
    const absl::StatusOr<size_t> failed =
        co_await pair.a.SendBatch(std::span(out).subspan(1));
    EXPECT_EQ(failed.status().code(), absl::StatusCode::kInvalidArgument)
        << failed.status();
    EXPECT_EQ(co_await OrReturn(pair.a.SendBatch(std::span(out).subspan(2))),
              1u);
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, LentBatchesAreBackPressure) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair =
        co_await OrReturn(MakePair({.batch_size = 1, .max_batches = 2}));
    for (int i = 0; i < 3; ++i)
      co_await OrReturn(pair.a.SendTo(std::to_string(i), pair.to_b()));
    DatagramBatch zero = co_await OrReturn(pair.b.ReceiveBatch());
    DatagramBatch one = co_await OrReturn(pair.b.ReceiveBatch());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          std::string third;
          group.Start("third", [&]() -> Task<absl::Status> {
            DatagramBatch two = co_await OrReturn(pair.b.ReceiveBatch());
            third = two[0].data.text();
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("third");
          EXPECT_EQ(third, "");
          {
            DatagramBatch returned = std::move(zero);
          }
          co_await OrReturn(group.Join());
          EXPECT_EQ(third, "2");
          EXPECT_EQ(one[0].data.text(), "1");
          co_return absl::OkStatus();
        });
  });
}

TEST(UdpSocket, AReceiverThatWaitsForABatchToComeBackCanBeCancelledAndClosed) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair =
        co_await OrReturn(MakePair({.batch_size = 1, .max_batches = 1}));
    for (int i = 0; i < 2; ++i)
      co_await OrReturn(pair.a.SendTo(std::to_string(i), pair.to_b()));
    std::optional<DatagramBatch> lent =
        co_await OrReturn(pair.b.ReceiveBatch());
    EXPECT_FALSE(
        (co_await MoveOnAfter(1ms, pair.b.ReceiveBatch())).has_value());
    lent.reset();
    lent = co_await OrReturn(pair.b.ReceiveBatch());
    EXPECT_EQ((*lent)[0].data.text(), "1");  // the cancelled one took nothing
    co_await OrReturn(pair.a.SendTo("2", pair.to_b()));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("receiver", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed((co_await pair.b.ReceiveBatch()).status()));
          });
          co_await UntilWaiting("receiver");
          co_await pair.b.Close();
          co_return co_await group.Join();
        });
  });
}

TEST(UdpSocket, ABatchMayOutliveItsSocket) {
  EachWay([]() -> Task<absl::Status> {
    std::optional<DatagramBatch> batch;
    {
      Pair pair = co_await OrReturn(MakePair());
      co_await OrReturn(pair.a.SendTo("still here", pair.to_b()));
      batch = co_await OrReturn(pair.b.ReceiveBatch());
    }
    EXPECT_EQ((*batch)[0].data.text(), "still here");
    co_return absl::OkStatus();
  });
}

// One at a time, and the end.

TEST(UdpSocket, OneTaskReceivesAtATime) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("first", [&]() -> Task<absl::Status> {
            EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), "for the first");
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("first");
          DatagramBuffer buffer;
          EXPECT_TRUE(IsBusy((co_await pair.b.Receive(buffer)).status()));
          EXPECT_TRUE(IsBusy((co_await pair.b.ReceiveBatch()).status()));
          co_await OrReturn(
              pair.b.SendTo("sending is another matter", pair.to_a()));
          co_await OrReturn(pair.a.SendTo("for the first", pair.to_b()));
          co_return co_await group.Join();
        });
  });
}

TEST(UdpSocket, CloseWakesWhoWaits) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(Bind(kLoopback));
    const SocketAddress address = socket.local_address();
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("receiver", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed((co_await ReceiveText(&socket)).status()));
          });
          co_await UntilWaiting("receiver");
          co_await socket.Close();
          EXPECT_TRUE(Bind(address).ok());  // the address is free
          co_await socket.Close();
          EXPECT_TRUE(IsClosed((co_await ReceiveText(&socket)).status()));
          EXPECT_TRUE(IsClosed(co_await socket.SendTo("x", address)));
          EXPECT_EQ(socket.native_handle(), -1);
          co_return co_await group.Join();
        });
  });
}

TEST(UdpSocket, ASocketThatGoesWakesWhoWaits) {
  EachWay([]() -> Task<absl::Status> {
    std::optional<UdpSocket> socket = co_await OrReturn(Bind(kLoopback));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("receiver", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed((co_await ReceiveText(&*socket)).status()));
          });
          co_await UntilWaiting("receiver");
          socket.reset();
          co_return co_await group.Join();
        });
  });
}

TEST(UdpSocket, ACancelledCloseStillReleases) {
  EachWay([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(Bind(kLoopback));
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(
        co_await scope.Run([&]() -> Task<void> { co_await socket.Close(); }));
    EXPECT_TRUE(Bind(socket.local_address()).ok());
    co_return absl::OkStatus();
  });
}

TEST(UdpSocket, TakesOverASocketOfTheSystem) {
  EachWayOnRealBackends("sockets of the system", []() -> Task<absl::Status> {
    const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
    const SocketAddress loopback = SocketAddress::LoopbackV4(0);
    EXPECT_EQ(::bind(fd, loopback.raw(), loopback.size()), 0);
    UdpSocket socket =
        co_await OrReturn(UdpSocket::FromFd(fd, {.offload = offload}));
    EXPECT_EQ(socket.native_handle(), fd);
    co_await OrReturn(socket.SendTo("to myself", socket.local_address()));
    EXPECT_EQ(co_await OrReturn(ReceiveText(&socket)), "to myself");

    const int stream = ::socket(AF_INET, SOCK_STREAM, 0);
    const absl::Status status = UdpSocket::FromFd(stream).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(::close(stream), 0);  // it stayed ours
    EXPECT_FALSE(UdpSocket::FromFd(-1).ok());
    co_return absl::OkStatus();
  });
}

// Cancellation.

TEST(UdpSocket, ACancelledReceiveTakesNothing) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    DatagramBuffer buffer;

    // Before it starts, with a datagram there.
    co_await OrReturn(pair.a.SendTo("kept", pair.to_b()));
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE((co_await before.Run(pair.b.Receive(buffer))).has_value());
    EXPECT_FALSE(
        (co_await [&]() -> Task<std::optional<absl::StatusOr<DatagramBatch>>> {
          CancelScope scope;
          scope.Cancel();
          co_return co_await scope.Run(pair.b.ReceiveBatch());
        }())
            .has_value());
    EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), "kept");

    // While it waits, and twice.
    CancelScope while_waiting;
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group)
                                        -> Task<absl::Status> {
      group.Start("receiver", [&]() -> Task<void> {
        EXPECT_FALSE(
            (co_await while_waiting.Run(pair.b.Receive(buffer))).has_value());
      });
      co_await UntilWaiting("receiver");
      while_waiting.Cancel("once");
      while_waiting.Cancel("twice");
      co_return co_await group.Join();
    }));
    co_await OrReturn(pair.a.SendTo("after", pair.to_b()));
    EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), "after");
    co_return absl::OkStatus();
  });
}

// The datagrams for both come with the same look at the sockets: the first task
// to run cancels the other, whose datagram has been received then, and is
// delivered.
TEST(UdpSocket, ACancelAtCompletionDeliversTheDatagram) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    UdpSocket sender = co_await OrReturn(Bind(kLoopback));
    CancelScope scope;
    int delivered = 0;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("canceller", [&]() -> Task<absl::Status> {
            EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.a)), "go");
            scope.Cancel();
            co_return absl::OkStatus();
          });
          group.Start("receiver", [&]() -> Task<absl::Status> {
            DatagramBuffer buffer;
            const auto datagram = co_await scope.Run(pair.b.Receive(buffer));
            EXPECT_TRUE(datagram.has_value());
            if (!datagram.has_value()) co_return absl::OkStatus();
            EXPECT_EQ((*datagram)->data.text(), "it");
            ++delivered;
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("canceller");
          co_await UntilWaiting("receiver");
          co_await OrReturn(sender.SendTo("go", pair.to_a()));
          co_await OrReturn(sender.SendTo("it", pair.to_b()));
          co_await OrReturn(group.Join());
          EXPECT_EQ(delivered, 1);
          co_return absl::OkStatus();
        });
  });
}

TEST(UdpSocket, WorksInCleanUp) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair());
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      (void)co_await Finally(SleepForever(), [&]() -> Task<absl::Status> {
        co_await OrReturn(pair.a.SendTo("farewell", pair.to_b()));
        EXPECT_EQ(co_await OrReturn(ReceiveText(&pair.b)), "farewell");
        co_return absl::OkStatus();
      });
    }));
    co_return absl::OkStatus();
  });
}

// A sender that never stops, and a receiver whose patience is short: every
// datagram is received once, in order, or was dropped by the kernel.
TEST(UdpSocket, AFloodWithCancelsLosesNothingButWhatTheKernelDrops) {
  EachWay([]() -> Task<absl::Status> {
    Pair pair = co_await OrReturn(MakePair({.receive_buffer = 16 * 1024}));
    constexpr int kAttempts = 20'000;
    uint64_t sent = 0;
    uint64_t received = 0;
    int stopped = 0;
    int last = -1;
    DatagramBuffer buffer;
    const auto take = [&](const Datagram& datagram) {
      ++received;
      const int number = std::stoi(std::string(datagram.data.text()));
      EXPECT_GT(number, last);
      last = number;
    };
    co_return co_await WithTaskGroup([&](TaskGroup& group)
                                         -> Task<absl::Status> {
      bool enough = false;
      group.Start("sender", [&]() -> Task<absl::Status> {
        while (!enough) {
          for (uint64_t burst = sent % 40; burst > 0; --burst) {
            co_await OrReturn(pair.a.SendTo(std::to_string(sent), pair.to_b()));
            ++sent;
          }
          co_await OrReturn(pair.a.SendTo(std::to_string(sent), pair.to_b()));
          ++sent;
          co_await SleepFor(std::chrono::microseconds(sent % 60));
        }
        co_return absl::OkStatus();
      });
      for (int i = 0; i < kAttempts; ++i) {
        auto got = co_await MoveOnAfter(std::chrono::microseconds(i % 5),
                                        pair.b.Receive(buffer));
        if (got.has_value()) {
          take(co_await OrReturn(*std::move(got)));
        } else {
          ++stopped;
        }
      }
      enough = true;
      co_await OrReturn(group.Join());
      EXPECT_GT(stopped, 0);
      EXPECT_GT(received, 0u);
      while (received + pair.b.Info().kernel_drops < sent)
        take(co_await OrReturn(pair.b.Receive(buffer)));
      EXPECT_EQ(received + pair.b.Info().kernel_drops, sent);
      co_return absl::OkStatus();
    });
  });
}

}  // namespace
}  // namespace braid
