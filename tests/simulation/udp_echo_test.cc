// The UDP echo service's own code on a network that loses, duplicates and
// reorders, on a host that crashes.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/host.h"
#include "braid/backend/sim/simulation.h"
#include "braid/braid.h"
#include "braid/metrics/registry.h"
#include "braid/testing/explore_seeds.h"
#include "gtest/gtest.h"
#include "services/udp_echo/echo_shard.h"

namespace braid::udp_echo {
namespace {

using namespace std::chrono_literals;

constexpr uint16_t kPort = 7;
constexpr int kClients = 3;
constexpr int kQuestions = 40;

// What one life of the server counted.
struct Life {
  EchoCounts counts;
  bool drained = false;
};

// Serves until SIGTERM, then drains, as the service does.
Task<absl::Status> Serve(std::vector<Life>* lives) {
  lives->emplace_back();
  const size_t life = lives->size() - 1;
  metrics::Registry registry;
  EchoShard shard({.own_ports = {kPort},
                   .hash_key = {CurrentBackend().host().Random(),
                                CurrentBackend().host().Random()}},
                  registry);
  UdpSocket socket =
      co_await OrReturn(UdpSocket::Bind(SocketAddress::Any(kPort)));
  SignalStream signals = co_await OrReturn(SignalStream::Open({SIGTERM}));
  const absl::Status status =
      co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
        group.Start("serve", [&]() -> Task<absl::Status> {
          co_return co_await shard.Serve(socket);
        });
        co_await OrReturn(signals.Next());
        group.RequestStop();
        co_return co_await group.Join();
      });
  (*lives)[life] = {shard.counts(), true};
  co_return status;
}

// Asks one question after the other, each until its own answer comes. Answers
// to others are late ones, or copies.
Task<absl::Status> Ask(int client, SocketAddress server, int* answered) {
  UdpSocket socket = co_await OrReturn(UdpSocket::Connect(server));
  DatagramBuffer buffer;
  for (int i = 0; i < kQuestions; ++i) {
    const std::string question =
        "client " + std::to_string(client) + " asks " + std::to_string(i);
    for (bool done = false; !done;) {
      // Refused, while the server's host is up and the server isn't.
      (void)co_await socket.Send(question);
      auto answer = co_await MoveOnAfter(50ms, socket.Receive(buffer));
      if (!answer.has_value() || !answer->ok()) continue;
      const std::string text((*answer)->data.text());
      EXPECT_TRUE(
          text.starts_with("client " + std::to_string(client) + " asks "))
          << text;
      done = text == question;
    }
    ++*answered;
    co_await SleepFor(std::chrono::milliseconds(i));
  }
  co_return absl::OkStatus();
}

struct Result {
  std::string trace;
  uint64_t fingerprint = 0;
};

Result RunOnce(uint64_t seed) {
  std::vector<Life> lives;
  std::vector<int> answered(kClients);
  Simulation sim({.seed = seed,
                  .link = {.latency = 1ms,
                           .jitter = 4ms,
                           .loss = 0.1,
                           .duplicate = 0.05,
                           .reorder = 0.1}});
  SimHost& server = sim.AddHost("server");
  server.Run(Serve, &lives);
  std::vector<SimHost*> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(&sim.AddHost("client" + std::to_string(i)));
    clients.back()->Run(
        Ask, i, i % 2 == 0 ? server.address(kPort) : server.address_v6(kPort),
        &answered[static_cast<size_t>(i)]);
  }
  // The power goes in the middle of it, for a second.
  const Duration crash = 100ms + std::chrono::milliseconds(seed % 300);
  sim.After(crash, [&] { server.Crash(); });
  sim.After(crash + 1s, [&] { server.Restart(); });
  const absl::Status asked = sim.RunUntil([&] {
    return std::ranges::all_of(clients, [](SimHost* c) { return c->ended(); });
  });
  EXPECT_TRUE(asked.ok()) << asked;
  EXPECT_EQ(answered, std::vector<int>(kClients, kQuestions));
  EXPECT_GT(sim.elapsed(), crash + 1s) << "the crash came too late";

  server.Signal(SIGTERM);
  const absl::Status ended = sim.RunUntil([&] { return server.ended(); });
  EXPECT_TRUE(ended.ok()) << ended;
  // The first life was cut short: not a line of it ran after the crash.
  EXPECT_EQ(lives.size(), 2u);
  EXPECT_FALSE(lives.front().drained);
  EXPECT_TRUE(lives.back().drained);
  const EchoCounts& counts = lives.back().counts;
  EXPECT_EQ(counts.received, counts.echoed + counts.dropped_total());
  EXPECT_EQ(counts.dropped_total(), 0u);
  EXPECT_GT(counts.echoed, 0u);
  const SimNetworkStats& stats = sim.network().stats();
  EXPECT_GT(stats.lost, 0u);
  EXPECT_GT(stats.duplicated, 0u);
  EXPECT_GT(stats.reordered, 0u);
  EXPECT_GT(stats.nobody, 0u);  // to the host that was down
  return {sim.trace(), sim.fingerprint()};
}

TEST(UdpEchoSimulation, EveryQuestionIsAnsweredWhateverHappens) {
  ExploreSeeds(100, [](uint64_t seed) { RunOnce(seed); });
}

TEST(UdpEchoSimulation, TheSameSeedGivesTheSameTrace) {
  ExploreSeeds(20, [](uint64_t seed) {
    const Result first = RunOnce(seed);
    const Result second = RunOnce(seed);
    EXPECT_EQ(first.trace, second.trace);
    EXPECT_EQ(first.fingerprint, second.fingerprint);
  });
}

}  // namespace
}  // namespace braid::udp_echo
