// VirtualTime: drives a loop without I/O, on a clock that jumps to the next
// deadline when every task waits.
//
// For: tests of tasks, scopes, groups and primitives. They run in no time,
// assert exact times, and never sleep:
//
//   VirtualTime time;
//   absl::Status status = braid::Run(time, [&]() -> Task<absl::Status> {
//     co_await SleepFor(3s);
//     EXPECT_EQ(time.elapsed(), 3s);
//     ...
//   });
//
// (Inside a TEST, plain Run would be GoogleTest's own.)
//
// Deadlock is a result: when every task waits for something that can't happen
// any more, the program is cancelled and Run gives CANCELLED with the task tree
// in the message. Not for: sockets, files and faults; that is the simulation
// backend. Threads: one.

#ifndef BRAID_TESTING_VIRTUAL_TIME_H_
#define BRAID_TESTING_VIRTUAL_TIME_H_

#include "braid/core/detail/loop.h"
#include "braid/core/time.h"

namespace braid {

class VirtualTime final : public Driver {
 public:
  void Run(detail::Loop& loop) override;
  Time Now() override { return now_; }
  void Wake() noexcept override {}

  // Virtual time since this was made.
  Duration elapsed() const { return now_ - kStart; }
  // Moves the clock on, as if the code that runs had taken that long.
  void Advance(Duration by) { now_ += by; }

 private:
  // Not zero, so that a point in time taken for a length of time is noticed.
  static constexpr Time kStart = Time(Duration(1'000'000'000'000));

  Time now_ = kStart;
};

}  // namespace braid

#endif  // BRAID_TESTING_VIRTUAL_TIME_H_
