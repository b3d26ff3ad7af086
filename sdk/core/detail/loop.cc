#include "braid/core/detail/loop.h"

#include <algorithm>
#include <new>
#include <random>
#include <utility>

#include "braid/core/detail/link.h"
#include "braid/core/operation.h"

namespace braid::detail {

constinit thread_local Loop* current_loop = nullptr;

void FramePool::Trim() noexcept {
  for (Block*& list : free_) {
    while (list != nullptr) ::operator delete(std::exchange(list, list->next));
  }
  cached_bytes_ = 0;
}

class Loop::Shuffle {
 public:
  explicit Shuffle(uint64_t seed) : random_(seed) {}

  // Takes up to `limit` tasks off the queue, in random order. Fisher-Yates with
  // an explicit generator: std::shuffle's result is not the same in every
  // standard library.
  std::vector<TaskNode*>& TakeBatch(TaskNode*& head, int limit) {
    batch_.clear();
    for (; head != nullptr && limit > 0; --limit) {
      batch_.push_back(head);
      head = head->next_ready;
    }
    for (size_t i = batch_.size(); i > 1; --i) {
      std::swap(batch_[i - 1], batch_[random_() % i]);
    }
    return batch_;
  }

 private:
  std::mt19937_64 random_;  // lint: allow(random): seeded by the options
  std::vector<TaskNode*> batch_;
};

Loop::Loop(Driver& driver, LoopOptions options)
    : driver_(driver), turn_time_(driver.Now()), options_(options) {
  if (options.shuffle_seed.has_value()) {
    shuffle_ = std::make_unique<Shuffle>(*options.shuffle_seed);
  }
}

Loop::~Loop() {
  Check(root_ == nullptr && ready_head_ == nullptr,
        "a loop is destroyed while tasks are alive on it");
  End();  // of a loop that no task ever ran on
}

Loop::Binding::Binding(Loop& loop)
    : previous_(std::exchange(current_loop, &loop)) {
  Check(previous_ == nullptr,
        "a loop already runs on this thread; await the work instead of running "
        "another loop inside it");
  loop.home_ = &current_loop;
}

Loop::Binding::~Binding() { current_loop = previous_; }

Loop::Elsewhere::Elsewhere() : here_(std::exchange(current_loop, nullptr)) {}

Loop::Elsewhere::~Elsewhere() { current_loop = here_; }

bool Loop::Turn() {
  ++stats_.turns;
  turn_time_ = driver_.Now();
  if (inbox_.load(std::memory_order_relaxed) != nullptr) DrainInbox();
  // A timer may begin a cancellation: the marks count, not only the timers.
  spread_left_ = kCancelChunk;
  for (size_t left = kTimersPerTurn; left > 0 && spread_left_ > 0; --left) {
    if (!timers_.FireNext(turn_time_)) break;
    ++stats_.timers_fired;
  }
  if (cancels_pending_) [[unlikely]]
    SpreadPending();
  spread_left_ = kCancelChunk;
  if (shuffle_ != nullptr) {
    RunShuffled(options_.turn_budget);
  } else {
    int budget = options_.turn_budget;
    while (ready_head_ != nullptr && budget > 0 && spread_left_ > 0) {
      TaskNode* task = ready_head_;
      ready_head_ = task->next_ready;
      if (ready_head_ == nullptr) ready_tail_ = &ready_head_;
      RunTask(task);
      budget -= 1 + (kReadyInARow - ready_left_);
    }
  }
  if (idle()) End();
  return has_work() || cancels_pending_ ||
         (!timers_.empty() && timers_.next() <= turn_time_);
}

void Loop::End() {
  // What is run here may make values anew, or hold the loop once more.
  while (!locals_.empty() ||
         inbox_.load(std::memory_order_relaxed) != nullptr) {
    if (!locals_.empty()) {
      const Local local = locals_.back();
      locals_.pop_back();
      local.destroy(local.value);
    }
    DrainInbox();
  }
  finished_ = idle();
}

void Loop::RunTask(TaskNode* task) {
  ++stats_.switches;
  current_ = task;
  ready_left_ = kReadyInARow;
  task->queued = false;
  Link* link = task->innermost;
  if (task->stopping) [[unlikely]] {
    task->stopping = false;
    link = Unwind(link);
  }
  while (link != nullptr && link->ops != nullptr) link = link->ops->done(link);
  if (link != nullptr) static_cast<PromiseBase*>(link)->handle().resume();
  current_ = nullptr;
}

bool Loop::Abandon() {
  abandoned_ = true;
  cancels_pending_ = true;  // so that IsDue and due() ask
  while (!finished_) {
    const bool withdrew = WithdrawAll();
    const bool ready = ready_head_ != nullptr;
    const bool posted = inbox_.load(std::memory_order_relaxed) != nullptr;
    while (ready_head_ != nullptr) {
      TaskNode* task = ready_head_;
      ready_head_ = task->next_ready;
      if (ready_head_ == nullptr) ready_tail_ = &ready_head_;
      UnwindTask(task);
    }
    DrainInbox();
    if (idle()) {
      End();
    } else if (!withdrew && !ready && !posted) {
      return false;
    }
  }
  return true;
}

void Loop::UnwindTask(TaskNode* task) {
  ++stats_.switches;
  current_ = task;
  task->queued = false;
  Link* link = task->innermost;
  if (std::exchange(task->stopping, false)) link = Unwind(link);
  // Boundaries do what they do; where a coroutine would go on, it is stopped.
  while (link != nullptr) {
    link = link->ops == nullptr ? Unwind(link) : link->ops->done(link);
  }
  current_ = nullptr;
}

bool Loop::WithdrawAll() {
  std::vector<OperationBase*> parked;
  for (Scope* scope = root_; scope != nullptr;) {
    TaskNode* owner = scope->owner_;
    if (owner != nullptr && scope == &owner->own && owner->parked != nullptr)
      parked.push_back(std::exchange(owner->parked, nullptr));
    scope = scope->first_child_ != nullptr ? scope->first_child_
                                           : NextOutside(scope, root_);
  }
  for (OperationBase* operation : parked) {
    // One that another took along is not parked any more.
    if (operation->task() != nullptr) operation->Cancel();
  }
  return !parked.empty();
}

// What becomes ready while a batch runs waits for the next.
void Loop::RunShuffled(int budget) {
  while (ready_head_ != nullptr && budget > 0) {
    const std::vector<TaskNode*>& batch =
        shuffle_->TakeBatch(ready_head_, budget);
    if (ready_head_ == nullptr) ready_tail_ = &ready_head_;
    budget -= static_cast<int>(batch.size());
    for (TaskNode* task : batch) RunTask(task);
  }
}

void Loop::DrainInbox() {
  InboxNode* node = inbox_.exchange(nullptr, std::memory_order_acquire);
  InboxNode* in_order = nullptr;
  while (node != nullptr) {
    InboxNode* next = node->next;
    node->next = in_order;
    in_order = node;
    node = next;
  }
  while (in_order != nullptr) {
    InboxNode* next = in_order->next;
    ++stats_.posts;
    in_order->run(*in_order);
    in_order = next;
  }
}

void Loop::Post(InboxNode* node) noexcept {
  // Once the node is there, the loop may take it, end, and be gone.
  Driver& driver = driver_;
  InboxNode* head = inbox_.load(std::memory_order_relaxed);
  do {
    node->next = head;
  } while (!inbox_.compare_exchange_weak(head, node, std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
  if (head == nullptr) driver.Wake();
}

// The next node in pre-order that is not below `scope`, inside the tree of
// `root`.
Scope* Loop::NextOutside(Scope* scope, Scope* root) {
  while (scope != root && scope->next_ == nullptr) scope = scope->parent_;
  return scope == root ? nullptr : scope->next_;
}

bool Loop::Spread(PendingCancel& cancel, size_t& limit) {
  Scope* scope = cancel.cursor;
  for (; scope != nullptr && limit > 0; --limit) {
    // A parent that isn't due got a shield, or is inside one, since this
    // cancellation passed it.
    const bool skip =
        scope->due_ ||
        (scope != cancel.root && (scope->shield_ || !scope->parent_->due_));
    if (!skip) scope->MakeDue();
    scope = !skip && scope->first_child_ != nullptr
                ? scope->first_child_
                : NextOutside(scope, cancel.root);
  }
  cancel.cursor = scope;
  return scope == nullptr;
}

void Loop::SpreadPending() {
  size_t left = kCancelChunk;
  while (left > 0 && !pending_cancels_.empty()) {
    // A copy: an operation that withdraws may cancel another scope, which may
    // append to the vector.
    PendingCancel cancel = pending_cancels_.front();
    if (Spread(cancel, left)) {
      pending_cancels_.erase(pending_cancels_.begin());
    } else {
      pending_cancels_.front() = cancel;
    }
  }
  cancels_pending_ = !pending_cancels_.empty();
}

void Loop::StartCancel(Scope* root) {
  PendingCancel cancel{root, root};
  size_t left = kCancelChunk;
  bool done = Spread(cancel, left);
  spread_left_ -= std::min(spread_left_, kCancelChunk - left);
  if (done) return;
  try {
    pending_cancels_.push_back(cancel);
  } catch (const std::bad_alloc&) {
    while (!done) {  // all at once, then
      left = kCancelChunk;
      done = Spread(cancel, left);
    }
    return;
  }
  ++cancel_wave_;
  cancels_pending_ = true;
}

void Loop::RecomputeDue(Scope* root) {
  for (Scope* scope = root; scope != nullptr;) {
    scope->due_ = scope->cancelled_ || scope->due_from_outside();
    scope = scope->first_child_ != nullptr ? scope->first_child_
                                           : NextOutside(scope, root);
  }
}

void Loop::ForgetScope(Scope* scope) {
  std::erase_if(pending_cancels_, [&](PendingCancel& cancel) {
    if (cancel.cursor == scope) cancel.cursor = NextOutside(scope, cancel.root);
    return cancel.root == scope || cancel.cursor == nullptr;
  });
  cancels_pending_ = !pending_cancels_.empty() || abandoned_;
}

LoopStats Loop::stats() const {
  LoopStats stats = stats_;
  stats.ready = enqueued_ - stats_.switches;
  stats.timers = timers_.size();
  stats.frame_pool_bytes = frames_.cached_bytes();
  stats.frame_pool_misses = frames_.misses();
  return stats;
}

}  // namespace braid::detail
