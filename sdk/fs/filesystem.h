// Files by their names: look at, rename, remove, list; read or replace a whole
// one.
//
//   co_await OrReturn(MakeDirectory("state"));
//   co_await OrReturn(ReplaceFile("state/checkpoint", checkpoint));
//   std::string text =
//       co_await OrReturn(ReadWholeFile("state/checkpoint"));
//
// For all awaitables here: completed, it happened; stopped, it did not, but of
// ReadWholeFile and ReplaceFile, which say so themselves. One that a thread has
// begun completes. Errors name the path and say why, with the codes that Abseil
// maps an errno to. Paths are absolute or from the process's working directory.
//
// A new name, or its removal, survives a power failure once SyncDirectory of
// its directory has completed.
//
// Threads: the loop's.

#ifndef BRAID_FS_FILESYSTEM_H_
#define BRAID_FS_FILESYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/byte_view.h"
#include "braid/backend/file_operation.h"
#include "braid/core/operation.h"
#include "braid/core/task.h"

namespace braid {
namespace detail {

class PathInfoOp final : public FileInfoOperation {
 public:
  PathInfoOp(std::string path, bool follow_link)
      : FileInfoOperation(std::move(path), follow_link) {}
  bool Try();
  absl::StatusOr<FileInfo> TakeResult();
};

class RenameOp final : public RenameOperation {
 public:
  RenameOp(std::string from, std::string to)
      : RenameOperation(std::move(from), std::move(to)) {}
  bool Try();
  absl::Status TakeResult();
};

class RemoveOp final : public RemoveOperation {
 public:
  RemoveOp(std::string path, bool directory)
      : RemoveOperation(std::move(path), directory) {}
  bool Try();
  absl::Status TakeResult();
};

class MakeDirectoryOp final : public MakeDirectoryOperation {
 public:
  MakeDirectoryOp(std::string path, uint32_t permissions)
      : MakeDirectoryOperation(std::move(path), permissions) {}
  bool Try();
  absl::Status TakeResult();
};

class ListDirectoryOp final : public ListDirectoryOperation {
 public:
  explicit ListDirectoryOp(std::string path)
      : ListDirectoryOperation(std::move(path)) {}
  bool Try();
  absl::StatusOr<std::vector<DirectoryEntry>> TakeResult();
};

}  // namespace detail

// What there is to say of the file at `path`. A symbolic link at its end is
// followed, or looked at itself. Gives absl::StatusOr<FileInfo>.
inline auto GetFileInfo(std::string path, bool follow_link = true) {
  return Operation<detail::PathInfoOp, std::string, bool>(std::move(path),
                                                          follow_link);
}

// Gives `from` the name `to`, at once for everybody who looks; a file of that
// name is replaced. Within one file system. Gives absl::Status.
inline auto Rename(std::string from, std::string to) {
  return Operation<detail::RenameOp, std::string, std::string>(std::move(from),
                                                               std::move(to));
}

// Removes a name of a file; the file itself goes with its last name, once
// nobody has it open. Gives absl::Status.
inline auto RemoveFile(std::string path) {
  return Operation<detail::RemoveOp, std::string, bool>(std::move(path), false);
}
// The same of an empty directory.
inline auto RemoveDirectory(std::string path) {
  return Operation<detail::RemoveOp, std::string, bool>(std::move(path), true);
}

// `permissions` less the process's umask. ALREADY_EXISTS where there is
// something of that name. Gives absl::Status.
inline auto MakeDirectory(std::string path, uint32_t permissions = 0777) {
  return Operation<detail::MakeDirectoryOp, std::string, uint32_t>(
      std::move(path), permissions);
}

// What is in a directory, sorted by name, "." and ".." left out. Gives
// absl::StatusOr<std::vector<DirectoryEntry>>.
inline auto ListDirectory(std::string path) {
  return Operation<detail::ListDirectoryOp, std::string>(std::move(path));
}

// Makes the names in a directory durable. Cancelled: nothing is lost.
Task<absl::Status> SyncDirectory(std::string path);

struct ReadWholeFileOptions {
  // A longer file is OUT_OF_RANGE.
  size_t max_size = size_t{64} << 20;
};

// Everything in a file, also of one whose size isn't known before, as in /proc.
// Cancelled: nothing is lost.
Task<absl::StatusOr<std::string>> ReadWholeFile(
    std::string path, ReadWholeFileOptions options = {});

struct ReplaceFileOptions {
  uint32_t permissions = 0644;  // less the process's umask
  // Completes when no power failure can bring back the old content, and none
  // leaves anything but the old or the new. Without it, one that comes soon
  // after may leave either, or a file that is empty or torn.
  bool durable = true;
};

// Makes `data` the content of the file at `path`, which may be there or not:
// whoever opens it, whenever, finds either all of the old content or all of the
// new, also if the program ends meanwhile. It is written to "<path>.new" first,
// which one ReplaceFile at a time may do. On an error, or where it is stopped,
// the old content stays, or the new is there already, and "<path>.new" may be
// left; the next ReplaceFile uses it again. `data` must outlive the await.
Task<absl::Status> ReplaceFile(std::string path, ByteView data,
                               ReplaceFileOptions options = {});

}  // namespace braid

#endif  // BRAID_FS_FILESYSTEM_H_
