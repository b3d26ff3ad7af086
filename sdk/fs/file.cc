#include "braid/fs/file.h"

#include <fcntl.h>

#include <cerrno>
#include <limits>

#include "absl/strings/str_cat.h"
#include "braid/backend/errno_status.h"
#include "braid/fs/detail/path.h"

namespace braid {
namespace {

constexpr uint64_t kLargestOffset = std::numeric_limits<int64_t>::max();

int FlagsOf(const FileOptions& options) {
  int flags = options.write ? (options.read ? O_RDWR : O_WRONLY) : O_RDONLY;
  if (options.append) flags |= O_APPEND;
  if (options.create) flags |= O_CREAT;
  if (options.exclusive) flags |= O_EXCL;
  if (options.truncate) flags |= O_TRUNC;
  return flags;
}

const char* MistakeIn(const FileOptions& options) {
  if (!options.read && !options.write)
    return "it is opened neither to read nor to write";
  if (!options.write && (options.append || options.create || options.truncate))
    return "append, create and truncate need write";
  if (options.exclusive && !options.create) return "exclusive needs create";
  if (options.append && options.truncate)
    return "append and truncate exclude each other";
  if (options.permissions > 07777) return "permissions go up to 07777";
  return nullptr;
}

absl::Status Mistaken(const std::string& what, const char* mistake) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": ", mistake));
}

}  // namespace

File::OpenOp::OpenOp(std::string path, const FileOptions& options)
    : OpenFileOperation(std::move(path), FlagsOf(options), options.permissions),
      mistake_(MistakeIn(options)) {
  if (mistake_ == nullptr) mistake_ = detail::MistakeInPath(this->path);
}

bool File::OpenOp::Try() { return mistake_ != nullptr || FileOperation::Try(); }

absl::StatusOr<File> File::OpenOp::TakeResult() {
  const std::string what = absl::StrCat("open '", detail::Readable(path), "'");
  if (mistake_ != nullptr) return Mistaken(what, mistake_);
  if (error != 0) {
    if (error == EISDIR || error == ENXIO) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": it is ",
                       error == EISDIR ? "a directory" : "not a regular file",
                       "; a File reads and writes regular files"));
    }
    return ErrnoStatus(error, what);
  }
  opened.get()->path = std::move(path);
  opened.get()->appends = (flags & O_APPEND) != 0;
  opened.get()->readable = (flags & O_ACCMODE) != O_WRONLY;
  opened.get()->writable = (flags & O_ACCMODE) != O_RDONLY;
  return File(std::move(opened));
}

void File::Seek(uint64_t position) {
  Descriptor* descriptor = handle_.Use();
  detail::Check(!descriptor->position_taken,
                "a file's position is set while a Read or Write uses it; wait "
                "for its end, or use ReadAt and WriteAt");
  descriptor->position = position;
}

int File::Position::Take(uint64_t& offset, size_t size, int too_far) {
  if (used_ && !descriptor_->closed) {
    if (descriptor_->position_taken) return EBUSY;
    taken_ = descriptor_->position_taken = true;
    offset = descriptor_->position;
  }
  return offset > kLargestOffset - size ? too_far : 0;
}

void File::Position::Advance(size_t bytes) {
  if (taken_) descriptor_->position += bytes;
}

bool File::ReadOp::Try() {
  if (mistake_ != nullptr) return true;
  error = position_.Take(offset, buffer.size(), EOVERFLOW);
  return error != 0 || FileOperation::Try();
}

absl::StatusOr<size_t> File::ReadOp::TakeResult() {
  const auto what = [this] {
    return absl::StrCat("read ", descriptor()->Describe());
  };
  if (mistake_ != nullptr) return Mistaken(what(), mistake_);
  if (error != 0) return ErrnoStatus(error, what());
  position_.Advance(done);
  return done;
}

bool File::WriteOp::Try() {
  if (mistake_ != nullptr) return true;
  error = position_.Take(offset, data.size(), EFBIG);
  return error != 0 || FileOperation::Try();
}

absl::Status File::WriteOp::TakeResult() {
  position_.Advance(done);
  if (error == 0 && mistake_ == nullptr) return absl::OkStatus();
  const std::string what = absl::StrCat("write ", descriptor()->Describe());
  if (mistake_ != nullptr) return Mistaken(what, mistake_);
  if (done == 0) return ErrnoStatus(error, what);
  return ErrnoStatus(error, absl::StrCat(what, ", after ", done, " of ",
                                         data.size(), " bytes"));
}

absl::Status File::SyncOp::TakeResult() {
  if (error == 0) return absl::OkStatus();
  return ErrnoStatus(error, absl::StrCat("sync ", descriptor()->Describe()));
}

absl::StatusOr<FileInfo> File::InfoOp::TakeResult() {
  if (error == 0) return info;
  return ErrnoStatus(error, absl::StrCat("look at ", descriptor()->Describe()));
}

bool File::ResizeOp::Try() {
  if (mistake_ != nullptr) return true;
  if (size > kLargestOffset) error = EFBIG;
  return error != 0 || FileOperation::Try();
}

absl::Status File::ResizeOp::TakeResult() {
  if (error == 0 && mistake_ == nullptr) return absl::OkStatus();
  const std::string what =
      absl::StrCat("resize ", descriptor()->Describe(), " to ", size, " bytes");
  if (mistake_ != nullptr) return Mistaken(what, mistake_);
  return ErrnoStatus(error, what);
}

}  // namespace braid
