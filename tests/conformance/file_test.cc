// Files: what is read of what was written, names, what closing and cancelling
// mean.

#include "braid/fs/file.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "braid/core/core.h"
#include "braid/fs/filesystem.h"
#include "braid/fs/scratch.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/network.h"

namespace braid::conformance {
namespace {

constexpr FileOptions kNew = {.write = true, .create = true};
constexpr FileOptions kAppend = {.write = true, .append = true, .create = true};

// A directory with a file "a" in it.
Task<absl::StatusOr<File>> FileWith(const Scratch& scratch,
                                    std::string_view content) {
  File file = co_await OrReturn(File::Open(scratch / "a", kNew));
  co_await OrReturn(file.Write(content));
  file.Seek(0);
  co_return file;
}

// Reads once; "end" is the end of the file.
Task<std::string> ReadOnce(File* file, size_t most = 100) {
  std::string buffer(most, '?');
  const absl::StatusOr<size_t> size = co_await file->Read(buffer);
  if (!size.ok()) co_return Kind(size.status());
  co_return *size == 0 ? "end" : buffer.substr(0, *size);
}
Task<std::string> ReadOnceAt(File* file, uint64_t offset, size_t most = 100) {
  std::string buffer(most, '?');
  const absl::StatusOr<size_t> size = co_await file->ReadAt(offset, buffer);
  if (!size.ok()) co_return Kind(size.status());
  co_return *size == 0 ? "end" : buffer.substr(0, *size);
}
// Zero bytes as dots.
std::string Dotted(std::string text) {
  for (char& c : text) c = c == '\0' ? '.' : c;
  return text;
}
Task<std::string> Content(std::string path) {
  absl::StatusOr<std::string> text = co_await ReadWholeFile(std::move(path));
  co_return text.ok() ? Dotted(*std::move(text)) : Kind(text.status());
}
std::string Names(const absl::StatusOr<std::vector<DirectoryEntry>>& entries) {
  if (!entries.ok()) return Kind(entries.status());
  std::vector<std::string> names;
  for (const DirectoryEntry& entry : *entries) {
    names.push_back(entry.name +
                    (entry.kind == FileKind::kDirectory ? "/" : ""));
  }
  return absl::StrJoin(names, " ");
}
std::string Text(const absl::Status& status, const Scratch& scratch) {
  return absl::StrReplaceAll(std::string(status.message()),
                             {{scratch.path(), ""}, {", ", "; "}});
}

// ------------------------------------------------------- reading and writing

TEST(File, WhatWasWrittenIsReadBack) {
  Conforms("hello", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "hello"));
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

TEST(File, AReadFillsTheBufferOrReachesTheEnd) {
  Conforms("abc, def, g, end, end", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abcdefg"));
    for (int i = 0; i < 5; ++i) Saw(co_await ReadOnce(&file, 3));
    co_return absl::OkStatus();
  });
}

TEST(File, WhatIsAppendedAfterItsEndWasSeenIsReadNext) {
  Conforms("a, end, b", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "a"));
    Saw(co_await ReadOnce(&file));
    Saw(co_await ReadOnce(&file));
    co_await OrReturn(file.WriteAt(1, "b"));
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

TEST(File, OneFileOpenedTwiceIsOneFile) {
  Conforms("first, again", []() -> Task<absl::Status> {
    Scratch scratch;
    File a = co_await OrReturn(FileWith(scratch, "first"));
    File b = co_await OrReturn(File::Open(scratch / "a"));
    Saw(co_await ReadOnce(&b));
    co_await OrReturn(a.WriteAt(0, "again"));
    Saw(co_await ReadOnceAt(&b, 0));
    co_return absl::OkStatus();
  });
}

TEST(File, EachOpenHasAPositionOfItsOwn) {
  Conforms("abc, abc, def", []() -> Task<absl::Status> {
    Scratch scratch;
    File a = co_await OrReturn(FileWith(scratch, "abcdef"));
    File b = co_await OrReturn(File::Open(scratch / "a"));
    Saw(co_await ReadOnce(&a, 3));
    Saw(co_await ReadOnce(&b, 3));
    Saw(co_await ReadOnce(&a, 3));
    co_return absl::OkStatus();
  });
}

TEST(File, ReadsAndWritesMoveOnePosition) {
  Conforms("ab, XY at 4, ef", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abcdef"));
    Saw(co_await ReadOnce(&file, 2));
    co_await OrReturn(file.Write("XY"));
    Saw(absl::StrCat("XY at ", file.position()));
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

TEST(File, AnOffsetLeavesThePosition) {
  Conforms("def, 0, aXYdef", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abcdef"));
    Saw(co_await ReadOnceAt(&file, 3));
    co_await OrReturn(file.WriteAt(1, "XY"));
    Saw(absl::StrCat(file.position()));
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

TEST(File, BeyondTheEndThereIsNothingToRead) {
  Conforms("end, end", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    Saw(co_await ReadOnceAt(&file, 3));
    file.Seek(uint64_t{1} << 40);
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

TEST(File, WritingBeyondTheEndLeavesZerosBetween) {
  Conforms("abc..x", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    co_await OrReturn(file.WriteAt(5, "x"));
    Saw(Dotted(co_await ReadOnce(&file)));
    co_return absl::OkStatus();
  });
}

TEST(File, AnOffsetBeyondWhatFilesHaveIsAnError) {
  Conforms("OUT_OF_RANGE, OUT_OF_RANGE", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    Saw(co_await ReadOnceAt(&file, UINT64_MAX));
    Saw(Kind(co_await file.WriteAt(UINT64_MAX - 1, "x")));
    co_return absl::OkStatus();
  });
}

TEST(File, NothingIsReadIntoAnEmptyBufferAndNothingWritten) {
  Conforms("end, OK, abc", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    Saw(co_await ReadOnce(&file, 0));
    Saw(Kind(co_await file.WriteAt(100, "")));
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

TEST(File, AppendedItGoesToTheEndWhereverThatIs) {
  Conforms("one two three", []() -> Task<absl::Status> {
    Scratch scratch;
    File a = co_await OrReturn(File::Open(scratch / "a", kAppend));
    File b = co_await OrReturn(File::Open(scratch / "a", kAppend));
    co_await OrReturn(a.Write("one "));
    co_await OrReturn(b.Write("two "));
    a.Seek(0);
    co_await OrReturn(a.Write("three"));
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

TEST(File, AppendingLeavesThePositionToReaders) {
  Conforms("a, 1, bc", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kAppend));
    co_await OrReturn(file.Write("ab"));
    Saw(co_await ReadOnce(&file, 1));
    co_await OrReturn(file.Write("c"));
    Saw(absl::StrCat(file.position()));
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

TEST(File, AppendingTakesNoOffset) {
  Conforms("write '/a': it was opened to append; which takes no offset",
           []() -> Task<absl::Status> {
             Scratch scratch;
             File file = co_await OrReturn(File::Open(scratch / "a", kAppend));
             Saw(Text(co_await file.WriteAt(0, "x"), scratch));
             co_return absl::OkStatus();
           });
}

TEST(File, ResizedItIsCutOrGrowsZeros) {
  Conforms("ab, ab..., 5", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abcdef"));
    co_await OrReturn(file.Resize(2));
    Saw(co_await ReadOnceAt(&file, 0));
    co_await OrReturn(file.Resize(5));
    Saw(Dotted(co_await ReadOnceAt(&file, 0)));
    const FileInfo info = co_await OrReturn(file.Info());
    Saw(absl::StrCat(info.size));
    co_return absl::OkStatus();
  });
}

TEST(File, SyncingChangesNothingThatIsSeen) {
  Conforms("hello, hello", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "hello"));
    co_await OrReturn(file.Sync());
    Saw(co_await Content(scratch / "a"));
    co_await OrReturn(file.SyncData());
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

// ------------------------------------------------------------------ opening

TEST(FileOpen, WhatIsNotThereIsNotFound) {
  Conforms(
      "open '/none': No such file or directory (ENOENT)",
      []() -> Task<absl::Status> {
        Scratch scratch;
        Saw(Text((co_await File::Open(scratch / "none")).status(), scratch));
        co_return absl::OkStatus();
      });
}

TEST(FileOpen, ItIsMadeEmptyIfAsked) {
  Conforms("end, OK", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kNew));
    Saw(co_await ReadOnce(&file));
    Saw(Kind((co_await File::Open(scratch / "a")).status()));
    co_return absl::OkStatus();
  });
}

TEST(FileOpen, WhatIsThereIsKept) {
  Conforms("hello", []() -> Task<absl::Status> {
    Scratch scratch;
    (void)co_await OrReturn(FileWith(scratch, "hello"));
    (void)co_await OrReturn(File::Open(scratch / "a", kNew));
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

TEST(FileOpen, TruncatedItIsEmpty) {
  Conforms("", []() -> Task<absl::Status> {
    Scratch scratch;
    (void)co_await OrReturn(FileWith(scratch, "hello"));
    File file = co_await OrReturn(
        File::Open(scratch / "a", {.write = true, .truncate = true}));
    const FileInfo info = co_await OrReturn(file.Info());
    EXPECT_EQ(info.size, 0u);
    co_return absl::OkStatus();
  });
}

TEST(FileOpen, ExclusivelyItIsTheFirstOrNone) {
  Conforms("OK, ALREADY_EXISTS", []() -> Task<absl::Status> {
    Scratch scratch;
    FileOptions options = kNew;
    options.exclusive = true;
    for (int i = 0; i < 2; ++i)
      Saw(Kind((co_await File::Open(scratch / "a", options)).status()));
    co_return absl::OkStatus();
  });
}

TEST(FileOpen, OfSeveralAtATimeOneIsExclusive) {
  Conforms(
      "[OK, ALREADY_EXISTS, ALREADY_EXISTS]",
      [](TaskGroup& group) -> Task<absl::Status> {
        Scratch scratch;
        for (int i = 0; i < 3; ++i) {
          group.Start("opener", [&]() -> Task<void> {
            FileOptions options = kNew;
            options.exclusive = true;
            Saw(Kind((co_await File::Open(scratch / "a", options)).status()));
          });
        }
        co_return co_await group.Join();
      });
}

TEST(FileOpen, ADirectoryIsNoFile) {
  Conforms("INVALID_ARGUMENT, INVALID_ARGUMENT", []() -> Task<absl::Status> {
    Scratch scratch;
    Saw(Kind((co_await File::Open(scratch.path())).status()));
    Saw(Kind((co_await File::Open(scratch.path(), kNew)).status()));
    co_return absl::OkStatus();
  });
}

TEST(FileOpen, AFileIsNoDirectory) {
  Conforms("FAILED_PRECONDITION", []() -> Task<absl::Status> {
    Scratch scratch;
    (void)co_await OrReturn(FileWith(scratch, ""));
    Saw(Kind((co_await File::Open(scratch / "a/b", kNew)).status()));
    co_return absl::OkStatus();
  });
}

TEST(FileOpen, WhatContradictsItselfIsRefusedAndDoesNothing) {
  Conforms(
      "INVALID_ARGUMENT, INVALID_ARGUMENT, INVALID_ARGUMENT, "
      "INVALID_ARGUMENT, INVALID_ARGUMENT, nothing",
      []() -> Task<absl::Status> {
        Scratch scratch;
        for (const FileOptions& options : std::vector<FileOptions>{
                 {.read = false},
                 {.create = true},
                 {.write = true, .exclusive = true},
                 {.write = true,
                  .append = true,
                  .create = true,
                  .truncate = true},
                 {.write = true, .create = true, .permissions = 010000}}) {
          Saw(Kind((co_await File::Open(scratch / "a", options)).status()));
        }
        if (scratch.Seen().empty()) Saw("nothing");
        co_return absl::OkStatus();
      });
}

TEST(FileOpen, ItIsUsedForWhatItWasOpenedFor) {
  Conforms(
      "INVALID_ARGUMENT, INVALID_ARGUMENT, INVALID_ARGUMENT, OK",
      []() -> Task<absl::Status> {
        Scratch scratch;
        File write = co_await OrReturn(File::Open(
            scratch / "a", {.read = false, .write = true, .create = true}));
        File read = co_await OrReturn(File::Open(scratch / "a"));
        Saw(co_await ReadOnce(&write));
        Saw(Kind(co_await read.Write("x")));
        Saw(Kind(co_await read.Resize(0)));
        Saw(Kind(co_await read.Sync()));
        co_return absl::OkStatus();
      });
}

// -------------------------------------------------------------- at one time

TEST(FileConcurrency, AnyNumberMayReadAtOffsets) {
  Conforms("[a, b, c]", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    for (uint64_t i = 0; i < 3; ++i) {
      group.Start("reader", [&file, i]() -> Task<void> {
        Saw(co_await ReadOnceAt(&file, i, 1));
      });
    }
    co_return co_await group.Join();
  });
}

TEST(FileConcurrency, OneAtATimeHasThePosition) {
  Conforms("[abc, busy]", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    for (int i = 0; i < 2; ++i) {
      group.Start("reader",
                  [&]() -> Task<void> { Saw(co_await ReadOnce(&file)); });
    }
    co_return co_await group.Join();
  });
}

TEST(FileConcurrency, WritesAtOffsetsAllHappen) {
  Conforms("0123456789", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, ""));
    for (int i = 0; i < 10; ++i) {
      group.Start("writer", [&file, i]() -> Task<absl::Status> {
        const std::string digit = std::to_string(i);
        co_return co_await file.WriteAt(static_cast<uint64_t>(i), digit);
      });
    }
    co_await OrReturn(group.Join());
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

TEST(FileConcurrency, AppendsAreWhole) {
  Conforms("30 bytes, 10 whole", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(File::Open(scratch / "a", kAppend));
    for (int i = 0; i < 10; ++i) {
      group.Start("writer", [&file, i]() -> Task<absl::Status> {
        const std::string line(3, static_cast<char>('0' + i));
        co_return co_await file.Write(line);
      });
    }
    co_await OrReturn(group.Join());
    const std::string text = co_await Content(scratch / "a");
    int whole = 0;
    for (size_t at = 0; at < text.size(); at += 3)
      whole += text.substr(at, 3) == std::string(3, text[at]) ? 1 : 0;
    Saw(absl::StrCat(text.size(), " bytes"));
    Saw(absl::StrCat(whole, " whole"));
    co_return absl::OkStatus();
  });
}

TEST(FileConcurrency, TimersGoOnMeanwhile) {
  Conforms("tick@1", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, ""));
    group.Start("ticker", SayIn, 1, "tick");
    const std::string data = Plenty();
    for (int i = 0; i < 3; ++i) co_await OrReturn(file.WriteAt(0, data));
    co_return co_await group.Join();
  });
}

// ------------------------------------------------------------------ closing

TEST(FileClose, WhatComesAfterIsRefused) {
  Conforms("closed, closed, closed, closed, closed, closed",
           []() -> Task<absl::Status> {
             Scratch scratch;
             File file = co_await OrReturn(FileWith(scratch, "abc"));
             co_await file.Close();
             Saw(co_await ReadOnce(&file));
             Saw(co_await ReadOnceAt(&file, 0));
             Saw(Kind(co_await file.Write("x")));
             Saw(Kind(co_await file.Sync()));
             Saw(Kind((co_await file.Info()).status()));
             Saw(Kind(co_await file.Resize(0)));
             co_return absl::OkStatus();
           });
}

TEST(FileClose, ItMayBeClosedAgain) {
  Conforms("closed, closed", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    for (int i = 0; i < 2; ++i) {
      co_await file.Close();
      Saw("closed");
    }
    co_return absl::OkStatus();
  });
}

TEST(FileClose, WhatIsUnderWayEndsFirst) {
  Conforms("OK, closed", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, ""));
    const std::string data = Plenty();
    group.Start("writer",
                [&]() -> Task<void> { Saw(Kind(co_await file.Write(data))); });
    co_await OthersWait();
    co_await file.Close();
    co_await OthersWait();
    Saw("closed");
    co_await OrReturn(group.Join());
    const FileInfo info = co_await OrReturn(GetFileInfo(scratch / "a"));
    EXPECT_EQ(info.size, data.size());
    co_return absl::OkStatus();
  });
}

TEST(FileClose, DestroyedItEndsWhatIsUnderWayFirst) {
  Conforms("gone, OK", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    std::optional<File> file = co_await OrReturn(FileWith(scratch, ""));
    const std::string data = Plenty();
    group.Start("writer",
                [&]() -> Task<void> { Saw(Kind(co_await file->Write(data))); });
    co_await OthersWait();
    file.reset();
    Saw("gone");
    co_await OrReturn(group.Join());
    const FileInfo info = co_await OrReturn(GetFileInfo(scratch / "a"));
    EXPECT_EQ(info.size, data.size());
    co_return absl::OkStatus();
  });
}

// -------------------------------------------------------------------- names

TEST(FileNames, ARemovedFileIsThereForWhoHasItOpen) {
  Conforms("NOT_FOUND, hello, hello again", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "hello"));
    co_await OrReturn(RemoveFile(scratch / "a"));
    Saw(co_await Content(scratch / "a"));
    Saw(co_await ReadOnce(&file));
    co_await OrReturn(file.Write(" again"));
    Saw(co_await ReadOnceAt(&file, 0));
    co_return absl::OkStatus();
  });
}

TEST(FileNames, ARenamedFileStaysOpen) {
  Conforms("hello world, a", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "hello"));
    co_await OrReturn(Rename(scratch / "a", scratch / "b"));
    co_await OrReturn(file.WriteAt(5, " world"));
    Saw(co_await Content(scratch / "b"));
    Saw(file.path() == scratch / "a" ? "a" : file.path());
    co_return absl::OkStatus();
  });
}

TEST(FileNames, ARenameReplacesWhatHadTheName) {
  Conforms("new, old", []() -> Task<absl::Status> {
    Scratch scratch;
    File old = co_await OrReturn(FileWith(scratch, "old"));
    co_await OrReturn(ReplaceFile(scratch / "b", "new"));
    co_await OrReturn(Rename(scratch / "b", scratch / "a"));
    Saw(co_await Content(scratch / "a"));
    Saw(co_await ReadOnce(&old));
    co_return absl::OkStatus();
  });
}

TEST(FileNames, ADirectoryMovesWithAllThatIsInIt) {
  Conforms("x, NOT_FOUND", []() -> Task<absl::Status> {
    Scratch scratch;
    co_await OrReturn(MakeDirectory(scratch / "d"));
    co_await OrReturn(ReplaceFile(scratch / "d/a", "x"));
    co_await OrReturn(Rename(scratch / "d", scratch / "e"));
    Saw(co_await Content(scratch / "e/a"));
    Saw(co_await Content(scratch / "d/a"));
    co_return absl::OkStatus();
  });
}

TEST(FileNames, ADirectoryDoesNotMoveIntoItself) {
  Conforms("INVALID_ARGUMENT", []() -> Task<absl::Status> {
    Scratch scratch;
    co_await OrReturn(MakeDirectory(scratch / "d"));
    Saw(Kind(co_await Rename(scratch / "d", scratch / "d/e")));
    co_return absl::OkStatus();
  });
}

TEST(FileNames, AreListedInOrder) {
  Conforms("a b/ c", []() -> Task<absl::Status> {
    Scratch scratch;
    co_await OrReturn(ReplaceFile(scratch / "c", ""));
    co_await OrReturn(MakeDirectory(scratch / "b"));
    co_await OrReturn(ReplaceFile(scratch / "a", ""));
    co_await OrReturn(ReplaceFile(scratch / "b/hidden", ""));
    Saw(Names(co_await ListDirectory(scratch.path())));
    co_return absl::OkStatus();
  });
}

TEST(FileNames, WhatIsNoDirectoryIsNotListed) {
  Conforms("FAILED_PRECONDITION, NOT_FOUND", []() -> Task<absl::Status> {
    Scratch scratch;
    (void)co_await OrReturn(FileWith(scratch, ""));
    Saw(Names(co_await ListDirectory(scratch / "a")));
    Saw(Names(co_await ListDirectory(scratch / "none")));
    co_return absl::OkStatus();
  });
}

TEST(FileNames, ADirectoryIsMadeOnceAndRemovedEmpty) {
  Conforms("OK, ALREADY_EXISTS, FAILED_PRECONDITION, OK, NOT_FOUND",
           []() -> Task<absl::Status> {
             Scratch scratch;
             const std::string d = scratch / "d";
             Saw(Kind(co_await MakeDirectory(d)));
             Saw(Kind(co_await MakeDirectory(d)));
             co_await OrReturn(ReplaceFile(d + "/a", ""));
             Saw(Kind(co_await RemoveDirectory(d)));
             co_await OrReturn(RemoveFile(d + "/a"));
             Saw(Kind(co_await RemoveDirectory(d)));
             Saw(Kind(co_await RemoveDirectory(d)));
             co_return absl::OkStatus();
           });
}

TEST(FileNames, AreNotRemovedAsWhatTheyAreNot) {
  Conforms("FAILED_PRECONDITION, FAILED_PRECONDITION",
           []() -> Task<absl::Status> {
             Scratch scratch;
             (void)co_await OrReturn(FileWith(scratch, ""));
             co_await OrReturn(MakeDirectory(scratch / "d"));
             Saw(Kind(co_await RemoveFile(scratch / "d")));
             Saw(Kind(co_await RemoveDirectory(scratch / "a")));
             co_return absl::OkStatus();
           });
}

TEST(FileNames, TellWhatTheyStandFor) {
  Conforms("file of 5, directory, same file", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "hello"));
    const FileInfo a = co_await OrReturn(GetFileInfo(scratch / "a"));
    if (a.kind == FileKind::kRegular) Saw(absl::StrCat("file of ", a.size));
    const FileInfo d = co_await OrReturn(GetFileInfo(scratch.path()));
    if (d.kind == FileKind::kDirectory) Saw("directory");
    co_await OrReturn(Rename(scratch / "a", scratch / "b"));
    const FileInfo b = co_await OrReturn(file.Info());
    if (a.device == b.device && a.inode == b.inode) Saw("same file");
    co_return absl::OkStatus();
  });
}

TEST(FileNames, ThatNobodyCanMeanAreRefused) {
  Conforms("INVALID_ARGUMENT, INVALID_ARGUMENT, INVALID_ARGUMENT",
           []() -> Task<absl::Status> {
             Saw(Kind((co_await File::Open("")).status()));
             Saw(Kind(co_await MakeDirectory(std::string("a\0b", 3))));
             Saw(Kind(co_await Rename("", "x")));
             co_return absl::OkStatus();
           });
}

TEST(FileNames, ErrorsSayBothOfARename) {
  Conforms("rename '/x' to '/y': No such file or directory (ENOENT)",
           []() -> Task<absl::Status> {
             Scratch scratch;
             Saw(Text(co_await Rename(scratch / "x", scratch / "y"), scratch));
             co_return absl::OkStatus();
           });
}

TEST(FileNames, ThatAreTooLongAreRefused) {
  Conforms("INVALID_ARGUMENT, INVALID_ARGUMENT", []() -> Task<absl::Status> {
    Scratch scratch;
    Saw(Kind(co_await MakeDirectory(scratch / std::string(256, 'x'))));
    std::string deep = scratch.path();
    for (int i = 0; i < 3000; ++i) deep += "/.";
    Saw(Kind(co_await MakeDirectory(deep)));
    co_return absl::OkStatus();
  });
}

// -------------------------------------------------------------- whole files

TEST(WholeFile, IsReadUpToALimit) {
  Conforms("hello, OUT_OF_RANGE", []() -> Task<absl::Status> {
    Scratch scratch;
    (void)co_await OrReturn(FileWith(scratch, "hello"));
    Saw(co_await OrReturn(ReadWholeFile(scratch / "a", {.max_size = 5})));
    Saw(Kind(
        (co_await ReadWholeFile(scratch / "a", {.max_size = 4})).status()));
    co_return absl::OkStatus();
  });
}

TEST(WholeFile, IsReplacedForWhoeverOpensIt) {
  Conforms("old, new, old", []() -> Task<absl::Status> {
    Scratch scratch;
    co_await OrReturn(ReplaceFile(scratch / "a", "old"));
    File before = co_await OrReturn(File::Open(scratch / "a"));
    Saw(co_await Content(scratch / "a"));
    co_await OrReturn(ReplaceFile(scratch / "a", "new"));
    Saw(co_await Content(scratch / "a"));
    Saw(co_await ReadOnce(&before));
    co_return absl::OkStatus();
  });
}

TEST(WholeFile, ThatCanNotBeReplacedStays) {
  Conforms("INVALID_ARGUMENT, old", []() -> Task<absl::Status> {
    Scratch scratch;
    co_await OrReturn(ReplaceFile(scratch / "a", "old"));
    co_await OrReturn(MakeDirectory(scratch / "a.new"));
    Saw(Kind(co_await ReplaceFile(scratch / "a", "new")));
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

// ------------------------------------------------------------- cancellation

TEST(FileCancellation, InACancelledScopeNothingHappens) {
  Conforms("stopped, nothing", []() -> Task<absl::Status> {
    Scratch scratch;
    CancelScope scope;
    scope.Cancel("test");
    const auto file = co_await scope.Run(File::Open(scratch / "a", kNew));
    if (!file.has_value()) Saw("stopped");
    if (scratch.Seen().empty()) Saw("nothing");
    co_return absl::OkStatus();
  });
}

TEST(FileCancellation, WithoutTimeLeftNothingHappens) {
  Conforms("DEADLINE_EXCEEDED, abc", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    Saw(Kind(co_await FailAfter(Ticks(0), file.Write("x"))));
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

TEST(FileCancellation, AShieldLetsItHappen) {
  Conforms("OK, xbc", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    CancelScope scope;
    scope.Cancel("test");
    (void)co_await scope.Run(
        Shield([&]() -> Task<void> { Saw(Kind(co_await file.Write("x"))); }));
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

TEST(FileCancellation, CleanUpMayWrite) {
  Conforms("stopped, bye", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, ""));
    const auto result = co_await MoveOnAfter(
        Ticks(0), Finally(SleepForever(), [&]() -> Task<absl::Status> {
          co_return co_await file.Write("bye");
        }));
    if (!result.has_value()) Saw("stopped");
    Saw(co_await Content(scratch / "a"));
    co_return absl::OkStatus();
  });
}

// However far they had come: each happened, as a whole, or didn't.
TEST(FileCancellation, OfManyEachHappenedOrDidNot) {
  Conforms("all or nothing", [](TaskGroup& group) -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, ""));
    constexpr uint64_t kSize = 10'000;
    std::array<bool, 40> done = {};
    CancelScope scope;
    group.Start("writers", [&]() -> Task<void> {
      (void)co_await scope.Run(
          WithTaskGroup([&](TaskGroup& writers) -> Task<void> {
            for (size_t i = 0; i < done.size(); ++i) {
              writers.Start("writer", [&, i]() -> Task<void> {
                const std::string data(kSize, 'x');
                done[i] = (co_await file.WriteAt(i * kSize, data)).ok();
              });
            }
            (void)co_await writers.Join();
          }));
    });
    for (int i = 0; i < 5; ++i) co_await Checkpoint();
    scope.Cancel("test");
    co_await OrReturn(group.Join());
    std::string text = co_await OrReturn(ReadWholeFile(scratch / "a"));
    text.resize(done.size() * kSize);
    bool whole = true;
    for (size_t i = 0; i < done.size(); ++i) {
      whole = whole && text.substr(i * kSize, kSize) ==
                           std::string(kSize, done[i] ? 'x' : '\0');
    }
    Saw(whole ? "all or nothing" : "torn");
    co_return absl::OkStatus();
  });
}

TEST(FileCancellation, AReaderThatWasStoppedHasReadNothing) {
  Conforms("stopped, abc", []() -> Task<absl::Status> {
    Scratch scratch;
    File file = co_await OrReturn(FileWith(scratch, "abc"));
    CancelScope scope;
    scope.Cancel("test");
    if (!(co_await scope.Run(ReadOnce(&file))).has_value()) Saw("stopped");
    Saw(co_await ReadOnce(&file));
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid::conformance
