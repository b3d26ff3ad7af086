// Ready<T>: how a task that was started with TaskGroup::StartAndWait says that
// it is ready.
//
//   Task<absl::Status> Listen(Ready<int> ready) {
//     TcpListener listener = co_await OrReturn(TcpListener::Bind("[::]:0"));
//     // StartAndWait gives the port now.
//     ready.Set(listener.local_address().port());
//     ...
//   }
//
// Set is called at most once (checked). If the starter is being cancelled, or
// the task has ended, nothing happens. Destroying a Ready without Set says
// nothing: the task may still end with an error. Threads: the loop's.

#ifndef BRAID_CORE_READY_H_
#define BRAID_CORE_READY_H_

#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/check.h"
#include "braid/core/detail/child.h"
#include "braid/core/detail/result.h"
#include "braid/core/operation.h"

namespace braid {

template <typename T>
class Ready;

namespace detail {

class ReadyBase;

// The part of StartAndWait that knows no types. It owns the child's end until
// the child is ready.
class StartingOp : public OperationBase, private ChildBase::Starter {
 public:
  void Cancel() noexcept override;

 protected:
  StartingOp() : Starter{&ChildEnded} {}
  ~StartingOp();

  void Begin(ChildBase& child);
  bool ready() const { return ready_; }
  // The child ended before it was ready: its error, or rethrows its exception.
  absl::Status TakeFailure();

 private:
  friend class ReadyBase;

  // Whether the call still wants to hear that the child is ready.
  bool listens() const { return !cancelled_; }
  // The child is an ordinary task of its group from now on.
  void BecomeReady();
  static void ChildEnded(Starter& starter, ChildBase& child, ChildEnd end);

  ChildBase* child_ = nullptr;
  ReadyBase* token_ = nullptr;
  absl::Status failure_;
  std::exception_ptr exception_;
  bool ready_ = false;
  bool cancelled_ = false;
};

// Keeps in touch with the call it reports to; either may go first.
class ReadyBase {
 public:
  ReadyBase(ReadyBase&& other) noexcept;
  ReadyBase& operator=(ReadyBase&&) = delete;
  ~ReadyBase();

 protected:
  explicit ReadyBase(StartingOp* op);
  // The call that waits; nullptr if nobody does any more. What it is to get is
  // put there before it is told: making the value may throw.
  StartingOp* BeginReport();
  void EndReport();

 private:
  friend class StartingOp;
  StartingOp* op_;
  bool reported_ = false;
};

template <typename T>
class StartingWithValue : public StartingOp {
 public:
  std::optional<Regular<T>> value_;
};

}  // namespace detail

template <typename T>
class Ready : public detail::ReadyBase {
 public:
  using Value = T;

  explicit Ready(detail::StartingWithValue<T>* op) : ReadyBase(op) {}

  template <typename U = T>
    requires(!std::is_void_v<T> && std::convertible_to<U &&, T>)
  void Set(U&& value) {
    if (auto* op = static_cast<detail::StartingWithValue<T>*>(BeginReport())) {
      op->value_.emplace(std::forward<U>(value));
      EndReport();
    }
  }
  void Set()
    requires std::is_void_v<T>
  {
    if (BeginReport() != nullptr) EndReport();
  }
};

namespace detail {

template <typename T>
inline constexpr bool kIsReady = false;
template <typename T>
inline constexpr bool kIsReady<Ready<T>> = true;

// Whether the last parameter of a callable is a Ready<T>.
template <typename F>
concept TakesReadyLast =
    HasParameters<F> &&
    std::tuple_size_v<typename ParametersOf<F>::Type> != 0 &&
    kIsReady<typename LastParameter<F>::Type>;

}  // namespace detail

}  // namespace braid

#endif  // BRAID_CORE_READY_H_
