// Every operation on files under cancellation: before it starts, while it waits
// for a thread, twice, as it completes, in clean-up, and somewhere on its way.
//
// What happened is seen in the directory, and in the position of the file.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/fs/file.h"
#include "braid/fs/filesystem.h"
#include "braid/fs/scratch.h"
#include "braid/fs/slow_host.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// A directory with a file in it, which is open, and an empty directory.
class Files {
 public:
  Task<absl::Status> Open() {
    co_await OrReturn(ReplaceFile(scratch / "a", "hello", {.durable = false}));
    co_await OrReturn(MakeDirectory(scratch / "d"));
    file_.emplace(
        co_await OrReturn(File::Open(scratch / "a", {.write = true})));
    co_return absl::OkStatus();
  }
  File& file() { return *file_; }

  // All that an operation may change.
  std::string Seen() const {
    std::string seen = "at " + std::to_string(file_->position());
    for (const std::string& entry : scratch.Seen()) seen += " " + entry;
    return seen;
  }

  Scratch scratch;
  std::array<char, 3> buffer;

 private:
  std::optional<File> file_;
};

struct Param {
  const char* name;
  Task<absl::Status> (*run)(Files& files);
  // Several operations in a row: it may be stopped between two of them.
  bool composite = false;
};

class FileCancellationTest : public testing::TestWithParam<Param> {
 protected:
  static Task<absl::Status> Run(Files& files) {
    co_return co_await GetParam().run(files);
  }

  // What is seen after an operation that nobody cancels.
  static Task<absl::StatusOr<std::string>> After() {
    Files files;
    co_await OrReturn(files.Open());
    co_await OrReturn(Run(files));
    co_return files.Seen();
  }
};

TEST_P(FileCancellationTest, BeforeStart) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Files files;
    co_await OrReturn(files.Open());
    const std::string before = files.Seen();
    CancelScope scope;
    scope.Cancel();
    const auto result = co_await scope.Run(Run(files));
    EXPECT_FALSE(result.has_value());
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(files.Seen(), before);
    // It is as good as new.
    co_return co_await Run(files);
  });
}

TEST_P(FileCancellationTest, WhileItWaitsForAThread) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    Files files;
    co_await OrReturn(files.Open());
    const std::string before = files.Seen();
    host.hold = true;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto task = group.Start("waiter", Run, std::ref(files));
          co_await UntilWaiting("waiter");
          task.Cancel();
          task.Cancel();
          EXPECT_TRUE((co_await task.Join()).stopped());
          co_return absl::OkStatus();
        }));
    EXPECT_EQ(files.Seen(), before);
    EXPECT_EQ(host.held.size(), 1u);
    host.RunHeld();
    EXPECT_EQ(files.Seen(), before) << "its thread came, and found nothing";
    host.LetGo();
    co_return co_await Run(files);
  });
}

// Its thread is done, and the loop hasn't heard of that.
TEST_P(FileCancellationTest, AsItCompletes) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    const std::string after = co_await OrReturn(After());
    Files files;
    co_await OrReturn(files.Open());
    host.hold = true;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto task = group.Start("waiter", Run, std::ref(files));
          co_await UntilWaiting("waiter");
          host.RunHeld();
          task.Cancel();
          task.Cancel();
          const Outcome<void> outcome = co_await task.Join();
          EXPECT_EQ(outcome.stopped(), GetParam().composite);
          EXPECT_FALSE(outcome.failed());
          co_return absl::OkStatus();
        }));
    if (!GetParam().composite) EXPECT_EQ(files.Seen(), after);
    host.LetGo();
    co_return absl::OkStatus();
  });
}

// However far it has come, with a thread or the kernel.
TEST_P(FileCancellationTest, SomewhereOnItsWay) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    const std::string after = co_await OrReturn(After());
    for (int checkpoints = 0; checkpoints < 20; ++checkpoints) {
      Files files;
      co_await OrReturn(files.Open());
      const std::string before = files.Seen();
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            auto task = group.Start("waiter", Run, std::ref(files));
            for (int i = 0; i < checkpoints; ++i) co_await Checkpoint();
            // A simulated disk gets nowhere while no time passes.
            co_await SleepFor(10us * checkpoints);
            task.Cancel();
            const Outcome<void> outcome = co_await task.Join();
            EXPECT_FALSE(outcome.failed());
            if (!GetParam().composite)
              EXPECT_EQ(files.Seen(), outcome.ok() ? after : before);
            co_return absl::OkStatus();
          }));
    }
    co_return absl::OkStatus();
  });
}

TEST_P(FileCancellationTest, InCleanUp) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    const std::string after = co_await OrReturn(After());
    Files files;
    co_await OrReturn(files.Open());
    CancelScope scope;
    scope.Cancel();
    const auto result =
        co_await scope.Run(Finally(SleepForever(), [&]() -> Task<absl::Status> {
          co_return co_await Run(files);
        }));
    EXPECT_FALSE(result.has_value());
    EXPECT_EQ(files.Seen(), after);
    co_return absl::OkStatus();
  });
}

template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

INSTANTIATE_TEST_SUITE_P(
    All, FileCancellationTest,
    testing::Values(
        Param{"Open",
              [](Files& f) -> Task<absl::Status> {
                co_return StatusOf(co_await File::Open(
                    f.scratch / "new", {.write = true, .create = true}));
              }},
        Param{"Read",
              [](Files& f) -> Task<absl::Status> {
                co_return StatusOf(co_await f.file().Read(f.buffer));
              }},
        Param{"ReadAt",
              [](Files& f) -> Task<absl::Status> {
                co_return StatusOf(co_await f.file().ReadAt(1, f.buffer));
              }},
        Param{"Write",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await f.file().Write("HELL");
              }},
        Param{"WriteAt",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await f.file().WriteAt(5, ", world");
              }},
        Param{"Sync",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await f.file().Sync();
              }},
        Param{"SyncData",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await f.file().SyncData();
              }},
        Param{"Info",
              [](Files& f) -> Task<absl::Status> {
                co_return StatusOf(co_await f.file().Info());
              }},
        Param{"Resize",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await f.file().Resize(2);
              }},
        Param{"GetFileInfo",
              [](Files& f) -> Task<absl::Status> {
                co_return StatusOf(co_await GetFileInfo(f.scratch / "a"));
              }},
        Param{"Rename",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await Rename(f.scratch / "a", f.scratch / "b");
              }},
        Param{"RemoveFile",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await RemoveFile(f.scratch / "a");
              }},
        Param{"RemoveDirectory",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await RemoveDirectory(f.scratch / "d");
              }},
        Param{"MakeDirectory",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await MakeDirectory(f.scratch / "e");
              }},
        Param{"ListDirectory",
              [](Files& f) -> Task<absl::Status> {
                co_return StatusOf(co_await ListDirectory(f.scratch.path()));
              }},
        Param{"SyncDirectory",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await SyncDirectory(f.scratch.path());
              },
              /*composite=*/true},
        Param{"ReadWholeFile",
              [](Files& f) -> Task<absl::Status> {
                co_return StatusOf(co_await ReadWholeFile(f.scratch / "a"));
              },
              /*composite=*/true},
        Param{"ReplaceFile",
              [](Files& f) -> Task<absl::Status> {
                co_return co_await ReplaceFile(f.scratch / "a", "bye");
              },
              /*composite=*/true}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace braid
