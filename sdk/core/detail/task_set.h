// Tasks that run inside one scope, and the task that waits for the last of
// them: the core of groups and combinators.

#ifndef BRAID_CORE_DETAIL_TASK_SET_H_
#define BRAID_CORE_DETAIL_TASK_SET_H_

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "braid/core/awaitable.h"
#include "braid/core/detail/link.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/scope.h"
#include "braid/core/detail/slot.h"
#include "braid/core/detail/task_node.h"
#include "braid/core/group_error.h"

namespace braid::detail {

// What went wrong in a group or combinator, in the order it happened.
class Failures {
 public:
  void Add(absl::Status status) noexcept;
  void Add(std::exception_ptr exception) noexcept;
  bool empty() const { return statuses_.empty() && exceptions_.empty(); }
  const auto& statuses() const { return statuses_; }

  // One failure is given as itself: a status returned, an exception rethrown.
  // Several statuses as the first with the others behind it; several failures
  // with an exception among them as a GroupError.
  absl::Status Take();

 private:
  // The first of either kind need no memory. Those for which there was none
  // later are only counted, and told of.
  absl::InlinedVector<absl::Status, 2> statuses_;
  absl::InlinedVector<std::exception_ptr, 2> exceptions_;
  uint32_t unkept_ = 0;
};

// What an exception says of itself.
std::string Describe(const std::exception_ptr& exception);

// A reason for a cancellation: "task 'reader' failed: NOT_FOUND: no such file".
// Empty where there is no memory for it.
std::string FailureReason(std::string_view task, const absl::Status& status,
                          const std::exception_ptr& exception) noexcept;

class TaskSet {
 public:
  TaskSet() = default;

  // Called by the host before the first task starts: the set's scope becomes
  // the innermost of the host.
  void Enter() {
    host = &Loop::Current().CurrentTask();
    scope.Enter(*host);
  }

  void Started() { ++live; }
  // A task of the set has ended. `stopped`: by cancellation; `alone`: it was
  // cancelled itself.
  void Ended(bool stopped, bool alone = false) {
    if (stopped && !alone) NoteStop();
    if (--live == 0 && waiting) {
      waiting = false;
      host->loop()->Enqueue(host);
    }
  }

  // Something that runs in the set was stopped. What neither it nor the set was
  // cancelled for came from outside, also where a shield hides that by now.
  void NoteStop() {
    if (!scope.cancelled() || scope.due_from_outside())
      stopped_from_outside = true;
  }

  // Whether `task` belongs to the set: it, or a task that it runs inside.
  bool Contains(const TaskNode& task) const;

  // Parks the host at `link` until no task is left. False: none is.
  bool WaitAt(Link* link) {
    if (live == 0) return false;
    host->ParkAt(link);
    waiting = true;
    return true;
  }

  Scope scope;
  TaskNode* host = nullptr;
  size_t live = 0;
  bool waiting = false;
  bool stopped_from_outside = false;  // an enclosing scope stopped some of it
};

// What a combinator is told about each of its legs.
class LegObserver {
 public:
  enum class End : uint8_t { kValue, kFailed, kStopped };
  // On the loop, when the leg has ended and before it leaves the set. `status`
  // and `exception` are set where it failed.
  virtual void LegEnded(End end, const absl::Status& status,
                        const std::exception_ptr& exception) = 0;

 protected:
  ~LegObserver() = default;
};

// A task that runs one body for a combinator. It lives in the combinator's
// awaiter.
template <typename B>
class Leg : public TaskNode, public Link {
 public:
  using Result = typename BodyHolder<B>::Result;

  explicit Leg(B&& body)
      : TaskNode(""), Link(&kStartOps), body_(std::move(body)) {}

  // Starts it under `parent`, as a task of `set`.
  void Begin(TaskSet& set, Scope* parent, LegObserver* observer,
             TaskName leg_name) {
    name = std::move(leg_name);
    set_ = &set;
    observer_ = observer;
    set.Started();
    TaskNode::Start(*set.host->loop(), parent, this);
  }

  // Empty if it was stopped.
  Slot<Result>& slot() { return slot_; }

 private:
  static Link* First(Link* link) {
    auto* self = static_cast<Leg*>(link);
    self->ops = &kRunOps;
    return self->body_.Start(self);
  }
  static Link* Done(Link* link) {
    auto* self = static_cast<Leg*>(link);
    self->body_.CaptureInto(self->slot_);
    if (!Failed(self->slot_)) {
      self->Finish(LegObserver::End::kValue, absl::OkStatus(), nullptr);
    } else if (self->slot_.has_exception()) {
      self->Finish(LegObserver::End::kFailed, absl::OkStatus(),
                   self->slot_.exception());
    } else {
      self->Finish(LegObserver::End::kFailed, StatusOf(self->slot_), nullptr);
    }
    return nullptr;
  }
  static Unwound Stopped(Link* link) {
    static_cast<Leg*>(link)->Finish(LegObserver::End::kStopped,
                                    absl::OkStatus(), nullptr);
    return {nullptr, false};
  }
  void Finish(LegObserver::End end, const absl::Status& status,
              const std::exception_ptr& exception) {
    observer_->LegEnded(end, status, exception);
    End();
    set_->Ended(end == LegObserver::End::kStopped);
  }
  static constexpr LinkOps kStartOps = {&First, &Stopped, false, "leg"};
  static constexpr LinkOps kRunOps = {&Done, &Stopped, false, "leg"};

  BodyHolder<B> body_;
  Slot<Result> slot_;
  TaskSet* set_ = nullptr;
  LegObserver* observer_ = nullptr;
};

// The base of AllOf, AnyOf and FirstOk: legs that run side by side in a scope
// of their own, and a host that waits.
class Combinator : public Link, protected LegObserver {
 public:
  bool Ready() const { return false; }

 protected:
  explicit Combinator(const LinkOps* ops) : Link(ops) {}
  ~Combinator() = default;

  // Starts every leg of `legs` by `begin(leg)`; returns what Start of an
  // awaiter returns.
  template <typename BeginLegs>
  Link* StartLegs(Link* link, BeginLegs begin) {
    parent = link;
    set_.Enter();
    begin();
    return set_.WaitAt(this) ? nullptr : this;
  }
  template <typename B>
  void BeginLeg(Leg<B>& leg, TaskName name) {
    leg.Begin(set_, &set_.scope, this, std::move(name));
  }

  // The host is parked in no operation: what a stop reaches are the legs.
  static Unwound StoppedNever(Link*) {
    CheckFailed("a combinator was stopped itself; this is a bug in Braid",
                std::source_location::current());
  }

  TaskSet set_;
  Failures failures_;
};

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_TASK_SET_H_
