#include "braid/os/fd_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <optional>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

class Pipe {
 public:
  Pipe() { EXPECT_EQ(::pipe2(fds_.data(), O_NONBLOCK), 0); }
  ~Pipe() {
    ::close(fds_[0]);
    CloseWriter();
  }
  int reader() const { return fds_[0]; }
  int writer() const { return fds_[1]; }
  void Write() { EXPECT_EQ(::write(writer(), "x", 1), 1); }
  void Read() {
    char byte;
    EXPECT_EQ(::read(reader(), &byte, 1), 1);
  }
  void CloseWriter() {
    if (fds_[1] >= 0) ::close(fds_[1]);
    fds_[1] = -1;
  }
  // Until there is no room.
  void Fill() {
    std::array<char, 4096> bytes = {};
    while (::write(writer(), bytes.data(), bytes.size()) > 0) {
    }
  }
  void Empty() {
    std::array<char, 4096> bytes;
    while (::read(reader(), bytes.data(), bytes.size()) > 0) {
    }
  }

 private:
  std::array<int, 2> fds_;
};

TEST(FdWatch, WaitsUntilThereIsSomethingToRead) {
  RunOnRealBackends("descriptors of the system", []() -> Task<absl::Status> {
    Pipe pipe;
    FdWatch watch = co_await OrReturn(FdWatch::Open(pipe.reader()));
    for (int i = 0; i < 3; ++i) {
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            bool readable = false;
            group.Start("waiter", [&]() -> Task<absl::Status> {
              co_await OrReturn(watch.Readable());
              readable = true;
              co_return absl::OkStatus();
            });
            co_await UntilWaiting("waiter");
            EXPECT_FALSE(readable);
            pipe.Write();
            pipe.Write();
            co_return co_await group.Join();
          }));
      // It says what is, not what has changed.
      pipe.Read();
      co_await OrReturn(watch.Readable());
      pipe.Read();
    }
    pipe.CloseWriter();
    co_return co_await watch.Readable();  // the end
  });
}

TEST(FdWatch, WaitsUntilThereIsRoomToWrite) {
  RunOnRealBackends("descriptors of the system", []() -> Task<absl::Status> {
    Pipe pipe;
    FdWatch watch = co_await OrReturn(FdWatch::Open(pipe.writer()));
    co_await OrReturn(watch.Writable());
    for (int i = 0; i < 3; ++i) {
      pipe.Fill();
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("waiter", [&]() -> Task<absl::Status> {
              co_return co_await watch.Writable();
            });
            co_await UntilWaiting("waiter");
            pipe.Empty();
            co_return co_await group.Join();
          }));
    }
    co_return absl::OkStatus();
  });
}

// The kernel has nothing to wait for there, and poll(2) says so.
TEST(FdWatch, AFileIsAlwaysReady) {
  RunOnRealBackends("descriptors of the system", []() -> Task<absl::Status> {
    const int fd = ::open("/proc/self/exe", O_RDONLY);
    {
      FdWatch watch = co_await OrReturn(FdWatch::Open(fd));
      co_await OrReturn(watch.Readable());
      co_await OrReturn(watch.Writable());
    }
    EXPECT_EQ(::close(fd), 0);
    co_return absl::OkStatus();
  });
}

TEST(FdWatch, RefusesWhatCannotBe) {
  RunOnRealBackends("descriptors of the system", []() -> Task<absl::Status> {
    // It was said to be closed, as if the watch had been.
    const absl::Status not_open = FdWatch::Open(-1).status();
    EXPECT_TRUE(absl::IsInvalidArgument(not_open)) << not_open;
    Pipe pipe;
    FdWatch first = co_await OrReturn(FdWatch::Open(pipe.reader()));
    FdWatch second = co_await OrReturn(FdWatch::Open(pipe.reader()));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed(co_await first.Readable()));
          });
          co_await UntilWaiting("waiter");
          EXPECT_TRUE(IsBusy(co_await first.Readable()));
          EXPECT_TRUE(IsBusy(co_await second.Readable()));
          co_await first.Close();
          co_await OrReturn(group.Join());
          pipe.Write();
          co_return co_await second.Readable();
        });
  });
}

TEST(FdWatch, CanBeCancelled) {
  RunOnRealBackends("descriptors of the system", []() -> Task<absl::Status> {
    Pipe pipe;
    std::optional<FdWatch> watch =
        co_await OrReturn(FdWatch::Open(pipe.reader()));
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE((co_await before.Run(watch->Readable())).has_value());
    EXPECT_FALSE((co_await MoveOnAfter(1ms, watch->Readable())).has_value());
    pipe.Write();
    co_await OrReturn(watch->Readable());
    pipe.Read();
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed(co_await watch->Readable()));
          });
          co_await UntilWaiting("waiter");
          watch.reset();
          co_await OrReturn(group.Join());
          EXPECT_EQ(::fcntl(pipe.reader(), F_GETFL) & O_NONBLOCK,
                    O_NONBLOCK);  // still open
          co_return absl::OkStatus();
        });
  });
}

}  // namespace
}  // namespace braid
