// The timers of a loop: a 4-ary heap ordered by (deadline, registration).
//
// For: deadlines of scopes and sleeps. Adding and removing costs no system call
// and, once the heap has grown, no allocation. Not for: asking the clock; the
// loop passes the time in.

#ifndef BRAID_CORE_DETAIL_TIMER_QUEUE_H_
#define BRAID_CORE_DETAIL_TIMER_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "braid/core/time.h"

namespace braid::detail {

// A deadline in the queue. Immovable while armed; whoever owns it removes it
// before it goes.
class Timer {
 public:
  using Fire = void (*)(Timer&);

  explicit Timer(Fire fire) : fire_(fire) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  bool armed() const { return index_ != kUnarmed; }

 private:
  friend class TimerQueue;
  static constexpr uint32_t kUnarmed = UINT32_MAX;

  Fire fire_;
  uint32_t index_ = kUnarmed;
};

class TimerQueue {
 public:
  // Arms `timer` for `when`. It must not be armed.
  void Add(Timer& timer, Time when);
  // Disarms `timer`; nothing happens if it isn't armed.
  void Remove(Timer& timer) {
    if (timer.armed()) RemoveArmed(timer);
  }

  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  // The earliest deadline, kNever if there is none.
  Time next() const { return heap_.empty() ? kNever : heap_[0].when; }

  // Of those that `fire` belongs to and that were armed as number `from` or
  // later: the first that was. `from` is then the number after it. nullptr:
  // none is. Looks at all of them; for tests.
  Timer* Find(Timer::Fire fire, uint64_t& from) const;

  // Disarms and fires the first timer if it is due at `now`; false if none is.
  bool FireNext(Time now);

 private:
  struct Entry {
    Time when;
    uint64_t sequence;
    Timer* timer;

    bool Before(const Entry& other) const {
      return when != other.when ? when < other.when : sequence < other.sequence;
    }
  };

  void Place(size_t i, const Entry& entry) {
    heap_[i] = entry;
    entry.timer->index_ = static_cast<uint32_t>(i);
  }
  void RemoveArmed(Timer& timer);
  void SiftUp(size_t i, const Entry& entry);
  void SiftDown(size_t i, const Entry& entry);

  std::vector<Entry> heap_;
  uint64_t sequence_ = 0;
};

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_TIMER_QUEUE_H_
