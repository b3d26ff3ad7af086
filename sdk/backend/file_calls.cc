#include "braid/backend/file_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "braid/backend/system_call.h"

namespace braid::detail {
namespace {

int ErrorOf(long result) { return result < 0 ? errno : 0; }

FileKind KindOf(mode_t mode) {
  if (S_ISREG(mode)) return FileKind::kRegular;
  if (S_ISDIR(mode)) return FileKind::kDirectory;
  if (S_ISLNK(mode)) return FileKind::kSymbolicLink;
  return FileKind::kOther;
}

// File systems know of times that a time_point has no room for: it ends in
// 2262, and begins in 1677.
std::chrono::system_clock::time_point TimeOf(const statx_timestamp& time) {
  using Wall = std::chrono::system_clock;
  constexpr auto kMost =
      std::chrono::duration_cast<std::chrono::seconds>(Wall::duration::max());
  const std::chrono::seconds whole(time.tv_sec);
  if (whole >= kMost) return Wall::time_point::max();
  if (whole < -kMost) return Wall::time_point::min();
  return Wall::time_point(std::chrono::duration_cast<Wall::duration>(
      whole + std::chrono::nanoseconds(time.tv_nsec)));
}

int Open(OpenFileOperation& operation) {
  const int fd = Retrying([&] {
    return ::open(operation.path.c_str(), OpenFlags(operation),
                  operation.permissions);
  });
  return fd < 0 ? errno : TakeOpened(operation, fd);
}

int Read(ReadFileOperation& operation) {
  while (operation.done < operation.buffer.size()) {
    const std::span<std::byte> rest = operation.buffer.subspan(operation.done);
    const ssize_t got = Retrying([&] {
      return ::pread(operation.fd, rest.data(),
                     std::min(rest.size(), kLargestTransfer),
                     static_cast<off_t>(operation.offset + operation.done));
    });
    // What came before an error is given; the next read meets it.
    if (got < 0) return operation.done > 0 ? 0 : errno;
    if (got == 0) return 0;
    operation.done += static_cast<size_t>(got);
  }
  return 0;
}

int Write(WriteFileOperation& operation) {
  while (operation.done < operation.data.size()) {
    const std::span<const std::byte> rest =
        operation.data.subspan(operation.done);
    const ssize_t put = Retrying([&] {
      return ::pwrite(operation.fd, rest.data(),
                      std::min(rest.size(), kLargestTransfer),
                      static_cast<off_t>(operation.offset + operation.done));
    });
    if (put < 0) return errno;
    if (put == 0) return EIO;  // it took nothing, and said no more
    operation.done += static_cast<size_t>(put);
  }
  return 0;
}

int Info(FileInfoOperation& operation) {
  struct statx about;
  const bool open = operation.descriptor() != nullptr;
  if (::statx(open ? operation.fd : AT_FDCWD,
              open ? "" : operation.path.c_str(), InfoFlags(operation),
              kInfoMask, &about) != 0) {
    return errno;
  }
  operation.info = InfoOf(about);
  return 0;
}

FileKind KindOfEntry(unsigned char type) {
  switch (type) {
    case DT_REG:
      return FileKind::kRegular;
    case DT_DIR:
      return FileKind::kDirectory;
    case DT_LNK:
      return FileKind::kSymbolicLink;
    default:
      return FileKind::kOther;
  }
}

int ListDirectory(ListDirectoryOperation& operation) {
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(
      ::opendir(operation.path.c_str()));
  if (directory == nullptr) return errno;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) return errno;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    operation.entries.push_back(
        {std::string(name), KindOfEntry(entry->d_type)});
  }
}

int Call(FileOperation& operation) {
  switch (operation.code()) {
    case FileCode::kOpen:
      return Open(static_cast<OpenFileOperation&>(operation));
    case FileCode::kRead:
      return Read(static_cast<ReadFileOperation&>(operation));
    case FileCode::kWrite:
      return Write(static_cast<WriteFileOperation&>(operation));
    case FileCode::kSync:
      return ErrorOf(Retrying([&] {
        return static_cast<SyncFileOperation&>(operation).data_only
                   ? ::fdatasync(operation.fd)
                   : ::fsync(operation.fd);
      }));
    case FileCode::kInfo:
      return Info(static_cast<FileInfoOperation&>(operation));
    case FileCode::kResize:
      return ErrorOf(Retrying([&] {
        return ::ftruncate(
            operation.fd,
            static_cast<off_t>(
                static_cast<ResizeFileOperation&>(operation).size));
      }));
    case FileCode::kRename: {
      auto& rename = static_cast<RenameOperation&>(operation);
      return ErrorOf(::rename(rename.from.c_str(), rename.to.c_str()));
    }
    case FileCode::kRemove: {
      auto& remove = static_cast<RemoveOperation&>(operation);
      return ErrorOf(remove.directory ? ::rmdir(remove.path.c_str())
                                      : ::unlink(remove.path.c_str()));
    }
    case FileCode::kMakeDirectory: {
      auto& make = static_cast<MakeDirectoryOperation&>(operation);
      return ErrorOf(::mkdir(make.path.c_str(), make.permissions));
    }
    case FileCode::kListDirectory:
      return ListDirectory(static_cast<ListDirectoryOperation&>(operation));
  }
  return ENOSYS;
}

}  // namespace

int OpenFlags(const OpenFileOperation& operation) {
  // A FIFO that nobody writes to would block; what isn't a regular file is
  // refused right after. Nor is a terminal to become the process's own.
  return operation.flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
}

int TakeOpened(OpenFileOperation& operation, int fd) {
  // Neither call waits: the file's inode is in memory.
  struct stat about;
  int error = ErrorOf(::fstat(fd, &about));
  const bool directory = (operation.flags & O_DIRECTORY) != 0;
  if (error == 0 && !directory && !S_ISREG(about.st_mode))
    error = S_ISDIR(about.st_mode) ? EISDIR : ENXIO;
  // Or io_uring would read a slow file on the thread that asks for it.
  if (error == 0) error = ErrorOf(::fcntl(fd, F_SETFL, operation.flags));
  if (error != 0) {
    ::close(fd);
    return error;
  }
  operation.fd = fd;
  return 0;
}

int InfoFlags(const FileInfoOperation& operation) {
  if (operation.descriptor() != nullptr) return AT_EMPTY_PATH;
  return operation.follow_link ? 0 : AT_SYMLINK_NOFOLLOW;
}

FileInfo InfoOf(const struct statx& about) {
  FileInfo info;
  info.kind = KindOf(about.stx_mode);
  info.size = about.stx_size;
  info.permissions = about.stx_mode & 07777;
  info.modified = TimeOf(about.stx_mtime);
  info.device = makedev(about.stx_dev_major, about.stx_dev_minor);
  info.inode = about.stx_ino;
  info.links = about.stx_nlink;
  return info;
}

void CallFile(FileOperation& operation) noexcept {
  try {
    operation.error = Call(operation);
  } catch (const std::bad_alloc&) {
    operation.error = ENOMEM;
  }
}

}  // namespace braid::detail
