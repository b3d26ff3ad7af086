#include "braid/backend/sim/simulation.h"

#include <utility>

#include "braid/backend/sim/sim_backend.h"
#include "braid/backend/sim/world.h"

namespace braid {

SimHost* SimHost::CurrentOrNull() {
  const detail::SimBackend* backend = detail::SimBackend::CurrentOrNull();
  return backend == nullptr ? nullptr : &backend->machine().host();
}

const std::string& SimHost::name() const { return machine_.name(); }

SocketAddress SimHost::address(uint16_t port) const {
  return machine_.v4().WithPort(port);
}

SocketAddress SimHost::address_v6(uint16_t port) const {
  return machine_.v6().WithPort(port);
}

void SimHost::Boot(detail::ProgramFactory factory) {
  machine_.Boot(std::move(factory));
}

void SimHost::Crash() { machine_.Crash(); }
void SimHost::Restart() { machine_.Restart(); }
void SimHost::Signal(int signal) { machine_.Signal(signal); }
void SimHost::Pause() { machine_.Pause(true); }
void SimHost::Resume() { machine_.Pause(false); }
void SimHost::SetClockSkew(Duration ahead) { machine_.skew = ahead; }

void SimHost::SetEnvironment(std::string name, std::string value) {
  machine_.environment[std::move(name)] = std::move(value);
}

bool SimHost::up() const { return machine_.kernel() != nullptr; }
bool SimHost::running() const { return machine_.process() != nullptr; }

const std::optional<absl::Status>& SimHost::result() const {
  return machine_.result;
}

int SimHost::boots() const { return machine_.boots; }
SimDisk& SimHost::disk() { return machine_.disk(); }
std::string SimHost::Tasks() const { return machine_.Tasks(); }
void SimHost::Note(std::string_view text) { machine_.Trace(text); }

Simulation::Simulation(const SimulationOptions& options)
    : world_(std::make_unique<detail::World>(options)) {}

Simulation::~Simulation() = default;

SimHost& Simulation::AddHost(std::string name, const SimHostOptions& options) {
  return world_->AddMachine(std::move(name), options).host();
}

SimNetwork& Simulation::network() { return world_->network(); }

absl::Status Simulation::RunFor(Duration length) {
  return world_->RunFor(length);
}

absl::Status Simulation::RunUntil(const std::function<bool()>& done,
                                  Duration limit) {
  return world_->RunUntil(done, limit);
}

absl::Status Simulation::RunUntilIdle(Duration limit) {
  return world_->RunUntilIdle(limit);
}

void Simulation::After(Duration delay, absl::AnyInvocable<void()> action) {
  world_->events().Add(world_->now() + delay, std::move(action));
}

uint64_t Simulation::seed() const { return world_->options().seed; }
Duration Simulation::elapsed() const { return world_->elapsed(); }
Time Simulation::now() const { return world_->now(); }
const std::string& Simulation::trace() const { return world_->trace(); }
uint64_t Simulation::fingerprint() const { return world_->fingerprint(); }
std::string Simulation::Tasks() const { return world_->Tasks(); }

}  // namespace braid
