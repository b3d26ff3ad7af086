// Notifier: tells the service manager what state the service is in
// (sd_notify(3)).
//
//   Notifier notifier(host);
//   notifier.Ready("serving on 127.0.0.1:7007");
//
// For: services of systemd with Type=notify or Type=notify-reload, and
// everything else that speaks its protocol: datagrams of text to the Unix
// socket that $NOTIFY_SOCKET names. Without that variable nothing happens.
// Never waits: a manager that doesn't read its socket misses the message.
// Threads: one at a time.

#ifndef BRAID_SERVICE_SD_NOTIFY_H_
#define BRAID_SERVICE_SD_NOTIFY_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "braid/backend/host.h"
#include "braid/core/time.h"

namespace braid::service {

class Notifier {
 public:
  // Tells nobody.
  Notifier() = default;
  // Reads $NOTIFY_SOCKET.
  explicit Notifier(Host& host);

  // Start-up, or a reload, is over.
  absl::Status Ready(std::string_view status);
  // `now` is the loop's time; on Linux that is CLOCK_MONOTONIC, which the
  // manager compares with its own.
  absl::Status Reloading(Time now);
  absl::Status Stopping(std::string_view status);

  // Sends lines of the form VARIABLE=value. OK without $NOTIFY_SOCKET.
  absl::Status Send(std::string_view lines);

 private:
  std::string socket_;
};

}  // namespace braid::service

#endif  // BRAID_SERVICE_SD_NOTIFY_H_
