// Where the result of a coroutine is put: a value or an exception, not yet
// there at first.
//
// It lives with whoever awaits the coroutine, so that the frame can go before
// the result is used. What deals with exceptions is in slot.cc: a program built
// without exceptions still links.

#ifndef BRAID_CORE_DETAIL_SLOT_H_
#define BRAID_CORE_DETAIL_SLOT_H_

#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "braid/core/check.h"

namespace braid::detail {

// The exception being handled; called from unhandled_exception().
std::exception_ptr CurrentException() noexcept;
[[noreturn]] void Rethrow(std::exception_ptr exception);
// Calls `function(argument)`; the exception that leaves it, or nullptr.
std::exception_ptr CallAndCatch(void (*function)(void*),
                                void* argument) noexcept;

template <typename T>
class Slot {
 public:
  using Stored = std::conditional_t<std::is_reference_v<T>,
                                    std::remove_reference_t<T>*, T>;

  Slot() {}  // NOLINT(modernize-use-equals-default): the union has no default
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  ~Slot() { Clear(); }

  template <typename U>
  void SetValue(U&& value) {
    Clear();
    if constexpr (std::is_reference_v<T>) {
      value_ = std::addressof(value);
    } else {
      std::construct_at(std::addressof(value_), std::forward<U>(value));
    }
    state_ = State::kValue;
  }
  void SetException(std::exception_ptr exception) noexcept {
    Clear();
    std::construct_at(&exception_, std::move(exception));
    state_ = State::kException;
  }

  bool has_value() const { return state_ == State::kValue; }
  bool has_exception() const { return state_ == State::kException; }
  bool empty() const { return state_ == State::kEmpty; }

  // The value, or the exception rethrown.
  T Take() {
    if (state_ != State::kValue) [[unlikely]]
      TakeException();
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      return std::move(value_);
    }
  }
  Stored& value() { return value_; }
  const Stored& value() const { return value_; }
  std::exception_ptr& exception() { return exception_; }

 private:
  enum class State : unsigned char { kEmpty, kValue, kException };

  [[noreturn]] void TakeException() {
    Check(state_ == State::kException,
          "a result is taken that isn't there; this is a bug in Braid");
    Rethrow(std::move(exception_));
  }
  void Clear() noexcept {
    if (state_ == State::kValue) {
      std::destroy_at(std::addressof(value_));
    } else if (state_ == State::kException) {
      std::destroy_at(&exception_);
    }
    state_ = State::kEmpty;
  }

  union {
    Stored value_;
    std::exception_ptr exception_;
  };
  State state_ = State::kEmpty;
};

template <>
class Slot<void> {
 public:
  void SetValue() {
    exception_ = nullptr;
    has_value_ = true;
  }
  void SetException(std::exception_ptr exception) noexcept {
    exception_ = std::move(exception);
    has_value_ = false;
  }
  bool has_value() const { return has_value_; }
  bool has_exception() const { return exception_ != nullptr; }
  bool empty() const { return !has_value_ && exception_ == nullptr; }
  void Take() {
    if (!has_value_) [[unlikely]] {
      Check(exception_ != nullptr,
            "a result is taken that isn't there; this is a bug in Braid");
      Rethrow(std::move(exception_));
    }
  }
  std::exception_ptr& exception() { return exception_; }

 private:
  std::exception_ptr exception_;
  bool has_value_ = false;
};

// Moves the result of a completed awaiter into `slot`, an exception included.
template <typename T, typename Awaiter>
void Capture(Slot<T>& slot, Awaiter& awaiter) {
  if constexpr (requires { awaiter.slot(); }) {
    // A Task's awaiter: no need to throw in order to look.
    Slot<T>& from = *awaiter.slot();
    if (from.has_exception()) {
      return slot.SetException(std::move(from.exception()));
    }
    if constexpr (std::is_void_v<T>) {
      return slot.SetValue();
    } else if constexpr (std::is_reference_v<T> ||
                         std::is_nothrow_move_constructible_v<T>) {
      return slot.SetValue(from.Take());
    }
  }
  if constexpr (noexcept(awaiter.TakeResult()) &&
                (std::is_void_v<T> || std::is_reference_v<T> ||
                 std::is_nothrow_move_constructible_v<T>)) {
    if constexpr (std::is_void_v<T>) {
      awaiter.TakeResult();
      return slot.SetValue();
    } else {
      return slot.SetValue(awaiter.TakeResult());
    }
  }
  struct Context {
    Slot<T>& slot;
    Awaiter& awaiter;
  } context{slot, awaiter};
  std::exception_ptr exception = CallAndCatch(
      [](void* argument) {
        auto& context = *static_cast<Context*>(argument);
        if constexpr (std::is_void_v<T>) {
          context.awaiter.TakeResult();
          context.slot.SetValue();
        } else {
          context.slot.SetValue(context.awaiter.TakeResult());
        }
      },
      &context);
  if (exception != nullptr) slot.SetException(std::move(exception));
}

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_SLOT_H_
