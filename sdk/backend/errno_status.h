// What the kernel says, as an absl::Status.

#ifndef BRAID_BACKEND_ERRNO_STATUS_H_
#define BRAID_BACKEND_ERRNO_STATUS_H_

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace braid {

// "<what>: Connection refused (ECONNREFUSED)". `error` is an errno, not 0.
// Codes are Abseil's for that errno, except where Braid has a predicate: EBADF
// is IsClosed, EBUSY is IsBusy, and a connection that is gone (ECONNRESET,
// EPIPE, ECONNABORTED, ETIMEDOUT, ...) is IsBroken.
absl::Status ErrnoStatus(int error, std::string_view what);
// The same, where nothing may throw: what there is no memory for has its code
// alone.
absl::Status ErrnoStatus(int error,
                         absl::FunctionRef<std::string()> what) noexcept;

}  // namespace braid

#endif  // BRAID_BACKEND_ERRNO_STATUS_H_
