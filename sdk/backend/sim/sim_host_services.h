// The Host of a program in a simulation. Not for programs.

#ifndef BRAID_BACKEND_SIM_SIM_HOST_SERVICES_H_
#define BRAID_BACKEND_SIM_SIM_HOST_SERVICES_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "braid/backend/host.h"
#include "braid/core/time.h"

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
  absl::StatusOr<std::shared_ptr<detail::ChildDescriptor>> OpenChild(
      pid_t pid) override;
  absl::Status Listen(SignalListener& listener,
                      std::span<const int> signals) override;
  void StopListening(SignalListener& listener) noexcept override;
  void Redeliver(std::span<const int> signals) noexcept override;

  // Tells those who listen. False: nobody does.
  bool Deliver(int signal);
  // It was paused, and is no longer: what its threads were to do is done now.
  void Resume();
  // The program has ended.
  void Detach() { machine_ = nullptr; }

 private:
  struct Listening {
    SignalListener* listener;
    uint64_t signals;
  };

  // On a thread of the program: not while the machine is paused, nor once the
  // program has ended.
  void After(Duration delay, absl::AnyInvocable<void()> action);

  Machine* machine_;
  std::vector<Listening> listening_;
  std::vector<absl::AnyInvocable<void()>> paused_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_SIM_HOST_SERVICES_H_
