#include "braid/backend/asio/use_braid.h"

#include <gtest/gtest.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/net/udp.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

namespace asio = boost::asio;
using Stream = asio::local::stream_protocol::socket;
using boost::system::error_code;
using namespace std::chrono_literals;

struct Pair {
  Pair() : a(CurrentIoContext()), b(CurrentIoContext()) {
    asio::local::connect_pair(a, b);
  }
  Stream a;
  Stream b;
};

TEST(UseBraid, AwaitsATimer) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    const Time start = Now();
    asio::steady_timer timer(CurrentIoContext(), 2ms);
    co_await OrReturn(timer.async_wait(UseBraid));
    EXPECT_GE(Now() - start, 2ms);
    co_return absl::OkStatus();
  });
}

TEST(UseBraid, GivesWhatTheHandlerWouldGet) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    Pair pair;
    EXPECT_EQ(co_await OrReturn(asio::async_write(
                  pair.a, asio::buffer("hello", 5), UseBraid)),
              5u);
    std::array<char, 16> buffer;
    EXPECT_EQ(co_await OrReturn(
                  pair.b.async_read_some(asio::buffer(buffer), UseBraid)),
              5u);
    EXPECT_EQ(std::string(buffer.data(), 5), "hello");
    co_await asio::post(CurrentIoContext(), UseBraid);  // no arguments: nothing
    pair.a.close();
    // An error is a status, and with as_tuple it comes with the rest.
    const absl::StatusOr<size_t> end =
        co_await pair.b.async_read_some(asio::buffer(buffer), UseBraid);
    EXPECT_EQ(end.status().code(), absl::StatusCode::kOutOfRange)
        << end.status();
    auto [error, size] = co_await pair.b.async_read_some(
        asio::buffer(buffer), asio::as_tuple(UseBraid));
    EXPECT_EQ(error, asio::error::eof);
    EXPECT_EQ(size, 0u);
    co_return absl::OkStatus();
  });
}

TEST(UseBraid, SystemErrorsAreStatuses) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    asio::ip::udp::socket socket(
        CurrentIoContext(),
        asio::ip::udp::endpoint(asio::ip::address_v4::loopback(), 0));
    const std::string tooLong(70'000, 'x');
    const absl::StatusOr<size_t> sent = co_await socket.async_send_to(
        asio::buffer(tooLong), socket.local_endpoint(), UseBraid);
    EXPECT_EQ(sent.status().code(), absl::StatusCode::kInvalidArgument)
        << sent.status();
    co_return absl::OkStatus();
  });
}

TEST(UseBraid, ExceptionsAreRethrown) {
  RunOnBackend("asio", []() -> Task<void> {
    const auto fail = [](auto token) {
      return asio::async_initiate<decltype(token),
                                  void(std::exception_ptr, int)>(
          [](auto handler) {
            asio::post(
                CurrentIoContext(), [handler = std::move(handler)]() mutable {
                  std::move(handler)(
                      std::make_exception_ptr(std::runtime_error("thrown")), 0);
                });
          },
          token);
    };
    bool caught = false;
    try {
      co_await fail(UseBraid);
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "thrown";
    }
    EXPECT_TRUE(caught);
  });
}

TEST(UseBraid, AHandlerThatIsCalledAtOnce) {
  RunOnBackend("asio", []() -> Task<void> {
    const auto now = [](auto token) {
      return asio::async_initiate<decltype(token), void(int, std::string)>(
          [](auto handler) { std::move(handler)(3, "three"); }, token);
    };
    auto [number, text] = co_await now(UseBraid);
    EXPECT_EQ(number, 3);
    EXPECT_EQ(text, "three");
  });
}

TEST(UseBraid, StandsBesideSocketsOfBraid) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    asio::steady_timer timer(CurrentIoContext());
    for (int i = 0; i < 100; ++i) {
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("receiver", [&]() -> Task<absl::Status> {
              DatagramBuffer buffer;
              co_return (co_await socket.Receive(buffer)).status();
            });
            timer.expires_after(std::chrono::microseconds(i));
            co_await OrReturn(timer.async_wait(UseBraid));
            co_await OrReturn(socket.SendTo("x", socket.local_address()));
            co_await SleepFor(std::chrono::microseconds(i));
            co_return co_await group.Join();
          }));
    }
    co_return absl::OkStatus();
  });
}

TEST(UseBraid, WakesUpForOtherThreads) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    asio::io_context& io = CurrentIoContext();
    asio::steady_timer forever(io, asio::steady_timer::time_point::max());
    std::thread thread([&] { asio::post(io, [&] { forever.cancel(); }); });
    const absl::Status status = co_await forever.async_wait(UseBraid);
    thread.join();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled)
        << status;  // Asio's cancel, not ours: an error
    co_return absl::OkStatus();
  });
}

// Objects of another io_context, whose thread calls the handlers: they come
// over.
TEST(UseBraid, AwaitsObjectsOfAnotherIoContext) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    asio::io_context other;
    auto work = asio::make_work_guard(other);
    std::thread thread([&] { other.run(); });
    const std::thread::id loop = std::this_thread::get_id();
    absl::Status status;
    {
      asio::steady_timer timer(other, 1ms);
      status = co_await timer.async_wait(UseBraid);
      EXPECT_EQ(std::this_thread::get_id(), loop);
    }
    work.reset();
    thread.join();
    co_return status;
  });
}

TEST(UseBraid, ACancelledOperationIsStopped) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    Pair pair;
    std::array<char, 16> buffer;
    // Before it starts.
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE((co_await before.Run(
                      pair.b.async_read_some(asio::buffer(buffer), UseBraid)))
                     .has_value());
    // While it waits, twice.
    CancelScope scope;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("reader", [&]() -> Task<void> {
            EXPECT_FALSE((co_await scope.Run(pair.b.async_read_some(
                              asio::buffer(buffer), UseBraid)))
                             .has_value());
          });
          co_await UntilWaiting("reader");
          scope.Cancel("once");
          scope.Cancel("twice");
          co_return co_await group.Join();
        }));
    // By a deadline; and nothing was lost.
    EXPECT_FALSE(
        (co_await MoveOnAfter(
             1ms, pair.b.async_read_some(asio::buffer(buffer), UseBraid)))
            .has_value());
    co_await OrReturn(
        asio::async_write(pair.a, asio::buffer("kept", 4), UseBraid));
    EXPECT_EQ(co_await OrReturn(
                  pair.b.async_read_some(asio::buffer(buffer), UseBraid)),
              4u);
    co_return absl::OkStatus();
  });
}

// A composed operation that is stopped half-way says how far it came: that is a
// value, and values are delivered.
TEST(UseBraid, ACancelledOperationThatDidSomethingSaysSo) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    Pair pair;
    std::array<char, 16> buffer;
    co_await OrReturn(
        asio::async_write(pair.a, asio::buffer("half", 4), UseBraid));
    auto read =
        co_await MoveOnAfter(5ms, asio::async_read(pair.b, asio::buffer(buffer),
                                                   asio::as_tuple(UseBraid)));
    EXPECT_TRUE(read.has_value());
    if (!read.has_value()) co_return absl::OkStatus();
    EXPECT_EQ(std::get<0>(*read), asio::error::operation_aborted);
    EXPECT_EQ(std::get<1>(*read), 4u);
    co_return absl::OkStatus();
  });
}

TEST(UseBraid, ACancelAtCompletionDeliversTheValue) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            // Its handler is in the queue when the cancel comes.
            EXPECT_TRUE(
                co_await scope.Run(asio::post(CurrentIoContext(), UseBraid)));
          });
          co_await UntilWaiting("waiter");
          scope.Cancel();
          co_return co_await group.Join();
        });
  });
}

TEST(UseBraid, WorksInCleanUp) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    CancelScope scope;
    scope.Cancel();
    bool waited = false;
    (void)co_await scope.Run(Finally(SleepForever(), [&]() -> Task<void> {
      asio::steady_timer timer(CurrentIoContext(), 1ms);
      waited = (co_await timer.async_wait(UseBraid)).ok();
    }));
    EXPECT_TRUE(waited);
    co_return absl::OkStatus();
  });
}

TEST(UseBraid, AFloodOfTimersAndCancels) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    int fired = 0;
    int stopped = 0;
    constexpr int kTimers = 1000;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < kTimers; ++i) {
            group.Start("timer", [&, i]() -> Task<void> {
              asio::steady_timer timer(CurrentIoContext(),
                                       std::chrono::microseconds(i % 100 * 10));
              auto end =
                  co_await MoveOnAfter(std::chrono::microseconds(i % 90 * 10),
                                       timer.async_wait(UseBraid));
              if (end.has_value()) {
                EXPECT_TRUE(end->ok()) << *end;
                ++fired;
              } else {
                ++stopped;
              }
            });
          }
          co_await OrReturn(group.Join());
          EXPECT_EQ(fired + stopped, kTimers);
          co_return absl::OkStatus();
        });
  });
}

TEST(UseBraidDeathTest, NeedsTheAsioBackend) {
  EXPECT_DEATH(
      {
        VirtualTime time;
        (void)::braid::Run(time, []() -> Task<void> {
          asio::io_context io;
          co_await asio::post(io, UseBraid);
        });
      },
      "does no I/O");
}

}  // namespace
}  // namespace braid
