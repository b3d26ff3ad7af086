// Logger: structured lines for people and machines.
//
//   Logger log(options, sink);
//   log.Info("listening on {}", address);  // {fmt}, checked by the compiler
//   log.Warning({{"peer", peer}, {"bytes", n}}, "datagram too long");
//   Logger rpc_log = log.With({{"component", "rpc"}});
//
//   time=2026-03-01T12:00:00.000123Z level=info service=udp_echo task=main
//   task_id=1 msg="listening on 127.0.0.1:7"            (all in one line)
//
// A line says when, how bad, which service, which Braid task wrote it (if one
// did), what its trace is, the message, and the fields. It is always one line
// of valid UTF-8, whatever is in the values.
//
// Logging never waits and never fails: lines go to a LogSink, which takes them
// or counts them as dropped; the next line says how many were dropped so far.
// Messages that repeat are thinned out: of one format string and level,
// `repeat_limit` lines a second; the next one says how many were left out.
//
// A Logger is a value: copies write to the same place. Nothing is global: each
// host has its own. Threads: any; SetLevel works at once on all copies.

#ifndef BRAID_SERVICE_LOG_H_
#define BRAID_SERVICE_LOG_H_

#include <fmt/core.h>

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/statusor.h"

namespace spdlog::sinks {
class sink;
}  // namespace spdlog::sinks

namespace braid::service {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError, kOff };

// "debug", "info", "warning", "error", "off".
std::string_view LogLevelName(LogLevel level);
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name);

enum class LogFormat : uint8_t {
  kText,  // key=value pairs (logfmt)
  kJson,  // one object a line
};

// Where lines go. Any thread may call it, several at a time; it must not wait
// and must not throw. stderr_sink.h has the usual one; a simulation and a test
// keep lines in memory.
class LogSink {
 public:
  virtual ~LogSink() = default;

  // `line` has no newline at its end, and is the caller's again when this
  // returns.
  virtual void Write(LogLevel level, std::string_view line) noexcept = 0;
  // How many lines could not be taken, or were lost after that.
  virtual uint64_t dropped() const noexcept { return 0; }
};

struct LogOptions {
  std::string service = {};  // its name, on every line
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  // The host's wall clock. Without one, lines have no time (a journal adds its
  // own) and repeats are not thinned out.
  std::function<std::chrono::system_clock::time_point()> clock = {};
  // The trace that the code which logs works for, as lower-case hexadecimal
  // digits; empty for none. Called for each line, on the thread that logs.
  std::function<std::string()> trace_id = {};
  // Lines a second of one format string and level; 0 for no limit. Errors are
  // limited too.
  uint32_t repeat_limit = 20;
  // Sinks of spdlog that get the lines too: files that rotate, syslog. They get
  // the pattern "%v". They run on the thread that logs and wait as long as they
  // like; one that throws is counted and kept.
  std::vector<std::shared_ptr<spdlog::sinks::sink>> spdlog_sinks = {};
};

// A key and its value, for the duration of the call they are in.
class LogField {
 public:
  template <typename T>
    requires std::convertible_to<const T&, std::string_view>
  LogField(std::string_view key, const T& value)
      : key_(key), kind_(Kind::kText), text_(value) {}
  LogField(std::string_view key, bool value)
      : key_(key), kind_(Kind::kBool), number_(value ? 1 : 0) {}
  template <std::signed_integral T>
  LogField(std::string_view key, T value)
      : key_(key),
        kind_(Kind::kSigned),
        number_(static_cast<uint64_t>(int64_t{value})) {}
  template <std::unsigned_integral T>
  LogField(std::string_view key, T value)
      : key_(key), kind_(Kind::kUnsigned), number_(value) {}
  LogField(std::string_view key, double value)
      : key_(key), kind_(Kind::kReal), real_(value) {}
  // In seconds.
  template <typename Rep, typename Period>
  LogField(std::string_view key, std::chrono::duration<Rep, Period> value)
      : LogField(key, std::chrono::duration<double>(value).count()) {}

 private:
  friend class LineWriter;
  enum class Kind : uint8_t { kText, kBool, kSigned, kUnsigned, kReal };

  std::string_view key_;
  Kind kind_;
  std::string_view text_;
  uint64_t number_ = 0;
  double real_ = 0;
};

using LogFields = std::initializer_list<LogField>;

// What became of lines since the logger was made.
struct LogStats {
  std::array<uint64_t, 4> lines{};  // given to the sinks, by level
  uint64_t thinned_out = 0;         // left out as repeats
  uint64_t dropped = 0;             // by the LogSink
  uint64_t sink_errors = 0;         // exceptions from sinks of spdlog
};

class Logger {
 public:
  // `sink` is kept. Null: lines only go to the sinks of spdlog.
  Logger(LogOptions options, std::shared_ptr<LogSink> sink);
  Logger(const Logger&) = default;
  Logger(Logger&&) = default;
  Logger& operator=(const Logger&) = default;
  Logger& operator=(Logger&&) = default;
  ~Logger();

  // The arguments after the format are {fmt}'s. Nothing is formatted for a
  // level that is off.
  template <typename... Args>
  void Debug(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kDebug, {}, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Debug(LogFields fields, fmt::format_string<Args...> format,
             Args&&... args) const {
    Log(LogLevel::kDebug, fields, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Info(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kInfo, {}, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Info(LogFields fields, fmt::format_string<Args...> format,
            Args&&... args) const {
    Log(LogLevel::kInfo, fields, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Warning(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kWarning, {}, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Warning(LogFields fields, fmt::format_string<Args...> format,
               Args&&... args) const {
    Log(LogLevel::kWarning, fields, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Error(fmt::format_string<Args...> format, Args&&... args) const {
    Log(LogLevel::kError, {}, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void Error(LogFields fields, fmt::format_string<Args...> format,
             Args&&... args) const {
    Log(LogLevel::kError, fields, format, std::forward<Args>(args)...);
  }
  // For a level that is only known when it runs.
  template <typename... Args>
  void Log(LogLevel level, LogFields fields, fmt::format_string<Args...> format,
           Args&&... args) const {
    if (!Enabled(level)) return;
    const fmt::string_view text = format;
    Write(level, {fields.begin(), fields.size()}, {text.data(), text.size()},
          fmt::make_format_args(args...));
  }

  // A logger whose lines have these fields as well.
  Logger With(LogFields fields) const;

  bool Enabled(LogLevel level) const {
    return level >= level_->load(std::memory_order_relaxed);
  }
  LogLevel level() const { return level_->load(std::memory_order_relaxed); }
  // For all copies of this logger.
  void SetLevel(LogLevel level) const {
    level_->store(level, std::memory_order_relaxed);
  }

  LogStats stats() const;

 private:
  struct Core;

  void Write(LogLevel level, std::span<const LogField> fields,
             std::string_view format, fmt::format_args args) const;

  std::shared_ptr<Core> core_;
  std::atomic<LogLevel>* level_;  // in the core
  std::string fields_;            // of With, as they are written
};

}  // namespace braid::service

#endif  // BRAID_SERVICE_LOG_H_
