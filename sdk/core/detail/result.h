// The vocabulary of results: how T, absl::Status and absl::StatusOr<T> map onto
// each other in boundaries and combinators.

#ifndef BRAID_CORE_DETAIL_RESULT_H_
#define BRAID_CORE_DETAIL_RESULT_H_

#include <functional>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/detail/slot.h"

namespace braid::detail {

template <typename R>
struct ResultTraits {
  using Value = R;  // what is there when it didn't fail
  static constexpr bool kFallible = false;
};
template <>
struct ResultTraits<absl::Status> {
  using Value = void;
  static constexpr bool kFallible = true;
};
template <typename U>
struct ResultTraits<absl::StatusOr<U>> {
  using Value = U;
  static constexpr bool kFallible = true;
};

template <typename R>
using ValueOf = typename ResultTraits<R>::Value;
template <typename R>
inline constexpr bool kFallible = ResultTraits<R>::kFallible;

// The value of a result that didn't fail.
inline void UnwrapValue(absl::Status&& result) { result.IgnoreError(); }
template <typename U>
U UnwrapValue(absl::StatusOr<U>&& result) {
  return *std::move(result);
}

// What stands for a V in a container: for nothing a std::monostate, for a
// reference a std::reference_wrapper.
template <typename V>
struct RegularFor {
  using Type = V;
};
template <>
struct RegularFor<void> {
  using Type = std::monostate;
};
template <typename V>
struct RegularFor<V&> {
  using Type = std::reference_wrapper<V>;
};
template <typename V>
using Regular = typename RegularFor<V>::Type;

// absl::Status for nothing, absl::StatusOr<V> for a V.
template <typename V>
struct FallibleFor {
  using Type = absl::StatusOr<Regular<V>>;
};
template <>
struct FallibleFor<void> {
  using Type = absl::Status;
};
template <typename R>
using FallibleOf = typename FallibleFor<ValueOf<R>>::Type;

// The error in a slot's value: OK where there is none, or where R can't carry
// one.
template <typename R>
absl::Status StatusOf(Slot<R>& slot) {
  if constexpr (std::is_same_v<R, absl::Status>) {
    return slot.value();
  } else if constexpr (kFallible<R>) {
    return slot.value().status();
  } else {
    return absl::OkStatus();
  }
}

template <typename R>
bool Failed(Slot<R>& slot) {
  if (slot.has_exception()) return true;
  if constexpr (kFallible<R>) {
    return slot.has_value() && !slot.value().ok();
  } else {
    return false;
  }
}

// The value in a slot that did not fail, without its StatusOr.
template <typename R>
Regular<ValueOf<R>> TakeValue(Slot<R>& slot) {
  if constexpr (std::is_void_v<R>) {
    slot.Take();
    return {};
  } else if constexpr (std::is_same_v<R, absl::Status>) {
    slot.Take().IgnoreError();  // it did not fail
    return {};
  } else if constexpr (kFallible<R>) {
    return *slot.Take();
  } else {
    return slot.Take();
  }
}

// What became of the result as a fallible one.
template <typename R>
FallibleOf<R> TakeFallible(Slot<R>& slot) {
  if constexpr (std::is_void_v<R>) {
    slot.Take();
    return absl::OkStatus();
  } else {
    return slot.Take();
  }
}

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_RESULT_H_
