#include "braid/backend/asio/asio_backend.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "braid/backend/asio/asio_context.h"
#include "braid/backend/asio/epoll_backend.h"
#include "braid/backend/asio/guest.h"
#include "braid/backend/asio/use_braid.h"
#include "braid/backend/errno_status.h"

namespace braid {
namespace detail {
namespace {

// A busy loop looks for I/O no more often than this; a look costs about a fifth
// of a microsecond.
constexpr Duration kPollInterval = std::chrono::microseconds(50);
// Handlers of others that run between two turns, at most.
constexpr int kMaxHandlers = 64;

// Waits for the epoll set through an io_context.
class AsioBackendBase : public EpollBackend, public AsioContext {
 public:
  explicit AsioBackendBase(std::shared_ptr<Host> host)
      : EpollBackend(std::move(host)) {}
  using EpollBackend::Init;

  std::string_view name() const override { return "asio"; }
  Factory ShardFactory() const override {
    return [host = shared_host()] { return MakeAsioBackend(host); };
  }

 protected:
  // Calls `ready` from a handler of `io` once the epoll set is readable. One at
  // a time.
  template <typename F>
  void WatchThrough(boost::asio::io_context& io, F ready) {
    if (!watch_.has_value()) watch_.emplace(io, epoll_fd());
    watch_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                       std::move(ready));
  }
  // Takes back a watch; what was to be called isn't, or is called with an
  // error.
  void StopWatching() {
    if (!watch_.has_value()) return;
    watch_->release();
    watch_.reset();
  }

  // Makes the epoll set readable at `deadline`, or sometimes earlier. An
  // io_context knows no deadlines but milliseconds.
  void WakeAt(Time deadline) {
    if (wake_at_ <= Now()) wake_at_ = kNever;
    if (deadline >= wake_at_) return;
    wake_at_ = deadline;
    ArmTimer(deadline);
  }

 private:
  std::optional<boost::asio::posix::stream_descriptor> watch_;
  Time wake_at_ = kNever;
};

// For braid::Run.
class OwnBackend final : public AsioBackendBase {
 public:
  using AsioBackendBase::AsioBackendBase;
  ~OwnBackend() override { StopWatching(); }

  void Run(Loop& loop) override {
    Time last_poll = loop.turn_time();
    while (true) {
      const bool more = loop.Turn();
      if (loop.finished()) return;
      if (more && loop.turn_time() - last_poll < kPollInterval) continue;
      last_poll = loop.turn_time();
      const Time deadline = more ? kAlways : loop.next_deadline();
      if (io_ == nullptr) {
        Poll(deadline);
      } else {
        RunHandlers(deadline);
      }
    }
  }

  boost::asio::io_context& io_context() override {
    if (io_ == nullptr)
      io_ = std::make_unique<boost::asio::io_context>(
          BOOST_ASIO_CONCURRENCY_HINT_1);
    return *io_;
  }
  void Kick() override {}

 private:
  // Poll, with handlers of Asio.
  void RunHandlers(Time deadline) {
    if (io_->stopped()) io_->restart();  // by a handler
    if (!watching_) {
      watching_ = true;
      WatchThrough(*io_, [this](const boost::system::error_code&) {
        watching_ = false;
      });
    }
    int left = kMaxHandlers;
    if (deadline != kAlways && StartWaiting()) {
      WakeAt(deadline);
      io_->run_one();
      StopWaiting();
      --left;
    }
    while (left > 0 && io_->poll_one() > 0) --left;
    if (!watching_ || deadline == kAlways) Poll(kAlways);
  }

  std::unique_ptr<boost::asio::io_context> io_;
  bool watching_ = false;
};

}  // namespace

// A loop in an io_context of the application's. Handlers own it.
class GuestLoop final : public std::enable_shared_from_this<GuestLoop> {
 public:
  GuestLoop(boost::asio::io_context& io, std::unique_ptr<GuestTask> task,
            LoopOptions options)
      : io_(io), task_(std::move(task)), backend_(*this) {
    const absl::Status status = backend_.Init();
    Check(status.ok(), "RunOn: the process is out of descriptors");
    loop_.emplace(backend_, options);
  }
  ~GuestLoop() {
    Check(!loop_.has_value(),
          "an io_context goes before the RunOn on it has ended; Cancel() it, "
          "and let the io_context run until `done` is called");
  }

  void Start() {
    {
      const Loop::Binding binding(*loop_);
      task_->Start(*loop_);
    }
    Schedule();
  }

  void Cancel(std::string reason) {
    boost::asio::post(io_,
                      [self = shared_from_this(), reason = std::move(reason)] {
                        if (!self->loop_.has_value()) return;
                        {
                          const Loop::Binding binding(*self->loop_);
                          self->loop_->CancelRoot(reason);
                        }
                        self->Schedule();
                      });
  }

 private:
  class GuestBackend final : public AsioBackendBase {
   public:
    explicit GuestBackend(GuestLoop& guest)
        : AsioBackendBase(MakeRealHost()), guest_(guest) {}
    void Run(Loop&) override {
      Check(
          false,
          "this backend is a guest of an io_context, which runs it; see RunOn");
    }
    boost::asio::io_context& io_context() override { return guest_.io_; }
    void Kick() override { guest_.Schedule(); }

    using AsioBackendBase::Poll;
    using AsioBackendBase::StartWaiting;
    using AsioBackendBase::StopWaiting;
    using AsioBackendBase::StopWatching;
    using AsioBackendBase::WakeAt;
    using AsioBackendBase::WatchThrough;

   private:
    GuestLoop& guest_;
  };

  // Makes a turn come.
  void Schedule() {
    if (loop_.has_value()) loop_->set_away(false);
    if (std::exchange(scheduled_, true)) return;
    boost::asio::post(io_, [self = shared_from_this()] {
      self->scheduled_ = false;
      self->Turn();
    });
  }

  void Turn() {
    if (!loop_.has_value()) return;
    if (thread_ == std::thread::id()) thread_ = std::this_thread::get_id();
    Check(thread_ == std::this_thread::get_id(),
          "RunOn needs an io_context that one thread runs; this one is run by "
          "several");
    bool more = false;
    {
      const Loop::Binding binding(*loop_);
      loop_->set_away(false);
      backend_.StopWaiting();
      backend_.Poll(kAlways);
      more = loop_->Turn();
    }
    if (loop_->finished()) return Finish();
    if (!watching_) {
      watching_ = true;
      backend_.WatchThrough(io_, [self = shared_from_this()](
                                     const boost::system::error_code& error) {
        self->watching_ = false;
        if (!error) self->Turn();
      });
    }
    if (more || !backend_.StartWaiting()) {
      Schedule();
    } else {
      backend_.WakeAt(loop_->next_deadline());
      loop_->set_away(true);
    }
  }

  void Finish() {
    backend_.StopWatching();
    loop_.reset();
    task_->Finish();
  }

  boost::asio::io_context& io_;
  std::unique_ptr<GuestTask> task_;
  GuestBackend backend_;
  std::optional<Loop> loop_;
  std::thread::id thread_;
  bool scheduled_ = false;
  bool watching_ = false;
};

std::weak_ptr<GuestLoop> StartGuest(boost::asio::io_context& io,
                                    std::unique_ptr<GuestTask> task,
                                    LoopOptions options) {
  auto guest = std::make_shared<GuestLoop>(io, std::move(task), options);
  guest->Start();
  return guest;
}

void CancelGuest(const std::weak_ptr<GuestLoop>& guest, std::string reason) {
  if (const std::shared_ptr<GuestLoop> alive = guest.lock())
    alive->Cancel(std::move(reason));
}

AsioContext& CurrentAsioContext() {
  auto* context = dynamic_cast<AsioContext*>(&CurrentBackend());
  Check(context != nullptr,
        "what is built on Asio needs the Asio backend; start the program with "
        "--backend=asio");
  return *context;
}

absl::Status AsioErrorStatus(const boost::system::error_code& error) {
  if (error.category() == boost::system::system_category())
    return ErrnoStatus(error.value(), "asio");
  const std::string message =
      "asio: " + error.message() + " (" + error.category().name() + ")";
  if (error == boost::asio::error::eof) return absl::OutOfRangeError(message);
  return absl::UnknownError(message);
}

}  // namespace detail

absl::StatusOr<std::unique_ptr<Backend>> MakeAsioBackend(
    std::shared_ptr<Host> host) {
  auto backend = std::make_unique<detail::OwnBackend>(std::move(host));
  if (absl::Status status = backend->Init(); !status.ok()) return status;
  return backend;
}

}  // namespace braid
