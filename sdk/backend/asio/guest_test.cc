#include "braid/backend/asio/guest.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "braid/backend/asio/use_braid.h"
#include "braid/backend/every_backend.h"
#include "braid/backend/from_callback.h"
#include "braid/core/core.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "braid/sync/event.h"

namespace braid {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Runs `body` as a guest of an io_context that does nothing else, and gives its
// status.
template <typename B>
absl::Status RunAsGuest(B body) {
  const size_t before = OpenDescriptors();
  std::optional<absl::Status> ended;
  {
    asio::io_context io;
    RunOn(io, std::move(body), [&](absl::Status status) { ended = status; });
    io.run();
  }
  EXPECT_EQ(OpenDescriptors(), before);
  if (!ended.has_value())
    return absl::InternalError(
        "the io_context ran out of work before the body ended");
  return *ended;
}

TEST(Guest, RunsABody) {
  EXPECT_EQ(
      RunAsGuest([]() -> Task<absl::Status> { co_return absl::OkStatus(); }),
      absl::OkStatus());
  EXPECT_EQ(RunAsGuest([]() -> Task<absl::Status> {
              co_return absl::NotFoundError("x");
            }),
            absl::NotFoundError("x"));
}

TEST(Guest, ReturnsBeforeAnythingRuns) {
  asio::io_context io;
  bool began = false;
  std::optional<int> result;
  RunOn(
      io,
      [&]() -> Task<int> {
        began = true;
        co_return 7;
      },
      [&](absl::StatusOr<int> value) { result = value.value_or(-1); });
  EXPECT_FALSE(began);
  io.run();
  EXPECT_EQ(result, 7);
}

TEST(Guest, HasTimersAndSockets) {
  EXPECT_EQ(
      RunAsGuest([]() -> Task<absl::Status> {
        const Time start = Now();
        co_await SleepFor(3ms);
        EXPECT_GE(Now() - start, 3ms);
        EXPECT_FALSE((co_await MoveOnAfter(1ms, SleepFor(1h))));
        UdpSocket a = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
        UdpSocket b = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              group.Start("echo", [&]() -> Task<absl::Status> {
                DatagramBuffer buffer;
                for (;;) {
                  Datagram datagram = co_await OrReturn(b.Receive(buffer));
                  co_await OrReturn(b.Reply(datagram, datagram.data));
                }
              });
              DatagramBuffer buffer;
              for (int i = 0; i < 300; ++i) {
                co_await OrReturn(
                    a.SendTo(std::to_string(i), b.local_address()));
                EXPECT_EQ((co_await OrReturn(a.Receive(buffer))).data.text(),
                          std::to_string(i));
                if (i % 50 == 0)
                  co_await SleepFor(std::chrono::microseconds(i));
              }
              group.Cancel();
              co_return co_await group.Join();
            });
      }),
      absl::OkStatus());
}

TEST(Guest, LeavesTheApplicationItsShare) {
  asio::io_context io;
  int ticks = 0;
  asio::steady_timer timer(io);
  bool ended = false;
  std::function<void()> tick = [&] {
    timer.expires_after(std::chrono::microseconds(100));
    timer.async_wait([&](boost::system::error_code) {
      ++ticks;
      if (!ended) tick();
    });
  };
  tick();
  // A body that is always ready.
  RunOn(
      io,
      [&]() -> Task<absl::Status> {
        const Time limit = Now() + 10s;
        while (ticks < 5 && Now() < limit) co_await Checkpoint();
        EXPECT_GE(ticks, 5);
        co_return absl::OkStatus();
      },
      [&](absl::Status status) {
        EXPECT_TRUE(status.ok()) << status;
        ended = true;
      });
  io.run();
  EXPECT_TRUE(ended);
}

TEST(Guest, HearsFromHandlersAndThreads) {
  asio::io_context io;
  std::optional<Callback<int>> done;
  std::optional<absl::Status> ended;
  std::thread thread;
  RunOn(
      io,
      [&]() -> Task<absl::Status> {
        EXPECT_EQ(co_await FromCallback<int>([&](Callback<int> callback) {
                    asio::post(io, [callback] { callback(1); });
                  }),
                  1);
        EXPECT_EQ(co_await FromCallback<int>([&](Callback<int> callback) {
                    thread = std::thread([callback] { callback(2); });
                  }),
                  2);
        asio::steady_timer timer(CurrentIoContext(), 1ms);
        EXPECT_EQ(&CurrentIoContext(), &io);
        co_return co_await timer.async_wait(UseBraid);
      },
      [&](absl::Status status) { ended = status; });
  io.run();
  thread.join();
  EXPECT_EQ(ended, absl::OkStatus());
}

// Nothing else would give the loop a turn then.
TEST(Guest, HandlersOfTheApplicationReachTasks) {
  asio::io_context io;
  CancelScope scope;
  CancelScope late;
  Event event;
  std::optional<UdpSocket> socket;
  std::optional<absl::Status> ended;
  std::vector<std::string> seen;
  // Each handler is posted by the one before, when the loop is at rest.
  asio::steady_timer timer(io);
  const auto then = [&](auto next) {
    timer.expires_after(1ms);
    timer.async_wait([next](boost::system::error_code) { next(); });
  };
  RunOn(
      io,
      [&]() -> Task<absl::Status> {
        then([&] { event.Set(); });
        co_await event.Wait();
        seen.push_back("event");
        then([&] { scope.Cancel(); });
        EXPECT_FALSE(co_await scope.Run(SleepForever()));
        seen.push_back("cancel");
        then([&] { late.SetDeadline(Time(1ns)); });
        EXPECT_FALSE(co_await late.Run(SleepForever()));
        seen.push_back("deadline");
        socket = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
        then([&] { socket.reset(); });
        DatagramBuffer buffer;
        EXPECT_TRUE(IsClosed((co_await socket->Receive(buffer)).status()));
        seen.push_back("close");
        co_return absl::OkStatus();
      },
      [&](absl::Status status) { ended = status; });
  io.run_for(10s);
  EXPECT_EQ(seen,
            (std::vector<std::string>{"event", "cancel", "deadline", "close"}));
  EXPECT_EQ(ended, absl::OkStatus());
}

TEST(Guest, CanBeCancelledFromAnywhere) {
  asio::io_context io;
  std::optional<absl::Status> ended;
  GuestRun guest = RunOn(
      io,
      []() -> Task<absl::Status> {
        co_await SleepForever();
        co_return absl::OkStatus();
      },
      [&](absl::Status status) { ended = status; });
  std::thread thread([guest] { guest.Cancel("enough"); });
  io.run();
  thread.join();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(absl::IsCancelled(*ended));
  EXPECT_NE(ended->message().find("enough"), std::string::npos) << *ended;
  guest.Cancel("after the end");
}

TEST(Guest, SeveralShareAnIoContext) {
  asio::io_context io;
  int ended = 0;
  for (int i = 0; i < 3; ++i) {
    RunOn(
        io,
        [i]() -> Task<absl::Status> {
          co_await SleepFor(std::chrono::milliseconds(i));
          co_return absl::OkStatus();
        },
        [&](absl::Status status) {
          EXPECT_TRUE(status.ok());
          ++ended;
        });
  }
  io.run();
  EXPECT_EQ(ended, 3);
}

TEST(Guest, AnExceptionLeavesRun) {
  asio::io_context io;
  bool done = false;
  RunOn(
      io,
      []() -> Task<void> {
        co_await Checkpoint();
        throw std::runtime_error("from the body");
      },
      [&](absl::Status) { done = true; });
  EXPECT_THROW(io.run(), std::runtime_error);
  EXPECT_FALSE(done);
  io.run();
}

TEST(Guest, AnIoContextMayPause) {
  asio::io_context io;
  std::optional<absl::Status> ended;
  RunOn(
      io,
      []() -> Task<absl::Status> {
        co_await SleepFor(2ms);
        co_return absl::OkStatus();
      },
      [&](absl::Status status) { ended = status; });
  while (!ended.has_value()) {
    io.run_for(std::chrono::microseconds(200));
    io.restart();
  }
  EXPECT_EQ(*ended, absl::OkStatus());
}

TEST(GuestDeathTest, MisuseIsAFailedCheck) {
  const auto forever = []() -> Task<absl::Status> {
    co_await SleepForever();
    co_return absl::OkStatus();
  };
  EXPECT_DEATH(
      {
        asio::io_context io;
        RunOn(io, forever, [](absl::Status) {});
        io.run_for(1ms);
      },
      "an io_context goes before the RunOn on it has ended");
  EXPECT_DEATH(
      {
        asio::io_context io;
        RunOn(
            io,
            []() -> Task<absl::Status> {
              for (;;) co_await Checkpoint();
            },
            [](absl::Status) {});
        io.run_for(1ms);
        std::thread([&] { io.run_for(10ms); }).join();
      },
      "one thread runs");
}

}  // namespace
}  // namespace braid
