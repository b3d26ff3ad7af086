// Sockets under cancellation: no datagram, byte, connection or descriptor is
// lost.

#include <gtest/gtest.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/net/cancellation_cases.h"
#include "braid/net/resolver.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr char kLoopback[] = "127.0.0.1:0";

// Datagrams that are numbered from 0 on.
class UdpCase : public CancellationCase {
 public:
  Task<absl::Status> Open() override {
    sender_ = co_await OrReturn(UdpSocket::Bind(kLoopback));
    receiver_ = co_await OrReturn(UdpSocket::Bind(kLoopback, options_));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    const std::string number = std::to_string(released++);
    co_return co_await sender_->SendTo(number, receiver_->local_address());
  }

 protected:
  void Got(const Datagram& datagram) {
    EXPECT_EQ(datagram.data.text(), std::to_string(completed));
    ++completed;
  }

  UdpOptions options_;
  std::optional<UdpSocket> sender_;
  std::optional<UdpSocket> receiver_;
};

// The same with offload.
template <typename Case>
class Offloaded final : public Case {
 public:
  Offloaded() { this->options_.offload = true; }
};

class UdpReceive : public UdpCase {
 public:
  Task<absl::Status> Wait() override {
    Got(co_await OrReturn(receiver_->Receive(buffer_)));
    co_return absl::OkStatus();
  }

 private:
  DatagramBuffer buffer_;
};

class UdpReceiveBatch : public UdpCase {
 public:
  Task<absl::Status> Wait() override {
    DatagramBatch batch = co_await OrReturn(receiver_->ReceiveBatch());
    EXPECT_GT(batch.size(), 0u);
    for (const Datagram& datagram : batch) Got(datagram);
    co_return absl::OkStatus();
  }
};

// Bytes that count up.
class TcpCase : public CancellationCase {
 public:
  Task<absl::Status> Open() override {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    auto ends = co_await OrReturn(
        AllOf(TcpStream::Connect(listener.local_address()), listener.Accept()));
    sender_ = std::move(std::get<0>(ends));
    receiver_ = std::move(std::get<1>(ends));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    const std::array<char, 1> byte = {static_cast<char>(released++)};
    co_return co_await sender_->Send(byte);
  }

 protected:
  void Got(ByteView bytes) {
    for (const std::byte byte : bytes) {
      EXPECT_EQ(static_cast<char>(byte), static_cast<char>(completed));
      ++completed;
    }
  }

  std::optional<TcpStream> sender_;
  std::optional<TcpStream> receiver_;
};

class TcpReceive final : public TcpCase {
 public:
  Task<absl::Status> Wait() override {
    std::array<std::byte, 1> buffer;
    const size_t size = co_await OrReturn(receiver_->Receive(buffer));
    Got(std::span<const std::byte>(buffer.data(), size));
    co_return absl::OkStatus();
  }
};

class TcpReceiveChunk final : public TcpCase {
 public:
  Task<absl::Status> Wait() override {
    Chunk chunk = co_await OrReturn(receiver_->ReceiveChunk());
    Got(chunk.bytes());
    co_return absl::OkStatus();
  }
};

// Connections, in the order in which they were made.
class TcpAccept final : public CancellationCase {
 public:
  Task<absl::Status> Open() override {
    listener_ = co_await OrReturn(TcpListener::Bind(kLoopback));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    TcpStream stream = co_await OrReturn(listener_->Accept());
    accepted_.push_back(stream.peer_address());
    ++completed;
    Compare();
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(listener_->local_address()));
    clients_.push_back(client.local_address());
    ++released;
    Compare();
    // Closed: what was not accepted by then must be there all the same.
    co_return absl::OkStatus();
  }

 private:
  // A connection may be accepted before the client is told that it is there.
  void Compare() const {
    for (size_t i = 0; i < accepted_.size() && i < clients_.size(); ++i)
      EXPECT_EQ(accepted_[i], clients_[i]);
  }

  std::optional<TcpListener> listener_;
  std::vector<SocketAddress> clients_;
  std::vector<SocketAddress> accepted_;
};

INSTANTIATE_TEST_SUITE_P(
    Net, IoCancellationTest,
    testing::Values(
        CancellationParam{"UdpReceive", MakeCase<UdpReceive>},
        CancellationParam{"UdpReceiveBatch", MakeCase<UdpReceiveBatch>},
        CancellationParam{"UdpReceiveOffloaded",
                          MakeCase<Offloaded<UdpReceive>>},
        CancellationParam{"UdpReceiveBatchOffloaded",
                          MakeCase<Offloaded<UdpReceiveBatch>>},
        CancellationParam{"TcpReceive", MakeCase<TcpReceive>},
        CancellationParam{"TcpReceiveChunk", MakeCase<TcpReceiveChunk>},
        CancellationParam{"TcpAccept", MakeCase<TcpAccept>}),
    NameOf);

// What doesn't wait.

Task<absl::Status> StopBeforeStart(Task<absl::Status> body) {
  CancelScope scope;
  scope.Cancel();
  EXPECT_FALSE((co_await scope.Run(std::move(body))).has_value());
  co_return absl::OkStatus();
}

TEST(CancelledSend, BeforeItStartsSendsNothing) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    UdpSocket sender = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket receiver = co_await OrReturn(UdpSocket::Bind(kLoopback));
    const SocketAddress to = receiver.local_address();
    std::string lost = "lost";
    std::array<Datagram, 1> batch;
    batch[0].data = lost;
    batch[0].peer = to;
    co_await OrReturn(
        StopBeforeStart([](auto* sender, auto to) -> Task<absl::Status> {
          co_return co_await sender->SendTo("lost", to);
        }(&sender, to)));
    co_await OrReturn(
        StopBeforeStart([](auto* sender, auto* batch) -> Task<absl::Status> {
          auto sent = co_await sender->SendBatch(*batch);
          co_return sent.status();
        }(&sender, &batch)));
    // Completed without waiting, it has happened, whatever is cancelled then.
    CancelScope scope;
    EXPECT_TRUE((co_await scope.Run([&]() -> Task<absl::Status> {
                  absl::Status status = co_await sender.SendTo("sent", to);
                  scope.Cancel();
                  co_return status;
                }))->ok());
    DatagramBuffer buffer;
    EXPECT_EQ((co_await OrReturn(receiver.Receive(buffer))).data.text(),
              "sent");
    co_return absl::OkStatus();
  });
}

TEST(CancelledSend, OfAStreamBeforeItStartsTearsNothing) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    auto [client, server] = co_await OrReturn(
        AllOf(TcpStream::Connect(listener.local_address()), listener.Accept()));
    for (int i = 0; i < 3; ++i) {
      CancelScope scope;
      scope.Cancel();
      EXPECT_FALSE((co_await scope.Run(client.Send("lost"))).has_value());
      CancelScope eof;
      eof.Cancel();
      EXPECT_FALSE((co_await eof.Run(client.SendEof())).has_value());
    }
    co_await OrReturn(client.Send("sent"));
    co_await OrReturn(client.SendEof());
    std::string all;
    std::array<char, 100> buffer;
    while (size_t size = co_await OrReturn(server.Receive(buffer)))
      all.append(buffer.data(), size);
    EXPECT_EQ(all, "sent");
    co_return absl::OkStatus();
  });
}

// Sends that are too large for the kernel, with limits that hit anywhere: what
// arrives is a whole number of sends, or the stream is torn and says exactly
// what is missing.
TEST(CancelledSend, SaysWhatIsMissing) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    constexpr size_t kSize = 1 << 20;
    int torn = 0;
    for (int round = 0; round < 8; ++round) {
      TcpListener listener = co_await OrReturn(
          TcpListener::Bind(kLoopback, {.stream = {.receive_buffer = 16384}}));
      auto [client, server] = co_await OrReturn(AllOf(
          TcpStream::Connect(listener.local_address(), {.send_buffer = 16384}),
          listener.Accept()));
      size_t received = 0;
      size_t missing = 0;
      int sends = 0;
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            group.Start("receiver", [&]() -> Task<absl::Status> {
              std::vector<std::byte> buffer(100'000);
              if (round % 2 == 1) co_await SleepFor(2ms);
              for (;;) {
                auto size = co_await server.Receive(buffer);
                if (!size.ok() || *size == 0) break;
                received += *size;
              }
              co_return absl::OkStatus();
            });
            const std::string data(kSize, 'x');
            for (int i = 0; i < 10; ++i) {
              auto result = co_await MoveOnAfter(
                  std::chrono::microseconds(50 * round * i), client.Send(data));
              if (result.has_value()) {
                if (result->ok()) {
                  ++sends;
                  continue;
                }
                // Torn by the send before.
                EXPECT_TRUE(IsBroken(*result)) << *result;
                const std::string message(result->message());
                const size_t at = message.find(": ");
                const size_t digits = message.rfind(
                    ' ', message.find(" bytes of an earlier send") - 1);
                EXPECT_NE(at, std::string::npos);
                missing = std::stoul(message.substr(digits + 1));
                ++torn;
                break;
              }
            }
            co_await client.Close();
            co_return co_await group.Join();
          }));
      if (missing == 0) {
        EXPECT_EQ(received % kSize, 0u);
        EXPECT_EQ(received / kSize, static_cast<size_t>(sends));
      } else {
        EXPECT_EQ(received + missing, (sends + 1) * kSize);
      }
    }
    EXPECT_GT(torn, 0) << "or this tests nothing";
    co_return absl::OkStatus();
  });
}

// Connects with limits that hit anywhere: each that completed is accepted and
// works; of the others nothing is left (descriptors are counted).
TEST(CancelledConnect, LeavesNothingBehind) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    int connected = 0;
    int stopped = 0;
    bool enough = false;
    co_return co_await WithTaskGroup([&](TaskGroup& group)
                                         -> Task<absl::Status> {
      group.Start("acceptor", [&]() -> Task<void> {
        (void)co_await [](TcpListener* listener) -> Task<absl::Status> {
          for (;;) {
            TcpStream stream = co_await OrReturn(listener->Accept());
            std::array<char, 10> buffer;
            auto size = co_await stream.Receive(buffer);
            if (size.ok() && *size > 0)
              (co_await stream.Send("pong")).IgnoreError();
          }
        }(&listener);
        EXPECT_TRUE(enough);
      });
      for (int i = 0; i < 200; ++i) {
        auto stream =
            co_await MoveOnAfter(std::chrono::microseconds(i % 10),
                                 TcpStream::Connect(listener.local_address()));
        if (!stream.has_value()) {
          ++stopped;
          continue;
        }
        ++connected;
        co_await OrReturn((*stream)->Send("ping"));
        std::array<char, 10> buffer;
        const size_t size =
            co_await OrReturn(FailAfter(10s, (*stream)->Receive(buffer)));
        EXPECT_EQ(std::string_view(buffer.data(), size), "pong");
      }
      // In clean-up, shielded.
      CancelScope scope;
      scope.Cancel();
      EXPECT_FALSE(
          co_await scope.Run(Finally(SleepForever(), [&]() -> Task<void> {
            EXPECT_TRUE(
                (co_await TcpStream::Connect(listener.local_address())).ok());
          })));
      EXPECT_GT(connected + stopped, 0);
      enough = true;
      co_await listener.Close();
      co_return co_await group.Join();
    });
  });
}

// Close begins at the call: however its await ends, the address is free.
template <typename Make>
Task<absl::Status> CloseAndStop(Make make) {
  for (int when = 0; when < 4; ++when) {
    auto socket = co_await OrReturn(make(kLoopback));
    const std::string address = socket.local_address().ToString();
    CancelScope scope;
    if (when == 0) scope.Cancel();
    auto close = [&]() -> Task<void> { co_await socket.Close(); };
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("closer", [&]() -> Task<void> {
            if (when == 3) {
              scope.Cancel();
              (void)co_await scope.Run(Finally(SleepForever(), close));
            } else {
              (void)co_await scope.Run(close);
            }
          });
          if (when == 2) co_await Checkpoint();
          scope.Cancel();
          scope.Cancel("twice");
          co_return co_await group.Join();
        }));
    co_await socket.Close();  // awaited again, it waits for what has begun
    co_await OrReturn(make(address));
  }
  co_return absl::OkStatus();
}

TEST(CancelledClose, ReleasesAllTheSame) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    co_await OrReturn(CloseAndStop(
        [](std::string_view address) { return UdpSocket::Bind(address); }));
    co_return co_await CloseAndStop(
        [](std::string_view address) { return TcpListener::Bind(address); });
  });
}

TEST(CancelledClose, OfAStreamTellsItsPeer) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind(kLoopback));
    for (const bool while_waiting : {false, true}) {
      auto [client, server] = co_await OrReturn(AllOf(
          TcpStream::Connect(listener.local_address()), listener.Accept()));
      co_await OrReturn(client.Send("last"));
      CancelScope scope;
      if (!while_waiting) scope.Cancel();
      auto [closed, cancelled] =
          co_await AllOf(scope.Run(client.Close()), [&]() -> Task<int> {
            scope.Cancel();
            co_return 1;
          });
      (void)closed;
      (void)cancelled;
      std::string all;
      std::array<char, 100> buffer;
      while (size_t size = co_await OrReturn(server.Receive(buffer)))
        all.append(buffer.data(), size);
      EXPECT_EQ(all, "last");
    }
    co_return absl::OkStatus();
  });
}

// Questions that are abandoned anywhere: none is answered to somebody else, and
// the loop ends without waiting for them.
TEST(CancelledResolve, IsAbandoned) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    for (int i = 0; i < 50; ++i) {
      auto answer = co_await MoveOnAfter(std::chrono::microseconds(i * 10),
                                         Resolve("localhost", "80"));
      if (answer.has_value()) {
        EXPECT_TRUE(answer->ok()) << answer->status();
      }
    }
    CancelScope scope;
    scope.Cancel("once");
    EXPECT_FALSE(
        co_await scope.Run(Finally(SleepForever(), [&]() -> Task<void> {
          scope.Cancel("twice");
          EXPECT_TRUE((co_await Resolve("localhost", "80")).ok());
        })));
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid
