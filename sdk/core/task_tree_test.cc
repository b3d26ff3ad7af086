// The task tree: names, parents, states, where each task waits and since when,
// who cancelled it.

#include "braid/core/task_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/all_of.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using State = TaskInfo::State;

uint32_t line_of_wait = 0;

Task<void> Wait() {
  line_of_wait = std::source_location::current().line() + 1;
  co_await SleepForever();
}

const TaskInfo* Find(const std::vector<TaskInfo>& tasks,
                     std::string_view name) {
  auto found = std::find_if(tasks.begin(), tasks.end(),
                            [&](const TaskInfo& t) { return t.name == name; });
  return found == tasks.end() ? nullptr : &*found;
}

TEST(TaskTree, NamesParentsAndStates) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("outer", []() -> Task<absl::Status> {
        co_return co_await WithTaskGroup([](TaskGroup& inner) -> Task<void> {
          inner.Start("inner", Wait);
          inner.Start(std::string("named ") + "at run time", Wait);
          co_return;
        });
      });
      co_await SleepFor(1s);
      group.Start("new", Wait);
      std::vector<TaskInfo> tasks = LiveTasks();
      EXPECT_EQ(tasks.size(), 5u);
      const TaskInfo* main = Find(tasks, "main");
      const TaskInfo* outer = Find(tasks, "outer");
      const TaskInfo* inner = Find(tasks, "inner");
      const TaskInfo* named = Find(tasks, "named at run time");
      const TaskInfo* fresh = Find(tasks, "new");
      EXPECT_EQ(main, tasks.data());  // parents before children
      EXPECT_EQ(main->parent_id, 0u);
      EXPECT_EQ(main->state, State::kRunning);
      EXPECT_EQ(outer->parent_id, main->id);
      EXPECT_EQ(outer->state, State::kWaiting);
      EXPECT_EQ(inner->parent_id, outer->id);
      EXPECT_EQ(named->parent_id, outer->id);
      EXPECT_EQ(fresh->parent_id, main->id);
      EXPECT_EQ(fresh->state, State::kReady);
      EXPECT_LT(outer, inner);
      EXPECT_LT(inner, named);  // in the order they were started
      EXPECT_LT(named, fresh);
      group.Cancel();
    });
  });
}

TEST(TaskTree, WhereATaskWaitsAndSinceWhen) {
  RunInEveryOrder([](VirtualTime& time) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      uint32_t line_of_limit = 0;
      group.Start(
          "waits",
          [](uint32_t* line) -> Task<void> {
            co_await SleepFor(2s);
            *line = std::source_location::current().line() + 1;
            co_await MoveOnAfter(1h, Wait());
          },
          &line_of_limit);
      co_await SleepFor(5s);
      std::vector<TaskInfo> tasks = LiveTasks();
      const TaskInfo* waits = Find(tasks, "waits");
      EXPECT_EQ(waits->age, 3s);
      EXPECT_EQ(waits->awaits.size(), 3u);
      if (waits->awaits.size() == 3) {
        // From the innermost outwards.
        EXPECT_EQ(waits->awaits[0].location.line(), line_of_wait);
        EXPECT_THAT(waits->awaits[0].location.file_name(),
                    HasSubstr("task_tree_test.cc"));
        EXPECT_EQ(waits->awaits[0].boundary, "");
        EXPECT_EQ(waits->awaits[1].boundary, "CancelScope");
        EXPECT_EQ(waits->awaits[2].location.line(), line_of_limit);
      }
      // The running task and one that has not begun wait nowhere.
      group.Start("new", Wait);
      tasks = LiveTasks();
      EXPECT_TRUE(Find(tasks, "main")->awaits.empty());
      EXPECT_TRUE(Find(tasks, "new")->awaits.empty());
      EXPECT_EQ(Find(tasks, "new")->age, 0s);
      EXPECT_EQ(time.elapsed(), 5s);
      group.Cancel();
    });
  });
}

TEST(TaskTree, LegsOfACombinatorAreTasks) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("both", []() -> Task<void> {
        co_await AllOf(Wait(), SleepForever());
      });
      co_await SleepFor(1s);
      std::vector<TaskInfo> tasks = LiveTasks();
      EXPECT_EQ(tasks.size(), 4u);
      const TaskInfo* both = Find(tasks, "both");
      for (size_t i = 2; i < tasks.size(); ++i) {
        EXPECT_EQ(tasks[i].parent_id, both->id);
        EXPECT_EQ(tasks[i].name, "AllOf leg");
      }
      EXPECT_EQ(tasks[2].awaits.size(), 1u);
      group.Cancel();
    });
  });
}

TEST(TaskTree, WhoCancelledItAndWhy) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("slow to stop", []() -> Task<void> {
        co_await SleepFor(1s);
        co_await Shield([]() -> Task<void> { co_await SleepFor(10s); });
        co_await Checkpoint();
      });
      Gate gate(Gate::OnCancel::kLater);
      group.Start(
          "refuses", [](Gate* gate) -> Task<void> { co_await gate->Wait(); },
          &gate);
      group.Start(
          "canceller",
          [](TaskGroup* group) -> Task<void> {
            co_await SleepFor(2s);
            group->Cancel("time to go");
          },
          &group);
      co_await Shield([&]() -> Task<void> {
        co_await SleepFor(3s);
        std::vector<TaskInfo> tasks = LiveTasks();
        EXPECT_EQ(tasks.size(), 3u);
        const TaskInfo* refuses = Find(tasks, "refuses");
        EXPECT_TRUE(refuses->cancelled.has_value());
        EXPECT_EQ(refuses->cancelled->reason, "time to go");
        EXPECT_EQ(refuses->cancelled->task, "canceller");
        // Behind a shield there is nothing to stop for.
        EXPECT_FALSE(Find(tasks, "slow to stop")->cancelled.has_value());
        EXPECT_FALSE(Find(tasks, "main")->cancelled.has_value());
        EXPECT_THAT(
            FormatTasks(tasks),
            ContainsRegex("refuses  waiting 3\\.000 s  at "
                          "task_tree_test\\.cc:[0-9]+  \\[cancelled by task "
                          "'canceller': time to go\\]\n"));
        gate.Withdraw();
      });
    });
  });
}

TEST(TaskTree, AsText) {
  RunInOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("outer", []() -> Task<absl::Status> {
        co_return co_await WithTaskGroup([](TaskGroup& inner) -> Task<void> {
          inner.Start("inner", Wait);
          co_return;
        });
      });
      co_await SleepFor(1500ms);
      group.Start("new", Wait);
      EXPECT_THAT(FormatTasks(LiveTasks()),
                  ContainsRegex("^#1 main  running 1\\.500 s\n"
                                "  #2 outer  waiting 1\\.500 s  at "
                                "task_tree_test\\.cc:[0-9]+\n"
                                "    #3 inner  waiting 1\\.500 s  at "
                                "task_tree_test\\.cc:[0-9]+\n"
                                "  #4 new  ready 0\\.000 s\n$"));
      EXPECT_EQ(FormatTasks(LiveTasks(), 0), "... and 4 more\n");
      group.Cancel();
    });
  });
}

// A deadlock prints the tree: it must not take all memory where there are many
// tasks, or where they are deeply nested.
TEST(TaskTree, ALargeTreeIsCutShort) {
  RunInOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 20'000; ++i) group.Start("task", Wait);
      struct Deep {
        static Task<absl::Status> Down(int depth) {
          co_return co_await WithTaskGroup(
              [depth](TaskGroup& group) -> Task<void> {
                if (depth > 0) group.Start("deep", Down, depth - 1);
                co_await SleepForever();
              });
        }
      };
      group.Start("deep", Deep::Down, 2'000);
      co_await SleepFor(1s);
      std::vector<TaskInfo> tasks = LiveTasks();
      EXPECT_EQ(tasks.size(), 22'002u);
      EXPECT_LT(FormatTasks(tasks).size(), 200'000u);
      EXPECT_THAT(FormatTasks(tasks), HasSubstr("... and 21002 more\n"));
      EXPECT_LT(FormatTasks(tasks, 100'000).size(), 5'000'000u);
      group.Cancel();
    });
  });
}

TEST(TaskTree, IsEmptyOfWhatHasEnded) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [](TaskGroup& group) -> Task<absl::Status> {
          auto handle = group.Start("ends", []() -> Task<void> { co_return; });
          EXPECT_EQ(LiveTasks().size(), 2u);
          (void)co_await handle.Join();
          EXPECT_EQ(LiveTasks().size(), 1u);
          co_return absl::OkStatus();
        });
  });
}

TEST(TaskTree, ATaskThatIsBeingUnwoundIsRunning) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    struct Looks {
      ~Looks() {
        EXPECT_THAT(FormatTasks(LiveTasks()),
                    ContainsRegex("^#1 main  running"));
      }
    };
    EXPECT_FALSE(co_await MoveOnAfter(1s, []() -> Task<void> {
      Looks looks;
      co_await SleepForever();
    }));
  });
}

}  // namespace
}  // namespace braid
