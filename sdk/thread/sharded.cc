#include "braid/thread/sharded.h"

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/backend/backend.h"
#include "braid/backend/host.h"
#include "braid/core/detail/task_set.h"
#include "braid/core/operation.h"
#include "braid/core/stop_request.h"
#include "braid/core/with_background.h"
#include "braid/thread/portal.h"

namespace braid::detail {
namespace {

// What the host's loop and the shards' threads share.
class ShardRun {
 public:
  ShardRun(int count, DriverFactory make_driver, ShardMain shard_main)
      : make_driver_(std::move(make_driver)),
        shard_main_(std::move(shard_main)),
        portals_(count) {}

  // Starts the threads. `on_end` is called on the host's loop when the last of
  // them is done. False: there are none, and `failures` says why.
  bool Start(absl::AnyInvocable<void()> on_end) {
    on_end_ = std::move(on_end);
    host_.emplace(Portal::Current());
    for (size_t i = 0; i < portals_.size() && failures.empty(); ++i) {
      ++running_;
      const absl::Status status = CurrentBackend().host().StartJob(
          std::make_shared<ShardJob>(*this, static_cast<int>(i)));
      if (status.ok()) continue;
      --running_;
      failures.Add(status);
      CancelAll("another shard could not be started");
    }
    return running_ > 0;
  }

  // From the host's loop.
  void CancelAll(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    for (const std::optional<Portal>& portal : portals_) {
      if (portal.has_value())
        portal->Post([reason] { Loop::Current().CancelRoot(reason); });
    }
  }
  void RequestStopAll() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const std::optional<Portal>& portal : portals_) {
      if (portal.has_value()) portal->Post([] { RequestStopHere(); });
    }
  }

  bool cancelled_by_host = false;
  bool some_stopped = false;  // a shard ended because of a cancel
  Failures failures;

 private:
  class ShardJob final : public HostJob {
   public:
    ShardJob(ShardRun& run, int index)
        : HostJob("shard " + std::to_string(index)), run_(run), index_(index) {}
    bool Begin() noexcept override { return true; }
    void Run() noexcept override { run_.RunShard(index_); }

   private:
    ShardRun& run_;
    const int index_;
  };

  static void RequestStopHere() {
    if (Scope* root = Loop::Current().root(); root != nullptr)
      root->RequestStop();
  }

  void RunShard(int index) {
    absl::Status status;
    std::exception_ptr exception = nullptr;
    try {
      absl::StatusOr<std::unique_ptr<Driver>> driver = make_driver_();
      status =
          driver.ok()
              ? shard_main_(**driver,
                            Shard{index, static_cast<int>(portals_.size())},
                            [&] { Begin(index); })
              : driver.status();
    } catch (...) {
      exception = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      portals_[index].reset();
    }
    // The last thing that is done with this: it may be gone then.
    const Portal host = *host_;
    host.Post([this, status = std::move(status), exception] {
      Ended(status, exception);
    });
  }

  // On the shard's loop, before its body.
  void Begin(int index) {
    const std::lock_guard lock(mutex_);
    portals_[index].emplace(Portal::Current());
    if (stopping_) RequestStopHere();
    if (cancelled_) Loop::Current().CancelRoot("the shards were cancelled");
  }

  // On the host's loop.
  void Ended(const absl::Status& status, const std::exception_ptr& exception) {
    const bool stopped =
        cancelled_ && exception == nullptr && absl::IsCancelled(status);
    if (exception != nullptr) {
      failures.Add(exception);
    } else if (stopped) {
      some_stopped = true;
    } else if (!status.ok()) {
      failures.Add(status);
    }
    if (!failures.empty() && !cancelled_) CancelAll("another shard failed");
    if (--running_ == 0) on_end_();
  }

  const DriverFactory make_driver_;
  const ShardMain shard_main_;
  std::optional<Portal> host_;
  absl::AnyInvocable<void()> on_end_;
  int running_ = 0;
  std::mutex mutex_;
  std::vector<std::optional<Portal>> portals_;  // while that shard's loop runs;
                                                // under mutex_
  bool cancelled_ = false;  // written under mutex_ by the host's thread, which
                            // may read it without
  bool stopping_ = false;   // under mutex_
};

class ShardsOp final : public OperationBase {
 public:
  explicit ShardsOp(ShardRun* run) : run_(run) {}

  bool Try() {
    return !run_->Start([this] {
      // Where every shard had completed, the cancel came too late.
      if (run_->cancelled_by_host && run_->some_stopped &&
          run_->failures.empty()) {
        Stop();
      } else {
        Complete();
      }
    });
  }
  void Suspend() {}
  // The shards use what the caller lent them: this ends when they have.
  void Cancel() noexcept override {
    run_->cancelled_by_host = true;
    run_->CancelAll("the task that runs the shards was cancelled");
  }
  absl::Status TakeResult() {
    return run_->failures.empty() ? absl::OkStatus() : run_->failures.Take();
  }

 private:
  ShardRun* run_;
};

}  // namespace

absl::Status NoShards() {
  return absl::InvalidArgumentError("RunSharded needs at least 1 shard");
}

DriverFactory ShardDriverFactory() {
  Backend::Factory make = CurrentBackend().ShardFactory();
  if (make == nullptr) return nullptr;
  return make;
}

Task<absl::Status> RunShards(int count, DriverFactory make_driver,
                             ShardMain shard_main) {
  if (count < 1) co_return NoShards();
  if (CurrentBackend().ShardFactory() == nullptr) {
    co_return absl::UnimplementedError(
        "RunSharded: a simulation has no threads for backends of the "
        "caller's; leave out what makes them, and the shards run as tasks");
  }
  ShardRun run(count, std::move(make_driver), std::move(shard_main));
  auto forward_stop = [&run]() -> Task<void> {
    co_await StopRequested();
    run.RequestStopAll();
  };
  auto wait = [&run]() -> Task<absl::Status> {
    co_return co_await Operation<ShardsOp, ShardRun*>(&run);
  };
  co_return co_await WithBackground(forward_stop, wait);
}

}  // namespace braid::detail
