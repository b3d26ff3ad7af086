// FileRequests: operations on files and their names as requests of a ring.
//
// What the kernel at hand has no request for goes to worker threads: listing a
// directory on every kernel, resizing before Linux 6.9, names before 5.15.
//
// The kernel does what it finds in memory at once, and has threads of its own
// for the rest, names among it. A request that it has begun is not to be
// stopped, as a rule; the operation's memory is its own until the request's
// completion.

#ifndef BRAID_BACKEND_URING_FILE_REQUESTS_H_
#define BRAID_BACKEND_URING_FILE_REQUESTS_H_

#include <bitset>
#include <cstdint>

#include "braid/backend/file_operation.h"
#include "braid/backend/uring/ring.h"

namespace braid::detail {

class FileRequests {
 public:
  // Set in what a completion is about, if it is about one of these. Objects are
  // aligned to more.
  static constexpr uint64_t kBit = 4;

  // Without `files`, it takes none, as on a kernel that is too old; without
  // `names`, none that changes names.
  FileRequests(Ring& ring, bool files, bool names);
  FileRequests(const FileRequests&) = delete;
  FileRequests& operator=(const FileRequests&) = delete;

  // Whether this kernel does such an operation.
  bool Takes(const FileOperation& operation) const {
    return supported_.test(static_cast<size_t>(operation.code()));
  }
  // As Backend's SubmitFile, which is never done at once, and CancelFile.
  void Submit(FileOperation& operation);
  void Cancel(FileOperation& operation) noexcept;
  // A request is over; `data` is what it is about.
  void OnCompletion(uint64_t data, int result);

 private:
  void Request(FileOperation& operation);

  Ring& ring_;
  std::bitset<16> supported_;  // by FileCode
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_URING_FILE_REQUESTS_H_
