#include "braid/sync/detail/wait_queue.h"

namespace braid::detail {

void WaitQueue::StopDue() {
  while (!empty() && front()->task()->due()) PopFront().Stop();
}

void Home::Settle() {
  if (home_ != nullptr) WrongThread();
  home_ = &current_loop;
}

void Home::WrongThread() {
  Check(false,
        "a synchronization primitive of one loop is used from another thread; "
        "hand the work to the thread that awaited it first");
  __builtin_unreachable();
}

}  // namespace braid::detail
