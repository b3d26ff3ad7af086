#include "tests/bench/subject.h"

#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace braid::bench {
namespace {

constexpr int kWrongArguments = 2;

int64_t Nanoseconds(clockid_t clock) {
  timespec now;
  if (clock_gettime(clock, &now) != 0) Die("clock_gettime", errno);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

std::string Json(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value);
  return text;
}

void Complain(std::string_view what, std::string_view why) {
  std::fprintf(stderr, "%s: %.*s: %.*s\n", program_invocation_short_name,
               static_cast<int>(what.size()), what.data(),
               static_cast<int>(why.size()), why.data());
}

[[noreturn]] void WrongArgument(std::string_view flag, std::string_view why) {
  Complain(flag, why);
  std::_Exit(kWrongArguments);
}

// Null unless alloc_count.cc is preloaded.
std::optional<int64_t> Allocations() {
  auto* count = reinterpret_cast<uint64_t (*)()>(
      dlsym(RTLD_DEFAULT, "BraidBenchAllocations"));
  if (count == nullptr) return std::nullopt;
  return static_cast<int64_t>(count());
}

}  // namespace

void Die(std::string_view what, std::string_view why) {
  Complain(what, why);
  std::_Exit(1);
}

void Die(std::string_view what, int error) { Die(what, std::strerror(error)); }

std::optional<std::string_view> FlagValue(int argc, char** argv, int& index,
                                          std::string_view name) {
  std::string_view argument = argv[index];
  if (argument == name) {
    if (++index == argc) WrongArgument(name, "needs a value");
    return argv[index];
  }
  if (argument.starts_with(name) && argument[name.size()] == '=')
    return argument.substr(name.size() + 1);
  return std::nullopt;
}

uint64_t ParseNumber(std::string_view flag, std::string_view value) {
  uint64_t number = 0;
  auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size())
    WrongArgument(flag, "is not a whole number: " + std::string(value));
  return number;
}

int64_t RunDelay(const std::string& path) {
  FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return 0;
  long long delay = 0;
  if (std::fscanf(file, "%*d %lld", &delay) != 1) delay = 0;
  std::fclose(file);
  return delay;
}

Run::Run(std::string bench, uint64_t size, uint64_t ops, int port,
         std::string backend, bool untimed)
    : bench_(std::move(bench)),
      size_(size),
      ops_(ops),
      port_(port),
      backend_(std::move(backend)),
      untimed_(untimed) {}

Run::Clocks Run::Now() {
  return {Nanoseconds(CLOCK_MONOTONIC), Nanoseconds(CLOCK_PROCESS_CPUTIME_ID),
          RunDelay("/proc/thread-self/schedstat")};
}

void Run::Start() {
  if (untimed_) return;
  timed_ = true;
  started_ = Now();
}

void Run::Stop() {
  if (untimed_) return;
  Clocks now = Now();
  spent_.wall += now.wall - started_.wall;
  spent_.cpu += now.cpu - started_.cpu;
  spent_.run_delay += now.run_delay - started_.run_delay;
}

void Run::Listening(int port) {
  std::printf("{\"listening\": %d}\n", port);
  std::fflush(stdout);
}

void Run::Print() const {
  auto per_op = [this](std::optional<int64_t> total) -> std::string {
    if (!total || done_ == 0) return "null";
    return Json(static_cast<double>(*total) / static_cast<double>(done_));
  };
  auto timed = [this](int64_t nanoseconds) -> std::optional<int64_t> {
    if (!timed_) return std::nullopt;
    return nanoseconds;
  };
  auto whole = [](std::optional<int64_t> number) {
    return number ? std::to_string(*number) : "null";
  };
  std::printf(
      "{\"bench\": \"%s\", \"ops\": %llu, \"wall_ns_per_op\": %s, "
      "\"cpu_ns_per_op\": %s, \"run_delay_ns\": %s, "
      "\"bytes_per_op\": %s, \"allocations\": %s}\n",
      bench_.c_str(), static_cast<unsigned long long>(done_),
      per_op(timed(spent_.wall)).c_str(), per_op(timed(spent_.cpu)).c_str(),
      whole(timed(spent_.run_delay)).c_str(), per_op(bytes_).c_str(),
      whole(Allocations()).c_str());
  std::fflush(stdout);
}

int64_t ResidentBytes() {
  FILE* file = std::fopen("/proc/self/statm", "r");
  long long pages = 0;
  if (file == nullptr || std::fscanf(file, "%*d %lld", &pages) != 1)
    Die("/proc/self/statm", "has no second field");
  std::fclose(file);
  return pages * sysconf(_SC_PAGESIZE);
}

std::optional<uint64_t> SizeInName(std::string_view name,
                                   std::string_view family) {
  if (!name.starts_with(family)) return std::nullopt;
  name.remove_prefix(family.size());
  if (name.size() < 2 || name.front() != '_') return std::nullopt;
  name.remove_prefix(1);
  uint64_t size = 0;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), size);
  if (error != std::errc() || end != name.data() + name.size() || size == 0)
    return std::nullopt;
  return size;
}

void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) Die("getrlimit", errno);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) Die("setrlimit", errno);
}

int SubjectMain(int argc, char** argv, std::span<const Bench> benches) {
  // A server must not outlive a driver that was killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::string bench;
  std::string backend;
  uint64_t ops = 0;
  uint64_t port = 0;
  bool untimed = false;
  for (int i = 1; i < argc; ++i) {
    if (auto name = FlagValue(argc, argv, i, "--bench")) {
      bench = *name;
    } else if (auto number = FlagValue(argc, argv, i, "--ops")) {
      ops = ParseNumber("--ops", *number);
    } else if (auto number = FlagValue(argc, argv, i, "--port")) {
      port = ParseNumber("--port", *number);
      if (port > 65535) WrongArgument("--port", "is at most 65535");
    } else if (auto name = FlagValue(argc, argv, i, "--backend")) {
      backend = *name;
    } else if (argv[i] == std::string_view("--untimed")) {
      untimed = true;
    } else {
      std::fprintf(stderr, "%s: unknown argument %s\n",
                   program_invocation_short_name, argv[i]);
      return kWrongArguments;
    }
  }
  for (const Bench& candidate : benches) {
    std::optional<uint64_t> size;
    if (candidate.sweep) {
      size = SizeInName(bench, candidate.name);
    } else if (candidate.name == bench) {
      size = 0;
    }
    if (!size.has_value()) continue;
    Run run(bench, *size, ops, static_cast<int>(port), backend, untimed);
    candidate.body(run);
    run.Print();
    // Benches leave a million parked tasks behind; nobody waits for their end.
    std::_Exit(0);
  }
  std::fprintf(stderr, "%s: no bench '%s' here; there are:",
               program_invocation_short_name, bench.c_str());
  for (const Bench& candidate : benches)
    std::fprintf(stderr, " %s", std::string(candidate.name).c_str());
  std::fprintf(stderr, "\n");
  return kWrongArguments;
}

}  // namespace braid::bench
