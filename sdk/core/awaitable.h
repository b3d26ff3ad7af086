// What can be awaited, and what can be a body.
//
// For: the concepts that every boundary and combinator is written against. A
// *description* is something with `MakeAwaiter() &&`: a Task, an Operation,
// what `scope.Run(body)` returns. Its *awaiter* has
//
//   bool Ready();             // true: completed at once
//   Link* Start(Link* link);  // otherwise: begin, go on at `link` once
//                             // completed; returns what runs next, or nullptr
//   R TakeResult();           // once, after completion
//
// A *body* is a description, or a callable that returns one and is kept alive
// until that has ended. That makes a lambda coroutine with captures safe
// wherever a body is taken.

#ifndef BRAID_CORE_AWAITABLE_H_
#define BRAID_CORE_AWAITABLE_H_

#include <concepts>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "braid/core/detail/link.h"
#include "braid/core/detail/pack.h"
#include "braid/core/detail/slot.h"

// A function that returns a Task without being a coroutine says so to clang,
// which otherwise takes it for a mistake.
#if defined(__clang__)
#define BRAID_CORO_WRAPPER [[clang::coro_wrapper]]
#else
#define BRAID_CORO_WRAPPER
#endif

namespace braid {

template <typename A>
concept Awaitable = !std::is_reference_v<A> && requires(A&& a) {
  { std::move(a).MakeAwaiter().Ready() } -> std::same_as<bool>;
};

namespace detail {

template <typename A>
using AwaiterOf = decltype(std::declval<A&&>().MakeAwaiter());

template <typename A>
using ResultOf = decltype(std::declval<AwaiterOf<A>&>().TakeResult());

// Starts an awaiter; those of leaf operations always wait, and say so by
// returning nothing.
template <typename Awaiter>
Link* StartAwaiter(Awaiter& awaiter, Link* link) {
  if constexpr (std::is_void_v<decltype(awaiter.Start(link))>) {
    awaiter.Start(link);
    return nullptr;
  } else {
    return awaiter.Start(link);
  }
}

template <typename B, typename... Args>
concept BodyCallable =
    std::invocable<std::decay_t<B>&, Args...> &&
    Awaitable<std::invoke_result_t<std::decay_t<B>&, Args...>>;

}  // namespace detail

// A description, or a callable that takes `Args` and returns one.
template <typename B, typename... Args>
concept Body = (sizeof...(Args) == 0 && Awaitable<std::decay_t<B>>) ||
               detail::BodyCallable<B, Args...>;

namespace detail {

// A body that runs: its awaiter, or the exception that came instead of one, for
// a callable that isn't a coroutine may throw when it is called. That is then
// the body's result, like one that leaves a coroutine. Immovable.
template <typename AwaiterType>
class RunningBody {
 public:
  using Awaiter = AwaiterType;
  using Result = decltype(std::declval<Awaiter&>().TakeResult());

  RunningBody(const RunningBody&) = delete;
  RunningBody& operator=(const RunningBody&) = delete;

  // Once, after completion: the result, or the exception rethrown.
  Result TakeResult() {
    if (state_ == State::kThrew) [[unlikely]]
      Rethrow(exception_);
    return awaiter_.TakeResult();
  }
  // The same into `slot`, without throwing.
  void CaptureInto(Slot<Result>& slot) {
    if (state_ == State::kThrew) [[unlikely]] {
      slot.SetException(exception_);
    } else {
      Capture(slot, awaiter_);
    }
  }
  // Destroys the coroutine's frame if it was kept.
  void DestroyFrame() {
    if constexpr (requires(Awaiter& awaiter) { awaiter.Reset(); }) {
      if (state_ == State::kThere) awaiter_.Reset();
    }
  }

 protected:
  RunningBody() {}  // NOLINT(modernize-use-equals-default): of the union
  template <typename Make>
  RunningBody(std::in_place_t, Make make)
      : awaiter_(make()), state_(State::kThere) {}
  ~RunningBody() { Clear(); }

  // Begins. Returns what runs next: `link` if it has completed already.
  Link* StartAwaiterAt(Link* link) {
    return awaiter_.Ready() ? link : StartAwaiter(awaiter_, link);
  }
  // The same where `start` may throw.
  template <typename Start>
  Link* Guarded(Link* link, Start start) {
    struct Context {
      Start& start;
      Link* next;
    } context{start, link};
    std::exception_ptr exception = CallAndCatch(
        [](void* argument) {
          auto& context = *static_cast<Context*>(argument);
          context.next = context.start();
        },
        &context);
    if (exception == nullptr) return context.next;
    Clear();
    std::construct_at(&exception_, std::move(exception));
    state_ = State::kThrew;
    return link;
  }
  template <typename Make>
  void Emplace(Make make) {
    ::new (static_cast<void*>(&awaiter_)) Awaiter(make());
    state_ = State::kThere;
  }

 private:
  enum class State : unsigned char { kEmpty, kThere, kThrew };

  void Clear() {
    if (state_ == State::kThere) {
      awaiter_.~Awaiter();
    } else if (state_ == State::kThrew) {
      std::destroy_at(&exception_);
    }
    state_ = State::kEmpty;
  }

  union {
    Awaiter awaiter_;
    std::exception_ptr exception_;
  };
  State state_ = State::kEmpty;
};

// Holds a body and runs it once. Start(link, args...) returns what runs next:
// `link` if the body has completed already.
template <typename B, typename... Args>
class BodyHolder;

template <Awaitable B>
class BodyHolder<B> : public RunningBody<AwaiterOf<B>> {
 public:
  explicit BodyHolder(B&& body)
      : RunningBody<AwaiterOf<B>>(
            std::in_place, [&] { return std::move(body).MakeAwaiter(); }) {}

  Link* Start(Link* link) {
    if constexpr (noexcept(std::declval<AwaiterOf<B>&>().Ready())) {
      return this->StartAwaiterAt(link);
    } else {
      return this->Guarded(link, [&] { return this->StartAwaiterAt(link); });
    }
  }
};

// The callable is a base, to go after the awaiter of what it returned.
template <typename B>
struct HeldCallable {
  explicit HeldCallable(B&& body) : callable(std::move(body)) {}
  B callable;
};

template <typename B, typename... Args>
  requires(!Awaitable<B> && BodyCallable<B, Args...>)
class BodyHolder<B, Args...>
    : private HeldCallable<B>,
      public RunningBody<AwaiterOf<std::invoke_result_t<B&, Args...>>> {
 public:
  explicit BodyHolder(B&& body) : HeldCallable<B>(std::move(body)) {}

  Link* Start(Link* link, Args... args) {
    return this->Guarded(link, [&] {
      this->Emplace([&] {
        return this->callable(std::forward<Args>(args)...).MakeAwaiter();
      });
      return this->StartAwaiterAt(link);
    });
  }
};

template <typename B, typename... Args>
using BodyResult = typename BodyHolder<std::decay_t<B>, Args...>::Result;

// A boundary, not begun yet: its awaiter is made from the arguments.
template <typename AwaiterType, typename... Args>
class [[nodiscard("it does nothing until it is awaited")]] Boundary {
 public:
  explicit Boundary(Args... args) : args_(std::move(args)...) {}
  using Awaiter = AwaiterType;
  Awaiter MakeAwaiter() && {
    return args_.MoveInto(
        [](Args&&... args) { return Awaiter(std::move(args)...); });
  }

 private:
  Pack<Args...> args_;
};

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_AWAITABLE_H_
