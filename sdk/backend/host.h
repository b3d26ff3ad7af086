// Host: the machine a program runs on, apart from its sockets and files.
//
// For: everything that would otherwise be a call into the operating system with
// a result that differs from run to run: the wall clock, random numbers,
// environment variables, names, signals, threads. A program reaches it through
// its backend (CurrentBackend().host()); a simulation gives each of its
// machines one of its own. Not for: the monotonic clock, which is Now(), and
// I/O, which is Backend.
//
// Threads: every member may be called from any thread.

#ifndef BRAID_BACKEND_HOST_H_
#define BRAID_BACKEND_HOST_H_

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/socket_address.h"

namespace braid {
namespace detail {
class ChildDescriptor;
}

// Hears of signals.
class SignalListener {
 public:
  // `signal` was delivered. Called from a signal handler, on any thread, and by
  // several at once: only what is async-signal-safe (signal-safety(7)) may be
  // done here.
  virtual void OnSignal(int signal) noexcept = 0;

 protected:
  ~SignalListener() = default;
};

// Work for a worker thread, of which a host has as many as it takes.
class HostJob {
 public:
  HostJob(const HostJob&) = delete;
  HostJob& operator=(const HostJob&) = delete;
  virtual ~HostJob() = default;

  // A thread takes it up, once. False: it isn't wanted any more, and is let go.
  virtual bool Begin() noexcept = 0;
  // Then, on the same thread; it may block.
  virtual void Run() noexcept = 0;

  // What the thread is called from then on, for ps and debuggers, which see the
  // first 15 bytes.
  const std::string& name() const { return name_; }

 protected:
  explicit HostJob(std::string name) : name_(std::move(name)) {}

 private:
  const std::string name_;
};

class Host {
 public:
  using WallTime = std::chrono::system_clock::time_point;
  // Addresses in the order in which they should be tried.
  using LookupResult = absl::StatusOr<std::vector<SocketAddress>>;
  using LookupDone = absl::AnyInvocable<void(LookupResult)>;

  Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  virtual ~Host() = default;

  // The time people know. It may jump either way: not for measuring.
  virtual WallTime WallNow() = 0;
  // Fills `bytes` with random ones that nobody can guess.
  virtual void Randomize(std::span<std::byte> bytes) = 0;
  uint64_t Random() {
    uint64_t number = 0;
    Randomize(std::as_writable_bytes(std::span(&number, 1)));
    return number;
  }
  // The value of an environment variable; nothing if it isn't set.
  virtual std::optional<std::string> Environment(const std::string& name) = 0;

  // Looks up the addresses of `name` ("example.org", "1.2.3.4") and the port of
  // `service` ("http", "80"), and calls `done` once, on some thread, maybe
  // before this returns. It can take as long as the name servers like, and
  // can't be stopped.
  virtual void Lookup(std::string name, std::string service,
                      LookupDone done) = 0;

  // Begins and runs `job` on a worker thread, in which all signals are blocked
  // and no loop runs, and then lets go of it. RESOURCE_EXHAUSTED, and the job
  // is let go at once: no thread is idle, and the system gives no new one. A
  // simulation runs it in its own thread, between two turns.
  virtual absl::Status StartJob(std::shared_ptr<HostJob> job) = 0;

  // What tells how the child `pid` of this process ends (child_process.h).
  // UNIMPLEMENTED in a simulation, which has no processes.
  virtual absl::StatusOr<std::shared_ptr<detail::ChildDescriptor>> OpenChild(
      pid_t pid) = 0;

  // From here on `signals` are told to `listener`, and don't do what they did
  // before. Several listeners may want the same one: each is told.
  virtual absl::Status Listen(SignalListener& listener,
                              std::span<const int> signals) = 0;
  // Ends that: `listener` isn't called any more once this returns, and a signal
  // that nobody listens to any more does what it did before.
  virtual void StopListening(SignalListener& listener) noexcept = 0;
  // Raises signals that were delivered but not dealt with, so that they aren't
  // lost. Those that somebody listens to are left out: that one has heard of
  // them.
  virtual void Redeliver(std::span<const int> signals) noexcept = 0;
};

// The machine itself.
std::shared_ptr<Host> MakeRealHost();

}  // namespace braid

#endif  // BRAID_BACKEND_HOST_H_
