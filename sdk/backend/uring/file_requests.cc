#include "braid/backend/uring/file_requests.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>

#include "braid/backend/file_calls.h"
#include "braid/backend/system_call.h"

namespace braid::detail {
namespace {

// IORING_OP_FTRUNCATE, which liburing 2.3 has no name for.
constexpr int kTruncateRequest = 55;

struct Needs {
  FileCode code;
  int request;
  bool name;  // changes names
};
constexpr Needs kNeeds[] = {
    {FileCode::kOpen, IORING_OP_OPENAT, false},
    {FileCode::kRead, IORING_OP_READ, false},
    {FileCode::kWrite, IORING_OP_WRITE, false},
    {FileCode::kSync, IORING_OP_FSYNC, false},
    {FileCode::kInfo, IORING_OP_STATX, false},
    {FileCode::kResize, kTruncateRequest, false},
    {FileCode::kRename, IORING_OP_RENAMEAT, true},
    {FileCode::kRemove, IORING_OP_UNLINKAT, true},
    {FileCode::kMakeDirectory, IORING_OP_MKDIRAT, true},
};

// Of a read or write: how much of it is done, and wanted.
struct Progress {
  size_t* done = nullptr;
  size_t wanted = 0;
};
Progress ProgressOf(FileOperation& operation) {
  if (operation.code() == FileCode::kRead) {
    auto& read = static_cast<ReadFileOperation&>(operation);
    return {&read.done, read.buffer.size()};
  }
  if (operation.code() == FileCode::kWrite) {
    auto& write = static_cast<WriteFileOperation&>(operation);
    return {&write.done, write.data.size()};
  }
  return {};
}

bool ChangesNames(FileCode code) {
  return std::ranges::any_of(kNeeds, [code](const Needs& needs) {
    return needs.code == code && needs.name;
  });
}

void Prepare(io_uring_sqe* entry, FileOperation& operation) {
  switch (operation.code()) {
    case FileCode::kOpen: {
      const auto& open = static_cast<OpenFileOperation&>(operation);
      io_uring_prep_openat(entry, AT_FDCWD, open.path.c_str(), OpenFlags(open),
                           open.permissions);
      return;
    }
    case FileCode::kRead: {
      const auto& read = static_cast<ReadFileOperation&>(operation);
      const std::span<std::byte> rest = read.buffer.subspan(read.done);
      io_uring_prep_read(
          entry, operation.fd, rest.data(),
          static_cast<unsigned>(std::min(rest.size(), kLargestTransfer)),
          read.offset + read.done);
      return;
    }
    case FileCode::kWrite: {
      const auto& write = static_cast<WriteFileOperation&>(operation);
      const std::span<const std::byte> rest = write.data.subspan(write.done);
      io_uring_prep_write(
          entry, operation.fd, rest.data(),
          static_cast<unsigned>(std::min(rest.size(), kLargestTransfer)),
          write.offset + write.done);
      return;
    }
    case FileCode::kSync: {
      const auto& sync = static_cast<SyncFileOperation&>(operation);
      io_uring_prep_fsync(entry, operation.fd,
                          sync.data_only ? IORING_FSYNC_DATASYNC : 0);
      return;
    }
    case FileCode::kInfo: {
      const auto& look = static_cast<FileInfoOperation&>(operation);
      const bool open = look.descriptor() != nullptr;
      io_uring_prep_statx(entry, open ? look.fd : AT_FDCWD,
                          open ? "" : look.path.c_str(), InfoFlags(look),
                          kInfoMask,
                          static_cast<struct statx*>(look.raw.get()));
      return;
    }
    case FileCode::kResize: {
      const auto& resize = static_cast<ResizeFileOperation&>(operation);
      io_uring_prep_rw(kTruncateRequest, entry, operation.fd, nullptr, 0,
                       resize.size);
      return;
    }
    case FileCode::kRename: {
      const auto& rename = static_cast<RenameOperation&>(operation);
      io_uring_prep_renameat(entry, AT_FDCWD, rename.from.c_str(), AT_FDCWD,
                             rename.to.c_str(), 0);
      return;
    }
    case FileCode::kRemove: {
      const auto& remove = static_cast<RemoveOperation&>(operation);
      io_uring_prep_unlinkat(entry, AT_FDCWD, remove.path.c_str(),
                             remove.directory ? AT_REMOVEDIR : 0);
      return;
    }
    case FileCode::kMakeDirectory: {
      const auto& make = static_cast<MakeDirectoryOperation&>(operation);
      io_uring_prep_mkdirat(entry, AT_FDCWD, make.path.c_str(),
                            make.permissions);
      return;
    }
    case FileCode::kListDirectory:
      break;
  }
  Check(false, "a file operation has no request; this is a bug in Braid");
}

}  // namespace

FileRequests::FileRequests(Ring& ring, bool files, bool names) : ring_(ring) {
  if (!files) return;
  io_uring_probe* probe = io_uring_get_probe_ring(ring.raw());
  if (probe == nullptr) return;
  const auto has = [&](int request) {
    return io_uring_opcode_supported(probe, request) != 0;
  };
  for (const Needs& needs : kNeeds) {
    supported_.set(static_cast<size_t>(needs.code),
                   has(needs.request) && has(IORING_OP_ASYNC_CANCEL) &&
                       (names || !needs.name));
  }
  io_uring_free_probe(probe);
}

void FileRequests::Cancel(FileOperation& operation) noexcept {
  operation.stopping = true;
  io_uring_sqe* entry = ring_.Next();
  io_uring_prep_cancel64(entry, reinterpret_cast<uint64_t>(&operation) | kBit,
                         0);
  io_uring_sqe_set_data64(entry, 0);
}

void FileRequests::Submit(FileOperation& operation) {
  // Before the ring gives an entry, which has to be filled: this may throw.
  if (operation.code() == FileCode::kInfo)
    static_cast<FileInfoOperation&>(operation).raw =
        std::make_shared<struct statx>();
  Request(operation);
}

void FileRequests::Request(FileOperation& operation) {
  io_uring_sqe* entry = ring_.Next();
  Prepare(entry, operation);
  io_uring_sqe_set_data64(entry, reinterpret_cast<uint64_t>(&operation) | kBit);
}

void FileRequests::OnCompletion(uint64_t data, int result) {
  auto& operation = *reinterpret_cast<FileOperation*>(data & ~kBit);
  const auto [done, wanted] = ProgressOf(operation);
  const bool begun = done != nullptr && *done > 0;
  if (result == -ECANCELED && operation.stopping) {
    if (!begun) return operation.Stop();
    operation.stopping = false;
    return Request(operation);  // it was stopped half-way, which is too late
  }
  // A change of names may have happened all the same; file_calls.cc doesn't
  // repeat it either.
  if (result == -EINTR && !ChangesNames(operation.code()))
    return Request(operation);
  if (result < 0) {
    // What was read before is given; the next read meets the error.
    const bool given = begun && operation.code() == FileCode::kRead;
    operation.error = given ? 0 : -result;
  } else if (done != nullptr) {
    *done += static_cast<size_t>(result);
    if (result > 0 && *done < wanted) return Request(operation);
    if (*done < wanted && operation.code() == FileCode::kWrite)
      operation.error = EIO;  // it took nothing, and said no more
  } else if (operation.code() == FileCode::kOpen) {
    auto& open = static_cast<OpenFileOperation&>(operation);
    open.error = TakeOpened(open, result);
    open.Adopt();
  } else if (operation.code() == FileCode::kInfo) {
    auto& look = static_cast<FileInfoOperation&>(operation);
    look.info = InfoOf(*static_cast<const struct statx*>(look.raw.get()));
  }
  operation.Complete();
}

}  // namespace braid::detail
