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

void TaskNode::InheritLocals(const TaskNode& from) {
  locals = LocalNode::Share(from.locals);
}

void TaskNode::DropLocals() {
  LocalNode::Unshare(std::exchange(locals, nullptr));
}

}  // namespace detail
}  // namespace braid
