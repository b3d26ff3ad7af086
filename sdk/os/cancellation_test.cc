// SignalStream and FdWatch under cancellation: no signal and no readiness is
// lost.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/net/cancellation_cases.h"
#include "braid/os/fd_watch.h"
#include "braid/os/signals.h"

namespace braid {
namespace {

// On the machine that the test runs on, be it simulated.
void Raise(int signal) {
  if (SimHost* host = SimHost::CurrentOrNull(); host != nullptr) {
    host->Signal(signal);
  } else {
    EXPECT_EQ(::kill(::getpid(), signal), 0);
  }
}

// Different signals in turn: one that is raised again before it is read is read
// once.
class SignalNext final : public CancellationCase {
 public:
  static constexpr int kSignals = 8;

  Task<absl::Status> Open() override {
    // Two streams of one test hear different ones.
    static int streams = 0;
    const int first = SIGRTMIN + streams++ % 2 * kSignals;
    for (int i = 0; i < kSignals; ++i) signals_.push_back(first + i);
    stream_ = co_await OrReturn(SignalStream::Open(signals_));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    const int signal = co_await OrReturn(stream_->Next());
    EXPECT_GE(signal, signals_.front());
    EXPECT_LE(signal, signals_.back());
    ++completed;
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    Raise(signals_[released++ % kSignals]);
    co_return absl::OkStatus();
  }

 private:
  std::vector<int> signals_;
  std::optional<SignalStream> stream_;
};

// A semaphore of the system: each read takes one.
class WatchReadable final : public CancellationCase {
 public:
  WatchReadable() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE)) {}
  ~WatchReadable() override {
    watch_.reset();
    ::close(fd_);
  }

  Task<absl::Status> Open() override {
    watch_ = co_await OrReturn(FdWatch::Open(fd_));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    co_await OrReturn(watch_->Readable());
    uint64_t one = 0;
    EXPECT_EQ(::read(fd_, &one, sizeof one), ssize_t{sizeof one});
    ++completed;
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    const uint64_t one = 1;
    EXPECT_EQ(::write(fd_, &one, sizeof one), ssize_t{sizeof one});
    ++released;
    co_return absl::OkStatus();
  }

 private:
  int fd_;
  std::optional<FdWatch> watch_;
};

// The same with the roles changed: one that is full.
class WatchWritable final : public CancellationCase {
 public:
  WatchWritable() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE)) {
    const uint64_t full = UINT64_MAX - 1;
    EXPECT_EQ(::write(fd_, &full, sizeof full), ssize_t{sizeof full});
  }
  ~WatchWritable() override {
    watch_.reset();
    ::close(fd_);
  }

  Task<absl::Status> Open() override {
    watch_ = co_await OrReturn(FdWatch::Open(fd_));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    co_await OrReturn(watch_->Writable());
    const uint64_t one = 1;
    EXPECT_EQ(::write(fd_, &one, sizeof one), ssize_t{sizeof one});
    ++completed;
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    uint64_t one = 0;
    EXPECT_EQ(::read(fd_, &one, sizeof one), ssize_t{sizeof one});
    ++released;
    co_return absl::OkStatus();
  }

 private:
  int fd_;
  std::optional<FdWatch> watch_;
};

INSTANTIATE_TEST_SUITE_P(
    Os, IoCancellationTest,
    testing::Values(CancellationParam{"SignalNext", MakeCase<SignalNext>},
                    CancellationParam{"FdWatchReadable",
                                      MakeCase<WatchReadable>,
                                      /*real_only=*/true},
                    CancellationParam{"FdWatchWritable",
                                      MakeCase<WatchWritable>,
                                      /*real_only=*/true}),
    NameOf);

// However the await of a Close ends, the watch is off and the descriptor its
// owner's.
TEST(CancelledClose, OfAWatchEndsItAllTheSame) {
  RunOnRealBackends("descriptors of the system", []() -> Task<absl::Status> {
    for (const bool before : {false, true}) {
      const int fd = ::eventfd(0, EFD_NONBLOCK);
      FdWatch watch = co_await OrReturn(FdWatch::Open(fd));
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("waiter", [&]() -> Task<void> {
              EXPECT_TRUE(IsClosed(co_await watch.Readable()));
            });
            co_await UntilWaiting("waiter");
            CancelScope scope;
            if (before) scope.Cancel();
            (void)co_await scope.Run([&]() -> Task<void> {
              auto close = watch.Close();
              scope.Cancel();
              co_await std::move(close);
            });
            co_return co_await group.Join();
          }));
      co_await watch.Close();
      EXPECT_EQ(::close(fd), 0);
    }
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid
