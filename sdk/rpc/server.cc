#include "braid/rpc/server.h"

#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/scope.h"
#include "braid/core/finally.h"
#include "braid/core/operation.h"
#include "braid/core/or_return.h"
#include "braid/core/sleep.h"
#include "braid/core/stop_request.h"
#include "braid/core/timeout.h"
#include "braid/core/with_background.h"
#include "braid/rpc/detail/make_transport.h"
#include "braid/rpc/detail/until.h"
#include "braid/rpc/reflection.h"

namespace braid::rpc {
namespace {

using braid::detail::Check;
using braid::detail::Loop;
using detail::ServerCall;

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

// Calls of methods that aren't there.
constexpr Method kUnknown("/unknown/unknown", MethodKind::kBidiStreaming);

class UnknownService final : public Service {
 public:
  UnknownService() : Service("unknown", {}) {}

  static Task<absl::Status> Handle(Service&, ServerCall& call) {
    co_return absl::UnimplementedError(
        absl::StrCat("the server has no method ", View(call.wire_path())));
  }
};

}  // namespace

class Server::Core final : private CallAcceptor, private detail::CallHost {
 public:
  explicit Core(ServerOptions options)
      : options_(std::move(options)), unknown_observer_(ObserverFor(kUnknown)) {
    Add(health_.service());
  }
  ~Core() {
    Check(!scope_.linked(),
          "an rpc::Server is destroyed while it serves; await Serve's end");
  }

  void Add(Service& service) {
    Check(transport_ == nullptr,
          "a service is added to an rpc::Server that listens already");
    names_.emplace_back(service.name());
    for (const Service::Entry& entry : service.methods()) {
      const bool added =
          methods_
              .emplace(entry.method().path(),
                       Served{&service, &entry, ObserverFor(entry.method())})
              .second;
      Check(added, "two services of one name are added to an rpc::Server");
    }
  }

  absl::Status Listen() {
    Check(transport_ == nullptr, "an rpc::Server listens twice");
    if (options_.reflection && reflection_.empty()) {
      reflection_ = MakeReflection(names_);
      for (const auto& service : reflection_) Add(*service);
    }
    std::shared_ptr<ServerTransport> transport =
        options_.transport != nullptr ? options_.transport
                                      : detail::MakeServerTransport(options_);
    absl::StatusOr<std::vector<int>> ports = transport->Listen(*this);
    if (!ports.ok()) return ports.status();
    ports_ = *std::move(ports);
    transport_ = std::move(transport);
    return absl::OkStatus();
  }

  int port(size_t index) const {
    Check(index < ports_.size(),
          "the port of an address that an rpc::Server doesn't listen on; call "
          "Listen first");
    return ports_[index];
  }

  Task<absl::Status> Serve() {
    if (transport_ == nullptr) co_await OrReturn(Listen());
    Check(!begun_, "an rpc::Server serves twice; make a new one");
    begun_ = true;
    Loop& loop = Loop::Current();
    // Beside the scopes of this task, not inside them: handlers must not hear
    // of the stop before the lame-duck time is over. Clean-up below ends them
    // with this task.
    scope_.SetShield(true);
    scope_.Link(loop, loop.root(), nullptr);
    // The handlers' tasks lie beside this one, and use services that go after
    // it. Where clean-ups don't run (the host of a simulation crashes), it is
    // the guard that keeps this frame until they have ended.
    const Leaving leaving(*this);
    co_return co_await WithBackground(
        Operation<GuardOp, Core*>(this),
        Finally(
            ServeAndDrain(), [this]() -> Task<void> { co_await End(); },
            kForever));
  }

  Health& health() { return health_; }
  const Stats& stats() const { return stats_; }

 private:
  struct Served {
    Service* service;
    const Service::Entry* entry;
    MethodObserver* observer;
  };

  // Waits for ever; when cancelled, it is stopped once no call is left.
  class GuardOp final : public OperationBase {
   public:
    explicit GuardOp(Core* core) : core_(core) {}
    bool Try() { return false; }
    void Suspend() {}
    void Cancel() noexcept override {
      if (core_->calls_.empty()) return Stop();
      core_->guard_ = this;
    }
    void TakeResult() {}
    using OperationBase::Stop;

   private:
    Core* core_;
  };
  class Leaving {
   public:
    explicit Leaving(Core& core) : core_(core) {}
    Leaving(const Leaving&) = delete;
    Leaving& operator=(const Leaving&) = delete;
    ~Leaving() {
      if (core_.scope_.linked()) core_.scope_.Unlink();
    }

   private:
    Core& core_;
  };

  Task<absl::Status> ServeAndDrain() {
    health_.Set("", true);
    for (const std::string& name : names_) health_.Set(name, true);
    transport_->Start();
    co_await OrReturn(
        WithBackground(transport_->Accept(), [this]() -> Task<void> {
          co_await StopRequested();
          health_.Drain();
          co_await SleepFor(options_.lame_duck);
        }));
    scope_.RequestStop();
    transport_->StopAccepting();
    co_await MoveOnAfter(options_.drain_limit, idle_.Wait());
    co_return absl::OkStatus();
  }

  Task<void> End() {
    health_.Drain();
    transport_->StopAccepting();
    scope_.Cancel(CancelCause::Source::kExplicit,
                  "the server is shutting down");
    for (ServerCall* call = calls_.front(); call != nullptr;
         call = calls_.Next(call)) {
      call->GiveUp();
    }
    co_await idle_.Wait();
    // Calls may come until the transport has none any more; they end at once.
    co_await transport_->Join();
    Check(calls_.empty(), "a transport ended before its calls");
    scope_.Unlink();
  }

  MethodObserver* ObserverFor(const Method& method) {
    return options_.observer != nullptr ? &options_.observer->ForMethod(method)
                                        : nullptr;
  }

  ServerWireEvents* OnCall(ServerWire& wire) override {
    ++stats_.accepted;
    const auto entry = methods_.find(wire.path());
    ServerCall* call =
        entry != methods_.end()
            ? ServerCall::Start(
                  *this, scope_, wire, entry->second.entry->method(),
                  *entry->second.service, entry->second.entry->handler(),
                  entry->second.observer)
            : ServerCall::Start(*this, scope_, wire, kUnknown, unknown_,
                                &UnknownService::Handle, unknown_observer_);
    calls_.PushBack(*call);
    ++stats_.active;
    return call;
  }

  void OnRejected(uint64_t calls) override {
    stats_.rejected += calls;
    if (options_.observer != nullptr) options_.observer->Rejected(calls);
  }

  const Method* FindMethod(std::string_view path) const override {
    const auto entry = methods_.find(path);
    return entry != methods_.end() ? &entry->second.entry->method() : nullptr;
  }

  void CallEnded(ServerCall& call) override {
    calls_.Remove(call);
    --stats_.active;
    idle_.Look();
    if (calls_.empty() && guard_ != nullptr) {
      std::exchange(guard_, nullptr)->Stop();
    }
  }

  ServerOptions options_;
  Health health_;
  UnknownService unknown_;
  MethodObserver* unknown_observer_;
  std::vector<std::unique_ptr<Service>> reflection_;
  std::vector<std::string> names_;
  // Not changed once the transport listens: its threads look methods up.
  absl::flat_hash_map<std::string_view, Served> methods_;
  std::shared_ptr<ServerTransport> transport_;
  std::vector<int> ports_;
  bool begun_ = false;
  braid::detail::Scope scope_;
  braid::detail::IntrusiveList<ServerCall> calls_;
  detail::Until idle_{[this] { return calls_.empty(); }};
  GuardOp* guard_ = nullptr;
  Stats stats_;
};

Server::Server(ServerOptions options)
    : core_(std::make_unique<Core>(std::move(options))) {}
Server::~Server() = default;

void Server::AddService(Service& service) { core_->Add(service); }
absl::Status Server::Listen() { return core_->Listen(); }
int Server::port(size_t index) const { return core_->port(index); }
BRAID_CORO_WRAPPER Task<absl::Status> Server::Serve() { return core_->Serve(); }
Health& Server::health() { return core_->health(); }
Server::Stats Server::stats() const { return core_->stats(); }

}  // namespace braid::rpc
