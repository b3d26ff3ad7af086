// FileRequests: reads, writes and syncs of files as requests of a ring.
//
// Not for: opening, names and directories, which go to worker threads on every
// backend: they are rare, and some of them no kernel takes as a request.
//
// The kernel does what it finds in memory at once, and has threads of its own
// for the rest. A request that it has begun is not to be stopped, as a rule;
// the operation's memory is its own until the request's completion.

#ifndef BRAID_BACKEND_URING_FILE_REQUESTS_H_
#define BRAID_BACKEND_URING_FILE_REQUESTS_H_

#include <cstdint>

#include "braid/backend/file_operation.h"
#include "braid/backend/uring/ring.h"

namespace braid::detail {

class FileRequests {
 public:
  // Set in what a completion is about, if it is about one of these. Objects are
  // aligned to more.
  static constexpr uint64_t kBit = 4;

  // Without `enabled`, it takes none, as on a kernel that is too old.
  FileRequests(Ring& ring, bool enabled);
  FileRequests(const FileRequests&) = delete;
  FileRequests& operator=(const FileRequests&) = delete;

  // Whether this kernel does such an operation.
  bool Takes(const FileOperation& operation) const;
  // As Backend's SubmitFile, which is never done at once, and CancelFile.
  void Submit(FileOperation& operation);
  void Cancel(FileOperation& operation) noexcept;
  // A request is over; `data` is what it is about.
  void OnCompletion(uint64_t data, int result);

 private:
  Ring& ring_;
  bool supported_ = false;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_URING_FILE_REQUESTS_H_
