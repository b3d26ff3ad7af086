// UseBraid: awaits any asynchronous operation of Boost.Asio in a task.
//
//   boost::asio::steady_timer timer(CurrentIoContext(), 1s);
//   absl::Status status = co_await timer.async_wait(UseBraid);
//   size_t size = co_await OrReturn(port.async_read_some(buffer, UseBraid));
//
// For: what Braid has nothing of its own for: serial ports, and libraries
// written for Asio. On the Asio backend only: start the program with
// --backend=asio, or Run it on MakeAsioBackend(). On another one, which "auto"
// takes where it can, it is a failed check.
//
// co_await gives what the handler would get, with the error in front made a
// status: absl::Status, absl::StatusOr<T>, or absl::StatusOr<std::tuple<T...>>;
// an exception in front is rethrown; without either, the value, a tuple of
// values, or nothing. boost::asio::as_tuple(UseBraid) gives everything as it
// is, the error code included, for operations that both fail and say how far
// they came.
//
// Completes when the handler would be called. Cancelled: asks the operation to
// end in every way it knows (boost::asio::cancellation_type::all), and waits
// until it has. It is stopped if it then says operation_aborted and gives
// nothing; otherwise it completes with what it says, so nothing is lost. What a
// composed operation (async_read) did before is lost with it if it doesn't say;
// by Asio's rules, its object is then good for closing only.
//
// Lifetimes: what is handed to the operation lives until the await is over.
// Threads: the loop's; the Asio objects may belong to any io_context.

#ifndef BRAID_BACKEND_ASIO_USE_BRAID_H_
#define BRAID_BACKEND_ASIO_USE_BRAID_H_

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/asio/asio_context.h"
#include "braid/core/check.h"
#include "braid/core/operation.h"

namespace braid {

// The completion token.
struct UseBraidToken {};
inline constexpr UseBraidToken UseBraid;

// The io_context that the current loop runs on, to make Asio objects with. They
// must go before it: let tasks own them. From the first call on, the loop of a
// backend of its own waits in it, which costs two more system calls per wait.
inline boost::asio::io_context& CurrentIoContext() {
  return detail::CurrentAsioContext().io_context();
}

namespace detail {

// "<Asio's message> (<category>)", with the code an errno stands for.
absl::Status AsioErrorStatus(const boost::system::error_code& error);

// What an operation with handler arguments Vs gives.
template <typename... Vs>
struct AsioResult {
  using Values = std::tuple<Vs...>;
  static bool Aborted(const Values&) { return false; }
  static auto Make(Values&& values) {
    if constexpr (sizeof...(Vs) == 1) {
      return std::get<0>(std::move(values));
    } else if constexpr (sizeof...(Vs) > 1) {
      return std::move(values);
    }
  }
};

template <typename... Vs>
auto WithoutFirst(std::tuple<Vs...>&& values) {
  return std::apply(
      []<typename F, typename... Rest>(F&&, Rest&&... rest) {
        return std::tuple(std::move(rest)...);
      },
      std::move(values));
}

template <typename... Vs>
struct AsioResult<boost::system::error_code, Vs...> {
  using Values = std::tuple<boost::system::error_code, Vs...>;
  // It says that it was aborted, and nothing else.
  static bool Aborted(const Values& values) {
    if (std::get<0>(values) != boost::asio::error::operation_aborted)
      return false;
    return std::apply(
        [](const auto&, const auto&... rest) {
          return (IsNothing(rest) && ...);
        },
        values);
  }
  static auto Make(Values&& values) {
    const boost::system::error_code error = std::get<0>(values);
    if constexpr (sizeof...(Vs) == 0) {
      return error ? AsioErrorStatus(error) : absl::OkStatus();
    } else if constexpr (sizeof...(Vs) == 1) {
      using Value = std::tuple_element_t<1, Values>;
      return error ? absl::StatusOr<Value>(AsioErrorStatus(error))
                   : absl::StatusOr<Value>(std::get<1>(std::move(values)));
    } else {
      using Rest = std::tuple<Vs...>;
      return error ? absl::StatusOr<Rest>(AsioErrorStatus(error))
                   : absl::StatusOr<Rest>(WithoutFirst(std::move(values)));
    }
  }

 private:
  template <typename V>
  static bool IsNothing(const V& value) {
    if constexpr (std::is_integral_v<V>) {
      return value == 0;
    } else {
      return true;  // an object of a type that says nothing here, such as a
                    // socket that wasn't accepted
    }
  }
};

template <typename... Vs>
struct AsioResult<std::exception_ptr, Vs...> {
  using Values = std::tuple<std::exception_ptr, Vs...>;
  static bool Aborted(const Values&) { return false; }
  static auto Make(Values&& values) {
    if (std::get<0>(values) != nullptr)
      std::rethrow_exception(std::get<0>(values));
    return AsioResult<Vs...>::Make(WithoutFirst(std::move(values)));
  }
};

// With as_tuple: the error is in the tuple.
template <typename... Vs>
struct AsioResult<std::tuple<boost::system::error_code, Vs...>> {
  using Values = std::tuple<std::tuple<boost::system::error_code, Vs...>>;
  static bool Aborted(const Values& values) {
    return AsioResult<boost::system::error_code, Vs...>::Aborted(
        std::get<0>(values));
  }
  static auto Make(Values&& values) { return std::get<0>(std::move(values)); }
};

template <typename Initiation, typename Arguments, typename... Vs>
class AsioOperation final : public OperationBase {
 public:
  AsioOperation(Initiation initiation, Arguments arguments)
      : initiation_(std::move(initiation)), arguments_(std::move(arguments)) {}

  bool Try() {
    context_ = &CurrentAsioContext();
    executor_ = context_->io_context().get_executor();
    std::apply(
        [&](auto&... arguments) {
          std::move(initiation_)(Handler(this), std::move(arguments)...);
        },
        arguments_);
    started_ = true;
    return values_.has_value();
  }
  void Suspend() {}
  void Cancel() noexcept override {
    cancelled_ = true;
    signal_.emit(boost::asio::cancellation_type::all);
  }
  auto TakeResult() { return AsioResult<Vs...>::Make(*std::move(values_)); }

 private:
  // What Asio calls. It is moved about, and called or thrown away once.
  class Handler {
   public:
    using executor_type = boost::asio::io_context::executor_type;
    using cancellation_slot_type = boost::asio::cancellation_slot;

    explicit Handler(AsioOperation* operation) : operation_(operation) {}
    Handler(Handler&& other) noexcept
        : operation_(std::exchange(other.operation_, nullptr)) {}
    Handler& operator=(Handler&&) = delete;
    ~Handler() {
      Check(operation_ == nullptr,
            "an asynchronous operation of Asio threw its handler away, and a "
            "task waits for it; its io_context must outlive it");
    }

    executor_type get_executor() const noexcept {
      return *operation_->executor_;
    }
    cancellation_slot_type get_cancellation_slot() const noexcept {
      return operation_->signal_.slot();
    }

    template <typename... As>
    void operator()(As&&... values) {
      std::exchange(operation_, nullptr)->Called(std::forward<As>(values)...);
    }

   private:
    AsioOperation* operation_;
  };

  template <typename... As>
  void Called(As&&... values) {
    values_.emplace(std::forward<As>(values)...);
    if (!started_) return;
    context_->Kick();
    if (cancelled_ && AsioResult<Vs...>::Aborted(*values_)) {
      Stop();
    } else {
      Complete();
    }
  }

  Initiation initiation_;
  Arguments arguments_;
  AsioContext* context_ = nullptr;
  std::optional<boost::asio::io_context::executor_type> executor_;
  boost::asio::cancellation_signal signal_;
  std::optional<std::tuple<Vs...>> values_;
  bool started_ = false;
  bool cancelled_ = false;
};

}  // namespace detail
}  // namespace braid

template <typename R, typename... Vs>
struct boost::asio::async_result<braid::UseBraidToken, R(Vs...)> {
  template <typename Initiation, typename... Args>
  static auto initiate(Initiation&& initiation, braid::UseBraidToken,
                       Args&&... args) {
    using Arguments = std::tuple<std::decay_t<Args>...>;
    using Operation =
        braid::detail::AsioOperation<std::decay_t<Initiation>, Arguments,
                                     std::decay_t<Vs>...>;
    return braid::Operation<Operation, std::decay_t<Initiation>, Arguments>(
        std::forward<Initiation>(initiation),
        Arguments(std::forward<Args>(args)...));
  }
};

#endif  // BRAID_BACKEND_ASIO_USE_BRAID_H_
