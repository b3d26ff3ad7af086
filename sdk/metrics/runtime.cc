#include "braid/metrics/runtime.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <utility>

#include "braid/core/check.h"
#include "braid/core/detail/loop.h"
#include "braid/core/sleep.h"

namespace braid::metrics {
namespace {

constexpr Duration kUpdateEvery = std::chrono::seconds(1);

struct Row {
  const char* name;
  const char* help;
  Kind kind;
  uint64_t LoopStats::* field;
};

constexpr Row kRows[] = {
    {"braid_loop_turns_total", "Times a loop worked on its ready queue.",
     Kind::kCounter, &LoopStats::turns},
    {"braid_loop_switches_total", "Times a loop gave its thread to a task.",
     Kind::kCounter, &LoopStats::switches},
    {"braid_loop_tasks_started_total", "Tasks started.", Kind::kCounter,
     &LoopStats::tasks_started},
    {"braid_loop_tasks", "Tasks alive.", Kind::kGauge, &LoopStats::tasks_alive},
    {"braid_loop_ready_tasks", "Tasks that wait for the thread.", Kind::kGauge,
     &LoopStats::ready},
    {"braid_loop_timers", "Timers armed.", Kind::kGauge, &LoopStats::timers},
    {"braid_loop_timers_fired_total", "Timers fired.", Kind::kCounter,
     &LoopStats::timers_fired},
    {"braid_loop_cancelled_total",
     "Tasks and scopes that a cancellation reached.", Kind::kCounter,
     &LoopStats::cancels_delivered},
    {"braid_loop_cleanup_failures_total",
     "Clean-ups that failed or hit their limit where no result could say so.",
     Kind::kCounter, &LoopStats::cleanup_failures},
    {"braid_loop_posts_total", "Hand-overs from other threads.", Kind::kCounter,
     &LoopStats::posts},
    {"braid_loop_frame_pool_bytes",
     "Memory of ended coroutines that is kept for the next ones.", Kind::kGauge,
     &LoopStats::frame_pool_bytes},
    {"braid_loop_frame_pool_misses_total",
     "Coroutine frames and records whose memory came from malloc.",
     Kind::kCounter, &LoopStats::frame_pool_misses},
};

}  // namespace

// One writer, any reader; see detail/cell.h for why that is enough.
struct LoopMetrics::Cells {
  const braid::detail::Loop* loop = &braid::detail::Loop::Current();
  std::array<std::atomic<uint64_t>, std::size(kRows)> values{};
};

LoopMetrics::LoopMetrics() : cells_(std::make_unique<Cells>()) {}
LoopMetrics::LoopMetrics(LoopMetrics&&) noexcept = default;
LoopMetrics::~LoopMetrics() = default;

absl::StatusOr<LoopMetrics> LoopMetrics::Add(Registry& registry,
                                             const std::string& loop) {
  LoopMetrics metrics;
  metrics.Update();
  for (size_t i = 0; i < std::size(kRows); ++i) {
    const Definition definition = {
        .name = kRows[i].name, .help = kRows[i].help, .labels = {"loop"}};
    std::function<double()> read = [cell = &metrics.cells_->values[i]] {
      return static_cast<double>(cell->load(std::memory_order_relaxed));
    };
    absl::StatusOr<Callback> callback =
        kRows[i].kind == Kind::kCounter
            ? registry.AddCounterCallback(definition, {loop}, std::move(read))
            : registry.AddGaugeCallback(definition, {loop}, std::move(read));
    if (!callback.ok()) return callback.status();
    metrics.callbacks_.push_back(*std::move(callback));
  }
  return metrics;
}

void LoopMetrics::Update() {
  const braid::detail::Loop& loop = braid::detail::Loop::Current();
  braid::detail::Check(&loop == cells_->loop,
                       "LoopMetrics of one loop are updated on another");
  const LoopStats stats = loop.stats();
  for (size_t i = 0; i < std::size(kRows); ++i) {
    cells_->values[i].store(stats.*kRows[i].field, std::memory_order_relaxed);
  }
}

Task<void> LoopMetrics::Keep() {
  for (;;) {
    co_await SleepFor(kUpdateEvery);
    Update();
  }
}

}  // namespace braid::metrics
