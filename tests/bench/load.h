// What the load generators share: their command line, when they are done, and
// what the server's process spent meanwhile.
//
//   load --bench NAME --port P --server-pid PID (--seconds S | --ops N)
//
// With --seconds, the server is measured for S seconds after a short warm-up,
// every answer is followed by a request at once, and the generator polls and
// never sleeps: the server never pays for waking it.
//
// With --ops, exactly N requests are sent and answered, for a server that was
// told the same number and is counted, not timed. They leave in bursts: as many
// as may be outstanding, then none until all of those are answered, and
// meanwhile the generator sleeps. Where it shares a core with a server of lower
// priority, every burst is complete before the server sees any of it, so that
// what the server does for it is the same every time.
//
// One line of JSON; with --ops, the times are null:
//
//   {"bench": "udp_echo_64", "ops": 90000, "wall_ns_per_op": 4500.0,
//    "cpu_ns_per_op": 4400.0, "run_delay_ns": 0, "server_busy": 0.98,
//    "resent": 0}
//
// `cpu_ns_per_op` is the CPU time of all of the server's threads, `server_busy`
// that time over wall time: far below 1, the generator was the bottleneck, and
// the server paid for waiting. `run_delay_ns` is how long the generator's
// thread, and a single-threaded server's, waited for their cores: on a quiet
// machine, nothing.
#ifndef BRAID_TESTS_BENCH_LOAD_H_
#define BRAID_TESTS_BENCH_LOAD_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace braid::bench {

struct LoadOptions {
  std::string bench;
  uint64_t size = 0;  // of a sweep
  int port = 0;
  pid_t server = 0;
  double seconds = 0;
  uint64_t ops = 0;
};

LoadOptions ParseLoad(int argc, char** argv);

int64_t WallNow();  // CLOCK_MONOTONIC, nanoseconds

class Window {
 public:
  // Threads of one server that share a core wait for each other:
  // `server_threads` says not to hold that against the run.
  enum class ServerThreads { kOne, kMany };

  Window(const LoadOptions& options, ServerThreads server_threads);

  // Whether the generator sends in bursts and sleeps in between.
  bool bursts() const { return options_.ops > 0; }

  // Whether another request may be sent after `sent`.
  bool MaySend(uint64_t sent) const {
    return options_.ops == 0 || sent < options_.ops;
  }

  // To be asked at every turn, with how many requests have been answered so
  // far. Takes the measurements as their time comes.
  bool Over(uint64_t answered);

  void Print(uint64_t resent) const;

 private:
  struct Sample {
    uint64_t answered = 0;
    int64_t wall = 0;
    int64_t server_cpu = 0;
    int64_t run_delay = 0;
  };
  Sample Take(uint64_t answered) const;

  LoadOptions options_;
  ServerThreads server_threads_;
  bool started_ = false;
  int64_t starts_at_;
  int64_t ends_at_;
  Sample first_;
  Sample last_;
};

}  // namespace braid::bench

#endif  // BRAID_TESTS_BENCH_LOAD_H_
