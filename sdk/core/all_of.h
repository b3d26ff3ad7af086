// AllOf: runs several bodies side by side and gives all their results.
//
//   auto [user, quota] =
//       co_await OrReturn(AllOf(users.Get(id), quotas.Get(id)));
//   // In the order of the range:
//   std::vector<int> sizes = co_await AllOf(std::move(tasks));
//
// Completes when every body has ended. co_await gives a tuple (for a range, a
// vector) of the values; if any body can fail, an absl::StatusOr of the tuple
// of unwrapped values: the first error cancels the rest, the others are there
// by SuppressedErrors(). Where no body has a value, it gives nothing, or an
// absl::Status. An exception cancels the rest and is rethrown. Stopped from
// outside, all bodies are stopped; values that some of them had by then are
// lost, so a body keeps progress that matters in an object outside.

#ifndef BRAID_CORE_ALL_OF_H_
#define BRAID_CORE_ALL_OF_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/task_set.h"

namespace braid {
namespace detail {

class AllOfBase : public Combinator {
 protected:
  AllOfBase() : Combinator(&kOps) {}
  ~AllOfBase() = default;

  void LegEnded(End end, const absl::Status& status,
                const std::exception_ptr& exception) final;

 private:
  static Link* Done(Link* link);
  static const LinkOps kOps;

  bool some_stopped_ = false;
};

// The result of legs that all completed, or the failures: `Values` is void, or
// what `take()` gives.
template <bool kFallible, typename Values, typename Take>
auto AllOfResult(Failures& failures, Take take) {
  if constexpr (kFallible) {
    using Result = typename FallibleFor<Values>::Type;
    if (!failures.empty()) return Result(failures.Take());
    if constexpr (std::is_void_v<Values>) {
      return absl::OkStatus();
    } else {
      return Result(take());
    }
  } else {
    if (!failures.empty())
      failures.Take().IgnoreError();  // only exceptions: this rethrows
    if constexpr (!std::is_void_v<Values>) return take();
  }
}

template <typename... Bs>
class AllOfAwaiter final : public AllOfBase {
 public:
  explicit AllOfAwaiter(Bs&&... bodies) : legs_(std::move(bodies)...) {}

  Link* Start(Link* link) {
    return StartLegs(link, [&] {
      std::apply([&](auto&... legs) { (BeginLeg(legs, "AllOf leg"), ...); },
                 legs_);
    });
  }

  auto TakeResult() {
    constexpr bool kAnyFallible = (kFallible<typename Leg<Bs>::Result> || ...);
    constexpr bool kAllVoid =
        (std::is_void_v<ValueOf<typename Leg<Bs>::Result>> && ...);
    using Values = std::conditional_t<
        kAllVoid, void,
        std::tuple<Regular<ValueOf<typename Leg<Bs>::Result>>...>>;
    return AllOfResult<kAnyFallible, Values>(failures_, [&] {
      if constexpr (!kAllVoid) {
        return std::apply(
            [](auto&... legs) { return Values(TakeValue(legs.slot())...); },
            legs_);
      }
    });
  }

 private:
  std::tuple<Leg<Bs>...> legs_;
};

template <typename B>
class AllOfRangeAwaiter final : public AllOfBase {
 public:
  explicit AllOfRangeAwaiter(std::vector<B>&& bodies)
      : size_(bodies.size()),
        legs_(std::make_unique<std::optional<Leg<B>>[]>(size_)) {
    for (size_t i = 0; i < size_; ++i) legs_[i].emplace(std::move(bodies[i]));
  }

  Link* Start(Link* link) {
    return StartLegs(link, [&] {
      for (size_t i = 0; i < size_; ++i) BeginLeg(*legs_[i], "AllOf leg");
    });
  }

  auto TakeResult() {
    using Result = typename Leg<B>::Result;
    using Values = std::conditional_t<std::is_void_v<ValueOf<Result>>, void,
                                      std::vector<Regular<ValueOf<Result>>>>;
    return AllOfResult<kFallible<Result>, Values>(failures_, [&] {
      if constexpr (!std::is_void_v<Values>) {
        Values values;
        values.reserve(size_);
        for (size_t i = 0; i < size_; ++i)
          values.push_back(TakeValue(legs_[i]->slot()));
        return values;
      }
    });
  }

 private:
  size_t size_;
  std::unique_ptr<std::optional<Leg<B>>[]> legs_;
};

}  // namespace detail

template <Body... Bs>
  requires(sizeof...(Bs) > 0)
auto AllOf(Bs&&... bodies) {
  return detail::Boundary<detail::AllOfAwaiter<std::decay_t<Bs>...>,
                          std::decay_t<Bs>...>(
      std::decay_t<Bs>(std::forward<Bs>(bodies))...);
}

template <Body B>
auto AllOf(std::vector<B> bodies) {
  return detail::Boundary<detail::AllOfRangeAwaiter<B>, std::vector<B>>(
      std::move(bodies));
}

}  // namespace braid

#endif  // BRAID_CORE_ALL_OF_H_
