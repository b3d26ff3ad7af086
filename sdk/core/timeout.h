// Time limits and shields around a body.
//
//   std::optional<absl::StatusOr<Reply>> maybe =
//       co_await MoveOnAfter(200ms, client.Query(q));
//   absl::StatusOr<Reply> must = co_await FailAfter(2s, client.Query(q));
//   co_await Shield(connection.Close());  // finishes even while cancelled
//
// A body is something awaitable, or a callable that returns one. The clock
// starts when the limit is awaited; an infinite delay is no limit, a negative
// one has expired. When the limit passes, the body is stopped as CancelScope
// says; a body that completes nevertheless gives its value. Stops from outside
// pass through MoveOn and FailAfter, not through Shield.

#ifndef BRAID_CORE_TIMEOUT_H_
#define BRAID_CORE_TIMEOUT_H_

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/detail/result.h"
#include "braid/core/time.h"

namespace braid {
namespace detail {

// A base, so that the scope is there before and goes after the body that runs
// in it.
struct OwnScope {
  Scope own_scope;
};

// A point in time, or a delay from the await on.
struct Limit {
  explicit Limit(Delay delay) : delay(delay), at(kNever), relative(true) {}
  explicit Limit(Time at) : delay(kForever), at(at), relative(false) {}
  Delay delay;
  Time at;
  bool relative;
};

template <typename B>
class LimitedBody : private OwnScope, public ScopedBody<B> {
 public:
  LimitedBody(Limit limit, B&& body)
      : ScopedBody<B>(&own_scope, std::move(body)), limit_(limit) {
    if (!limit.relative) own_scope.SetDeadline(limit.at);
  }
  Link* Start(Link* link) {
    return limit_.relative ? this->StartWithin(link, limit_.delay)
                           : ScopedBody<B>::Start(link);
  }

 protected:
  const Limit& limit() const { return limit_; }

 private:
  Limit limit_;
};

template <typename B>
class MoveOn : public LimitedBody<B> {
 public:
  using LimitedBody<B>::LimitedBody;
  auto TakeResult() { return TakeOptional(static_cast<ScopedBody<B>&>(*this)); }
};

absl::Status DeadlineExceeded(const Limit& limit);

template <typename B>
class FailLimit : public LimitedBody<B> {
 public:
  using LimitedBody<B>::LimitedBody;
  using Result = typename ScopedBody<B>::Result;

  FallibleOf<Result> TakeResult() {
    if (this->caught()) return DeadlineExceeded(this->limit());
    if constexpr (std::is_void_v<Result>) {
      this->TakeBodyResult();
      return absl::OkStatus();
    } else {
      return this->TakeBodyResult();
    }
  }
};

template <typename B>
class ShieldedBody : private OwnScope, public ScopedBody<B> {
 public:
  explicit ShieldedBody(B&& body) : ScopedBody<B>(&own_scope, std::move(body)) {
    own_scope.SetShield(true);
  }
  decltype(auto) TakeResult() { return this->TakeBodyResult(); }
};

}  // namespace detail

// Runs `body` for at most `delay`. co_await gives std::optional of its result
// (bool where it has none): empty when the limit stopped it.
template <Body B>
auto MoveOnAfter(Delay delay, B&& body) {
  using Stored = std::decay_t<B>;
  return detail::Boundary<detail::MoveOn<Stored>, detail::Limit, Stored>(
      detail::Limit(delay), Stored(std::forward<B>(body)));
}
template <Body B>
auto MoveOnAt(Time deadline, B&& body) {
  using Stored = std::decay_t<B>;
  return detail::Boundary<detail::MoveOn<Stored>, detail::Limit, Stored>(
      detail::Limit(deadline), Stored(std::forward<B>(body)));
}

// Runs `body` for at most `delay`. co_await gives its result as absl::Status or
// absl::StatusOr: DEADLINE_EXCEEDED when this limit stopped it, and only then.
template <Body B>
auto FailAfter(Delay delay, B&& body) {
  using Stored = std::decay_t<B>;
  return detail::Boundary<detail::FailLimit<Stored>, detail::Limit, Stored>(
      detail::Limit(delay), Stored(std::forward<B>(body)));
}
template <Body B>
auto FailAt(Time deadline, B&& body) {
  using Stored = std::decay_t<B>;
  return detail::Boundary<detail::FailLimit<Stored>, detail::Limit, Stored>(
      detail::Limit(deadline), Stored(std::forward<B>(body)));
}

// Runs `body` out of reach of any cancellation from outside, and gives its
// result. The stop waits: it is taken at the next checkpoint after the body.
// Give the body a limit of its own where it could wait for long.
template <Body B>
auto Shield(B&& body) {
  using Stored = std::decay_t<B>;
  return detail::Boundary<detail::ShieldedBody<Stored>, Stored>(
      Stored(std::forward<B>(body)));
}

}  // namespace braid

#endif  // BRAID_CORE_TIMEOUT_H_
