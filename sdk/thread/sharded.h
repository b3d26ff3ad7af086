// RunSharded: the same program on several loops, one thread each, nothing
// shared between them.
//
//   absl::Status status = co_await RunSharded(
//       4, [&](Shard shard) -> Task<absl::Status> {
//         UdpSocket socket = co_await OrReturn(
//             UdpSocket::Bind(address, {.reuse_port = true}));
//         ...
//       });
//
// Each shard's loop has a backend like that of the calling one: the same kind,
// options and host. They talk through mailboxes and portals.
//
// Completes when every shard has ended. The first error cancels the others and
// is the result, the others by SuppressedErrors(). Cancelling it cancels every
// shard and waits for their end; where none of them was stopped by that, the
// result is given all the same. A graceful stop (StopRequested) around it
// reaches every shard. An exception that leaves a shard is rethrown here. The
// body is called once on each shard's thread, several at the same time, so what
// it captures by reference is shared between threads; the call keeps it alive
// until the last shard has ended. Fewer than one shard is INVALID_ARGUMENT, no
// thread for one RESOURCE_EXHAUSTED. The threads block all signals: a
// SignalStream belongs on the loop that calls this.
//
// In a simulation the shards are tasks of the calling loop, side by side in a
// scope of their own each. So a program with several shards runs in it as it
// is, with errors, cancellation, graceful stop, mailboxes and SO_REUSEPORT as
// above. Not the same there: a shard is interrupted at its awaits only, so data
// races are not found; what belongs to a loop is one for all shards (LoopLocal,
// Portal::Current(), LiveTasks(), DefaultThreadLimiter(), task-locals that it
// inherits), and a function posted to one shard's portal runs for all.

#ifndef BRAID_THREAD_SHARDED_H_
#define BRAID_THREAD_SHARDED_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/detail/loop.h"
#include "braid/core/run.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"

namespace braid {

// Which of how many.
struct Shard {
  int index = 0;
  int count = 1;
};

// Makes the backend of one shard; MakeBackend's result will do. Called on each
// shard's thread, several at the same time.
using DriverFactory =
    absl::AnyInvocable<absl::StatusOr<std::unique_ptr<Driver>>() const>;

namespace detail {

// Runs one shard on its driver; erases the body's type.
using ShardMain = absl::AnyInvocable<absl::Status(
    Driver&, Shard, absl::AnyInvocable<void()> on_begin) const>;

absl::Status NoShards();
Task<absl::Status> RunShards(int count, DriverFactory make_driver,
                             ShardMain shard_main);
// Empty: shards run as tasks of the calling loop.
DriverFactory ShardDriverFactory();

template <typename F>
BRAID_CORO_WRAPPER Task<absl::Status> RunShardsOf(int count,
                                                  DriverFactory make_driver,
                                                  F body) {
  return RunShards(
      count, std::move(make_driver),
      [body = std::move(body)](Driver& driver, Shard shard,
                               absl::AnyInvocable<void()> on_begin) {
        return Run(driver, [&]() -> Task<absl::Status> {
          on_begin();
          co_return co_await body(shard);
        });
      });
}

template <typename F>
Task<absl::Status> RunShardsHere(int count, F body) {
  if (count < 1) co_return NoShards();
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    for (int i = 0; i < count; ++i) {
      group.Start("shard " + std::to_string(i),
                  [&body, shard = Shard{i, count}]() -> Task<absl::Status> {
                    absl::Status status = co_await std::as_const(body)(shard);
                    // As of a loop that was cancelled: no error of its own.
                    if (absl::IsCancelled(status) &&
                        Loop::Current().CurrentTask().due())
                      co_return absl::OkStatus();
                    co_return status;
                  });
    }
    co_return co_await group.Join();
  });
}

}  // namespace detail

// `body(shard)` returns Task<absl::Status>; it is const when it is called.
template <typename F>
Task<absl::Status> RunSharded(int count, F body) {
  DriverFactory make_driver = detail::ShardDriverFactory();
  if (make_driver == nullptr)
    co_return co_await detail::RunShardsHere(count, std::move(body));
  co_return co_await detail::RunShardsOf(count, std::move(make_driver),
                                         std::move(body));
}

// The same with backends of the caller's. UNIMPLEMENTED in a simulation, which
// has no threads for them.
template <typename F>
BRAID_CORO_WRAPPER Task<absl::Status> RunSharded(int count,
                                                 DriverFactory make_driver,
                                                 F body) {
  return detail::RunShardsOf(count, std::move(make_driver), std::move(body));
}

}  // namespace braid

#endif  // BRAID_THREAD_SHARDED_H_
