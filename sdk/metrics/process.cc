#include "braid/metrics/process.h"

#include <unistd.h>

#include <charconv>
#include <mutex>
#include <utility>
#include <vector>

namespace braid::metrics {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

std::optional<double> ToNumber(std::string_view text) {
  double number = 0;
  const auto read =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size())
    return std::nullopt;
  return number;
}

std::vector<std::string_view> Fields(std::string_view text) {
  std::vector<std::string_view> fields;
  constexpr std::string_view kSpace = " \t\n";
  for (size_t begin = text.find_first_not_of(kSpace);
       begin != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    fields.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(kSpace, end);
  }
  return fields;
}

// The text behind `prefix` at the beginning of a line, up to the end of that
// line.
std::optional<std::string_view> LineAfter(std::string_view text,
                                          std::string_view prefix) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.starts_with(prefix)) return line.substr(prefix.size());
    begin = end + 1;
  }
  return std::nullopt;
}

class ProcessCollector final : public prometheus::Collectable {
 public:
  explicit ProcessCollector(std::unique_ptr<ProcessReader> reader)
      : reader_(std::move(reader)) {}

  std::vector<MetricFamily> Collect() const override {
    const std::lock_guard lock(mutex_);
    std::vector<MetricFamily> families;
    const auto add = [&](const char* name, const char* help, MetricType type,
                         std::optional<double> value) {
      if (!value.has_value()) return;
      MetricFamily& family = families.emplace_back();
      family.name = name;
      family.help = help;
      family.type = type;
      auto& metric = family.metric.emplace_back();
      (type == MetricType::Counter ? metric.counter.value
                                   : metric.gauge.value) = *value;
    };

    // The name of the program, in parentheses, may hold anything. Behind it are
    // fields 3 and up of proc(5).
    const std::string stat = reader_->Read("/proc/self/stat").value_or("");
    const size_t name_end = stat.rfind(')');
    const std::vector<std::string_view> fields =
        Fields(name_end == std::string::npos
                   ? ""
                   : std::string_view(stat).substr(name_end + 1));
    const auto field = [&](size_t number) -> std::optional<double> {
      return number - 3 < fields.size() ? ToNumber(fields[number - 3])
                                        : std::nullopt;
    };
    const std::optional<double> user = field(14);
    const std::optional<double> system = field(15);
    if (user.has_value() && system.has_value()) {
      add("process_cpu_seconds_total",
          "User and system CPU time spent, in seconds.", MetricType::Counter,
          (*user + *system) / ticks_);
    }
    add("process_threads", "Threads of the process.", MetricType::Gauge,
        field(20));
    add("process_start_time_seconds",
        "Start time of the process, in seconds since 1970.", MetricType::Gauge,
        StartTime(field(22)));
    add("process_virtual_memory_bytes", "Virtual memory size, in bytes.",
        MetricType::Gauge, field(23));
    if (const std::optional<double> pages = field(24); pages.has_value()) {
      add("process_resident_memory_bytes", "Resident memory size, in bytes.",
          MetricType::Gauge, *pages * page_);
    }

    const std::string limits = reader_->Read("/proc/self/limits").value_or("");
    add("process_max_fds", "Most file descriptors that may be open at a time.",
        MetricType::Gauge, SoftLimit(limits, "Max open files"));
    add("process_virtual_memory_max_bytes",
        "Most virtual memory that the process may have, in bytes.",
        MetricType::Gauge, SoftLimit(limits, "Max address space"));

    if (const absl::StatusOr<size_t> open =
            reader_->CountEntries("/proc/self/fd");
        open.ok()) {
      add("process_open_fds", "Open file descriptors.", MetricType::Gauge,
          static_cast<double>(*open));
    }
    if (const std::optional<size_t> heap = reader_->HeapBytes();
        heap.has_value()) {
      add("process_heap_bytes",
          "Memory that malloc has taken from the system, in bytes.",
          MetricType::Gauge, static_cast<double>(*heap));
    }
    return families;
  }

 private:
  static std::optional<double> SoftLimit(std::string_view limits,
                                         std::string_view name) {
    const std::optional<std::string_view> line = LineAfter(limits, name);
    if (!line.has_value()) return std::nullopt;
    const std::vector<std::string_view> values = Fields(*line);
    // "unlimited" is no number.
    return values.empty() ? std::nullopt : ToNumber(values[0]);
  }

  // Read once: the boot time moves with corrections of the wall clock, the
  // start of a process doesn't.
  std::optional<double> StartTime(
      std::optional<double> ticks_after_boot) const {
    if (start_time_.has_value() || !ticks_after_boot.has_value())
      return start_time_;
    const std::string stat = reader_->Read("/proc/stat").value_or("");
    if (const std::optional<std::string_view> line = LineAfter(stat, "btime ");
        line.has_value()) {
      if (const std::optional<double> boot = ToNumber(*line);
          boot.has_value()) {
        start_time_ = *boot + *ticks_after_boot / ticks_;
      }
    }
    return start_time_;
  }

  mutable std::mutex mutex_;  // several scrapes at a time
  std::unique_ptr<ProcessReader> reader_;
  mutable std::optional<double> start_time_;
  const double ticks_ = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page_ = static_cast<double>(sysconf(_SC_PAGESIZE));
};

}  // namespace

absl::Status AddProcessMetrics(Registry& registry,
                               std::unique_ptr<ProcessReader> reader) {
  if (reader == nullptr)
    return absl::InvalidArgumentError(
        "the process reader is null; RealProcessReader() makes one");
  return registry.AddCollectable(
      std::make_shared<ProcessCollector>(std::move(reader)));
}

}  // namespace braid::metrics
