// A node of the cancellation tree.
//
// Every started task owns one, and so does every cancel scope, task group and
// combinator. Cancellation flows down: a node is *due* when it was cancelled
// itself, or when its parent is due and it isn't shielded. A due task stops at
// its next checkpoint. The tree is also the task tree: walking it finds every
// live task of a loop.
//
// Cancelling marks nodes and asks parked operations to withdraw; it resumes and
// destroys nothing, so it may be called from any destructor on the loop's
// thread.

#ifndef BRAID_CORE_DETAIL_SCOPE_H_
#define BRAID_CORE_DETAIL_SCOPE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "braid/core/cancel_cause.h"
#include "braid/core/check.h"
#include "braid/core/detail/timer_queue.h"
#include "braid/core/time.h"

namespace braid::detail {

class Loop;
class TaskNode;

class Scope : private Timer {
 public:
  Scope() : Timer(&OnDeadline) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  [[gnu::always_inline]] ~Scope() {
    detail::Check(loop_ == nullptr,
                  "a cancel scope is destroyed while something runs inside it; "
                  "await its end first");
  }

  // Puts the node under `parent` (nullptr: the root of the tree).
  void Link(Loop& loop, Scope* parent, TaskNode* owner);
  // Takes it out. It has no children any more.
  void Unlink();
  bool linked() const { return loop_ != nullptr; }

  // Link and Unlink for a node that `task` enters and leaves, last in first
  // out.
  void Enter(TaskNode& task);
  void Leave();

  // Idempotent: the first cause wins. On the loop's thread, or before the node
  // is linked.
  void Cancel(CancelCause::Source source,
              std::string_view reason = {}) noexcept;

  // A node that isn't linked keeps its deadline for ArmDeadline.
  void SetDeadline(Time deadline);
  // Starts to watch the deadline of a node that was just linked; `now` is a
  // fresh reading of the clock.
  void ArmDeadline(Time now);
  void SetRelativeDeadline(Time deadline, Time now) {
    deadline_ = deadline;
    ArmDeadline(now);
  }
  Time deadline() const { return deadline_; }
  void SetShield(bool shield);
  bool shield() const { return shield_; }

  // Whether it was cancelled itself, or its deadline has passed.
  // A deadline seen to have passed cancels, so that the answer stays true.
  bool cancel_called();
  // As cancel_called(), without a look at the clock.
  bool cancelled() const { return cancelled_; }
  // Whether what runs in this node has to stop at its next checkpoint. The flag
  // alone is exact unless a large cancellation is still on its way through the
  // tree; then ancestors are asked.
  bool due() const { return due_ || (HasPendingCancels() && DueSlow()); }
  // Whether an enclosing node makes this one due.
  bool due_from_outside() const {
    return !shield_ && parent_ != nullptr && parent_->due();
  }

  // Why this node is due: the cause of the nearest cancelled one outwards;
  // empty if it isn't due.
  std::optional<CancelCause> cause() const;
  // It as text; empty where there is no memory for it.
  std::string CauseText() const noexcept;

  // Whether this scope absorbed a stop: its body was stopped, or something
  // inside was and an error outranked that.
  bool caught() const { return caught_; }
  void MarkCaught() { caught_ = true; }
  // The cancelled scope that a stop arriving here from outside comes from.
  void MarkCaughtOutside();

  void RequestStop();
  // Whether this node or one outside was asked to stop gracefully. Shields do
  // not hide that.
  bool stop_requested() const;

  Scope* parent() const { return parent_; }
  Scope* first_child() const { return first_child_; }
  Scope* next_sibling() const { return next_; }
  TaskNode* owner() const { return owner_; }
  Loop* loop() const { return loop_; }

 private:
  friend class Loop;

  static void OnDeadline(Timer& timer);
  void CheckThread() const;
  bool HasPendingCancels() const;
  // What due() is while a cancellation is on its way. Asks ancestors, once for
  // all of them as long as no other cancellation begins.
  bool DueSlow() const;
  // Marks this one node as due and asks the operation its task is parked in to
  // withdraw.
  void MakeDue();

  Scope* parent_ = nullptr;
  Scope* prev_ = nullptr;  // of the first child: the last child
  Scope* next_ = nullptr;
  Scope* first_child_ = nullptr;
  TaskNode* owner_ = nullptr;
  Loop* loop_ = nullptr;
  Time deadline_ = kNever;
  // Who and why in words; only allocated where the source alone doesn't say it.
  std::unique_ptr<CancelCause> detailed_cause_;
  mutable uint32_t not_due_in_ =
      0;  // the wave for which DueSlow has found that
  CancelCause::Source source_ = CancelCause::Source::kExplicit;
  bool shield_ : 1 = false;
  bool cancelled_ : 1 = false;
  bool due_ = false;
  bool caught_ : 1 = false;
  bool entered_ : 1 = false;
  bool stop_requested_ : 1 = false;
};

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_SCOPE_H_
