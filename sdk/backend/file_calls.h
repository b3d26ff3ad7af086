// The system calls of file operations, for whatever thread may block in them.
// Not for programs, which use sdk/fs.

#ifndef BRAID_BACKEND_FILE_CALLS_H_
#define BRAID_BACKEND_FILE_CALLS_H_

#include "braid/backend/file_operation.h"

namespace braid::detail {

// Does what `operation` asks for, on `operation.fd` if it has a descriptor, and
// fills in what it gives. Touches nothing but the operation: any thread.
void CallFile(FileOperation& operation) noexcept;

}  // namespace braid::detail

#endif  // BRAID_BACKEND_FILE_CALLS_H_
