// SignalStream: signals of the operating system, one after the other.
//
//   SignalStream signals =
//       co_await OrReturn(SignalStream::Open({SIGINT, SIGTERM}));
//   int signal = co_await OrReturn(signals.Next());
//
// While a stream is open, its signals don't do what they did before; afterwards
// they do again. A signal that is raised several times before it is read is
// read once; different ones take turns, so that none hides another. One that
// was raised but not read when the stream closes is raised again, so that it
// isn't lost: a SIGTERM nobody read ends the process then.
//
// Signals are delivered to whatever thread the kernel picks, and reach this
// loop from there; none needs to be blocked, and threads of libraries don't
// matter. Several streams, on several loops too, may hear the same signal: each
// gets it.
//
// It goes, or is closed, before its loop ends (checked). Threads: the loop's.

#ifndef BRAID_OS_SIGNALS_H_
#define BRAID_OS_SIGNALS_H_

#include <concepts>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/operation.h"

namespace braid {

// Numbers of signals: {SIGINT, SIGTERM}. What an initializer list would do, but
// for g++ 12, which has no room for one in a coroutine.
class SignalSet {
 public:
  template <std::same_as<int>... Signals>
  // NOLINTNEXTLINE(google-explicit-constructor)
  SignalSet(Signals... signals) : signals_{signals...} {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  SignalSet(std::vector<int> signals) : signals_(std::move(signals)) {}

  std::span<const int> span() const { return signals_; }

 private:
  std::vector<int> signals_;
};

class SignalStream {
 public:
  // Starts to listen. No signal, and one that can't be caught or that says that
  // the program is broken (SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL):
  // INVALID_ARGUMENT.
  static absl::StatusOr<SignalStream> Open(const SignalSet& signals);

  SignalStream(SignalStream&& other) noexcept;
  SignalStream& operator=(SignalStream&& other) noexcept;
  // Closes it.
  ~SignalStream();

  // Completes when a signal has come. co_await gives absl::StatusOr<int>, its
  // number. Cancelled: stopped; the signal stays unread. One task at a time:
  // another gets Busy. Closed meanwhile: Closed. The stream must stay where it
  // is until then, or be closed first.
  auto Next() { return Operation<NextOp, State*>(Use()); }

  // Stops listening and restores what was before. Idempotent.
  void Close() noexcept;

 private:
  class State;

  class NextOp final : public OperationBase {
   public:
    explicit NextOp(State* state);
    ~NextOp();
    bool Try();
    void Suspend();
    void Cancel() noexcept override;
    absl::StatusOr<int> TakeResult() noexcept;

   private:
    friend class State;
    State* state_;
    int signal_ = 0;
    absl::Status error_;
  };

  explicit SignalStream(State* state) : state_(state) {}
  State* Use() const;

  State* state_;
};

}  // namespace braid

#endif  // BRAID_OS_SIGNALS_H_
