// Runs a program on this thread.
//
//   absl::Status status = Run(*backend, Main);
//
// Blocks until the body and everything it started have ended. A body of
// Task<void> or Task<absl::Status> gives absl::Status, one of Task<T> or
// Task<absl::StatusOr<T>> gives absl::StatusOr<T>; CANCELLED if it was stopped.
// An exception that leaves the body is rethrown. One loop runs on a thread at a
// time (checked).

#ifndef BRAID_CORE_RUN_H_
#define BRAID_CORE_RUN_H_

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/result.h"
#include "braid/core/detail/slot.h"
#include "braid/core/detail/task_node.h"
#include "braid/core/driver.h"

namespace braid {

namespace detail {

// The task that a program begins with.
template <typename B>
class RootTask : public TaskNode, public Link {
 public:
  using Result = typename BodyHolder<B>::Result;

  explicit RootTask(B&& body)
      : TaskNode("main"), Link(&kStartOps), body_(std::move(body)) {}

  FallibleOf<Result> Run(Driver& driver, LoopOptions options) {
    Loop loop(driver, options);
    Loop::Binding binding(loop);
    Start(loop, nullptr, this);
    driver.Run(loop);
    Check(loop.finished(),
          "a backend returned while tasks were alive; this is a bug in the "
          "backend");
    return TakeResult();
  }

  // What it gave, once it has ended.
  FallibleOf<Result> TakeResult() {
    if (slot_.empty()) return absl::CancelledError(reason_);
    return TakeFallible(slot_);
  }

 private:
  static Link* Begin(Link* link) {
    auto* self = static_cast<RootTask*>(link);
    self->ops = &kRunOps;
    return self->body_.Start(self);
  }
  static Link* Done(Link* link) {
    auto* self = static_cast<RootTask*>(link);
    self->body_.CaptureInto(self->slot_);
    self->End();
    return nullptr;
  }
  static Unwound Stopped(Link* link) {
    auto* self = static_cast<RootTask*>(link);
    self->reason_ = self->own.CauseText();
    self->End();
    return {nullptr, false};
  }
  static constexpr LinkOps kStartOps = {&Begin, &Stopped, false, "main"};
  static constexpr LinkOps kRunOps = {&Done, &Stopped, false, "main"};

  BodyHolder<B> body_;
  Slot<Result> slot_;
  std::string reason_;
};

}  // namespace detail

template <Body B>
auto Run(Driver& driver, B&& body, LoopOptions options = {}) {
  detail::RootTask<std::decay_t<B>> root(
      std::decay_t<B>(std::forward<B>(body)));
  return root.Run(driver, options);
}

}  // namespace braid

#endif  // BRAID_CORE_RUN_H_
