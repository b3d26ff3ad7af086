// Random programs on files: whatever they do, a simulated disk and the file
// system of this machine answer the same, to the letter.
//
// One thing after the other: who sees what of operations that overlap is
// file_test.cc's. Permissions, links and devices are left out, which a
// simulation doesn't have.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "braid/backend/every_backend.h"
#include "braid/backend/sim/random.h"
#include "braid/core/core.h"
#include "braid/fs/file.h"
#include "braid/fs/filesystem.h"
#include "braid/fs/scratch.h"
#include "braid/testing/explore_seeds.h"

namespace braid::conformance {
namespace {

class Program {
 public:
  explicit Program(uint64_t seed) : random_(seed) {}

  // What it did and saw, a line each.
  Task<std::string> Run() {
    for (int i = 0; i < 60; ++i) co_await Step();
    Say("seen", "");
    for (const std::string& entry : scratch_.Seen()) Say("has", Runs(entry));
    co_return text_;
  }

 private:
  template <size_t N>
  const char* OneOf(const std::array<const char*, N>& choices) {
    return choices.at(random_.Below(N));
  }
  std::string Path() {
    // Few names, so that they meet.
    return scratch_ /
           OneOf<20>({"a",      "b",     "c",     "d",     "e",
                      "d/a",    "d/b",   "d/e",   "d/e/a", "a/x",
                      "none/a", "d/",    "a/",    "d/.",   "d/../b",
                      "e/a",    "e/../", "e/./b", "d//a/", "d/e/.."});
  }
  std::optional<File>& Slot() {
    return files_.at(random_.Below(files_.size()));
  }
  std::string Bytes() {
    return std::string(
        random_.Below(3) == 0 ? random_.Below(10'000) : random_.Below(20),
        static_cast<char>('a' + random_.Below(26)));
  }
  uint64_t Offset() {
    return random_.Below(3) == 0 ? random_.Below(20'000) : random_.Below(30);
  }

  void Say(std::string_view what, std::string_view outcome) {
    absl::StrAppend(&text_, std::string(what), " ", std::string(outcome), "\n");
  }
  void Say(std::string_view what, const absl::Status& status) {
    Say(what, absl::StrReplaceAll(status.ToString(), {{scratch_.path(), ""}}));
  }
  template <typename T, typename F>
  void Say(std::string_view what, const absl::StatusOr<T>& result, F format) {
    if (result.ok()) {
      Say(what, format(*result));
    } else {
      Say(what, result.status());
    }
  }
  // "14 v, 11 \\0".
  static std::string Runs(std::string_view bytes) {
    std::string runs;
    for (size_t begin = 0; begin < bytes.size();) {
      const size_t end =
          std::min(bytes.find_first_not_of(bytes[begin], begin), bytes.size());
      absl::StrAppend(&runs, end - begin, " ",
                      absl::CHexEscape(std::string(1, bytes[begin])), ", ");
      begin = end;
    }
    return runs;
  }
  static std::string Format(const FileInfo& info) {
    const bool file = info.kind == FileKind::kRegular;
    return absl::StrCat(
        static_cast<int>(info.kind),
        file ? absl::StrCat(" of ", info.size, " bytes, ", info.links,
                            " names, mode ", absl::Hex(info.permissions))
             : "");
  }

  Task<void> Step() {
    const uint64_t kind = random_.Below(18);
    if (kind < 9) {
      co_await OnPath(kind);
    } else if (std::optional<File>& slot = Slot(); !slot.has_value()) {
      co_await Open(slot);
    } else {
      co_await OnFile(kind, slot);
    }
  }

  Task<void> Open(std::optional<File>& slot) {
    FileOptions options;
    options.read = random_.Below(5) != 0;
    options.write = random_.Below(4) != 0;
    options.append = random_.Below(5) == 0;
    options.create = random_.Below(2) == 0;
    options.exclusive = random_.Below(6) == 0;
    options.truncate = random_.Below(4) == 0;
    options.permissions = random_.Below(2) == 0 ? 0644 : 0600;
    auto file = co_await File::Open(Path(), options);
    Say("open", file.status());
    if (file.ok()) slot.emplace(*std::move(file));
  }

  Task<void> OnPath(uint64_t kind) {
    switch (kind) {
      case 0: {
        const std::string from = Path();
        Say("rename", co_await Rename(from, Path()));
        break;
      }
      case 1:
        Say("remove", co_await RemoveFile(Path()));
        break;
      case 2:
        Say("remove directory", co_await RemoveDirectory(Path()));
        break;
      case 3:
      case 4:
        Say("make directory", co_await MakeDirectory(Path()));
        break;
      case 5:
        Say("list", co_await ListDirectory(Path()), [](const auto& entries) {
          std::string names;
          for (const DirectoryEntry& entry : entries) {
            absl::StrAppend(&names, entry.name, ":",
                            static_cast<int>(entry.kind), " ");
          }
          return names;
        });
        break;
      case 6:
        Say("look at", co_await GetFileInfo(Path()), Format);
        break;
      case 7: {
        const std::string data = Bytes();
        Say("replace", co_await ReplaceFile(Path(), data, {.durable = false}));
        break;
      }
      default:
        Say("read all", co_await ReadWholeFile(Path()),
            [](const std::string& all) { return Runs(all); });
    }
  }

  Task<void> OnFile(uint64_t kind, std::optional<File>& slot) {
    File& file = *slot;
    const std::string data = Bytes();
    std::string buffer(random_.Below(5000), '\0');
    const auto read = [&](size_t size) {
      return Runs(std::string_view(buffer).substr(0, size));
    };
    switch (kind) {
      case 9:
        Say("write", co_await file.Write(data));
        break;
      case 10:
        Say("write at", co_await file.WriteAt(Offset(), data));
        break;
      case 11:
        Say("read", co_await file.Read(buffer), read);
        break;
      case 12:
        Say("read at", co_await file.ReadAt(Offset(), buffer), read);
        break;
      case 13:
        file.Seek(Offset());
        break;
      case 14:
        Say("resize", co_await file.Resize(Offset()));
        break;
      case 15:
        Say("look", co_await file.Info(), Format);
        break;
      case 16:
        Say("sync", co_await file.SyncData());
        break;
      default:
        co_await file.Close();
        slot.reset();
    }
  }

  SimRandom random_;
  Scratch scratch_;
  std::array<std::optional<File>, 3> files_;
  std::string text_;
};

std::string RunOn(const char* backend, uint64_t seed) {
  std::string text;
  RunOnBackend(backend, [&]() -> Task<absl::Status> {
    Program program(seed);
    text = co_await program.Run();
    co_return absl::OkStatus();
  });
  return text;
}

// The lines up to the first that differs; nothing where none does.
std::string Difference(const std::string& a, const std::string& b) {
  if (a == b) return "";
  const std::vector<std::string> of_a = absl::StrSplit(a, '\n');
  const std::vector<std::string> of_b = absl::StrSplit(b, '\n');
  size_t same = 0;
  while (same < std::min(of_a.size(), of_b.size()) && of_a[same] == of_b[same])
    ++same;
  const auto until = [same](const std::vector<std::string>& lines) {
    return absl::StrJoin(lines.begin(),
                         lines.begin() + static_cast<ptrdiff_t>(
                                             std::min(same + 1, lines.size())),
                         "\n");
  };
  return absl::StrCat(until(of_a), "\nbut there:\n",
                      of_b[std::min(same, of_b.size() - 1)]);
}

TEST(RandomPrograms, AnswerTheSameOnEveryDisk) {
  const mode_t before = ::umask(022);
  ExploreSeeds(100, [](uint64_t seed) {
    const std::string on_sim = RunOn("sim", seed);
    EXPECT_EQ(Difference(on_sim, RunOn("asio", seed)), "");
    if (detail::HasBackend("uring"))
      EXPECT_EQ(Difference(on_sim, RunOn("uring", seed)), "");
  });
  ::umask(before);
}

}  // namespace
}  // namespace braid::conformance
