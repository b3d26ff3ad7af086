// braid_loop_*: what the loops of a program do. One series for each loop,
// labelled with its number.

#ifndef BRAID_METRICS_RUNTIME_H_
#define BRAID_METRICS_RUNTIME_H_

#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/detail/loop.h"
#include "braid/metrics/registry.h"
#include "prometheus/metric_family.h"

namespace braid::metrics {

// The families for these loops, in prometheus-cpp's data model; the label
// `loop` is the place in the span.
std::vector<prometheus::MetricFamily> RuntimeFamilies(
    std::span<const LoopStats> loops);

// Adds them to the registry. `read` gives each loop's statistics, always in the
// same order, and is called on the thread that scrapes. A loop's stats() may be
// read on the loop's own thread only: where that is another one, hand over
// copies.
absl::Status AddRuntimeMetrics(Registry& registry,
                               std::function<std::vector<LoopStats>()> read);

}  // namespace braid::metrics

#endif  // BRAID_METRICS_RUNTIME_H_
