#include "braid/service/stderr_sink.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "braid/backend/signal_mask.h"

namespace braid::service {

// Shared with the writing thread, which may have to be left behind in a write
// that never ends.
struct StderrSink::State {
  explicit State(Options given) : options(given) {}

  const Options options;
  std::mutex mutex;
  std::condition_variable work;     // for the writer
  std::condition_variable written;  // for Flush
  std::string buffer;
  uint64_t accepted = 0;  // lines put into the buffer
  uint64_t done = 0;      // of those, lines that are written or lost
  bool waiting = false;   // the writer has nothing to do
  bool stop = false;
  std::atomic<uint64_t> dropped = 0;
  bool torn = false;  // the writer's: the last write ended within a line
  std::thread thread;

  static uint64_t CountLines(std::string_view text) {
    return static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
  }

  // Whole lines; what the system doesn't take is lost.
  void WriteAll(std::string_view text) {
    if (torn) {
      // Ends the line that was cut off. Its rest is lost anyway.
      if (write(options.descriptor, "\n", 1) == 1) torn = false;
    }
    while (!text.empty()) {
      const ssize_t count = write(options.descriptor, text.data(), text.size());
      if (count > 0) {
        torn = text[static_cast<size_t>(count) - 1] != '\n';
        text.remove_prefix(static_cast<size_t>(count));
      } else if (count < 0 && errno == EAGAIN) {
        // Somebody else has made it non-blocking.
        pollfd ready = {
            .fd = options.descriptor, .events = POLLOUT, .revents = 0};
        poll(&ready, 1, -1);
      } else if (count == 0 || errno != EINTR) {
        dropped.fetch_add(CountLines(text), std::memory_order_relaxed);
        return;
      }
    }
  }

  void Run() {
    std::string batch;
    std::unique_lock lock(mutex);
    while (true) {
      waiting = true;
      work.wait(lock, [&] { return stop || !buffer.empty(); });
      waiting = false;
      if (buffer.empty()) return;
      std::swap(batch, buffer);
      const uint64_t lines = CountLines(batch);
      lock.unlock();
      WriteAll(batch);
      batch.clear();
      lock.lock();
      done += lines;
      written.notify_all();
    }
  }
};

StderrSink::StderrSink(Options options)
    : state_(std::make_shared<State>(options)) {
  const braid::detail::AllSignalsBlocked blocked;
  state_->thread = std::thread([state = state_] { state->Run(); });
  pthread_setname_np(state_->thread.native_handle(), "braid-log");
}

StderrSink::~StderrSink() {
  const bool flushed = Flush(state_->options.flush_limit);
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->work.notify_one();
  // A thread that is stuck in a write would hold up the end of the process for
  // ever. Left behind, it writes what it can until then.
  if (flushed) {
    state_->thread.join();
  } else {
    state_->thread.detach();
  }
}

void StderrSink::Write(LogLevel /*level*/, std::string_view line) noexcept {
  State& state = *state_;
  bool wake = false;
  {
    const std::lock_guard lock(state.mutex);
    if (state.buffer.size() + line.size() + 1 > state.options.buffer_bytes) {
      state.dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    try {
      state.buffer.reserve(state.buffer.size() + line.size() + 1);
    } catch (...) {
      state.dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    state.buffer += line;
    state.buffer += '\n';
    state.accepted += 1 + State::CountLines(line);
    wake = std::exchange(state.waiting, false);
  }
  if (wake) state.work.notify_one();
}

bool StderrSink::Flush(std::chrono::milliseconds limit) {
  std::unique_lock lock(state_->mutex);
  const uint64_t target = state_->accepted;
  return state_->written.wait_for(lock, limit,
                                  [&] { return state_->done >= target; });
}

uint64_t StderrSink::dropped() const noexcept {
  return state_->dropped.load(std::memory_order_relaxed);
}

}  // namespace braid::service
