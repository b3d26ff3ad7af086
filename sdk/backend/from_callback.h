// FromCallback: awaits what a foreign library tells through a callback.
//
//   int code = co_await FromCallback<int>([&](Callback<int> done) {
//     client.Fetch(url, [done](int code) { done(code); });
//   });
//
// `start` is called once, when it is awaited, and gets a Callback. Completes
// when that is called: at once, later, on this thread or another, exactly once;
// co_await gives the value it was called with. A Callback that goes without
// having been called makes an absl::Status or absl::StatusOr CANCELLED,
// anything else a failed check. An exception that leaves `start` is rethrown by
// the await; one from making the value goes to the caller of the Callback,
// which has not been called then.
//
// Cancelled in one of two ways:
//   - Without `cancel`: stopped at once. The callback may still be called, and
//     its value is thrown away; nothing that `start` was given by reference is
//     safe to use in it any more. What it needs it has to own.
//   - With `bool cancel()`, which is called on the loop's thread, at most once:
//     true says that the callback will not be called any more: stopped. False
//     says that it still will be, which is then waited for, and the value is
//     delivered.
// A value that has come before the cancel is delivered.
//
// Works on every backend. Threads: awaited on the loop's; the Callback may be
// called, copied and destroyed on any.

#ifndef BRAID_BACKEND_FROM_CALLBACK_H_
#define BRAID_BACKEND_FROM_CALLBACK_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/check.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/result.h"
#include "braid/core/operation.h"

namespace braid {
namespace detail {

// What the operation and its callback share. It goes when the operation and
// every copy of the callback have gone.
class CallbackStateBase : private InboxNode {
 public:
  // Who waits.
  class Waiter : public OperationBase {
   public:
    using OperationBase::Complete;
    using OperationBase::Stop;
  };

  CallbackStateBase(const CallbackStateBase&) = delete;
  CallbackStateBase& operator=(const CallbackStateBase&) = delete;

  void AddRef() { references_.fetch_add(1, std::memory_order_relaxed); }
  void DropRef() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  void AddCaller() { callers_.fetch_add(1, std::memory_order_relaxed); }
  void DropCaller() {
    if (callers_.fetch_sub(1, std::memory_order_acq_rel) == 1) Dropped();
  }

  // After `start` returned. True: the value is there; otherwise `waiter` is
  // completed once it is.
  bool Await(Waiter& waiter);
  // The value isn't waited for any more. False: it is there already, and
  // `waiter` is completed with it.
  bool Abandon();
  // Around the hook of a cancel, in which the callback may well be thrown away.
  // Begin says false if it is too late for that.
  bool BeginWithdraw();
  void EndWithdraw();

 protected:
  CallbackStateBase() : InboxNode(&Deliver), loop_(&Loop::Current()) {}
  virtual ~CallbackStateBase() = default;

  // Stores the value by calling `store(this)`, or throws it away, and delivers
  // it.
  template <typename F>
  void Call(F store) {
    const std::lock_guard lock(mutex_);
    Check(
        !called_,
        "a Callback is called a second time; it says once how something ended");
    if (!abandoned_) store();  // may throw: then nothing was said
    called_ = true;
    if (!abandoned_) Announce();
  }
  // The last copy of the callback went.
  virtual void Dropped() = 0;

  std::mutex mutex_;
  bool called_ = false;
  bool abandoned_ = false;
  bool withdrawing_ = false;
  bool dropped_ = false;

 private:
  static void Deliver(InboxNode& node);
  // With mutex_ held.
  void Announce();

  Loop* loop_;
  Waiter* waiter_ = nullptr;
  std::atomic<uint32_t> references_ = 1;
  std::atomic<uint32_t> callers_ = 0;
};

template <typename T>
class CallbackState final : public CallbackStateBase {
 public:
  template <typename... U>
  void Set(U&&... value) {
    Call([&] { value_.emplace(std::forward<U>(value)...); });
  }
  Regular<T> Take() { return *std::move(value_); }

 private:
  void Dropped() override {
    {
      const std::lock_guard lock(mutex_);
      dropped_ = true;
      if (called_ || abandoned_ || withdrawing_) return;
    }
    if constexpr (kFallible<T>) {
      Set(absl::CancelledError(
          "a callback was thrown away without having been called"));
    } else {
      Check(false,
            "a Callback was destroyed without having been called, and somebody "
            "waits for it; call it in every case");
    }
  }

  std::optional<Regular<T>> value_;
};

}  // namespace detail

// To be called once, with a T (with nothing, for void). Copies are the same
// callback.
template <typename T>
class Callback {
 public:
  Callback(const Callback& other) : Callback(other.state_) {}
  Callback(Callback&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)) {}
  Callback& operator=(Callback other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Callback() {
    if (state_ == nullptr) return;
    state_->DropCaller();
    state_->DropRef();
  }

  template <typename... U>
    requires(std::is_void_v<T>
                 ? sizeof...(U) == 0
                 : std::constructible_from<detail::Regular<T>, U...>)
  void operator()(U&&... value) const {
    detail::Check(state_ != nullptr,
                  "a Callback is called after it was moved from");
    state_->Set(std::forward<U>(value)...);
  }

 private:
  template <typename U, typename Start, typename Withdraw>
  friend class CallbackOperation;

  explicit Callback(detail::CallbackState<T>* state) : state_(state) {
    if (state_ == nullptr) return;
    state_->AddRef();
    state_->AddCaller();
  }

  detail::CallbackState<T>* state_;
};

// What FromCallback makes.
template <typename T, typename Start, typename Withdraw>
class CallbackOperation final : public detail::CallbackStateBase::Waiter {
 public:
  CallbackOperation(Start start, Withdraw withdraw)
      : start_(std::move(start)), withdraw_(std::move(withdraw)) {}
  ~CallbackOperation() {
    if (state_ != nullptr) state_->DropRef();
  }

  bool Try() {
    state_ = new detail::CallbackState<T>();
    {
      // Outlives what `start` does with its own: where that throws, nobody
      // waits any more when the last one goes.
      const Callback<T> last(state_);
      Starting starting{state_};
      start_(Callback<T>(last));
      starting.state = nullptr;
    }
    return state_->Await(*this);
  }
  void Suspend() {}
  void Cancel() noexcept override {
    if constexpr (!std::is_same_v<Withdraw, std::nullptr_t>) {
      if (!state_->BeginWithdraw()) return;
      if (!withdraw_()) return state_->EndWithdraw();
    }
    if (state_->Abandon()) this->Stop();
  }
  T TakeResult() {
    if constexpr (!std::is_void_v<T>) return state_->Take();
  }

 private:
  struct Starting {
    ~Starting() {
      if (state != nullptr) state->Abandon();
    }
    detail::CallbackState<T>* state;
  };

  Start start_;
  [[no_unique_address]] Withdraw withdraw_;
  detail::CallbackState<T>* state_ = nullptr;
};

template <typename T, std::invocable<Callback<T>> Start>
auto FromCallback(Start start) {
  return Operation<CallbackOperation<T, Start, std::nullptr_t>, Start,
                   std::nullptr_t>(std::move(start), nullptr);
}

template <typename T, std::invocable<Callback<T>> Start, std::predicate Cancel>
auto FromCallback(Start start, Cancel cancel) {
  return Operation<CallbackOperation<T, Start, Cancel>, Start, Cancel>(
      std::move(start), std::move(cancel));
}

}  // namespace braid

#endif  // BRAID_BACKEND_FROM_CALLBACK_H_
