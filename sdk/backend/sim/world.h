// The inside of a simulation: its clock, its machines, and who has the next
// turn. Not for programs.

#ifndef BRAID_BACKEND_SIM_WORLD_H_
#define BRAID_BACKEND_SIM_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "braid/backend/sim/disk.h"
#include "braid/backend/sim/event_queue.h"
#include "braid/backend/sim/kernel.h"
#include "braid/backend/sim/network.h"
#include "braid/backend/sim/random.h"
#include "braid/backend/sim/sim_backend.h"
#include "braid/backend/sim/sim_host_services.h"
#include "braid/backend/sim/simulation.h"
#include "braid/core/detail/loop.h"
#include "braid/core/time.h"

namespace braid::detail {

// A program from its start to its end.
class Process {
 public:
  // `program` is nullptr for one that somebody else runs: see Attach.
  Process(Machine& machine, std::unique_ptr<Program> program, uint64_t seed);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  // Abandons the loop, if it still runs.
  ~Process();

  const std::shared_ptr<SimHostServices>& services() const { return services_; }
  Loop* loop() const { return loop_; }
  bool finished() const { return loop_ != nullptr && loop_->finished(); }
  bool Runnable(Time now) const {
    return loop_ != nullptr && !loop_->finished() &&
           (more_ || loop_->has_work() || loop_->next_deadline() <= now);
  }
  void Turn();
  // Ends the loop. Tasks that are still there are destroyed, without running
  // but their destructors.
  void End(std::string_view why);
  absl::Status TakeResult() { return program_->TakeResult(); }

  // For a loop that braid::Run made and has bound to this thread.
  void Attach(Loop* loop) { loop_ = loop; }

 private:
  std::shared_ptr<SimHostServices> services_;
  std::unique_ptr<Program> program_;
  std::optional<SimBackend> own_backend_;
  std::optional<Loop> own_loop_;
  Loop* loop_ = nullptr;
  bool more_ = false;
};

// What a SimHost stands for.
class Machine {
 public:
  Machine(World& world, size_t index, std::string name, SocketAddress v4,
          SocketAddress v6, const SimHostOptions& options);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  World& world() const { return world_; }
  size_t index() const { return index_; }
  const std::string& name() const { return name_; }
  const SocketAddress& v4() const { return v4_; }
  const SocketAddress& v6() const { return v6_; }
  const SimHostOptions& options() const { return options_; }
  SimHost& host() { return host_; }
  SimRandom& random() { return random_; }    // of the kernel
  SimRandom& entropy() { return entropy_; }  // of programs
  SimRandom& threads() { return threads_; }  // of how long jobs take
  SimDisk& disk() { return disk_; }
  Host::WallTime WallNow() const;
  Kernel* kernel() const { return kernel_.get(); }
  Process* process() const { return process_.get(); }

  void Boot(ProgramFactory factory);
  // For a backend on which braid::Run runs loops of its own.
  std::shared_ptr<Host> BootAttached();
  // The rest may be called at any time: what can't be done during a turn is
  // done after it.
  void Crash();
  void Restart();
  void Kill(std::string why);
  void Signal(int signal);
  void Pause(bool paused);
  // Ends the program if it has ended by itself.
  void Reap();

  bool Runnable(Time now) const {
    return process_ != nullptr && !paused && process_->Runnable(now);
  }
  Time next_deadline() const {
    return process_ == nullptr || paused || process_->loop() == nullptr ||
                   process_->finished()
               ? kNever
               : process_->loop()->next_deadline();
  }
  std::string Tasks() const;
  void Trace(std::string_view text) const;

  bool paused = false;
  Duration skew{};
  std::map<std::string, std::string> environment;
  std::optional<absl::Status> result;
  int boots = 0;

 private:
  void StartProgram();
  // Abandons it.
  void EndProgram(std::string_view why);

  World& world_;
  const size_t index_;
  const std::string name_;
  const SocketAddress v4_;
  const SocketAddress v6_;
  const SimHostOptions options_;
  SimHost host_;
  SimRandom random_;
  SimRandom entropy_;
  SimRandom threads_;
  SimDisk disk_;
  ProgramFactory factory_;
  std::shared_ptr<Kernel> kernel_;
  std::unique_ptr<Process> process_;
};

class World {
 public:
  explicit World(const SimulationOptions& options);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  Machine& AddMachine(std::string name, const SimHostOptions& options);
  Machine* FindByName(std::string_view name) const;
  Machine* FindByAddress(const SocketAddress& address) const;
  // Whether the network leads there at all.
  static bool Routes(const SocketAddress& address);

  const SimulationOptions& options() const { return options_; }
  Time now() const { return now_; }
  Duration elapsed() const { return now_ - kStart; }
  EventQueue& events() { return events_; }
  SimNetwork& network() { return network_; }
  void Send(Machine& from, Packet packet) {
    network_.Send(from, std::move(packet));
  }
  size_t MtuBetween(const Machine& from, const SocketAddress& to) const {
    return network_.MtuBetween(from, to);
  }
  // Of the first byte of a new connection.
  uint64_t NextSequence() {
    return next_sequence_ += Packet::kNumbersPerConnection;
  }
  const std::vector<std::unique_ptr<Machine>>& machines() const {
    return machines_;
  }

  // Lets somebody do something, at most until `limit`, which the clock then
  // shows. False: that time has come.
  bool Step(Time limit);
  // Nothing can happen any more by itself.
  bool idle() const;
  // For a SimBackend that drives a loop of braid::Run.
  void RunAttached(Machine& machine, Loop& loop,
                   const std::function<void(Loop&)>& before_step);

  absl::Status RunFor(Duration length);
  absl::Status RunUntil(const std::function<bool()>& done, Duration limit);
  absl::Status RunUntilIdle(Duration limit);

  // Calls `action` now, or after the turn that is under way.
  void BetweenTurns(absl::AnyInvocable<void()> action);
  // While one lives, BetweenTurns waits.
  class Turn {
   public:
    explicit Turn(World& world) : world_(world) { ++world_.in_turn_; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { --world_.in_turn_; }

   private:
    World& world_;
  };
  // A program has ended with an error.
  void Failed(const Machine& machine, const absl::Status& status);

  bool tracing() const { return options_.trace; }
  void Trace(const Machine* machine, std::string_view text);
  void Stir(uint64_t number) {
    fingerprint_ = (fingerprint_ ^ number) * 0x100000001b3;
  }
  const std::string& trace() const { return trace_; }
  uint64_t fingerprint() const { return fingerprint_; }
  std::string Tasks() const;

 private:
  // Not zero, so that a point in time taken for a length of time is noticed.
  static constexpr Time kStart = Time(Duration(1'000'000'000'000));
  // How often tasks are switched without time passing before a spinning program
  // is assumed, and how long one of its turns takes then.
  static constexpr uint64_t kSwitchesAtOnce = 100'000;
  static constexpr Duration kSpinTurn = std::chrono::microseconds(1);

  bool RunDeferred();  // false: there was nothing
  absl::Status WithSeed(absl::StatusCode code, std::string message) const;
  // What programs have failed of since it was asked last; OK if of nothing.
  absl::Status TakeFailure();
  Time After(Duration length) const { return Add(now_, length); }

  const SimulationOptions options_;
  Time now_ = kStart;
  EventQueue events_;
  SimRandom schedule_;
  SimNetwork network_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::map<AddressKey, Machine*> addresses_;
  std::vector<Machine*> runnable_;
  std::vector<absl::AnyInvocable<void()>> deferred_;
  std::vector<absl::Status> failures_;
  uint64_t next_sequence_ = 0;
  uint64_t switches_at_once_ = 0;
  int in_turn_ = 0;
  std::string trace_;
  uint64_t fingerprint_ = 0xcbf29ce484222325;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_WORLD_H_
