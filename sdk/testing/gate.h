// Gate: something to wait for whose every step a test decides.
//
// For: tests of what holds an operation: it can be made to complete, to
// withdraw when cancelled, to refuse, or to take its time.
//
//   Task<int> WaitAt(Gate* gate) { co_return co_await gate->Wait(); }
//
//   Gate gate(Gate::OnCancel::kRefuse);
//   TaskHandle<int> waiter = group.Start("waiter", WaitAt, &gate);
//   ...
//   gate.Open(7);
//   Outcome<int> outcome = co_await waiter.Join();  // 7
//
// Threads: the loop's.

#ifndef BRAID_TESTING_GATE_H_
#define BRAID_TESTING_GATE_H_

#include "braid/core/detail/intrusive_list.h"
#include "braid/core/operation.h"

namespace braid {

class Gate {
 public:
  // What a waiting operation does when it is asked to withdraw: stop at once;
  // go on, as one past its point of no return does; stop when the test calls
  // Withdraw(), as one does whose cancellation is itself asynchronous.
  enum class OnCancel { kStop, kRefuse, kLater };

  explicit Gate(OnCancel on_cancel = OnCancel::kStop) : on_cancel_(on_cancel) {}

  // Completes with the number that Open was given; at once while it is open.
  auto Wait() { return Operation<WaitOp, Gate*>(this); }

  // Lets everybody through, in the order they came, until Close().
  void Open(int value = 0) {
    open_ = true;
    value_ = value;
    while (WaitOp* op = waiters_.PopFront()) op->Finish(/*stop=*/false);
  }
  void Close() { open_ = false; }
  // Stops everybody who waits.
  void Withdraw() {
    while (WaitOp* op = waiters_.PopFront()) op->Finish(/*stop=*/true);
  }

  size_t waiting() const { return waiters_.Count(); }
  // How often an operation looked whether it could complete, had to wait, and
  // was asked to withdraw.
  int tries() const { return tries_; }
  int waits() const { return waits_; }
  int cancels() const { return cancels_; }

 private:
  class WaitOp final : public OperationBase, public detail::IntrusiveListNode {
   public:
    explicit WaitOp(Gate* gate) : gate_(gate) {}

    bool Try() {
      ++gate_->tries_;
      return gate_->open_;
    }
    void Suspend() {
      ++gate_->waits_;
      gate_->waiters_.PushBack(*this);
    }
    void Cancel() noexcept override {
      ++gate_->cancels_;
      if (gate_->on_cancel_ != OnCancel::kStop) return;
      gate_->waiters_.Remove(*this);
      Stop();
    }
    int TakeResult() { return gate_->value_; }

    void Finish(bool stop) {
      if (stop) {
        Stop();
      } else {
        Complete();
      }
    }

   private:
    Gate* gate_;
  };

  const OnCancel on_cancel_;
  detail::IntrusiveList<WaitOp> waiters_;
  bool open_ = false;
  int value_ = 0;
  int tries_ = 0;
  int waits_ = 0;
  int cancels_ = 0;
};

}  // namespace braid

#endif  // BRAID_TESTING_GATE_H_
