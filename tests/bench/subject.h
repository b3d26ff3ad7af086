// The contract between `tools/bench` and a subject: a program that does the
// work of one or more benches (benches.h).
//
//   subject --bench NAME [--ops N] [--port P] [--backend B] [--untimed]
//
// An in-process bench does N operations, then prints one line of JSON and exits
// 0:
//
//   {"bench": "yield", "ops": 1000, "wall_ns_per_op": 4.1,
//    "cpu_ns_per_op": 4.1, "run_delay_ns": 0, "bytes_per_op": null,
//    "allocations": null}
//
// `ops` is what the body counted, not what was asked for. `run_delay_ns` is how
// long the measuring thread waited for its core meanwhile. With --untimed,
// which counting runs use, no clock is read, which would be counted too, and
// times are null. `allocations` is null unless alloc_count.cc is preloaded:
// then every allocation of the process up to here.
//
// A server bench prints `{"listening": PORT}` first (P = 0: any free port), and
// then serves 127.0.0.1:PORT. With N = 0 it serves until it is killed;
// otherwise it ends by itself after N operations and prints the line above,
// with null times: its CPU time is taken by the load generator (load.h).
//
// Exit codes: 0 done; 2 wrong arguments or a bench that the subject doesn't
// have; 77 the machine doesn't allow it (no io_uring), so that the row is left
// out; anything else is a failure, with its reason on standard error.
#ifndef BRAID_TESTS_BENCH_SUBJECT_H_
#define BRAID_TESTS_BENCH_SUBJECT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace braid::bench {

inline constexpr int kNotAvailable = 77;

// Ends the program with 1: "subject: <what>: <why>", or strerror(error) for
// why.
[[noreturn]] void Die(std::string_view what, std::string_view why);
[[noreturn]] void Die(std::string_view what, int error);

// The value of `--name=value` or `--name value`, where `argv[index]` is that
// flag. Moves `index` past what it used. Both end the program with 2 where
// there is no such value.
std::optional<std::string_view> FlagValue(int argc, char** argv, int& index,
                                          std::string_view name);
uint64_t ParseNumber(std::string_view flag, std::string_view value);

// Nanoseconds that a thread was runnable and not running: the second field of
// its schedstat file (Documentation/scheduler/sched-stats.rst). 0 on a kernel
// that doesn't tell.
int64_t RunDelay(const std::string& path);

// One run of one bench: what to do, and where the body says what it did.
class Run {
 public:
  Run(std::string bench, uint64_t size, uint64_t ops, int port,
      std::string backend, bool untimed);
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  uint64_t ops() const { return ops_; }
  // Of a sweep, at the end of the bench's name: 1000 in sweep_tasks_1000.
  uint64_t size() const { return size_; }
  int port() const { return port_; }
  const std::string& backend() const { return backend_; }

  // The clock runs between Start and Stop; several such stretches add up.
  void Start();
  void Stop();

  // Server benches: ready to be written to.
  void Listening(int port);

  // How many operations were done. Called once, last, or not at all by a server
  // that is to be killed.
  void Done(uint64_t ops) { done_ = ops; }
  // parked_task_bytes only: memory that all operations took together.
  void Bytes(int64_t bytes) { bytes_ = bytes; }

  void Print() const;

 private:
  struct Clocks {
    int64_t wall = 0;
    int64_t cpu = 0;
    int64_t run_delay = 0;
  };
  static Clocks Now();

  std::string bench_;
  uint64_t size_;
  uint64_t ops_;
  int port_;
  std::string backend_;
  bool untimed_;
  bool timed_ = false;
  Clocks started_;
  Clocks spent_;
  uint64_t done_ = 0;
  std::optional<int64_t> bytes_;
};

// Bytes of this process that are in memory now.
int64_t ResidentBytes();

// The number at the end of a sweep's name, behind `family` and '_'; nothing if
// it is no such name.
std::optional<uint64_t> SizeInName(std::string_view name,
                                   std::string_view family);

// So that a bench of many sockets has descriptors for them.
void RaiseDescriptorLimit();

struct Bench {
  std::string_view name;  // of a sweep: without the size
  void (*body)(Run&);
  bool sweep = false;
};

// The main() of every subject. Without --ops, N is 0.
int SubjectMain(int argc, char** argv, std::span<const Bench> benches);

}  // namespace braid::bench

#endif  // BRAID_TESTS_BENCH_SUBJECT_H_
