// RunOn: runs tasks on a boost::asio::io_context that the application already
// runs.
//
//   boost::asio::io_context io;
//   GuestRun guest = RunOn(io, Main, [&](absl::Status status) { ... });
//   io.run();
//
// Returns at once. The body begins, and everything it starts runs, in handlers
// of `io`, a turn of the loop at a time: the application's own handlers get
// their share. `done` is called from a handler with the result, when the body
// and everything it started have ended: absl::Status or absl::StatusOr, as
// braid::Run gives it. An exception that leaves the body leaves io.run()
// instead. Only then may `io` be destroyed (checked).
//
// The application's handlers are not part of any task, and no loop is current
// in them. They reach tasks by what doesn't wait: they may set an event, cancel
// a scope or move its deadline, close a socket, call a Callback.
//
// Threads: `io` is run by one thread (checked).

#ifndef BRAID_BACKEND_ASIO_GUEST_H_
#define BRAID_BACKEND_ASIO_GUEST_H_

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/run.h"

namespace boost::asio {
class io_context;
}  // namespace boost::asio

namespace braid {
namespace detail {

class GuestLoop;

// The body of a guest, without its type.
class GuestTask {
 public:
  virtual ~GuestTask() = default;
  virtual void Start(Loop& loop) = 0;
  // It has ended, and so has the loop.
  virtual void Finish() = 0;
};

template <typename B, typename Done>
class GuestTaskOf final : public GuestTask {
 public:
  GuestTaskOf(B body, Done done)
      : root_(std::move(body)), done_(std::move(done)) {}
  void Start(Loop& loop) override { root_.Start(loop, nullptr, &root_); }
  void Finish() override { done_(root_.TakeResult()); }

 private:
  RootTask<B> root_;
  Done done_;
};

// The weak reference is to the run.
std::weak_ptr<GuestLoop> StartGuest(boost::asio::io_context& io,
                                    std::unique_ptr<GuestTask> task,
                                    LoopOptions options);
void CancelGuest(const std::weak_ptr<GuestLoop>& guest, std::string reason);

}  // namespace detail

// Refers to what RunOn has started; copies refer to the same. It may go at any
// time, and outlive the run.
class GuestRun {
 public:
  // Cancels the body, as CancelScope::Cancel does. From any thread; nothing
  // happens after the end.
  void Cancel(std::string reason = {}) const {
    detail::CancelGuest(guest_, std::move(reason));
  }

  // For RunOn.
  explicit GuestRun(std::weak_ptr<detail::GuestLoop> guest)
      : guest_(std::move(guest)) {}

 private:
  std::weak_ptr<detail::GuestLoop> guest_;
};

template <Body B, typename Done>
GuestRun RunOn(boost::asio::io_context& io, B body, Done done,
               LoopOptions options = {}) {
  return GuestRun(
      detail::StartGuest(io,
                         std::make_unique<detail::GuestTaskOf<B, Done>>(
                             std::move(body), std::move(done)),
                         options));
}

}  // namespace braid

#endif  // BRAID_BACKEND_ASIO_GUEST_H_
