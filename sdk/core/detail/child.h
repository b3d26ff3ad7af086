// The record of a task in a group: the task itself, its callable and arguments,
// its result.
//
// Two owners keep it: the group until the task has ended, and any TaskHandle.

#ifndef BRAID_CORE_DETAIL_CHILD_H_
#define BRAID_CORE_DETAIL_CHILD_H_

#include <concepts>
#include <cstdint>
#include <new>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/task_node.h"
#include "braid/core/operation.h"
#include "braid/core/outcome.h"
#include "braid/core/task.h"

namespace braid {

class TaskGroup;

namespace detail {

// A task that waits for the end of a child.
class JoinWaiter : public OperationBase, public IntrusiveListNode {
 public:
  void Cancel() noexcept override {
    list_->Remove(*this);
    Stop();
  }

 private:
  friend class ChildBase;
  IntrusiveList<JoinWaiter>* list_ = nullptr;
};

enum class ChildEnd : uint8_t { kCompleted, kFailed, kStopped };

class ChildBase : public TaskNode, public Link {
 public:
  // Where the errors of a child go that was started with StartAndWait, until it
  // is ready.
  struct Starter {
    void (*ended)(Starter&, ChildBase&, ChildEnd);
  };

  bool ended() const { return group_ == nullptr; }
  void CancelTask(std::string_view reason) {
    if (!ended()) own.Cancel(CancelCause::Source::kExplicit, reason);
  }
  void AddWaiter(JoinWaiter& waiter) {
    waiter.list_ = &waiters_;
    waiters_.PushBack(waiter);
  }
  void AddReference() { ++references_; }
  void DropReference() {
    if (LetGo()) Destroy();
  }

  // The error it failed with.
  virtual absl::Status status() = 0;
  virtual std::exception_ptr exception() = 0;

  Starter* starter = nullptr;

 protected:
  ChildBase(TaskName&& name, const LinkOps* ops)
      : TaskNode(std::move(name)), Link(ops) {}
  ~ChildBase() = default;

  // What a task of the final type C does when its body has ended: C tells how,
  // and lets go of what was kept for the body, without a virtual call.
  template <typename C>
  static void EndAs(C& self, ChildEnd end) {
    self.ReleaseCall();  // while it is a task: destructors may use it
    self.Finish(end);
    if (self.LetGo()) self.Destroy();
  }
  template <typename C>
  static constexpr LinkOps kOpsOf = {
      [](Link* link) -> Link* {
        auto& self = static_cast<C&>(*link);
        EndAs(self, self.Failed() ? ChildEnd::kFailed : ChildEnd::kCompleted);
        return nullptr;
      },
      [](Link* link) -> Unwound {
        EndAs(static_cast<C&>(*link), ChildEnd::kStopped);
        return {nullptr, false};
      },
      /*keeps_frame=*/false, "task"};

  virtual void Destroy() = 0;

 private:
  friend class braid::TaskGroup;

  // Takes it out of the tree, and tells whoever waits for it and its group.
  void Finish(ChildEnd end);
  // True: nobody refers to it any more.
  bool LetGo() { return --references_ == 0; }

  TaskGroup* group_ = nullptr;
  IntrusiveList<JoinWaiter> waiters_;
  uint32_t references_ = 1;
};

// What a handle of a task that gives T needs.
template <typename T>
class ChildOf : public ChildBase {
 public:
  virtual Outcome<T> TakeOutcome() = 0;

 protected:
  using ChildBase::ChildBase;
};

// Calls a member function on a pointer, a reference or a std::reference_wrapper
// of its object.
template <typename F, typename Object, typename... Args>
BRAID_CORO_WRAPPER decltype(auto) CallMember(F method, Object&& object,
                                             Args&&... args) {
  if constexpr (requires { (object.*method)(std::forward<Args>(args)...); }) {
    return (object.*method)(std::forward<Args>(args)...);
  } else if constexpr (requires {
                         ((*object).*method)(std::forward<Args>(args)...);
                       }) {
    return ((*object).*method)(std::forward<Args>(args)...);
  } else {
    return (object.get().*method)(std::forward<Args>(args)...);
  }
}

// std::invoke, which clang would take for a coroutine that forgot to be one.
template <typename F, typename... Args>
BRAID_CORO_WRAPPER decltype(auto) Call(F& callable, Args&&... args) {
  if constexpr (std::is_member_function_pointer_v<F>) {
    return CallMember(callable, std::forward<Args>(args)...);
  } else {
    return callable(std::forward<Args>(args)...);
  }
}

template <typename T>
struct IsTask : std::false_type {};
template <typename T>
struct IsTask<Task<T>> : std::true_type {
  using Result = T;
};

template <typename F, typename... Args>
concept Startable =
    std::invocable<std::decay_t<F>&, std::unwrap_ref_decay_t<Args>...> &&
    IsTask<std::invoke_result_t<std::decay_t<F>&,
                                std::unwrap_ref_decay_t<Args>...>>::value;

// The parameters of a callable, where it has one signature.
template <typename F>
struct ParametersOf {};
template <typename F>
  requires requires { &F::operator(); }
struct ParametersOf<F> : ParametersOf<decltype(&F::operator())> {};
template <typename R, typename... Ps>
struct ParametersOf<R (*)(Ps...)> {
  using Type = std::tuple<Ps...>;
};
template <typename R, typename... Ps>
struct ParametersOf<R (*)(Ps...) noexcept> : ParametersOf<R (*)(Ps...)> {};
template <typename C, typename R, typename... Ps>
struct ParametersOf<R (C::*)(Ps...)> : ParametersOf<R (*)(Ps...)> {};
template <typename C, typename R, typename... Ps>
struct ParametersOf<R (C::*)(Ps...) const> : ParametersOf<R (*)(Ps...)> {};
template <typename C, typename R, typename... Ps>
struct ParametersOf<R (C::*)(Ps...) noexcept> : ParametersOf<R (*)(Ps...)> {};
template <typename C, typename R, typename... Ps>
struct ParametersOf<R (C::*)(Ps...) const noexcept>
    : ParametersOf<R (*)(Ps...)> {};

template <typename F>
concept HasParameters = requires { typename ParametersOf<F>::Type; };

template <typename... Ps>
constexpr bool AllByValue(std::tuple<Ps...>*) {
  return (!std::is_reference_v<Ps> && ...);
}
template <typename F>
concept TakesAllByValue =
    HasParameters<F> &&
    AllByValue(static_cast<typename ParametersOf<F>::Type*>(nullptr));

// Whether the lazy task, once made, needs nothing else: every parameter is
// taken by value. A member function needs its object, which lives elsewhere
// only if it is passed as a pointer.
template <typename F, typename... Args>
constexpr bool NothingToKeep() {
  if constexpr (!TakesAllByValue<F>) {
    return false;
  } else if constexpr (std::is_member_function_pointer_v<F>) {
    return std::is_pointer_v<
        std::decay_t<std::tuple_element_t<0, std::tuple<Args..., void>>>>;
  } else {
    return std::is_pointer_v<F> || std::is_empty_v<F>;
  }
}

// Whether a reference parameter refers to the argument itself, and not to a
// temporary that is made from it and gone before the task runs.
template <typename Parameter, typename Argument>
inline constexpr bool kRefersToArgument =
    !std::is_reference_v<Parameter> ||
    std::is_convertible_v<
        std::remove_reference_t<std::unwrap_ref_decay_t<Argument>>*,
        std::remove_reference_t<Parameter>*>;

template <typename... Ps, typename... Args>
constexpr bool AllReferToArguments(std::tuple<Ps...>*, std::tuple<Args...>*) {
  if constexpr (sizeof...(Ps) == sizeof...(Args)) {
    return (kRefersToArgument<Ps, Args> && ...);
  } else {
    return true;  // defaults can't be seen; a mismatch is told elsewhere
  }
}

template <typename F, typename... Args>
constexpr bool ReferencesAreSafe() {
  if constexpr (!HasParameters<F>) {
    return true;
  } else {
    using Parameters = typename ParametersOf<F>::Type*;
    if constexpr (std::is_member_function_pointer_v<F>) {
      return []<typename Object, typename... Rest>(
                 std::tuple<Object, Rest...>*) {
        return AllReferToArguments(static_cast<Parameters>(nullptr),
                                   static_cast<std::tuple<Rest...>*>(nullptr));
      }(static_cast<std::tuple<Args...>*>(nullptr));
    } else {
      return AllReferToArguments(static_cast<Parameters>(nullptr),
                                 static_cast<std::tuple<Args...>*>(nullptr));
    }
  }
}

// A child whose Task gives R.
template <typename R>
class ChildWithResult : public ChildOf<ValueOf<R>> {
 public:
  using Result = R;

  absl::Status status() override {
    return awaiter_.slot()->has_value() ? StatusOf(*awaiter_.slot())
                                        : absl::OkStatus();
  }
  std::exception_ptr exception() override {
    return awaiter_.slot()->has_exception() ? awaiter_.slot()->exception()
                                            : nullptr;
  }
  Outcome<ValueOf<R>> TakeOutcome() override {
    return detail::TakeOutcome(*awaiter_.slot());
  }

 protected:
  ChildWithResult(TaskName&& name, const LinkOps* ops, Task<R>&& task)
      : ChildOf<ValueOf<R>>(std::move(name), ops),
        awaiter_(std::move(task).MakeAwaiter()) {
    this->innermost = awaiter_.Start(this);
  }
  ~ChildWithResult() = default;

  bool Failed() { return detail::Failed(*awaiter_.slot()); }

 private:
  TaskAwaiter<R> awaiter_;
};

template <typename R>
class PlainChild final : public ChildWithResult<R> {
 public:
  static void* operator new(size_t size) { return AllocateFrame(size); }
  static void operator delete(void* p, size_t size) noexcept {
    ReleaseFrame(p, size);
  }

  PlainChild(TaskName&& name, Task<R>&& task)
      : ChildWithResult<R>(std::move(name),
                           &PlainChild::template kOpsOf<PlainChild>,
                           std::move(task)) {}

 private:
  friend class ChildBase;

  void ReleaseCall() {}
  void Destroy() override { delete this; }
};

// The callable and the arguments.
template <typename F, typename... Args>
struct KeptCall {
  template <typename G, typename... As>
  explicit KeptCall(std::in_place_t, G&& g, As&&... as)
      : callable(std::forward<G>(g)), arguments(std::forward<As>(as)...) {}
  BRAID_CORO_WRAPPER auto MakeTask() {
    return MakeTask(std::index_sequence_for<Args...>());
  }
  template <size_t... I>
  BRAID_CORO_WRAPPER auto MakeTask(std::index_sequence<I...>) {
    return Call(callable, Unwrap(std::get<I>(arguments))...);
  }

  template <typename A>
  static A&& Unwrap(A& argument) {
    return std::move(argument);
  }
  template <typename A>
  static A& Unwrap(std::reference_wrapper<A>& argument) {
    return argument.get();
  }

  F callable;
  std::tuple<Args...> arguments;
};

// A base, so that the call is there before the task is made from it.
template <typename F, typename... Args>
struct CallHolder {
  std::optional<KeptCall<F, Args...>> call;
};

template <typename R, typename F, typename... Args>
class KeepingChild final : private CallHolder<F, Args...>,
                           public ChildWithResult<R> {
 public:
  static void* operator new(size_t size) { return AllocateFrame(size); }
  static void operator delete(void* p, size_t size) noexcept {
    ReleaseFrame(p, size);
  }
  // For what is aligned beyond what frames are.
  static void* operator new(size_t size, std::align_val_t alignment) {
    return ::operator new(size, alignment);
  }
  static void operator delete(void* p, std::align_val_t alignment) noexcept {
    ::operator delete(p, alignment);
  }

  template <typename G, typename... As>
  KeepingChild(TaskName&& name, G&& callable, As&&... args)
      : CallHolder<F, Args...>{std::optional<KeptCall<F, Args...>>(
            std::in_place, std::in_place, std::forward<G>(callable),
            std::forward<As>(args)...)},
        ChildWithResult<R>(std::move(name),
                           &KeepingChild::template kOpsOf<KeepingChild>,
                           this->call->MakeTask()) {}

 private:
  friend class ChildBase;

  void ReleaseCall() { this->call.reset(); }
  void Destroy() override { delete this; }
};

template <typename F, typename... Args>
auto* MakeChild(TaskName&& name, F&& callable, Args&&... args) {
  using Callable = std::decay_t<F>;
  using R = typename IsTask<std::invoke_result_t<
      Callable&, std::unwrap_ref_decay_t<Args>...>>::Result;
  static_assert(
      ReferencesAreSafe<Callable, std::decay_t<Args>...>(),
      "a reference parameter of the task would refer to a temporary that is "
      "gone when it runs; pass an object of the parameter's own type, such as "
      "std::string for a literal");
  if constexpr (NothingToKeep<Callable, Args...>()) {
    return new PlainChild<R>(
        std::move(name),
        Call(callable, static_cast<std::unwrap_ref_decay_t<Args>>(
                           std::forward<Args>(args))...));
  } else {
    return new KeepingChild<R, Callable, std::decay_t<Args>...>(
        std::move(name), std::forward<F>(callable),
        std::forward<Args>(args)...);
  }
}

// The type of a callable's last parameter.
template <typename F>
struct LastParameter {
  using Parameters = typename ParametersOf<F>::Type;
  using Type =
      std::tuple_element_t<std::tuple_size_v<Parameters> - 1, Parameters>;
};

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_DETAIL_CHILD_H_
