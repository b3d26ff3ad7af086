// Files: what they read and write, and what becomes of operations that are
// cancelled, of files that are closed, and of machines without threads.

#include "braid/fs/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/backend/uring/uring_backend.h"
#include "braid/core/core.h"
#include "braid/core/status.h"
#include "braid/fs/filesystem.h"
#include "braid/fs/scratch.h"
#include "braid/fs/slow_host.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr FileOptions kNew = {.write = true, .create = true};

TEST(File, WhatWasWrittenIsRead) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    co_await OrReturn(file.Write("hello, "));
    co_await OrReturn(file.Write("world"));
    EXPECT_EQ(file.position(), 12u);
    co_await OrReturn(file.Sync());
    co_await OrReturn(file.SyncData());
    const FileInfo info = co_await OrReturn(file.Info());
    EXPECT_EQ(info.size, 12u);
    EXPECT_EQ(info.kind, FileKind::kRegular);
    EXPECT_EQ(info.links, 1u);

    std::array<char, 8> buffer;
    file.Seek(7);
    const size_t size = co_await OrReturn(file.Read(buffer));
    EXPECT_EQ(std::string_view(buffer.data(), size), "world");
    const size_t end = co_await OrReturn(file.Read(buffer));
    EXPECT_EQ(end, 0u);
    const size_t at = co_await OrReturn(file.ReadAt(3, buffer));
    EXPECT_EQ(std::string_view(buffer.data(), at), "lo, worl");
    EXPECT_EQ(file.position(), 12u) << "ReadAt leaves it";
    co_await OrReturn(file.WriteAt(0, "J"));
    co_await OrReturn(file.Resize(5));
    file.Seek(0);
    const size_t cut = co_await OrReturn(file.Read(buffer));
    EXPECT_EQ(std::string_view(buffer.data(), cut), "Jello");
    co_await file.Close();
    co_return absl::OkStatus();
  });
}

// More than one call of the kernel takes, beyond what 32 bits count.
TEST(File, OffsetsGoBeyondFourGigabytes) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "large", kNew));
    constexpr uint64_t kFar = uint64_t{5} << 30;
    co_await OrReturn(file.WriteAt(kFar, "end"));
    const FileInfo info = co_await OrReturn(file.Info());
    EXPECT_EQ(info.size, kFar + 3);
    std::array<char, 4> buffer;
    const size_t size = co_await OrReturn(file.ReadAt(kFar - 1, buffer));
    EXPECT_EQ(std::string_view(buffer.data(), size),
              std::string_view("\0end", 4));
    co_return absl::OkStatus();
  });
}

// Sizes that no file can have were EINVAL on systems, and taken in a
// simulation.
TEST(File, NoFileIsLargerThanAnOffsetSays) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "large", kNew));
    constexpr std::array kTooLarge = {uint64_t{1} << 63, ~uint64_t{0}};
    for (const uint64_t size : kTooLarge) {
      const absl::Status status = co_await file.Resize(size);
      EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
    }
    const FileInfo info = co_await OrReturn(file.Info());
    EXPECT_EQ(info.size, 0u);
    co_return absl::OkStatus();
  });
}

TEST(File, AppendingGoesToTheEnd) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    const FileOptions append = {.write = true, .append = true, .create = true};
    File a = co_await OrReturn(File::Open(scratch / "log", append));
    File b = co_await OrReturn(File::Open(scratch / "log", append));
    co_await OrReturn(a.Write("one "));
    co_await OrReturn(b.Write("two "));
    co_await OrReturn(a.Write("three"));
    const absl::Status misplaced = co_await a.WriteAt(0, "x");
    EXPECT_TRUE(absl::IsInvalidArgument(misplaced)) << misplaced;
    const std::string text =
        co_await OrReturn(ReadWholeFile(scratch / "log", {}));
    EXPECT_EQ(text, "one two three");
    co_return absl::OkStatus();
  });
}

TEST(File, ErrorsNameTheFileAndSayWhy) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    absl::Status status = (co_await File::Open(scratch / "none")).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_NE(status.message().find("/none'"), std::string_view::npos);
    {
      File made = co_await OrReturn(File::Open(scratch / "a", kNew));
    }
    status =
        (co_await File::Open(
             scratch / "a", {.write = true, .create = true, .exclusive = true}))
            .status();
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
    status = (co_await File::Open(scratch / "")).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(status.message().find("directory"), std::string_view::npos);
    status = (co_await File::Open("")).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    status = (co_await File::Open(std::string("a\0b", 3))).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    status = (co_await File::Open("x", {.read = false})).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    status = (co_await File::Open("x", {.create = true})).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    File read = co_await OrReturn(File::Open(scratch / "a"));
    std::array<char, 4> buffer;
    status = (co_await read.ReadAt(UINT64_MAX, buffer)).status();
    EXPECT_FALSE(status.ok());
    co_return absl::OkStatus();
  });
}

// The kernel says EBADF, which was told as "closed", and of an empty write
// nothing at all.
TEST(File, IsUsedForWhatItWasOpenedFor) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File write = co_await OrReturn(File::Open(
        scratch / "a", {.read = false, .write = true, .create = true}));
    File read = co_await OrReturn(File::Open(scratch / "a"));
    std::array<char, 4> buffer;
    std::vector<absl::Status> refused;
    refused.push_back(co_await read.Write("x"));
    refused.push_back(co_await read.Write(""));
    refused.push_back(co_await read.WriteAt(0, "x"));
    refused.push_back(co_await read.Resize(1));
    refused.push_back((co_await write.Read(buffer)).status());
    refused.push_back((co_await write.ReadAt(0, buffer)).status());
    for (const absl::Status& status : refused) {
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      EXPECT_NE(status.message().find("only"), std::string_view::npos);
    }
    co_await OrReturn(read.Sync());
    co_return co_await write.Write("x");
  });
}

// Opening a FIFO that nobody writes to held a thread for ever.
TEST(File, WhatIsNoRegularFileIsRefused) {
  RunOnRealBackends("the simulation has no FIFOs", []() -> Task<absl::Status> {
    Scratch scratch;
    EXPECT_EQ(::mkfifo((scratch / "fifo").c_str(), 0600), 0);
    for (const bool write : {false, true}) {
      const absl::Status status =
          (co_await File::Open(scratch / "fifo",
                               {.read = !write, .write = write}))
              .status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    }
    const absl::Status status = (co_await File::Open("/dev/null")).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    co_return absl::OkStatus();
  });
}

// A FIFO must not hold up who opens it, but a descriptor that stays
// non-blocking is read on the loop itself, by kernels that would else have
// handed a slow file to a thread.
TEST(File, ItsDescriptorBlocks) {
  RunOnRealBackends(
      "the simulation has no descriptors", []() -> Task<absl::Status> {
        Scratch scratch;
        const FileOptions append = {
            .write = true, .append = true, .create = true};
        for (const FileOptions& options :
             std::vector<FileOptions>{kNew, append}) {
          File file = co_await OrReturn(File::Open(scratch / "a", options));
          const int flags = ::fcntl(file.native_handle(), F_GETFL);
          EXPECT_EQ(flags & O_NONBLOCK, 0);
          EXPECT_EQ((flags & O_APPEND) != 0, options.append);
          EXPECT_NE(::fcntl(file.native_handle(), F_GETFD) & FD_CLOEXEC, 0);
        }
        co_return absl::OkStatus();
      });
}

Task<absl::Status> WriteBlock(File& file, uint64_t index) {
  const std::vector<char> block(4096, static_cast<char>('a' + index % 26));
  co_return co_await file.WriteAt(index * block.size(), block);
}

// More than there are threads for at a time.
TEST(File, ManyOperationsAtATime) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    constexpr uint64_t kBlocks = 100;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (uint64_t i = 0; i < kBlocks; ++i)
        group.Start("write", WriteBlock, std::ref(file), i);
      EXPECT_TRUE((co_await group.Join()).ok());
    }));
    const std::string text =
        co_await OrReturn(ReadWholeFile(scratch / "a", {}));
    EXPECT_EQ(text.size(), kBlocks * 4096);
    for (uint64_t i = 0; i < kBlocks; ++i) {
      EXPECT_EQ(text.substr(i * 4096, 4096),
                std::string(4096, static_cast<char>('a' + i % 26)));
    }
    co_return absl::OkStatus();
  });
}

// A file that takes a while to read, at its beginning.
const std::vector<char>& LargeData() {
  static const std::vector<char> data(1 << 20, 'x');
  return data;
}
Task<absl::StatusOr<File>> MakeLarge(const Scratch& scratch) {
  File file = co_await OrReturn(File::Open(scratch / "large", kNew));
  co_await OrReturn(file.Write(LargeData()));
  file.Seek(0);
  co_return file;
}

Task<absl::Status> ReadAll(File& file, std::vector<char>& buffer) {
  co_return (co_await file.Read(buffer)).status();
}

TEST(File, OneOperationAtATimeUsesThePosition) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(MakeLarge(scratch));
    std::vector<char> buffer(LargeData().size());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("reader", ReadAll, std::ref(file), std::ref(buffer));
          co_await UntilWaiting("reader");
          std::array<char, 1> one;
          const absl::Status status = (co_await file.Read(one)).status();
          EXPECT_TRUE(IsBusy(status)) << status;
          co_await OrReturn(file.ReadAt(0, one));
          EXPECT_TRUE((co_await group.Join()).ok());
          EXPECT_EQ(file.position(), buffer.size());
          co_return absl::OkStatus();
        });
  });
}

// Closing waits for what is under way; what comes after is refused.
TEST(File, IsClosedAfterWhatIsUnderWay) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(MakeLarge(scratch));
    std::vector<char> buffer(LargeData().size());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          auto reader =
              group.Start("reader", ReadAll, std::ref(file), std::ref(buffer));
          co_await UntilWaiting("reader");
          co_await file.Close();
          EXPECT_EQ(buffer, LargeData());
          EXPECT_EQ(file.native_handle(), -1);
          const absl::Status status = (co_await file.Read(buffer)).status();
          EXPECT_TRUE(IsClosed(status)) << status;
          co_await file.Close();
          co_return co_await group.Join();
        });
  });
}

// A limit on sizes stands for a disk that is full.
TEST(File, AFullDiskSaysHowMuchWasWritten) {
  RunOnRealBackends("the limit is the process's", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    rlimit before;
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlimit small = {1000, before.rlim_max};
    // It ends a process otherwise.
    const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const std::vector<char> data(4096, 'x');
    const absl::Status status = co_await file.Write(data);
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    ::signal(SIGXFSZ, ignored);
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find("after 1000 of 4096 bytes"),
              std::string_view::npos)
        << status;
    EXPECT_EQ(file.position(), 1000u);
    co_return absl::OkStatus();
  });
}

Task<absl::Status> WriteX(File& file, uint64_t offset) {
  co_return co_await file.WriteAt(offset, "x");
}

TEST(FileCancellation, BeforeAThreadHasBegunItDidNotHappen) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    host.hold = true;
    // Some are with threads that don't take them up, some wait for one.
    const std::optional<absl::Status> status = co_await MoveOnAfter(
        10ms, WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          for (uint64_t i = 0; i < 40; ++i)
            group.Start("write", WriteX, std::ref(file), i);
          EXPECT_TRUE((co_await group.Join()).ok());
        }));
    EXPECT_FALSE(status.has_value());
    host.LetGo();
    const FileInfo info = co_await OrReturn(file.Info());
    EXPECT_EQ(info.size, 0u);
    co_await file.Close();
    co_return absl::OkStatus();
  });
}

TEST(FileCancellation, AfterAThreadHasBegunItCompletes) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    const std::vector<char> data(16 << 20, 'x');
    CancelScope scope;
    std::optional<absl::Status> written;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("writer", [&]() -> Task<void> {
            written = co_await scope.Run(file.Write(data));
          });
          co_await UntilWaiting("writer");
          co_await SleepFor(1ms);
          scope.Cancel();
          scope.Cancel();
          EXPECT_TRUE((co_await group.Join()).ok());
          const FileInfo info = co_await OrReturn(file.Info());
          if (written.has_value()) {
            EXPECT_TRUE(written->ok()) << *written;
            EXPECT_EQ(info.size, data.size());
            EXPECT_EQ(file.position(), data.size());
          } else {
            EXPECT_EQ(info.size, 0u) << "all or nothing";
            EXPECT_EQ(file.position(), 0u);
          }
          co_return absl::OkStatus();
        });
  });
}

TEST(FileCancellation, BeforeItStartsItDoesNotHappen) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    CancelScope scope;
    scope.Cancel();
    const auto opened = co_await scope.Run(File::Open(scratch / "a", kNew));
    EXPECT_FALSE(opened.has_value());
    const absl::Status status = (co_await GetFileInfo(scratch / "a")).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    co_return absl::OkStatus();
  });
}

TEST(FileCancellation, CleanUpMayUseTheFile) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    const auto result = co_await MoveOnAfter(
        1ms, Finally(SleepForever(),
                     [&](const Outcome<void>&) -> Task<absl::Status> {
                       co_return co_await file.Write("bye");
                     }));
    EXPECT_FALSE(result.has_value());
    const std::string text =
        co_await OrReturn(ReadWholeFile(scratch / "a", {}));
    EXPECT_EQ(text, "bye");
    co_return absl::OkStatus();
  });
}

// Those that waited in line found the file closed, though it isn't before them.
TEST(FileWorkers, ThoseInLineEndBeforeTheFileIsClosed) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      host.hold = true;
      for (uint64_t i = 0; i < 40; ++i)
        group.Start("write", WriteX, std::ref(file), i);
      co_await UntilWaiting("write");
      host.LetGo();
      co_await file.Close();
      EXPECT_TRUE((co_await group.Join()).ok());
    }));
    const FileInfo info = co_await OrReturn(GetFileInfo(scratch / "a"));
    EXPECT_EQ(info.size, 40u);
    co_return absl::OkStatus();
  });
}

TEST(FileWorkers, WithoutAThreadItIsAnError) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    host.refuse = true;
    const absl::Status status = co_await file.Write("x");
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(file.position(), 0u);
    host.refuse = false;
    co_return co_await file.Write("x");
  });
}

// One that waits for a thread gets it when another comes free, although the
// system gives no new one.
TEST(FileWorkers, ThoseThatAreThereServeAll) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          host.hold = true;
          group.Start("first", WriteX, std::ref(file), 0);
          co_await UntilWaiting("first");
          host.refuse = true;
          group.Start("second", WriteX, std::ref(file), 1);
          co_await UntilWaiting("second");
          host.refuse = false;
          host.LetGo();
          co_return co_await group.Join();
        });
  });
}

// Operations are requests of the ring where the kernel takes them, and threads
// do the others: all of them on an old kernel.
TEST(FileUring, NeedsThreadsForWhatTheKernelDoesNotTake) {
  if (!detail::HasBackend("uring")) GTEST_SKIP() << "no io_uring here";
  struct Kernel {
    bool files;
    bool names;
  };
  for (const Kernel& kernel :
       {Kernel{true, true}, {true, false}, {false, false}}) {
    const auto host = std::make_shared<SlowHost>();
    detail::UringOptions options;
    options.file_requests = kernel.files;
    options.path_requests = kernel.names;
    const auto backend = detail::MakeUringBackend(options, host);
    ASSERT_TRUE(backend.ok()) << backend.status();
    const absl::Status status =
        braid::Run(**backend, [&]() -> Task<absl::Status> {
          Scratch scratch;
          File file = co_await OrReturn(File::Open(scratch / "a", kNew));
          std::array<char, 10> buffer;
          for (const bool threads : {false, true}) {
            host->refuse = !threads;
            const auto done = [&](const absl::Status& status, bool request) {
              EXPECT_EQ(status.ok(), threads || request)
                  << status << (threads ? ", with threads" : "");
            };
            done((co_await File::Open(scratch / "a")).status(), kernel.files);
            done(co_await file.Write("hello"), kernel.files);
            done(co_await file.Sync(), kernel.files);
            done((co_await file.ReadAt(0, buffer)).status(), kernel.files);
            done((co_await file.Info()).status(), kernel.files);
            done((co_await GetFileInfo(scratch / "a")).status(), kernel.files);
            done(co_await Rename(scratch / "a", scratch / "b"),
                 kernel.files && kernel.names);
            if (threads || (kernel.files && kernel.names)) {
              done(co_await Rename(scratch / "b", scratch / "a"), true);
              done(co_await MakeDirectory(scratch / "d"), true);
              done(co_await RemoveDirectory(scratch / "d"), true);
            }
            done((co_await ListDirectory(scratch.path())).status(), false);
          }
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
  }
}

}  // namespace
}  // namespace braid
