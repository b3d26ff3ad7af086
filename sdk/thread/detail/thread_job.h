// The record of a function on a worker thread, which outlives the await of it
// if that abandons it. Not for programs.
//
//   queued ──► running ──► done         by the worker
//     │           │
//     ▼           ▼
//   withdrawn  abandoned                by the loop
//
// Each arrow is one exchange: who makes it decides. The function and its result
// belong to the worker while it runs and when it is abandoned, else to the
// loop.

#ifndef BRAID_THREAD_DETAIL_THREAD_JOB_H_
#define BRAID_THREAD_DETAIL_THREAD_JOB_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "braid/backend/host.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/slot.h"
#include "braid/core/operation.h"
#include "braid/sync/capacity_limiter.h"
#include "braid/thread/portal.h"

namespace braid::detail {

template <typename F>
inline constexpr bool kTakesStopToken = std::invocable<F, std::stop_token>;

template <typename F>
struct ThreadResultOf : std::invoke_result<F> {};
template <typename F>
  requires kTakesStopToken<F>
struct ThreadResultOf<F> : std::invoke_result<F, std::stop_token> {};

// What a function gives, called once as an rvalue, with a std::stop_token if it
// takes one.
template <typename F>
using ThreadResult = typename ThreadResultOf<F>::type;

class ThreadJob : public HostJob,
                  public IntrusiveListNode,
                  public std::enable_shared_from_this<ThreadJob> {
 public:
  // Who waits for it.
  class Waiter : public OperationBase {
   public:
    explicit Waiter(ThreadJob* job) : job_(job) {}
    bool Try() { return !job_->Start(*this); }
    void Suspend() {}
    void Cancel() noexcept override {
      const bool by_force = task()->loop()->abandoned();
      if (job_->Withdraw(by_force)) {
        Stop();
      } else if (!by_force) {
        RemainCancellable();
      }
    }
    using OperationBase::Complete;

   protected:
    ~Waiter() = default;
    ThreadJob* job_;
  };

  // For the loop.

  void Admit(CapacityLimiter::Token token) { token_.emplace(std::move(token)); }
  // At the loop's end, of one that was abandoned.
  void Forget();

  // For the worker.

  bool Begin() noexcept final;
  void Run() noexcept final;

 protected:
  ThreadJob(std::string name, bool abandon_on_cancel, bool takes_stop_token)
      : HostJob(std::move(name)),
        abandon_on_cancel_(abandon_on_cancel),
        stop_(takes_stop_token ? std::stop_source()
                               : std::stop_source(std::nostopstate)) {}

  std::stop_token stop_token() const { return stop_.get_token(); }

  // Calls the function and keeps the result.
  virtual void Call() noexcept = 0;
  // There is no thread for it.
  virtual void Refuse(absl::Status status) = 0;
  // Destroys the function, or the result.
  virtual void DropFunction() noexcept = 0;
  virtual void DropResult() noexcept = 0;

 private:
  enum class State : uint8_t {
    kQueued,
    kRunning,
    kDone,
    kWithdrawn,
    kAbandoned
  };

  bool Advance(State from, State to) noexcept {
    return state_.compare_exchange_strong(from, to, std::memory_order_acq_rel);
  }
  // False: it is refused, which is its result.
  bool Start(Waiter& waiter);
  // True: the await is over. `by_force`: whatever its options say.
  bool Withdraw(bool by_force) noexcept;
  // It has run.
  void Ended();
  // Gives back the token.
  void Leave();

  const bool abandon_on_cancel_;
  std::atomic<State> state_ = State::kQueued;
  std::stop_source stop_;
  std::optional<Portal> portal_;
  // Of the loop only:
  std::optional<CapacityLimiter::LastingToken> token_;
  Waiter* waiter_ = nullptr;
  std::shared_ptr<ThreadJob> self_;  // while the loop knows it
};

// What a ThreadJob failed of for which there is no thread.
std::exception_ptr NoThreadException(const absl::Status& status);

template <typename F>
class ThreadJobOf final : public ThreadJob {
 public:
  using Result = ThreadResult<F>;

  ThreadJobOf(std::string name, bool abandon_on_cancel, F&& function)
      : ThreadJob(std::move(name), abandon_on_cancel, kTakesStopToken<F>),
        function_(std::move(function)) {
    result_.emplace();
  }

  Result TakeResult() {
    struct Drop {
      std::optional<Slot<Result>>& result;
      ~Drop() { result.reset(); }
    } drop{result_};
    return result_->Take();
  }

 private:
  void Call() noexcept override {
    std::exception_ptr exception = CallAndCatch(
        [](void* job) { static_cast<ThreadJobOf*>(job)->CallInto(); }, this);
    if (exception != nullptr) result_->SetException(std::move(exception));
  }
  void CallInto() {
    const auto call = [this]() -> Result {
      if constexpr (kTakesStopToken<F>) {
        return std::invoke(*std::move(function_), stop_token());
      } else {
        return std::invoke(*std::move(function_));
      }
    };
    if constexpr (std::is_void_v<Result>) {
      call();
      result_->SetValue();
    } else {
      result_->SetValue(call());
    }
  }
  void Refuse(absl::Status status) override {
    if constexpr (kFallible<Result>) {
      result_->SetValue(std::move(status));
    } else {
      result_->SetException(NoThreadException(status));
    }
  }
  void DropFunction() noexcept override { function_.reset(); }
  void DropResult() noexcept override { result_.reset(); }

  std::optional<F> function_;
  std::optional<Slot<Result>> result_;
};

template <typename F>
class ThreadJobOp final : public ThreadJob::Waiter {
 public:
  explicit ThreadJobOp(ThreadJobOf<F>* job) : Waiter(job) {}
  ThreadResult<F> TakeResult() {
    return static_cast<ThreadJobOf<F>*>(job_)->TakeResult();
  }
};

}  // namespace braid::detail

#endif  // BRAID_THREAD_DETAIL_THREAD_JOB_H_
