#include "braid/service/sd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "braid/backend/errno_status.h"

namespace braid::service {
namespace {

// A value is one line.
std::string OneLine(std::string_view text) {
  return absl::StrReplaceAll({text.data(), text.size()}, {{"\n", " "}});
}

}  // namespace

Notifier::Notifier(Host& host)
    : socket_(host.Environment("NOTIFY_SOCKET").value_or("")) {}

absl::Status Notifier::Ready(std::string_view status) {
  return Send("READY=1\nSTATUS=" + OneLine(status));
}

absl::Status Notifier::Reloading(Time now) {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(
      now.time_since_epoch());
  return Send(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", since.count()));
}

absl::Status Notifier::Stopping(std::string_view status) {
  return Send("STOPPING=1\nSTATUS=" + OneLine(status));
}

absl::Status Notifier::Send(std::string_view lines) {
  if (socket_.empty()) return absl::OkStatus();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if ((socket_[0] != '/' && socket_[0] != '@') ||
      socket_.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(
        absl::StrCat("NOTIFY_SOCKET=", socket_,
                     ": must be a path or @ and a name, of at most ",
                     sizeof address.sun_path - 1, " bytes"));
  }
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@')
    address.sun_path[0] = '\0';  // of the abstract namespace

  // lint: allow(io): backends have no Unix sockets, and a simulated host has no
  // $NOTIFY_SOCKET
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "tell the service manager");
  // lint: allow(io): as above
  const ssize_t sent = sendto(
      fd, lines.data(), lines.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
      reinterpret_cast<const sockaddr*>(&address),
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size()));
  const int error = errno;
  close(fd);
  if (sent < 0)
    return ErrnoStatus(
        error,
        absl::StrCat("tell the service manager at NOTIFY_SOCKET=", socket_));
  return absl::OkStatus();
}

}  // namespace braid::service
