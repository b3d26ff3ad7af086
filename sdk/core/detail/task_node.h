// A started task, as the loop sees it: the root of a program, a child of a
// group, a leg of a combinator.
//
// It runs one chain of links at a time, is in at most one queue, and is parked
// in at most one operation.

#ifndef BRAID_CORE_DETAIL_TASK_NODE_H_
#define BRAID_CORE_DETAIL_TASK_NODE_H_

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "braid/core/detail/link.h"
#include "braid/core/detail/scope.h"
#include "braid/core/task_name.h"
#include "braid/core/time.h"

namespace braid {

class OperationBase;

namespace detail {

class LocalNode;
class Loop;

class TaskNode {
 public:
  explicit TaskNode(TaskName&& name) : name(std::move(name)) {}
  TaskNode(const TaskNode&) = delete;
  TaskNode& operator=(const TaskNode&) = delete;

  // Puts the task under `parent` and at the end of the ready queue; it begins
  // at `first`.
  void Start(Loop& loop, Scope* parent, Link* first);
  // Takes an ended task out of the tree.
  void End();

  void InheritLocals(const TaskNode& from);
  void DropLocals();

  // Parks the running task: it goes on at `link` once something enqueues it.
  void ParkAt(Link* link);

  bool due() const { return scope->due(); }
  // Until it has ended.
  Loop* loop() const { return own.loop(); }

  TaskNode* next_ready = nullptr;
  Link* innermost = nullptr;  // where it goes on, when it isn't running
  OperationBase* parked =
      nullptr;  // the operation it waits in, if that can be asked to withdraw
  Scope* scope = nullptr;  // the innermost node it is in
  LocalNode* locals = nullptr;
  uint64_t id = 0;
  Time since{};  // when it was parked or started: the loop's time of that
                 // turn
  bool stopping = false;  // its innermost link was stopped
  bool queued = false;
  TaskName name;
  Scope own;
};

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_DETAIL_TASK_NODE_H_
