#include "braid/core/detail/task_node.h"

#include <cstring>

#include "braid/core/detail/loop.h"
#include "braid/core/task_local.h"

namespace braid {

const char* TaskName::Copy(std::string_view name) {
  char* copy = new char[name.size()];
  std::memcpy(copy, name.data(), name.size());
  return copy;
}

void TaskName::Free(const char* copy) noexcept { delete[] copy; }

namespace detail {

void TaskNode::Start(Loop& on, Scope* parent, Link* first) {
  id = on.next_task_id_++;
  ++on.stats_.tasks_started;
  ++on.stats_.tasks_alive;
  own.Link(on, parent, this);
  scope = &own;
  if (TaskNode* spawner = on.current();
      spawner != nullptr && spawner->locals != nullptr) {
    locals = LocalNode::Share(spawner->locals);
  }
  ParkAt(first);
  on.Enqueue(this);
}

void TaskNode::End() {
  Check(scope == &own,
        "a task ended inside a cancel scope; this is a bug in Braid");
  if (locals != nullptr) LocalNode::Unshare(std::exchange(locals, nullptr));
  --loop()->stats_.tasks_alive;
  own.Unlink();
}

}  // namespace detail
}  // namespace braid
