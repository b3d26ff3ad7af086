// Event: something that happens once, and tasks that wait for it.
//
//   Event ready;
//   group.Start("server", Serve, &ready);     // calls ready->Set()
//   co_await ready.Wait();
//
// For: telling any number of tasks that a point has been passed. There is no
// way to clear it: for something that happens again make a new Event, for a
// value that changes use Watch, for work to be taken use a channel.
//
// It may be built and set where no loop runs; it belongs to the thread of the
// loop that awaits it first (checked). It must outlive its waiters (checked);
// it may be destroyed right after Set(), before they have resumed.

#ifndef BRAID_SYNC_EVENT_H_
#define BRAID_SYNC_EVENT_H_

#include <cstddef>

#include "braid/core/operation.h"
#include "braid/sync/detail/wait_queue.h"

namespace braid {

class Event {
 public:
  struct Stats {
    size_t tasks_waiting = 0;
  };

  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // Makes every Wait(), those that wait now and later ones, complete.
  // Idempotent. Resumes nothing inline: may be called from any destructor.
  void Set() {
    home_.CheckHere();
    set_ = true;
    while (!waiters_.empty()) waiters_.PopFront().Complete();
  }

  bool is_set() const { return set_; }

  // Completes once the event is set. A checkpoint also if it already is.
  // Cancelled at any time; nothing is lost.
  auto Wait() { return Operation<WaitOp, Event*>(this); }

  // Linear in the number of waiting tasks.
  Stats stats() const { return {waiters_.Count()}; }

 private:
  class WaitOp final : public detail::WaitOperation {
   public:
    explicit WaitOp(Event* event) : event_(event) {}
    bool Try() {
      event_->home_.Enter();
      return event_->set_;
    }
    void Suspend() { WaitIn(event_->waiters_); }
    void TakeResult() noexcept {}

   private:
    Event* event_;
  };

  detail::WaitQueue waiters_;
  detail::Home home_;
  bool set_ = false;
};

}  // namespace braid

#endif  // BRAID_SYNC_EVENT_H_
