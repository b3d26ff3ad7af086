// The task tree: every live task of a loop, for a person who asks what the
// program is doing.
//
//   std::puts(FormatTasks(LiveTasks()).c_str());
//
// Costs nothing until it is asked for. Threads: the loop's.

#ifndef BRAID_CORE_TASK_TREE_H_
#define BRAID_CORE_TASK_TREE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

#include "braid/core/detail/loop.h"
#include "braid/core/detail/scope.h"
#include "braid/core/time.h"

namespace braid {

// One await in the chain of a task.
struct AwaitFrame {
  // Of the coroutine's co_await; empty file for a boundary.
  std::source_location location;
  // What a boundary is, such as "TaskGroup"; empty for a coroutine.
  std::string boundary;
};

struct TaskInfo {
  enum class State : uint8_t { kRunning, kReady, kWaiting };

  uint64_t id = 0;
  uint64_t parent_id = 0;  // 0: none
  std::string name;
  State state = State::kWaiting;
  // From the innermost await outwards. Empty for the running task and for one
  // that has not begun.
  std::vector<AwaitFrame> awaits;
  // How long ago its current await began, or the task was started, as of the
  // loop's current turn.
  Duration age{};
  // Set: it has to stop at its next checkpoint, and why.
  std::optional<CancelCause> cancelled;
};

// Every task of the current loop, parents before children, in the order they
// were started.
std::vector<TaskInfo> LiveTasks();
std::vector<TaskInfo> LiveTasks(const detail::Loop& loop);

// The tree as indented text, a line a task; of more than `limit` tasks, the
// first, and how many more there are.
std::string FormatTasks(const std::vector<TaskInfo>& tasks,
                        size_t limit = 1000);

}  // namespace braid

#endif  // BRAID_CORE_TASK_TREE_H_
