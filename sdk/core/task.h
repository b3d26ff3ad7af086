// Task<T>: a coroutine that has not begun yet.
//
// For: every asynchronous function. Calling one makes a Task; awaiting it runs
// it, in the awaiting task and on its loop, and gives its result:
//
//   Task<int> Add(int a, int b) { co_return a + b; }
//   Task<absl::Status> Caller() {
//     int three = co_await Add(1, 2);
//     co_await OrReturn(Save(three));
//     co_return absl::OkStatus();
//   }
//
// Completes when the coroutine returns. Awaiting is not a checkpoint:
// cancellation is looked for by the operations inside. If one of those is
// stopped, this coroutine and those that await it are not resumed: their frames
// are destroyed, innermost first, up to the boundary that takes the stop (a
// cancel scope, a task group). Destructors of locals run; nothing else does. An
// exception that leaves the coroutine is rethrown in the one that awaits it.
//
// Lifetimes: a Task owns its frame. Arguments passed by reference, and a
// lambda's captures, must live until the Task has ended: await it in the full
// expression that makes it, or hand a callable and its arguments to
// TaskGroup::Start. A Task that is never awaited never runs. Not for: starting
// something in the background; that is TaskGroup. Threads: it begins and ends
// on the thread of one loop.

#ifndef BRAID_CORE_TASK_H_
#define BRAID_CORE_TASK_H_

#include <coroutine>
#include <exception>
#include <source_location>
#include <type_traits>
#include <utility>

#include "braid/core/awaitable.h"
#include "braid/core/check.h"
#include "braid/core/detail/link.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/slot.h"

#if defined(__clang__)
#define BRAID_CORO_RETURN_TYPE \
  [[clang::coro_return_type, clang::coro_lifetimebound]]
#else
#define BRAID_CORO_RETURN_TYPE
#endif

namespace braid {

template <typename T>
class Task;

namespace detail {

template <typename T>
class TaskAwaiter;

// What a coroutine's co_await turns a description into.
template <typename A>
class CoAwaiter {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor)
  CoAwaiter(A&& description) : awaiter_(std::move(description).MakeAwaiter()) {}

  [[gnu::always_inline]] bool await_ready() { return awaiter_.Ready(); }

  template <typename Promise>
  auto await_suspend(std::coroutine_handle<Promise> handle) {
    if constexpr (std::is_void_v<decltype(awaiter_.Start(&handle.promise()))>) {
      awaiter_.Start(&handle.promise());
    } else {
      return Continue(awaiter_.Start(&handle.promise()));
    }
  }

  decltype(auto) await_resume() { return awaiter_.TakeResult(); }

 private:
  AwaiterOf<A> awaiter_;
};

template <typename Promise>
class OrReturnContext;

template <typename A, typename Promise>
concept AwaitableIn =
    requires(A&& a, Promise& promise) { std::move(a).In(promise); };

// The part of the promise that needs the coroutine's own type.
template <typename T>
class Promise;

template <typename T>
class PromiseCommon : public PromiseBase {
 public:
  static void* operator new(size_t size) { return AllocateFrame(size); }
  static void operator delete(void* p, size_t size) noexcept {
    ReleaseFrame(p, size);
  }

  Task<T> get_return_object() noexcept;
  std::suspend_always initial_suspend() const noexcept { return {}; }

  // Gives up the frame and goes on with whoever awaits it. The result already
  // stands in the owner's slot.
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(
        std::coroutine_handle<Promise<T>> handle) const noexcept {
      PromiseBase& promise = handle.promise();
      Link* parent = promise.parent;
      promise.owner->child = nullptr;
      handle.destroy();
      return Continue(parent);
    }
    void await_resume() const noexcept {}
  };
  FinalAwaiter final_suspend() const noexcept { return {}; }

  void unhandled_exception() noexcept {
    if (owner == nullptr) [[unlikely]]
      DestructorThrew();
    slot().SetException(CurrentException());
  }

  template <typename A>
  auto await_transform(A&& description, std::source_location where =
                                            std::source_location::current()) {
    location = where;
    if constexpr (AwaitableIn<std::decay_t<A>, Promise<T>>) {
      static_assert(!std::is_lvalue_reference_v<A>,
                    "await it where it is made, or std::move it");
      return CoAwaiter<decltype(std::forward<A>(description)
                                    .In(static_cast<Promise<T>&>(*this)))>(
          std::forward<A>(description).In(static_cast<Promise<T>&>(*this)));
    } else {
      static_assert(!std::is_lvalue_reference_v<A>,
                    "what is awaited is used up: await it where it is made, or "
                    "write co_await std::move(x)");
      static_assert(Awaitable<std::decay_t<A>>,
                    "this type can't be awaited in a braid::Task; await a "
                    "Task, an operation, or use FromCallback");
      return CoAwaiter<std::decay_t<A>>(std::forward<A>(description));
    }
  }

  Slot<T>& slot() { return *static_cast<TaskAwaiter<T>*>(owner)->slot(); }
};

template <typename T>
class Promise final : public PromiseCommon<T> {
 public:
  template <typename U = T>
    requires std::convertible_to<U&&, T>
  void return_value(U&& value) {
    this->slot().SetValue(std::forward<U>(value));
  }
};

template <>
class Promise<void> final : public PromiseCommon<void> {
 public:
  void return_void() { slot().SetValue(); }
};

// Runs a Task and keeps its result.
template <typename T>
class TaskAwaiter : public FrameOwner {
 public:
  explicit TaskAwaiter(PromiseBase* promise) { child = promise; }
  TaskAwaiter(const TaskAwaiter&) = delete;
  TaskAwaiter& operator=(const TaskAwaiter&) = delete;
  ~TaskAwaiter() { Reset(); }

  bool Ready() const noexcept {
    Check(child != nullptr,
          "a task is awaited twice, or after it was moved from; call the "
          "coroutine again for a new one");
    return false;
  }

  Link* Start(Link* link) {
    child->owner = this;
    child->parent = link;
    return child;
  }

  T TakeResult() { return slot_.Take(); }

  // An exception isn't a status: TakeValue rethrows it.
  bool Failed() const noexcept
    requires kFallible<T>
  {
    return slot_.has_value() && !slot_.value().ok();
  }
  ValueOf<T> TakeValue()
    requires kFallible<T>
  {
    return UnwrapValue(slot_.Take());
  }

  // Destroys the frame if it is still there.
  void Reset() {
    if (child != nullptr) child->Destroy();
  }

  Slot<T>* slot() { return &slot_; }

 private:
  Slot<T> slot_;
};

}  // namespace detail

template <typename T>
class [[nodiscard(
    "a task does nothing until it is awaited")]] BRAID_CORO_RETURN_TYPE Task {
 public:
  using promise_type = detail::Promise<T>;

  Task(Task&& other) noexcept
      : promise_(std::exchange(other.promise_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (promise_ != nullptr) promise_->Destroy();
      promise_ = std::exchange(other.promise_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (promise_ != nullptr) promise_->Destroy();
  }

  // For co_await, boundaries and combinators.
  detail::TaskAwaiter<T> MakeAwaiter() && {
    return detail::TaskAwaiter<T>(std::exchange(promise_, nullptr));
  }

 private:
  friend class detail::PromiseCommon<T>;
  explicit Task(detail::PromiseBase* promise) : promise_(promise) {}

  detail::PromiseBase* promise_;
};

namespace detail {

template <typename T>
Task<T> PromiseCommon<T>::get_return_object() noexcept {
  static_assert(alignof(Promise<T>) == alignof(PromiseBase) &&
                std::is_base_of_v<PromiseBase, Promise<T>>);
  return Task<T>(this);
}

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_TASK_H_
