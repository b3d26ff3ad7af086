// WithBackground: a body that stands on something running in the background.
//
// For: teardown in order. The body (requests on a connection) ends first; only
// then is the background (the connection's reader loop) cancelled and joined,
// also when all of it is cancelled from outside.
//
//   absl::StatusOr<Reply> reply = co_await WithBackground(
//       connection.ReadLoop(), connection.Call(request));
//
// Completes when both have ended. A background that fails cancels the body, and
// its error is the result; one that ends well before the body leaves the body
// alone. Gives otherwise what a TaskGroup gives: absl::Status, or
// absl::StatusOr of the body's value. The background is out of reach of
// cancellation from outside as long as the body runs; it must stop when it is
// cancelled.

#ifndef BRAID_CORE_WITH_BACKGROUND_H_
#define BRAID_CORE_WITH_BACKGROUND_H_

#include <type_traits>
#include <utility>

#include "braid/core/awaitable.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/task_set.h"

namespace braid {
namespace detail {

template <typename Background, typename B>
class WithBackgroundAwaiter final : public Link, private LegObserver {
 public:
  using Result = typename BodyHolder<B>::Result;

  WithBackgroundAwaiter(Background&& background, B&& body)
      : Link(&kOps),
        background_(std::move(background)),
        body_(std::move(body)) {}

  bool Ready() const { return false; }

  Link* Start(Link* link) {
    parent = link;
    TaskNode& host = Loop::Current().CurrentTask();
    set_.host = &host;
    // The background's scope stands beside the body's, not around it: each is
    // cancelled at its own time.
    set_.scope.SetShield(true);
    set_.scope.Link(*host.loop(), host.scope, nullptr);
    background_.Begin(set_, &set_.scope, this, "background");
    body_scope_.Enter(host);
    return body_.Start(this);
  }

  FallibleOf<Result> TakeResult() {
    if (!failures_.empty()) return failures_.Take();
    return TakeFallible(slot_);
  }

 private:
  void LegEnded(End end, const absl::Status& status,
                const std::exception_ptr& exception) override {
    if (end != End::kFailed) return;
    if (exception != nullptr) {
      failures_.Add(exception);
    } else {
      failures_.Add(status);
    }
    if (body_scope_.linked()) {
      body_scope_.Cancel(CancelCause::Source::kChildFailed,
                         FailureReason("background", status, exception));
    }
  }

  static Link* Done(Link* link) {
    auto* self = static_cast<WithBackgroundAwaiter*>(link);
    if (self->body_scope_.linked()) {
      self->body_.CaptureInto(self->slot_);
      if (Failed(self->slot_)) {
        if (self->slot_.has_exception()) {
          self->failures_.Add(self->slot_.exception());
        } else {
          self->failures_.Add(StatusOf(self->slot_));
        }
      }
      if (self->EndBackground()) return nullptr;
    }
    return self->Conclude() ? self->parent : Unwind(self->parent);
  }

  static Unwound Stopped(Link* link) {
    auto* self = static_cast<WithBackgroundAwaiter*>(link);
    self->stopped_from_outside_ =
        self->body_scope_.due_from_outside() || !self->body_scope_.cancelled();
    if (self->EndBackground()) return {nullptr, false};
    const bool goes_on = self->Conclude();
    return {self->parent, !goes_on};
  }

  // The body is over. True: the background isn't yet.
  bool EndBackground() {
    body_scope_.Leave();
    set_.scope.Cancel(CancelCause::Source::kBodyEnded);
    return set_.WaitAt(this);
  }

  // False: the stop goes on outwards.
  bool Conclude() {
    const bool failed = !failures_.empty();
    set_.scope.SetShield(false);  // it is over: what it hid may be looked for
    if (failed && stopped_from_outside_) set_.scope.MarkCaughtOutside();
    set_.scope.Unlink();
    return failed || !stopped_from_outside_;
  }

  static constexpr LinkOps kOps = {&Done, &Stopped, false, "WithBackground"};

  TaskSet set_;
  Scope body_scope_;
  Leg<Background> background_;
  BodyHolder<B> body_;
  Slot<Result> slot_;
  Failures failures_;
  bool stopped_from_outside_ = false;
};

}  // namespace detail

template <Body Background, Body B>
auto WithBackground(Background&& background, B&& body) {
  using First = std::decay_t<Background>;
  using Second = std::decay_t<B>;
  return detail::Boundary<detail::WithBackgroundAwaiter<First, Second>, First,
                          Second>(First(std::forward<Background>(background)),
                                  Second(std::forward<B>(body)));
}

}  // namespace braid

#endif  // BRAID_CORE_WITH_BACKGROUND_H_
