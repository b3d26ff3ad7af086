// The part of a loop that is the same on every backend: ready queue, timers,
// cancellation tree, inbox.
//
// One loop runs on one thread. A Driver (a backend) supplies time and a way to
// be woken, calls Turn() again and again, and waits for I/O in between. Nothing
// here does I/O or asks a clock of its own.

#ifndef BRAID_CORE_DETAIL_LOOP_H_
#define BRAID_CORE_DETAIL_LOOP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "braid/core/check.h"
#include "braid/core/detail/frame_pool.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/scope.h"
#include "braid/core/detail/task_node.h"
#include "braid/core/detail/timer_queue.h"
#include "braid/core/driver.h"
#include "braid/core/time.h"

namespace braid {

namespace detail {

// Work that another thread hands to a loop. The node belongs to the loop until
// `run` is called on the loop's thread.
struct InboxNode {
  explicit InboxNode(void (*run)(InboxNode&)) : run(run) {}
  void (*run)(InboxNode&);
  InboxNode* next = nullptr;
};

// A task that waits until a scope around it is asked to stop gracefully.
struct StopWaiter : IntrusiveListNode {
  explicit StopWaiter(void (*wake)(StopWaiter&)) : wake(wake) {}
  void (*wake)(StopWaiter&);
  Scope* scope = nullptr;
};

class Loop {
 public:
  // Operations that are ready at once, in a row, before a task goes to the back
  // of the queue.
  static constexpr int kReadyInARow = 64;
  // The standard budget of LoopOptions.
  static constexpr int kTurnBudget = LoopOptions().turn_budget;
  // Timers that fire between two looks at I/O.
  static constexpr size_t kTimersPerTurn = 1024;
  // Nodes of the tree that one cancellation marks in one go. Where a turn has
  // marked that many, it ends soon.
  static constexpr size_t kCancelChunk = 1024;

  explicit Loop(Driver& driver, LoopOptions options = {});
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  // The loop that runs on this thread, nullptr if none does.
  static Loop* CurrentOrNull();
  // The same, where there has to be one.
  static Loop& Current() {
    Loop* loop = CurrentOrNull();
    Check(loop != nullptr,
          "no loop runs on this thread; call this from a task, or enter "
          "through braid::Run");
    return *loop;
  }

  // For drivers.

  // Makes this the thread's loop for its lifetime.
  class Binding {
   public:
    explicit Binding(Loop& loop);
    Binding(const Binding&) = delete;
    Binding& operator=(const Binding&) = delete;
    ~Binding();

   private:
    Loop* previous_;
  };
  // While one lives, no loop is this thread's: what runs then stands for
  // another thread, in a simulation.
  class Elsewhere {
   public:
    Elsewhere();
    Elsewhere(const Elsewhere&) = delete;
    Elsewhere& operator=(const Elsewhere&) = delete;
    ~Elsewhere();

   private:
    Loop* here_;
  };

  // Fires due timers, takes what other threads handed in, and runs ready tasks
  // for one budget. Returns true if more is ready, so that the driver should
  // only look at I/O and not wait.
  bool Turn();
  // When a waiting driver has to call Turn() again, whatever happens.
  Time next_deadline() const { return timers_.next(); }
  // Whether there is something for a turn to do: a task is ready, another
  // thread handed something in, or the loop is to end.
  bool has_work() const {
    return ready_head_ != nullptr ||
           inbox_.load(std::memory_order_acquire) != nullptr ||
           (idle() && !finished_);
  }
  // Whether the root task has ended and so has all that the loop was to finish.
  bool finished() const { return finished_; }
  // Ends the loop without running its tasks: parked operations are asked to
  // withdraw, and frames are destroyed, innermost first. No coroutine is
  // resumed or begun, clean-ups (Finally) included; destructors run, and
  // nothing else. For a machine whose power goes. False: an operation did not
  // withdraw, and its task is still there.
  bool Abandon();
  // That it is being ended so: no operation may refuse to withdraw.
  bool abandoned() const { return abandoned_; }
  // Takes what other threads handed in, between two turns.
  void RunInbox() { DrainInbox(); }
  Driver& driver() const { return driver_; }
  // Whether this is the thread it runs on, though not a task or a turn may be
  // running: a guest's application calls from its own handlers.
  bool OnItsThread() const;

  // Set between two turns by a driver that gives the thread away meanwhile, to
  // handlers of an application that may make tasks ready or move deadlines:
  // Disturb then wakes it.
  void set_away(bool away) { away_ = away; }
  void Disturb() {
    if (away_) [[unlikely]] {
      away_ = false;
      driver_.Wake();
    }
  }

  // Keeps the loop running until the matching Release, for work that a
  // destructor handed to it.
  void Hold() { ++held_; }
  void Release() { --held_; }

  // For operations and boundaries.

  // The task that has the thread. Only between two awaits of a task.
  TaskNode* current() const { return current_; }
  TaskNode& CurrentTask() const {
    Check(current_ != nullptr,
          "no task runs here; call this from a task's own code, not from a "
          "callback");
    return *current_;
  }

  // TaskNode::due(), for the hot path.
  bool IsDue(const TaskNode& task) const {
    return task.scope->due_ || (cancels_pending_ && task.scope->DueSlow());
  }

  void Enqueue(TaskNode* task) {
    task->queued = true;
    task->next_ready = nullptr;
    *ready_tail_ = task;
    ready_tail_ = &task->next_ready;
    ++enqueued_;
    Disturb();
  }
  // Enqueues `task` so that its innermost link is stopped.
  void EnqueueStopped(TaskNode* task) {
    task->stopping = true;
    Enqueue(task);
  }
  // Counts one operation that was ready at once. False: the task should go to
  // the back of the queue.
  bool TakeReady() { return ready_left_-- > 0; }

  TimerQueue& timers() { return timers_; }
  FramePool& frames() { return frames_; }
  Time Now() const { return driver_.Now(); }
  // The time the current turn began; costs nothing.
  Time turn_time() const { return turn_time_; }
  const LoopOptions& options() const { return options_; }

  // Hands `node` to the loop. From any thread, as long as the loop exists; the
  // driver must exist until Post returns, even if the node ends the loop. Never
  // blocks, never allocates.
  void Post(InboxNode* node) noexcept;

  // For LoopLocal.
  void* FindLocal(const void* key) const {
    for (const Local& local : locals_) {
      if (local.key == key) return local.value;
    }
    return nullptr;
  }
  void AddLocal(const void* key, void* value, void (*destroy)(void*) noexcept) {
    locals_.push_back({key, value, destroy});
  }

  Scope* root() const { return root_; }
  // Stops the whole program on this loop.
  void CancelRoot(std::string_view reason) {
    if (root_ != nullptr) root_->Cancel(CancelCause::Source::kExplicit, reason);
  }
  // Of the scopes whose deadlines were armed as timer number `from` or later:
  // the first that was, and nullptr if none is. `from` is then the number after
  // it. For tests.
  Scope* FindDeadline(uint64_t& from) const {
    return static_cast<Scope*>(timers_.Find(&Scope::OnDeadline, from));
  }
  LoopStats stats() const;
  void CountCleanupFailure() { ++stats_.cleanup_failures; }

  // Tasks that wait for a graceful stop; kept here because a request looks at
  // them, not at the whole tree.
  IntrusiveList<StopWaiter>& stop_waiters() { return stop_waiters_; }

 private:
  friend class Scope;
  friend class TaskNode;

  // A cancellation on its way through a large tree.
  struct PendingCancel {
    Scope* root;
    Scope* cursor;
  };

  // What runs ready tasks in an order drawn from a seed.
  class Shuffle;

  struct Local {
    const void* key;
    void* value;
    void (*destroy)(void*) noexcept;
  };

  // Whether nothing is left that it has to finish.
  bool idle() const { return root_ == nullptr && held_ == 0; }
  // Destroys what is loop-local, which shuts the doors for other threads, and
  // runs what they had handed in by then.
  void End();
  void RunTask(TaskNode* task);
  // The same for a task that is not to run any more.
  void UnwindTask(TaskNode* task);
  // Asks every parked operation to withdraw. False: none is parked.
  bool WithdrawAll();
  void RunShuffled(int budget);
  void DrainInbox();
  // Marks up to `limit` nodes; false if some are left (`cursor` then says
  // where).
  bool Spread(PendingCancel& cancel, size_t& limit);
  void SpreadPending();
  void StartCancel(Scope* root);
  // After `root` got a shield: what was due from outside only is due no longer.
  void RecomputeDue(Scope* root);
  void ForgetScope(Scope* scope);
  static Scope* NextOutside(Scope* scope, Scope* root);

  Driver& driver_;
  Loop* const* home_ = nullptr;  // see OnItsThread
  TaskNode* ready_head_ = nullptr;
  TaskNode** ready_tail_ = &ready_head_;
  TaskNode* current_ = nullptr;
  int ready_left_ = kReadyInARow;
  bool away_ = false;
  bool finished_ = false;
  bool abandoned_ = false;  // everything is due, shielded or not
  Time turn_time_{};
  FramePool frames_;
  TimerQueue timers_;
  std::vector<PendingCancel> pending_cancels_;
  bool cancels_pending_ = false;  // the vector isn't empty
  // One more for each cancellation that takes more than one go, and for what
  // may let one through; see Scope::DueSlow.
  uint32_t cancel_wave_ = 1;
  size_t spread_left_ = kCancelChunk;  // nodes that this turn may still mark
  std::vector<Local> locals_;
  IntrusiveList<StopWaiter> stop_waiters_;
  Scope* root_ = nullptr;
  std::atomic<InboxNode*> inbox_ = nullptr;
  LoopOptions options_;
  std::unique_ptr<Shuffle> shuffle_;  // nullptr without a seed
  LoopStats stats_;
  uint64_t enqueued_ = 0;  // times a task became ready
  uint64_t next_task_id_ = 1;
  uint64_t held_ = 0;
};

// The only thread-local of the SDK.
extern constinit thread_local Loop* current_loop;

inline Loop* Loop::CurrentOrNull() { return current_loop; }

// The address of a thread-local tells threads apart.
inline bool Loop::OnItsThread() const { return home_ == &current_loop; }

inline bool Scope::HasPendingCancels() const {
  return loop_ != nullptr && loop_->cancels_pending_;
}

inline void TaskNode::ParkAt(Link* link) {
  innermost = link;
  since = own.loop()->turn_time_;
}

// Inline, because a task that starts and ends does nothing else.
inline void Scope::Link(Loop& loop, Scope* parent, TaskNode* owner) {
  Check(!entered_,
        "a cancel scope is entered twice; make a new one for each use");
  entered_ = true;
  loop_ = &loop;
  parent_ = parent;
  owner_ = owner;
  if (parent != nullptr) {
    if (Scope* first = parent->first_child_; first != nullptr) {
      prev_ = first->prev_;
      first->prev_->next_ = this;
      first->prev_ = this;
    } else {
      parent->first_child_ = this;
      prev_ = this;
    }
  } else {
    Check(loop.root_ == nullptr, "a loop has one root");
    loop.root_ = this;
  }
  due_ = cancelled_ || due_from_outside();
}

inline void Scope::Unlink() {
  Check(first_child_ == nullptr,
        "a cancel scope ends while something runs inside it");
  if (loop_->cancels_pending_) [[unlikely]]
    loop_->ForgetScope(this);
  loop_->timers_.Remove(*this);
  if (parent_ != nullptr) {
    if (next_ != nullptr) {
      next_->prev_ = prev_;
    } else {
      parent_->first_child_->prev_ = prev_;
    }
    if (parent_->first_child_ == this) {
      parent_->first_child_ = next_;
    } else {
      prev_->next_ = next_;
    }
  } else {
    loop_->root_ = nullptr;
  }
  parent_ = prev_ = next_ = nullptr;
  loop_ = nullptr;
}

inline void TaskNode::Start(Loop& on, Scope* parent, Link* first) {
  id = on.next_task_id_++;
  ++on.stats_.tasks_started;
  ++on.stats_.tasks_alive;
  own.Link(on, parent, this);
  scope = &own;
  if (TaskNode* spawner = on.current();
      spawner != nullptr && spawner->locals != nullptr) {
    InheritLocals(*spawner);
  }
  ParkAt(first);
  on.Enqueue(this);
}

inline void TaskNode::End() {
  Check(scope == &own,
        "a task ended inside a cancel scope; this is a bug in Braid");
  if (locals != nullptr) DropLocals();
  --loop()->stats_.tasks_alive;
  own.Unlink();
}

// The memory of a frame: from the current thread's loop if it has one, from
// operator new otherwise.
inline void* AllocateFrame(size_t size) {
#if BRAID_FRAME_POOL_ENABLED
  if (Loop* loop = current_loop; loop != nullptr && size <= FramePool::kLargest)
      [[likely]] {
    return loop->frames().Allocate(size);
  }
#endif
  return ::operator new(FramePool::BlockSize(size));
}

inline void ReleaseFrame(void* p, [[maybe_unused]] size_t size) noexcept {
#if BRAID_FRAME_POOL_ENABLED
  if (Loop* loop = current_loop; loop != nullptr && size <= FramePool::kLargest)
      [[likely]] {
    loop->frames().Release(p, size);
    return;
  }
#endif
  ::operator delete(p);
}

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_DETAIL_LOOP_H_
