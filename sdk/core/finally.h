// Finally: a body, and a clean-up that runs and may wait however the body
// ended.
//
//   absl::Status status = co_await Finally(
//       Transfer(connection),
//       [&](const Outcome<void>& outcome) -> Task<absl::Status> {
//         if (outcome.stopped()) co_await OrReturn(connection.SendAbort());
//         co_return co_await connection.Close();
//       });
//
// The clean-up gets the body's outcome (or takes no argument). It runs after
// the body's frames are gone, shielded from cancellation, within a limit
// (default: the loop's clean-up limit, which a service sets to its drain
// limit; a negative one has passed, as everywhere); when the limit passes it is
// stopped, which counts as an error. A clean-up's error becomes the result of a
// body that was OK or stopped, and stands behind (SuppressedErrors, GroupError)
// the error of one that failed. Gives absl::Status or absl::StatusOr of the
// body's value if the body or the clean-up can fail, the body's plain result
// otherwise; a clean-up that can't return an error and hits its limit is only
// counted in LoopStats. A stop from outside goes on outwards after the
// clean-up.

#ifndef BRAID_CORE_FINALLY_H_
#define BRAID_CORE_FINALLY_H_

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/task_set.h"
#include "braid/core/outcome.h"
#include "braid/core/time.h"

namespace braid {
namespace detail {

// Links the outcome to a clean-up that doesn't want it.
template <typename C, typename O>
inline constexpr bool kTakesOutcome = BodyCallable<C, const O&>;

template <typename C, typename O>
using CleanupHolder =
    std::conditional_t<kTakesOutcome<C, O>, BodyHolder<C, const O&>,
                       BodyHolder<C>>;

absl::Status CleanupLimitPassed(Duration limit);

template <typename B, typename C>
class FinallyAwaiter final : public Link {
 public:
  using BodyResult = typename BodyHolder<B>::Result;
  using OutcomeType = Outcome<ValueOf<BodyResult>>;
  using Holder = CleanupHolder<C, OutcomeType>;
  using CleanupResult = typename Holder::Result;
  static constexpr bool kCanFail =
      kFallible<BodyResult> || kFallible<CleanupResult>;
  using Result =
      std::conditional_t<kCanFail, FallibleOf<BodyResult>, BodyResult>;

  static_assert(std::is_void_v<ValueOf<CleanupResult>>,
                "a clean-up gives nothing or an absl::Status");

  FinallyAwaiter(B&& body, C&& cleanup, std::optional<Delay> limit)
      : Link(&kOps),
        body_(std::in_place, std::move(body)),
        cleanup_(std::move(cleanup)),
        limit_(limit) {}

  bool Ready() const { return false; }

  Link* Start(Link* link) {
    parent = link;
    return body_->Start(this);
  }

  Result TakeResult() {
    if (!failures_.empty()) {
      absl::Status status = failures_.Take();  // rethrows an exception
      if constexpr (kCanFail) return status;
    }
    if constexpr (std::is_void_v<ValueOf<BodyResult>>) {
      if constexpr (kCanFail) return absl::OkStatus();
    } else {
      return std::move(outcome_->value());
    }
  }

 private:
  Link* BeginCleanup() {
    body_.reset();
    Loop& loop = Loop::Current();
    if (!limit_.has_value()) limit_.emplace(loop.options().cleanup_limit);
    scope_.SetShield(true);
    scope_.Enter(loop.CurrentTask());
    const Time now = loop.Now();
    scope_.SetRelativeDeadline(Add(now, *limit_), now);
    if constexpr (kTakesOutcome<C, OutcomeType>) {
      return cleanup_.Start(this, std::as_const(*outcome_));
    } else {
      return cleanup_.Start(this);
    }
  }

  static Link* Done(Link* link) {
    auto* self = static_cast<FinallyAwaiter*>(link);
    if (!self->outcome_.has_value()) {
      Slot<BodyResult> slot;
      self->body_->CaptureInto(slot);
      if (slot.has_exception()) {
        self->failures_.Add(slot.exception());
      } else if (Failed(slot)) {
        self->failures_.Add(StatusOf(slot));
      }
      self->KeepOutcome(slot);
      return self->BeginCleanup();
    }
    Slot<CleanupResult> slot;
    self->cleanup_.CaptureInto(slot);
    if (slot.has_exception()) {
      self->failures_.Add(slot.exception());
    } else if (Failed(slot)) {
      self->failures_.Add(StatusOf(slot));
    }
    return self->Conclude() ? self->parent : Unwind(self->parent);
  }

  static Unwound Stopped(Link* link) {
    auto* self = static_cast<FinallyAwaiter*>(link);
    if (!self->outcome_.has_value()) {
      self->outcome_.emplace();
      return {self->BeginCleanup(), false};
    }
    // Only the limit stops the clean-up: it is shielded.
    if constexpr (kFallible<CleanupResult>) {
      self->failures_.Add(CleanupLimitPassed(self->limit_->nanoseconds()));
    } else {
      Loop::Current().CountCleanupFailure();
    }
    const bool goes_on = self->Conclude();
    return {self->parent, !goes_on};
  }

  // Nothing here may throw; moving the value may.
  void KeepOutcome(Slot<BodyResult>& slot) {
    struct Context {
      FinallyAwaiter* self;
      Slot<BodyResult>& slot;
    } context{this, slot};
    std::exception_ptr exception = CallAndCatch(
        [](void* argument) {
          auto& context = *static_cast<Context*>(argument);
          context.self->outcome_.emplace(TakeOutcome(context.slot));
        },
        &context);
    if (exception == nullptr) return;
    failures_.Add(exception);
    outcome_.emplace(std::move(exception));
  }

  // The clean-up is over. False: the stop goes on outwards.
  bool Conclude() {
    const bool failed = !failures_.empty();
    if (failed && outcome_->stopped()) scope_.MarkCaughtOutside();
    scope_.Leave();
    return failed || !outcome_->stopped();
  }

  static constexpr LinkOps kOps = {&Done, &Stopped, false, "Finally"};

  std::optional<BodyHolder<B>> body_;
  Holder cleanup_;
  std::optional<Delay> limit_;  // empty: the loop's
  Scope scope_;
  std::optional<OutcomeType> outcome_;
  Failures failures_;
};

}  // namespace detail

template <Body B, typename C>
  requires(
      detail::kTakesOutcome<std::decay_t<C>,
                            Outcome<detail::ValueOf<detail::BodyResult<B>>>> ||
      Body<C>)
auto Finally(B&& body, C&& cleanup, std::optional<Delay> limit = std::nullopt) {
  using First = std::decay_t<B>;
  using Second = std::decay_t<C>;
  return detail::Boundary<detail::FinallyAwaiter<First, Second>, First, Second,
                          std::optional<Delay>>(
      First(std::forward<B>(body)), Second(std::forward<C>(cleanup)), limit);
}

}  // namespace braid

#endif  // BRAID_CORE_FINALLY_H_
