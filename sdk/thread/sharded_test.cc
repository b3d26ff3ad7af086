#include "braid/thread/sharded.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/backend/make_backend.h"
#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/net/udp.h"
#include "braid/testing/explore_seeds.h"
#include "braid/thread/portal.h"

namespace braid {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

absl::StatusOr<std::unique_ptr<Driver>> NewDriver() {
  return MakeBackend("asio");
}

template <typename F>
absl::Status RunHere(F body) {
  absl::StatusOr<std::unique_ptr<Driver>> driver = NewDriver();
  EXPECT_TRUE(driver.ok()) << driver.status();
  return braid::Run(**driver, std::move(body));
}

Task<absl::Status> Forever(Shard) {
  co_await SleepForever();
  co_return absl::OkStatus();
}

TEST(ShardedTest, EachShardRunsOnceOnAThreadOfItsOwn) {
  std::mutex mutex;
  std::set<int> indexes;
  std::set<std::thread::id> threads;
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    co_return co_await RunSharded(
        4, NewDriver, [&](Shard shard) -> Task<absl::Status> {
          {
            const std::lock_guard lock(mutex);
            EXPECT_EQ(shard.count, 4);
            EXPECT_TRUE(indexes.insert(shard.index).second);
            threads.insert(std::this_thread::get_id());
          }
          // All are there at the same time.
          for (;; co_await SleepFor(1ms)) {
            const std::lock_guard lock(mutex);
            if (indexes.size() == 4) break;
          }
          co_return absl::OkStatus();
        });
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(indexes, (std::set<int>{0, 1, 2, 3}));
  EXPECT_EQ(threads.size(), 4u);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

TEST(ShardedTest, TheFirstErrorCancelsTheOthersAndIsTheResult) {
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    co_return co_await RunSharded(
        3, NewDriver, [&](Shard shard) -> Task<absl::Status> {
          if (shard.index == 1) co_return absl::NotFoundError("no such table");
          co_await SleepForever();
          co_return absl::OkStatus();
        });
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
}

TEST(ShardedTest, AnExceptionOfAShardIsRethrown) {
  EXPECT_THROW(
      {
        absl::Status status = RunHere([&]() -> Task<absl::Status> {
          co_return co_await RunSharded(2, NewDriver,
                                        [&](Shard shard) -> Task<absl::Status> {
                                          if (shard.index == 0)
                                            throw std::runtime_error("broken");
                                          co_await SleepForever();
                                          co_return absl::OkStatus();
                                        });
        });
      },
      std::runtime_error);
}

TEST(ShardedTest, ADriverThatCantBeMadeIsAnError) {
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    co_return co_await RunSharded(
        2,
        []() -> absl::StatusOr<std::unique_ptr<Driver>> {
          return absl::ResourceExhaustedError("no descriptors");
        },
        Forever);
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST(ShardedTest, NoShardsIsAnError) {
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    co_return co_await RunSharded(0, NewDriver, Forever);
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

TEST(ShardedTest, CancellingWaitsForEveryShard) {
  std::atomic<int> ended = 0;
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    auto result = co_await MoveOnAfter(
        20ms, RunSharded(3, NewDriver, [&](Shard) -> Task<absl::Status> {
          struct CountEnd {
            std::atomic<int>& ended;
            ~CountEnd() { ++ended; }
          } count{ended};
          co_await SleepForever();
          co_return absl::OkStatus();
        }));
    EXPECT_FALSE(result.has_value());
    EXPECT_EQ(ended.load(), 3);
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(ShardedTest, CancelledBeforeItStartsNoThreadIsMade) {
  std::atomic<int> started = 0;
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    CancelScope scope;
    scope.Cancel();
    auto result = co_await scope.Run(
        RunSharded(3, NewDriver, [&](Shard) -> Task<absl::Status> {
          ++started;
          co_return absl::OkStatus();
        }));
    EXPECT_FALSE(result.has_value());
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(started.load(), 0);
}

// It was stopped although nothing in it had been, and gave no result; the same
// shards as tasks of a simulation's loop give theirs.
TEST(ShardedTest, CancelledWhenAllHaveCompletedGivesTheirResult) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    // The function may run after all else, when the loop ends: it owns the
    // scope.
    auto scope = std::make_shared<CancelScope>();
    const Portal portal = Portal::Current();
    auto result = co_await scope->Run(
        RunSharded(2, [&](Shard shard) -> Task<absl::Status> {
          if (shard.index == 0) portal.Post([scope] { scope->Cancel(); });
          co_return absl::OkStatus();
        }));
    EXPECT_TRUE(result.has_value());
    co_return result.value_or(absl::OkStatus());
  });
}

TEST(ShardedTest, AGracefulStopReachesEveryShard) {
  std::atomic<int> stopped = 0;
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("shards", [&]() -> Task<absl::Status> {
            co_return co_await RunSharded(2, NewDriver,
                                          [&](Shard) -> Task<absl::Status> {
                                            co_await StopRequested();
                                            ++stopped;
                                            co_return absl::OkStatus();
                                          });
          });
          co_await Checkpoint();
          group.RequestStop();
          co_return co_await group.Join();
        });
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(stopped.load(), 2);
}

// Shards talk through portals.
TEST(ShardedTest, APortalCarriesWorkFromShardToShard) {
  std::mutex mutex;
  std::optional<Portal> first;
  std::thread::id ran_on;
  std::thread::id first_is;
  absl::Status status = RunHere([&]() -> Task<absl::Status> {
    co_return co_await RunSharded(
        2, NewDriver, [&](Shard shard) -> Task<absl::Status> {
          CancelScope done;
          if (shard.index == 0) {
            {
              const std::lock_guard lock(mutex);
              first.emplace(Portal::Current());
              first_is = std::this_thread::get_id();
            }
            co_await SleepForever();
          }
          for (;;) {
            {
              const std::lock_guard lock(mutex);
              if (first.has_value()) break;
            }
            co_await SleepFor(1ms);
          }
          first->Post([&] {
            ran_on = std::this_thread::get_id();
            detail::Loop::Current().CancelRoot("done");
          });
          co_return absl::OkStatus();
        });
  });
  // A shard that somebody else cancels ends with CANCELLED.
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(ran_on, first_is);
}

// The backends of shards are like the one they are started from.
TEST(ShardedTest, ShardsHaveBackendsLikeTheirs) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    const std::string name(CurrentBackend().name());
    const Host* host = &CurrentBackend().host();
    Driver* driver = &CurrentBackend();
    std::mutex mutex;
    std::set<Driver*> drivers;
    co_await OrReturn(RunSharded(3, [&](Shard) -> Task<absl::Status> {
      const std::lock_guard lock(mutex);
      EXPECT_EQ(CurrentBackend().name(), name);
      EXPECT_EQ(&CurrentBackend().host(), host);
      drivers.insert(&CurrentBackend());
      co_return absl::OkStatus();
    }));
    EXPECT_EQ(drivers.contains(driver), name == "sim");
    co_return absl::OkStatus();
  });
}

// What holds of threads holds of tasks of one loop.
TEST(ShardedTest, IsTheSameInASimulation) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    // The first error cancels the others.
    const absl::Status failed =
        co_await RunSharded(3, [](Shard shard) -> Task<absl::Status> {
          EXPECT_EQ(shard.count, 3);
          if (shard.index == 1) co_return absl::NotFoundError("no such table");
          co_await SleepForever();
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(absl::IsNotFound(failed)) << failed;
    EXPECT_TRUE(SuppressedErrors(failed).empty());
    EXPECT_TRUE(absl::IsInvalidArgument(co_await RunSharded(0, Forever)));
    // An exception is rethrown.
    bool thrown = false;
    try {
      (void)co_await RunSharded(2, [](Shard shard) -> Task<absl::Status> {
        if (shard.index == 0) throw std::runtime_error("broken");
        co_await SleepForever();
        co_return absl::OkStatus();
      });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    EXPECT_TRUE(thrown);
    // Cancelling waits for all of them; CANCELLED is no error of theirs then.
    std::atomic<int> ended = 0;
    EXPECT_FALSE(
        (co_await MoveOnAfter(2ms, RunSharded(3,
                                              [&](Shard) -> Task<absl::Status> {
                                                struct CountEnd {
                                                  std::atomic<int>& ended;
                                                  ~CountEnd() { ++ended; }
                                                } count{ended};
                                                co_await SleepForever();
                                                co_return absl::OkStatus();
                                              })))
            .has_value());
    EXPECT_EQ(ended.load(), 3);
    // A graceful stop reaches all.
    std::atomic<int> stopped = 0;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("shards", [&]() -> Task<absl::Status> {
            co_return co_await RunSharded(2, [&](Shard) -> Task<absl::Status> {
              co_await StopRequested();
              ++stopped;
              co_return absl::OkStatus();
            });
          });
          co_await SleepFor(1ms);
          group.RequestStop();
          co_await OrReturn(group.Join());
          EXPECT_EQ(stopped.load(), 2);
          co_return absl::OkStatus();
        });
  });
}

TEST(ShardedTest, ASimulationHasNoThreadsForOtherBackends) {
  RunOnBackend("sim", []() -> Task<absl::Status> {
    EXPECT_TRUE(
        absl::IsUnimplemented(co_await RunSharded(2, NewDriver, Forever)));
    co_return absl::OkStatus();
  });
}

// A service with several shards, which share an address, runs unmodified in a
// simulation, and the same again.
TEST(ShardedSimTest, AServiceWithSeveralShards) {
  auto serve = []() -> Task<absl::Status> {
    co_return co_await RunSharded(3, [](Shard shard) -> Task<absl::Status> {
      UdpSocket socket =
          co_await OrReturn(UdpSocket::Bind("0.0.0.0:7", {.reuse_port = true}));
      DatagramBuffer buffer;
      for (;;) {
        Datagram d = co_await OrReturn(socket.Receive(buffer));
        co_await OrReturn(
            socket.Reply(d, std::string_view(std::to_string(shard.index))));
      }
    });
  };
  ExploreSeeds(10, [&](uint64_t seed) {
    std::vector<uint64_t> fingerprints;
    for (int run = 0; run < 2; ++run) {
      Simulation sim({.seed = seed});
      SimHost& server = sim.AddHost("server", {.serves = true});
      server.Run(serve);
      std::set<std::string> answers;
      sim.AddHost("client").Run([&]() -> Task<absl::Status> {
        DatagramBuffer buffer;
        for (int i = 0; i < 50; ++i) {
          UdpSocket socket =
              co_await OrReturn(UdpSocket::Connect(server.address(7)));
          co_await OrReturn(socket.Send("which"));
          const Datagram d = co_await OrReturn(socket.Receive(buffer));
          answers.insert(std::string(d.data.text()));
        }
        co_return absl::OkStatus();
      });
      const absl::Status status = sim.RunUntilIdle();
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(answers.size(), 3u);
      fingerprints.push_back(sim.fingerprint());
    }
    EXPECT_EQ(fingerprints[0], fingerprints[1]);
  });
}

}  // namespace
}  // namespace braid
