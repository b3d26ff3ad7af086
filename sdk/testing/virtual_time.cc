#include "braid/testing/virtual_time.h"

#include <algorithm>

#include "braid/core/task_tree.h"

namespace braid {

void VirtualTime::Run(detail::Loop& loop) {
  while (!loop.finished()) {
    if (loop.Turn() || loop.finished()) continue;
    const Time next = loop.next_deadline();
    if (next != kNever) {
      now_ = std::max(now_, next);
      continue;
    }
    detail::Check(loop.root() != nullptr && !loop.root()->due(),
                  "every task waits for what can't happen, and doesn't stop "
                  "when cancelled; look for a shield without limit");
    loop.CancelRoot(
        "deadlock: every task waits for something that can't happen any "
        "more\n" +
        FormatTasks(LiveTasks(loop)));
  }
}

}  // namespace braid
