// RunSharded: one loop per thread, nothing shared.
//
// For: using several cores. Each shard runs the same body on a loop and a
// backend of its own; sockets with SO_REUSEPORT spread the load. Shards talk
// through Portals and nothing else.
//
//   const auto make_backend = [] { return MakeBackend("asio"); };
//   co_return co_await RunSharded(
//       4, make_backend, [&](Shard shard) -> Task<absl::Status> {
//         UdpSocket socket = co_await OrReturn(
//             UdpSocket::Bind(address, {.reuse_port = true}));
//         ...
//       });
//
// Completes when every shard has ended. The first error cancels the others and
// is the result, the others by SuppressedErrors(). Cancelling it cancels every
// shard and waits for their end; a graceful stop (StopRequested) around it
// reaches every shard. An exception that leaves a shard is rethrown here. The
// body and `make_driver` are called once on each shard's thread, several at the
// same time, so what they capture by reference is shared between threads; the
// call keeps them alive until the last shard has ended. Fewer than one shard is
// INVALID_ARGUMENT. The threads block all signals: a SignalStream belongs on
// the loop that calls this.

#ifndef BRAID_THREAD_SHARDED_H_
#define BRAID_THREAD_SHARDED_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/detail/loop.h"
#include "braid/core/run.h"
#include "braid/core/task.h"

namespace braid {

// Which of how many.
struct Shard {
  int index = 0;
  int count = 1;
};

// Makes the backend of one shard; MakeBackend's result will do. Called on the
// shard's thread.
using DriverFactory =
    absl::AnyInvocable<absl::StatusOr<std::unique_ptr<Driver>>() const>;

namespace detail {

// Runs one shard on its driver; erases the body's type.
using ShardMain = absl::AnyInvocable<absl::Status(
    Driver&, Shard, absl::AnyInvocable<void()> on_begin) const>;

Task<absl::Status> RunShards(int count, DriverFactory make_driver,
                             ShardMain shard_main);

}  // namespace detail

// `body(shard)` returns Task<absl::Status>; it is const when it is called.
template <typename F>
BRAID_CORO_WRAPPER Task<absl::Status> RunSharded(int count,
                                                 DriverFactory make_driver,
                                                 F body) {
  return detail::RunShards(
      count, std::move(make_driver),
      [body = std::move(body)](Driver& driver, Shard shard,
                               absl::AnyInvocable<void()> on_begin) {
        return Run(driver, [&]() -> Task<absl::Status> {
          on_begin();
          co_return co_await body(shard);
        });
      });
}

}  // namespace braid

#endif  // BRAID_THREAD_SHARDED_H_
