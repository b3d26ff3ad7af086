#include "braid/net/tcp.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr char kLoopback[] = "127.0.0.1:0";

// Two ends of one connection.
struct Ends {
  TcpStream client;
  TcpStream server;
};

Task<absl::StatusOr<Ends>> Connected(TcpOptions options = {}) {
  TcpListener listener =
      co_await OrReturn(TcpListener::Bind(kLoopback, {.stream = options}));
  auto ends = co_await OrReturn(
      AllOf(TcpStream::Connect(listener.local_address(), options),
            listener.Accept()));
  co_return Ends{std::move(std::get<0>(ends)), std::move(std::get<1>(ends))};
}

Task<absl::StatusOr<std::string>> ReceiveAll(TcpStream* stream) {
  std::string all;
  std::array<char, 1000> buffer;
  while (size_t size = co_await OrReturn(stream->Receive(buffer)))
    all.append(buffer.data(), size);
  co_return all;
}

Task<absl::StatusOr<std::string>> ReceiveSome(TcpStream* stream) {
  std::array<char, 1000> buffer;
  const size_t size = co_await OrReturn(stream->Receive(buffer));
  co_return std::string(buffer.data(), size);
}

// Makes the close of the client's end a reset: something is left unreceived.
Task<absl::Status> CloseWithReset(Ends* ends) {
  co_await OrReturn(ends->server.Send("12"));
  std::array<char, 1> one;
  co_await OrReturn(ends->client.Receive(one));
  co_await ends->client.Close();
  co_return absl::OkStatus();
}

// More than the kernel's buffers of a connection take.
std::string Plenty() { return std::string(16 << 20, 'x'); }

TEST(Tcp, CarriesBytesBothWays) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    EXPECT_EQ(ends.client.peer_address(), ends.server.local_address());
    EXPECT_EQ(ends.server.peer_address(), ends.client.local_address());
    co_await OrReturn(ends.client.Send("question"));
    EXPECT_EQ(co_await OrReturn(ReceiveSome(&ends.server)), "question");
    co_await OrReturn(ends.server.Send("answer"));
    EXPECT_EQ(co_await OrReturn(ReceiveSome(&ends.client)), "answer");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, TheEndOfTheStreamIsNotAnError) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    co_await OrReturn(ends.client.Send("last words"));
    co_await OrReturn(ends.client.SendEof());
    co_await OrReturn(ends.client.SendEof());
    EXPECT_TRUE(IsClosed(co_await ends.client.Send("more")));
    EXPECT_EQ(co_await OrReturn(ReceiveAll(&ends.server)), "last words");
    EXPECT_EQ(co_await OrReturn(ReceiveSome(&ends.server)), "");  // and again
    // The other way is open.
    co_await OrReturn(ends.server.Send("reply"));
    co_await ends.server.Close();
    EXPECT_EQ(co_await OrReturn(ReceiveAll(&ends.client)), "reply");
    co_return absl::OkStatus();
  });
}

// A short read is taken for an empty socket; that the end came with the bytes
// must not be missed then.
TEST(Tcp, AnEndThatComesWithTheLastBytesIsNoticed) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    for (int i = 0; i < 200; ++i) {
      Ends ends = co_await OrReturn(Connected());
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("reader", [&]() -> Task<absl::Status> {
              EXPECT_EQ(co_await OrReturn(ReceiveAll(&ends.server)), "bytes");
              co_return absl::OkStatus();
            });
            co_await UntilWaiting("reader");
            co_await OrReturn(ends.client.Send("bytes"));
            co_await ends.client.Close();
            co_return co_await FailAfter(10s, group.Join());
          }));
    }
    co_return absl::OkStatus();
  });
}

// Urgent data ends a read early although more bytes are there (tcp(7)).
TEST(Tcp, BytesBehindUrgentDataAreNotLeftBehind) {
  RunOnRealBackends("MSG_OOB is sent past the SDK", []() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          std::string got;
          group.Start("reader", [&]() -> Task<absl::Status> {
            while (got.size() < 8)
              got += co_await OrReturn(ReceiveSome(&ends.server));
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("reader");
          co_await OrReturn(ends.client.Send("left"));
          EXPECT_EQ(::send(ends.client.native_handle(), "!", 1, MSG_OOB), 1);
          co_await OrReturn(ends.client.Send("over"));
          co_await OrReturn(FailAfter(10s, group.Join()));
          EXPECT_EQ(got, "leftover");
          co_return absl::OkStatus();
        });
  });
}

TEST(Tcp, SendsMoreThanTheKernelHoldsAtATime) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    const std::string plenty = Plenty();
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("sender", [&]() -> Task<absl::Status> {
            co_await OrReturn(ends.client.Send(plenty));
            co_return co_await ends.client.SendEof();
          });
          std::vector<char> buffer(100'000);
          size_t received = 0;
          while (size_t size = co_await OrReturn(ends.server.Receive(buffer)))
            received += size;
          EXPECT_EQ(received, plenty.size());
          co_return co_await group.Join();
        });
  });
}

// One of the two backends of AnyIO reads on its own, 100 MB of it.
TEST(Tcp, APeerThatNobodyReadsIsHeldBack) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    const std::string piece(1 << 16, 'x');
    size_t sent = 0;
    EXPECT_FALSE((co_await MoveOnAfter(50ms, [&]() -> Task<absl::Status> {
                   for (;;) {
                     co_await OrReturn(ends.client.Send(piece));
                     sent += piece.size();
                   }
                 })).has_value());
    EXPECT_LT(sent, size_t{50} << 20);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ASendThatIsStoppedHalfWayTearsTheStream) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    const std::string plenty = Plenty();
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("sender", [&]() -> Task<void> {
            EXPECT_FALSE(
                (co_await scope.Run(ends.client.Send(plenty))).has_value());
          });
          co_await UntilWaiting("sender");
          scope.Cancel();
          co_await OrReturn(group.Join());

          const absl::Status status = co_await ends.client.Send("more");
          EXPECT_TRUE(IsBroken(status)) << status;
          EXPECT_TRUE(IsBroken(co_await ends.client.Send("more")));
          // What it says is what is missing.
          co_await OrReturn(ends.server.Send("still heard"));
          EXPECT_EQ(co_await OrReturn(ReceiveSome(&ends.client)),
                    "still heard");
          co_await ends.client.Close();
          const size_t received =
              (co_await OrReturn(ReceiveAll(&ends.server))).size();
          EXPECT_GT(received, 0u);
          EXPECT_NE(status.message().find(
                        std::to_string(plenty.size() - received) + " bytes"),
                    std::string::npos)
              << status << " after " << received;
          co_return absl::OkStatus();
        });
  });
}

TEST(Tcp, ASendThatIsStoppedBeforeItBeganTearsNothing) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(
        Connected({.receive_buffer = 4096, .send_buffer = 4096}));
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE((co_await scope.Run(ends.client.Send("never"))).has_value());
    // Nor one that waited, but of which nothing went out: single bytes, until
    // there is no room for another.
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          size_t filled = 0;
          while (
              (co_await MoveOnAfter(20ms, ends.client.Send("x"))).has_value())
            ++filled;
          // A kernel may make room late after all, by packing what it holds:
          // then the send has happened, whole.
          CancelScope waiting;
          bool happened = false;
          group.Start("sender", [&]() -> Task<void> {
            happened =
                (co_await waiting.Run(ends.client.Send("never"))).has_value();
          });
          co_await UntilWaiting("sender");
          waiting.Cancel();
          co_await OrReturn(group.Join());
          group.Start("receiver", [&]() -> Task<absl::Status> {
            EXPECT_EQ((co_await OrReturn(ReceiveAll(&ends.server))).size(),
                      filled + (happened ? 5 : 0) + 4);
            co_return absl::OkStatus();
          });
          co_await OrReturn(ends.client.Send("sent"));
          co_await OrReturn(ends.client.SendEof());
          co_return co_await group.Join();
        });
  });
}

// One of the two backends of AnyIO says so once, and then takes it for an end
// in good order.
TEST(Tcp, AResetStaysAReset) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    co_await OrReturn(ends.client.Send("before"));
    EXPECT_EQ(co_await OrReturn(ReceiveSome(&ends.server)), "before");
    co_await OrReturn(CloseWithReset(&ends));
    for (int i = 0; i < 3; ++i) {
      const absl::Status status = (co_await ReceiveSome(&ends.server)).status();
      EXPECT_TRUE(IsBroken(status)) << status;
      EXPECT_NE(status.message().find(ends.server.peer_address().ToString()),
                std::string::npos)
          << status;
    }
    EXPECT_TRUE(IsBroken(co_await ends.server.Send("x")));
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AResetThatASendMeetsIsOneForReceivingToo) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    co_await OrReturn(CloseWithReset(&ends));
    absl::Status status;
    while (status.ok()) status = co_await ends.server.Send("x");
    EXPECT_TRUE(IsBroken(status)) << status;
    EXPECT_TRUE(IsBroken(co_await ends.server.Send("x")));
    const absl::StatusOr<std::string> received =
        co_await ReceiveSome(&ends.server);
    EXPECT_TRUE(IsBroken(received.status())) << received.status();
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AReaderThatWaitsIsToldOfAReset) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("reader", [&]() -> Task<void> {
            EXPECT_TRUE(
                IsBroken((co_await ReceiveSome(&ends.server)).status()));
          });
          co_await UntilWaiting("reader");
          co_await OrReturn(CloseWithReset(&ends));
          co_return co_await group.Join();
        });
  });
}

TEST(Tcp, ABufferOfNoBytesIsRefused) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    EXPECT_EQ(
        (co_await ends.client.Receive(std::span<std::byte>())).status().code(),
        absl::StatusCode::kInvalidArgument);
    co_return absl::OkStatus();
  });
}

// Chunks.

TEST(Tcp, LendsChunks) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    co_await OrReturn(ends.client.Send("lent"));
    Chunk chunk = co_await OrReturn(ends.server.ReceiveChunk());
    EXPECT_EQ(chunk.text(), "lent");
    co_await OrReturn(ends.server.Send(chunk));
    EXPECT_EQ(co_await OrReturn(ReceiveSome(&ends.client)), "lent");
    co_await ends.client.Close();
    EXPECT_TRUE((co_await OrReturn(ends.server.ReceiveChunk())).empty());
    EXPECT_TRUE((co_await OrReturn(ends.server.ReceiveChunk())).empty());
    co_await ends.server.Close();
    EXPECT_TRUE(IsClosed((co_await ends.server.ReceiveChunk()).status()));
    EXPECT_EQ(chunk.text(), "lent");
    co_return absl::OkStatus();
  });
}

TEST(Tcp, LentChunksAreBackPressure) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    std::vector<Chunk> lent;
    for (int i = 0; i < 4; ++i) {
      co_await OrReturn(ends.client.Send("x"));
      lent.push_back(co_await OrReturn(ends.server.ReceiveChunk()));
    }
    co_await OrReturn(ends.client.Send("fifth"));
    // It waits, whether the bytes have been noticed or not; can be cancelled;
    // and takes nothing then.
    EXPECT_FALSE(
        (co_await MoveOnAfter(1ms, ends.server.ReceiveChunk())).has_value());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          std::string fifth;
          group.Start("fifth", [&]() -> Task<absl::Status> {
            fifth = std::string(
                (co_await OrReturn(ends.server.ReceiveChunk())).text());
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("fifth");
          EXPECT_EQ(fifth, "");
          lent.pop_back();
          co_await OrReturn(group.Join());
          EXPECT_EQ(fifth, "fifth");
          co_return absl::OkStatus();
        });
  });
}

// Connecting and accepting.

TEST(Tcp, SaysThatAConnectionIsRefused) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    SocketAddress nobody;
    {
      TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
      nobody = listener.local_address();
    }
    const absl::Status status = (co_await TcpStream::Connect(nobody)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_NE(status.message().find(nobody.ToString()), std::string::npos)
        << status;
    co_return absl::OkStatus();
  });
}

// As text, like the address of everything else that binds or connects.
TEST(Tcp, ConnectsToAnAddressThatIsWrittenDown) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    const SocketAddress address = listener.local_address();
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(address.ToString()));
    EXPECT_EQ(client.peer_address(), address);
    const absl::Status wrong =
        (co_await TcpStream::Connect("localhost:7")).status();
    EXPECT_TRUE(absl::IsInvalidArgument(wrong)) << wrong;
    co_return absl::OkStatus();
  });
}

TEST(Tcp, AConnectThatIsCancelledLeavesNothingBehind) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    // A backlog that is full lets further connects wait.
    TcpListener listener =
        co_await OrReturn(TcpListener::Bind(kLoopback, {.backlog = 1}));
    std::vector<TcpStream> waiting;
    int stopped = 0;
    while (stopped == 0 && waiting.size() < 10) {
      auto connected = co_await MoveOnAfter(
          20ms, TcpStream::Connect(listener.local_address()));
      if (connected.has_value()) {
        waiting.push_back(co_await OrReturn(*std::move(connected)));
      } else {
        ++stopped;
      }
    }
    EXPECT_EQ(stopped, 1);
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE(
        (co_await before.Run(TcpStream::Connect(listener.local_address())))
            .has_value());
    co_return absl::OkStatus();  // the descriptors are counted
  });
}

TEST(Tcp, ACancelledAcceptTakesNoConnection) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    CancelScope waiting;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("acceptor", [&]() -> Task<void> {
            EXPECT_FALSE((co_await waiting.Run(listener.Accept())).has_value());
          });
          co_await UntilWaiting("acceptor");
          waiting.Cancel("once");
          waiting.Cancel("twice");
          co_return co_await group.Join();
        }));
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(listener.local_address()));
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE((co_await before.Run(listener.Accept())).has_value());
    TcpStream server = co_await OrReturn(listener.Accept());
    EXPECT_EQ(server.peer_address(), client.local_address());
    co_return absl::OkStatus();
  });
}

TEST(Tcp, CloseWakesWhoWaits) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::optional<TcpListener> listener =
        co_await OrReturn(TcpListener::Bind(kLoopback));
    Ends ends = co_await OrReturn(Connected());
    const std::string plenty = Plenty();
    const SocketAddress address = listener->local_address();
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("acceptor", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed((co_await listener->Accept()).status()));
          });
          group.Start("reader", [&]() -> Task<void> {
            EXPECT_TRUE(
                IsClosed((co_await ReceiveSome(&ends.client)).status()));
          });
          group.Start("writer", [&]() -> Task<void> {
            EXPECT_TRUE(IsClosed(co_await ends.client.Send(plenty)));
          });
          for (const char* name : {"acceptor", "reader", "writer"})
            co_await UntilWaiting(name);
          std::array<char, 1> buffer;
          EXPECT_TRUE(IsBusy((co_await ends.client.Receive(buffer)).status()));
          EXPECT_TRUE(IsBusy(co_await ends.client.Send("x")));
          EXPECT_TRUE(IsBusy((co_await listener->Accept()).status()));
          co_await ends.client.Close();
          co_await ends.client.Close();
          listener.reset();
          co_await OrReturn(group.Join());
          EXPECT_TRUE(IsClosed(co_await ends.client.Send("x")));
          EXPECT_TRUE(IsClosed(co_await ends.client.SendEof()));
          EXPECT_TRUE(TcpListener::Bind(address).ok());
          co_return absl::OkStatus();
        });
  });
}

TEST(Tcp, SaysWhichPortIsTaken) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    const absl::Status status =
        TcpListener::Bind(listener.local_address()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
    EXPECT_NE(status.message().find(listener.local_address().ToString()),
              std::string::npos)
        << status;
    EXPECT_EQ(TcpListener::Bind("nowhere").status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(TcpListener::Bind("192.0.2.1:0").status().code(),
              absl::StatusCode::kUnavailable);
    co_return absl::OkStatus();
  });
}

TEST(Tcp, ManyConnectionsAtOnce) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    constexpr int kConnections = 200;
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    const SocketAddress address = listener.local_address();
    int echoed = 0;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("server", [&]() -> Task<absl::Status> {
            for (int i = 0; i < kConnections; ++i) {
              group.Start(
                  "connection",
                  [](TcpStream stream) -> Task<absl::Status> {
                    for (;;) {
                      Chunk chunk = co_await OrReturn(stream.ReceiveChunk());
                      if (chunk.empty()) co_return absl::OkStatus();
                      co_await OrReturn(stream.Send(chunk));
                    }
                  },
                  co_await OrReturn(listener.Accept()));
            }
            co_return absl::OkStatus();
          });
          for (int i = 0; i < kConnections; ++i) {
            group.Start("client", [&, i]() -> Task<absl::Status> {
              TcpStream stream = co_await OrReturn(TcpStream::Connect(address));
              for (int round = 0; round < 5; ++round) {
                const std::string text =
                    std::to_string(i) + ":" + std::to_string(round);
                co_await OrReturn(stream.Send(text));
                EXPECT_EQ(co_await OrReturn(ReceiveSome(&stream)), text);
              }
              ++echoed;
              co_return absl::OkStatus();
            });
          }
          co_await OrReturn(group.Join());
          EXPECT_EQ(echoed, kConnections);
          co_return absl::OkStatus();
        });
  });
}

// A reader that is cancelled again and again misses no byte.
TEST(Tcp, ReadsThatAreCancelledLoseNoByte) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Ends ends = co_await OrReturn(Connected());
    constexpr int kNumbers = 5000;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("sender", [&]() -> Task<absl::Status> {
            for (int i = 0; i < kNumbers; ++i) {
              co_await OrReturn(ends.client.Send(std::to_string(i) + " "));
              if (i % 7 == 0)
                co_await SleepFor(std::chrono::microseconds(i % 50));
            }
            co_return co_await ends.client.SendEof();
          });
          std::string expected;
          for (int i = 0; i < kNumbers; ++i)
            expected += std::to_string(i) + " ";
          std::string got;
          int stopped = 0;
          std::array<char, 100> buffer;
          for (int round = 0;; ++round) {
            auto size =
                co_await MoveOnAfter(std::chrono::microseconds(round % 20),
                                     ends.server.Receive(buffer));
            if (!size.has_value()) {
              ++stopped;
              continue;
            }
            const size_t count = co_await OrReturn(*std::move(size));
            if (count == 0) break;
            got.append(buffer.data(), count);
          }
          EXPECT_EQ(got, expected);
          EXPECT_GT(stopped, 0);
          co_return co_await group.Join();
        });
  });
}

TEST(Tcp, TakesOverSocketsOfTheSystem) {
  RunOnRealBackends("sockets of the system", []() -> Task<absl::Status> {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(TcpListener::FromFd(fd).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(TcpStream::FromFd(fd).status().code(),
              absl::StatusCode::kInvalidArgument);
    const SocketAddress loopback = SocketAddress::LoopbackV4(0);
    EXPECT_EQ(::bind(fd, loopback.raw(), loopback.size()), 0);
    EXPECT_EQ(::listen(fd, 5), 0);
    TcpListener listener = co_await OrReturn(TcpListener::FromFd(fd));
    const int other = ::socket(AF_INET, SOCK_STREAM, 0);
    const SocketAddress address = listener.local_address();
    EXPECT_EQ(::connect(other, address.raw(), address.size()), 0);
    TcpStream client = co_await OrReturn(TcpStream::FromFd(other));
    TcpStream server = co_await OrReturn(listener.Accept());
    co_await OrReturn(client.Send("adopted"));
    EXPECT_EQ(co_await OrReturn(ReceiveSome(&server)), "adopted");
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid
