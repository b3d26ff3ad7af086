#include "braid/backend/errno_status.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "braid/core/status.h"

namespace braid {

absl::Status ErrnoStatus(int error, std::string_view what) {
  std::string message(what);
  char text[128];
  message += ": ";
  message += strerror_r(error, text, sizeof text);  // GNU's form
  if (const char* name = strerrorname_np(error); name != nullptr) {
    message.append(" (").append(name).append(")");
  }
  switch (error) {
    case EBADF:
      return ClosedError(what.empty() ? "it is closed"
                                      : std::string(what) + ": it is closed");
    case EBUSY:
      return BusyError(std::string(what) +
                       ": another task is already doing that");
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
    case ETIMEDOUT:
    case ENETRESET:
      return BrokenError(message);
    case EADDRINUSE:
      return absl::AlreadyExistsError(message);
    // Abseil's is ALREADY_EXISTS: to whoever tries the next port then, an
    // address of another machine is one whose ports are all taken.
    case EADDRNOTAVAIL:
      return absl::UnavailableError(message);
    case EMSGSIZE:
      return absl::InvalidArgumentError(message);
    default:
      return absl::Status(absl::ErrnoToStatusCode(error), message);
  }
}

}  // namespace braid
