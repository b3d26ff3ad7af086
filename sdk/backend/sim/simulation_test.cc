#include "braid/backend/sim/simulation.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "braid/backend/backend.h"
#include "braid/backend/host.h"
#include "braid/backend/make_backend.h"
#include "braid/core/core.h"
#include "braid/net/resolver.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "braid/os/signals.h"
#include "braid/sync/event.h"
#include "braid/testing/explore_seeds.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

Task<absl::Status> UdpEcho(std::string address) {
  UdpSocket socket = co_await OrReturn(UdpSocket::Bind(address));
  DatagramBuffer buffer;
  for (;;) {
    Datagram datagram = co_await OrReturn(socket.Receive(buffer));
    co_await OrReturn(socket.Reply(datagram, datagram.data));
  }
}

Task<absl::Status> TcpEchoOne(TcpStream stream) {
  for (;;) {
    absl::StatusOr<Chunk> chunk = co_await stream.ReceiveChunk();
    if (!chunk.ok() || chunk->empty()) co_return absl::OkStatus();
    if (!(co_await stream.Send(*chunk)).ok()) co_return absl::OkStatus();
  }
}

Task<absl::Status> TcpEcho(std::string address) {
  TcpListener listener = co_await OrReturn(TcpListener::Bind(address));
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    for (;;) {
      group.Start("connection", TcpEchoOne,
                  co_await OrReturn(listener.Accept()));
    }
  });
}

// Asks until an answer comes; gives how often it had to.
Task<absl::StatusOr<int>> AskUntilAnswered(SocketAddress server,
                                           std::string text) {
  UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:0"));
  DatagramBuffer buffer;
  for (int asked = 1;; ++asked) {
    co_await OrReturn(socket.SendTo(text, server));
    auto answer = co_await MoveOnAfter(100ms, socket.Receive(buffer));
    if (!answer.has_value()) continue;
    if ((co_await OrReturn(*std::move(answer))).data.text() == text)
      co_return asked;
  }
}

// Time.

TEST(Simulation, TimeJumpsToWhatComesNext) {
  Simulation sim({.seed = 1});
  SimHost& host = sim.AddHost("host");
  std::vector<Duration> woke;
  host.Run([&]() -> Task<absl::Status> {
    for (Duration d : {Duration(3h), Duration(5ns)}) {
      co_await SleepFor(d);
      woke.push_back(sim.elapsed());
    }
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(sim.RunUntilIdle(10h).ok());
  EXPECT_EQ(woke, (std::vector<Duration>{3h, Duration(3h) + 5ns}));
  EXPECT_EQ(sim.elapsed(), Duration(3h) + 5ns);
  EXPECT_TRUE(host.ended());
  EXPECT_TRUE(host.result()->ok());
}

TEST(Simulation, RunForLetsExactlySoMuchTimePass) {
  Simulation sim({.seed = 1});
  int ticks = 0;
  sim.AddHost("host").Run([&]() -> Task<void> {
    for (;;) {
      co_await SleepFor(1s);
      ++ticks;
    }
  });
  EXPECT_TRUE(sim.RunFor(2500ms).ok());
  EXPECT_EQ(sim.elapsed(), 2500ms);
  EXPECT_EQ(ticks, 2);
  EXPECT_TRUE(sim.RunFor(500ms).ok());
  EXPECT_EQ(ticks, 3);
}

TEST(Simulation, AfterRunsBetweenTurns) {
  Simulation sim({.seed = 1});
  std::vector<Duration> called;
  sim.After(2s, [&] { called.push_back(sim.elapsed()); });
  sim.After(1s, [&] {
    called.push_back(sim.elapsed());
    sim.After(0s, [&] { called.push_back(sim.elapsed()); });
  });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_EQ(called, (std::vector<Duration>{1s, 1s, 2s}));
}

// On a real machine time would pass; here it must, or nothing else would
// happen.
TEST(Simulation, AProgramThatSpinsMakesTimePass) {
  Simulation sim({.seed = 1});
  bool done = false;
  sim.AddHost("spinner").Run([&]() -> Task<void> {
    while (!done) co_await Checkpoint();
  });
  sim.AddHost("sleeper").Run([&]() -> Task<void> {
    co_await SleepFor(1ms);
    done = true;
  });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_TRUE(done);
}

// Hosts.

TEST(Simulation, HostsHaveNamesAndAddresses) {
  Simulation sim({.seed = 1});
  SimHost& server = sim.AddHost("server");
  SimHost& special = sim.AddHost("special", {.address = "10.9.8.7"});
  EXPECT_EQ(server.address(7).ToString(), "10.0.0.1:7");
  EXPECT_EQ(server.address_v6(7).ToString(), "[fd00::1]:7");
  EXPECT_EQ(special.address().HostString(), "10.9.8.7");
  special.Run([]() -> Task<absl::Status> {
    EXPECT_EQ(SimHost::CurrentOrNull()->name(), "special");
    EXPECT_EQ(CurrentBackend().name(), "sim");
    std::vector<std::string> found;
    for (const SocketAddress& address :
         co_await OrReturn(Resolve("server", "http")))
      found.push_back(address.ToString());
    EXPECT_EQ(found, (std::vector<std::string>{"10.0.0.1:80", "[fd00::1]:80"}));
    EXPECT_TRUE(absl::IsNotFound((co_await Resolve("nobody", "1")).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(
        (co_await Resolve("server", "no such service")).status()));
    co_return absl::OkStatus();
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(SimHost::CurrentOrNull(), nullptr);
}

TEST(Simulation, ProgramsTalk) {
  Simulation sim({.seed = 1});
  SimHost& server = sim.AddHost("server", {.serves = true});
  SimHost& client = sim.AddHost("client");
  server.Run(UdpEcho, std::string("0.0.0.0:7"));
  client.Run([&]() -> Task<absl::Status> {
    EXPECT_EQ(co_await OrReturn(AskUntilAnswered(server.address(7), "hello")),
              1);
    co_return absl::OkStatus();
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(client.ended());
  EXPECT_FALSE(server.ended());
  EXPECT_NE(sim.trace().find("client send udp 10.0.0.2:"), std::string::npos)
      << sim.trace();
  EXPECT_NE(sim.trace().find(" > 10.0.0.1:7 5 bytes"), std::string::npos)
      << sim.trace();
}

TEST(Simulation, EachHostHasItsOwnEnvironmentRandomnessAndClock) {
  Simulation sim({.seed = 1});
  SimHost& a = sim.AddHost("a");
  SimHost& b = sim.AddHost("b");
  a.SetEnvironment("COLOUR", "red");
  b.SetClockSkew(-90s);
  std::vector<uint64_t> numbers;
  std::vector<Host::WallTime> clocks;
  const auto main = [&](bool has_colour) -> Task<void> {
    Host& host = CurrentBackend().host();
    EXPECT_EQ(host.Environment("COLOUR").has_value(), has_colour);
    EXPECT_FALSE(host.Environment("PATH").has_value());
    numbers.push_back(host.Random());
    const Time before = Now();
    co_await SleepFor(10s);
    EXPECT_EQ(Now() - before, 10s);  // which skew has nothing to do with
    clocks.push_back(host.WallNow());
  };
  a.Run(main, true);
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  b.Run(main, false);
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  ASSERT_EQ(clocks.size(), 2u);
  EXPECT_NE(numbers[0], numbers[1]);
  EXPECT_EQ(clocks[0].time_since_epoch(), 1'767'225'610s);
  EXPECT_EQ(clocks[1] - clocks[0], 10s - 90s);
}

TEST(Simulation, APausedHostGetsNoTurnsButItsKernelAnswers) {
  Simulation sim({.seed = 1, .link = {.latency = 1ms, .jitter = 0s}});
  SimHost& server = sim.AddHost("server", {.serves = true});
  SimHost& client = sim.AddHost("client");
  server.Run(TcpEcho, std::string("0.0.0.0:7"));
  Duration connected{};
  Duration answered{};
  client.Run([&]() -> Task<absl::Status> {
    co_await SleepFor(1s);
    TcpStream stream = co_await OrReturn(TcpStream::Connect(server.address(7)));
    connected = sim.elapsed();
    co_await OrReturn(stream.Send("x"));
    std::array<char, 1> buffer;
    co_await OrReturn(stream.Receive(buffer));
    answered = sim.elapsed();
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(sim.RunFor(500ms).ok());
  server.Pause();
  EXPECT_TRUE(sim.RunFor(9500ms).ok());
  EXPECT_EQ(connected, 1002ms);
  EXPECT_EQ(answered, 0ms);
  server.Resume();
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_EQ(answered, 10'001ms);
}

TEST(Simulation, AResumedProgramFindsThatTimeHasPassed) {
  Simulation sim({.seed = 1});
  SimHost& host = sim.AddHost("host");
  std::vector<Duration> ticks;
  host.Run([&]() -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      co_await SleepFor(1s);
      ticks.push_back(sim.elapsed());
    }
  });
  sim.After(1500ms, [&] { host.Pause(); });
  sim.After(5s, [&] { host.Resume(); });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_EQ(ticks, (std::vector<Duration>{1s, 5s, 6s}));
}

// How runs end.

TEST(Simulation, DeadlockIsAResult) {
  Event never;
  Simulation sim({.seed = 77});
  sim.AddHost("stuck").Run([&]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("philosopher",
                      [&]() -> Task<void> { co_await never.Wait(); });
          co_return co_await group.Join();
        });
  });
  sim.AddHost("fine").Run([]() -> Task<void> { co_await SleepFor(1s); });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  for (const char* part : {"deadlock", "stuck:\n", "philosopher  waiting",
                           "simulation_test.cc:", "(seed 77"}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status;
  }
  EXPECT_EQ(status.message().find("fine:"), std::string::npos) << status;
  EXPECT_EQ(sim.elapsed(), 1s);
}

TEST(Simulation, RunUntilSaysWhatItWaitedForInVain) {
  Simulation sim({.seed = 1});
  int ticks = 0;
  SimHost& host = sim.AddHost("ticker");
  host.Run([&]() -> Task<void> {
    while (ticks < 100) {
      co_await SleepFor(1s);
      ++ticks;
    }
  });
  EXPECT_TRUE(sim.RunUntil([&] { return ticks == 5; }).ok());
  EXPECT_EQ(sim.elapsed(), 5s);
  const absl::Status late = sim.RunUntil([&] { return ticks == 50; }, 10s);
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded) << late;
  EXPECT_NE(late.message().find("ticker:\n"), std::string::npos) << late;
  EXPECT_EQ(sim.elapsed(), 15s);
  const absl::Status never = sim.RunUntil([&] { return ticks == 1000; });
  EXPECT_EQ(never.code(), absl::StatusCode::kFailedPrecondition) << never;
  EXPECT_EQ(ticks, 100);
}

TEST(Simulation, AProgramsErrorEndsTheRunThatSeesIt) {
  Simulation sim({.seed = 5});
  SimHost& bad = sim.AddHost("bad");
  SimHost& good = sim.AddHost("good");
  bad.Run([]() -> Task<absl::Status> {
    co_await SleepFor(1s);
    co_return absl::DataLossError("the disk is wet");
  });
  good.Run([]() -> Task<void> { co_await SleepFor(2s); });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "bad: the disk is wet (seed 5, at 1000000 us)");
  EXPECT_EQ(bad.result()->message(), "the disk is wet");
  EXPECT_TRUE(sim.RunUntilIdle().ok());  // told once
  EXPECT_TRUE(good.ended());
}

TEST(Simulation, AnExceptionThatLeavesAProgramLeavesTheRun) {
  Simulation sim({.seed = 1});
  sim.AddHost("thrower").Run([]() -> Task<void> {
    co_await SleepFor(1s);
    throw std::runtime_error("up");
  });
  EXPECT_THROW((void)sim.RunUntilIdle(), std::runtime_error);
  EXPECT_TRUE(sim.RunUntilIdle().ok());
}

// Crashes.

struct Probe {
  explicit Probe(int* destroyed) : destroyed(destroyed) {}
  ~Probe() { ++*destroyed; }
  int* destroyed;
};

// Every kind of boundary, with a task waiting inside.
TEST(Simulation, ACrashRunsDestructorsAndNothingElse) {
  Simulation sim({.seed = 1});
  SimHost& host = sim.AddHost("host");
  int destroyed = 0;
  int ran = 0;
  const auto wait = [&]() -> Task<void> {
    Probe probe(&destroyed);
    co_await SleepForever();
    ++ran;
  };
  host.Run([&]() -> Task<absl::Status> {
    Probe probe(&destroyed);
    CancelScope scope;
    absl::Status status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          Probe in_body(&destroyed);
          group.Start("plain", [&]() -> Task<void> { co_await wait(); });
          group.Start("scope", [&]() -> Task<void> {
            (void)co_await scope.Run(wait());
            ++ran;
          });
          group.Start("shield", [&]() -> Task<void> {
            co_await Shield(wait());
            ++ran;
          });
          group.Start("timeout", [&]() -> Task<void> {
            (void)co_await MoveOnAfter(1h, wait());
            ++ran;
          });
          group.Start("clean-up", [&]() -> Task<void> {
            co_await Finally(wait(), [&]() -> Task<void> {
              ++ran;
              co_await Checkpoint();
              ++ran;
            });
            ++ran;
          });
          group.Start("in clean-up", [&]() -> Task<void> {
            co_await Finally(
                Checkpoint(), [&]() -> Task<void> { co_await wait(); }, 1h);
            ++ran;
          });
          group.Start("all", [&]() -> Task<void> {
            (void)co_await AllOf(wait(), wait());
            ++ran;
          });
          group.Start("any", [&]() -> Task<void> {
            (void)co_await AnyOf(wait(), SleepForever());
            ++ran;
          });
          group.Start("background", [&]() -> Task<void> {
            (void)co_await WithBackground(wait(), wait());
            ++ran;
          });
          group.Start("starter", [&]() -> Task<void> {
            (void)co_await group.StartAndWait(
                "started", [&](Ready<void>) -> Task<void> { co_await wait(); });
            ++ran;
          });
          group.Start("stop", [&]() -> Task<void> {
            co_await StopRequested();
            ++ran;
          });
          auto handle = group.Start("joined", wait);
          group.Start("joiner", [&, handle]() mutable -> Task<void> {
            (void)co_await handle.Join();
            ++ran;
          });
          co_return co_await group.Join();
        });
    ++ran;
    co_return status;
  });
  EXPECT_TRUE(sim.RunFor(1s).ok());
  EXPECT_EQ(destroyed, 0);
  EXPECT_EQ(ran, 0);
  host.Crash();
  EXPECT_EQ(destroyed, 15);
  EXPECT_EQ(ran, 0);
  EXPECT_FALSE(host.up());
  EXPECT_FALSE(host.running());
  EXPECT_FALSE(host.ended());
  EXPECT_TRUE(sim.RunUntilIdle().ok());
}

// Ready, not begun, and due at the same time.
TEST(Simulation, ACrashTakesTasksInAnyState) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    int ended = 0;
    host.Run([&]() -> Task<absl::Status> {
      co_return co_await WithTaskGroup(
          [&](TaskGroup& group) -> Task<absl::Status> {
            for (int i = 0; i < 50; ++i) {
              group.Start("worker", [&, i]() -> Task<void> {
                for (int j = 0; j < i; ++j) co_await SleepFor(1ms);
                if (i == 20) SimHost::CurrentOrNull()->Crash();
                ++ended;
              });
            }
            co_return co_await group.Join();
          });
    });
    const absl::Status status = sim.RunUntilIdle();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_FALSE(host.up());
    EXPECT_GE(ended, 20);
    EXPECT_LE(ended, 50);
  }
}

TEST(Simulation, PeersOfACrashedHostHearNothing) {
  Simulation sim({.seed = 1});
  SimHost& server = sim.AddHost("server");
  SimHost& client = sim.AddHost("client");
  server.Run(TcpEcho, std::string("0.0.0.0:7"));
  client.Run([&]() -> Task<absl::Status> {
    TcpStream stream = co_await OrReturn(TcpStream::Connect(server.address(7)));
    std::array<char, 1> buffer;
    co_await OrReturn(stream.Send("x"));
    co_await OrReturn(stream.Receive(buffer));
    server.Crash();
    // No end, no reset; and what is sent is not refused.
    EXPECT_FALSE(
        (co_await MoveOnAfter(1h, stream.Receive(buffer))).has_value());
    co_await OrReturn(stream.Send("y"));
    UdpSocket udp = co_await OrReturn(UdpSocket::Connect(server.address(7)));
    co_await OrReturn(udp.Send("z"));
    EXPECT_FALSE((co_await MoveOnAfter(1h, udp.Receive(buffer))).has_value());
    // But it isn't there for ever either.
    EXPECT_TRUE(IsBroken((co_await stream.Receive(buffer)).status()));
    co_return absl::OkStatus();
  });
  const absl::Status status = sim.RunUntilIdle(10h);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(Simulation, ARestartedHostKnowsNothingOfBefore) {
  Simulation sim({.seed = 1});
  SimHost& server = sim.AddHost("server", {.serves = true});
  SimHost& client = sim.AddHost("client");
  server.Run(TcpEcho, std::string("0.0.0.0:7"));
  client.Run([&]() -> Task<absl::Status> {
    TcpStream stream = co_await OrReturn(TcpStream::Connect(server.address(7)));
    co_await SleepFor(1s);
    server.Restart();
    co_await SleepFor(1s);
    co_await OrReturn(stream.Send("x"));
    std::array<char, 1> buffer;
    EXPECT_TRUE(IsBroken((co_await stream.Receive(buffer)).status()));
    TcpStream again = co_await OrReturn(TcpStream::Connect(server.address(7)));
    co_await OrReturn(again.Send("x"));
    EXPECT_EQ(co_await OrReturn(again.Receive(buffer)), 1u);
    co_return absl::OkStatus();
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(server.boots(), 2);
}

TEST(Simulation, ASimulationMayGoWhileProgramsRun) {
  int destroyed = 0;
  {
    Simulation sim({.seed = 1});
    SimHost& host = sim.AddHost("host");
    host.Run([&]() -> Task<absl::Status> {
      Probe probe(&destroyed);
      co_return co_await TcpEcho("0.0.0.0:7");
    });
    sim.AddHost("never started").Run([]() -> Task<void> { co_return; });
    sim.After(1h, [&] { ADD_FAILURE(); });
    EXPECT_TRUE(sim.RunFor(1s).ok());
  }
  EXPECT_EQ(destroyed, 1);
}

// Signals.

TEST(Simulation, SignalsReachWhoListens) {
  Simulation sim({.seed = 1});
  SimHost& host = sim.AddHost("host");
  std::vector<int> heard;
  host.Run([&]() -> Task<absl::Status> {
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGTERM, SIGHUP}));
    while (heard.size() < 2) heard.push_back(co_await OrReturn(signals.Next()));
    co_return absl::OkStatus();
  });
  sim.After(1s, [&] { host.Signal(SIGHUP); });
  sim.After(2s, [&] { host.Signal(SIGTERM); });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_EQ(heard, (std::vector<int>{SIGHUP, SIGTERM}));
  EXPECT_EQ(sim.elapsed(), 2s);
}

// The kernel of a killed program closes its sockets, as peers notice.
TEST(Simulation, ASignalThatNobodyListensToKillsTheProgramOnly) {
  Simulation sim({.seed = 1});
  SimHost& server = sim.AddHost("server");
  SimHost& client = sim.AddHost("client");
  server.Run(TcpEcho, std::string("0.0.0.0:7"));
  client.Run([&]() -> Task<absl::Status> {
    TcpStream stream = co_await OrReturn(TcpStream::Connect(server.address(7)));
    server.Signal(SIGCHLD);  // which does nothing by default
    std::array<char, 1> buffer;
    co_await OrReturn(stream.Send("x"));
    EXPECT_EQ(co_await OrReturn(stream.Receive(buffer)), 1u);
    server.Signal(SIGTERM);
    EXPECT_EQ(co_await OrReturn(stream.Receive(buffer)), 0u);
    EXPECT_EQ((co_await TcpStream::Connect(server.address(7))).status().code(),
              absl::StatusCode::kUnavailable);
    co_return absl::OkStatus();
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(server.running());
  EXPECT_TRUE(server.up());
  EXPECT_NE(sim.trace().find("server killed by SIGTERM"), std::string::npos);
  server.Run(TcpEcho, std::string("0.0.0.0:7"));  // another one may follow
  EXPECT_TRUE(sim.RunFor(1s).ok());
  EXPECT_TRUE(server.running());
}

TEST(Simulation, AnUnreadSigtermKillsTheProgram) {
  Simulation sim({.seed = 1});
  SimHost& host = sim.AddHost("host");
  bool ended = false;
  host.Run([&]() -> Task<absl::Status> {
    {
      SignalStream signals = co_await OrReturn(SignalStream::Open({SIGTERM}));
      host.Signal(SIGTERM);
    }
    co_await SleepFor(1s);
    ended = true;
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_FALSE(ended);
  EXPECT_FALSE(host.running());
}

TEST(Simulation, SigstopAndSigcontPauseAndResume) {
  Simulation sim({.seed = 1});
  SimHost& host = sim.AddHost("host");
  host.Run([&]() -> Task<void> { co_await SleepFor(1s); });
  EXPECT_TRUE(sim.RunFor(500ms).ok());
  host.Signal(SIGSTOP);
  sim.After(2500ms, [&] { host.Signal(SIGCONT); });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_EQ(sim.elapsed(), 3s);
  EXPECT_TRUE(host.ended());
}

// The same again.

struct Recorded {
  std::string trace;
  uint64_t fingerprint;
  absl::Status status;
};

// A bit of everything that has to do with chance.
Recorded Mixed(uint64_t seed) {
  Simulation sim({.seed = seed,
                  .link = {.latency = 2ms,
                           .jitter = 3ms,
                           .loss = 0.1,
                           .duplicate = 0.1,
                           .reorder = 0.1}});
  SimHost& server = sim.AddHost("server", {.serves = true});
  SimHost& other = sim.AddHost("other", {.serves = true});
  server.Run(UdpEcho, std::string("[::]:7"));
  other.Run(TcpEcho, std::string("[::]:7"));
  for (int i = 0; i < 3; ++i) {
    SimHost& client = sim.AddHost("client" + std::to_string(i));
    client.Run([&]() -> Task<absl::Status> {
      co_return co_await WithTaskGroup(
          [&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("udp", [&]() -> Task<absl::Status> {
              for (int j = 0; j < 10; ++j) {
                co_await OrReturn(AskUntilAnswered(
                    server.address(7),
                    std::to_string(CurrentBackend().host().Random())));
              }
              co_return absl::OkStatus();
            });
            group.Start("tcp", [&]() -> Task<absl::Status> {
              TcpStream stream =
                  co_await OrReturn(TcpStream::Connect(other.address_v6(7)));
              std::array<char, 100> buffer;
              for (int j = 0; j < 5; ++j) {
                co_await OrReturn(stream.Send(std::string(5000, 'x')));
                size_t received = 0;
                while (received < 5000)
                  received += co_await OrReturn(stream.Receive(buffer));
              }
              co_return absl::OkStatus();
            });
            co_return co_await group.Join();
          });
    });
  }
  sim.After(20ms, [&] { server.Restart(); });
  Recorded run;
  run.status = sim.RunUntilIdle();
  run.trace = sim.trace();
  run.fingerprint = sim.fingerprint();
  return run;
}

TEST(Simulation, TheSameSeedGivesTheSameTrace) {
  ExploreSeeds(100, [](uint64_t seed) {
    const Recorded first = Mixed(seed);
    const Recorded second = Mixed(seed);
    EXPECT_TRUE(first.status.ok()) << first.status;
    EXPECT_EQ(first.trace, second.trace);
    EXPECT_EQ(first.fingerprint, second.fingerprint);
  });
}

TEST(Simulation, AnotherSeedGivesAnotherTrace) {
  std::set<uint64_t> fingerprints;
  std::set<std::string> traces;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Recorded run = Mixed(seed);
    fingerprints.insert(run.fingerprint);
    traces.insert(run.trace);
  }
  EXPECT_EQ(fingerprints.size(), 20u);
  EXPECT_EQ(traces.size(), 20u);
}

// Which no line of the trace tells.
TEST(Simulation, TheSeedDecidesTheOrderOfReadyTasks) {
  const auto order_of = [](uint64_t seed) {
    Simulation sim({.seed = seed});
    std::string order;
    sim.AddHost("host").Run([&]() -> Task<absl::Status> {
      co_return co_await WithTaskGroup(
          [&](TaskGroup& group) -> Task<absl::Status> {
            for (char c = 'a'; c < 'h'; ++c) {
              group.Start("task", [&, c]() -> Task<void> {
                order += c;
                co_return;
              });
            }
            co_return co_await group.Join();
          });
    });
    EXPECT_TRUE(sim.RunUntilIdle().ok());
    return order;
  };
  std::set<std::string> orders;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    orders.insert(order_of(seed));
    EXPECT_EQ(order_of(seed), order_of(seed));
  }
  EXPECT_GT(orders.size(), 10u);
}

TEST(Simulation, TheTraceForgetsItsOldestHalf) {
  Simulation sim({.seed = 1, .max_trace_bytes = 1000});
  SimHost& host = sim.AddHost("host");
  for (int i = 0; i < 1000; ++i) host.Note("line " + std::to_string(i));
  EXPECT_LE(sim.trace().size(), 1000u);
  EXPECT_TRUE(sim.trace().starts_with("0.000000000 host line"));
  EXPECT_TRUE(sim.trace().ends_with("host line 999\n"));
}

// As a backend.

TEST(SimBackend, RunsAProgramAlone) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("sim");
  ASSERT_TRUE(backend.ok()) << backend.status();
  for (int i = 0; i < 2; ++i) {
    const absl::Status status =
        ::braid::Run(**backend, []() -> Task<absl::Status> {
          const Time before = Now();
          co_await SleepFor(24h);
          EXPECT_EQ(Now() - before, 24h);
          TcpListener listener =
              co_await OrReturn(TcpListener::Bind("127.0.0.1:80"));
          TcpStream stream =
              co_await OrReturn(TcpStream::Connect(listener.local_address()));
          EXPECT_EQ(stream.native_handle(), -1);
          EXPECT_TRUE(absl::IsUnimplemented(TcpStream::FromFd(0).status()));
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(SimBackend, SaysThatItIsDeadlocked) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("sim");
  const absl::Status status =
      ::braid::Run(**backend, []() -> Task<absl::Status> {
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("127.0.0.1:80"));
        TcpStream client =
            co_await OrReturn(TcpStream::Connect(listener.local_address()));
        TcpStream server = co_await OrReturn(listener.Accept());
        // Nobody reads: the windows fill, for ever.
        for (;;) co_await OrReturn(client.Send(std::string(100'000, 'x')));
      });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_NE(status.message().find("deadlock"), std::string::npos) << status;
}

TEST(SimBackend, ASignalThatNobodyListensToEndsTheProgram) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("sim");
  const absl::Status status = ::braid::Run(**backend, []() -> Task<void> {
    SimHost::CurrentOrNull()->Signal(SIGTERM);
    co_await SleepForever();
  });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_NE(status.message().find("killed by SIGTERM"), std::string::npos)
      << status;
}

}  // namespace
}  // namespace braid
