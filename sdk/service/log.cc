#include "braid/service/log.h"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/check.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/task_node.h"
#include "braid/metrics/detail/text.h"

namespace braid::service {
namespace {

using WallTime = std::chrono::system_clock::time_point;

constexpr std::array<std::string_view, 5> kLevelNames = {
    "debug", "info", "warning", "error", "off"};
// Keys that a line has anyway.
constexpr std::array<std::string_view, 9> kOwnKeys = {
    "time",     "level", "service",          "task",          "task_id",
    "trace_id", "msg",   "repeats_left_out", "log_lines_lost"};
constexpr size_t kLongestValue = size_t{8} * 1024;

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

// Hands lines on to a LogSink.
class Bridge final : public spdlog::sinks::sink {
 public:
  explicit Bridge(std::shared_ptr<LogSink> sink) : sink_(std::move(sink)) {}

  void log(const spdlog::details::log_msg& message) override {
    LogLevel level = LogLevel::kError;
    if (message.level <= spdlog::level::debug) {
      level = LogLevel::kDebug;
    } else if (message.level == spdlog::level::info) {
      level = LogLevel::kInfo;
    } else if (message.level == spdlog::level::warn) {
      level = LogLevel::kWarning;
    }
    sink_->Write(level, {message.payload.data(), message.payload.size()});
  }
  void flush() override {}
  void set_pattern(const std::string& /*pattern*/) override {}
  void set_formatter(
      std::unique_ptr<spdlog::formatter> /*formatter*/) override {}

 private:
  std::shared_ptr<LogSink> sink_;
};

void AppendTwoDigits(std::string& out, unsigned number) {
  out += static_cast<char>('0' + number / 10 % 10);
  out += static_cast<char>('0' + number % 10);
}

// RFC 3339 in UTC, with microseconds.
std::string FormatTime(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(
      std::chrono::floor<std::chrono::microseconds>(time - day));
  std::string text = fmt::format("{:04}-", static_cast<int>(date.year()));
  AppendTwoDigits(text, static_cast<unsigned>(date.month()));
  text += '-';
  AppendTwoDigits(text, static_cast<unsigned>(date.day()));
  text += 'T';
  AppendTwoDigits(text, static_cast<unsigned>(clock.hours().count()));
  text += ':';
  AppendTwoDigits(text, static_cast<unsigned>(clock.minutes().count()));
  text += ':';
  AppendTwoDigits(text, static_cast<unsigned>(clock.seconds().count()));
  text += '.';
  const auto micros = static_cast<unsigned>(clock.subseconds().count());
  AppendTwoDigits(text, micros / 10000);
  AppendTwoDigits(text, micros / 100);
  AppendTwoDigits(text, micros);
  text += 'Z';
  return text;
}

// FNV-1a: the same in each run.
uint64_t Hash(LogLevel level, std::string_view text) {
  uint64_t hash = 14695981039346656037u ^ static_cast<uint64_t>(level);
  for (char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

// Thins out messages that repeat. Its memory is fixed: rare collisions make it
// forget a message, and let too many through.
class RepeatLimiter {
 public:
  explicit RepeatLimiter(uint32_t limit) : limit_(limit) {}

  // How many like this one were left out since the last that was not. Nothing:
  // leave this one out, too.
  std::optional<uint64_t> Take(uint64_t hash, WallTime now) {
    if (limit_ == 0) return 0;
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[hash % entries_.size()];
    if (entry.hash != hash) entry = {.hash = hash, .begin = now};
    // The wall clock may jump back, too.
    if (now - entry.begin >= std::chrono::seconds(1) || now < entry.begin) {
      entry.begin = now;
      entry.count = 0;
    }
    if (entry.count == limit_) {
      ++entry.left_out;
      return std::nullopt;
    }
    ++entry.count;
    return std::exchange(entry.left_out, 0);
  }

 private:
  struct Entry {
    uint64_t hash = 0;
    WallTime begin{};
    uint32_t count = 0;
    uint64_t left_out = 0;
  };

  const uint32_t limit_;
  std::mutex mutex_;
  std::array<Entry, 512> entries_;
};

}  // namespace

// Appends keys and values to a line.
class LineWriter {
 public:
  LineWriter(LogFormat format, std::string& line)
      : format_(format), line_(line) {}

  void Begin() {
    if (format_ == LogFormat::kJson) line_ += '{';
  }
  void End() {
    if (format_ == LogFormat::kJson) line_ += '}';
  }

  void Text(std::string_view key, std::string_view value) {
    Key(key);
    std::string clean;
    braid::detail::AppendUtf8(clean, value, kLongestValue);
    if (value.size() > kLongestValue) clean += "...";
    if (format_ == LogFormat::kJson || NeedsQuotes(clean)) {
      Quoted(clean);
    } else {
      line_ += clean;
    }
  }
  void Number(std::string_view key, uint64_t value) {
    Key(key);
    braid::detail::AppendInteger(line_, value);
  }
  void Field(const LogField& field) {
    const std::string key = UsersKey(field.key_);
    switch (field.kind_) {
      case LogField::Kind::kText:
        return Text(key, field.text_);
      case LogField::Kind::kBool:
        Key(key);
        line_ += field.number_ != 0 ? "true" : "false";
        return;
      case LogField::Kind::kSigned:
        Key(key);
        line_ += std::to_string(static_cast<int64_t>(field.number_));
        return;
      case LogField::Kind::kUnsigned:
        return Number(key, field.number_);
      case LogField::Kind::kReal: {
        std::string number;
        braid::detail::AppendDouble(number, field.real_);
        if (!std::isfinite(field.real_))
          return Text(key, number);  // no number in JSON
        Key(key);
        line_ += number;
        return;
      }
    }
  }
  // Fields that were written before.
  void Ready(std::string_view fields) {
    if (fields.empty()) return;
    Separate();
    line_ += fields;
  }

 private:
  static std::string UsersKey(std::string_view key) {
    std::string clean(key.substr(0, 100));
    for (char& c : clean) {
      const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                        c == '-';
      if (!good) c = '_';
    }
    if (clean.empty() ||
        std::find(kOwnKeys.begin(), kOwnKeys.end(), clean) != kOwnKeys.end())
      clean += '_';
    return clean;
  }
  static bool NeedsQuotes(std::string_view value) {
    return value.empty() || std::any_of(value.begin(), value.end(), [](char c) {
             const auto byte = static_cast<unsigned char>(c);
             return byte <= ' ' || byte == 0x7F || c == '=' || c == '"' ||
                    c == '\\';
           });
  }

  void Separate() {
    if (line_.empty() || line_.back() == '{') return;
    line_ += format_ == LogFormat::kJson ? ',' : ' ';
  }
  void Key(std::string_view key) {
    Separate();
    if (format_ == LogFormat::kJson) {
      line_.append("\"").append(key).append("\":");
    } else {
      line_.append(key).append("=");
    }
  }
  void Quoted(std::string_view value) {
    line_ += '"';
    for (char c : value) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        line_ += '\\';
        line_ += c;
      } else if (c == '\n') {
        line_ += "\\n";
      } else if (c == '\r') {
        line_ += "\\r";
      } else if (c == '\t') {
        line_ += "\\t";
      } else if (byte < 0x20 || byte == 0x7F) {
        line_ += fmt::format("\\u{:04x}", byte);
      } else {
        line_ += c;
      }
    }
    line_ += '"';
  }

  LogFormat format_;
  std::string& line_;
};

std::string_view LogLevelName(LogLevel level) {
  return kLevelNames.at(static_cast<size_t>(level));
}

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  const auto found = std::find(kLevelNames.begin(), kLevelNames.end(), name);
  if (found != kLevelNames.end())
    return static_cast<LogLevel>(found - kLevelNames.begin());
  return absl::InvalidArgumentError(braid::detail::Concat(
      "\"", braid::detail::OneLine(name),
      "\" is no log level; it must be one of debug, info, warning, "
      "error, off"));
}

struct Logger::Core {
  Core(LogOptions given, std::shared_ptr<LogSink> sink)
      : options(std::move(given)),
        sink(std::move(sink)),
        level(options.level),
        repeats(options.repeat_limit),
        spdlog("") {
    if (this->sink != nullptr)
      spdlog.sinks().push_back(std::make_shared<Bridge>(this->sink));
    for (auto& extra : options.spdlog_sinks) {
      extra->set_pattern("%v");
      spdlog.sinks().push_back(extra);
    }
    spdlog.set_level(spdlog::level::trace);
    spdlog.flush_on(spdlog::level::err);
    spdlog.set_error_handler([this](const std::string&) {
      sink_errors.fetch_add(1, std::memory_order_relaxed);
    });
  }

  LogOptions options;
  std::shared_ptr<LogSink> sink;
  std::atomic<LogLevel> level;
  RepeatLimiter repeats;
  spdlog::logger spdlog;
  std::array<std::atomic<uint64_t>, 4> lines{};
  std::atomic<uint64_t> thinned_out = 0;
  std::atomic<uint64_t> sink_errors = 0;
  // Lines that the last line said were lost.
  std::atomic<uint64_t> lost_before = 0;
};

Logger::Logger(LogOptions options, std::shared_ptr<LogSink> sink)
    : core_(std::make_shared<Core>(std::move(options), std::move(sink))),
      level_(&core_->level) {}

Logger::~Logger() = default;

Logger Logger::With(LogFields fields) const {
  Logger logger = *this;
  LineWriter writer(core_->options.format, logger.fields_);
  for (const LogField& field : fields) writer.Field(field);
  return logger;
}

LogStats Logger::stats() const {
  LogStats stats;
  for (size_t i = 0; i < stats.lines.size(); ++i)
    stats.lines[i] = core_->lines[i].load(std::memory_order_relaxed);
  stats.thinned_out = core_->thinned_out.load(std::memory_order_relaxed);
  stats.dropped = core_->sink == nullptr ? 0 : core_->sink->dropped();
  stats.sink_errors = core_->sink_errors.load(std::memory_order_relaxed);
  return stats;
}

void Logger::Write(LogLevel level, std::span<const LogField> fields,
                   std::string_view format, fmt::format_args args) const {
  Core& core = *core_;
  if (level >= LogLevel::kOff) return;
  WallTime now{};
  uint64_t left_out = 0;
  if (core.options.clock != nullptr) {
    now = core.options.clock();
    const std::optional<uint64_t> taken =
        core.repeats.Take(Hash(level, format), now);
    if (!taken.has_value()) {
      core.thinned_out.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    left_out = *taken;
  }

  std::string message;
  try {
    message =
        fmt::vformat(fmt::string_view(format.data(), format.size()), args);
  } catch (const std::exception& e) {
    // A width that is an argument can be wrong at run time, and a user's
    // formatter may throw.
    message = braid::detail::Concat(format, " (not formatted: ", e.what(), ")");
  }

  std::string line;
  LineWriter writer(core.options.format, line);
  writer.Begin();
  if (core.options.clock != nullptr) writer.Text("time", FormatTime(now));
  writer.Text("level", LogLevelName(level));
  if (!core.options.service.empty())
    writer.Text("service", core.options.service);
  if (const braid::detail::Loop* loop = braid::detail::Loop::CurrentOrNull();
      loop != nullptr && loop->current() != nullptr) {
    writer.Text("task", loop->current()->name.view());
    writer.Number("task_id", loop->current()->id);
  }
  if (core.options.trace_id != nullptr) {
    if (const std::string trace = core.options.trace_id(); !trace.empty())
      writer.Text("trace_id", trace);
  }
  writer.Text("msg", message);
  writer.Ready(fields_);
  for (const LogField& field : fields) writer.Field(field);
  if (left_out != 0) writer.Number("repeats_left_out", left_out);
  if (core.sink != nullptr) {
    const uint64_t lost = core.sink->dropped();
    if (core.lost_before.exchange(lost, std::memory_order_relaxed) != lost)
      writer.Number("log_lines_lost", lost);
  }
  writer.End();

  core.lines[static_cast<size_t>(level)].fetch_add(1,
                                                   std::memory_order_relaxed);
  // Sinks that throw are the error handler's.
  core.spdlog.log(now, spdlog::source_loc{}, ToSpdlog(level),
                  spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace braid::service
