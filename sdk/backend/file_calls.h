// The system calls of file operations, for whatever thread may block in them.
// Not for programs, which use sdk/fs.

#ifndef BRAID_BACKEND_FILE_CALLS_H_
#define BRAID_BACKEND_FILE_CALLS_H_

#include <sys/stat.h>

#include "braid/backend/file_operation.h"

namespace braid::detail {

// Does what `operation` asks for, on `operation.fd` if it has a descriptor, and
// fills in what it gives. Touches nothing but the operation: any thread.
void CallFile(FileOperation& operation) noexcept;

// The parts of that for a backend that has the kernel do the call itself.
//
// The flags to open with.
int OpenFlags(const OpenFileOperation& operation);
// `fd` was opened with those: it becomes `operation.fd`. An errno if it isn't
// what the operation is for; then it is closed.
int TakeOpened(OpenFileOperation& operation, int fd);
// The flags and the mask to look with (statx(2)), and what was seen.
int InfoFlags(const FileInfoOperation& operation);
inline constexpr unsigned kInfoMask = STATX_BASIC_STATS;
FileInfo InfoOf(const struct statx& about);

}  // namespace braid::detail

#endif  // BRAID_BACKEND_FILE_CALLS_H_
