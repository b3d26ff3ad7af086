// File: reads and writes a regular file without holding up the loop.
//
//   File file = co_await OrReturn(File::Open(path, {.write = true,
//                                                   .create = true}));
//   co_await OrReturn(file.Write("hello\n"));
//   co_await OrReturn(file.Sync());
//   co_await OrReturn(file.Close());
//
// For: files of a file system. Not for: FIFOs, devices, terminals and sockets,
// which Open refuses (FdWatch waits for those), nor for directories and what
// else has a path: filesystem.h.
//
// For all awaitables here:
//   - Each is atomic towards cancellation: one that is stopped did not happen,
//     not in part either; one that a thread or the kernel has begun can't be
//     stopped, and completes. It takes as long as the disk does.
//   - ReadAt and WriteAt may be under way at the same time, any number of them.
//     Read and Write use the file's position, one of them at a time: another
//     gets Busy (IsBusy).
//   - The buffer belongs to the operation until it is over, and so does the
//     File, which may be closed or destroyed meanwhile: what is under way ends
//     first, and then the descriptor is closed. What comes after gets Closed
//     (IsClosed).
//   - Errors name the file and say why: INVALID_ARGUMENT for what it wasn't
//     opened for, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
//     RESOURCE_EXHAUSTED for a full disk or quota, and so on, as Abseil maps an
//     errno.
//   - What was written is seen by every reader at once. It survives a power
//     failure once Sync or SyncData has completed, and the file's name once
//     its directory was synced (SyncDirectory).
//
// Threads: the loop's.

#ifndef BRAID_FS_FILE_H_
#define BRAID_FS_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/byte_view.h"
#include "braid/backend/file_operation.h"
#include "braid/backend/io_operation.h"
#include "braid/core/operation.h"

namespace braid {

// What makes no sense together is INVALID_ARGUMENT.
struct FileOptions {
  bool read = true;
  bool write = false;
  // These need `write`.
  bool append = false;     // every write goes to the end, wherever that is then
  bool create = false;     // make the file if there is none
  bool exclusive = false;  // with create: ALREADY_EXISTS if there is one
  bool truncate = false;   // throw away what is in it
  // Of a new file, less the process's umask.
  uint32_t permissions = 0644;
};

class File {
 public:
  // Opens `path`, absolute or from the process's working directory. co_await
  // gives absl::StatusOr<File>. INVALID_ARGUMENT where it isn't a regular file.
  static auto Open(std::string path, const FileOptions& options = {}) {
    return Operation<OpenOp, std::string, FileOptions>(std::move(path),
                                                       options);
  }

  File(File&&) noexcept = default;
  File& operator=(File&&) noexcept = default;
  // Closes it, after what is under way. What Close would have said goes unsaid.
  ~File() = default;

  // Reads from the position on until `buffer` is full or the file ends, and
  // moves the position behind what was read. co_await gives
  // absl::StatusOr<size_t>, the bytes that were read: 0 is the end of the file
  // (or an empty buffer).
  auto Read(MutableByteView buffer) {
    return Operation<ReadOp, Descriptor*, std::span<std::byte>, uint64_t, bool>(
        handle_.Use(), buffer, 0, true);
  }
  // The same from `offset` on; the position stays.
  auto ReadAt(uint64_t offset, MutableByteView buffer) {
    return Operation<ReadOp, Descriptor*, std::span<std::byte>, uint64_t, bool>(
        handle_.Use(), buffer, offset, false);
  }

  // Writes all of `data` at the position and moves that behind it. co_await
  // gives absl::Status. On an error, such as a full disk, the message says how
  // much was written, and the position is behind that. With
  // FileOptions::append it goes to the end, and the position is for reading
  // only.
  auto Write(ByteView data ABSL_ATTRIBUTE_LIFETIME_BOUND) {
    return Operation<WriteOp, Descriptor*, std::span<const std::byte>, uint64_t,
                     bool>(handle_.Use(), data, 0, true);
  }
  // The same at `offset`; the position stays. With FileOptions::append, which
  // takes no offset: INVALID_ARGUMENT.
  auto WriteAt(uint64_t offset, ByteView data ABSL_ATTRIBUTE_LIFETIME_BOUND) {
    return Operation<WriteOp, Descriptor*, std::span<const std::byte>, uint64_t,
                     bool>(handle_.Use(), data, offset, false);
  }

  // Where Read and Write go on, in bytes from the beginning; 0 at first. It may
  // be beyond the end. Not while one of them is under way (checked).
  uint64_t position() const { return handle_.Use()->position; }
  void Seek(uint64_t position);

  // Makes durable what was written before: everything, or (SyncData) the bytes
  // and what it takes to read them back, which may be quicker. An error means
  // that some of it may be lost, and is told once (fsync(2)): write it again.
  auto Sync() {
    return Operation<SyncOp, Descriptor*, bool>(handle_.Use(), false);
  }
  auto SyncData() {
    return Operation<SyncOp, Descriptor*, bool>(handle_.Use(), true);
  }

  // co_await gives absl::StatusOr<FileInfo>.
  auto Info() { return Operation<InfoOp, Descriptor*>(handle_.Use()); }

  // Makes it `size` bytes long: cuts it, or adds zeros. The position stays.
  // OUT_OF_RANGE for more bytes than a file may have.
  auto Resize(uint64_t size) {
    return Operation<ResizeOp, Descriptor*, uint64_t>(handle_.Use(), size);
  }

  // Begins at the call; awaiting it completes once the descriptor is closed.
  // Idempotent. Cancelled: closed all the same. It makes nothing durable.
  auto Close() { return CloseHandle(handle_); }

  // As it was given to Open.
  const std::string& path() const { return handle_.Use()->path; }
  // The descriptor's number, which stays the File's; -1 once it is closed, and
  // in a simulation.
  int native_handle() const {
    return handle_.Use()->backend().NativeHandle(*handle_.Use());
  }

 private:
  class OpenOp final : public OpenFileOperation {
   public:
    OpenOp(std::string path, const FileOptions& options);
    bool Try();
    absl::StatusOr<File> TakeResult();

   private:
    const char* mistake_;  // in what was asked for; nullptr: none
  };

  // Why `descriptor` can't be used so; nullptr: it can.
  static const char* UnlessReadable(const Descriptor& descriptor) {
    return descriptor.readable ? nullptr : "it was opened to write only";
  }
  static const char* UnlessWritable(const Descriptor& descriptor) {
    return descriptor.writable ? nullptr : "it was opened to read only";
  }

  // Has the file's position to itself, if that is asked for.
  class Position {
   public:
    Position(Descriptor* descriptor, bool used)
        : descriptor_(descriptor), used_(used) {}
    Position(const Position&) = delete;
    Position& operator=(const Position&) = delete;
    ~Position() {
      if (taken_) descriptor_->position_taken = false;
    }
    // Sets `offset`, if it is used. EBUSY: another operation has it; `too_far`:
    // `size` bytes from there are beyond what any file may have.
    int Take(uint64_t& offset, size_t size, int too_far);
    void Advance(size_t bytes);

   private:
    Descriptor* descriptor_;
    const bool used_;
    bool taken_ = false;
  };

  class ReadOp final : public ReadFileOperation {
   public:
    ReadOp(Descriptor* descriptor, std::span<std::byte> buffer, uint64_t offset,
           bool at_position)
        : ReadFileOperation(descriptor, offset, buffer),
          position_(descriptor, at_position),
          mistake_(UnlessReadable(*descriptor)) {}
    bool Try();
    absl::StatusOr<size_t> TakeResult();

   private:
    Position position_;
    const char* const mistake_;
  };

  class WriteOp final : public WriteFileOperation {
   public:
    WriteOp(Descriptor* descriptor, std::span<const std::byte> data,
            uint64_t offset, bool at_position)
        : WriteFileOperation(descriptor, offset, data),
          position_(descriptor, at_position && !descriptor->appends),
          mistake_(at_position || !descriptor->appends
                       ? UnlessWritable(*descriptor)
                       : "it was opened to append, which takes no offset") {}
    bool Try();
    absl::Status TakeResult();

   private:
    Position position_;
    const char* const mistake_;
  };

  class SyncOp final : public SyncFileOperation {
   public:
    SyncOp(Descriptor* descriptor, bool data_only)
        : SyncFileOperation(descriptor, data_only) {}
    absl::Status TakeResult();
  };

  class InfoOp final : public FileInfoOperation {
   public:
    explicit InfoOp(Descriptor* descriptor) : FileInfoOperation(descriptor) {}
    absl::StatusOr<FileInfo> TakeResult();
  };

  class ResizeOp final : public ResizeFileOperation {
   public:
    ResizeOp(Descriptor* descriptor, uint64_t size)
        : ResizeFileOperation(descriptor, size),
          mistake_(UnlessWritable(*descriptor)) {}
    bool Try();
    absl::Status TakeResult();

   private:
    const char* const mistake_;
  };

  explicit File(IoHandle handle) : handle_(std::move(handle)) {}

  IoHandle handle_;
};

}  // namespace braid

#endif  // BRAID_FS_FILE_H_
