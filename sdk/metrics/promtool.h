// For tests: asks Prometheus' own tools what they think of an exposition.

#ifndef BRAID_METRICS_PROMTOOL_H_
#define BRAID_METRICS_PROMTOOL_H_

#include <optional>
#include <string>
#include <string_view>

namespace braid::metrics {

// What `promtool check metrics` says against `text` in the format 0.0.4: empty
// if all is well. Nothing if promtool isn't installed (Debian's package
// prometheus has it); then the test should skip loudly.
std::optional<std::string> PromtoolComplaints(std::string_view text);

// The same for OpenMetrics 1.0.0, by the strict parser of Python's
// prometheus_client (Debian's python3-prometheus-client).
std::optional<std::string> OpenMetricsComplaints(std::string_view text);

}  // namespace braid::metrics

#endif  // BRAID_METRICS_PROMTOOL_H_
