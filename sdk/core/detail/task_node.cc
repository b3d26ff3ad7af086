#include "braid/core/detail/task_node.h"

#include "braid/core/detail/loop.h"
#include "braid/core/task_local.h"

namespace braid::detail {

void TaskNode::InheritLocals(const TaskNode& from) {
  locals = LocalNode::Share(from.locals);
}

void TaskNode::DropLocals() {
  LocalNode::Unshare(std::exchange(locals, nullptr));
}

}  // namespace braid::detail
