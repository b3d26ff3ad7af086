// What echoing costs: exactly the system calls of a raw program over epoll, and
// no allocation.

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <new>
#include <optional>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/net/cost_counters.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "braid/sync/event.h"

namespace {

// An array, as a map would allocate.
enum Call {
  kRecv,
  kRecvfrom,
  kRecvmsg,
  kRecvmmsg,
  kSend,
  kSendto,
  kSendmsg,
  kSendmmsg,
  kEpollWait,
  kEpollPwait2,
  kEpollCtl,
  kRead,
  kWrite,
  kTimerfd,
  kCalls
};
std::array<uint64_t, kCalls> calls = {};

}  // namespace

COUNTED(calls[kRecv], ssize_t, recv, (int fd, void* b, size_t n, int f),
        (fd, b, n, f))
COUNTED(calls[kRecvfrom], ssize_t, recvfrom,
        (int fd, void* b, size_t n, int f, sockaddr* a, socklen_t* l),
        (fd, b, n, f, a, l))
COUNTED(calls[kRecvmsg], ssize_t, recvmsg, (int fd, msghdr* m, int f),
        (fd, m, f))
COUNTED(calls[kRecvmmsg], int, recvmmsg,
        (int fd, mmsghdr* m, unsigned n, int f, timespec* t), (fd, m, n, f, t))
COUNTED(calls[kSend], ssize_t, send, (int fd, const void* b, size_t n, int f),
        (fd, b, n, f))
COUNTED(calls[kSendto], ssize_t, sendto,
        (int fd, const void* b, size_t n, int f, const sockaddr* a,
         socklen_t l),
        (fd, b, n, f, a, l))
COUNTED(calls[kSendmsg], ssize_t, sendmsg, (int fd, const msghdr* m, int f),
        (fd, m, f))
COUNTED(calls[kSendmmsg], int, sendmmsg,
        (int fd, mmsghdr* m, unsigned n, int f), (fd, m, n, f))
COUNTED(calls[kEpollWait], int, epoll_wait,
        (int fd, epoll_event* e, int n, int t), (fd, e, n, t))
COUNTED(calls[kEpollPwait2], int, epoll_pwait2,
        (int fd, epoll_event* e, int n, const timespec* t, const sigset_t* s),
        (fd, e, n, t, s))
COUNTED(calls[kEpollCtl], int, epoll_ctl,
        (int fd, int o, int g, epoll_event* e), (fd, o, g, e))
COUNTED(calls[kRead], ssize_t, read, (int fd, void* b, size_t n), (fd, b, n))
COUNTED(calls[kWrite], ssize_t, write, (int fd, const void* b, size_t n),
        (fd, b, n))
COUNTED(calls[kTimerfd], int, timerfd_settime,
        (int fd, int f, const itimerspec* n, itimerspec* o), (fd, f, n, o))

namespace braid {
namespace {

constexpr size_t kRounds = 20;
// What the servers have left to answer of the burst at hand.
size_t left = 0;
std::optional<Event> answered;

void Answered(size_t count) {
  left -= count;
  if (left == 0) answered->Set();
}

// Counts, again and again, what the server does between waiting, with `burst`
// requests there, and waiting again.
template <typename Ask, typename Hear>
Task<void> CountRounds(size_t burst, Ask ask, Hear hear) {
  constexpr size_t kWarmUp = 3;
  for (size_t round = 0; round < kWarmUp + kRounds; ++round) {
    if (round == kWarmUp) {
      calls = {};
      allocations = 0;
    }
    answered.emplace();
    left = burst;
    for (size_t i = 0; i < burst; ++i) ask(i);
    StartCounting();
    co_await answered->Wait();
    StopCounting();
    for (size_t i = 0; i < burst; ++i) hear(i);
  }
  EXPECT_EQ(allocations, 0u);
  EXPECT_EQ(calls[kEpollWait] + calls[kEpollPwait2], kRounds);
  for (Call call : {kRecvmsg, kSendmsg, kEpollCtl, kRead, kWrite, kTimerfd}) {
    EXPECT_EQ(calls[call], 0u) << call;
  }
}

TEST(Cost, UdpEchoOneByOne) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup([&](TaskGroup& group)
                                         -> Task<absl::Status> {
      group.Start("server", [&]() -> Task<absl::Status> {
        DatagramBuffer buffer;
        for (;;) {
          Datagram datagram = co_await OrReturn(server.Receive(buffer));
          co_await OrReturn(server.Reply(datagram, datagram.data));
          Answered(1);
        }
      });
      Client client(SOCK_DGRAM, server.local_address());
      co_await CountRounds(
          kBurst, [&](size_t) { client.Ask(); },
          [&](size_t) { client.Hear(); });
      EXPECT_EQ(
          calls[kRecvfrom],
          (kBurst + 1) *
              kRounds);  // the last one finds nothing, as in the raw program
      EXPECT_EQ(calls[kSendto], kBurst * kRounds);
      group.Cancel();
      co_return co_await group.Join();
    });
  });
}

TEST(Cost, UdpEchoInBatches) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("server", [&]() -> Task<absl::Status> {
            for (;;) {
              DatagramBatch batch = co_await OrReturn(server.ReceiveBatch());
              std::span<const Datagram> rest = batch.datagrams();
              while (!rest.empty()) {
                const size_t sent = co_await OrReturn(server.SendBatch(rest));
                rest = rest.subspan(sent);
                Answered(sent);
              }
            }
          });
          Client client(SOCK_DGRAM, server.local_address());
          // Less than a batch holds: that the queue is empty shows.
          co_await CountRounds(
              kBurst - 1, [&](size_t) { client.Ask(); },
              [&](size_t) { client.Hear(); });
          EXPECT_EQ(calls[kRecvmmsg], kRounds);
          EXPECT_EQ(calls[kSendmmsg], kRounds);
          group.Cancel();
          co_return co_await group.Join();
        });
  });
}

// With offload, a burst comes in one message and leaves in one.
TEST(Cost, UdpEchoOfRuns) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    UdpSocket server =
        co_await OrReturn(UdpSocket::Bind("127.0.0.1:0", {.offload = true}));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("server", [&]() -> Task<absl::Status> {
            for (;;) {
              DatagramBatch batch = co_await OrReturn(server.ReceiveBatch());
              EXPECT_EQ(batch.size(), kBurst);
              EXPECT_EQ(co_await OrReturn(server.SendBatch(batch.datagrams())),
                        kBurst);
              Answered(kBurst);
            }
          });
          Client client(SOCK_DGRAM, server.local_address());
          co_await CountRounds(
              kBurst,
              [&](size_t i) {
                if (i == 0) client.AskInARun();
              },
              [&](size_t) { client.Hear(); });
          EXPECT_EQ(calls[kRecvmmsg], kRounds);
          EXPECT_EQ(calls[kSendmmsg], kRounds);
          group.Cancel();
          co_return co_await group.Join();
        });
  });
}

TEST(Cost, TcpEchoOnManyConnections) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
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
              while (size_t size = co_await OrReturn(stream.Receive(buffer))) {
                co_await OrReturn(stream.Send(std::span(buffer).first(size)));
                Answered(1);
              }
              co_return absl::OkStatus();
            },
            co_await OrReturn(listener.Accept()));
      }
      co_await CountRounds(
          kBurst, [&](size_t i) { clients[i].Ask(); },
          [&](size_t i) { clients[i].Hear(); });
      EXPECT_EQ(calls[kRecv], kBurst * kRounds);
      EXPECT_EQ(calls[kSend], kBurst * kRounds);
      group.Cancel();
      co_return co_await group.Join();
    });
  });
}

// The buffer is lent only while there is something in it.
TEST(Cost, TcpEchoInChunks) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          Client client(SOCK_STREAM, listener.local_address());
          group.Start(
              "connection",
              [](TcpStream stream) -> Task<absl::Status> {
                for (;;) {
                  Chunk chunk = co_await OrReturn(stream.ReceiveChunk());
                  if (chunk.empty()) co_return absl::OkStatus();
                  co_await OrReturn(stream.Send(chunk));
                  Answered(1);
                }
              },
              co_await OrReturn(listener.Accept()));
          co_await CountRounds(
              1, [&](size_t) { client.Ask(); }, [&](size_t) { client.Hear(); });
          EXPECT_EQ(calls[kRecv], kRounds);
          EXPECT_EQ(calls[kSend], kRounds);
          group.Cancel();
          co_return co_await group.Join();
        });
  });
}

// A limit around an operation that doesn't reach it costs no call: it is a
// number that the wait is given.
TEST(Cost, ALimitThatIsNotReached) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("server", [&]() -> Task<absl::Status> {
            DatagramBuffer buffer;
            for (;;) {
              Datagram datagram = co_await OrReturn(
                  FailAfter(std::chrono::hours(1), server.Receive(buffer)));
              co_await OrReturn(server.Reply(datagram, datagram.data));
              Answered(1);
            }
          });
          Client client(SOCK_DGRAM, server.local_address());
          co_await CountRounds(
              1, [&](size_t) { client.Ask(); }, [&](size_t) { client.Hear(); });
          EXPECT_EQ(calls[kRecvfrom], 2 * kRounds);
          EXPECT_EQ(calls[kSendto], kRounds);
          group.Cancel();
          co_return co_await group.Join();
        });
  });
}

}  // namespace
}  // namespace braid
