// The machine itself, as a Host.

#include <netdb.h>
#include <signal.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "braid/backend/errno_status.h"
#include "braid/backend/host.h"
#include "braid/backend/signal_table.h"
#include "braid/core/check.h"

namespace braid {
namespace {

// Look-ups that wait for name servers at the same time; more wait for one of
// these to end.
constexpr int kMaxLookupThreads = 16;

std::string Quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

absl::Status LookupError(int error, int system_error, const std::string& name,
                         const std::string& service) {
  const std::string what = "look up " + Quoted(name) +
                           (service.empty() ? "" : " port " + Quoted(service)) +
                           ": ";
  if (error == EAI_SYSTEM)
    return ErrnoStatus(system_error, "look up " + Quoted(name));
  const std::string message = what + gai_strerror(error);
  switch (error) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
      return absl::NotFoundError(message);
    case EAI_AGAIN:
      return absl::UnavailableError(message);
    case EAI_SERVICE:
      return absl::InvalidArgumentError(message);
    case EAI_MEMORY:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnknownError(message);
  }
}

Host::LookupResult LookupNow(const std::string& name,
                             const std::string& service) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;  // or every address comes once for each type
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(
      name.c_str(), service.empty() ? nullptr : service.c_str(), &hints, &list);
  if (error != 0) return LookupError(error, errno, name, service);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    SocketAddress address;
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    if (entry->ai_addrlen > SocketAddress::kCapacity) continue;
    std::memcpy(address.raw(), entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(address);
  }
  ::freeaddrinfo(list);
  if (addresses.empty())
    return absl::NotFoundError("look up " + Quoted(name) +
                               ": it has no IP address");
  return addresses;
}

// Runs look-ups on threads of their own, which nobody waits for in the end: one
// may hang as long as a name server likes.
class Lookups : public std::enable_shared_from_this<Lookups> {
 public:
  struct Job {
    std::string name;
    std::string service;
    Host::LookupDone done;
  };

  void Add(Job job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
      if (threads_ == kMaxLookupThreads) return;
      ++threads_;
    }
    // A new thread inherits the mask: signals are for the threads of the
    // program.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([self = shared_from_this()] { self->Work(); }).detach();
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

 private:
  void Work() {
    for (;;) {
      Job job;
      {
        const std::lock_guard lock(mutex_);
        if (jobs_.empty()) {
          --threads_;
          return;
        }
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job.done(LookupNow(job.name, job.service));
    }
  }

  std::mutex mutex_;
  std::deque<Job> jobs_;
  int threads_ = 0;
};

class RealHost final : public Host {
 public:
  WallTime WallNow() override { return std::chrono::system_clock::now(); }

  void Randomize(std::span<std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
      detail::Check(got > 0 || errno == EINTR,
                    "the system gives no random numbers (getrandom)");
      if (got > 0) bytes = bytes.subspan(static_cast<size_t>(got));
    }
  }

  std::optional<std::string> Environment(const std::string& name) override {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  }

  void Lookup(std::string name, std::string service, LookupDone done) override {
    lookups_->Add({std::move(name), std::move(service), std::move(done)});
  }

  absl::Status Listen(SignalListener& listener,
                      std::span<const int> signals) override {
    return detail::ListenForSignals(listener, signals);
  }
  void StopListening(SignalListener& listener) noexcept override {
    detail::StopListeningForSignals(listener);
  }
  void Redeliver(std::span<const int> signals) noexcept override {
    detail::RedeliverSignals(signals);
  }

 private:
  std::shared_ptr<Lookups> lookups_ = std::make_shared<Lookups>();
};

}  // namespace

std::shared_ptr<Host> MakeRealHost() { return std::make_shared<RealHost>(); }

}  // namespace braid
