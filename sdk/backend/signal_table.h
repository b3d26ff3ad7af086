// The one table of a process that says who listens to which signal. Not for
// programs: those use SignalStream.
//
// Signals belong to the process, so this can't belong to anything smaller. A
// handler of its own, rather than signalfd, which would need the signals to be
// blocked in every thread of the process, those of libraries included.

#ifndef BRAID_BACKEND_SIGNAL_TABLE_H_
#define BRAID_BACKEND_SIGNAL_TABLE_H_

#include <span>
#include <string>

#include "absl/status/status.h"
#include "braid/backend/host.h"

namespace braid::detail {

// "SIGTERM"; "signal 40" of one without a name.
std::string SignalName(int signal);

// INVALID_ARGUMENT unless there is at least one, and all can be listened to.
absl::Status CheckSignals(std::span<const int> signals);

// As Listen, StopListening and Redeliver of Host. From any thread.
absl::Status ListenForSignals(SignalListener& listener,
                              std::span<const int> signals);
void StopListeningForSignals(SignalListener& listener) noexcept;
void RedeliverSignals(std::span<const int> signals) noexcept;

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIGNAL_TABLE_H_
