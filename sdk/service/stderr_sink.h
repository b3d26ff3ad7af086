// The sink for a service's own log: lines to a file descriptor, usually
// standard error, without ever making the caller wait.
//
// A write to standard error can block for as long as whoever reads it likes (a
// pipe to a stopped process, a disk that hangs), and the descriptor must not be
// made non-blocking: it is shared with other processes. So a thread of its own
// does the writing, out of a bounded buffer. While it can't write, what doesn't
// fit is dropped and counted. A full disk, a closed pipe: the lines are lost
// and counted, the service goes on, and so does writing when it is possible
// again.
//
// Real I/O and a thread: not for simulations.

#ifndef BRAID_SERVICE_STDERR_SINK_H_
#define BRAID_SERVICE_STDERR_SINK_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "braid/service/log.h"

namespace braid::service {

class StderrSink final : public LogSink {
 public:
  struct Options {
    int descriptor = 2;  // not closed, not changed
    size_t buffer_bytes = size_t{1024} * 1024;
    // How long the destructor waits for lines to be written; what is left then
    // is written only if the process lives on.
    std::chrono::milliseconds flush_limit = std::chrono::milliseconds(500);
  };

  StderrSink() : StderrSink(Options()) {}
  explicit StderrSink(Options options);
  StderrSink(const StderrSink&) = delete;
  StderrSink& operator=(const StderrSink&) = delete;
  ~StderrSink() override;

  // Copies the line, and returns. It is dropped if the buffer is full.
  void Write(LogLevel level, std::string_view line) noexcept override;

  // Waits until what was written so far has left the process. False if that
  // takes longer than `limit`. Blocks the thread: for the end of main.
  bool Flush(std::chrono::milliseconds limit);

  // Lines that are lost: those that found the buffer full, and those that the
  // system refused.
  uint64_t dropped() const noexcept override;

 private:
  struct State;

  std::shared_ptr<State> state_;
};

}  // namespace braid::service

#endif  // BRAID_SERVICE_STDERR_SINK_H_
