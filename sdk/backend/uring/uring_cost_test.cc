// What echoing costs: a system call for each burst, as in a raw program over
// io_uring, and no allocation.

#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/net/cost_counters.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"

namespace {

uint64_t enters = 0;
uint64_t others = 0;  // of sockets

}  // namespace

COUNTED(enters, int, io_uring_submit, (io_uring * r), (r))
COUNTED(enters, int, io_uring_submit_and_wait, (io_uring * r, unsigned n),
        (r, n))
COUNTED(enters, int, io_uring_submit_and_wait_timeout,
        (io_uring * r, io_uring_cqe** c, unsigned n, __kernel_timespec* t,
         sigset_t* s),
        (r, c, n, t, s))
COUNTED(enters, int, io_uring_submit_and_get_events, (io_uring * r), (r))
COUNTED(enters, int, io_uring_get_events, (io_uring * r), (r))
COUNTED(others, ssize_t, recv, (int fd, void* b, size_t n, int f),
        (fd, b, n, f))
COUNTED(others, ssize_t, recvmsg, (int fd, msghdr* m, int f), (fd, m, f))
COUNTED(others, int, recvmmsg,
        (int fd, mmsghdr* m, unsigned n, int f, timespec* t), (fd, m, n, f, t))
COUNTED(others, ssize_t, send, (int fd, const void* b, size_t n, int f),
        (fd, b, n, f))
COUNTED(others, ssize_t, sendto,
        (int fd, const void* b, size_t n, int f, const sockaddr* a,
         socklen_t l),
        (fd, b, n, f, a, l))
COUNTED(others, ssize_t, sendmsg, (int fd, const msghdr* m, int f), (fd, m, f))
COUNTED(others, int, sendmmsg, (int fd, mmsghdr* m, unsigned n, int f),
        (fd, m, n, f))

namespace braid {
namespace {

constexpr uint64_t kRounds = 20;
// Counts, again and again, what the server does with `burst` requests that are
// there, until all the answers are.
template <typename Ask, typename TryToHear>
Task<void> CountRounds(size_t burst, Ask ask, TryToHear try_to_hear) {
  constexpr uint64_t kWarmUp = 3;
  for (uint64_t round = 0; round < kWarmUp + kRounds; ++round) {
    if (round == kWarmUp) enters = others = allocations = 0;
    for (size_t i = 0; i < burst; ++i) ask(i);
    size_t heard = 0;
    while (heard < burst) {
      StartCounting();
      // Waits as the server does: a checkpoint would make the loop busy.
      co_await SleepFor(std::chrono::microseconds(200));
      StopCounting();
      while (heard < burst && try_to_hear(heard)) ++heard;
    }
  }
  EXPECT_EQ(allocations, 0u);
}

TEST(UringCost, UdpEchoOneByOne) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  RunOnBackend("uring", []() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("server", [&]() -> Task<absl::Status> {
            DatagramBuffer buffer;
            for (;;) {
              Datagram datagram = co_await OrReturn(server.Receive(buffer));
              co_await OrReturn(server.Reply(datagram, datagram.data));
            }
          });
          Client client(SOCK_DGRAM, server.local_address());
          co_await CountRounds(
              kBurst, [&](size_t) { client.Ask(); },
              [&](size_t) { return client.TryToHear(); });
          // The kernel receives up to 32 at a time; the sleep's end is another.
          EXPECT_LE(enters, 5 * kRounds);
          EXPECT_EQ(others, 0u);
          group.Cancel();
          co_return co_await group.Join();
        });
  });
}

TEST(UringCost, TcpEchoOnManyConnections) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  RunOnBackend("uring", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup([&](TaskGroup& group)
                                         -> Task<absl::Status> {
      std::vector<Client> clients;
      for (size_t i = 0; i < kBurst; ++i) {
        clients.emplace_back(SOCK_STREAM, listener.local_address());
        group.Start(
            "connection",
            [](TcpStream stream) -> Task<absl::Status> {
              std::array<std::byte, 4096> buffer;
              while (size_t size = co_await OrReturn(stream.Receive(buffer)))
                co_await OrReturn(stream.Send(std::span(buffer).first(size)));
              co_return absl::OkStatus();
            },
            co_await OrReturn(listener.Accept()));
      }
      co_await CountRounds(
          kBurst, [&](size_t i) { clients[i].Ask(); },
          [&](size_t i) { return clients[i].TryToHear(); });
      EXPECT_LE(enters, 7 * kRounds);
      EXPECT_EQ(others, 0u);
      group.Cancel();
      co_return co_await group.Join();
    });
  });
}

// A limit around an operation that doesn't reach it is a number that the wait
// is given.
TEST(UringCost, ALimitThatIsNotReached) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  RunOnBackend("uring", []() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("server", [&]() -> Task<absl::Status> {
            DatagramBuffer buffer;
            for (;;) {
              Datagram datagram = co_await OrReturn(
                  FailAfter(std::chrono::hours(1), server.Receive(buffer)));
              co_await OrReturn(server.Reply(datagram, datagram.data));
            }
          });
          Client client(SOCK_DGRAM, server.local_address());
          co_await CountRounds(
              1, [&](size_t) { client.Ask(); },
              [&](size_t) { return client.TryToHear(); });
          // To receive and send, to wait for more, to sleep.
          EXPECT_LE(enters, 3 * kRounds);
          EXPECT_EQ(others, 0u);
          group.Cancel();
          co_return co_await group.Join();
        });
  });
}

}  // namespace
}  // namespace braid
