#include "braid/service/detail/process.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "braid/backend/errno_status.h"
#include "braid/backend/sim/simulation.h"
#include "braid/metrics/process.h"
#include "braid/service/stderr_sink.h"

namespace braid::service::detail {
namespace {

constexpr size_t kLargestConfig = 1 << 20;

absl::Status TooLarge(const std::string& name) {
  return absl::InvalidArgumentError(absl::StrCat(
      "--config=", name, ": is larger than ", kLargestConfig, " bytes"));
}

absl::StatusOr<ConfigFile> ReadConfigFile(const std::string& name,
                                          bool reload) {
  ConfigFile file = {name, ""};
  struct stat about = {};
  // lint: allow(io): before the loop runs, and on a reload; a small local file
  if (reload && ::stat(name.c_str(), &about) == 0 && !S_ISREG(about.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--config=", name,
        ": can't be read again; it must be a regular file for that"));
  }
  // lint: allow(io): as above
  std::FILE* stream = std::fopen(name.c_str(), "re");
  if (stream == nullptr)
    return absl::InvalidArgumentError(
        ErrnoStatus(errno, "--config=" + name).message());
  file.text.resize(kLargestConfig + 1);
  // lint: allow(io): as above
  file.text.resize(std::fread(file.text.data(), 1, file.text.size(), stream));
  const int error = std::ferror(stream) != 0 ? errno : 0;
  std::fclose(stream);
  if (error != 0)
    return absl::InvalidArgumentError(
        ErrnoStatus(error, "--config=" + name).message());
  if (file.text.size() > kLargestConfig) return TooLarge(name);
  return file;
}

// The same from the disk of a simulated host.
absl::StatusOr<ConfigFile> ReadConfigFile(SimHost& host,
                                          const std::string& name) {
  std::optional<std::string> text = host.disk().Get(name);
  if (!text.has_value())
    return absl::InvalidArgumentError(
        ErrnoStatus(ENOENT, "--config=" + name).message());
  if (text->size() > kLargestConfig) return TooLarge(name);
  return ConfigFile{name, *std::move(text)};
}

class OwnProcess final : public Process {
 public:
  std::shared_ptr<LogSink> log() override {
    if (sink_ == nullptr) sink_ = std::make_shared<StderrSink>();
    return sink_;
  }
  bool Say(const std::string& text) override {
    return std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  }
  void Complain(const std::string& line) override {
    std::fputs((line + "\n").c_str(), stderr);
  }
  absl::StatusOr<ConfigFile> ReadConfig(const std::string& name,
                                        bool reload) override {
    return ReadConfigFile(name, reload);
  }
  absl::Status AddMetrics(metrics::Registry& registry) override {
    return metrics::AddProcessMetrics(registry, metrics::RealProcessReader());
  }
  Notifier MakeNotifier(Host& host) override { return Notifier(host); }
  void Exit(int code) override {
    if (sink_ != nullptr) sink_->Flush(std::chrono::milliseconds(200));
    std::_Exit(code);
  }

 private:
  std::shared_ptr<StderrSink> sink_;
};

// Lines of the log in a simulation's trace.
class TraceSink final : public LogSink {
 public:
  explicit TraceSink(SimHost& host) : host_(host) {}
  void Write(LogLevel, std::string_view line) noexcept override {
    host_.Note(line);
  }

 private:
  SimHost& host_;
};

class NoSink final : public LogSink {
 public:
  void Write(LogLevel, std::string_view) noexcept override {}
};

class SharedProcess final : public Process {
 public:
  explicit SharedProcess(std::shared_ptr<LogSink> sink)
      : sink_(std::move(sink)) {
    if (sink_ != nullptr) return;
    if (SimHost* host = SimHost::CurrentOrNull(); host != nullptr) {
      sink_ = std::make_shared<TraceSink>(*host);
    } else {
      sink_ = std::make_shared<NoSink>();
    }
  }

  std::shared_ptr<LogSink> log() override { return sink_; }
  bool Say(const std::string& text) override {
    sink_->Write(LogLevel::kInfo, text);
    return true;
  }
  void Complain(const std::string& line) override {
    sink_->Write(LogLevel::kError, line);
  }
  absl::StatusOr<ConfigFile> ReadConfig(const std::string& name,
                                        bool reload) override {
    SimHost* host = SimHost::CurrentOrNull();
    return host != nullptr ? ReadConfigFile(*host, name)
                           : ReadConfigFile(name, reload);
  }
  absl::Status AddMetrics(metrics::Registry&) override {
    return absl::OkStatus();
  }
  Notifier MakeNotifier(Host&) override { return Notifier(); }
  void Exit(int) override {}

 private:
  std::shared_ptr<LogSink> sink_;
};

}  // namespace

std::unique_ptr<Process> MakeOwnProcess() {
  return std::make_unique<OwnProcess>();
}

std::unique_ptr<Process> MakeSharedProcess(std::shared_ptr<LogSink> sink) {
  return std::make_unique<SharedProcess>(std::move(sink));
}

}  // namespace braid::service::detail
