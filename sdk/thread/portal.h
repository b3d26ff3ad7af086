// Portal: the door into a loop for other threads.
//
//   Portal portal = Portal::Current();  // on the loop's thread
//   ...
//   // On any other thread:
//   bool accepted = portal.Post([=] { event->Set(); });
//   absl::StatusOr<int> size = portal.Call([=] { return cache->size(); });
//
// For: callbacks of foreign libraries, worker threads, signals of other
// runtimes. A copy may outlive the loop: from then on Post says false, and Call
// gives an error. Functions handed in from one thread run in the order they
// were handed in. They run between tasks, not inside one: they may call Set,
// Cancel, TrySend and the like, never wait.
//
// Threads: any.

#ifndef BRAID_THREAD_PORTAL_H_
#define BRAID_THREAD_PORTAL_H_

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/slot.h"

namespace braid {

class Portal {
 public:
  // Of the loop that runs on this thread (checked).
  static Portal Current();

  // Runs `function` on the loop's thread. False: the loop has ended, and the
  // function was destroyed without being called. A function that was accepted
  // is always called before the loop ends. An exception that leaves it has
  // nobody to go to: a failed check.
  bool Post(absl::AnyInvocable<void() &&> function) const;

  // Runs `function` on the loop's thread, blocks until it has returned, and
  // gives what it returned: absl::StatusOr<T>, absl::Status for nothing, one of
  // these as it is. An exception that leaves it is rethrown here. Closed
  // (IsClosed): the loop has ended, and the function was not called.
  //
  // What the function refers to need only live as long as the call, which can't
  // be interrupted: it takes as long as the loop's current turn. It is a failed
  // check where a loop runs on this thread, this one or another: that loop
  // would stand still, and wait for itself for ever. There, await the work, or
  // Post it.
  template <typename F>
  auto Call(F&& function) const {
    using Result = std::invoke_result_t<F>;
    static_assert(!Awaitable<std::decay_t<Result>>,
                  "Call runs plain functions, which can't wait; let the "
                  "function start a task in a group, or send to a channel");
    detail::Slot<Result> slot;
    auto run = [&] {
      if constexpr (std::is_void_v<Result>) {
        std::invoke(std::forward<F>(function));
        slot.SetValue();
      } else {
        slot.SetValue(std::invoke(std::forward<F>(function)));
      }
    };
    std::exception_ptr exception;
    absl::Status status = CallAndWait(
        [](void* argument) { (*static_cast<decltype(run)*>(argument))(); },
        &run, exception);
    if (exception != nullptr) slot.SetException(std::move(exception));
    using Fallible = detail::FallibleOf<Result>;
    return status.ok() ? detail::TakeFallible(slot)
                       : Fallible(std::move(status));
  }

 private:
  class State;
  explicit Portal(std::shared_ptr<State> state) : state_(std::move(state)) {}
  // Closed, or OK and maybe the exception that left it.
  absl::Status CallAndWait(void (*function)(void*), void* argument,
                           std::exception_ptr& exception) const;

  std::shared_ptr<State> state_;
};

}  // namespace braid

#endif  // BRAID_THREAD_PORTAL_H_
