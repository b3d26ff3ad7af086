#include "services/udp_echo/echo_shard.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/asio/asio_backend.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/metrics/exposition.h"
#include "braid/metrics/registry.h"
#include "braid/net/udp.h"
#include "braid/testing/allocations.h"
#include "gtest/gtest.h"

namespace braid::udp_echo {
namespace {

using namespace std::chrono_literals;

template <typename Body>
void RunOnAsio(Body body) {
  std::unique_ptr<Backend> backend = *MakeAsioBackend();
  const absl::Status status = Run(*backend, [&]() -> Task<absl::Status> {
    co_return co_await FailAfter(20s, body());
  });
  EXPECT_TRUE(status.ok()) << status;
}

EchoShard::Options Unlimited(uint16_t own_port) {
  return {.own_ports = {own_port}, .loop_prone_ports = {}, .limit = {}};
}

// Sends `text` from `client` to what it is connected to and gives the answer;
// nothing if none comes.
Task<absl::StatusOr<std::optional<std::string>>> Ask(UdpSocket& client,
                                                     std::string text) {
  DatagramBuffer buffer;
  co_await OrReturn(client.Send(text));
  auto answer = co_await MoveOnAfter(200ms, client.Receive(buffer));
  if (!answer.has_value()) co_return std::nullopt;
  Datagram datagram = co_await OrReturn(*std::move(answer));
  co_return std::string(datagram.data.text());
}

void ExpectAddsUp(const EchoCounts& counts) {
  EXPECT_EQ(counts.received, counts.echoed + counts.dropped_total());
}

uint64_t DroppedFor(const EchoShard& shard, DropReason reason) {
  return shard.counts().dropped[static_cast<size_t>(reason)];
}

TEST(EchoShardTest, EchoesWhatComesUnmodified) {
  RunOnAsio([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(
        UdpSocket::Bind("127.0.0.1:0", {.batch_datagram_size = 65535}));
    metrics::Registry registry;
    EchoShard shard(Unlimited(socket.local_address().port()), registry);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("serve", [&]() -> Task<absl::Status> {
            co_return co_await shard.Serve(socket);
          });
          UdpSocket client =
              co_await OrReturn(UdpSocket::Connect(socket.local_address()));
          std::string largest(65507, '\0');
          for (size_t i = 0; i < largest.size(); ++i)
            largest[i] = static_cast<char>(i * 7);
          uint64_t bytes = 0;
          for (const std::string& text : {std::string("hello"), std::string(),
                                          std::string("a\0b\n", 4), largest}) {
            EXPECT_EQ(co_await OrReturn(Ask(client, text)), text)
                << text.size();
            bytes += text.size();
          }
          const EchoCounts counts = shard.counts();
          EXPECT_EQ(counts.received, 4u);
          EXPECT_EQ(counts.echoed, 4u);
          EXPECT_EQ(counts.received_bytes, bytes);
          EXPECT_EQ(counts.echoed_bytes, bytes);
          ExpectAddsUp(counts);
          const std::string text =
              metrics::Expose(registry, metrics::Format::kText);
          EXPECT_NE(text.find("braid_echo_reply_seconds_count 4"),
                    std::string::npos)
              << text;
          group.Cancel("done");
          co_return co_await group.Join();
        });
  });
}

TEST(EchoShardTest, AnswersFromTheAddressThatWasWrittenTo) {
  RunOnAsio([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:0"));
    metrics::Registry registry;
    EchoShard shard(Unlimited(socket.local_address().port()), registry);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("serve", [&]() -> Task<absl::Status> {
            co_return co_await shard.Serve(socket);
          });
          for (uint8_t last : {1, 5, 77}) {
            const std::array<uint8_t, 4> bytes = {127, 0, 0, last};
            // Connected: an answer from another address would not be received.
            UdpSocket client = co_await OrReturn(UdpSocket::Connect(
                SocketAddress::V4(bytes, socket.local_address().port())));
            EXPECT_EQ(co_await OrReturn(Ask(client, "hello")), "hello")
                << int{last};
          }
          group.Cancel("done");
          co_return co_await group.Join();
        });
  });
}

TEST(EchoShardTest, DropsWhatItMustNotAnswer) {
  RunOnAsio([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(
        UdpSocket::Bind("127.0.0.1:0", {.batch_datagram_size = 16}));
    const uint16_t port = socket.local_address().port();
    UdpSocket neighbour = co_await OrReturn(UdpSocket::Connect(
        socket.local_address(), {},
        SocketAddress::V4(std::array<uint8_t, 4>{127, 0, 0, 2}, port)));
    UdpSocket other =
        co_await OrReturn(UdpSocket::Connect(socket.local_address()));
    UdpSocket client =
        co_await OrReturn(UdpSocket::Connect(socket.local_address()));
    metrics::Registry registry;
    EchoShard::Options options = Unlimited(port);
    options.loop_prone_ports = {other.local_address().port()};
    options.limit = {.rate = 0.001, .burst = 2};
    EchoShard shard(options, registry);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("serve", [&]() -> Task<absl::Status> {
            co_return co_await shard.Serve(socket);
          });
          EXPECT_EQ(co_await OrReturn(Ask(neighbour, "loop")), std::nullopt);
          EXPECT_EQ(DroppedFor(shard, DropReason::kOwnEndpoint), 1u);
          EXPECT_EQ(co_await OrReturn(Ask(other, "loop")), std::nullopt);
          EXPECT_EQ(DroppedFor(shard, DropReason::kSourcePort), 1u);
          EXPECT_EQ(co_await OrReturn(Ask(client, "seventeen bytes..")),
                    std::nullopt);
          EXPECT_EQ(DroppedFor(shard, DropReason::kTruncated), 1u);
          EXPECT_EQ(co_await OrReturn(Ask(client, "sixteen bytes...")),
                    "sixteen bytes...");
          EXPECT_EQ(co_await OrReturn(Ask(client, "")), "");
          EXPECT_EQ(co_await OrReturn(Ask(client, "")), std::nullopt)
              << "what was dropped before took nothing off the burst";
          EXPECT_EQ(DroppedFor(shard, DropReason::kRateLimited), 1u);
          const EchoCounts counts = shard.counts();
          EXPECT_EQ(counts.received, 6u);
          EXPECT_EQ(counts.echoed, 2u);
          EXPECT_EQ(counts.received_bytes, 4u + 4u + 17u + 16u)
              << "a truncated one counts with its length on the wire";
          ExpectAddsUp(counts);
          const auto top = shard.talkers().Top(10);
          EXPECT_EQ(top.size(), 2u);
          EXPECT_EQ(top[0].address, IpKey::V4(127, 0, 0, 1));
          EXPECT_EQ(top[0].datagrams, 5u);
          group.Cancel("done");
          co_return co_await group.Join();
        });
  });
}

// A stop is requested before it has begun.
Task<absl::Status> ServeUntilStopped(EchoShard& shard, UdpSocket& socket) {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    group.Start("serve", [&]() -> Task<absl::Status> {
      co_return co_await shard.Serve(socket);
    });
    group.RequestStop();
    co_return co_await group.Join();
  });
}

// On a graceful stop, what had come before is answered; then Serve ends
// although nothing was cancelled.
TEST(EchoShardTest, AnswersWhatIsQueuedBeforeItStops) {
  RunOnAsio([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    UdpSocket client =
        co_await OrReturn(UdpSocket::Connect(socket.local_address()));
    // More than two batches, and less than the receive buffer takes.
    constexpr int kQueued = 150;
    for (int i = 0; i < kQueued; ++i)
      co_await OrReturn(client.Send(std::to_string(i)));
    metrics::Registry registry;
    EchoShard shard(Unlimited(socket.local_address().port()), registry);
    co_await OrReturn(ServeUntilStopped(shard, socket));
    EXPECT_EQ(shard.counts().echoed, static_cast<uint64_t>(kQueued));
    DatagramBuffer buffer;
    for (int i = 0; i < kQueued; ++i) {
      const Datagram answer = co_await OrReturn(client.Receive(buffer));
      EXPECT_EQ(answer.data.text(), std::to_string(i));
    }
    co_return absl::OkStatus();
  });
}

// With offload a run takes as much of the receive buffer as a datagram does
// without: far more datagrams may be queued.
TEST(EchoShardTest, AnswersQueuedRunsBeforeItStops) {
  RunOnAsio([]() -> Task<absl::Status> {
    const UdpOptions options = {.offload = true};
    UdpSocket socket =
        co_await OrReturn(UdpSocket::Bind("127.0.0.1:0", options));
    UdpSocket client =
        co_await OrReturn(UdpSocket::Connect(socket.local_address(), options));
    constexpr size_t kQueued = size_t{30} * 64;
    char x = 'x';
    std::vector<Datagram> out(kQueued);
    for (Datagram& datagram : out) datagram.data = std::span(&x, 1);
    EXPECT_EQ(co_await OrReturn(client.SendBatch(out)), kQueued);
    EXPECT_EQ(socket.Info().kernel_drops, 0u);
    metrics::Registry registry;
    EchoShard shard(Unlimited(socket.local_address().port()), registry);
    co_await OrReturn(ServeUntilStopped(shard, socket));
    EXPECT_EQ(shard.counts().echoed, kQueued);
    for (size_t answers = 0; answers < kQueued;) {
      const DatagramBatch batch = co_await OrReturn(client.ReceiveBatch());
      for (const Datagram& answer : batch) EXPECT_EQ(answer.data.text(), "x");
      answers += batch.size();
    }
    co_return absl::OkStatus();
  });
}

// A flood goes on while the service stops: it ends all the same, by the size of
// the receive buffer.
TEST(EchoShardTest, AFloodDoesNotKeepItFromStopping) {
  RunOnAsio([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(
        UdpSocket::Bind("127.0.0.1:0", {.receive_buffer = 8192}));
    metrics::Registry registry;
    EchoShard shard(Unlimited(socket.local_address().port()), registry);
    uint64_t sent = 0;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto serve = group.Start("serve", [&]() -> Task<absl::Status> {
            absl::Status status = co_await shard.Serve(socket);
            group.Cancel("served");
            co_return status;
          });
          group.Start("flood", [&]() -> Task<absl::Status> {
            UdpSocket client =
                co_await OrReturn(UdpSocket::Connect(socket.local_address()));
            for (;; ++sent) {
              co_await OrReturn(client.Send("x"));
              co_await Checkpoint();
            }
          });
          co_await SleepFor(20ms);
          group.RequestStop();
          co_return co_await group.Join();
        }));
    EXPECT_GT(sent, 0u);
    const EchoCounts counts = shard.counts();
    EXPECT_GT(counts.echoed, 0u);
    ExpectAddsUp(counts);
    co_return absl::OkStatus();
  });
}

TEST(EchoShardTest, ManyDatagramsLeaveOthersTheirTurns) {
  RunOnAsio([]() -> Task<absl::Status> {
    UdpSocket socket =
        co_await OrReturn(UdpSocket::Bind("127.0.0.1:0", {.batch_size = 8}));
    UdpSocket client =
        co_await OrReturn(UdpSocket::Connect(socket.local_address()));
    constexpr int kQueued = 160;
    for (int i = 0; i < kQueued; ++i) co_await OrReturn(client.Send("x"));
    metrics::Registry registry;
    EchoShard shard(Unlimited(socket.local_address().port()), registry);
    int turns = 0;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("serve", [&]() -> Task<absl::Status> {
            co_return co_await shard.Serve(socket);
          });
          while (shard.counts().echoed < kQueued) {
            co_await Checkpoint();
            ++turns;
          }
          group.Cancel("done");
          co_return co_await group.Join();
        }));
    EXPECT_GE(turns, kQueued / 8) << "one turn at least between two batches";
    co_return absl::OkStatus();
  });
}

TEST(EchoShardTest, NothingIsAllocatedForADatagram) {
  RunOnAsio([]() -> Task<absl::Status> {
    UdpSocket socket = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
    UdpSocket client =
        co_await OrReturn(UdpSocket::Connect(socket.local_address()));
    metrics::Registry registry;
    EchoShard::Options options = Unlimited(socket.local_address().port());
    options.limit = {.rate = 1e6, .burst = 1000};
    EchoShard shard(options, registry);
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("serve", [&]() -> Task<absl::Status> {
            co_return co_await shard.Serve(socket);
          });
          DatagramBuffer buffer;
          [[maybe_unused]] size_t before = 0;
          for (int i = 0; i < 2000; ++i) {
            if (i == 1000) before = Allocations();
            co_await OrReturn(client.Send("x"));
            co_await OrReturn(client.Receive(buffer));
          }
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
          EXPECT_EQ(Allocations() - before, 0u);
#endif
          group.Cancel("done");
          co_return co_await group.Join();
        });
  });
}

// Admission alone, from more sources than any table holds.
TEST(EchoShardTest, AdmissionUnderManySources) {
  metrics::Registry registry;
  EchoShard::Options options = Unlimited(7007);
  options.limit = {.rate = 1, .burst = 1};
  options.max_prefixes = 1024;
  options.max_talkers = 64;
  EchoShard shard(options, registry);
  std::array<Datagram, 64> batch;
  std::array<std::byte, 4> payload = {};
  const size_t before = Allocations();
  size_t admitted = 0;
  constexpr uint32_t kSources = 200'000;
  for (uint32_t source = 0; source < kSources;) {
    for (Datagram& datagram : batch) {
      const std::array<uint8_t, 4> bytes = {
          static_cast<uint8_t>(1 + (source >> 16)),
          static_cast<uint8_t>(source >> 8), static_cast<uint8_t>(source), 1};
      datagram = {.data = payload,
                  .peer = SocketAddress::V4(bytes, 40000),
                  .local = {},
                  .size = payload.size()};
      ++source;
    }
    admitted += shard.Admit(batch, Time(Duration(1'000'000'000)));
  }
  EXPECT_EQ(Allocations(), before);
  EXPECT_EQ(admitted, 1024u + 1u) << "one for each place, and one shared";
  const EchoCounts counts = shard.counts();
  EXPECT_EQ(counts.received, kSources);
  EXPECT_EQ(counts.dropped_total(), kSources - admitted);
  EXPECT_EQ(shard.talkers().size(), 64u);
}

}  // namespace
}  // namespace braid::udp_echo
