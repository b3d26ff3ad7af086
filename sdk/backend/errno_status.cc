#include "braid/backend/errno_status.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "braid/core/status.h"

namespace braid {

namespace {

// A connection that is gone.
bool IsGone(int error) {
  switch (error) {
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
    case ETIMEDOUT:
    case ENETRESET:
      return true;
    default:
      return false;
  }
}

absl::StatusCode CodeOf(int error) {
  if (IsGone(error)) return absl::StatusCode::kUnavailable;
  switch (error) {
    case EBADF:
    case EBUSY:
      return absl::StatusCode::kFailedPrecondition;
    case EADDRINUSE:
      return absl::StatusCode::kAlreadyExists;
    case EMSGSIZE:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::ErrnoToStatusCode(error);
  }
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view what) {
  std::string message(what);
  char text[128];
  message += ": ";
  message += strerror_r(error, text, sizeof text);  // GNU's form
  if (const char* name = strerrorname_np(error); name != nullptr) {
    message.append(" (").append(name).append(")");
  }
  if (error == EBADF) {
    return ClosedError(what.empty() ? "it is closed"
                                    : std::string(what) + ": it is closed");
  }
  if (error == EBUSY) {
    return BusyError(std::string(what) +
                     ": another task is already doing that");
  }
  if (IsGone(error)) return BrokenError(message);
  return absl::Status(CodeOf(error), message);
}

absl::Status ErrnoStatus(int error,
                         absl::FunctionRef<std::string()> what) noexcept {
  return detail::MakeStatus(CodeOf(error),
                            [&] { return ErrnoStatus(error, what()); });
}

}  // namespace braid
