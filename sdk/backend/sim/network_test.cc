#include "braid/backend/sim/network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "braid/testing/explore_seeds.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr SimLink kExact = {.latency = 10ms, .jitter = 0s};

// Two hosts, and a program for each that has to end well.
class Two {
 public:
  explicit Two(SimulationOptions options = {.seed = 1, .link = kExact},
               SimHostOptions host = {})
      : sim(options), a(sim.AddHost("a", host)), b(sim.AddHost("b", host)) {}

  template <typename A, typename B>
  void Run(A main_a, B main_b, Duration limit = 10h) {
    a.Run(std::move(main_a));
    b.Run(std::move(main_b));
    const absl::Status status =
        sim.RunUntil([&] { return a.ended() && b.ended(); }, limit);
    EXPECT_TRUE(status.ok()) << status;
  }
  template <typename A>
  void Run(A main_a) {
    Run(std::move(main_a), []() -> Task<void> { co_return; });
  }

  Simulation sim;
  SimHost& a;
  SimHost& b;
};

Task<absl::StatusOr<std::string>> ReceiveText(UdpSocket* socket) {
  DatagramBuffer buffer;
  Datagram datagram = co_await OrReturn(socket->Receive(buffer));
  co_return std::string(datagram.data.text());
}

Task<absl::StatusOr<std::string>> ReceiveSome(TcpStream* stream) {
  std::array<char, 65536> buffer;
  const size_t size = co_await OrReturn(stream->Receive(buffer));
  co_return std::string(buffer.data(), size);
}

Task<absl::StatusOr<std::string>> ReceiveAll(TcpStream* stream) {
  std::string all;
  for (;;) {
    const std::string some = co_await OrReturn(ReceiveSome(stream));
    if (some.empty()) co_return all;
    all += some;
  }
}

// Bytes that show where they belong.
std::string Pattern(size_t size) {
  std::string text;
  while (text.size() < size) text += std::to_string(text.size()) + ",";
  text.resize(size);
  return text;
}

// Numbered datagrams from a to b, a millisecond apart; what came, in order.
std::vector<int> SendNumbers(Two& two, int count, size_t size = 0) {
  std::vector<int> came;
  const SocketAddress to = two.b.address(7);
  two.Run(
      [=]() -> Task<absl::Status> {
        UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:0"));
        for (int i = 0; i < count; ++i) {
          std::string text = std::to_string(i) + " ";
          text.resize(std::max(text.size(), size));
          co_await OrReturn(socket.SendTo(text, to));
          co_await SleepFor(1ms);
        }
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:7"));
        for (;;) {
          auto text = co_await MoveOnAfter(10s, ReceiveText(&socket));
          if (!text.has_value()) break;
          came.push_back(std::stoi(co_await OrReturn(*std::move(text))));
        }
        co_return absl::OkStatus();
      });
  return came;
}

// Links.

TEST(SimLink, LatencyIsExactWithoutJitter) {
  Two two;
  std::vector<Duration> at;
  two.Run(
      [&]() -> Task<absl::Status> {
        UdpSocket socket =
            co_await OrReturn(UdpSocket::Connect(two.b.address(7)));
        co_await SleepFor(1s);
        co_await OrReturn(socket.Send("x"));
        co_await OrReturn(ReceiveText(&socket));
        at.push_back(two.sim.elapsed());
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:7"));
        DatagramBuffer buffer;
        Datagram datagram = co_await OrReturn(socket.Receive(buffer));
        at.push_back(two.sim.elapsed());
        co_return co_await socket.Reply(datagram, "y");
      });
  EXPECT_EQ(at, (std::vector<Duration>{1010ms, 1020ms}));
}

TEST(SimLink, EachDirectionHasItsOwn) {
  Two two;
  two.sim.network().SetOneWay(two.b, two.a, {.latency = 1s, .jitter = 0s});
  Duration connected{};
  two.Run(
      [&]() -> Task<absl::Status> {
        co_await SleepFor(1s);
        co_await OrReturn(TcpStream::Connect(two.b.address(7)));
        connected = two.sim.elapsed();
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("0.0.0.0:7"));
        co_await OrReturn(listener.Accept());
        co_return absl::OkStatus();
      });
  EXPECT_EQ(connected, 2010ms);
}

TEST(SimLink, JitterKeepsTheOrder) {
  Two two({.seed = 3, .link = {.latency = 1ms, .jitter = 50ms}});
  const std::vector<int> came = SendNumbers(two, 200);
  EXPECT_EQ(came.size(), 200u);
  EXPECT_TRUE(std::ranges::is_sorted(came));
}

TEST(SimLink, ReorderDoesNot) {
  Two two(
      {.seed = 3, .link = {.jitter = 0s, .reorder = 0.2, .reorder_by = 20ms}});
  std::vector<int> came = SendNumbers(two, 200);
  EXPECT_EQ(came.size(), 200u);
  EXPECT_FALSE(std::ranges::is_sorted(came));
  EXPECT_GT(two.sim.network().stats().reordered, 10u);
  std::ranges::sort(came);
  EXPECT_EQ(std::ranges::unique(came).size(), 0u);
}

TEST(SimLink, LosesAsOftenAsItSays) {
  Two two({.seed = 3, .link = {.loss = 0.3}});
  const std::vector<int> came = SendNumbers(two, 2000);
  const SimNetworkStats& stats = two.sim.network().stats();
  EXPECT_EQ(came.size() + stats.lost, 2000u);
  EXPECT_GT(stats.lost, 500u);
  EXPECT_LT(stats.lost, 700u);
}

// A datagram of several fragments is lost with each of them.
TEST(SimLink, LosesLongDatagramsMoreOften) {
  Two two({.seed = 3, .link = {.loss = 0.1}});
  const std::vector<int> came = SendNumbers(two, 1000, 9000);
  const double expected = 1000 * 0.478;  // 0.9 to the power of 7
  EXPECT_GT(static_cast<double>(came.size()), expected - 60);
  EXPECT_LT(static_cast<double>(came.size()), expected + 60);
}

TEST(SimLink, Duplicates) {
  Two two({.seed = 3, .link = {.duplicate = 0.2}});
  std::vector<int> came = SendNumbers(two, 1000);
  EXPECT_EQ(came.size(), 1000 + two.sim.network().stats().duplicated);
  EXPECT_GT(came.size(), 1150u);
  EXPECT_LT(came.size(), 1250u);
  EXPECT_EQ(std::set<int>(came.begin(), came.end()).size(), 1000u);
}

TEST(SimLink, BandwidthTakesTimeAndItsQueueIsBounded) {
  Two two({.seed = 1,
           .link = {.latency = 10ms,
                    .jitter = 0s,
                    .bytes_per_second = 100'000,
                    .queue_bytes = 10'000}});
  std::vector<Duration> at;
  two.Run(
      [&]() -> Task<absl::Status> {
        UdpSocket socket =
            co_await OrReturn(UdpSocket::Connect(two.b.address(7)));
        co_await SleepFor(1s);
        // With headers, 1000 bytes each: ten fit.
        for (int i = 0; i < 12; ++i)
          co_await OrReturn(socket.Send(std::string(972, 'x')));
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:7"));
        for (int i = 0; i < 10; ++i) {
          co_await OrReturn(ReceiveText(&socket));
          at.push_back(two.sim.elapsed());
        }
        co_return absl::OkStatus();
      });
  EXPECT_EQ(at.front(), 1020ms);
  EXPECT_EQ(at.back(), 1110ms);
  EXPECT_EQ(two.sim.network().stats().queue_full, 2u);
}

// Faults.

TEST(SimFault, TheNewestThatMatchesDecides) {
  Two two;
  SimNetwork& network = two.sim.network();
  network.Add({.only = Transport::kUdp, .delay = 1s});
  network.Add({.from = {"a"}, .to = {"b"}, .only = Transport::kTcp, .loss = 1});
  std::vector<std::pair<Duration, std::string>> came;
  two.Run(
      [&]() -> Task<absl::Status> {
        UdpSocket socket =
            co_await OrReturn(UdpSocket::Connect(two.b.address(7)));
        co_await OrReturn(socket.Send("delayed"));
        {
          ScopedFault cut = network.Inject(
              {.from = {"a"},
               .when = [](const SimPacket& packet) { return packet.size == 3; },
               .loss = 1});
          co_await OrReturn(socket.Send("cut"));
          co_await OrReturn(socket.Send("longer"));
          ScopedFault moved = std::move(cut);
        }
        co_await OrReturn(socket.Send("say"));  // it is over
        EXPECT_FALSE(
            (co_await MoveOnAfter(2s, TcpStream::Connect(two.b.address(7))))
                .has_value());
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:7"));
        while (came.size() < 3) {
          std::string text = co_await OrReturn(ReceiveText(&socket));
          came.emplace_back(two.sim.elapsed(), std::move(text));
        }
        co_return absl::OkStatus();
      });
  EXPECT_EQ(came,
            (std::vector<std::pair<Duration, std::string>>{
                {1010ms, "delayed"}, {1010ms, "longer"}, {1010ms, "say"}}));
  EXPECT_EQ(network.stats().cut, 1u + 2u);  // two SYNs
}

TEST(SimFault, AScopedFaultMayOutliveTheSimulation) {
  ScopedFault fault;
  {
    Simulation sim;
    fault = sim.network().Inject(Partition({}, {}));
  }
  fault.End();
}

TEST(SimFault, ACutTakesWhatIsOnItsWay) {
  Two two({.seed = 1, .link = {.latency = 1s, .jitter = 0s}});
  std::vector<std::string> came;
  two.Run(
      [&]() -> Task<absl::Status> {
        UdpSocket socket =
            co_await OrReturn(UdpSocket::Connect(two.b.address(7)));
        co_await OrReturn(socket.Send("cut on its way"));
        co_await SleepFor(500ms);
        ScopedFault cut = two.sim.network().Inject(Partition({"a"}, {"b"}));
        co_await OrReturn(socket.Send("cut at once"));
        co_await SleepFor(600ms);
        cut.End();
        co_await OrReturn(socket.Send("after"));
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:7"));
        came.push_back(co_await OrReturn(ReceiveText(&socket)));
        co_return absl::OkStatus();
      });
  EXPECT_EQ(came, (std::vector<std::string>{"after"}));
  EXPECT_EQ(two.sim.network().stats().cut, 2u);
}

// UDP between hosts; the rest of it is in sdk/net's tests.

TEST(SimUdp, ConnectedSocketsHearOfRefusals) {
  Two two;
  two.Run([&]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Connect(two.b.address(7)));
    co_await OrReturn(socket.Send("anyone?"));
    EXPECT_EQ((co_await ReceiveText(&socket)).status().code(),
              absl::StatusCode::kUnavailable);
    EXPECT_EQ(two.sim.elapsed(), 20ms);
    // Others don't.
    UdpSocket other = co_await OrReturn(UdpSocket::Bind("0.0.0.0:0"));
    co_await OrReturn(other.SendTo("anyone?", two.b.address(7)));
    EXPECT_FALSE((co_await MoveOnAfter(1s, ReceiveText(&other))).has_value());
    co_return absl::OkStatus();
  });
}

TEST(SimUdp, NobodyAndNowhere) {
  Two two;
  two.Run([&]() -> Task<absl::Status> {
    const SocketAddress nobody =
        co_await OrReturn(SocketAddress::Parse("10.200.0.1:7"));
    UdpSocket socket = co_await OrReturn(UdpSocket::Connect(nobody));
    co_await OrReturn(socket.Send("x"));
    const absl::Status status = (co_await ReceiveText(&socket)).status();
    EXPECT_NE(status.message().find("EHOSTUNREACH"), std::string::npos)
        << status;
    EXPECT_EQ(two.sim.elapsed(), 3s);
    const absl::Status nowhere = UdpSocket::Connect("8.8.8.8:53").status();
    EXPECT_NE(nowhere.message().find("ENETUNREACH"), std::string::npos)
        << nowhere;
    co_return absl::OkStatus();
  });
}

TEST(SimUdp, SpeaksIPv6AndBothAtOnce) {
  Two two;
  two.Run(
      [&]() -> Task<absl::Status> {
        UdpSocket six = co_await OrReturn(UdpSocket::Bind("[::]:0"));
        co_await OrReturn(six.SendTo("six", two.b.address_v6(7)));
        EXPECT_EQ(co_await OrReturn(ReceiveText(&six)), "[fd00::1] [fd00::2]");
        UdpSocket four = co_await OrReturn(UdpSocket::Bind("0.0.0.0:0"));
        co_await OrReturn(four.SendTo("four", two.b.address(7)));
        EXPECT_EQ(co_await OrReturn(ReceiveText(&four)),
                  "[::ffff:10.0.0.1] [::ffff:10.0.0.2]");
        EXPECT_FALSE((co_await four.SendTo("x", two.b.address_v6(7))).ok());
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        UdpSocket socket = co_await OrReturn(UdpSocket::Bind("[::]:7"));
        DatagramBuffer buffer;
        for (int i = 0; i < 2; ++i) {
          Datagram datagram = co_await OrReturn(socket.Receive(buffer));
          const std::string text = "[" + datagram.peer.HostString() + "] [" +
                                   datagram.local.HostString() + "]";
          co_await OrReturn(socket.Reply(datagram, text));
        }
        co_return absl::OkStatus();
      });
}

TEST(SimUdp, SocketsThatShareAPortShareTheSenders) {
  Two two;
  std::array<std::set<uint16_t>, 3> senders;
  two.Run(
      [&]() -> Task<absl::Status> {
        for (int i = 0; i < 60; ++i) {
          UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:0"));
          co_await OrReturn(socket.SendTo("x", two.b.address(7)));
          co_await OrReturn(socket.SendTo("x", two.b.address(7)));
        }
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              for (int i = 0; i < 3; ++i) {
                group.Start("shard", [&, i]() -> Task<absl::Status> {
                  UdpSocket socket = co_await OrReturn(
                      UdpSocket::Bind("0.0.0.0:7", {.reuse_port = true}));
                  DatagramBuffer buffer;
                  for (;;) {
                    auto got = co_await MoveOnAfter(1s, socket.Receive(buffer));
                    if (!got.has_value()) break;
                    senders[i].insert((*got)->peer.port());
                  }
                  co_return absl::OkStatus();
                });
              }
              co_return co_await group.Join();
            });
      });
  size_t sum = 0;
  for (const std::set<uint16_t>& of_one : senders) {
    EXPECT_GT(of_one.size(), 5u);
    sum += of_one.size();
  }
  EXPECT_EQ(sum, 60u);  // nobody is heard by two
}

TEST(SimUdp, PortsRunOut) {
  Two two({.seed = 1, .link = kExact},
          {.first_free_port = 40'000, .last_free_port = 40'009});
  two.Run([&]() -> Task<absl::Status> {
    std::vector<UdpSocket> sockets;
    std::set<uint16_t> ports;
    for (int i = 0; i < 10; ++i) {
      sockets.push_back(co_await OrReturn(UdpSocket::Bind("0.0.0.0:0")));
      ports.insert(sockets.back().local_address().port());
    }
    EXPECT_EQ(ports.size(), 10u);
    EXPECT_EQ(*ports.begin(), 40'000);
    EXPECT_EQ(UdpSocket::Bind("0.0.0.0:0").status().code(),
              absl::StatusCode::kAlreadyExists);
    const absl::Status status = UdpSocket::Connect(two.b.address(7)).status();
    EXPECT_NE(status.message().find("EAGAIN"), std::string::npos) << status;
    EXPECT_TRUE(UdpSocket::Bind("0.0.0.0:7").ok());
    sockets.pop_back();
    EXPECT_TRUE(UdpSocket::Bind("0.0.0.0:0").ok());
    co_return absl::OkStatus();
  });
}

// TCP.

// `server` runs with the first connection to port 7 of b, `client` with its
// other end.
template <typename Client, typename Server>
void Converse(Two& two, Client client, Server server, TcpOptions options = {}) {
  two.Run(
      [&, options]() -> Task<absl::Status> {
        co_await SleepFor(1s);
        TcpStream stream =
            co_await OrReturn(TcpStream::Connect(two.b.address(7), options));
        co_return co_await client(stream);
      },
      [&, options]() -> Task<absl::Status> {
        TcpListener listener = co_await OrReturn(
            TcpListener::Bind("0.0.0.0:7", {.stream = options}));
        TcpStream stream = co_await OrReturn(listener.Accept());
        co_return co_await server(stream);
      });
}

TEST(SimTcp, ConnectingTakesARoundTrip) {
  Two two;
  Duration connected{};
  Duration accepted{};
  Converse(
      two,
      [&](TcpStream&) -> Task<absl::Status> {
        connected = two.sim.elapsed();
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        accepted = two.sim.elapsed();
        EXPECT_EQ(stream.peer_address().HostString(), "10.0.0.1");
        EXPECT_EQ(stream.local_address(), two.b.address(7));
        co_return absl::OkStatus();
      });
  EXPECT_EQ(connected, 1020ms);
  EXPECT_EQ(accepted, 1030ms);
}

TEST(SimTcp, RefusedUnreachableAndSilent) {
  Two two;
  std::vector<Duration> took;
  two.Run([&]() -> Task<absl::Status> {
    co_await SleepFor(1s);  // b has ended
    two.b.Crash();
    co_await SleepFor(1s);
    const SocketAddress nobody =
        co_await OrReturn(SocketAddress::Parse("10.200.0.1:7"));
    const SocketAddress nowhere =
        co_await OrReturn(SocketAddress::Parse("8.8.8.8:7"));
    const std::pair<SocketAddress, const char*> cases[] = {
        {two.a.address(7), "ECONNREFUSED"},
        {nowhere, "ENETUNREACH"},
        {nobody, "EHOSTUNREACH"},
        {two.b.address(7), "ETIMEDOUT"}};
    for (const auto& [address, error] : cases) {
      const Duration before = two.sim.elapsed();
      const absl::Status status =
          (co_await TcpStream::Connect(address)).status();
      EXPECT_NE(status.message().find(error), std::string::npos) << status;
      took.push_back(two.sim.elapsed() - before);
    }
    co_return absl::OkStatus();
  });
  EXPECT_EQ(took, (std::vector<Duration>{0s, 0s, 3s, 127s}));
}

TEST(SimTcp, AFullBacklogLetsConnectionsWait) {
  Two two;
  std::vector<Duration> connected;
  two.Run(
      [&]() -> Task<absl::Status> {
        co_await SleepFor(1s);
        std::vector<TcpStream> streams;
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              for (int i = 0; i < 3; ++i) {
                co_await SleepFor(100ms);
                group.Start("client", [&]() -> Task<absl::Status> {
                  streams.push_back(
                      co_await OrReturn(TcpStream::Connect(two.b.address(7))));
                  connected.push_back(two.sim.elapsed());
                  co_return absl::OkStatus();
                });
              }
              co_return co_await group.Join();
            });
      },
      [&]() -> Task<absl::Status> {
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("0.0.0.0:7", {.backlog = 1}));
        co_await SleepFor(2s);
        for (int i = 0; i < 3; ++i) co_await OrReturn(listener.Accept());
        co_return absl::OkStatus();
      });
  // One more than the backlog says may wait; the third is heard when it asks
  // again, after a second.
  EXPECT_EQ(connected, (std::vector<Duration>{1120ms, 1220ms, 2320ms}));
}

TEST(SimTcp, AListenerThatGoesResetsWhoWaits) {
  Two two;
  two.Run(
      [&]() -> Task<absl::Status> {
        co_await SleepFor(1s);
        TcpStream stream =
            co_await OrReturn(TcpStream::Connect(two.b.address(7)));
        EXPECT_TRUE(IsBroken((co_await ReceiveSome(&stream)).status()));
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("0.0.0.0:7"));
        co_await SleepFor(2s);
        co_await listener.Close();
        co_return absl::OkStatus();
      });
}

TEST(SimTcp, HalfAConnectionGoesOn) {
  Two two;
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await OrReturn(stream.Send("question"));
        co_await OrReturn(stream.SendEof());
        EXPECT_EQ(co_await OrReturn(ReceiveAll(&stream)), Pattern(200'000));
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        EXPECT_EQ(co_await OrReturn(ReceiveAll(&stream)), "question");
        co_await SleepFor(200s);  // longer than any timer of TCP
        co_return co_await stream.Send(Pattern(200'000));
      });
}

// The kernel sends what a program left behind when it ended.
TEST(SimTcp, WhatWasSentArrivesAfterTheClose) {
  Two two;
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_return co_await stream.Send(Pattern(100'000));
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await SleepFor(10s);
        EXPECT_EQ(co_await OrReturn(ReceiveAll(&stream)), Pattern(100'000));
        co_return absl::OkStatus();
      });
}

TEST(SimTcp, WhatCameBeforeAResetIsReceivedFirst) {
  Two two;
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await OrReturn(stream.Send("unread"));
        co_await SleepFor(5s);
        EXPECT_EQ(co_await OrReturn(ReceiveSome(&stream)), "last words");
        for (int i = 0; i < 2; ++i)
          EXPECT_TRUE(IsBroken((co_await ReceiveSome(&stream)).status()));
        EXPECT_TRUE(IsBroken(co_await stream.Send("x")));
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await SleepFor(1s);
        co_return co_await stream.Send("last words");
      });
}

// The reset comes before bytes that were lost: it must not be believed before
// they are there.
TEST(SimTcp, AResetDoesNotOvertakeBytes) {
  Two two;
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await OrReturn(stream.Send("unread"));
        EXPECT_EQ(co_await OrReturn(ReceiveSome(&stream)), "first");
        EXPECT_TRUE(IsBroken((co_await ReceiveSome(&stream)).status()));
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await SleepFor(1s);
        ScopedFault slow = two.sim.network().Inject(
            {.from = {"b"},
             .when = [](const SimPacket& packet) { return packet.size > 0; },
             .delay = 5ms});
        co_return co_await stream.Send("first");
      });
  EXPECT_NE(two.sim.trace().find('R'), std::string::npos);
}

TEST(SimTcp, APeerThatNobodyReadsIsHeldBack) {
  Two two;
  constexpr size_t kBuffer = 20'000;
  const std::string all = Pattern(300'000);
  size_t sent = 0;
  Duration finished{};
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        for (; sent < all.size(); sent += 1000)
          co_await OrReturn(stream.Send(all.substr(sent, 1000)));
        finished = two.sim.elapsed();
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await SleepFor(1h);
        EXPECT_EQ(sent, 2 * kBuffer);
        EXPECT_EQ(co_await OrReturn(ReceiveAll(&stream)), all);
        co_return absl::OkStatus();
      },
      {.receive_buffer = kBuffer, .send_buffer = kBuffer});
  EXPECT_GT(finished, 1h);
}

// The news that there is room again is lost: the sender has to ask.
TEST(SimTcp, ALostWindowUpdateDoesNotHang) {
  Two two;
  const std::string all = Pattern(100'000);
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await OrReturn(stream.Send(all));
        co_return co_await stream.SendEof();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await SleepFor(10s);
        ScopedFault cut = two.sim.network().Inject(PartitionOneWay({"b"}, {}));
        std::string got;
        while (got.size() < 16'000)
          got += co_await OrReturn(ReceiveSome(&stream));
        co_await SleepFor(1s);
        cut.End();
        got += co_await OrReturn(ReceiveAll(&stream));
        EXPECT_EQ(got, all);
        co_return absl::OkStatus();
      },
      {.receive_buffer = 16'000});
}

TEST(SimTcp, SegmentsFitTheLink) {
  Two two({.seed = 1, .link = {.mtu = 1400}});
  size_t largest = 0;
  two.sim.network().Add({.when = [&](const SimPacket& packet) {
    largest = std::max(largest, packet.size);
    return false;
  }});
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_return co_await stream.Send(Pattern(50'000));
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        EXPECT_EQ((co_await OrReturn(ReceiveAll(&stream))).size(), 50'000u);
        co_return absl::OkStatus();
      });
  EXPECT_EQ(largest, 1360u);
}

TEST(SimTcp, BytesArriveWhateverTheNetworkDoes) {
  ExploreSeeds(100, [](uint64_t seed) {
    Two two({.seed = seed,
             .link = {.latency = 5ms,
                      .jitter = 5ms,
                      .loss = 0.15,
                      .duplicate = 0.1,
                      .reorder = 0.1,
                      .reorder_by = 30ms}});
    const std::string there = Pattern(60'000);
    const std::string back = Pattern(40'000);
    Converse(
        two,
        [&](TcpStream& stream) -> Task<absl::Status> {
          auto [received, sent] = co_await OrReturn(AllOf(
              [&]() -> Task<absl::StatusOr<std::string>> {
                co_return co_await ReceiveAll(&stream);
              },
              [&]() -> Task<absl::Status> {
                co_await OrReturn(stream.Send(there));
                co_return co_await stream.SendEof();
              }));
          EXPECT_EQ(received, back);
          co_return absl::OkStatus();
        },
        [&](TcpStream& stream) -> Task<absl::Status> {
          co_await OrReturn(stream.Send(back));
          EXPECT_EQ(co_await OrReturn(ReceiveAll(&stream)), there);
          co_return absl::OkStatus();
        });
  });
}

TEST(SimTcp, APartitionThatHealsIsADelay) {
  Two two;
  const std::string all = Pattern(500'000);
  Duration received{};
  std::optional<ScopedFault> cut;
  two.sim.After(1045ms, [&] {  // with segments on their way
    cut = two.sim.network().Inject(Partition({"a"}, {"b"}));
  });
  two.sim.After(60s, [&] { cut.reset(); });
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_return co_await stream.Send(all);
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        EXPECT_EQ(co_await OrReturn(ReceiveAll(&stream)), all);
        received = two.sim.elapsed();
        co_return absl::OkStatus();
      });
  EXPECT_GT(received, 60s);
  EXPECT_LT(received, 120s);
  EXPECT_NE(two.sim.trace().find("cut on the way"), std::string::npos);
}

TEST(SimTcp, AOneWayPartitionStopsBoth) {
  Two two;
  std::optional<ScopedFault> cut;
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        cut = two.sim.network().Inject(PartitionOneWay({"b"}, {"a"}));
        // It arrives, but nothing that says so does.
        EXPECT_FALSE(
            (co_await MoveOnAfter(10s, stream.Send(Pattern(1'000'000))))
                .has_value());
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        size_t received = 0;
        for (;;) {
          auto some = co_await MoveOnAfter(5s, ReceiveSome(&stream));
          if (!some.has_value()) break;
          received += (*some)->size();
        }
        EXPECT_EQ(received, 65'536u);  // the window
        co_return absl::OkStatus();
      });
}

TEST(SimTcp, APartitionThatStaysBreaksTheConnection) {
  Two two;
  Duration broken{};
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await SleepFor(1s);
        two.sim.network().Add(Partition({"a"}, {"b"}));
        co_await OrReturn(stream.Send("x"));
        EXPECT_TRUE(IsBroken((co_await ReceiveSome(&stream)).status()));
        broken = two.sim.elapsed();
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        // Who sends nothing learns nothing.
        EXPECT_FALSE(
            (co_await MoveOnAfter(2h, ReceiveSome(&stream))).has_value());
        co_return absl::OkStatus();
      });
  // Linux: 924.6 s at least, with tcp_retries2 at 15.
  EXPECT_GT(broken, 900s);
  EXPECT_LT(broken, 1000s);
}

TEST(SimTcp, WhoEndsFirstKeepsThePort) {
  Two two;
  const SocketAddress local = two.a.address(5000);
  two.Run(
      [&]() -> Task<absl::Status> {
        co_await SleepFor(1s);
        {
          TcpStream stream = co_await OrReturn(
              TcpStream::Connect(two.b.address(7), {}, local));
          EXPECT_EQ(stream.local_address(), local);
        }
        co_await SleepFor(1s);
        // TIME_WAIT.
        EXPECT_EQ((co_await TcpStream::Connect(two.b.address(7), {}, local))
                      .status()
                      .code(),
                  absl::StatusCode::kAlreadyExists);
        co_await SleepFor(60s);
        co_await OrReturn(TcpStream::Connect(two.b.address(7), {}, local));
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("0.0.0.0:7"));
        for (int i = 0; i < 2; ++i) co_await OrReturn(listener.Accept());
        co_return absl::OkStatus();
      });
}

TEST(SimTcp, AListenerMayComeBackAtOnce) {
  Two two;
  Converse(
      two,
      [&](TcpStream& stream) -> Task<absl::Status> {
        EXPECT_EQ(co_await OrReturn(ReceiveAll(&stream)), "");
        co_return absl::OkStatus();
      },
      [&](TcpStream& stream) -> Task<absl::Status> {
        co_await stream.Close();  // first: its end is the one that lingers
        co_await SleepFor(1s);
        TcpListener second = co_await OrReturn(TcpListener::Bind("10.0.0.2:8"));
        EXPECT_FALSE(TcpListener::Bind("0.0.0.0:8").ok());
        EXPECT_FALSE(TcpListener::Bind("[::]:8").ok());
        EXPECT_TRUE(TcpListener::Bind("[::]:8", {.v6_only = true}).ok());
        EXPECT_TRUE(TcpListener::Bind("127.0.0.1:8").ok());
        co_return absl::OkStatus();
      });
  two.b.Run([]() -> Task<absl::Status> {
    EXPECT_TRUE(TcpListener::Bind("0.0.0.0:7").ok());
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(two.sim.RunUntilIdle().ok());
}

TEST(SimTcp, PortsRunOutForEachPeerAlone) {
  Two two({.seed = 1, .link = kExact},
          {.first_free_port = 40'000, .last_free_port = 40'009});
  two.Run(
      [&]() -> Task<absl::Status> {
        co_await SleepFor(1s);
        std::vector<TcpStream> streams;
        for (int i = 0; i < 10; ++i)
          streams.push_back(
              co_await OrReturn(TcpStream::Connect(two.b.address(7))));
        const absl::Status status =
            (co_await TcpStream::Connect(two.b.address(7))).status();
        EXPECT_NE(status.message().find("EADDRNOTAVAIL"), std::string::npos)
            << status;
        co_await OrReturn(TcpStream::Connect(two.b.address(8)));
        co_return absl::OkStatus();
      },
      [&]() -> Task<absl::Status> {
        TcpListener seven = co_await OrReturn(TcpListener::Bind("0.0.0.0:7"));
        TcpListener eight = co_await OrReturn(TcpListener::Bind("0.0.0.0:8"));
        co_await OrReturn(eight.Accept());
        co_return absl::OkStatus();
      });
}

}  // namespace
}  // namespace braid
