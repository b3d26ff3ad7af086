// FileWorkers: does file operations on worker threads, for a backend that has
// no better way. Not for programs, which use sdk/fs.
//
// At most kAtOnce are with threads at a time; the others wait for their turn,
// first in, first out, and can be stopped until then.
//
// Threads: the loop's, but for what a job does on a thread of the host's.

#ifndef BRAID_BACKEND_FILE_WORKERS_H_
#define BRAID_BACKEND_FILE_WORKERS_H_

#include <cstddef>

#include "braid/backend/file_operation.h"
#include "braid/core/detail/intrusive_list.h"

namespace braid::detail {

class FileWorkers {
 public:
  // Enough to keep a disk's queue busy; an operation waits in the kernel, not
  // for a core.
  static constexpr size_t kAtOnce = 16;

  FileWorkers() = default;
  FileWorkers(const FileWorkers&) = delete;
  FileWorkers& operator=(const FileWorkers&) = delete;
  ~FileWorkers() = default;

  // As Backend::SubmitFile and Cancel.
  bool Submit(FileOperation& operation);
  void Cancel(FileOperation& operation) noexcept;

 private:
  friend class FileJob;

  // Hands it to a thread. False: there is none.
  bool Begin(FileOperation& operation);
  void Ended(FileOperation& operation);
  void BeginNext();

  IntrusiveList<FileOperation> queued_;
  size_t with_threads_ = 0;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_FILE_WORKERS_H_
