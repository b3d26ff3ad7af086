// ToThread: awaits a function that blocks, on a thread of its own.
//
//   absl::StatusOr<Image> image =
//       co_await ToThread([path] { return DecodeImage(path); });
//   auto [a, b] = co_await AllOf(ToThread([&] { return Hash(left); }),
//                                ToThread([&] { return Hash(right); }));
//
// For: libraries that block or compute for long, where the loop would stand
// still. Not for: work that can be awaited otherwise (it costs two changes of
// thread), nor for state of the loop, which the function may not touch: it goes
// back by its result, a Portal or a mailbox.
//
// It looks for cancellation, waits for a token of the limiter, hands a copy of
// the function to a worker thread, and completes when that has returned, with
// its result: T, nothing, absl::Status or absl::StatusOr as they are. An
// exception that leaves it is rethrown by the await. The system gives no
// thread: RESOURCE_EXHAUSTED where the result can say so, else a
// std::runtime_error.
//
// Cancelled
//   - before its thread has taken it up, while it waits for a token or a
//     thread: stopped, and the function never runs.
//   - while it runs: it can't be stopped. By default the await goes on until
//     the function has returned, and gives its value. The function should look
//     whether it may give up, as any that takes long: one that takes a
//     std::stop_token gets one, whose stop_requested() is true then.
//       co_await ToThread([](std::stop_token stop) {
//         while (!stop.stop_requested()) ...
//       });
//     A std::stop_callback of the token runs on the loop's thread, inside the
//     cancel, or, where it is made after that, on the function's own; it may
//     not throw.
//   - while it runs, with abandon_on_cancel: stopped at once, and the thread
//     goes on alone. It keeps its token until the function has returned; its
//     result is destroyed there. So all that the function uses it has to own,
//     or share; nothing may refer to the awaiting task.
//
// The function is destroyed on the loop's thread, an abandoned one on its own.
//
// Run does not wait for abandoned functions: the process may end in the middle
// of one, as it may with the daemon threads of other runtimes. What they hand
// to a Portal then is refused. Their tokens go back when the loop ends.
//
// Threads belong to the Host, which all shards of a program share: they are
// made when there is no idle one, end after 10 s without work, and block all
// signals. In a simulation the function is called between two turns, in an
// order and at times that the seed decides (sim/simulation.h); it must not wait
// there for what another thread or the loop does, but by Portal::Call; nor for
// its stop token, as no cancel comes while it runs.
//
// Threads: awaited on the loop's.

#ifndef BRAID_THREAD_TO_THREAD_H_
#define BRAID_THREAD_TO_THREAD_H_

#include <concepts>
#include <memory>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "braid/core/awaitable.h"
#include "braid/core/operation.h"
#include "braid/core/task.h"
#include "braid/sync/capacity_limiter.h"
#include "braid/thread/detail/thread_job.h"

namespace braid {

struct ToThreadOptions {
  // See above.
  bool abandon_on_cancel = false;
  // Who may run at the same time. It lives until the await has ended; nullptr:
  // DefaultThreadLimiter(). Waiting in a function for another ToThread of the
  // same limiter is a deadlock once all tokens are out.
  CapacityLimiter* limiter = nullptr;
  // What the thread is called, until its next function; the first 15 bytes are
  // shown.
  std::string name = "to_thread";
};

// The one of this loop, of 40 tokens, as AnyIO and Trio have it. SetTotal
// changes that.
CapacityLimiter& DefaultThreadLimiter();

namespace detail {

template <typename F>
Task<ThreadResult<F>> RunThreadJob(std::shared_ptr<ThreadJobOf<F>> job,
                                   CapacityLimiter* limiter) {
  CapacityLimiter& tokens =
      limiter != nullptr ? *limiter : DefaultThreadLimiter();
  job->Admit(co_await tokens.AcquireOnBehalfOf(job.get()));
  co_return co_await Operation<ThreadJobOp<F>, ThreadJobOf<F>*>(job.get());
}

}  // namespace detail

// No coroutine takes the function: where moving one into a frame throws, clang
// 19 looks at that frame once more, after it was freed.
template <typename F>
  requires std::invocable<F> || std::invocable<F, std::stop_token>
BRAID_CORO_WRAPPER Task<detail::ThreadResult<F>> ToThread(
    F function, ToThreadOptions options = {}) {
  static_assert(!Awaitable<std::decay_t<detail::ThreadResult<F>>>,
                "ToThread runs plain functions; a task runs on the loop");
  return detail::RunThreadJob<F>(
      std::make_shared<detail::ThreadJobOf<F>>(std::move(options.name),
                                               options.abandon_on_cancel,
                                               std::move(function)),
      options.limiter);
}

}  // namespace braid

#endif  // BRAID_THREAD_TO_THREAD_H_
