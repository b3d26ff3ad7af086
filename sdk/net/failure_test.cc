// Sockets where calls fail, memory is short and deadlines pass: what
// FailEverywhere finds in them.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/net/resolver.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "braid/testing/fail_everywhere.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

Task<absl::Status> EchoOnce(TcpStream stream) {
  for (;;) {
    Chunk chunk = co_await OrReturn(stream.ReceiveChunk());
    if (chunk.size() == 0) break;
    co_await OrReturn(stream.Send(chunk));
  }
  co_await OrReturn(stream.SendEof());
  co_return absl::OkStatus();
}

// What a client sent comes back whole, or somebody hears of an error.
TEST(Failure, OfATcpEcho) {
  std::string sent, received;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        received.clear();
        sent = std::string(300'000, 'x');
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              group.Start("server", [&]() -> Task<absl::Status> {
                TcpStream stream = co_await OrReturn(listener.Accept());
                co_return co_await EchoOnce(std::move(stream));
              });
              TcpStream stream = co_await OrReturn(
                  TcpStream::Connect(listener.local_address()));
              group.Start("sender", [&]() -> Task<absl::Status> {
                co_await OrReturn(stream.Send(sent));
                co_return co_await stream.SendEof();
              });
              std::array<char, 65536> buffer;
              for (;;) {
                const size_t size = co_await OrReturn(stream.Receive(buffer));
                if (size == 0) break;
                received.append(buffer.data(), size);
              }
              co_await OrReturn(group.Join());
              co_await stream.Close();
              co_return absl::OkStatus();
            });
      },
      [&](const absl::Status& status) {
        if (status.ok()) EXPECT_EQ(received, sent);
      });
}

TEST(Failure, OfAServerOfSeveral) {
  FailEverywhere([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
    co_return co_await WithTaskGroup([&](TaskGroup& group)
                                         -> Task<absl::Status> {
      group.Start("server", [&]() -> Task<absl::Status> {
        co_return co_await WithTaskGroup(
            [&](TaskGroup& connections) -> Task<absl::Status> {
              for (int i = 0; i < 2; ++i) {
                connections.Start("connection", EchoOnce,
                                  co_await OrReturn(listener.Accept()));
              }
              co_return co_await connections.Join();
            });
      });
      for (int i = 0; i < 2; ++i) {
        group.Start("client", [&]() -> Task<absl::Status> {
          TcpStream stream =
              co_await OrReturn(TcpStream::Connect(listener.local_address()));
          co_await OrReturn(stream.Send("hello"));
          co_await OrReturn(stream.SendEof());
          std::array<char, 100> buffer;
          co_return (co_await FailAfter(10s, stream.Receive(buffer))).status();
        });
      }
      co_return co_await group.Join();
    });
  });
}

TEST(Failure, OfUdp) {
  int answers = 0;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        answers = 0;
        UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
        UdpSocket client =
            co_await OrReturn(UdpSocket::Connect(server.local_address()));
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              auto serving = group.Start("server", [&]() -> Task<absl::Status> {
                DatagramBuffer buffer;
                for (;;) {
                  Datagram d = co_await OrReturn(server.Receive(buffer));
                  co_await OrReturn(server.Reply(d, d.data));
                }
              });
              DatagramBuffer buffer;
              for (int i = 0; i < 3; ++i) {
                co_await OrReturn(client.Send("question"));
                auto answer = co_await MoveOnAfter(1s, client.Receive(buffer));
                if (answer.has_value() && answer->ok()) ++answers;
              }
              group.Cancel("done");
              co_return co_await group.Join();
            });
      },
      [&](const absl::Status& status) {
        if (status.ok()) EXPECT_GE(answers, 2);
      });
}

TEST(Failure, OfUdpInBatches) {
  FailEverywhere([]() -> Task<absl::Status> {
    UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    UdpSocket client =
        co_await OrReturn(UdpSocket::Connect(server.local_address()));
    std::vector<Datagram> datagrams(5);
    std::string text = "text";
    for (Datagram& datagram : datagrams)
      datagram.data = std::as_writable_bytes(std::span(text));
    const size_t sent = co_await OrReturn(client.SendBatch(datagrams));
    size_t received = 0;
    while (received < sent) {
      auto batch = co_await OrReturn(FailAfter(1s, server.ReceiveBatch()));
      received += batch.size();
    }
    co_return absl::OkStatus();
  });
}

TEST(Failure, OfALookup) {
  FailEverywhere([]() -> Task<absl::Status> {
    auto addresses = co_await OrReturn(Resolve("localhost", "80"));
    EXPECT_EQ(addresses.size(), 2u);
    auto refused = co_await TcpStream::Connect(addresses.back());
    EXPECT_FALSE(refused.ok());
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid
