#include "tests/bench/load.h"

#include <sys/prctl.h>
#include <time.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

constexpr int64_t kWarmUp = 100'000'000;

int64_t Read(clockid_t clock) {
  timespec now;
  if (clock_gettime(clock, &now) != 0) Die("clock_gettime", errno);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// The CPU clock of another process counts all its threads to the nanosecond,
// running ones included; the first field of /proc/PID/task/TID/schedstat lags
// by up to a scheduler tick.
int64_t CpuOf(pid_t process) {
  clockid_t clock;
  if (int error = clock_getcpuclockid(process, &clock))
    Die("CPU clock of the server", error);
  return Read(clock);
}

}  // namespace

LoadOptions ParseLoad(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  LoadOptions options;
  for (int i = 1; i < argc; ++i) {
    if (auto value = FlagValue(argc, argv, i, "--bench")) {
      options.bench = *value;
      const size_t end = options.bench.rfind('_');
      if (options.bench.starts_with("sweep_")) {
        options.size =
            SizeInName(options.bench, options.bench.substr(0, end)).value_or(0);
      }
    } else if (auto value = FlagValue(argc, argv, i, "--port")) {
      options.port = static_cast<int>(ParseNumber("--port", *value));
    } else if (auto value = FlagValue(argc, argv, i, "--server-pid")) {
      options.server = static_cast<pid_t>(ParseNumber("--server-pid", *value));
    } else if (auto value = FlagValue(argc, argv, i, "--seconds")) {
      options.seconds = std::strtod(std::string(*value).c_str(), nullptr);
    } else if (auto value = FlagValue(argc, argv, i, "--ops")) {
      options.ops = ParseNumber("--ops", *value);
    } else {
      Die(argv[i], "unknown argument");
    }
  }
  if (options.port == 0 || options.server == 0)
    Die("arguments", "--port and --server-pid are needed");
  if ((options.seconds > 0) == (options.ops > 0))
    Die("arguments", "one of --seconds and --ops is needed");
  return options;
}

int64_t WallNow() { return Read(CLOCK_MONOTONIC); }

Window::Window(const LoadOptions& options, ServerThreads server_threads)
    : options_(options), server_threads_(server_threads) {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  starts_at_ = WallNow() + (bursts() ? 0 : kWarmUp);
  ends_at_ = bursts()
                 ? kNever
                 : starts_at_ + static_cast<int64_t>(options_.seconds * 1e9);
}

Window::Sample Window::Take(uint64_t answered) const {
  int64_t run_delay = RunDelay("/proc/thread-self/schedstat");
  if (server_threads_ == ServerThreads::kOne) {
    run_delay +=
        RunDelay("/proc/" + std::to_string(options_.server) + "/schedstat");
  }
  return {answered, WallNow(), CpuOf(options_.server), run_delay};
}

bool Window::Over(uint64_t answered) {
  // With --ops the server may be gone by the time that the last answer is seen.
  if (bursts()) {
    last_.answered = answered;
    return answered >= options_.ops;
  }
  int64_t now = WallNow();
  if (!started_ && now >= starts_at_) {
    started_ = true;
    first_ = Take(answered);
  }
  // Without an answer in it, the window would say nothing: it goes on for one.
  if (now < ends_at_ || answered == first_.answered) return false;
  last_ = Take(answered);
  return true;
}

void Window::Print(uint64_t resent) const {
  uint64_t ops = last_.answered - first_.answered;
  if (bursts()) {
    std::printf(
        "{\"bench\": \"%s\", \"ops\": %llu, \"wall_ns_per_op\": null, "
        "\"cpu_ns_per_op\": null, ",
        options_.bench.c_str(), static_cast<unsigned long long>(ops));
    std::printf(
        "\"run_delay_ns\": null, \"server_busy\": null, \"resent\": %llu}\n",
        static_cast<unsigned long long>(resent));
    return;
  }
  auto wall = static_cast<double>(last_.wall - first_.wall);
  auto cpu = static_cast<double>(last_.server_cpu - first_.server_cpu);
  auto divisor = static_cast<double>(ops);
  std::printf(
      "{\"bench\": \"%s\", \"ops\": %llu, \"wall_ns_per_op\": %.3f, "
      "\"cpu_ns_per_op\": %.3f, ",
      options_.bench.c_str(), static_cast<unsigned long long>(ops),
      wall / divisor, cpu / divisor);
  std::printf(
      "\"run_delay_ns\": %lld, \"server_busy\": %.3f, \"resent\": %llu}\n",
      static_cast<long long>(last_.run_delay - first_.run_delay), cpu / wall,
      static_cast<unsigned long long>(resent));
}

}  // namespace braid::bench
