// The machine itself, as a Host.

#include <netdb.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "braid/backend/child_process.h"
#include "braid/backend/errno_status.h"
#include "braid/backend/host.h"
#include "braid/backend/signal_table.h"
#include "braid/backend/worker_pool.h"
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

// Runs look-ups on worker threads, which nobody waits for in the end: one may
// hang as long as a name server likes.
class Lookups final : public std::enable_shared_from_this<Lookups> {
 public:
  struct Question {
    std::string name;
    std::string service;
    Host::LookupDone done;
  };

  void Add(Question question, detail::WorkerPool& workers) {
    {
      const std::lock_guard lock(mutex_);
      questions_.push_back(std::move(question));
      if (threads_ == kMaxLookupThreads) return;
      ++threads_;
    }
    const absl::Status status =
        workers.Start(std::make_shared<Job>(shared_from_this()));
    if (status.ok()) return;
    std::deque<Question> unanswered;
    {
      const std::lock_guard lock(mutex_);
      if (--threads_ > 0) return;  // another thread answers it
      unanswered = std::exchange(questions_, {});
    }
    for (Question& one : unanswered) one.done(status);
  }

 private:
  class Job final : public HostJob {
   public:
    explicit Job(std::shared_ptr<Lookups> lookups)
        : HostJob("look up"), lookups_(std::move(lookups)) {}
    bool Begin() noexcept override { return true; }
    void Run() noexcept override { lookups_->Work(); }

   private:
    const std::shared_ptr<Lookups> lookups_;
  };

  void Work() {
    for (;;) {
      Question question;
      {
        const std::lock_guard lock(mutex_);
        if (questions_.empty()) {
          --threads_;
          return;
        }
        question = std::move(questions_.front());
        questions_.pop_front();
      }
      question.done(LookupNow(question.name, question.service));
    }
  }

  std::mutex mutex_;
  std::deque<Question> questions_;
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
    lookups_->Add({std::move(name), std::move(service), std::move(done)},
                  workers_);
  }

  absl::Status StartJob(std::shared_ptr<HostJob> job) override {
    return workers_.Start(std::move(job));
  }

  absl::StatusOr<std::shared_ptr<detail::ChildDescriptor>> OpenChild(
      pid_t pid) override {
    return detail::OpenChild(pid);
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
  detail::WorkerPool workers_;
  std::shared_ptr<Lookups> lookups_ = std::make_shared<Lookups>();
};

}  // namespace

std::shared_ptr<Host> MakeRealHost() { return std::make_shared<RealHost>(); }

}  // namespace braid
