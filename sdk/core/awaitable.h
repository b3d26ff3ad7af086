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
#include <tuple>
#include <type_traits>
#include <utility>

#include "braid/core/detail/link.h"

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

// Holds a body and, once begun, its awaiter. Immovable from then on.
template <typename B, typename... Args>
class BodyHolder;

template <Awaitable B>
class BodyHolder<B> {
 public:
  using Awaiter = AwaiterOf<B>;
  using Result = ResultOf<B>;

  explicit BodyHolder(B&& body) : awaiter_(std::move(body).MakeAwaiter()) {}

  Awaiter& Begin() { return awaiter_; }
  Awaiter& awaiter() { return awaiter_; }

 private:
  Awaiter awaiter_;
};

template <typename B, typename... Args>
  requires(!Awaitable<B> && BodyCallable<B, Args...>)
class BodyHolder<B, Args...> {
 public:
  using Description = std::invoke_result_t<B&, Args...>;
  using Awaiter = AwaiterOf<Description>;
  using Result = ResultOf<Description>;

  explicit BodyHolder(B&& body) : body_(std::move(body)) {}
  ~BodyHolder() {
    if (begun_) awaiter_.~Awaiter();
  }
  BodyHolder(const BodyHolder&) = delete;
  BodyHolder& operator=(const BodyHolder&) = delete;

  Awaiter& Begin(Args... args) {
    ::new (static_cast<void*>(&awaiter_))
        Awaiter(body_(std::forward<Args>(args)...).MakeAwaiter());
    begun_ = true;
    return awaiter_;
  }
  Awaiter& awaiter() { return awaiter_; }

 private:
  B body_;
  union {
    Awaiter awaiter_;
  };
  bool begun_ = false;
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
    return std::apply([](Args&... args) { return Awaiter(std::move(args)...); },
                      args_);
  }

 private:
  std::tuple<Args...> args_;
};

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_AWAITABLE_H_
