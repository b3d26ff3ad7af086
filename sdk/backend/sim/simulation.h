// Simulation: several machines in one thread, on a clock that jumps, with a
// network and disks that fail as told.
//
// For: finding what production would find: runs whole programs, unmodified,
// under latency, loss, partitions and crashes, and runs the same again.
//
//   Simulation sim({.seed = 7});
//   SimHost& server = sim.AddHost("server");
//   SimHost& client = sim.AddHost("client");
//   server.Run(EchoServer, "0.0.0.0:7");           // any Main and its
//   arguments client.Run(Ask, server.address(7), "hello"); sim.After(2s, [&] {
//   server.Restart(); }); EXPECT_TRUE(sim.RunUntil([&] { return client.ended();
//   }).ok());
//
// Each host has a loop, a clock, a kernel with sockets, an address and a name
// that the others can look up. One at a time takes a turn; the seed decides
// which, in what order its ready tasks run, and how long every packet takes.
// When nobody has anything to do, the time jumps to what comes next. Code takes
// no time, but a program that spins makes time pass, slowly. The same seed and
// the same calls give the same run, and the same trace to the byte.
//
// What is simulated: UDP, TCP, files, names, signals, environment, wall clock,
// random numbers and worker threads, as the SDK reaches them through Backend
// and Host;
// and what stands on that: RPC, whole services (service::Run). What asks the
// machine itself (std::thread, std::chrono clocks, gRPC's own API, Asio) breaks
// the repetition, or waits for ever. Host programs share this process's
// globals.
//
// A function that ToThread runs is called in this thread, between two turns:
// its thread takes it up after 0 to 50 us, and it has run after another 0 to
// `longest_job`, without an interruption.
//
// Errors say the seed. Where a program's end is an error, the run that sees it
// gives that, with the host's name; an exception that leaves a Main leaves the
// Run call.
//
// Threads: one, that runs no loop. Crash, Restart, Pause, Signal and the like
// may also be called from a task of a host: they take effect after its turn.

#ifndef BRAID_BACKEND_SIM_SIMULATION_H_
#define BRAID_BACKEND_SIM_SIMULATION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "braid/backend/sim/disk.h"
#include "braid/backend/sim/network.h"
#include "braid/backend/socket_address.h"
#include "braid/core/detail/child.h"
#include "braid/core/run.h"
#include "braid/core/task.h"
#include "braid/core/time.h"

namespace braid {

struct SimulationOptions {
  uint64_t seed = 1;
  // Of every pair of hosts, unless SetLink says otherwise.
  SimLink link = {};
  // Keeps the trace, of which the oldest half is thrown away when it gets too
  // long. Without it, nor does the fingerprint know of packets; that is faster.
  bool trace = true;
  size_t max_trace_bytes = 64 << 20;
  // What the wall clocks show at first, in seconds since 1970.
  int64_t start_of_wall_time = 1'767'225'600;  // 2026-01-01T00:00:00Z
};

struct SimHostOptions {
  // IPv4; empty: 10.0.0.N. Each host also has the IPv6 address fd00::N.
  std::string address = {};
  // Ports for sockets that don't say which, both included.
  uint16_t first_free_port = 32768;
  uint16_t last_free_port = 60999;
  // What a job on a worker thread (ToThread) takes, at most; the seed says how
  // long each.
  Duration longest_job = std::chrono::milliseconds(1);
  SimDiskOptions disk = {};
  // Its program waits for others for as long as it takes: that it still does
  // when nothing can happen any more is not a deadlock.
  bool serves = false;
};

namespace detail {

// A program that runs on a host, without its type.
class Program {
 public:
  virtual ~Program() = default;
  virtual void Start(Loop& loop) = 0;
  // Once the loop has ended.
  virtual absl::Status TakeResult() = 0;
};

template <typename B>
class ProgramOf final : public Program {
 public:
  explicit ProgramOf(B body) : root_(std::move(body)) {}
  void Start(Loop& loop) override { root_.Start(loop, nullptr, &root_); }
  absl::Status TakeResult() override { return root_.TakeResult(); }

 private:
  RootTask<B> root_;
};

using ProgramFactory = std::function<std::unique_ptr<Program>()>;

}  // namespace detail

// One machine. Lives as long as the simulation.
class SimHost {
 public:
  SimHost(const SimHost&) = delete;
  SimHost& operator=(const SimHost&) = delete;

  // The host whose task runs now; nullptr outside of a simulation.
  static SimHost* CurrentOrNull();

  const std::string& name() const;
  SocketAddress address(uint16_t port = 0) const;     // IPv4
  SocketAddress address_v6(uint16_t port = 0) const;  // IPv6

  // Starts the program: `main(args...)` gives Task<absl::Status> or Task<void>.
  // Both are copied, and copied again for every Restart. One program at a time
  // (checked); another may follow when it has ended.
  template <typename Main, typename... Args>
    requires detail::Startable<Main, Args...>
  void Run(Main main, Args... args) {
    using Call = detail::KeptCall<Main, Args...>;
    Boot([call = Call(std::in_place, std::move(main), std::move(args)...)] {
      auto body = [call]() mutable -> Task<absl::Status> {
        using Result = typename detail::IsTask<std::invoke_result_t<
            Main&, std::unwrap_ref_decay_t<Args>...>>::Result;
        if constexpr (std::is_void_v<Result>) {
          co_await call.MakeTask();
          co_return absl::OkStatus();
        } else {
          co_return co_await call.MakeTask();
        }
      };
      return std::unique_ptr<detail::Program>(
          std::make_unique<detail::ProgramOf<decltype(body)>>(std::move(body)));
    });
  }

  // The power goes: the program is over, without running another line of it but
  // destructors, and so is the kernel. Peers hear nothing; packets that come
  // are lost until Restart. The disk has what was synced, and maybe more.
  void Crash();
  // Crashes, if the host is up, and starts the program again on a new kernel.
  void Restart();
  // As kill(2). What nobody listens to (SignalStream) does what it does by
  // default: most end the program as Crash does, but the kernel lives on and
  // closes its sockets, as peers notice.
  void Signal(int signal);
  // The program gets no turns, as after SIGSTOP; the kernel goes on to answer
  // for it. Resume: it finds that time has passed.
  void Pause();
  void Resume();

  // What its wall clock is ahead of the simulation's, or, negative, behind.
  void SetClockSkew(Duration ahead);
  // For programs that are started from now on, too.
  void SetEnvironment(std::string name, std::string value);

  // Whether it has power, and whether its program runs.
  bool up() const;
  bool running() const;
  // Whether the program has ended by itself, and how; a crash is no end.
  bool ended() const { return result().has_value(); }
  const std::optional<absl::Status>& result() const;
  // How often Run and Restart have started it.
  int boots() const;
  // The tree of its tasks, as FormatTasks gives it.
  std::string Tasks() const;
  SimDisk& disk();
  // Writes a line into the trace.
  void Note(std::string_view text);

 private:
  friend class detail::Machine;
  friend class SimNetwork;

  explicit SimHost(detail::Machine& machine) : machine_(machine) {}
  void Boot(detail::ProgramFactory factory);

  detail::Machine& machine_;
};

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options = {});
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;
  // Crashes every host.
  ~Simulation();

  // A name is given once (checked), and an address too.
  SimHost& AddHost(std::string name, const SimHostOptions& options = {});
  SimNetwork& network();

  // Lets that much time pass. OK, or the error a program ended with.
  absl::Status RunFor(Duration length);
  // Until `done` says true, which it is asked before each turn. An error also
  // when nothing can happen any more, FAILED_PRECONDITION, and after `limit` of
  // virtual time, DEADLINE_EXCEEDED: both with the trees of tasks.
  absl::Status RunUntil(const std::function<bool()>& done,
                        Duration limit = std::chrono::hours(1));
  // Until nothing can happen any more. OK if every program but those of hosts
  // that serve has ended; else it is a deadlock, FAILED_PRECONDITION with the
  // trees of tasks. DEADLINE_EXCEEDED as above.
  absl::Status RunUntilIdle(Duration limit = std::chrono::hours(1));

  // Calls `action` when that much time has passed, between two turns.
  void After(Duration delay, absl::AnyInvocable<void()> action);

  uint64_t seed() const;
  // Virtual time since the simulation was made.
  Duration elapsed() const;
  // The time as the loops read it.
  Time now() const;

  // What happened, a line each: seconds, host, event.
  const std::string& trace() const;
  // Of all that happened, also of what the trace doesn't tell: equal for equal
  // runs.
  uint64_t fingerprint() const;
  // The trees of tasks of all hosts.
  std::string Tasks() const;

 private:
  std::unique_ptr<detail::World> world_;
};

}  // namespace braid

#endif  // BRAID_BACKEND_SIM_SIMULATION_H_
