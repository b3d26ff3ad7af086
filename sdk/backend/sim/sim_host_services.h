// The Host of a program in a simulation. Not for programs.

#ifndef BRAID_BACKEND_SIM_SIM_HOST_SERVICES_H_
#define BRAID_BACKEND_SIM_SIM_HOST_SERVICES_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "braid/backend/host.h"

namespace braid::detail {

class Machine;

// One per program: what outlives it (a look-up, a stream that hears of signals)
// finds that nobody is there any more.
class SimHostServices final
    : public Host,
      public std::enable_shared_from_this<SimHostServices> {
 public:
  explicit SimHostServices(Machine& machine) : machine_(&machine) {}

  WallTime WallNow() override;
  void Randomize(std::span<std::byte> bytes) override;
  std::optional<std::string> Environment(const std::string& name) override;
  void Lookup(std::string name, std::string service, LookupDone done) override;
  absl::Status StartJob(std::shared_ptr<HostJob> job) override;
  absl::Status Listen(SignalListener& listener,
                      std::span<const int> signals) override;
  void StopListening(SignalListener& listener) noexcept override;
  void Redeliver(std::span<const int> signals) noexcept override;

  // Tells those who listen. False: nobody does.
  bool Deliver(int signal);
  // The program has ended.
  void Detach() { machine_ = nullptr; }

 private:
  struct Listening {
    SignalListener* listener;
    uint64_t signals;
  };

  Machine* machine_;
  std::vector<Listening> listening_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_SIM_HOST_SERVICES_H_
