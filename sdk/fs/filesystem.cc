#include "braid/fs/filesystem.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "braid/backend/errno_status.h"
#include "braid/core/or_return.h"
#include "braid/fs/detail/path.h"
#include "braid/fs/file.h"

namespace braid {
namespace detail {
namespace {

// `what` is the operation in words, with its paths.
absl::Status PathStatus(int error, std::string_view what,
                        std::string_view path) {
  if (error == 0) return absl::OkStatus();
  if (const char* mistake = MistakeInPath(path); mistake != nullptr)
    return absl::InvalidArgumentError(std::string(what) + ": " + mistake);
  return ErrnoStatus(error, what);
}

std::string Quoted(std::string_view path) { return "'" + Readable(path) + "'"; }

// True: the system can't be asked, which is the result.
bool Refused(FileOperation& operation, std::string_view path) {
  if (MistakeInPath(path) == nullptr) return false;
  operation.error = EINVAL;
  return true;
}

}  // namespace

bool PathInfoOp::Try() { return Refused(*this, path) || FileOperation::Try(); }
absl::StatusOr<FileInfo> PathInfoOp::TakeResult() {
  if (error == 0) return info;
  return PathStatus(error, absl::StrCat("look at ", Quoted(path)), path);
}

bool RenameOp::Try() {
  return Refused(*this, from) || Refused(*this, to) || FileOperation::Try();
}
absl::Status RenameOp::TakeResult() {
  return PathStatus(error,
                    absl::StrCat("rename ", Quoted(from), " to ", Quoted(to)),
                    MistakeInPath(from) != nullptr ? from : to);
}

bool RemoveOp::Try() { return Refused(*this, path) || FileOperation::Try(); }
absl::Status RemoveOp::TakeResult() {
  return PathStatus(
      error,
      absl::StrCat(directory ? "remove directory " : "remove ", Quoted(path)),
      path);
}

bool MakeDirectoryOp::Try() {
  return Refused(*this, path) || FileOperation::Try();
}
absl::Status MakeDirectoryOp::TakeResult() {
  return PathStatus(error, absl::StrCat("make directory ", Quoted(path)), path);
}

bool ListDirectoryOp::Try() {
  return Refused(*this, path) || FileOperation::Try();
}
absl::StatusOr<std::vector<DirectoryEntry>> ListDirectoryOp::TakeResult() {
  if (error != 0)
    return PathStatus(error, absl::StrCat("list ", Quoted(path)), path);
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) {
              return a.name < b.name;
            });
  return std::move(entries);
}

namespace {

class OpenDirectoryOp final : public OpenFileOperation {
 public:
  explicit OpenDirectoryOp(std::string path)
      : OpenFileOperation(std::move(path), O_RDONLY | O_DIRECTORY, 0) {}
  bool Try() { return Refused(*this, path) || FileOperation::Try(); }
  absl::StatusOr<IoHandle> TakeResult() {
    if (error != 0)
      return PathStatus(error, absl::StrCat("open directory ", Quoted(path)),
                        path);
    opened.get()->path = std::move(path);
    return std::move(opened);
  }
};

class SyncDirectoryOp final : public SyncFileOperation {
 public:
  explicit SyncDirectoryOp(Descriptor* descriptor)
      : SyncFileOperation(descriptor, /*data_only=*/false) {}
  absl::Status TakeResult() {
    if (error == 0) return absl::OkStatus();
    return ErrnoStatus(
        error, absl::StrCat("sync directory ", descriptor()->Describe()));
  }
};

// The directory that `path` is a name in.
std::string ParentOf(std::string_view path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<size_t>(slash, 1)));
}

}  // namespace
}  // namespace detail

Task<absl::Status> SyncDirectory(std::string path) {
  IoHandle directory = co_await OrReturn(
      Operation<detail::OpenDirectoryOp, std::string>(std::move(path)));
  co_await OrReturn(
      Operation<detail::SyncDirectoryOp, Descriptor*>(directory.Use()));
  co_return absl::OkStatus();
}

Task<absl::StatusOr<std::string>> ReadWholeFile(std::string path,
                                                ReadWholeFileOptions options) {
  File file = co_await OrReturn(File::Open(std::move(path)));
  const FileInfo info = co_await OrReturn(file.Info());
  // One byte more shows whether this was all. Files of /proc say 0.
  constexpr size_t kLeast = 4096;
  const size_t most =
      options.max_size + 1 == 0 ? options.max_size : options.max_size + 1;
  std::string text;
  size_t read = 0;
  for (size_t room =
           std::min<uint64_t>(std::max<uint64_t>(info.size + 1, kLeast), most);
       ;) {
    text.resize(room);
    const size_t got = co_await OrReturn(
        file.Read(MutableByteView(std::span(text).subspan(read))));
    read += got;
    if (read < room) break;
    if (read > options.max_size) {
      co_return absl::OutOfRangeError(absl::StrCat(
          "read '", file.path(), "': it is longer than the limit of ",
          options.max_size, " bytes"));
    }
    room = std::min(most, room * 2);
  }
  text.resize(read);
  co_return text;
}

Task<absl::Status> ReplaceFile(std::string path, ByteView data,
                               ReplaceFileOptions options) {
  const std::string fresh = path + ".new";
  const FileOptions create = {.read = false,
                              .write = true,
                              .create = true,
                              .truncate = true,
                              .permissions = options.permissions};
  File file = co_await OrReturn(File::Open(fresh, create));
  co_await OrReturn(file.Write(data));
  if (options.durable) co_await OrReturn(file.Sync());
  co_await file.Close();
  co_await OrReturn(Rename(fresh, path));
  if (options.durable) {
    co_await OrReturn(SyncDirectory(detail::ParentOf(path)));
  }
  co_return absl::OkStatus();
}

}  // namespace braid
