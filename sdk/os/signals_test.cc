#include "braid/os/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"

namespace braid {
namespace {

// On the machine that the test runs on, be it simulated.
void Raise(int signal) {
  if (SimHost* host = SimHost::CurrentOrNull(); host != nullptr) {
    host->Signal(signal);
  } else {
    ASSERT_EQ(::kill(::getpid(), signal), 0);
  }
}

// What a program did about a signal before the stream.
std::atomic<int> handled = 0;
void OldHandler(int) { ++handled; }

class OldDisposition {
 public:
  OldDisposition(int signal, void (*handler)(int)) : signal_(signal) {
    struct sigaction action = {};
    action.sa_handler = handler;
    ::sigaction(signal, &action, &before_);
    handled = 0;
  }
  ~OldDisposition() { ::sigaction(signal_, &before_, nullptr); }

 private:
  int signal_;
  struct sigaction before_;
};

TEST(SignalStream, GivesSignals) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGUSR1, SIGUSR2}));
    Raise(SIGUSR2);
    EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR2);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("reader", [&]() -> Task<absl::Status> {
            EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR1);
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("reader");
          Raise(SIGUSR1);
          co_return co_await group.Join();
        });
  });
}

TEST(SignalStream, WakesALoopThatWaits) {
  RunOnRealBackends("threads", []() -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    // From a thread, once the loop is most likely waiting, and in any case
    // without harm.
    std::thread killer([] {
      std::this_thread::yield();
      ::kill(::getpid(), SIGUSR1);
    });
    absl::StatusOr<int> signal = co_await signals.Next();
    killer.join();
    EXPECT_EQ(co_await OrReturn(std::move(signal)), SIGUSR1);
    co_return absl::OkStatus();
  });
}

TEST(SignalStream, ASignalThatIsRaisedSeveralTimesIsReadOnce) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGUSR1, SIGUSR2}));
    for (int i = 0; i < 3; ++i) Raise(SIGUSR1);
    EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR1);
    Raise(SIGUSR2);
    EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR2);
    co_return absl::OkStatus();
  });
}

TEST(SignalStream, SignalsTakeTurns) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGHUP, SIGUSR1, SIGTERM}));
    std::vector<int> read;
    for (int signal : {SIGHUP, SIGUSR1, SIGTERM}) Raise(signal);
    for (int i = 0; i < 6; ++i) {
      read.push_back(co_await OrReturn(signals.Next()));
      Raise(read.back());  // the one that was just read is there again at once
    }
    EXPECT_EQ(read, (std::vector<int>{SIGHUP, SIGUSR1, SIGTERM, SIGHUP, SIGUSR1,
                                      SIGTERM}));
    for (int i = 0; i < 3; ++i) co_await OrReturn(signals.Next());
    co_return absl::OkStatus();
  });
}

TEST(SignalStream, HearsTheHighestSignalToo) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGRTMAX, SIGHUP}));
    Raise(SIGRTMAX);
    EXPECT_EQ(co_await OrReturn(signals.Next()), SIGRTMAX);
    Raise(SIGHUP);
    EXPECT_EQ(co_await OrReturn(signals.Next()), SIGHUP);
    co_return absl::OkStatus();
  });
}

TEST(SignalStream, RestoresWhatWasBefore) {
  OldDisposition old(SIGUSR1, &OldHandler);
  RunOnRealBackends("handlers of the process", []() -> Task<absl::Status> {
    handled = 0;
    {
      SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
      Raise(SIGUSR1);
      EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR1);
      EXPECT_EQ(handled, 0);
    }
    EXPECT_EQ(handled, 0);
    Raise(SIGUSR1);
    EXPECT_EQ(handled, 1);
    co_return absl::OkStatus();
  });
}

TEST(SignalStream, RedeliversWhatNobodyRead) {
  OldDisposition old1(SIGUSR1, &OldHandler);
  OldDisposition old2(SIGUSR2, &OldHandler);
  RunOnRealBackends("handlers of the process", []() -> Task<absl::Status> {
    handled = 0;
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGUSR1, SIGUSR2}));
    Raise(SIGUSR1);
    Raise(SIGUSR1);
    Raise(SIGUSR2);
    EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR1);
    Raise(SIGUSR1);
    signals.Close();
    EXPECT_EQ(handled, 2);
    signals.Close();
    EXPECT_EQ(handled, 2);
    EXPECT_TRUE(IsClosed((co_await signals.Next()).status()));
    co_return absl::OkStatus();
  });
}

// Nobody asked for it, so it does what it does by default.
TEST(SignalStreamDeathTest, AnUnreadSigtermEndsTheProcess) {
  EXPECT_EXIT(RunOnBackend("asio",
                           []() -> Task<absl::Status> {
                             SignalStream signals = co_await OrReturn(
                                 SignalStream::Open({SIGTERM}));
                             Raise(SIGTERM);
                             co_return absl::OkStatus();
                           }),
              testing::KilledBySignal(SIGTERM), "");
}

TEST(SignalStream, EachStreamHearsASignal) {
  OldDisposition old(SIGUSR1, &OldHandler);
  RunOnEveryBackend([]() -> Task<absl::Status> {
    handled = 0;
    SignalStream first = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    std::optional<SignalStream> second =
        co_await OrReturn(SignalStream::Open({SIGUSR1, SIGUSR2}));
    Raise(SIGUSR1);
    EXPECT_EQ(co_await OrReturn(second->Next()), SIGUSR1);
    Raise(SIGUSR1);
    second.reset();  // the other one has it: nothing is redelivered, and the
                     // handler stays
    EXPECT_EQ(handled, 0);
    EXPECT_EQ(co_await OrReturn(first.Next()), SIGUSR1);
    first.Close();
    EXPECT_EQ(handled, 0);
    co_return absl::OkStatus();
  });
}

TEST(SignalStream, RefusesWhatCannotBe) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    EXPECT_EQ(SignalStream::Open({}).status().code(),
              absl::StatusCode::kInvalidArgument);
    for (int signal :
         {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 0, -1, 65, 32}) {
      const absl::Status status =
          SignalStream::Open({SIGUSR1, signal}).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << signal;
      EXPECT_NE(status.message().find(std::to_string(signal)),
                std::string::npos)
          << status;
    }
    co_return absl::OkStatus();
  });
}

TEST(SignalStream, OneTaskReadsAtATime) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("first", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed((co_await signals.Next()).status()));
          });
          co_await UntilWaiting("first");
          EXPECT_TRUE(IsBusy((co_await signals.Next()).status()));
          signals.Close();
          co_return co_await group.Join();
        });
  });
}

TEST(SignalStream, ACancelledReadTakesNoSignal) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    // Before it starts.
    Raise(SIGUSR1);
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE((co_await before.Run(signals.Next())).has_value());
    EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR1);
    // While it waits, twice, and again in its clean-up.
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("reader", [&]() -> Task<void> {
            EXPECT_FALSE((co_await scope.Run(Finally(
                              signals.Next(),
                              [&]() -> Task<absl::Status> {
                                Raise(SIGUSR1);
                                EXPECT_EQ(co_await OrReturn(signals.Next()),
                                          SIGUSR1);
                                co_return absl::OkStatus();
                              })))
                             .has_value());
          });
          co_await UntilWaiting("reader");
          scope.Cancel("once");
          scope.Cancel("twice");
          co_return co_await group.Join();
        });
  });
}

// The signal has come, but the reader, who has it, has not run yet.
TEST(SignalStream, ACancelAtCompletionDeliversTheSignal) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    SignalStream other = co_await OrReturn(SignalStream::Open({SIGUSR1}));
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("canceller", [&]() -> Task<absl::Status> {
            co_await OrReturn(other.Next());
            scope.Cancel();
            co_return absl::OkStatus();
          });
          group.Start("reader", [&]() -> Task<void> {
            EXPECT_TRUE((co_await scope.Run(signals.Next())).has_value());
          });
          co_await UntilWaiting("canceller");
          co_await UntilWaiting("reader");
          Raise(SIGUSR1);
          co_return co_await group.Join();
        });
  });
}

// Threads raise signals while streams open and close: nothing is lost, nothing
// crashes.
TEST(SignalStream, AFloodFromOtherThreads) {
  OldDisposition old(SIGUSR1, &OldHandler);
  std::atomic<bool> enough = false;
  std::vector<std::thread> killers;
  for (int i = 0; i < 2; ++i) {
    killers.emplace_back([&] {
      while (!enough) ::kill(::getpid(), SIGUSR1);
    });
  }
  RunOnRealBackends("threads", []() -> Task<absl::Status> {
    for (int i = 0; i < 200; ++i) {
      SignalStream signals = co_await OrReturn(SignalStream::Open({SIGUSR1}));
      for (int j = 0; j < i % 4; ++j)
        EXPECT_EQ(co_await OrReturn(signals.Next()), SIGUSR1);
    }
    co_return absl::OkStatus();
  });
  enough = true;
  for (std::thread& killer : killers) killer.join();
}

TEST(SignalStreamDeathTest, MustNotOutliveItsLoop) {
  EXPECT_DEATH(
      {
        std::optional<SignalStream> kept;
        RunOnBackend("asio", [&]() -> Task<absl::Status> {
          kept = co_await OrReturn(SignalStream::Open({SIGUSR1}));
          co_return absl::OkStatus();
        });
      },
      "still open when its loop ends");
}

}  // namespace
}  // namespace braid
