#include "braid/backend/uring/file_requests.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>

#include "braid/backend/system_call.h"

namespace braid::detail {
FileRequests::FileRequests(Ring& ring, bool enabled) : ring_(ring) {
  if (!enabled) return;
  io_uring_probe* probe = io_uring_get_probe_ring(ring.raw());
  if (probe == nullptr) return;
  supported_ = true;
  for (const int code : {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC,
                         IORING_OP_ASYNC_CANCEL}) {
    supported_ = supported_ && io_uring_opcode_supported(probe, code) != 0;
  }
  io_uring_free_probe(probe);
}

bool FileRequests::Takes(const FileOperation& operation) const {
  switch (operation.code()) {
    case FileCode::kRead:
    case FileCode::kWrite:
    case FileCode::kSync:
      return supported_;
    case FileCode::kOpen:
    case FileCode::kInfo:
    case FileCode::kResize:
    case FileCode::kRename:
    case FileCode::kRemove:
    case FileCode::kMakeDirectory:
    case FileCode::kListDirectory:
      return false;
  }
  return false;
}

void FileRequests::Cancel(FileOperation& operation) noexcept {
  operation.stopping = true;
  io_uring_sqe* entry = ring_.Next();
  io_uring_prep_cancel64(entry, reinterpret_cast<uint64_t>(&operation) | kBit,
                         0);
  io_uring_sqe_set_data64(entry, 0);
}

void FileRequests::Submit(FileOperation& operation) {
  io_uring_sqe* entry = ring_.Next();
  if (operation.code() == FileCode::kRead) {
    auto& read = static_cast<ReadFileOperation&>(operation);
    const std::span<std::byte> rest = read.buffer.subspan(read.done);
    io_uring_prep_read(
        entry, operation.fd, rest.data(),
        static_cast<unsigned>(std::min(rest.size(), kLargestTransfer)),
        read.offset + read.done);
  } else if (operation.code() == FileCode::kWrite) {
    auto& write = static_cast<WriteFileOperation&>(operation);
    const std::span<const std::byte> rest = write.data.subspan(write.done);
    io_uring_prep_write(
        entry, operation.fd, rest.data(),
        static_cast<unsigned>(std::min(rest.size(), kLargestTransfer)),
        write.offset + write.done);
  } else {
    const auto& sync = static_cast<SyncFileOperation&>(operation);
    io_uring_prep_fsync(entry, operation.fd,
                        sync.data_only ? IORING_FSYNC_DATASYNC : 0);
  }
  io_uring_sqe_set_data64(entry, reinterpret_cast<uint64_t>(&operation) | kBit);
}

void FileRequests::OnCompletion(uint64_t data, int result) {
  auto& operation = *reinterpret_cast<FileOperation*>(data & ~kBit);
  size_t* done = nullptr;
  size_t wanted = 0;
  if (operation.code() == FileCode::kRead) {
    auto& read = static_cast<ReadFileOperation&>(operation);
    done = &read.done;
    wanted = read.buffer.size();
  } else if (operation.code() == FileCode::kWrite) {
    auto& write = static_cast<WriteFileOperation&>(operation);
    done = &write.done;
    wanted = write.data.size();
  }
  const bool begun = done != nullptr && *done > 0;
  if (result == -ECANCELED && operation.stopping && !begun) {
    return operation.Stop();
  }
  // Interrupted, or stopped half-way, which is too late.
  if (result == -EINTR || result == -EAGAIN || result == -ECANCELED)
    return Submit(operation);
  if (result < 0) {
    // What was read before is given; the next read meets the error.
    const bool given = begun && operation.code() == FileCode::kRead;
    operation.error = given ? 0 : -result;
  } else if (done != nullptr) {
    *done += static_cast<size_t>(result);
    if (result > 0 && *done < wanted) return Submit(operation);
    if (*done < wanted && operation.code() == FileCode::kWrite)
      operation.error = EIO;  // it took nothing, and said no more
  }
  operation.Complete();
}

}  // namespace braid::detail
