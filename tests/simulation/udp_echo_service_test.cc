// The whole UDP echo service, its control surface included, as it runs in
// production: its definition and its flags, on a simulated host that crashes,
// behind a network that loses, duplicates and reorders.

#include <signal.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/sim/simulation.h"
#include "braid/braid.h"
#include "braid/echo/v1/echo_control.braid.h"
#include "braid/net/resolver.h"
#include "braid/rpc/client.h"
#include "braid/service/main.h"
#include "braid/testing/explore_seeds.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.braid.h"
#include "gtest/gtest.h"
#include "services/udp_echo/definition.h"

namespace braid::udp_echo {
namespace {

using namespace std::chrono_literals;
using echo::v1::EchoControl;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint16_t kEcho = 4007;
constexpr int kClients = 3;
constexpr int kQuestions = 30;
const char kControl[] = "echo:9101";

// What its lives came to.
struct Lives {
  std::vector<int> codes;
};

// The program of the server's host.
Task<absl::Status> Serve(std::vector<std::string> flags, Lives* lives) {
  for (const char* flag :
       {"--listen=0.0.0.0:4007", "--service.rpc_listen=0.0.0.0:9101",
        "--service.http_listen=0.0.0.0:9100"}) {
    flags.emplace_back(flag);
  }
  lives->codes.push_back(
      co_await service::Run(std::move(flags), MakeDefinition()));
  co_return absl::OkStatus();
}

// Asks one question after the other, each until its own answer comes.
Task<absl::Status> Ask(int client) {
  auto addresses = co_await OrReturn(Resolve("echo", std::to_string(kEcho)));
  UdpSocket socket = co_await OrReturn(UdpSocket::Connect(addresses.front()));
  DatagramBuffer buffer;
  for (int i = 0; i < kQuestions; ++i) {
    const std::string question =
        "client " + std::to_string(client) + " asks " + std::to_string(i);
    for (bool done = false; !done;) {
      // Refused, while the host is up and the service isn't.
      (void)co_await socket.Send(question);
      auto answer = co_await MoveOnAfter(50ms, socket.Receive(buffer));
      done = answer.has_value() && answer->ok() &&
             (*answer)->data.text() == question;
    }
    co_await SleepFor(std::chrono::milliseconds(10 * i));
  }
  co_return absl::OkStatus();
}

// GET, over a connection of its own.
Task<absl::StatusOr<std::string>> Get(std::string path) {
  auto addresses = co_await OrReturn(Resolve("echo", "9100"));
  TcpStream stream = co_await OrReturn(TcpStream::Connect(addresses.front()));
  co_await OrReturn(stream.Send("GET " + path +
                                " HTTP/1.1\r\nHost: echo\r\n"
                                "Connection: close\r\n\r\n"));
  std::string answer;
  std::array<char, 4096> buffer;
  while (const size_t size = co_await OrReturn(stream.Receive(buffer)))
    answer.append(buffer.data(), size);
  co_return answer;
}

// Until it is so.
template <typename Try>
Task<void> Until(Try attempt) {
  for (;;) {
    std::optional<bool> so = co_await MoveOnAfter(2s, attempt());
    if (so.value_or(false)) co_return;
    co_await SleepFor(20ms);
  }
}

// What an operator's host sees of it, through crash and restart.
struct Seen {
  int updates = 0;
  int watches_lost = 0;
  bool watch_drained = false;
  uint64_t received = 0;
  std::string metrics;
};

// Until its server has drained it, or is over without that.
Task<absl::Status> Watch(Seen* seen, const bool* over) {
  EchoControl::Client control(rpc::Channel::To(kControl));
  echo::v1::WatchRequest request;
  request.mutable_interval()->set_nanos(100'000'000);
  for (;;) {
    auto updates =
        control.WatchStats(request, rpc::CallOptions().WaitForReady());
    for (;;) {
      // A host whose power goes says nothing: one that is silent is gone.
      auto update = co_await MoveOnAfter(5s, updates.Receive());
      if (!update.has_value() || !update->ok()) {
        ++seen->watches_lost;
        if (*over) co_return absl::OkStatus();
        break;
      }
      // Drained: that was its last word.
      if (!(*update)->has_value()) {
        seen->watch_drained = true;
        co_return absl::OkStatus();
      }
      ++seen->updates;
      seen->received = (**update)->received_datagrams();
    }
  }
}

Task<absl::Status> Operate(Seen* seen, const bool* done) {
  rpc::Channel channel = rpc::Channel::To(kControl);
  EchoControl::Client control(channel);
  grpc::health::v1::Health::Client health(channel);
  co_await Until([&]() -> Task<bool> {
    auto reply = co_await health.Check(grpc::health::v1::HealthCheckRequest());
    co_return reply.ok() &&
        reply->status() == grpc::health::v1::HealthCheckResponse::SERVING;
  });
  do {
    co_await Until([&]() -> Task<bool> {
      echo::v1::SetLimitsRequest limits;
      limits.set_burst(1'000'000);
      co_return (co_await control.SetLimits(limits)).ok();
    });
    co_await SleepFor(200ms);
  } while (!*done);
  const echo::v1::StatsReply stats =
      co_await OrReturn(control.GetStats(echo::v1::StatsRequest()));
  EXPECT_EQ(stats.limits().burst(), 1'000'000u);
  EXPECT_GT(stats.echoed_datagrams(), 0u);
  auto top =
      co_await OrReturn(control.GetTopTalkers(echo::v1::TopTalkersRequest()));
  EXPECT_EQ(top.talkers_size(), kClients);
  echo::v1::SetLimitsRequest wrong;
  wrong.set_rate(-1);
  EXPECT_TRUE(
      absl::IsInvalidArgument((co_await control.SetLimits(wrong)).status()));
  seen->metrics = co_await OrReturn(Get("/metrics"));
  EXPECT_THAT(co_await OrReturn(Get("/readyz")), HasSubstr("200 OK"));
  EXPECT_THAT(co_await OrReturn(Get("/tasks")), HasSubstr("echo 0.0.0.0:4007"));
  co_return absl::OkStatus();
}

struct Result {
  std::string trace;
  uint64_t fingerprint = 0;
  bool watch_lost = false;
  bool watch_drained = false;
};

Result RunOnce(uint64_t seed) {
  Lives lives;
  Seen seen;
  bool done = false;
  bool over = false;
  Simulation sim({.seed = seed,
                  .link = {.latency = 1ms,
                           .jitter = 4ms,
                           .loss = 0.05,
                           .duplicate = 0.05,
                           .reorder = 0.1}});
  SimHost& server = sim.AddHost("echo");
  // One, two or three loops.
  const uint64_t shards = 1 + seed % 3;
  server.Run(Serve,
             std::vector<std::string>{"--limits.rate=0",
                                      "--shards=" + std::to_string(shards)},
             &lives);
  std::vector<SimHost*> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(&sim.AddHost("client" + std::to_string(i)));
    clients.back()->Run(Ask, i);
  }
  SimHost& watcher = sim.AddHost("watcher");
  watcher.Run(Watch, &seen, &over);
  SimHost& operating = sim.AddHost("operator");
  operating.Run(Operate, &seen, &done);

  // The power goes in the middle of it, for a second.
  const Duration crash = 500ms + std::chrono::milliseconds(seed * 37 % 2000);
  sim.After(crash, [&] { server.Crash(); });
  sim.After(crash + 1s, [&] { server.Restart(); });
  const absl::Status asked = sim.RunUntil([&] {
    return std::ranges::all_of(clients, [](SimHost* c) { return c->ended(); });
  });
  EXPECT_TRUE(asked.ok()) << asked;
  EXPECT_GT(sim.elapsed(), crash + 1s) << "the crash came too late";
  done = true;
  const absl::Status operated = sim.RunUntil([&] { return operating.ended(); });
  EXPECT_TRUE(operated.ok()) << operated;
  EXPECT_THAT(seen.metrics,
              AllOf(HasSubstr("200 OK"), HasSubstr("braid_echo_datagrams_"),
                    HasSubstr("braid_loop_tasks{loop=\"main\"}"),
                    HasSubstr("grpc_server_handled_total{"),
                    HasSubstr("braid_service_ready 1")));
  for (uint64_t i = 1; i < shards; ++i) {
    EXPECT_THAT(seen.metrics, HasSubstr("braid_loop_tasks{loop=\"shard-" +
                                        std::to_string(i) + "\"}"));
  }

  const Duration before = sim.elapsed();
  server.Signal(SIGTERM);
  const absl::Status ended = sim.RunUntil([&] { return server.ended(); });
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_LT(sim.elapsed() - before, 10s + 2s) << "the drain limit";
  // The first life was cut short, and had no code; the second was drained.
  EXPECT_EQ(lives.codes, std::vector<int>{0});
  EXPECT_EQ(server.boots(), 2);
  over = true;
  const absl::Status watched = sim.RunUntil([&] { return watcher.ended(); });
  EXPECT_TRUE(watched.ok()) << watched;
  EXPECT_GT(seen.updates, 0);
  EXPECT_GT(seen.received, 0u);
  return {sim.trace(), sim.fingerprint(), seen.watches_lost > 0,
          seen.watch_drained};
}

TEST(UdpEchoServiceSimulation, EveryQuestionIsAnsweredAndOperatorsSeeIt) {
  int runs = 0;
  int lost = 0;
  int drained = 0;
  ExploreSeeds(100, [&](uint64_t seed) {
    const Result result = RunOnce(seed);
    ++runs;
    lost += result.watch_lost ? 1 : 0;
    drained += result.watch_drained ? 1 : 0;
  });
  // Those that were connected when the power went, and when it drained.
  EXPECT_GT(lost * 2, runs);
  EXPECT_GT(drained * 4, runs);
}

// Over RPC, and with a call that doesn't end by itself.
TEST(UdpEchoServiceSimulation, DrainEndsItInOrder) {
  ExploreSeeds(20, [](uint64_t seed) {
    Lives lives;
    Simulation sim({.seed = seed, .link = {.latency = 1ms, .jitter = 2ms}});
    SimHost& server = sim.AddHost("echo");
    SimHost& client = sim.AddHost("client");
    server.Run(Serve, std::vector<std::string>{"--service.lame_duck=2s"},
               &lives);
    client.Run([]() -> Task<absl::Status> {
      rpc::Channel channel = rpc::Channel::To(kControl);
      EchoControl::Client control(channel);
      auto updates = control.WatchStats(echo::v1::WatchRequest(),
                                        rpc::CallOptions().WaitForReady());
      auto first = co_await OrReturn(updates.Receive());
      EXPECT_TRUE(first.has_value());
      co_await OrReturn(control.Drain(echo::v1::DrainRequest()));
      const Time asked = Now();
      // Lame duck: it serves as before, and says that it won't for long.
      grpc::health::v1::Health::Client health(channel);
      auto reply = co_await OrReturn(
          health.Check(grpc::health::v1::HealthCheckRequest()));
      EXPECT_EQ(reply.status(),
                grpc::health::v1::HealthCheckResponse::NOT_SERVING);
      EXPECT_THAT(co_await OrReturn(Get("/readyz")), HasSubstr("503"));
      while (co_await OrReturn(updates.Receive())) {
      }
      EXPECT_GE(Now() - asked, 2s - 10ms);
      EXPECT_LT(Now() - asked, 3s);
      // It is not there any more, and that is known.
      co_await SleepFor(2s);
      const auto gone = co_await control.GetStats(echo::v1::StatsRequest());
      EXPECT_TRUE(absl::IsUnavailable(gone.status())) << gone.status();
      co_return absl::OkStatus();
    });
    const absl::Status status = sim.RunUntilIdle();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(lives.codes, std::vector<int>{0});
  });
}

// What the flags and the signals of a process are to it, they are on a
// simulated host.
TEST(UdpEchoServiceSimulation, FlagsAndSignals) {
  Lives lives;
  Simulation sim;
  SimHost& server = sim.AddHost("echo");
  server.SetEnvironment("UDP_ECHO_LIMITS_BURST", "77");
  const auto run = [&](std::vector<std::string> flags) {
    server.Run(Serve, std::move(flags), &lives);
    EXPECT_TRUE(sim.RunFor(1s).ok());
  };
  run({"--shards=0"});
  EXPECT_EQ(lives.codes.back(), 2);
  EXPECT_THAT(sim.trace(), HasSubstr("udp_echo: --shards=0: must be"));
  run({"--config=/etc/echo.conf"});
  EXPECT_EQ(lives.codes.back(), 2);
  EXPECT_THAT(sim.trace(),
              HasSubstr("--config=/etc/echo.conf: No such file or directory"));
  run({"--help"});
  EXPECT_EQ(lives.codes.back(), 0);
  EXPECT_THAT(sim.trace(), HasSubstr("--limits.rate"));

  server.disk().Put("/etc/echo.conf", "limits { rate: 0.5x }");
  run({"--config=/etc/echo.conf"});
  EXPECT_EQ(lives.codes.back(), 2);
  EXPECT_THAT(sim.trace(), HasSubstr("udp_echo: /etc/echo.conf:1:"));

  server.disk().Put("/etc/echo.conf", "limits { rate: 55 }");
  run({"--config=/etc/echo.conf", "--service.lame_duck=1h"});
  EXPECT_TRUE(server.running());
  server.disk().Put("/etc/echo.conf", "limits { rate: 66 }");
  server.Signal(SIGHUP);
  EXPECT_TRUE(sim.RunFor(1s).ok());
  EXPECT_THAT(sim.trace(), HasSubstr("field=limits.rate before=55 after=66"));
  EXPECT_THAT(sim.trace(), HasSubstr("configuration reloaded"));
  server.Signal(SIGTERM);
  EXPECT_TRUE(sim.RunFor(1min).ok());
  EXPECT_TRUE(server.running());
  // The second doesn't wait.
  server.Signal(SIGINT);
  EXPECT_TRUE(sim.RunFor(1s).ok());
  EXPECT_TRUE(server.ended());
  EXPECT_EQ(lives.codes.back(), 128 + SIGINT);
}

TEST(UdpEchoServiceSimulation, TheSameSeedGivesTheSameTrace) {
  ExploreSeeds(5, [](uint64_t seed) {
    const Result first = RunOnce(seed);
    const Result second = RunOnce(seed);
    EXPECT_EQ(first.trace, second.trace);
    EXPECT_EQ(first.fingerprint, second.fingerprint);
  });
}

}  // namespace
}  // namespace braid::udp_echo
