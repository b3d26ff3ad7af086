// What is special about io_uring: requests that the kernel has, limits, older
// kernels, and being forbidden. What every backend does is tested with the
// sockets.

#include "braid/backend/uring/uring_backend.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/backend/from_callback.h"
#include "braid/core/core.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr char kLoopback[] = "127.0.0.1:0";

struct Mode {
  const char* name;
  detail::UringOptions options;
};

// The newest kernel, older ones, and little of everything.
std::vector<Mode> Modes() {
  return {
      {"as it is", {}},
      {"without deferred work", {.deferred_work = false}},
      {"as Linux 5.11",
       {.deferred_work = false,
        .cooperative_work = false,
        .provided_buffers = false,
        .requests_wait = false}},
      {"without multishot receives", {.multishot_receive = false}},
      {"with the shortest queues", {.submissions = 1, .completions = 2}},
      {"with two buffers", {.buffers = 2}},
      {"with one buffer and short queues",
       {.submissions = 2, .completions = 4, .buffers = 1}},
  };
}

template <typename B>
void RunUring(B body, const detail::UringOptions& options = {},
              LoopOptions loop_options = {}) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  const size_t before = OpenDescriptors();
  {
    absl::StatusOr<std::unique_ptr<Backend>> backend =
        detail::MakeUringBackend(options);
    ASSERT_TRUE(backend.ok()) << backend.status();
    const absl::Status status = Run(
        **backend,
        [&]() -> Task<detail::BodyResult<B>> { co_return co_await body(); },
        loop_options);
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(OpenDescriptors(), before) << "descriptors are left open";
}

template <typename B>
void RunInEveryMode(B body) {
  for (const Mode& mode : Modes()) {
    for (uint64_t seed = 0; seed <= 2; ++seed) {
      SCOPED_TRACE(std::string(mode.name) + ", shuffle_seed " +
                   std::to_string(seed));
      LoopOptions options;
      if (seed != 0) options.shuffle_seed = seed;
      RunUring(body, mode.options, options);
      if (testing::Test::HasFailure()) return;
    }
  }
}

Task<void> Yield(int times) {
  for (int i = 0; i < times; ++i) co_await Checkpoint();
}

struct Ends {
  TcpStream client;
  TcpStream server;
};

Task<absl::StatusOr<Ends>> Connected() {
  TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
  auto ends = co_await OrReturn(
      AllOf(TcpStream::Connect(listener.local_address()), listener.Accept()));
  co_return Ends{std::move(std::get<0>(ends)), std::move(std::get<1>(ends))};
}

Task<absl::StatusOr<std::string>> ReceiveText(UdpSocket* socket) {
  DatagramBuffer buffer;
  Datagram datagram = co_await OrReturn(socket->Receive(buffer));
  co_return std::string(datagram.data.text());
}

// Modes.

Task<absl::Status> EchoDatagrams(UdpSocket* socket) {
  DatagramBuffer buffer;
  for (;;) {
    Datagram datagram = co_await OrReturn(socket->Receive(buffer));
    co_await OrReturn(socket->Reply(datagram, datagram.data));
  }
}

Task<absl::Status> EchoBatches(UdpSocket* socket) {
  for (;;) {
    DatagramBatch batch = co_await OrReturn(socket->ReceiveBatch());
    std::span<const Datagram> rest = batch.datagrams();
    while (!rest.empty())
      rest = rest.subspan(co_await OrReturn(socket->SendBatch(rest)));
  }
}

TEST(Uring, EchoesDatagramsInEveryMode) {
  RunInEveryMode([]() -> Task<absl::Status> {
    UdpSocket one_by_one = co_await OrReturn(UdpSocket::Bind("0.0.0.0:0"));
    UdpSocket in_batches = co_await OrReturn(UdpSocket::Bind(kLoopback));
    co_return co_await WithTaskGroup([&](TaskGroup& group)
                                         -> Task<absl::Status> {
      group.Start("one by one", EchoDatagrams, &one_by_one);
      group.Start("in batches", EchoBatches, &in_batches);
      co_await OrReturn(WithTaskGroup([&](TaskGroup& clients)
                                          -> Task<absl::Status> {
        for (int i = 0; i < 8; ++i) {
          clients.Start("client", [&, i]() -> Task<absl::Status> {
            UdpSocket client = co_await OrReturn(UdpSocket::Bind(kLoopback));
            const SocketAddress server = SocketAddress::LoopbackV4(
                (i % 2 == 0 ? one_by_one : in_batches).local_address().port());
            for (int round = 0; round < 20; ++round) {
              // A window of ten, and a large one now and then.
              std::vector<std::string> sent;
              for (int j = 0; j < 10; ++j) {
                sent.push_back(std::to_string(round * 10 + j) +
                               std::string(j == 7 ? 1900 : 0, 'x'));
                co_await OrReturn(client.SendTo(sent.back(), server));
              }
              for (const std::string& text : sent) {
                EXPECT_EQ(
                    co_await OrReturn(FailAfter(10s, ReceiveText(&client))),
                    text);
              }
            }
            co_return absl::OkStatus();
          });
        }
        co_return co_await clients.Join();
      }));
      group.Cancel();
      co_return co_await group.Join();
    });
  });
}

TEST(Uring, EchoesStreamsInEveryMode) {
  RunInEveryMode([]() -> Task<absl::Status> {
    constexpr int kConnections = 30;
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("acceptor", [&]() -> Task<absl::Status> {
            for (int i = 0; i < kConnections; ++i) {
              group.Start(
                  "connection",
                  [](TcpStream stream, bool chunks) -> Task<absl::Status> {
                    std::array<std::byte, 3000> buffer;
                    for (;;) {
                      if (chunks) {
                        Chunk chunk = co_await OrReturn(stream.ReceiveChunk());
                        if (chunk.empty()) co_return absl::OkStatus();
                        co_await OrReturn(stream.Send(chunk));
                      } else {
                        const size_t size =
                            co_await OrReturn(stream.Receive(buffer));
                        if (size == 0) co_return absl::OkStatus();
                        co_await OrReturn(
                            stream.Send(std::span(buffer).first(size)));
                      }
                    }
                  },
                  co_await OrReturn(listener.Accept()), i % 2 == 0);
            }
            co_return absl::OkStatus();
          });
          for (int i = 0; i < kConnections; ++i) {
            group.Start("client", [&, i]() -> Task<absl::Status> {
              TcpStream stream = co_await OrReturn(
                  TcpStream::Connect(listener.local_address()));
              const std::string text(static_cast<size_t>(1 + i * 997), 'y');
              for (int round = 0; round < 5; ++round) {
                co_await OrReturn(stream.Send(text));
                std::vector<char> buffer(5000);
                for (size_t got = 0; got < text.size();) {
                  got += co_await OrReturn(
                      FailAfter(10s, [&]() -> Task<absl::StatusOr<size_t>> {
                        co_return co_await stream.Receive(buffer);
                      }));
                }
              }
              co_return absl::OkStatus();
            });
          }
          co_return co_await group.Join();
        });
  });
}

// Cancelling, at every point that a few turns of the loop can tell apart.

constexpr int kPoints = 6;

TEST(Uring, AReceiveThatIsCancelledAtAnyPointLosesNoByte) {
  RunInEveryMode([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    int delivered = 0;
    int stopped = 0;
    for (int cancel_at = 0; cancel_at < kPoints; ++cancel_at) {
      for (int send_at = 0; send_at < kPoints; ++send_at) {
        CancelScope scope;
        std::string got;
        co_await OrReturn(
            WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
              group.Start("reader", [&]() -> Task<absl::Status> {
                // On the heap, and gone when this ends: the kernel must be done
                // with it.
                std::vector<char> buffer(64);
                const auto size =
                    co_await scope.Run(ends.server.Receive(buffer));
                if (size.has_value())
                  got.assign(buffer.data(), co_await OrReturn(*size));
                co_return absl::OkStatus();
              });
              group.Start("sender", [&]() -> Task<absl::Status> {
                co_await Yield(send_at);
                EXPECT_EQ(::send(ends.client.native_handle(), "bytes", 5, 0),
                          5);
                co_return absl::OkStatus();
              });
              co_await Yield(cancel_at);
              scope.Cancel();
              co_return co_await group.Join();
            }));
        if (got.empty()) {
          ++stopped;
          std::array<char, 64> buffer;
          const size_t size = co_await OrReturn(ends.server.Receive(buffer));
          got.assign(buffer.data(), size);
        } else {
          ++delivered;
        }
        EXPECT_EQ(got, "bytes");
      }
    }
    EXPECT_EQ(delivered + stopped, kPoints * kPoints);
    EXPECT_GT(stopped, 0);
    co_return absl::OkStatus();
  });
}

TEST(Uring, AChunkThatIsCancelledAtAnyPointLosesNoByte) {
  RunInEveryMode([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    for (int point = 0; point < kPoints * kPoints; ++point) {
      CancelScope scope;
      std::string got;
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("reader", [&]() -> Task<absl::Status> {
              auto chunk = co_await scope.Run(ends.server.ReceiveChunk());
              if (chunk.has_value())
                got = (co_await OrReturn(*std::move(chunk))).text();
              co_return absl::OkStatus();
            });
            group.Start("sender", [&]() -> Task<absl::Status> {
              co_await Yield(point / kPoints);
              EXPECT_EQ(::send(ends.client.native_handle(), "bytes", 5, 0), 5);
              co_return absl::OkStatus();
            });
            co_await Yield(point % kPoints);
            scope.Cancel();
            co_return co_await group.Join();
          }));
      if (got.empty())
        got = (co_await OrReturn(ends.server.ReceiveChunk())).text();
      EXPECT_EQ(got, "bytes");
    }
    co_return absl::OkStatus();
  });
}

TEST(Uring, AnAcceptThatIsCancelledAtAnyPointLosesNoConnection) {
  RunInEveryMode([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    for (int cancel_at = 0; cancel_at < kPoints; ++cancel_at) {
      for (int connect_at = 0; connect_at < kPoints; ++connect_at) {
        CancelScope scope;
        std::optional<TcpStream> accepted;
        std::optional<TcpStream> client;
        co_await OrReturn(
            WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
              group.Start("acceptor", [&]() -> Task<absl::Status> {
                auto stream = co_await scope.Run(listener.Accept());
                if (stream.has_value())
                  accepted = co_await OrReturn(*std::move(stream));
                co_return absl::OkStatus();
              });
              group.Start("client", [&]() -> Task<absl::Status> {
                co_await Yield(connect_at);
                client = co_await OrReturn(
                    TcpStream::Connect(listener.local_address()));
                co_return absl::OkStatus();
              });
              co_await Yield(cancel_at);
              scope.Cancel();
              co_return co_await group.Join();
            }));
        if (!accepted.has_value())
          accepted = co_await OrReturn(FailAfter(10s, listener.Accept()));
        EXPECT_EQ(accepted->peer_address(), client->local_address());
      }
    }
    co_return absl::OkStatus();
  });
}

TEST(Uring, AConnectThatIsCancelledAtAnyPointLeavesNothingBehind) {
  RunInEveryMode([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    for (int cancel_at = 0; cancel_at < kPoints; ++cancel_at) {
      CancelScope scope;
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("client", [&]() -> Task<absl::Status> {
              auto stream = co_await scope.Run(
                  TcpStream::Connect(listener.local_address()));
              co_return stream.has_value() ? stream->status()
                                           : absl::OkStatus();
            });
            co_await Yield(cancel_at);
            scope.Cancel();
            co_return co_await group.Join();
          }));
    }
    co_return absl::OkStatus();  // the descriptors are counted
  });
}

TEST(Uring, ASendThatIsCancelledAtAnyPointSaysWhatIsMissing) {
  RunInEveryMode([]() -> Task<absl::Status> {
    for (int cancel_at = 0; cancel_at < kPoints; ++cancel_at) {
      Ends ends = co_await OrReturn(Connected());
      size_t received = 0;
      const auto receive_some = [&]() -> Task<absl::StatusOr<size_t>> {
        std::vector<char> buffer(100'000);
        co_return co_await ends.server.Receive(buffer);
      };
      // On the heap, and gone when the send has ended: the kernel must be done
      // with it.
      auto plenty = std::make_unique<std::string>(8 << 20, 'x');
      const size_t size = plenty->size();
      CancelScope scope;
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("sender", [&]() -> Task<void> {
              EXPECT_FALSE(
                  (co_await scope.Run(ends.client.Send(*plenty))).has_value());
              plenty.reset();
            });
            co_await UntilWaiting("sender");
            for (int i = 0; i < cancel_at; ++i)
              received += co_await OrReturn(receive_some());
            scope.Cancel();
            co_return co_await group.Join();
          }));
      const absl::Status status = co_await ends.client.Send("more");
      EXPECT_TRUE(IsBroken(status)) << status;
      co_await ends.client.Close();
      while (size_t more = co_await OrReturn(receive_some())) received += more;
      EXPECT_GT(received, 0u);
      EXPECT_NE(status.message().find(" " + std::to_string(size - received) +
                                      " bytes"),
                std::string::npos)
          << status << " after " << received;
    }
    co_return absl::OkStatus();
  });
}

TEST(Uring, ADatagramReceiveThatIsCancelledAtAnyPointLosesNoDatagram) {
  RunInEveryMode([]() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(kLoopback));
    for (int point = 0; point < kPoints * kPoints * 2; ++point) {
      const bool batch = point % 2 == 0;
      CancelScope scope;
      std::string got;
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("receiver", [&]() -> Task<absl::Status> {
              if (batch) {
                auto came = co_await scope.Run(b.ReceiveBatch());
                if (came.has_value())
                  got = (co_await OrReturn(*std::move(came)))[0].data.text();
              } else {
                std::vector<char> buffer(100);
                const auto came = co_await scope.Run(b.Receive(buffer));
                if (came.has_value())
                  got = (co_await OrReturn(*came)).data.text();
              }
              co_return absl::OkStatus();
            });
            group.Start("sender", [&]() -> Task<absl::Status> {
              co_await Yield(point / 2 / kPoints);
              co_return co_await a.SendTo(std::to_string(point),
                                          b.local_address());
            });
            co_await Yield(point / 2 % kPoints);
            scope.Cancel();
            co_return co_await group.Join();
          }));
      if (got.empty()) got = co_await OrReturn(ReceiveText(&b));
      EXPECT_EQ(got, std::to_string(point));
    }
    co_return absl::OkStatus();
  });
}

// On other backends the first has ended as soon as it was cancelled.
TEST(Uring, WhoComesAfterACancelledOneIsNotBusy) {
  RunUring([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          CancelScope first;
          group.Start("first", [&]() -> Task<void> {
            std::array<char, 10> buffer;
            EXPECT_FALSE(
                (co_await first.Run(ends.server.Receive(buffer))).has_value());
          });
          co_await UntilWaiting("first");
          first.Cancel();
          CancelScope second;
          group.Start("second", [&]() -> Task<void> {
            std::array<char, 10> buffer;
            EXPECT_FALSE(
                (co_await second.Run(ends.server.Receive(buffer))).has_value());
          });
          group.Start("third", [&]() -> Task<absl::Status> {
            // The second waits for the first to end; it is cancelled too.
            second.Cancel();
            std::array<char, 10> buffer;
            EXPECT_EQ(co_await OrReturn(ends.server.Receive(buffer)), 3u);
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("third");
          co_await OrReturn(ends.client.Send("yes"));
          co_return co_await group.Join();
        });
  });
}

// Closing.

// io_uring's requests hold the file.
TEST(Uring, TheAddressIsFreeWhenASocketThatWaitsHasGone) {
  RunInEveryMode([]() -> Task<absl::Status> {
    std::optional<UdpSocket> socket =
        co_await OrReturn(UdpSocket::Bind(kLoopback));
    std::optional<TcpListener> listener =
        co_await OrReturn(TcpListener::Bind(kLoopback));
    const SocketAddress udp = socket->local_address();
    const SocketAddress tcp = listener->local_address();
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("receiver", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed((co_await ReceiveText(&*socket)).status()));
          });
          group.Start("acceptor", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed((co_await listener->Accept()).status()));
          });
          co_await UntilWaiting("receiver");
          co_await UntilWaiting("acceptor");
          socket.reset();
          listener.reset();
          EXPECT_TRUE(UdpSocket::Bind(udp).ok());
          EXPECT_TRUE(TcpListener::Bind(tcp).ok());
          co_return co_await group.Join();
        });
  });
}

TEST(Uring, WhatWasSentLeavesBeforeTheSocketGoes) {
  RunUring([]() -> Task<absl::Status> {
    UdpSocket client = co_await OrReturn(UdpSocket::Bind(kLoopback));
    for (int i = 0; i < 3; ++i) {
      std::optional<UdpSocket> server =
          co_await OrReturn(UdpSocket::Bind(kLoopback));
      co_await OrReturn(client.SendTo("hello", server->local_address()));
      DatagramBuffer buffer;
      Datagram hello = co_await OrReturn(server->Receive(buffer));
      for (int j = 0; j < 200; ++j)
        co_await OrReturn(server->Reply(hello, std::to_string(j)));
      server.reset();
      for (int j = 0; j < 200; ++j)
        EXPECT_EQ(co_await OrReturn(FailAfter(10s, ReceiveText(&client))),
                  std::to_string(j));
    }
    co_return absl::OkStatus();
  });
}

// Datagrams.

TEST(Uring, ALateErrorOfASendIsToldByTheNext) {
  RunUring([]() -> Task<absl::Status> {
    UdpSocket client = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket server = co_await OrReturn(UdpSocket::Bind(kLoopback));
    co_await OrReturn(client.SendTo("hello", server.local_address()));
    DatagramBuffer buffer;
    Datagram hello = co_await OrReturn(server.Receive(buffer));
    // It says that there is no connection, and shuts down all the same.
    (void)::shutdown(server.native_handle(), SHUT_WR);
    co_await OrReturn(server.Reply(hello, "lost"));
    absl::Status status;
    while (status.ok()) {
      co_await Checkpoint();
      status = co_await server.Reply(hello, "lost too");
    }
    EXPECT_TRUE(IsBroken(status)) << status;
    EXPECT_NE(status.message().find("EPIPE"), std::string::npos) << status;
    co_return absl::OkStatus();
  });
}

TEST(Uring, DatagramsOfAnySizeAreWhole) {
  RunInEveryMode([]() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind("[::]:0"));
    const SocketAddress to_b =
        SocketAddress::LoopbackV4(b.local_address().port());
    for (const size_t size : {0, 1, 2048, 2049, 30'000, 65'507}) {
      const std::string text(size, 'z');
      for (int i = 0; i < 3; ++i) {
        co_await OrReturn(a.SendTo(text, to_b));
        DatagramBuffer buffer;
        Datagram datagram =
            co_await OrReturn(FailAfter(10s, b.Receive(buffer)));
        EXPECT_EQ(datagram.data.text(), text);
        EXPECT_EQ(datagram.peer.Unmapped(), a.local_address());
        EXPECT_EQ(datagram.local.Unmapped(), to_b);
        co_await OrReturn(b.Reply(datagram, datagram.data));
        EXPECT_EQ(co_await OrReturn(FailAfter(10s, ReceiveText(&a))), text);
        // Cut, as the room is small.
        co_await OrReturn(a.SendTo("0123456789", to_b));
        std::array<char, 4> small;
        datagram = co_await OrReturn(b.Receive(small));
        EXPECT_EQ(datagram.data.text(), "0123");
        EXPECT_EQ(datagram.size, 10u);
      }
    }
    co_return absl::OkStatus();
  });
}

// What comes while nobody asks waits in the handle, bounded, and then in the
// kernel's buffer.
TEST(Uring, DatagramsThatNobodyAskedForAreKeptInOrder) {
  RunInEveryMode([]() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket b = co_await OrReturn(
        UdpSocket::Bind(kLoopback, {.receive_buffer = 1 << 20}));
    UdpSocket idle = co_await OrReturn(UdpSocket::Bind(kLoopback));
    for (UdpSocket* socket : {&b, &idle}) {
      co_await OrReturn(a.SendTo("first", socket->local_address()));
      EXPECT_EQ(co_await OrReturn(ReceiveText(socket)), "first");
    }
    constexpr int kSent = 600;
    for (int i = 0; i < kSent; ++i) {
      co_await OrReturn(a.SendTo(std::to_string(i), idle.local_address()));
      co_await OrReturn(a.SendTo(std::to_string(i), b.local_address()));
      if (i % 50 == 0) co_await SleepFor(100us);
    }
    int next = 0;
    bool batch = false;
    while (next < kSent) {
      if (batch) {
        DatagramBatch came =
            co_await OrReturn(FailAfter(10s, b.ReceiveBatch()));
        for (const Datagram& datagram : came)
          EXPECT_EQ(datagram.data.text(), std::to_string(next++));
      } else {
        EXPECT_EQ(co_await OrReturn(FailAfter(10s, ReceiveText(&b))),
                  std::to_string(next++));
      }
      batch = !batch;
    }
    EXPECT_EQ(b.Info().kernel_drops, 0u);
    co_return absl::OkStatus();
  });
}

// A socket that nobody reads from doesn't take the memory of all.
TEST(Uring, DatagramsThatNobodyAsksForAreNotKeptWithoutLimit) {
  RunInEveryMode([]() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket b =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.receive_buffer = 4096}));
    co_await OrReturn(a.SendTo("first", b.local_address()));
    EXPECT_EQ(co_await OrReturn(ReceiveText(&b)), "first");
    constexpr uint64_t kSent = 500;
    for (uint64_t i = 0; i < kSent; ++i) {
      co_await OrReturn(a.SendTo("x", b.local_address()));
      co_await SleepFor(1us);
    }
    uint64_t received = 0;
    while (received + b.Info().kernel_drops < kSent) {
      co_await OrReturn(FailAfter(10s, ReceiveText(&b)));
      ++received;
    }
    EXPECT_EQ(received + b.Info().kernel_drops, kSent);
    EXPECT_LT(received, 150u);
    co_return absl::OkStatus();
  });
}

// The loop.

// Every completion queue is too short for what comes at once.
TEST(Uring, MoreCompletionsThanTheQueueHolds) {
  RunUring(
      []() -> Task<absl::Status> {
        constexpr int kConnections = 100;
        TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
        std::vector<TcpStream> clients;
        int heard = 0;
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              for (int i = 0; i < kConnections; ++i) {
                clients.push_back(co_await OrReturn(
                    TcpStream::Connect(listener.local_address())));
                group.Start(
                    "reader",
                    [&](TcpStream stream) -> Task<absl::Status> {
                      std::array<char, 10> buffer;
                      for (int round = 0; round < 10; ++round) {
                        EXPECT_EQ(co_await OrReturn(stream.Receive(buffer)),
                                  1u);
                        ++heard;
                      }
                      co_return absl::OkStatus();
                    },
                    co_await OrReturn(listener.Accept()));
              }
              for (int round = 1; round <= 10; ++round) {
                for (TcpStream& client : clients)
                  EXPECT_EQ(::send(client.native_handle(), "x", 1, 0), 1);
                const Time limit = Now() + 10s;
                while (heard < round * kConnections && Now() < limit)
                  co_await SleepFor(100us);
                EXPECT_EQ(heard, round * kConnections);
              }
              co_return co_await group.Join();
            });
      },
      {.submissions = 4, .completions = 8});
}

// More streams have bytes at once than the kernel was given chunks for.
TEST(Uring, MoreChunksThanTheRingHolds) {
  RunInEveryMode([]() -> Task<absl::Status> {
    constexpr int kConnections = 150;
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    std::vector<TcpStream> clients;
    int heard = 0;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < kConnections; ++i) {
            clients.push_back(co_await OrReturn(
                TcpStream::Connect(listener.local_address())));
            group.Start(
                "reader",
                [&](TcpStream stream) -> Task<absl::Status> {
                  for (;;) {
                    Chunk chunk = co_await OrReturn(stream.ReceiveChunk());
                    if (chunk.empty()) co_return absl::OkStatus();
                    EXPECT_EQ(chunk.text(), "x");
                    ++heard;
                  }
                },
                co_await OrReturn(listener.Accept()));
          }
          co_await UntilWaiting("reader");
          co_await SleepFor(1ms);
          for (int round = 1; round <= 3; ++round) {
            for (TcpStream& client : clients)
              EXPECT_EQ(::send(client.native_handle(), "x", 1, 0), 1);
            const Time limit = Now() + 10s;
            while (heard < round * kConnections && Now() < limit)
              co_await SleepFor(100us);
            EXPECT_EQ(heard, round * kConnections);
          }
          for (TcpStream& client : clients) co_await client.Close();
          co_return co_await group.Join();
        });
  });
}

Duration ThreadCpu() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) +
         std::chrono::nanoseconds(now.tv_nsec);
}

// Less than 1 % of a core, with everything waiting that can.
TEST(Uring, AnIdleProgramCostsNothing) {
  RunInEveryMode([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind(kLoopback));
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("datagram", ReceiveText, &socket);
          group.Start("accept", [&]() -> Task<absl::Status> {
            co_return (co_await listener.Accept()).status();
          });
          group.Start("read", [&]() -> Task<absl::Status> {
            std::array<char, 10> buffer;
            co_return (co_await ends.client.Receive(buffer)).status();
          });
          group.Start("chunk", [&]() -> Task<absl::Status> {
            co_return (co_await ends.server.ReceiveChunk()).status();
          });
          co_await SleepFor(1ms);
          // The kernel also charges a thread for what interrupts it: the least
          // of a few counts.
          Duration least = Duration::max();
          for (int i = 0; i < 5 && least >= 2ms; ++i) {
            const uint64_t turns = detail::Loop::Current().stats().turns;
            const Duration before = ThreadCpu();
            co_await SleepFor(200ms);
            least = std::min(least, ThreadCpu() - before);
            EXPECT_LE(detail::Loop::Current().stats().turns - turns, 3u);
          }
          EXPECT_LT(least, 2ms);
          group.Cancel();
          co_return co_await group.Join();
        });
  });
}

TEST(Uring, TimersAreFinerThanAMillisecond) {
  RunUring([]() -> Task<void> {
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

TEST(Uring, WakesUpForOtherThreads) {
  RunInEveryMode([]() -> Task<absl::Status> {
    for (int i = 0; i < 200; ++i) {
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

TEST(Uring, ABusyLoopStillPolls) {
  RunInEveryMode([]() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(kLoopback));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          bool received = false;
          group.Start("receiver", [&]() -> Task<absl::Status> {
            co_await OrReturn(ReceiveText(&b));
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

TEST(Uring, RunsOneProgramAfterAnother) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeUringBackend();
  if (absl::IsPermissionDenied(backend.status())) GTEST_SKIP();
  ASSERT_TRUE(backend.ok()) << backend.status();
  std::optional<UdpSocket> kept;
  for (int i = 0; i < 3; ++i) {
    const absl::Status status =
        ::braid::Run(**backend, [&]() -> Task<absl::Status> {
          if (!kept.has_value())
            kept = co_await OrReturn(UdpSocket::Bind(kLoopback));
          co_await OrReturn(kept->SendTo("to myself", kept->local_address()));
          EXPECT_EQ(co_await OrReturn(ReceiveText(&*kept)), "to myself");
          // Nobody asks for it before the program ends.
          co_return co_await kept->SendTo("to myself", kept->local_address());
        });
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(Uring, MayBeMadeOnAnotherThread) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeUringBackend();
  if (absl::IsPermissionDenied(backend.status())) GTEST_SKIP();
  ASSERT_TRUE(backend.ok()) << backend.status();
  std::thread([&] {
    const absl::Status status =
        ::braid::Run(**backend, []() -> Task<absl::Status> {
          UdpSocket socket = co_await OrReturn(UdpSocket::Bind(kLoopback));
          co_await OrReturn(socket.SendTo("x", socket.local_address()));
          EXPECT_EQ(co_await OrReturn(ReceiveText(&socket)), "x");
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
  }).join();
}

TEST(UringDeathTest, RunsOnOneThread) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  EXPECT_DEATH(
      {
        absl::StatusOr<std::unique_ptr<Backend>> backend = MakeUringBackend();
        const auto body = []() -> Task<void> { co_return; };
        (void)::braid::Run(**backend, body);
        std::thread([&] { (void)::braid::Run(**backend, body); }).join();
      },
      "on another thread");
}

TEST(UringDeathTest, ASocketMustNotOutliveItsBackend) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  EXPECT_DEATH(
      {
        std::optional<UdpSocket> kept;
        RunOnBackend("uring", [&]() -> Task<absl::Status> {
          kept = co_await OrReturn(UdpSocket::Bind(kLoopback));
          co_return absl::OkStatus();
        });
      },
      "before a socket or batch that uses it");
}

// Limits, and being forbidden. Each in a process of its own, which doesn't get
// its rights back.

// Ends this process: with 0 if `ok`.
[[noreturn]] void End(bool ok, const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::_Exit(ok ? 0 : 1);
}

absl::Status Echo(Backend& backend) {
  return ::braid::Run(backend, []() -> Task<absl::Status> {
    UdpSocket a = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(kLoopback));
    for (int i = 0; i < 10; ++i) {
      co_await OrReturn(a.SendTo("ping", b.local_address()));
      DatagramBuffer buffer;
      Datagram ping = co_await OrReturn(FailAfter(10s, b.Receive(buffer)));
      co_await OrReturn(b.Reply(ping, "pong"));
      co_await OrReturn(FailAfter(10s, ReceiveText(&a)));
    }
    co_return absl::OkStatus();
  });
}

[[noreturn]] void RunWithLockableMemory(rlim_t limit) {
  const rlimit limits = {.rlim_cur = limit, .rlim_max = limit};
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3,
                                     .pid = 0};
  __user_cap_data_struct nothing[2] = {};
  if (::setrlimit(RLIMIT_MEMLOCK, &limits) != 0 ||
      ::syscall(SYS_capset, &header, nothing) != 0) {
    std::_Exit(2);
  }
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeUringBackend();
  if (!backend.ok()) {
    End(absl::IsResourceExhausted(backend.status()) &&
            backend.status().message().find("RLIMIT_MEMLOCK") !=
                std::string::npos,
        backend.status());
  }
  const absl::Status status = Echo(**backend);
  End(status.ok(), status);
}

// Whatever this kernel counts as locked: it works, or says what is missing.
TEST(UringDeathTest, WithLittleLockableMemory) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  for (const rlim_t limit : {rlim_t{0}, rlim_t{16} * 1024})
    EXPECT_EXIT(RunWithLockableMemory(limit), testing::ExitedWithCode(0), "");
}

[[noreturn]] void MakeWithoutDescriptors() {
  const rlimit none = {.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_NOFILE, &none) != 0) std::_Exit(2);
  const absl::Status status = MakeUringBackend().status();
  End(absl::IsResourceExhausted(status), status);
}

TEST(UringDeathTest, WithoutDescriptors) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  EXPECT_EXIT(MakeWithoutDescriptors(), testing::ExitedWithCode(0), "EMFILE");
}

// From here on, io_uring_setup fails with `error` in this process.
void Forbid(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K,
               SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = std::size(program), .filter = program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    std::_Exit(2);
  }
}

[[noreturn]] void MakeForbidden(int error, absl::StatusCode expected) {
  Forbid(error);
  const absl::Status status = MakeBackend("uring").status();
  End(status.code() == expected, status);
}

TEST(UringDeathTest, SaysWhyItCannotBe) {
  EXPECT_EXIT(
      MakeForbidden(EPERM, absl::StatusCode::kPermissionDenied),
      testing::ExitedWithCode(0),
      "io_uring is not permitted here: by a seccomp profile.*--backend=asio");
  EXPECT_EXIT(MakeForbidden(ENOSYS, absl::StatusCode::kUnimplemented),
              testing::ExitedWithCode(0), "this kernel has no io_uring");
  EXPECT_EXIT(MakeForbidden(ENOMEM, absl::StatusCode::kResourceExhausted),
              testing::ExitedWithCode(0), "RLIMIT_MEMLOCK");
}

[[noreturn]] void RunOnAuto(int error) {
  Forbid(error);
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("auto");
  if (!backend.ok() || (*backend)->name() != "asio")
    End(false, backend.status());
  const absl::Status status = Echo(**backend);
  End(status.ok(), status);
}

TEST(UringDeathTest, AutoFallsBackToAsio) {
  for (const int error : {EPERM, ENOSYS, ENOMEM})
    EXPECT_EXIT(RunOnAuto(error), testing::ExitedWithCode(0), "OK");
}

TEST(Uring, AutoIsUringWhereItIsAllowed) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "io_uring is forbidden";
  EXPECT_EQ((*MakeBackend("auto"))->name(), "uring");
}

}  // namespace
}  // namespace braid
