// What a backend can be asked to do with files: tagged structs, the base of
// every awaitable of sdk/fs.
//
// For: backends, and the files built on them. Each struct says what it takes
// and what it gives. Unlike an IoOperation, one may have no descriptor (it is
// about a path), and any number may be under way on one file: each says at
// which offset.
//
// An operation that has begun can't be stopped: it completes. Until it has, its
// memory and what it points to belong to the backend, and a file that is
// released meanwhile is closed after it.

#ifndef BRAID_BACKEND_FILE_OPERATION_H_
#define BRAID_BACKEND_FILE_OPERATION_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/backend.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/operation.h"

namespace braid {

enum class FileCode : uint8_t {
  kOpen,
  kRead,
  kWrite,
  kSync,
  kInfo,
  kResize,
  kRename,
  kRemove,
  kMakeDirectory,
  kListDirectory,
};

enum class FileKind : uint8_t { kRegular, kDirectory, kSymbolicLink, kOther };

// What a file system says of a file.
struct FileInfo {
  FileKind kind = FileKind::kOther;
  uint64_t size = 0;         // bytes
  uint32_t permissions = 0;  // the lowest twelve bits of st_mode
  std::chrono::system_clock::time_point modified;
  // These two tell files apart while they exist, whatever they are called.
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t links = 0;  // names it has
};

struct DirectoryEntry {
  std::string name;
  // kOther also where the file system doesn't tell.
  FileKind kind = FileKind::kOther;
};

namespace detail {
class FileJob;
}

class FileOperation : public OperationBase, public detail::IntrusiveListNode {
 public:
  FileCode code() const { return code_; }
  Backend& backend() const { return *backend_; }
  // The open file it is about; nullptr: it is about a path.
  Descriptor* descriptor() const { return descriptor_.get(); }

  bool Try();
  void Suspend() {}
  void Cancel() noexcept override;

  // For backends, after SubmitFile said false.
  void Complete();
  void Stop();
  using OperationBase::RemainCancellable;

  // An errno of what went wrong, 0 if it went well. EBADF: closed by this side.
  int error = 0;
  // For backends: the descriptor's number, which stays its own until this is
  // over; who does it, on a worker thread; that the kernel was asked to stop.
  int fd = -1;
  std::shared_ptr<detail::FileJob> job;
  bool stopping = false;

 protected:
  // About a path, on the backend of the loop that runs here.
  explicit FileOperation(FileCode code)
      : backend_(&CurrentBackend()), code_(code) {}
  FileOperation(FileCode code, Descriptor* descriptor)
      : descriptor_(descriptor),
        backend_(&descriptor->backend()),
        code_(code) {}
  ~FileOperation() = default;

 private:
  // It isn't under way any more.
  void LeaveFile();

  DescriptorRef descriptor_;
  Backend* backend_;
  FileCode code_;
};

// Opens a file. Gives `opened`, of which the backend leaves the number in `fd`
// until it has made that. What is no regular file is refused: EISDIR for a
// directory, ENXIO for anything else; with O_DIRECTORY it is to be one.
class OpenFileOperation : public FileOperation {
 public:
  std::string path;
  // Of open(2): how, and which permissions a new one gets.
  int flags;
  uint32_t permissions;
  IoHandle opened;

  // For backends: makes `opened` of `fd`, unless there was an error.
  void Adopt();

 protected:
  OpenFileOperation(std::string path, int flags, uint32_t permissions)
      : FileOperation(FileCode::kOpen),
        path(std::move(path)),
        flags(flags),
        permissions(permissions) {}
};

// Reads from `offset` until the buffer is full or the file ends. `done` counts.
class ReadFileOperation : public FileOperation {
 public:
  uint64_t offset;
  std::span<std::byte> buffer;
  size_t done = 0;

 protected:
  ReadFileOperation(Descriptor* descriptor, uint64_t offset,
                    std::span<std::byte> buffer)
      : FileOperation(FileCode::kRead, descriptor),
        offset(offset),
        buffer(buffer) {}
};

// Writes all of `data` at `offset`, or at the end of a file opened with
// O_APPEND. `done` counts, also where it ends with an error.
class WriteFileOperation : public FileOperation {
 public:
  uint64_t offset;
  std::span<const std::byte> data;
  size_t done = 0;

 protected:
  WriteFileOperation(Descriptor* descriptor, uint64_t offset,
                     std::span<const std::byte> data)
      : FileOperation(FileCode::kWrite, descriptor),
        offset(offset),
        data(data) {}
};

// Makes what was written durable: all, or the bytes and what it takes to find
// them. Of a directory: its entries.
class SyncFileOperation : public FileOperation {
 public:
  bool data_only;

 protected:
  SyncFileOperation(Descriptor* descriptor, bool data_only)
      : FileOperation(FileCode::kSync, descriptor), data_only(data_only) {}
};

// Looks at an open file, or at a path. Gives `info`.
class FileInfoOperation : public FileOperation {
 public:
  std::string path;
  bool follow_link = true;  // what the path's last part refers to
  FileInfo info;
  // For backends: what the kernel writes into.
  std::shared_ptr<void> raw;

 protected:
  explicit FileInfoOperation(Descriptor* descriptor)
      : FileOperation(FileCode::kInfo, descriptor) {}
  FileInfoOperation(std::string path, bool follow_link)
      : FileOperation(FileCode::kInfo),
        path(std::move(path)),
        follow_link(follow_link) {}
};

// Makes a file `size` bytes long: what is missing reads as zeros.
class ResizeFileOperation : public FileOperation {
 public:
  uint64_t size;

 protected:
  ResizeFileOperation(Descriptor* descriptor, uint64_t size)
      : FileOperation(FileCode::kResize, descriptor), size(size) {}
};

// Gives a file another name; a file that has that one is replaced.
class RenameOperation : public FileOperation {
 public:
  std::string from;
  std::string to;

 protected:
  RenameOperation(std::string from, std::string to)
      : FileOperation(FileCode::kRename),
        from(std::move(from)),
        to(std::move(to)) {}
};

// Removes a name of a file, or an empty directory.
class RemoveOperation : public FileOperation {
 public:
  std::string path;
  bool directory;

 protected:
  RemoveOperation(std::string path, bool directory)
      : FileOperation(FileCode::kRemove),
        path(std::move(path)),
        directory(directory) {}
};

class MakeDirectoryOperation : public FileOperation {
 public:
  std::string path;
  uint32_t permissions;

 protected:
  MakeDirectoryOperation(std::string path, uint32_t permissions)
      : FileOperation(FileCode::kMakeDirectory),
        path(std::move(path)),
        permissions(permissions) {}
};

// Gives `entries` in no particular order, "." and ".." left out.
class ListDirectoryOperation : public FileOperation {
 public:
  std::string path;
  std::vector<DirectoryEntry> entries;

 protected:
  explicit ListDirectoryOperation(std::string path)
      : FileOperation(FileCode::kListDirectory), path(std::move(path)) {}
};

}  // namespace braid

#endif  // BRAID_BACKEND_FILE_OPERATION_H_
