// What there is to do with names of files, and whole files.

#include "braid/fs/filesystem.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/fs/scratch.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(Filesystem, NamesAreMadeListedRenamedAndRemoved) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    const std::string top = scratch / "top";
    co_await OrReturn(MakeDirectory(top));
    co_await OrReturn(MakeDirectory(top + "/d"));
    absl::Status status = co_await MakeDirectory(top + "/d");
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
    co_await OrReturn(ReplaceFile(top + "/b", "two"));
    co_await OrReturn(ReplaceFile(top + "/a", "one"));
    const std::vector<DirectoryEntry> entries =
        co_await OrReturn(ListDirectory(top));
    std::string listed;
    for (const DirectoryEntry& entry : entries) listed += entry.name + " ";
    EXPECT_EQ(listed, "a b d ");
    const FileInfo directory = co_await OrReturn(GetFileInfo(top + "/d"));
    EXPECT_EQ(directory.kind, FileKind::kDirectory);

    co_await OrReturn(Rename(top + "/a", top + "/b"));
    const std::string text = co_await OrReturn(ReadWholeFile(top + "/b"));
    EXPECT_EQ(text, "one");
    co_await OrReturn(SyncDirectory(top));
    status = co_await RemoveFile(top + "/a");
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_NE(status.message().find(top + "/a"), std::string_view::npos);
    co_await OrReturn(RemoveFile(top + "/b"));
    status = co_await RemoveDirectory(top);
    EXPECT_FALSE(status.ok());
    co_await OrReturn(RemoveDirectory(top + "/d"));
    co_await OrReturn(RemoveDirectory(top));
    co_return absl::OkStatus();
  });
}

// Archives say what they like, and file systems keep it. It was an overflow.
TEST(Filesystem, ATimeThatATimePointHasNoRoomForIsItsEnd) {
  using Wall = std::chrono::system_clock::time_point;
  const auto expect = [](time_t seconds, Wall time) {
    const int fd = ::memfd_create("far", MFD_CLOEXEC);
    ASSERT_GE(fd, 0);
    const timespec far = {.tv_sec = seconds, .tv_nsec = 999'999'999};
    const timespec both[] = {far, far};
    ASSERT_EQ(::futimens(fd, both), 0);
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    RunOnRealBackends("its clock is right", [&]() -> Task<absl::Status> {
      const FileInfo info = co_await OrReturn(GetFileInfo(path));
      EXPECT_EQ(info.modified, time) << seconds;
      co_return absl::OkStatus();
    });
    ::close(fd);
  };
  constexpr time_t kLast = 9'223'372'035;
  expect(kLast, Wall(std::chrono::seconds(kLast) + 999'999'999ns));
  expect(kLast + 1, Wall::max());
  expect(std::numeric_limits<time_t>::max(), Wall::max());
  expect(-kLast, Wall(std::chrono::seconds(-kLast) + 999'999'999ns));
  expect(-kLast - 2, Wall::min());
  expect(std::numeric_limits<time_t>::min(), Wall::min());
}

TEST(Filesystem, PathsThatNobodyCanMeanAreRefused) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    const std::string zero("/tmp/a\0b", 8);
    for (const std::string& path : {std::string(), zero}) {
      absl::Status status = (co_await GetFileInfo(path)).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      status = co_await Rename(path, "/tmp/x");
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      status = co_await Rename("/tmp/x", path);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      status = co_await RemoveFile(path);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      status = co_await MakeDirectory(path);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      status = (co_await ListDirectory(path)).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      status = co_await SyncDirectory(path);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      status = (co_await ReadWholeFile(path)).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    }
    co_return absl::OkStatus();
  });
}

TEST(Filesystem, AWholeFileHasALimit) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    const std::string path = scratch / "a";
    for (const size_t size : {0u, 1u, 4095u, 4096u, 4097u, 100'000u}) {
      const std::string data(size, 'x');
      co_await OrReturn(ReplaceFile(path, data, {.durable = false}));
      const std::string all =
          co_await OrReturn(ReadWholeFile(path, {.max_size = size}));
      EXPECT_EQ(all, data);
      if (size == 0) continue;
      const absl::Status status =
          (co_await ReadWholeFile(path, {.max_size = size - 1})).status();
      EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
    }
    co_return absl::OkStatus();
  });
}

TEST(Filesystem, AFileThatSaysItIsEmptyIsReadToItsEnd) {
  RunOnRealBackends("the simulation has no /proc", []() -> Task<absl::Status> {
    const std::string proc =
        co_await OrReturn(ReadWholeFile("/proc/self/maps"));
    EXPECT_GT(proc.size(), 100u);
    co_return absl::OkStatus();
  });
}

TEST(Filesystem, ALinkIsFollowedOrLookedAt) {
  RunOnRealBackends("the simulation has no links", []() -> Task<absl::Status> {
    Scratch scratch;
    co_await OrReturn(ReplaceFile(scratch / "a", "one"));
    std::filesystem::create_symlink("a", scratch / "l");
    const FileInfo link =
        co_await OrReturn(GetFileInfo(scratch / "l", /*follow_link=*/false));
    EXPECT_EQ(link.kind, FileKind::kSymbolicLink);
    const FileInfo target = co_await OrReturn(GetFileInfo(scratch / "l"));
    EXPECT_EQ(target.kind, FileKind::kRegular);
    EXPECT_EQ(target.size, 3u);
    co_await OrReturn(RemoveFile(scratch / "l"));
    co_return (co_await GetFileInfo(scratch / "a")).status();
  });
}

TEST(Filesystem, AFileThatCanNotBeReplacedStays) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    const std::string path = scratch / "a";
    co_await OrReturn(ReplaceFile(path, "old"));
    co_await OrReturn(MakeDirectory(path + ".new"));
    const absl::Status status = co_await ReplaceFile(path, "new");
    EXPECT_FALSE(status.ok());
    const std::string text = co_await OrReturn(ReadWholeFile(path));
    EXPECT_EQ(text, "old");
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid
