// What every bench does. The work is the same for each subject, so that two
// figures of one row differ only by what the subject adds to it; whoever writes
// a subject copies the shape of the work from here, not from another subject.
// Not for: how a subject is started and what it prints (subject.h), and which
// figures are expected (bars.py).
//
// An operation is what the cost is divided by. In-process benches have one
// process and one thread:
//
// spawn_join: A parent starts kSpawnBatch children in one group and joins it,
//     again and again. A child counts itself and returns. Operation: one child
//     started and joined.
// call_depth1: A coroutine awaits `Next(i)`, which returns i + 1, in a loop.
//     Operation: one call.
// call_depth100: A coroutine awaits `Descend(100)`, which awaits `Descend(99)`
//     and so on; each level adds one to what it got. Operation: one level. Both
//     callees are kept from being inlined, so that no frame is elided.
// yield: Two tasks go to the back of the run queue in turn. Operation: one
//     yield.
// channel_rendezvous: Two tasks and two channels without a buffer: ping sends
//     an int and receives the answer, pong the reverse. Operation: one item
//     handed over, two for each round trip.
// channel_buffered64: One producer, one consumer, one channel with room for
//     kChannelCapacity ints. Operation: one item.
// timeout_unfired: A task does one `yield` under a timeout of an hour, in a
//     loop. Operation: one such guarded yield, arming and disarming included.
// sleep_100k: kSleepers tasks sleep at once, each for a time of its own between
//     kSleepShortest and twice that (SleepTimes). Start, sleep and join count,
//     in CPU time. Operation: one sleep.
// cancel_parked_10k: kParkedToCancel tasks wait for something that never comes;
//     then all are cancelled and joined, and only that is on the clock.
//     Operation: one task.
// parked_task_bytes: Tasks wait for something that never comes; how much the
//     process's resident memory grew, over their number. Operation: one task.
// cross_thread_post: A second thread hands kPostBatch callables to the loop and
//     waits until all of them have run, again and again. Wall time. Operation:
//     one callable.
// to_thread: A task awaits a function that returns its argument plus one, run
//     by a worker thread that is there already, again and again: two changes of
//     thread, of which each side waits for the other. Wall time. Operation: one
//     such call.
// file_read_64k, file_read_1m: A loop reads a file that is in the page cache,
//     block after block, into one buffer that is aligned to pages. Wall time.
//     Operation: one block.
// file_write_64k, file_write_1m: The same, and it writes a new file; nothing is
//     synced. A run is kFileBytes.
//
// In client and server benches the subject is the server, alone on its core; a
// load generator that never sleeps has another. The cost is the CPU time of the
// server process, all threads, user and kernel:
//
// udp_echo_64: kUdpSockets connected client sockets with kUdpWindow datagrams
//     of kPayload bytes outstanding on each; the server answers every datagram
//     with its payload, one datagram to a receive and one to a send: the loop
//     that a user writes first. Operation: one datagram echoed.
// udp_echo_64_batch: The same load; the server may take and send many datagrams
//     at once.
// udp_echo_64_offload: A client that sends runs: on each of kUdpSockets sockets
//     one message of kUdpRun datagrams of kPayload bytes (UDP_SEGMENT), the
//     next one when all of them are answered. The server may take and send runs
//     too (UDP_GRO, UDP_SEGMENT), and answers every datagram with its payload.
//     Operation: one datagram echoed.
// tcp_echo_64x64: kTcpConnections connections, on each one request of kPayload
//     bytes outstanding; the server sends back what it gets. TCP_NODELAY on
//     both ends. Operation: one request echoed.
// grpc_unary_64: One channel, kGrpcInFlight unary calls outstanding, kPayload
//     bytes each way (echo.proto), no TLS. Operation: one call.
//
// Sweeps, of a size N that ends the bench's name:
//
// sweep_tasks_N: A parent starts N children in one group and joins it, again
//     and again, as in spawn_join. Operation: one child.
// sweep_yields_N: N tasks go to the back of the run queue in turn. Operation:
//     one yield.
// sweep_timers_N: N tasks sleep for an hour; another does what timeout_unfired
//     is. Operation: one guarded yield.
// sweep_connections_N: As tcp_echo_64x64 on N connections, on at most
//     kTcpConnections of which a request is outstanding, on each in turn.
// sweep_shards_N: As udp_echo_64, by N shards with a socket each on one port.
//     They share the server's core: it is what sharding costs, not what it
//     brings.
//
// header_cost has no subject: the driver times the compiler.
#ifndef BRAID_TESTS_BENCH_BENCHES_H_
#define BRAID_TESTS_BENCH_BENCHES_H_

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace braid::bench {

inline constexpr uint64_t kSpawnBatch = 1000;
inline constexpr uint64_t kDepth = 100;
inline constexpr uint64_t kChannelCapacity = 64;
inline constexpr uint64_t kSleepers = 100'000;
inline constexpr uint64_t kParkedToCancel = 10'000;
inline constexpr uint64_t kPostBatch = 1000;
inline constexpr std::chrono::milliseconds kSleepShortest{500};
inline constexpr uint64_t kFileBytes = uint64_t{1} << 30;

inline constexpr int kPayload = 64;
inline constexpr int kUdpSockets = 8;
inline constexpr int kUdpWindow = 8;
inline constexpr int kUdpRun = 64;
inline constexpr int kTcpConnections = 64;
inline constexpr int kGrpcInFlight = 64;
inline constexpr int kMaxDatagram = 2048;  // receive buffer of every UDP server

// What the bodies count: one for each operation really done. A global, so that
// no measured coroutine carries an argument for it.
inline uint64_t counted = 0;

// `for (uint64_t n : Batches(10, 4))` sees 4, 4, 2.
class Batches {
 public:
  struct Iterator {
    uint64_t left;
    uint64_t size;
    uint64_t operator*() const { return std::min(left, size); }
    void operator++() { left -= **this; }
    bool operator!=(const Iterator& other) const { return left != other.left; }
  };

  Batches(uint64_t total, uint64_t size) : total_(total), size_(size) {}
  Iterator begin() const { return {total_, size_}; }
  Iterator end() const { return {0, size_}; }

 private:
  uint64_t total_;
  uint64_t size_;
};

// The same sequence of sleeping times for every subject: whole microseconds in
// [kSleepShortest, 2 * kSleepShortest).
class SleepTimes {
 public:
  std::chrono::microseconds Next() {
    state_ = state_ * 1664525u + 1013904223u;
    constexpr std::chrono::microseconds kShortest = kSleepShortest;
    return kShortest +
           std::chrono::microseconds((state_ >> 8) % kShortest.count());
  }

 private:
  uint32_t state_ = 1;
};

}  // namespace braid::bench

#endif  // BRAID_TESTS_BENCH_BENCHES_H_
