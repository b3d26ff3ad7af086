#include "braid/backend/sim/world.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "braid/backend/signal_table.h"
#include "braid/backend/sim/faults.h"
#include "braid/core/status.h"
#include "braid/core/task_tree.h"

namespace braid::detail {
namespace {

std::string Indented(const std::string& text) {
  std::string indented;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    indented += "  " + text.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return indented;
}

}  // namespace

Process::Process(Machine& machine, std::unique_ptr<Program> program,
                 uint64_t seed)
    : services_(std::make_shared<SimHostServices>(machine)),
      program_(std::move(program)) {
  if (program_ == nullptr) return;
  own_backend_.emplace(machine, services_);
  // Short turns and long ones, so that programs meet in many ways.
  const int budget = 1 + static_cast<int>(SimRandom(seed).Below(64));
  own_loop_.emplace(*own_backend_,
                    LoopOptions{.shuffle_seed = seed, .turn_budget = budget});
  loop_ = &*own_loop_;
  const Loop::Binding binding(*loop_);
  program_->Start(*loop_);
}

Process::~Process() { End("the simulation has ended"); }

void Process::Turn() {
  if (own_loop_.has_value()) {
    const Loop::Binding binding(*loop_);
    more_ = loop_->Turn();
  } else {
    more_ = loop_->Turn();
  }
}

void Process::End(std::string_view why) {
  if (loop_ != nullptr && !loop_->finished()) {
    std::optional<Loop::Binding> binding;
    if (own_loop_.has_value()) binding.emplace(*loop_);
    loop_->CancelRoot(why);
    if (!loop_->Abandon()) {
      const std::string text =
          "a task waits in an operation that can't be withdrawn, and so can't "
          "be crashed:\n" +
          FormatTasks(LiveTasks(*loop_));
      CheckFailed(text.c_str(), std::source_location::current());
    }
  }
  if (!own_loop_.has_value()) return;
  services_->Detach();
  loop_ = nullptr;
  own_loop_.reset();
}

Machine::Machine(World& world, size_t index, std::string name, SocketAddress v4,
                 SocketAddress v6, const SimHostOptions& options)
    : world_(world),
      index_(index),
      name_(std::move(name)),
      v4_(v4),
      v6_(v6),
      options_(options),
      host_(*this),
      random_(SimRandom::Derive(world.options().seed, "kernel", index)),
      entropy_(SimRandom::Derive(world.options().seed, "entropy", index)),
      threads_(SimRandom::Derive(world.options().seed, "threads", index)),
      disk_(*this, options.disk,
            SimRandom::Derive(world.options().seed, "disk", index)) {}

Host::WallTime Machine::WallNow() const {
  const Duration since_epoch =
      std::chrono::seconds(world_.options().start_of_wall_time) +
      world_.elapsed() + skew;
  return Host::WallTime(
      std::chrono::duration_cast<Host::WallTime::duration>(since_epoch));
}

void Machine::Trace(std::string_view text) const { world_.Trace(this, text); }

void Machine::Boot(ProgramFactory factory) {
  Check(process_ == nullptr,
        "a host runs one program at a time; Crash it, or let it end, first");
  factory_ = std::move(factory);
  world_.BetweenTurns([this] { StartProgram(); });
}

std::shared_ptr<Host> Machine::BootAttached() {
  kernel_ = std::make_shared<Kernel>(*this);
  process_ = std::make_unique<Process>(*this, nullptr, 0);
  return process_->services();
}

void Machine::StartProgram() {
  Check(process_ == nullptr,
        "a host runs one program at a time; Crash it, or let it end, first");
  if (kernel_ == nullptr) kernel_ = std::make_shared<Kernel>(*this);
  ++boots;
  paused = false;
  result.reset();
  Trace("starts");
  const World::Turn turn(world_);
  process_ = std::make_unique<Process>(
      *this, factory_(),
      SimRandom::Derive(world_.options().seed, "tasks",
                        index_ << 32 | static_cast<uint64_t>(boots)));
}

void Machine::EndProgram(std::string_view why) {
  const World::Turn turn(world_);
  if (process_ != nullptr && process_->services() != nullptr &&
      factory_ == nullptr) {
    process_->End(why);  // of somebody else's loop, who sees that it is over
    return;
  }
  process_.reset();
}

void Machine::Crash() {
  world_.BetweenTurns([this] {
    if (kernel_ == nullptr) return;
    Trace("crashes");
    // First the kernel, so that what destructors close sends nothing.
    kernel_->Die();
    EndProgram("the host crashed");
    disk_.Crash();
    kernel_.reset();
  });
}

void Machine::Restart() {
  Check(factory_ != nullptr, "a host that never ran a program is restarted");
  Crash();
  world_.BetweenTurns([this] { StartProgram(); });
}

void Machine::Kill(std::string why) {
  world_.BetweenTurns([this, why = std::move(why)] {
    if (process_ == nullptr) return;
    Trace(why);
    EndProgram(why);
    if (kernel_ != nullptr) kernel_->Flush();
  });
}

void Machine::Signal(int signal) {
  Trace(SignalName(signal));
  if (process_ == nullptr) return;
  const std::shared_ptr<SimHostServices> services = process_->services();
  if (signal == SIGCONT) Pause(false);
  if (signal == SIGSTOP) return Pause(true);
  if (signal != SIGKILL && services->Deliver(signal)) return;
  switch (signal) {  // signal(7)
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
      return;
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return Pause(true);
    default:
      return Kill("killed by " + SignalName(signal));
  }
}

void Machine::Pause(bool pause) {
  world_.BetweenTurns([this, pause] {
    if (paused == pause) return;
    paused = pause;
    Trace(pause ? "pauses" : "resumes");
    if (!pause && process_ != nullptr) process_->services()->Resume();
  });
}

void Machine::Reap() {
  if (process_ == nullptr || factory_ == nullptr || !process_->finished())
    return;
  const std::unique_ptr<Process> ended = std::move(process_);
  ended->End("");
  result = absl::InternalError("an exception left the program");
  const absl::Status status = ended->TakeResult();
  result = status;
  Trace("ends: " + status.ToString());
  if (!status.ok()) world_.Failed(*this, status);
}

std::string Machine::Tasks() const {
  if (process_ == nullptr || process_->loop() == nullptr) return "";
  return FormatTasks(LiveTasks(*process_->loop()));
}

World::World(const SimulationOptions& options)
    : options_(options),
      schedule_(SimRandom::Derive(options.seed, "schedule")),
      network_(*this, options.link,
               SimRandom::Derive(options.seed, "network")) {}

World::~World() {
  in_turn_ = 1;  // nothing that is asked for now is done
  for (const auto& machine : machines_) {
    if (machine->kernel() != nullptr) machine->kernel()->Die();
  }
  events_.Clear();
  machines_.clear();
  deferred_.clear();
}

Machine& World::AddMachine(std::string name, const SimHostOptions& options) {
  Check(FindByName(name) == nullptr && !name.empty(),
        "two hosts of a simulation have the same name, or one has none");
  const size_t index = machines_.size();
  const auto number = static_cast<uint16_t>(index + 1);
  const auto high = static_cast<uint8_t>(number >> 8);
  const auto low = static_cast<uint8_t>(number & 0xff);
  SocketAddress v4 =
      SocketAddress::V4(std::array<uint8_t, 4>{10, 0, high, low}, 0);
  if (!options.address.empty()) {
    const absl::StatusOr<SocketAddress> parsed =
        SocketAddress::ParseHost(options.address, 0);
    Check(parsed.ok() && parsed->is_v4() && Routes(*parsed),
          "the address of a host lies in 10.0.0.0/8");
    v4 = *parsed;
  }
  std::array<uint8_t, 16> bytes = {0xfd};
  bytes[14] = high;
  bytes[15] = low;
  const SocketAddress v6 = SocketAddress::V6(bytes, 0);
  machines_.push_back(std::make_unique<Machine>(*this, index, std::move(name),
                                                v4, v6, options));
  Machine& machine = *machines_.back();
  Check(addresses_.emplace(KeyOf(v4), &machine).second,
        "two hosts of a simulation have the same address");
  addresses_.emplace(KeyOf(v6), &machine);
  return machine;
}

Machine* World::FindByName(std::string_view name) const {
  for (const auto& machine : machines_) {
    if (machine->name() == name) return machine.get();
  }
  return nullptr;
}

Machine* World::FindByAddress(const SocketAddress& address) const {
  const auto found = addresses_.find(KeyOf(address.WithPort(0)));
  return found == addresses_.end() ? nullptr : found->second;
}

bool World::Routes(const SocketAddress& address) {
  return address.bytes()[0] == (address.is_v4() ? 10 : 0xfd);
}

void World::BetweenTurns(absl::AnyInvocable<void()> action) {
  if (in_turn_ > 0) {
    deferred_.push_back(std::move(action));
  } else {
    action();
  }
}

bool World::RunDeferred() {
  if (deferred_.empty()) return false;
  for (absl::AnyInvocable<void()>& action : std::exchange(deferred_, {}))
    action();
  return true;
}

bool World::Step(Time limit) {
  if (RunDeferred() || events_.RunNext(now_)) return true;
  runnable_.clear();
  for (const auto& machine : machines_) {
    if (machine->Runnable(now_)) runnable_.push_back(machine.get());
  }
  if (!runnable_.empty()) {
    if (switches_at_once_ > kSwitchesAtOnce) {
      if (now_ >= limit) return false;
      now_ = std::min({now_ + kSpinTurn, limit, events_.next()});
    }
    Machine& machine = *runnable_[schedule_.Below(runnable_.size())];
    const uint64_t before = machine.process()->loop()->stats().switches;
    {
      const Turn turn(*this);
      machine.process()->Turn();
      if (sim_faults != nullptr) [[unlikely]]
        sim_faults->TurnEnded(*machine.process()->loop());
    }
    const uint64_t after = machine.process()->loop()->stats().switches;
    switches_at_once_ += after - before;
    Stir(machine.index());
    Stir(after);
    machine.Reap();
    return true;
  }
  Time next = events_.next();
  for (const auto& machine : machines_)
    next = std::min(next, machine->next_deadline());
  if (next > limit || next == kNever) {
    if (limit != kNever) now_ = std::max(now_, limit);
    switches_at_once_ = 0;
    return false;
  }
  now_ = next;
  switches_at_once_ = 0;
  return true;
}

bool World::idle() const {
  if (!events_.idle() || !deferred_.empty()) return false;
  return std::ranges::all_of(machines_, [&](const auto& machine) {
    return !machine->Runnable(now_) && machine->next_deadline() == kNever;
  });
}

void World::RunAttached(Machine& machine, Loop& loop,
                        const std::function<void(Loop&)>& before_step) {
  machine.process()->Attach(&loop);
  while (!loop.finished()) {
    if (before_step != nullptr) before_step(loop);
    if (!idle() && Step(kNever)) continue;
    if (loop.finished()) break;
    const std::string tree = FormatTasks(LiveTasks(loop));
    if (sim_faults != nullptr) sim_faults->Deadlocked(tree);
    if (loop.root() == nullptr || loop.root()->due()) {
      const std::string text =
          "every task waits for what can't happen, and doesn't stop when "
          "cancelled; look for a shield without limit\n" +
          tree;
      CheckFailed(text.c_str(), std::source_location::current());
    }
    loop.CancelRoot(
        "deadlock: every task waits for something that can't happen any "
        "more\n" +
        tree);
  }
  machine.process()->Attach(nullptr);
}

absl::Status World::WithSeed(absl::StatusCode code, std::string message) const {
  message += " (seed " + std::to_string(options_.seed) + ", at " +
             std::to_string(elapsed() / std::chrono::microseconds(1)) + " us)";
  return absl::Status(code, message);
}

void World::Failed(const Machine& machine, const absl::Status& status) {
  failures_.push_back(WithSeed(
      status.code(), machine.name() + ": " + std::string(status.message())));
}

absl::Status World::TakeFailure() {
  if (failures_.empty()) return absl::OkStatus();
  std::vector<absl::Status> failures = std::exchange(failures_, {});
  absl::Status first = std::move(failures.front());
  failures.erase(failures.begin());
  return WithSuppressed(std::move(first), failures);
}

absl::Status World::RunFor(Duration length) {
  const Time limit = After(length);
  while (Step(limit)) {
    if (!failures_.empty()) break;
  }
  return TakeFailure();
}

absl::Status World::RunUntil(const std::function<bool()>& done,
                             Duration length) {
  const Time limit = After(length);
  for (;;) {
    if (!failures_.empty()) return TakeFailure();
    if (done()) return absl::OkStatus();
    if (idle()) {
      if (sim_faults != nullptr) sim_faults->Deadlocked(Tasks());
      return WithSeed(absl::StatusCode::kFailedPrecondition,
                      "what was waited for can't happen any more\n" + Tasks());
    }
    if (!Step(limit)) {
      if (done()) return absl::OkStatus();
      return WithSeed(absl::StatusCode::kDeadlineExceeded,
                      "what was waited for has not happened\n" + Tasks());
    }
  }
}

absl::Status World::RunUntilIdle(Duration length) {
  const Time limit = After(length);
  for (;;) {
    if (!failures_.empty()) return TakeFailure();
    if (idle()) break;
    if (!Step(limit)) {
      return WithSeed(absl::StatusCode::kDeadlineExceeded,
                      "something happens again and again\n" + Tasks());
    }
  }
  for (const auto& machine : machines_) {
    if (machine->process() != nullptr && !machine->options().serves) {
      if (sim_faults != nullptr) sim_faults->Deadlocked(Tasks());
      return WithSeed(absl::StatusCode::kFailedPrecondition,
                      "deadlock: every task waits for something that can't "
                      "happen any more\n" +
                          Tasks());
    }
  }
  return absl::OkStatus();
}

void World::Trace(const Machine* machine, std::string_view text) {
  char time[32];
  const int64_t ns = elapsed().count();
  std::snprintf(time, sizeof time, "%lld.%09lld ",
                static_cast<long long>(ns / 1'000'000'000),
                static_cast<long long>(ns % 1'000'000'000));
  std::string line = time;
  if (machine != nullptr) line += machine->name() + " ";
  line += text;
  line += '\n';
  for (const char c : line) Stir(static_cast<unsigned char>(c));
  if (!options_.trace) return;
  if (trace_.size() + line.size() > options_.max_trace_bytes) {
    const size_t half = trace_.find('\n', trace_.size() / 2);
    trace_.erase(0, half == std::string::npos ? half : half + 1);
  }
  trace_ += line;
}

std::string World::Tasks() const {
  std::string text;
  for (const auto& machine : machines_) {
    const std::string tasks = machine->Tasks();
    if (tasks.empty()) continue;
    text += machine->name() + (machine->paused ? " (paused):\n" : ":\n") +
            Indented(tasks);
  }
  return text;
}

}  // namespace braid::detail
