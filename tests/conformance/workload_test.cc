// A mixed workload in a simulation of several hosts, for as many seeds as there
// is time for: names, TCP, UDP, channels, locks, groups, limits, clean-ups,
// signals; a network that loses, delays, duplicates and is cut; hosts that
// crash and are restarted.
//
// Whatever the seed: every run ends, every order that a client was told is done
// was done once or more and was its own, a server asked to stop finishes what
// it has, and the same seed gives the same run.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "braid/backend/sim/random.h"
#include "braid/backend/sim/simulation.h"
#include "braid/braid.h"
#include "braid/net/resolver.h"
#include "braid/testing/explore_seeds.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// What the outside world has seen, whatever crashes.
struct World {
  std::map<std::string, int> done;       // orders, by the server
  std::map<std::string, int> confirmed;  // orders, to a client
  int beats = 0;
  int mistakes = 0;
};

// A line, without its end; empty where the stream ends.
Task<absl::StatusOr<std::string>> ReadLine(TcpStream& stream) {
  std::string line;
  std::string one(1, '\0');
  while (co_await OrReturn(stream.Receive(one)) == 1) {
    if (one == "\n") co_return line;
    line += one;
  }
  co_return std::string();
}

// Works on orders, two at a time, one of a kind at a time; each takes a while.
Task<absl::Status> Server(World* world) {
  TcpListener listener = co_await OrReturn(TcpListener::Bind("0.0.0.0:700"));
  UdpSocket heart = co_await OrReturn(UdpSocket::Bind("0.0.0.0:701"));
  SignalStream signals = co_await OrReturn(SignalStream::Open({SIGTERM}));
  Semaphore workers(2);
  Mutex ledger;

  const auto serve = [&](TcpStream stream) -> Task<void> {
    for (;;) {
      const auto order = co_await FailAfter(5s, ReadLine(stream));
      if (!order.ok() || order->empty()) co_return;
      const auto permit = co_await workers.Acquire();
      co_await SleepFor(3ms);
      {
        const Mutex::Guard guard = co_await ledger.Lock();
        const int before = world->done[*order];
        co_await SleepFor(1ms);
        if (world->done[*order] != before) ++world->mistakes;
        world->done[*order] = before + 1;
      }
      if (!(co_await FailAfter(5s, stream.Send("done " + *order + "\n"))).ok())
        co_return;
    }
  };

  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    group.Start("heart", [&]() -> Task<absl::Status> {
      DatagramBuffer buffer;
      for (;;) {
        auto [beat, stopping] =
            co_await AnyOf(heart.Receive(buffer), StopRequested());
        if (stopping) co_return absl::OkStatus();
        const Datagram datagram = co_await OrReturn(*std::move(beat));
        co_await OrReturn(heart.Reply(datagram, datagram.data));
      }
    });
    group.Start("accept", [&]() -> Task<absl::Status> {
      for (;;) {
        auto [stream, stopping] =
            co_await AnyOf(listener.Accept(), StopRequested());
        if (stream.has_value()) {
          group.Start("serve", serve, co_await OrReturn(*std::move(stream)));
        }
        if (stopping) co_return absl::OkStatus();
      }
    });
    co_await OrReturn(signals.Next());
    group.RequestStop();
    co_return co_await group.Join();
  });
}

Task<absl::Status> SendOrder(World* world, std::string order) {
  const auto addresses = co_await OrReturn(Resolve("server", "700"));
  TcpStream stream = co_await OrReturn(TcpStream::Connect(addresses.front()));
  co_await OrReturn(stream.Send(order + "\n"));
  const std::string answer = co_await OrReturn(ReadLine(stream));
  if (answer.empty()) co_return absl::UnavailableError("no answer");
  if (answer != "done " + order) ++world->mistakes;
  ++world->confirmed[order];
  co_return co_await Finally(stream.SendEof(),
                             [&]() -> Task<void> { co_await stream.Close(); });
}

// Sends orders, each until it is confirmed, and asks for signs of life.
Task<absl::Status> Client(World* world, std::string name) {
  auto [to_do, orders] = MakeChannel<int>(2);
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    group.Start("heart", [world, name]() -> Task<absl::Status> {
      for (int i = 0; i < 5; ++i) {
        co_await SleepFor(40ms);
        const auto addresses = co_await OrReturn(Resolve("server", "701"));
        UdpSocket socket =
            co_await OrReturn(UdpSocket::Connect(addresses.front()));
        DatagramBuffer buffer;
        (void)co_await socket.Send(name);
        const auto beat = co_await MoveOnAfter(30ms, socket.Receive(buffer));
        if (!beat.has_value() || !beat->ok()) continue;
        ++world->beats;
        if ((*beat)->data.text() != name) ++world->mistakes;
      }
      co_return absl::OkStatus();
    });
    for (int i = 0; i < 2; ++i) {
      group.Start("worker", [&, world]() -> Task<absl::Status> {
        while (auto number = co_await OrReturn(orders.Receive())) {
          const std::string order = name + "/" + std::to_string(*number);
          for (Duration pause = 10ms;; pause *= 2) {
            const absl::Status sent =
                co_await FailAfter(1s, SendOrder(world, order));
            if (sent.ok()) break;
            co_await SleepFor(pause);
          }
        }
        co_return absl::OkStatus();
      });
    }
    for (int i = 0; i < 6; ++i) co_await OrReturn(to_do.Send(i));
    to_do.Close();
    co_return co_await group.Join();
  });
}

struct RunResult {
  uint64_t fingerprint = 0;
  int beats = 0;
};

RunResult RunWorkload(uint64_t seed) {
  SimRandom random(SimRandom::Derive(seed, "workload"));
  Simulation sim({.seed = seed,
                  .link = {.latency = 1ms,
                           .jitter = random.Upto(3ms),
                           .loss = random.Chance(0.5) ? 0.05 : 0,
                           .duplicate = random.Chance(0.3) ? 0.05 : 0},
                  .trace = false});
  World world;
  SimHost& server = sim.AddHost("server");
  server.Run(Server, &world);
  SimHost* clients[2] = {};
  for (int i = 0; i < 2; ++i) {
    const std::string name = "client" + std::to_string(i);
    clients[i] = &sim.AddHost(name);
    clients[i]->Run(Client, &world, name);
  }
  // Crashes, pauses and cuts, at any time.
  std::optional<ScopedFault> cut;
  for (uint64_t trouble = random.Below(4); trouble > 0; --trouble) {
    const Duration when = random.Upto(150ms);
    switch (random.Below(3)) {
      case 0:
        sim.After(when, [&] { server.Restart(); });
        break;
      case 1:
        sim.After(when, [&] { server.Pause(); });
        sim.After(when + 50ms, [&] { server.Resume(); });
        break;
      default:
        sim.After(when, [&] {
          cut.emplace(sim.network().Inject(Partition({"client0"}, {"server"})));
        });
        sim.After(when + 80ms, [&] { cut.reset(); });
        break;
    }
  }
  const auto clients_ended = [&] {
    return clients[0]->ended() && clients[1]->ended();
  };
  absl::Status status = sim.RunUntil(clients_ended);
  EXPECT_TRUE(status.ok()) << status;
  server.Signal(SIGTERM);
  status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(server.ended()) << sim.Tasks();
  EXPECT_EQ(world.mistakes, 0);
  EXPECT_EQ(world.confirmed.size(), 12u);
  for (const auto& [order, times] : world.confirmed) {
    EXPECT_EQ(times, 1) << order;
    EXPECT_GE(world.done[order], 1) << order;
  }
  return {sim.fingerprint(), world.beats};
}

TEST(Workload, HoldsWhateverTheSeed) {
  int beats = 0;
  uint64_t seeds = 0;
  ExploreSeeds(30, [&](uint64_t seed) {
    beats += RunWorkload(seed).beats;
    ++seeds;
  });
  EXPECT_GT(beats, static_cast<int>(seeds))
      << "of 10 a run, or hearts are dead";
}

TEST(Workload, TheSameSeedIsTheSameRun) {
  ExploreSeeds(5, [](uint64_t seed) {
    EXPECT_EQ(RunWorkload(seed).fingerprint, RunWorkload(seed).fingerprint);
  });
}

}  // namespace
}  // namespace braid::conformance
