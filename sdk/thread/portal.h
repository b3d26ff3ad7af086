// Portal: the door into a loop for other threads.
//
//   Portal portal = Portal::Current();  // on the loop's thread
//   ...
//   bool accepted = portal.Post([=] { event->Set(); });  // on any thread
//
// For: callbacks of foreign libraries, worker threads, signals of other
// runtimes. A copy may outlive the loop: from then on Post says false.
// Functions posted from one thread run in the order they were posted. They run
// between tasks, not inside one: they may call Set, Cancel, TrySend and the
// like, never wait. Threads: any.

#ifndef BRAID_THREAD_PORTAL_H_
#define BRAID_THREAD_PORTAL_H_

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"

namespace braid {

class Portal {
 public:
  // Of the loop that runs on this thread (checked).
  static Portal Current();

  // Runs `function` on the loop's thread. False: the loop has ended, and the
  // function was destroyed without being called. A function that was accepted
  // is always called before the loop ends.
  bool Post(absl::AnyInvocable<void() &&> function) const;

 private:
  class State;
  explicit Portal(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::shared_ptr<State> state_;
};

}  // namespace braid

#endif  // BRAID_THREAD_PORTAL_H_
