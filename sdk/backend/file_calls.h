// The system calls of file operations, for whatever thread may block in them.
// Not for programs, which use sdk/fs.

#ifndef BRAID_BACKEND_FILE_CALLS_H_
#define BRAID_BACKEND_FILE_CALLS_H_

#include "braid/backend/file_operation.h"

namespace braid::detail {

// Does what `operation` asks for, on `fd` if it has a descriptor, and fills in
// what it gives. A file that was opened is left in OpenFileOperation::fd.
// Touches nothing but the operation: any thread.
void CallFile(FileOperation& operation, int fd) noexcept;

}  // namespace braid::detail

#endif  // BRAID_BACKEND_FILE_CALLS_H_
