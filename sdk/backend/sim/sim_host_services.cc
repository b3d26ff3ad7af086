#include "braid/backend/sim/sim_host_services.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "braid/backend/signal_table.h"
#include "braid/backend/sim/faults.h"
#include "braid/backend/sim/world.h"

namespace braid::detail {
namespace {

// Of a question to a name server near by.
constexpr Duration kLookupTime = std::chrono::milliseconds(1);

// Until a thread takes up a job, at most.
constexpr Duration kMostThreadStart = std::chrono::microseconds(50);

// Those that tests may name (services(5)).
constexpr std::pair<std::string_view, uint16_t> kServices[] = {
    {"echo", 7},  {"ssh", 22},    {"domain", 53},
    {"http", 80}, {"https", 443}, {"postgresql", 5432},
};

std::optional<uint16_t> PortOf(const std::string& service) {
  if (service.empty()) return 0;
  for (const auto& [name, port] : kServices) {
    if (service == name) return port;
  }
  uint16_t port = 0;
  const char* end = service.data() + service.size();
  const auto [stop, error] = std::from_chars(service.data(), end, port);
  if (error != std::errc() || stop != end) return std::nullopt;
  return port;
}

Host::LookupResult Find(const World& world, const std::string& name,
                        const std::string& service) {
  const std::string what = "look up '" + name + "'";
  const std::optional<uint16_t> port = PortOf(service);
  if (!port.has_value()) {
    return absl::InvalidArgumentError(what + " port '" + service +
                                      "': there is no such service");
  }
  if (const auto address = SocketAddress::ParseHost(name, *port); address.ok())
    return std::vector<SocketAddress>{*address};
  if (name == "localhost") {
    return std::vector<SocketAddress>{SocketAddress::LoopbackV6(*port),
                                      SocketAddress::LoopbackV4(*port)};
  }
  const Machine* machine = world.FindByName(name);
  if (machine == nullptr) {
    return absl::NotFoundError(what +
                               ": the simulation has no host of that name");
  }
  return std::vector<SocketAddress>{machine->v4().WithPort(*port),
                                    machine->v6().WithPort(*port)};
}

uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }

}  // namespace

Host::WallTime SimHostServices::WallNow() {
  return machine_ == nullptr ? WallTime() : machine_->WallNow();
}

void SimHostServices::Randomize(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const uint64_t number =
        machine_ == nullptr ? 0 : machine_->entropy().Next();
    const size_t count = std::min(bytes.size(), sizeof number);
    std::memcpy(bytes.data(), &number, count);
    bytes = bytes.subspan(count);
  }
}

std::optional<std::string> SimHostServices::Environment(
    const std::string& name) {
  if (machine_ == nullptr) return std::nullopt;
  const auto found = machine_->environment.find(name);
  if (found == machine_->environment.end()) return std::nullopt;
  return found->second;
}

void SimHostServices::Lookup(std::string name, std::string service,
                             LookupDone done) {
  if (machine_ == nullptr) return;
  const InSimSystem in_system;
  const bool fails =
      FaultOf({"look up a name", EAGAIN}, [&] { return name; }) != 0;
  World& world = machine_->world();
  world.events().Add(
      world.now() + kLookupTime,
      [weak = weak_from_this(), name = std::move(name),
       service = std::move(service), done = std::move(done), fails]() mutable {
        const std::shared_ptr<SimHostServices> self = weak.lock();
        if (self == nullptr || self->machine_ == nullptr) return;
        if (fails) {
          return done(absl::UnavailableError("look up '" + name +
                                             "': no name server answers"));
        }
        done(Find(self->machine_->world(), name, service));
      });
}

// A job is begun, and then run as a whole when the time it takes is over; later
// where the machine is paused then. One whose program has ended meanwhile went
// with it.
absl::Status SimHostServices::StartJob(std::shared_ptr<HostJob> job) {
  if (machine_ == nullptr) return absl::OkStatus();
  const InSimSystem in_system;
  if (FaultOf({"start a thread", EAGAIN}, [&] { return job->name(); }) != 0) {
    return absl::ResourceExhaustedError(
        "start a thread for '" + job->name() +
        "': the simulated system has none left");
  }
  After(machine_->threads().Upto(kMostThreadStart),
        [this, job = std::move(job)]() mutable {
          if (!job->Begin()) return;
          After(machine_->threads().Upto(machine_->options().longest_job),
                [this, job = std::move(job)] {
                  const World::Turn turn(machine_->world());
                  const Loop::Elsewhere elsewhere;
                  job->Run();
                });
        });
  return absl::OkStatus();
}

void SimHostServices::After(Duration delay, absl::AnyInvocable<void()> action) {
  World& world = machine_->world();
  world.events().Add(
      world.now() + delay,
      [weak = weak_from_this(), action = std::move(action)]() mutable {
        const std::shared_ptr<SimHostServices> self = weak.lock();
        if (self == nullptr || self->machine_ == nullptr) return;
        if (self->machine_->paused) {
          self->paused_.push_back(std::move(action));
        } else {
          action();
        }
      });
}

void SimHostServices::Resume() {
  for (absl::AnyInvocable<void()>& action : std::exchange(paused_, {}))
    After({}, std::move(action));
}

absl::StatusOr<std::shared_ptr<ChildDescriptor>> SimHostServices::OpenChild(
    pid_t pid) {
  return absl::UnimplementedError("watch child " + std::to_string(pid) +
                                  ": the simulation has no processes");
}

absl::Status SimHostServices::Listen(SignalListener& listener,
                                     std::span<const int> signals) {
  const InSimSystem in_system;
  if (absl::Status status = CheckSignals(signals); !status.ok()) return status;
  uint64_t set = 0;
  for (const int signal : signals) set |= Bit(signal);
  listening_.push_back({&listener, set});
  return absl::OkStatus();
}

void SimHostServices::StopListening(SignalListener& listener) noexcept {
  std::erase_if(listening_, [&](const Listening& one) {
    return one.listener == &listener;
  });
}

void SimHostServices::Redeliver(std::span<const int> signals) noexcept {
  for (const int signal : signals) {
    const bool heard = std::ranges::any_of(
        listening_,
        [&](const Listening& one) { return (one.signals & Bit(signal)) != 0; });
    if (!heard && machine_ != nullptr) machine_->Signal(signal);
  }
}

bool SimHostServices::Deliver(int signal) {
  bool heard = false;
  for (const Listening& one : listening_) {
    if ((one.signals & Bit(signal)) == 0) continue;
    one.listener->OnSignal(signal);
    heard = true;
  }
  return heard;
}

}  // namespace braid::detail
