#include "braid/core/task_tree.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string_view>

#include "braid/core/detail/link.h"
#include "braid/core/detail/task_node.h"

namespace braid {
namespace {

TaskInfo Describe(const detail::Loop& loop, const detail::TaskNode& task) {
  TaskInfo info;
  info.id = task.id;
  info.name = std::string(task.name.view());
  for (const detail::Scope* scope = task.own.parent(); scope != nullptr;
       scope = scope->parent()) {
    if (scope->owner() != nullptr && scope->owner() != &task) {
      info.parent_id = scope->owner()->id;
      break;
    }
  }
  info.state = loop.current() == &task ? TaskInfo::State::kRunning
               : task.queued           ? TaskInfo::State::kReady
                                       : TaskInfo::State::kWaiting;
  info.age = loop.turn_time() - task.since;
  if (task.due()) info.cancelled = task.scope->cause();
  if (info.state == TaskInfo::State::kRunning) return info;
  // A chain of a million awaits is not for reading.
  constexpr size_t kLongest = 64;
  for (const detail::Link* link = task.innermost;
       link != nullptr && info.awaits.size() < kLongest; link = link->parent) {
    AwaitFrame frame;
    if (link->ops == nullptr) {
      frame.location = static_cast<const detail::PromiseBase*>(link)->location;
      if (frame.location.line() == 0) continue;  // it has not begun
    } else if (link->parent == nullptr) {
      break;  // the task itself
    } else {
      frame.boundary = link->ops->name;
    }
    info.awaits.push_back(std::move(frame));
  }
  return info;
}

}  // namespace

std::vector<TaskInfo> LiveTasks() { return LiveTasks(detail::Loop::Current()); }

std::vector<TaskInfo> LiveTasks(const detail::Loop& loop) {
  std::vector<TaskInfo> tasks;
  const detail::Scope* const root = loop.root();
  for (const detail::Scope* scope = root; scope != nullptr;) {
    if (scope->owner() != nullptr && &scope->owner()->own == scope)
      tasks.push_back(Describe(loop, *scope->owner()));
    if (scope->first_child() != nullptr) {
      scope = scope->first_child();
      continue;
    }
    while (scope != nullptr && scope->next_sibling() == nullptr)
      scope = scope->parent();
    if (scope != nullptr) scope = scope->next_sibling();
  }
  return tasks;
}

std::string FormatTasks(const std::vector<TaskInfo>& tasks, size_t limit) {
  std::map<uint64_t, int> depth;
  std::string text;
  size_t lines = 0;
  for (const TaskInfo& task : tasks) {
    if (lines++ == limit) {
      text += "... and " + std::to_string(tasks.size() - limit) + " more\n";
      break;
    }
    const auto parent = depth.find(task.parent_id);
    const int level = depth[task.id] =
        parent == depth.end() ? 0 : parent->second + 1;
    constexpr std::string_view kStates[] = {"running", "ready", "waiting"};
    constexpr int kDeepest = 40;  // to the right of that nobody reads
    text.append(2 * static_cast<size_t>(std::min(level, kDeepest)), ' ');
    text += "#" + std::to_string(task.id) + " " + task.name + "  " +
            std::string(kStates[static_cast<size_t>(task.state)]);
    char age[32];
    std::snprintf(age, sizeof(age), " %.3f s",
                  std::chrono::duration<double>(task.age).count());
    text += age;
    for (const AwaitFrame& frame : task.awaits) {
      if (!frame.boundary.empty()) continue;
      std::string_view file = frame.location.file_name();
      if (const size_t slash = file.rfind('/'); slash != std::string_view::npos)
        file.remove_prefix(slash + 1);
      text += "  at " + std::string(file) + ":" +
              std::to_string(frame.location.line());
      break;
    }
    if (task.cancelled.has_value())
      text += "  [" + task.cancelled->ToString() + "]";
    text += '\n';
  }
  return text;
}

}  // namespace braid
