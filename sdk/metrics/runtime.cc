#include "braid/metrics/runtime.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace braid::metrics {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

struct Row {
  const char* name;
  const char* help;
  MetricType type;
  uint64_t LoopStats::* field;
};

constexpr Row kRows[] = {
    {"braid_loop_turns_total", "Times a loop worked on its ready queue.",
     MetricType::Counter, &LoopStats::turns},
    {"braid_loop_switches_total", "Times a loop gave its thread to a task.",
     MetricType::Counter, &LoopStats::switches},
    {"braid_loop_tasks_started_total", "Tasks started.", MetricType::Counter,
     &LoopStats::tasks_started},
    {"braid_loop_tasks", "Tasks alive.", MetricType::Gauge,
     &LoopStats::tasks_alive},
    {"braid_loop_ready_tasks", "Tasks that wait for the thread.",
     MetricType::Gauge, &LoopStats::ready},
    {"braid_loop_timers", "Timers armed.", MetricType::Gauge,
     &LoopStats::timers},
    {"braid_loop_timers_fired_total", "Timers fired.", MetricType::Counter,
     &LoopStats::timers_fired},
    {"braid_loop_cancelled_total",
     "Tasks and scopes that a cancellation reached.", MetricType::Counter,
     &LoopStats::cancels_delivered},
    {"braid_loop_cleanup_failures_total",
     "Clean-ups that failed or hit their limit where no result could say so.",
     MetricType::Counter, &LoopStats::cleanup_failures},
    {"braid_loop_posts_total", "Hand-overs from other threads.",
     MetricType::Counter, &LoopStats::posts},
    {"braid_loop_frame_pool_bytes",
     "Memory of ended coroutines that is kept for the next ones.",
     MetricType::Gauge, &LoopStats::frame_pool_bytes},
    {"braid_loop_frame_pool_misses_total",
     "Coroutine frames and records whose memory came from malloc.",
     MetricType::Counter, &LoopStats::frame_pool_misses},
};

class RuntimeCollector final : public prometheus::Collectable {
 public:
  explicit RuntimeCollector(std::function<std::vector<LoopStats>()> read)
      : read_(std::move(read)) {}

  std::vector<MetricFamily> Collect() const override {
    return RuntimeFamilies(read_());
  }

 private:
  std::function<std::vector<LoopStats>()> read_;
};

}  // namespace

std::vector<MetricFamily> RuntimeFamilies(std::span<const LoopStats> loops) {
  std::vector<MetricFamily> families;
  for (const Row& row : kRows) {
    MetricFamily& family = families.emplace_back();
    family.name = row.name;
    family.help = row.help;
    family.type = row.type;
    for (size_t i = 0; i < loops.size(); ++i) {
      auto& metric = family.metric.emplace_back();
      metric.label = {{.name = "loop", .value = std::to_string(i)}};
      (row.type == MetricType::Counter ? metric.counter.value
                                       : metric.gauge.value) =
          static_cast<double>(loops[i].*row.field);
    }
  }
  return families;
}

absl::Status AddRuntimeMetrics(Registry& registry,
                               std::function<std::vector<LoopStats>()> read) {
  if (read == nullptr)
    return absl::InvalidArgumentError(
        "the function that reads the loops' statistics is null");
  return registry.AddCollectable(
      std::make_shared<RuntimeCollector>(std::move(read)));
}

}  // namespace braid::metrics
