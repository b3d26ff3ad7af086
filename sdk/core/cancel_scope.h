// CancelScope: a boundary around some work that can be told to stop.
//
// For: stopping a part of a task from elsewhere, giving it a deadline that may
// move, protecting it from a stop outside. Where a fixed time limit is all that
// is wanted, MoveOnAfter and FailAfter (timeout.h) say it shorter.
//
//   CancelScope scope;
//   std::optional<Reply> reply = co_await scope.Run(client.Query(q));
//   if (!reply.has_value()) ...  // the scope was cancelled
//
// Single use: Run is awaited once (checked). Cancelling flows down into
// everything that runs inside, started tasks included, and stays: whatever can
// still run there stops at its next checkpoint. A stopped body is not resumed:
// its frames are destroyed, innermost first; nothing can swallow that by
// accident. A body that completes nevertheless gives its value: a value always
// beats a cancel.
//
// Threads: everything on the thread of the loop that runs the body. Cancel and
// SetDeadline may be called from a destructor.

#ifndef BRAID_CORE_CANCEL_SCOPE_H_
#define BRAID_CORE_CANCEL_SCOPE_H_

#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "braid/core/awaitable.h"
#include "braid/core/check.h"
#include "braid/core/detail/link.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/scope.h"
#include "braid/core/time.h"

namespace braid {
namespace detail {

// Runs a body inside a scope node: the base of every boundary with one body.
template <typename B>
class ScopedBody : public Link {
 public:
  using Result = typename BodyHolder<B>::Result;

  ScopedBody(Scope* scope, B&& body)
      : Link(&kOps), scope_(scope), body_(std::move(body)) {}

  bool Ready() const { return false; }

  Link* Start(Link* link) {
    parent = link;
    Entry entry(*scope_);
    if (scope_->deadline() != kNever)
      scope_->ArmDeadline(Loop::Current().Now());
    entry.Keep();
    return body_.Start(this);
  }

  bool caught() const { return caught_; }
  Result TakeBodyResult() { return body_.TakeResult(); }

 protected:
  // Enters with a deadline relative to now.
  Link* StartWithin(Link* link, Delay delay) {
    parent = link;
    Entry entry(*scope_);
    if (!delay.is_infinite()) {
      const Time now = Loop::Current().Now();
      scope_->SetRelativeDeadline(Add(now, delay), now);
    }
    entry.Keep();
    return body_.Start(this);
  }

 private:
  // Enters the scope. Where there is no memory for the deadline, it is left
  // again, and the awaiting coroutine has the exception.
  class Entry {
   public:
    explicit Entry(Scope& scope) : scope_(&scope) {
      scope.Enter(Loop::Current().CurrentTask());
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
      if (scope_ != nullptr) scope_->Leave();
    }
    void Keep() { scope_ = nullptr; }

   private:
    Scope* scope_;
  };

  static Link* Done(Link* link) {
    static_cast<ScopedBody*>(link)->scope_->Leave();
    return link->parent;
  }
  static Unwound Stopped(Link* link) {
    auto* self = static_cast<ScopedBody*>(link);
    // A stop that also comes from outside goes on outwards: this scope would
    // not have made the difference.
    self->caught_ =
        self->scope_->cancelled() && !self->scope_->due_from_outside();
    if (self->caught_) self->scope_->MarkCaught();
    self->scope_->Leave();
    return {link->parent, !self->caught_};
  }
  static constexpr LinkOps kOps = {&Done, &Stopped, false, "CancelScope"};

  Scope* scope_;
  BodyHolder<B> body_;
  bool caught_ = false;
};

// std::optional of a body's result, or bool where it has none: empty or false
// when a scope stopped it.
template <typename R>
using OptionalOf =
    std::conditional_t<std::is_void_v<R>, bool, std::optional<Regular<R>>>;

template <typename B>
OptionalOf<typename ScopedBody<B>::Result> TakeOptional(ScopedBody<B>& body) {
  if constexpr (std::is_void_v<typename ScopedBody<B>::Result>) {
    if (body.caught()) return false;
    body.TakeBodyResult();
    return true;
  } else {
    if (body.caught()) return std::nullopt;
    return body.TakeBodyResult();
  }
}

template <typename B>
class CancelScopeRun : public ScopedBody<B> {
 public:
  using ScopedBody<B>::ScopedBody;
  auto TakeResult() { return TakeOptional(static_cast<ScopedBody<B>&>(*this)); }
};

}  // namespace detail

class CancelScope {
 public:
  CancelScope() = default;
  explicit CancelScope(Time deadline) : CancelScope() {
    scope_.SetDeadline(deadline);
  }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  // Runs `body` inside. co_await gives std::optional of the body's result (bool
  // where it has none): empty when this scope stopped it. A stop that comes
  // from outside goes on outwards. The scope must outlive the await.
  template <Body B>
  auto Run(B&& body) {
    using Stored = std::decay_t<B>;
    return detail::Boundary<detail::CancelScopeRun<Stored>, detail::Scope*,
                            Stored>(&scope_, Stored(std::forward<B>(body)));
  }

  // Stops what runs inside, and what will. May be called before Run.
  // Idempotent; the first reason wins.
  void Cancel(std::string_view reason = {}) {
    scope_.Cancel(CancelCause::Source::kExplicit, reason);
  }

  // The time at which the scope cancels itself; kNever for none. May move
  // either way until it has fired; moving it later afterwards undoes nothing.
  void SetDeadline(Time deadline) { scope_.SetDeadline(deadline); }
  Time deadline() const { return scope_.deadline(); }

  // A shielded scope doesn't see cancellation from outside; its own still
  // works. Clearing the shield of a body that should have stopped meanwhile
  // stops it at once.
  void SetShield(bool shield) { scope_.SetShield(shield); }
  bool shield() const { return scope_.shield(); }

  // Whether Cancel was called or the deadline has passed, delivered or not.
  bool cancel_called() { return scope_.cancel_called(); }
  // Whether this scope stopped something inside.
  bool caught() const { return scope_.caught(); }
  // Who cancelled it and why; empty if nobody did.
  std::optional<CancelCause> cause() const {
    return scope_.cancelled() ? scope_.cause() : std::nullopt;
  }

 private:
  detail::Scope scope_;
};

}  // namespace braid

#endif  // BRAID_CORE_CANCEL_SCOPE_H_
