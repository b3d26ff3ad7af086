#include "braid/thread/sharded.h"

#include <signal.h>

#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

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
        shards_(count) {}

  // Starts the threads. `on_end` is called on the host's loop when the last of
  // them is about to return.
  void Start(absl::AnyInvocable<void()> on_end) {
    on_end_ = std::move(on_end);
    host_.emplace(Portal::Current());
    running_ = static_cast<int>(shards_.size());
    // Threads inherit the mask: signals are for the thread that runs the
    // program.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; i < shards_.size(); ++i) {
      shards_[i].thread =
          std::thread([this, i] { RunShard(static_cast<int>(i)); });
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  // On the host's loop, after `on_end`.
  void Join() {
    for (OneShard& shard : shards_) {
      if (shard.thread.joinable()) shard.thread.join();
    }
  }

  // From the host's loop.
  void CancelAll(std::string reason) {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    for (OneShard& shard : shards_) {
      if (shard.portal.has_value())
        shard.portal->Post([reason] { Loop::Current().CancelRoot(reason); });
    }
  }
  void RequestStopAll() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (OneShard& shard : shards_) {
      if (shard.portal.has_value())
        shard.portal->Post([] { RequestStopHere(); });
    }
  }

  bool cancelled_by_host = false;
  Failures failures;

 private:
  struct OneShard {
    std::thread thread;
    std::optional<Portal> portal;  // while its loop runs
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
      status = driver.ok()
                   ? shard_main_(**driver,
                                 Shard{index, static_cast<int>(shards_.size())},
                                 [&] { Begin(index); })
                   : driver.status();
    } catch (...) {
      exception = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      shards_[index].portal.reset();
    }
    host_->Post([this, status = std::move(status), exception] {
      Ended(status, exception);
    });
  }

  // On the shard's loop, before its body.
  void Begin(int index) {
    const std::lock_guard lock(mutex_);
    shards_[index].portal.emplace(Portal::Current());
    if (stopping_) RequestStopHere();
    if (cancelled_) Loop::Current().CancelRoot("the shards were cancelled");
  }

  // On the host's loop.
  void Ended(const absl::Status& status, const std::exception_ptr& exception) {
    const bool stopped =
        cancelled_ && exception == nullptr && absl::IsCancelled(status);
    if (exception != nullptr) {
      failures.Add(exception);
    } else if (!status.ok() && !stopped) {
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
  std::vector<OneShard> shards_;  // portals: under mutex_
  bool cancelled_ = false;  // written under mutex_ by the host's thread, which
                            // may read it without
  bool stopping_ = false;   // under mutex_
};

class ShardsOp final : public OperationBase {
 public:
  explicit ShardsOp(ShardRun* run) : run_(run) {}

  bool Try() { return false; }
  void Suspend() {
    run_->Start([this] {
      run_->Join();
      if (run_->cancelled_by_host && run_->failures.empty()) {
        Stop();
      } else {
        Complete();
      }
    });
  }
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

Task<absl::Status> RunShards(int count, DriverFactory make_driver,
                             ShardMain shard_main) {
  if (count < 1)
    co_return absl::InvalidArgumentError("RunSharded needs at least 1 shard");
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
