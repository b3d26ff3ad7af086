#include "braid/core/detail/timer_queue.h"

#include "braid/core/check.h"

namespace braid::detail {
namespace {

constexpr size_t kArity = 4;

}  // namespace

void TimerQueue::Add(Timer& timer, Time when) {
  Check(!timer.armed(), "a timer is armed twice; remove it first");
  Check(heap_.size() < Timer::kUnarmed,
        "more than 2^32 - 1 timers in one loop; use more loops");
  heap_.emplace_back();
  SiftUp(heap_.size() - 1, Entry{when, sequence_++, &timer});
}

void TimerQueue::RemoveArmed(Timer& timer) {
  const size_t i = timer.index_;
  timer.index_ = Timer::kUnarmed;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (i == heap_.size()) return;  // it was the last
  if (i > 0 && last.Before(heap_[(i - 1) / kArity])) {
    SiftUp(i, last);
  } else {
    SiftDown(i, last);
  }
}

Timer* TimerQueue::Find(Timer::Fire fire, uint64_t& from) const {
  const Entry* first = nullptr;
  for (const Entry& entry : heap_) {
    if (entry.timer->fire_ != fire || entry.sequence < from) continue;
    if (first == nullptr || entry.sequence < first->sequence) first = &entry;
  }
  if (first == nullptr) return nullptr;
  from = first->sequence + 1;
  return first->timer;
}

bool TimerQueue::FireNext(Time now) {
  if (heap_.empty() || heap_[0].when > now) return false;
  Timer& timer = *heap_[0].timer;
  Remove(timer);
  timer.fire_(timer);
  return true;
}

void TimerQueue::SiftUp(size_t i, const Entry& entry) {
  while (i > 0) {
    const size_t parent = (i - 1) / kArity;
    if (!entry.Before(heap_[parent])) break;
    Place(i, heap_[parent]);
    i = parent;
  }
  Place(i, entry);
}

void TimerQueue::SiftDown(size_t i, const Entry& entry) {
  const size_t size = heap_.size();
  for (;;) {
    const size_t first = i * kArity + 1;
    if (first >= size) break;
    const size_t end = first + kArity < size ? first + kArity : size;
    size_t least = first;
    for (size_t child = first + 1; child < end; ++child) {
      if (heap_[child].Before(heap_[least])) least = child;
    }
    if (!heap_[least].Before(entry)) break;
    Place(i, heap_[least]);
    i = least;
  }
  Place(i, entry);
}

}  // namespace braid::detail
