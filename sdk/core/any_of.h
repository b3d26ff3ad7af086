// AnyOf: runs several bodies side by side until one completes.
//
//   auto [line, expired] = co_await AnyOf(lines.Next(), SleepFor(1s));
//   if (line.has_value()) ...
//
// The first body to complete (an error status counts) cancels the others; AnyOf
// completes when all have ended. co_await gives a tuple with a std::optional
// for each body (a bool where it has no value); *every* body that completed is
// there, also those that did so while they were being cancelled, so nothing is
// lost. An exception is rethrown. Stopped from outside before any has
// completed, all are stopped.

#ifndef BRAID_CORE_ANY_OF_H_
#define BRAID_CORE_ANY_OF_H_

#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "braid/core/awaitable.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/task_set.h"

namespace braid {
namespace detail {

class AnyOfBase : public Combinator {
 protected:
  AnyOfBase() : Combinator(&kOps) {}
  ~AnyOfBase() = default;

  void LegEnded(End end, const absl::Status& status,
                const std::exception_ptr& exception) final;

 private:
  static Link* Done(Link* link);
  static const LinkOps kOps;

  bool some_completed_ = false;
};

// A leg's whole result, if it completed.
template <typename R>
OptionalOf<R> TakeIfThere(Slot<R>& slot) {
  if constexpr (std::is_void_v<R>) {
    return slot.has_value();
  } else {
    return slot.has_value() ? OptionalOf<R>(slot.Take()) : std::nullopt;
  }
}

template <typename... Bs>
class AnyOfAwaiter final : public AnyOfBase {
 public:
  explicit AnyOfAwaiter(Bs&&... bodies) : legs_(std::move(bodies)...) {}

  Link* Start(Link* link) {
    return StartLegs(link, [&] {
      std::apply([&](auto&... legs) { (BeginLeg(legs, "AnyOf leg"), ...); },
                 legs_);
    });
  }

  std::tuple<OptionalOf<typename Leg<Bs>::Result>...> TakeResult() {
    if (!failures_.empty())
      failures_.Take().IgnoreError();  // only exceptions: this rethrows
    return std::apply(
        [](auto&... legs) {
          return std::tuple<OptionalOf<typename Leg<Bs>::Result>...>(
              TakeIfThere(legs.slot())...);
        },
        legs_);
  }

 private:
  std::tuple<Leg<Bs>...> legs_;
};

}  // namespace detail

template <Body... Bs>
  requires(sizeof...(Bs) > 0)
auto AnyOf(Bs&&... bodies) {
  return detail::Boundary<detail::AnyOfAwaiter<std::decay_t<Bs>...>,
                          std::decay_t<Bs>...>(
      std::decay_t<Bs>(std::forward<Bs>(bodies))...);
}

}  // namespace braid

#endif  // BRAID_CORE_ANY_OF_H_
