// Graceful stop: finish what you have, take no more.
//
// For: loops that serve. It is another signal than cancellation: nothing is
// stopped by it. TaskGroup::RequestStop sends it to the group's body and tasks
// and everything inside them; shields do not hide it.
//
//   for (;;) {
//     auto [stream, stopping] =
//         co_await AnyOf(listener.Accept(), StopRequested());
//     if (stream.has_value()) {
//       group.Start("serve", Serve, co_await OrReturn(*std::move(stream)));
//     }
//     if (stopping) break;  // tasks in the group finish theirs
//   }

#ifndef BRAID_CORE_STOP_REQUEST_H_
#define BRAID_CORE_STOP_REQUEST_H_

#include "braid/core/detail/loop.h"
#include "braid/core/operation.h"

namespace braid {
namespace detail {

class StopRequestedOp final : public OperationBase, private StopWaiter {
 public:
  StopRequestedOp()
      : StopWaiter([](StopWaiter& waiter) {
          static_cast<StopRequestedOp&>(waiter).Wake();
        }) {}

  bool Try() { return Loop::Current().CurrentTask().scope->stop_requested(); }
  void Suspend() {
    scope = task()->scope;
    task()->loop()->stop_waiters().PushBack(*this);
  }
  void Cancel() noexcept override {
    task()->loop()->stop_waiters().Remove(*this);
    Stop();
  }
  void TakeResult() {}

 private:
  void Wake() {
    task()->loop()->stop_waiters().Remove(*this);
    Complete();
  }
};

}  // namespace detail

// Waits until a group around the current task is asked to stop gracefully;
// completes at once if it was.
inline auto StopRequested() { return Operation<detail::StopRequestedOp>(); }

// Whether it was. No checkpoint.
inline bool IsStopRequested() {
  return detail::Loop::Current().CurrentTask().scope->stop_requested();
}

}  // namespace braid

#endif  // BRAID_CORE_STOP_REQUEST_H_
