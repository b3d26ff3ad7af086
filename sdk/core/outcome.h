// Outcome<T>: how a task ended: with a value, with an error, or stopped.
//
// For: looking at a task's end from outside, through a TaskHandle or in a
// Finally's clean-up. T is what the task gives when all is well: int for
// Task<int> and for Task<absl::StatusOr<int>>, void for Task<void> and
// Task<absl::Status>. An error is an absl::Status or an exception that left the
// coroutine. Stopped means cancelled: neither a value nor an error.

#ifndef BRAID_CORE_OUTCOME_H_
#define BRAID_CORE_OUTCOME_H_

#include <exception>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "braid/core/check.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/slot.h"

namespace braid {

template <typename T>
class [[nodiscard]] Outcome {
 public:
  struct Stopped {};

  // Stopped.
  Outcome() : state_(Stopped()) {}
  Outcome(Stopped) : Outcome() {}  // NOLINT(google-explicit-constructor)
  explicit Outcome(detail::Regular<T> value)
      : state_(std::in_place_index<0>, std::move(value)) {}
  explicit Outcome(absl::Status error)
      : state_(std::in_place_index<1>, std::move(error)) {
    detail::Check(!std::get<1>(state_).ok(),
                  "an Outcome's error is OK; pass the value instead");
  }
  explicit Outcome(std::exception_ptr exception)
      : state_(std::in_place_index<2>, std::move(exception)) {}

  bool ok() const { return state_.index() == 0; }
  bool failed() const { return state_.index() == 1 || state_.index() == 2; }
  bool stopped() const { return state_.index() == 3; }

  // The value; failed or stopped is a failed check.
  detail::Regular<T>& value() & {
    detail::Check(ok(), "an Outcome has no value: look at ok() first");
    return std::get<0>(state_);
  }
  const detail::Regular<T>& value() const& {
    return const_cast<Outcome*>(this)->value();
  }
  detail::Regular<T>&& value() && { return std::move(value()); }

  // OK for a value, the error, CANCELLED for stopped, UNKNOWN for an exception.
  absl::Status status() const {
    switch (state_.index()) {
      case 0:
        return absl::OkStatus();
      case 1:
        return std::get<1>(state_);
      case 2:
        return absl::UnknownError("the task ended with an exception");
      default:
        return absl::CancelledError("the task was cancelled");
    }
  }
  // The exception the task ended with, nullptr if it didn't.
  std::exception_ptr exception() const {
    return state_.index() == 2 ? std::get<2>(state_) : nullptr;
  }

 private:
  std::variant<detail::Regular<T>, absl::Status, std::exception_ptr, Stopped>
      state_;
};

namespace detail {

// The outcome of a body whose result is in `slot`; empty means stopped.
template <typename R>
Outcome<ValueOf<R>> TakeOutcome(Slot<R>& slot) {
  using Result = Outcome<ValueOf<R>>;
  if (slot.empty()) return Result();
  if (slot.has_exception()) return Result(slot.exception());
  if (absl::Status status = StatusOf(slot); !status.ok())
    return Result(std::move(status));
  return Result(TakeValue(slot));
}

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_OUTCOME_H_
