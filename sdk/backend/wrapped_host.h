// WrappedHost: the machine itself, of which a test replaces what it likes.
//
//   class NoThreads final : public WrappedHost {
//    public:
//     absl::Status StartJob(std::shared_ptr<HostJob>) override { ... }
//   };
//
//   MakeAsioBackend(std::make_shared<NoThreads>());

#ifndef BRAID_BACKEND_WRAPPED_HOST_H_
#define BRAID_BACKEND_WRAPPED_HOST_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "braid/backend/host.h"

namespace braid {

class WrappedHost : public Host {
 public:
  WallTime WallNow() override { return real_->WallNow(); }
  void Randomize(std::span<std::byte> bytes) override {
    real_->Randomize(bytes);
  }
  std::optional<std::string> Environment(const std::string& name) override {
    return real_->Environment(name);
  }
  void Lookup(std::string name, std::string service, LookupDone done) override {
    real_->Lookup(std::move(name), std::move(service), std::move(done));
  }
  absl::Status StartJob(std::shared_ptr<HostJob> job) override {
    return real_->StartJob(std::move(job));
  }
  absl::StatusOr<std::shared_ptr<detail::ChildDescriptor>> OpenChild(
      pid_t pid) override {
    return real_->OpenChild(pid);
  }
  absl::Status Listen(SignalListener& listener,
                      std::span<const int> signals) override {
    return real_->Listen(listener, signals);
  }
  void StopListening(SignalListener& listener) noexcept override {
    real_->StopListening(listener);
  }
  void Redeliver(std::span<const int> signals) noexcept override {
    real_->Redeliver(signals);
  }

 private:
  const std::shared_ptr<Host> real_ = MakeRealHost();
};

}  // namespace braid

#endif  // BRAID_BACKEND_WRAPPED_HOST_H_
