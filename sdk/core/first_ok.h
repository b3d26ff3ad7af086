// FirstOk: runs several bodies side by side and gives the first result that
// isn't an error.
//
//   absl::StatusOr<Reply> reply =
//       co_await FirstOk(primary.Query(q), replica.Query(q));
//
// The first success cancels the others; FirstOk completes when all have ended.
// If all fail, it gives one error with the code of the first, a message that
// lists them, and the others by SuppressedErrors(). An exception counts as a
// failure; if all fail and an exception is among them, it is rethrown as in a
// TaskGroup. A second success that came while it was being cancelled is
// dropped: for work whose result must not be lost, use AnyOf. Stopped from
// outside before a success, all are stopped. For the same kind of value from
// each body: absl::StatusOr<T>, or absl::Status. Of an empty range nothing can
// succeed: INVALID_ARGUMENT.

#ifndef BRAID_CORE_FIRST_OK_H_
#define BRAID_CORE_FIRST_OK_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/task_node.h"
#include "braid/core/detail/task_set.h"

namespace braid {
namespace detail {

class FirstOkBase : public Combinator {
 protected:
  FirstOkBase() : Combinator(&kOps) {}
  ~FirstOkBase() = default;

  void LegEnded(End end, const absl::Status& status,
                const std::exception_ptr& exception) final;
  // Why none succeeded; rethrows if an exception is among the reasons.
  absl::Status TakeMerged();
  // The leg that succeeded first, nullptr if none did.
  const TaskNode* winner() const { return winner_; }

 private:
  static Link* Done(Link* link);
  static const LinkOps kOps;

  const TaskNode* winner_ = nullptr;
  bool some_stopped_ = false;
};

template <typename... Bs>
class FirstOkAwaiter final : public FirstOkBase {
 public:
  using Value =
      ValueOf<typename Leg<std::tuple_element_t<0, std::tuple<Bs...>>>::Result>;
  static_assert(
      (std::is_same_v<ValueOf<typename Leg<Bs>::Result>, Value> && ...),
      "FirstOk gives one value, so each body has to give the same type");

  explicit FirstOkAwaiter(Bs&&... bodies) : legs_(std::move(bodies)...) {}

  Link* Start(Link* link) {
    return StartLegs(link, [&] {
      std::apply([&](auto&... legs) { (BeginLeg(legs, "FirstOk leg"), ...); },
                 legs_);
    });
  }

  typename FallibleFor<Value>::Type TakeResult() {
    std::optional<typename FallibleFor<Value>::Type> result;
    auto look = [&](auto& leg) {
      if (&leg == winner()) result.emplace(TakeFallible(leg.slot()));
    };
    std::apply([&](auto&... legs) { (look(legs), ...); }, legs_);
    if (result.has_value()) return *std::move(result);
    return TakeMerged();
  }

 private:
  std::tuple<Leg<Bs>...> legs_;
};

template <typename B>
class FirstOkRangeAwaiter final : public FirstOkBase {
 public:
  using Value = ValueOf<typename Leg<B>::Result>;

  explicit FirstOkRangeAwaiter(std::vector<B>&& bodies)
      : size_(bodies.size()),
        legs_(std::make_unique<std::optional<Leg<B>>[]>(size_)) {
    for (size_t i = 0; i < size_; ++i) legs_[i].emplace(std::move(bodies[i]));
  }

  Link* Start(Link* link) {
    return StartLegs(link, [&] {
      for (size_t i = 0; i < size_; ++i) BeginLeg(*legs_[i], "FirstOk leg");
    });
  }

  typename FallibleFor<Value>::Type TakeResult() {
    for (size_t i = 0; i < size_; ++i) {
      if (&*legs_[i] == winner()) return TakeFallible(legs_[i]->slot());
    }
    return TakeMerged();
  }

 private:
  size_t size_;
  std::unique_ptr<std::optional<Leg<B>>[]> legs_;
};

}  // namespace detail

template <Body... Bs>
  requires(sizeof...(Bs) > 0)
auto FirstOk(Bs&&... bodies) {
  return detail::Boundary<detail::FirstOkAwaiter<std::decay_t<Bs>...>,
                          std::decay_t<Bs>...>(
      std::decay_t<Bs>(std::forward<Bs>(bodies))...);
}

template <Body B>
auto FirstOk(std::vector<B> bodies) {
  return detail::Boundary<detail::FirstOkRangeAwaiter<B>, std::vector<B>>(
      std::move(bodies));
}

}  // namespace braid

#endif  // BRAID_CORE_FIRST_OK_H_
