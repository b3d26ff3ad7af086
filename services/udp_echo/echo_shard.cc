#include "services/udp_echo/echo_shard.h"

#include <chrono>
#include <numeric>
#include <utility>

#include "braid/core/any_of.h"
#include "braid/core/or_return.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"
#include "braid/core/stop_request.h"
#include "braid/metrics/buckets.h"

namespace braid::udp_echo {
namespace {

using namespace std::chrono_literals;

// A queue from which nothing came for so long is empty.
constexpr Duration kQuiet = 10ms;
// After a call to receive that failed, so that an error that stays doesn't take
// the whole processor.
constexpr Duration kAfterError = 10ms;
// What the kernel at least charges to the receive buffer for a datagram, on
// 64-bit Linux (SKB_TRUESIZE of an empty one).
constexpr size_t kLeastCharge = 512;
// With offload, that is for a run, of up to 64 datagrams or, on newer kernels,
// 128; and up to 1 MiB of them waits in the socket (UdpOptions::offload).
constexpr size_t kLongestRun = 128;
constexpr size_t kMostInSocket = size_t{1} << 20;

}  // namespace

uint64_t EchoCounts::dropped_total() const {
  return std::accumulate(dropped.begin(), dropped.end(), uint64_t{0});
}

EchoCounts& EchoCounts::operator+=(const EchoCounts& other) {
  received += other.received;
  received_bytes += other.received_bytes;
  echoed += other.echoed;
  echoed_bytes += other.echoed_bytes;
  for (size_t i = 0; i < kDropReasons; ++i) dropped[i] += other.dropped[i];
  kernel_dropped += other.kernel_dropped;
  receive_errors += other.receive_errors;
  prefixes_in_use += other.prefixes_in_use;
  return *this;
}

EchoShard::EchoShard(const Options& options, metrics::Registry& registry)
    : guard_(options.own_ports, options.loop_prone_ports),
      limiter_(options.limit, options.max_prefixes, options.hash_key),
      talkers_(options.max_talkers),
      latency_(*registry.AddHistogram(
          {.name = "braid_echo_reply_seconds",
           .help = "From a datagram's receipt from the kernel until its reply "
                   "is handed to it."},
          metrics::ExponentialBuckets(1e-6, 4, 12))) {}

EchoCounts EchoShard::counts() const {
  EchoCounts counts;
  // In this order, so that a snapshot from another thread never has more
  // outcomes than datagrams.
  for (size_t i = 0; i < kDropReasons; ++i)
    counts.dropped[i] = dropped_[i].get();
  counts.echoed = echoed_.get();
  counts.echoed_bytes = echoed_bytes_.get();
  counts.received = received_.get();
  counts.received_bytes = received_bytes_.get();
  counts.kernel_dropped = kernel_dropped_.get();
  counts.receive_errors = receive_errors_.get();
  counts.prefixes_in_use = prefixes_in_use_.get();
  return counts;
}

size_t EchoShard::Admit(std::span<Datagram> batch, Time now) {
  size_t admitted = 0;
  uint64_t bytes = 0;
  for (Datagram& datagram : batch) {
    bytes += datagram.size;
    const IpKey source = IpKey::FromBytes(datagram.peer.bytes());
    const IpKey destination = datagram.local.empty()
                                  ? IpKey()
                                  : IpKey::FromBytes(datagram.local.bytes());
    talkers_.Count(source, datagram.size);
    if (const auto reason =
            guard_.Judge(source, datagram.peer.port(), destination)) {
      Drop(*reason);
      continue;
    }
    if (datagram.truncated()) {
      Drop(DropReason::kTruncated);
      continue;
    }
    switch (limiter_.Take(source.Prefix(), now)) {
      case RateLimiter::Verdict::kPass:
        break;
      case RateLimiter::Verdict::kLimited:
        Drop(DropReason::kRateLimited);
        continue;
      case RateLimiter::Verdict::kTableFull:
        Drop(DropReason::kTableFull);
        continue;
    }
    if (&batch[admitted] != &datagram) batch[admitted] = datagram;
    ++admitted;
  }
  received_.Add(batch.size());
  received_bytes_.Add(bytes);
  return admitted;
}

Task<absl::Status> EchoShard::Echo(UdpSocket& socket,
                                   std::span<Datagram> batch) {
  const Time received = Now();
  std::span<const Datagram> replies = batch.first(Admit(batch, received));
  while (!replies.empty()) {
    const absl::StatusOr<size_t> sent = co_await socket.SendBatch(replies);
    if (!sent.ok()) {
      if (IsClosed(sent.status())) {
        Drop(DropReason::kSendFailed, replies.size());
        co_return sent.status();
      }
      Drop(DropReason::kSendFailed);
      replies = replies.subspan(1);
      continue;
    }
    const double seconds =
        std::chrono::duration<double>(Now() - received).count();
    uint64_t bytes = 0;
    for (const Datagram& reply : replies.first(*sent)) {
      bytes += reply.size;
      latency_.Observe(seconds);
    }
    echoed_.Add(*sent);
    echoed_bytes_.Add(bytes);
    replies = replies.subspan(*sent);
  }
  co_return absl::OkStatus();
}

Task<absl::Status> EchoShard::ReceiveFailed(const absl::Status& error) {
  if (IsClosed(error)) co_return error;
  receive_errors_.Add(1);
  co_await SleepFor(kAfterError);
  co_return absl::OkStatus();
}

Task<absl::Status> EchoShard::AnswerQueued(UdpSocket& socket) {
  // What could be in the queue now: by memory, all of its datagrams empty ones
  // at worst.
  const SocketInfo info = socket.Info();
  const size_t most = static_cast<size_t>(info.receive_buffer) +
                      (info.offload ? kMostInSocket : 0);
  const size_t charge =
      info.offload ? kLeastCharge / kLongestRun : kLeastCharge;
  for (size_t answered = 0; answered <= most;) {
    auto [batch, quiet] =
        co_await AnyOf(socket.ReceiveBatch(), SleepFor(kQuiet));
    if (!batch.has_value()) break;
    if (!batch->ok()) {
      co_await OrReturn(ReceiveFailed(batch->status()));
      break;
    }
    for (const Datagram& datagram : **batch) answered += datagram.size + charge;
    co_await OrReturn(Echo(socket, (*batch)->datagrams()));
  }
  co_return absl::OkStatus();
}

Task<absl::Status> EchoShard::Serve(UdpSocket& socket) {
  for (;;) {
    auto [batch, stopping] =
        co_await AnyOf(socket.ReceiveBatch(), StopRequested());
    if (batch.has_value()) {
      if (batch->ok()) {
        co_await OrReturn(Echo(socket, (*batch)->datagrams()));
        // One batch, then whoever else is ready: a flood must not starve the
        // rest of the loop.
        co_await Checkpoint();
      } else {
        co_await OrReturn(ReceiveFailed(batch->status()));
      }
    }
    if (stopping) break;
  }
  co_return co_await AnswerQueued(socket);
}

}  // namespace braid::udp_echo
