#include "braid/backend/asio/asio_backend.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "braid/backend/every_backend.h"
#include "braid/backend/from_callback.h"
#include "braid/core/core.h"
#include "braid/net/udp.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Not before its time, and not as late as a clock of whole milliseconds would
// be, most of the times.
TEST(AsioBackend, TimersAreFinerThanAMillisecond) {
  RunOnBackend("asio", []() -> Task<void> {
    Duration least = 1h;
    for (int i = 0; i < 50; ++i) {
      const Time before = Now();
      co_await SleepFor(100us);
      const Duration slept = Now() - before;
      EXPECT_GE(slept, 100us);
      least = std::min(least, slept);
    }
    EXPECT_LT(least, 900us);
  });
}

TEST(AsioBackend, AWaitEndsAtTheEarliestDeadline) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    const Time start = Now();
    auto [late, early] = co_await AnyOf(SleepFor(1h), SleepFor(1ms));
    EXPECT_FALSE(late);
    EXPECT_TRUE(early);
    EXPECT_LT(Now() - start, 10s);
    co_return absl::OkStatus();
  });
}

// Every hand-over from another thread ends a wait, whenever it comes.
TEST(AsioBackend, WakesUpForOtherThreads) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    for (int i = 0; i < 500; ++i) {
      std::thread thread;
      co_await FromCallback<void>([&](Callback<void> done) {
        thread = std::thread([done, i] {
          for (int spin = 0; spin < i % 50; ++spin) std::this_thread::yield();
          done();
        });
      });
      thread.join();
    }
    co_return absl::OkStatus();
  });
}

// I/O is looked for although tasks are always ready.
TEST(AsioBackend, ABusyLoopStillPolls) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          bool received = false;
          group.Start("receiver", [&]() -> Task<absl::Status> {
            DatagramBuffer buffer;
            co_await OrReturn(b.Receive(buffer));
            received = true;
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("receiver");
          co_await OrReturn(a.SendTo("x", b.local_address()));
          const Time limit = Now() + 10s;
          while (!received && Now() < limit) co_await Checkpoint();
          EXPECT_TRUE(received);
          co_return co_await group.Join();
        });
  });
}

TEST(AsioBackend, RunsOneProgramAfterAnother) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeAsioBackend();
  ASSERT_TRUE(backend.ok());
  std::optional<UdpSocket> kept;
  for (int i = 0; i < 3; ++i) {
    const absl::Status status =
        ::braid::Run(**backend, [&]() -> Task<absl::Status> {
          if (!kept.has_value())
            kept = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
          co_await OrReturn(kept->SendTo("to myself", kept->local_address()));
          DatagramBuffer buffer;
          EXPECT_EQ((co_await OrReturn(kept->Receive(buffer))).data.text(),
                    "to myself");
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(AsioBackendDeathTest, ASocketMustNotOutliveItsBackend) {
  EXPECT_DEATH(
      {
        std::optional<UdpSocket> kept;
        RunOnBackend("asio", [&]() -> Task<absl::Status> {
          kept = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
          co_return absl::OkStatus();
        });
      },
      "before a socket or batch that uses it");
}

TEST(AsioBackendDeathTest, ASocketStaysOnItsLoop) {
  EXPECT_DEATH(
      RunOnBackend("asio",
                   []() -> Task<absl::Status> {
                     UdpSocket socket =
                         co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
                     std::thread([&] {
                       RunOnBackend("asio", [&]() -> Task<absl::Status> {
                         DatagramBuffer buffer;
                         co_return (co_await socket.Receive(buffer)).status();
                       });
                     }).join();
                     co_return absl::OkStatus();
                   }),
      "on another loop");
}

}  // namespace
}  // namespace braid
