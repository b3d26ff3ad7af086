#include "braid/backend/worker_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "braid/backend/signal_mask.h"

namespace braid::detail {
class WorkerPool::State : public std::enable_shared_from_this<State> {
 public:
  explicit State(Duration idle_limit) : idle_limit_(idle_limit) {}

  absl::Status Start(std::shared_ptr<HostJob> job) {
    std::unique_lock lock(mutex_);
    if (!idle_.empty()) {
      const std::shared_ptr<Worker> worker = std::move(idle_.back());
      idle_.pop_back();
      worker->job = std::move(job);
      lock.unlock();  // or it would wake up to wait for that
      worker->wake.notify_one();
      return absl::OkStatus();
    }
    const std::error_code error = AddThread(job);
    if (!error) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        "start a thread for '" + job->name() + "': " + error.message() +
        "; the limit of threads (ulimit -u, the cgroup's pids.max) or memory "
        "is exhausted");
  }

  void Close() {
    std::vector<std::thread> ending;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      for (const std::shared_ptr<Worker>& worker : std::exchange(idle_, {})) {
        ending.push_back(std::move(worker->thread));
        worker->wake.notify_one();
      }
    }
    for (std::thread& thread : ending) thread.join();
  }

  size_t threads() const {
    const std::lock_guard lock(mutex_);
    return threads_;
  }

 private:
  struct Worker {
    // A system call, and mostly the same name again.
    void SetName(const std::string& job_name) {
      if (job_name == name) return;
      name = job_name;
      constexpr size_t kLongest = 15;  // pthread_setname_np(3)
      ::pthread_setname_np(::pthread_self(), name.substr(0, kLongest).c_str());
    }

    std::thread thread;  // empty once somebody else joins it
    std::condition_variable wake;
    std::shared_ptr<HostJob> job;
    std::string name;
  };

  // With mutex_ held, which the thread takes first of all.
  std::error_code AddThread(const std::shared_ptr<HostJob>& job) {
    const AllSignalsBlocked blocked;
    // What the system refuses it throws.
    try {
      const auto worker = std::make_shared<Worker>();
      worker->job = job;
      worker->thread = std::thread(
          [self = shared_from_this(), worker] { self->Work(worker); });
    } catch (const std::system_error& error) {
      return error.code();
    }
    ++threads_;
    return {};
  }

  void Work(const std::shared_ptr<Worker>& worker) {
    std::unique_lock lock(mutex_);
    while (worker->job != nullptr || NextJob(worker, lock)) {
      lock.unlock();
      {
        const std::shared_ptr<HostJob> job = std::move(worker->job);
        if (job->Begin()) {
          worker->SetName(job->name());
          job->Run();
        }
      }
      lock.lock();
    }
    --threads_;
    if (worker->thread.joinable()) worker->thread.detach();
  }

  // False: it is to end.
  bool NextJob(const std::shared_ptr<Worker>& worker,
               std::unique_lock<std::mutex>& lock) {
    if (closed_) return false;
    idle_.push_back(worker);
    worker->wake.wait_for(lock, idle_limit_,
                          [&] { return worker->job != nullptr || closed_; });
    std::erase(idle_, worker);
    return worker->job != nullptr;
  }

  const Duration idle_limit_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Worker>> idle_;  // the last to be so is the last
  size_t threads_ = 0;
  bool closed_ = false;
};

WorkerPool::WorkerPool(Duration idle_limit)
    : state_(std::make_shared<State>(idle_limit)) {}

WorkerPool::~WorkerPool() { state_->Close(); }

absl::Status WorkerPool::Start(std::shared_ptr<HostJob> job) {
  return state_->Start(std::move(job));
}

size_t WorkerPool::threads() const { return state_->threads(); }

}  // namespace braid::detail
