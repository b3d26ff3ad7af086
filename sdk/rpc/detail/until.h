// Until: one task waits for something to be so, and its owner says when to
// look.
//
//   Until idle_{[this] { return calls_.empty(); }};
//   ...
//   co_await idle_.Wait();
//
// For: servers that wait for their last call. Not for programs, which have the
// primitives of sync/.

#ifndef BRAID_RPC_DETAIL_UNTIL_H_
#define BRAID_RPC_DETAIL_UNTIL_H_

#include <utility>

#include "absl/functional/any_invocable.h"
#include "braid/core/operation.h"

namespace braid::rpc::detail {

class Until {
 public:
  explicit Until(absl::AnyInvocable<bool() const> so) : so_(std::move(so)) {}
  Until(const Until&) = delete;
  Until& operator=(const Until&) = delete;

  // Completes when it is so, which it may not be any more when the task goes
  // on. One task at a time. Cancelled: stopped.
  auto Wait() { return Operation<Op, Until*>(this); }

  // It may be so now.
  void Look() {
    if (waiting_ != nullptr && so_())
      std::exchange(waiting_, nullptr)->Complete();
  }

 private:
  class Op final : public OperationBase {
   public:
    explicit Op(Until* until) : until_(until) {}
    bool Try() { return until_->so_(); }
    void Suspend() { until_->waiting_ = this; }
    void Cancel() noexcept override {
      until_->waiting_ = nullptr;
      Stop();
    }
    void TakeResult() {}
    using OperationBase::Complete;

   private:
    Until* until_;
  };

  const absl::AnyInvocable<bool() const> so_;
  Op* waiting_ = nullptr;
};

}  // namespace braid::rpc::detail

#endif  // BRAID_RPC_DETAIL_UNTIL_H_
