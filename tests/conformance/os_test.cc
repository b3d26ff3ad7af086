// Signals, names, the host, descriptors of the system, threads.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "braid/backend/backend.h"
#include "braid/backend/host.h"
#include "braid/backend/make_backend.h"
#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/net/resolver.h"
#include "braid/os/fd_watch.h"
#include "braid/os/signals.h"
#include "braid/sync/event.h"
#include "braid/thread/portal.h"
#include "braid/thread/sharded.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/network.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// Sends this program a signal; completes when it has been delivered.
Task<void> Raise(int signal) {
  if (SimHost* host = SimHost::CurrentOrNull()) {
    host->Signal(signal);  // after this turn
    co_await SleepFor(0s);
    co_await OthersWait();
  } else {
    raise(signal);
  }
}

std::string Name(const absl::StatusOr<int>& signal) {
  if (!signal.ok()) return Kind(signal.status());
  return *signal == SIGUSR1 ? "USR1" : *signal == SIGUSR2 ? "USR2" : "?";
}

// ------------------------------------------------------------------ signals

TEST(Signals, AStreamGivesWhatWasRaised) {
  Conforms("USR1", []() -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    co_await Raise(SIGUSR1);
    Saw(Name(co_await signals.Next()));
    co_return absl::OkStatus();
  });
}

TEST(Signals, AReaderThatWaitsIsWoken) {
  Conforms("USR1@1", [](TaskGroup& group) -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    group.Start("reader",
                [&]() -> Task<void> { Saw(Name(co_await signals.Next())); });
    co_await SleepFor(Ticks(1));
    co_await Raise(SIGUSR1);
    co_return co_await group.Join();
  });
}

TEST(Signals, OneRaisedSeveralTimesBeforeItIsReadIsReadOnce) {
  Conforms("USR1, no more@1", []() -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    for (int i = 0; i < 3; ++i) co_await Raise(SIGUSR1);
    Saw(Name(co_await signals.Next()));
    if (!(co_await MoveOnAfter(Ticks(1), signals.Next())).has_value())
      Saw("no more");
    co_return absl::OkStatus();
  });
}

TEST(Signals, DifferentOnesTakeTurns) {
  Conforms("USR1, USR2, USR1", []() -> Task<absl::Status> {
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGUSR1, SIGUSR2}));
    co_await Raise(SIGUSR2);
    co_await Raise(SIGUSR1);
    for (int i = 0; i < 3; ++i) {
      Saw(Name(co_await signals.Next()));
      if (i == 0) co_await Raise(SIGUSR1);  // does not hide the other one
    }
    co_return absl::OkStatus();
  });
}

TEST(Signals, EachStreamHearsThem) {
  Conforms("USR1, USR1", []() -> Task<absl::Status> {
    SignalStream one = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    SignalStream two = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    co_await Raise(SIGUSR1);
    Saw(Name(co_await one.Next()));
    Saw(Name(co_await two.Next()));
    co_return absl::OkStatus();
  });
}

TEST(Signals, OneNobodyReadGoesToTheNextListener) {
  Conforms("USR1", []() -> Task<absl::Status> {
    SignalStream other = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    {
      SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
      co_await Raise(SIGUSR1);
    }
    Saw(Name(co_await other.Next()));
    co_return absl::OkStatus();
  });
}

TEST(Signals, AReadThatWasStoppedTookNone) {
  Conforms("gave up@1, USR1", []() -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    if (!(co_await MoveOnAfter(Ticks(1), signals.Next())).has_value())
      Saw("gave up");
    co_await Raise(SIGUSR1);
    Saw(Name(co_await signals.Next()));
    co_return absl::OkStatus();
  });
}

TEST(Signals, ASecondReaderIsBusy) {
  Conforms("busy, closed", [](TaskGroup& group) -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    auto reader = group.Start(
        "reader", [&]() -> Task<void> { Saw(Name(co_await signals.Next())); });
    co_await OthersWait();
    Saw(Name(co_await signals.Next()));
    signals.Close();
    (void)co_await reader.Join();
    co_return absl::OkStatus();
  });
}

TEST(Signals, NoneAndWhatCannotBeCaughtIsRefused) {
  Conforms("INVALID_ARGUMENT, INVALID_ARGUMENT, INVALID_ARGUMENT",
           []() -> Task<void> {
             Saw(Kind(SignalStream::Open({}).status()));
             Saw(Kind(SignalStream::Open({SIGKILL}).status()));
             Saw(Kind(SignalStream::Open({SIGSEGV}).status()));
             co_return;
           });
}

TEST(Signals, AfterTheStreamTheyDoWhatTheyDidBefore) {
  ConformsOnSystems("handlers are the process's", "handler ran",
                    []() -> Task<absl::Status> {
                      static volatile sig_atomic_t ran = 0;
                      ran = 0;
                      const auto before = signal(SIGUSR1, [](int) { ran = 1; });
                      {
                        SignalStream signals =
                            co_await OrReturn(SignalStream::Open({SIGUSR1}));
                        raise(SIGUSR1);
                        EXPECT_EQ(ran, 0) << "the stream has it";
                        (void)co_await signals.Next();
                      }
                      raise(SIGUSR1);
                      if (ran == 1) Saw("handler ran");
                      signal(SIGUSR1, before);
                      co_return absl::OkStatus();
                    });
}

// -------------------------------------------------------------------- names

TEST(Names, NumbersNeedNobody) {
  Conforms("127.0.0.1 port 80, ::1 port 0", []() -> Task<absl::Status> {
    const auto say = [](const SocketAddress& address) {
      Saw(address.HostString() + " port " + std::to_string(address.port()));
    };
    say((co_await OrReturn(Resolve("127.0.0.1", "80"))).front());
    say((co_await OrReturn(Resolve("::1", ""))).front());
    co_return absl::OkStatus();
  });
}

TEST(Names, ThisMachineIsFound) {
  // The answer takes time, in a simulation too.
  Conforms("loopback@1", []() -> Task<absl::Status> {
    auto [addresses, slept] = co_await OrReturn(
        AllOf(Resolve("localhost", "7007"), SleepFor(Ticks(1))));
    EXPECT_EQ(addresses.front().port(), 7007);
    if (addresses.front().is_loopback()) Saw("loopback");
    co_return absl::OkStatus();
  });
}

TEST(Names, AnEmptyOneIsRefused) {
  Conforms("INVALID_ARGUMENT", []() -> Task<void> {
    Saw(Kind((co_await Resolve("", "80")).status()));
  });
}

TEST(Names, AQuestionThatWasStoppedIsAbandoned) {
  Conforms("moved on", []() -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE((co_await scope.Run(Resolve("localhost", "80"))).has_value());
    Saw("moved on");
  });
}

// --------------------------------------------------------------------- host

TEST(Host, RandomNumbersDiffer) {
  Conforms("differ", []() -> Task<void> {
    Host& host = CurrentBackend().host();
    if (host.Random() != host.Random()) Saw("differ");
    co_return;
  });
}

TEST(Host, ItsWallClockGoesOnWithTheLoops) {
  Conforms("went on@3", []() -> Task<void> {
    Host& host = CurrentBackend().host();
    const Host::WallTime before = host.WallNow();
    co_await SleepFor(Ticks(3));
    // It may be set meanwhile, but not by as much as the test would notice.
    if (host.WallNow() - before >= Ticks(2)) Saw("went on");
  });
}

TEST(Host, AVariableThatIsNotSetIsNothing) {
  Conforms("nothing", []() -> Task<void> {
    if (!CurrentBackend().host().Environment("BRAID_NO_SUCH_VARIABLE"))
      Saw("nothing");
    co_return;
  });
}

// -------------------------------------------------- what only systems have

constexpr char kDescriptors[] = "a simulation has no descriptors of the system";
constexpr char kThreads[] = "a simulation is one thread";

struct Pipe {
  Pipe() { EXPECT_EQ(pipe(ends.data()), 0); }
  ~Pipe() {
    for (const int fd : ends) close(fd);
  }
  std::array<int, 2> ends;
};

TEST(FdWatch, WaitsUntilThereIsSomethingToRead) {
  ConformsOnSystems(kDescriptors, "readable@1", []() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [](TaskGroup& group) -> Task<absl::Status> {
          const Pipe its_pipe;
          FdWatch watch = co_await OrReturn(FdWatch::Open(its_pipe.ends[0]));
          group.Start("reader", [&]() -> Task<absl::Status> {
            co_await OrReturn(watch.Readable());
            Saw("readable");
            co_return absl::OkStatus();
          });
          co_await SleepFor(Ticks(1));
          EXPECT_EQ(write(its_pipe.ends[1], "x", 1), 1);
          co_await OrReturn(group.Join());
          co_await watch.Close();
          co_return absl::OkStatus();
        });
  });
}

TEST(FdWatch, AWaitThatWasStoppedLeavesTheDescriptorAlone) {
  ConformsOnSystems(
      kDescriptors, "gave up@1, writable", []() -> Task<absl::Status> {
        const Pipe its_pipe;
        FdWatch in = co_await OrReturn(FdWatch::Open(its_pipe.ends[0]));
        FdWatch out = co_await OrReturn(FdWatch::Open(its_pipe.ends[1]));
        if (!(co_await MoveOnAfter(Ticks(1), in.Readable())).has_value())
          Saw("gave up");
        co_await OrReturn(out.Writable());
        Saw("writable");
        co_await in.Close();
        co_await out.Close();
        co_return absl::OkStatus();
      });
}

TEST(FdWatch, ADescriptorThatIsNotOpenIsRefused) {
  ConformsOnSystems(kDescriptors, "INVALID_ARGUMENT",
                    []() -> Task<absl::Status> {
                      Saw(Kind(FdWatch::Open(-1).status()));
                      co_return absl::OkStatus();
                    });
}

TEST(Portal, BringsWorkOfOtherThreadsInOrder) {
  ConformsOnSystems(kThreads, "1, 2, 3, event", []() -> Task<absl::Status> {
    Event done;
    std::thread other([portal = Portal::Current(), &done] {
      for (const char* text : {"1", "2", "3"})
        EXPECT_TRUE(portal.Post([text] { Saw(text); }));
      EXPECT_TRUE(portal.Post([&done] { done.Set(); }));
    });
    co_await done.Wait();
    other.join();
    Saw("event");
    co_return absl::OkStatus();
  });
}

TEST(Portal, WakesALoopThatWaits) {
  ConformsOnSystems(kThreads, "woken", []() -> Task<absl::Status> {
    Event done;
    std::thread other;
    co_await AllOf(done.Wait(), [&]() -> Task<void> {
      co_await OthersWait();
      other = std::thread([portal = Portal::Current(), &done] {
        EXPECT_TRUE(portal.Post([&done] { done.Set(); }));
      });
    });
    other.join();
    Saw("woken");
    co_return absl::OkStatus();
  });
}

// Runs `body` on three loops of the backend that runs.
template <typename F>
Task<absl::Status> OnThreeShards(F body) {
  const std::string name(BackendName());
  co_return co_await RunSharded(3, [name] { return MakeBackend(name); }, body);
}

TEST(Shards, EachRunsItsBodyOnce) {
  ConformsOnSystems(kThreads, "3 shards", []() -> Task<absl::Status> {
    std::array<std::atomic<int>, 3> runs = {};
    co_await OrReturn(OnThreeShards([&](Shard shard) -> Task<absl::Status> {
      ++runs[static_cast<size_t>(shard.index)];
      co_return absl::OkStatus();
    }));
    int once = 0;
    for (const std::atomic<int>& one : runs) once += one == 1 ? 1 : 0;
    Saw(std::to_string(once) + " shards");
    co_return absl::OkStatus();
  });
}

TEST(Shards, TheFirstErrorCancelsTheOthersAndIsTheResult) {
  ConformsOnSystems(kThreads, "broken; 2 stopped", []() -> Task<absl::Status> {
    std::atomic<int> stopped = 0;
    const absl::Status status =
        co_await OnThreeShards([&](Shard shard) -> Task<absl::Status> {
          if (shard.index == 1) co_return absl::AbortedError("broken");
          struct Counts {
            explicit Counts(std::atomic<int>* its_count) : count(its_count) {}
            ~Counts() { ++*count; }
            std::atomic<int>* count;
          } const counts(&stopped);
          co_await SleepForever();
          co_return absl::OkStatus();
        });
    Saw(Text(status) + "; " + std::to_string(stopped) + " stopped");
    co_return absl::OkStatus();
  });
}

TEST(Shards, ACancelReachesAllOfThem) {
  ConformsOnSystems(kThreads, "moved on@1", []() -> Task<absl::Status> {
    EXPECT_FALSE((co_await MoveOnAfter(
                      Ticks(1), OnThreeShards([](Shard) -> Task<absl::Status> {
                        co_await SleepForever();
                        co_return absl::OkStatus();
                      })))
                     .has_value());
    Saw("moved on");
    co_return absl::OkStatus();
  });
}

TEST(Shards, ARequestToStopReachesAllOfThem) {
  ConformsOnSystems(kThreads, "3 heard@1", []() -> Task<absl::Status> {
    std::atomic<int> heard = 0;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("shards", [&]() -> Task<absl::Status> {
            co_return co_await OnThreeShards([&](Shard) -> Task<absl::Status> {
              co_await StopRequested();
              ++heard;
              co_return absl::OkStatus();
            });
          });
          co_await SleepFor(Ticks(1));
          group.RequestStop();
          co_return co_await group.Join();
        }));
    Saw(std::to_string(heard) + " heard");
    co_return absl::OkStatus();
  });
}

TEST(Shards, SocketsOfSeveralShareOnePort) {
  ConformsOnSystems(kThreads, "each bound it", []() -> Task<absl::Status> {
    UdpSocket first =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.reuse_port = true}));
    const SocketAddress address = first.local_address();
    co_await OrReturn(OnThreeShards([&](Shard) -> Task<absl::Status> {
      UdpSocket socket =
          co_await OrReturn(UdpSocket::Bind(address, {.reuse_port = true}));
      co_await socket.Close();
      co_return absl::OkStatus();
    }));
    Saw("each bound it");
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid::conformance
