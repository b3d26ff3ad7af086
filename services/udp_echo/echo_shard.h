// EchoShard: what one loop needs to answer datagrams: who may have an answer,
// and what was counted.
//
// A shard belongs to the loop that serves with it; several shards on several
// loops share nothing. With more than one, the kernel spreads senders over them
// by address and port, and each has its own table of rates: a prefix that uses
// many ports gets up to its rate on each.
//
// Threads: the loop's, but for counts(), which any thread may read.

#ifndef BRAID_SERVICES_UDP_ECHO_ECHO_SHARD_H_
#define BRAID_SERVICES_UDP_ECHO_ECHO_SHARD_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/datagram.h"
#include "braid/core/task.h"
#include "braid/core/time.h"
#include "braid/metrics/registry.h"
#include "braid/net/udp.h"
#include "services/udp_echo/drop_reason.h"
#include "services/udp_echo/loop_guard.h"
#include "services/udp_echo/rate_limiter.h"
#include "services/udp_echo/top_talkers.h"

namespace braid::udp_echo {

// What has been counted since the start. Every received datagram is echoed or
// dropped for one reason; a snapshot taken while datagrams are being worked on
// may be short of those.
struct EchoCounts {
  uint64_t received = 0;
  uint64_t received_bytes = 0;
  uint64_t echoed = 0;
  uint64_t echoed_bytes = 0;
  std::array<uint64_t, kDropReasons> dropped = {};
  // Thrown away by the kernel before the service saw them, mostly for want of
  // room in the receive buffer; a run that came as one counts as one.
  uint64_t kernel_dropped = 0;
  // Calls to receive that failed.
  uint64_t receive_errors = 0;
  // Source prefixes with less than their whole burst left.
  uint64_t prefixes_in_use = 0;

  uint64_t dropped_total() const;
  EchoCounts& operator+=(const EchoCounts& other);
};

class EchoShard {
 public:
  struct Options {
    std::vector<uint16_t> own_ports;
    // Beyond those that every LoopGuard knows.
    std::vector<uint16_t> loop_prone_ports;
    RateLimit limit;
    size_t max_prefixes = 65536;
    size_t max_talkers = 256;
    std::array<uint64_t, 2> hash_key = {};  // secret, drawn at random
  };

  EchoShard(const Options& options, metrics::Registry& registry);
  EchoShard(const EchoShard&) = delete;
  EchoShard& operator=(const EchoShard&) = delete;

  // Echoes what comes on `socket`, a batch at a time; between two batches every
  // other ready task has its turn. Completes with OK once a graceful stop was
  // requested and what was queued by then is answered: until the queue has been
  // empty once, and no more than fits into the receive buffer, so that a flood
  // doesn't keep it. Cancelled at any time; what was received last may be
  // unanswered then, and is counted as neither. An error only if the socket is
  // closed.
  Task<absl::Status> Serve(UdpSocket& socket);

  // Which of `batch` is answered: moves those to the front and counts the
  // others. Part of Serve.
  size_t Admit(std::span<Datagram> batch, Time now);

  // Halves the weight of what talkers sent so far; once a minute.
  void Fade() { talkers_.Fade(); }

  void SetLimit(RateLimit limit) { limiter_.SetLimit(limit); }
  const RateLimiter& limiter() const { return limiter_; }
  const TopTalkers& talkers() const { return talkers_; }
  EchoCounts counts() const;
  // Takes into the counts what has to be asked for, once a second: the
  // datagrams that the kernel has dropped so far on the shard's sockets
  // (UdpSocket::Info), and how full the table of rates is.
  void Refresh(uint64_t kernel_dropped, Time now) {
    kernel_dropped_.Set(kernel_dropped);
    prefixes_in_use_.Set(limiter_.InUse(now));
  }

 private:
  // One writer, any reader; see metrics/detail/cell.h for why that is enough.
  class Count {
   public:
    void Add(uint64_t n) { Set(get() + n); }
    void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<uint64_t> value_ = 0;
  };

  void Drop(DropReason reason, uint64_t count = 1) {
    dropped_[static_cast<size_t>(reason)].Add(count);
  }
  Task<absl::Status> Echo(UdpSocket& socket, std::span<Datagram> batch);
  Task<absl::Status> AnswerQueued(UdpSocket& socket);
  Task<absl::Status> ReceiveFailed(const absl::Status& error);

  LoopGuard guard_;
  RateLimiter limiter_;
  TopTalkers talkers_;
  metrics::Histogram latency_;

  Count received_;
  Count received_bytes_;
  Count echoed_;
  Count echoed_bytes_;
  std::array<Count, kDropReasons> dropped_;
  Count kernel_dropped_;
  Count receive_errors_;
  Count prefixes_in_use_;
};

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_ECHO_SHARD_H_
