// OrReturn: takes the value of a fallible result, or ends this coroutine with
// its error.
//
//   Task<absl::Status> Copy(Source& source, Sink& sink) {
//     // Awaits Read(), then unwraps.
//     std::string text = co_await OrReturn(source.Read());
//     // A plain absl::StatusOr<int>.
//     int number = co_await OrReturn(ParseNumber(text));
//     co_await OrReturn(sink.Write(number));
//     co_return absl::OkStatus();
//   }
//
// On an error the coroutine is not resumed: its result is that error, its
// locals are destroyed, and whoever awaits it goes on. In the body of a task
// group its own frame stays until the group's tasks have ended. The coroutine
// must return absl::Status or absl::StatusOr. Cancelled as the awaited
// operation is; a plain value is no checkpoint.

#ifndef BRAID_CORE_OR_RETURN_H_
#define BRAID_CORE_OR_RETURN_H_

#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/slot.h"
#include "braid/core/task.h"

namespace braid {
namespace detail {

// A result that is already there, as a description.
template <typename R>
class Just {
 public:
  explicit Just(R&& result) : result_(std::move(result)) {}

  class Awaiter {
   public:
    explicit Awaiter(R&& result) : result_(std::move(result)) {}
    bool Ready() const { return true; }
    Link* Start(Link* link) const { return link; }
    R TakeResult() { return std::move(result_); }
    bool Failed() const noexcept { return !result_.ok(); }
    ValueOf<R> TakeValue() { return UnwrapValue(std::move(result_)); }

   private:
    R result_;
  };

  Awaiter MakeAwaiter() && { return Awaiter(std::move(result_)); }

 private:
  R result_;
};

// An awaiter that can be asked whether it failed, before its result is taken:
//
//   bool Failed() const noexcept;  // after completion: with a status
//   Value TakeValue();             // instead of TakeResult(), unless it failed
//
// That is for the hot path, where no absl::StatusOr is to be built only to be
// taken apart again. Of other awaiters the result is taken first.
template <typename Awaiter>
concept TellsFailure = requires(Awaiter& awaiter) {
  { awaiter.Failed() } noexcept;
  awaiter.TakeValue();
};

template <typename Awaiter>
class Completed {
 public:
  using Result = decltype(std::declval<Awaiter&>().TakeResult());

  void Take(Awaiter& awaiter) { Capture(result_, awaiter); }
  // An exception is not a reason to end the coroutine here: TakeValue rethrows
  // it inside.
  bool Failed(const Awaiter&) const {
    return result_.has_value() && !result_.value().ok();
  }
  ValueOf<Result> TakeValue(Awaiter&) { return UnwrapValue(result_.Take()); }
  Result TakeResult(Awaiter&) { return result_.Take(); }

 private:
  Slot<Result> result_;
};

template <TellsFailure Awaiter>
class Completed<Awaiter> {
 public:
  void Take(Awaiter&) {}
  bool Failed(const Awaiter& awaiter) const { return awaiter.Failed(); }
  decltype(auto) TakeValue(Awaiter& awaiter) { return awaiter.TakeValue(); }
  auto TakeResult(Awaiter& awaiter) { return awaiter.TakeResult(); }
};

template <typename A, typename P>
class OrReturnAwaiter : public Link {
 public:
  using Result = ResultOf<A>;
  using Value = ValueOf<Result>;

  explicit OrReturnAwaiter(A&& description)
      : Link(&kOps), awaiter_(std::move(description).MakeAwaiter()) {}

  [[gnu::always_inline]] bool Ready() {
    if (!awaiter_.Ready()) return false;
    completed_.Take(awaiter_);
    failed_ = completed_.Failed(awaiter_);
    return !failed_;
  }

  Link* Start(Link* link) {
    parent = link;
    return failed_ ? Fail() : StartAwaiter(awaiter_, this);
  }

  Value TakeResult() { return completed_.TakeValue(awaiter_); }

 private:
  // Ends the coroutine that awaits this, which is where this lives.
  Link* Fail() {
    P& promise = *static_cast<P*>(parent);
    if constexpr (std::is_void_v<Value>) {
      promise.return_value(completed_.TakeResult(awaiter_));
    } else {
      promise.return_value(completed_.TakeResult(awaiter_).status());
    }
    return FinishEarly(promise);
  }

  static Link* Done(Link* link) {
    auto* self = static_cast<OrReturnAwaiter*>(link);
    self->completed_.Take(self->awaiter_);
    return self->completed_.Failed(self->awaiter_) ? self->Fail()
                                                   : self->parent;
  }
  static Unwound Stopped(Link* link) { return {link->parent, true}; }
  static constexpr LinkOps kOps = {&Done, &Stopped, false, "OrReturn"};

  AwaiterOf<A> awaiter_;
  [[no_unique_address]] Completed<AwaiterOf<A>> completed_;
  bool failed_ = false;
};

template <typename A, typename P>
class OrReturnIn {
 public:
  explicit OrReturnIn(A&& description) : description_(std::move(description)) {}
  OrReturnAwaiter<A, P> MakeAwaiter() && {
    return OrReturnAwaiter<A, P>(std::move(description_));
  }

 private:
  A&& description_;
};

template <typename A>
class [[nodiscard("write co_await OrReturn(...)")]] OrReturnDescription {
 public:
  explicit OrReturnDescription(A&& description)
      : description_(std::move(description)) {}

  template <typename T>
  auto In(Promise<T>&) && {
    static_assert(kFallible<T>,
                  "OrReturn ends this coroutine with an error, so the "
                  "coroutine has to return Task<absl::Status> or "
                  "Task<absl::StatusOr<...>>");
    return OrReturnIn<A, Promise<T>>(std::move(description_));
  }

 private:
  A description_;
};

}  // namespace detail

// Of something awaitable that gives absl::Status or absl::StatusOr<U>: co_await
// gives nothing, or the U.
template <typename A>
  requires Awaitable<std::decay_t<A>>
auto OrReturn(A&& awaitable) {
  static_assert(!std::is_lvalue_reference_v<A>,
                "what is awaited is used up: make it here, or std::move it");
  static_assert(detail::kFallible<detail::ResultOf<std::decay_t<A>>>,
                "OrReturn is for what can fail; this one gives a plain value: "
                "co_await it directly");
  return detail::OrReturnDescription<std::decay_t<A>>(
      std::forward<A>(awaitable));
}

// Of a result that is already there.
template <typename R>
  requires(!Awaitable<std::decay_t<R>> && detail::kFallible<std::decay_t<R>>)
auto OrReturn(R&& result) {
  using Result = std::decay_t<R>;
  return detail::OrReturnDescription<detail::Just<Result>>(
      detail::Just<Result>(Result(std::forward<R>(result))));
}

}  // namespace braid

#endif  // BRAID_CORE_OR_RETURN_H_
