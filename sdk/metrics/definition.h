// What a metric is called, what it means and which labels it has; and the rules
// that names follow.
//
// The rules are Prometheus' own (https://prometheus.io/docs/practices/naming)
// and those of `promtool check metrics`: a prefix, snake_case, base units,
// `_total` on counters and on nothing else, no suffix that belongs to
// histograms and summaries, labels that don't collide with what the scrape
// adds. Breaking one is an error at registration, so that no name has to be
// changed once dashboards use it.

#ifndef BRAID_METRICS_DEFINITION_H_
#define BRAID_METRICS_DEFINITION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace braid::metrics {

enum class Kind : uint8_t { kCounter, kGauge, kHistogram };

// "counter", "gauge", "histogram".
std::string_view KindName(Kind kind);

struct Definition {
  // Prefix, what is measured, base unit, and `_total` for a counter:
  // "udp_echo_received_bytes_total".
  std::string name;
  // One sentence for a person who sees the name for the first time. Any text;
  // it is escaped where it has to be.
  std::string help;
  // Names of the labels that tell the series of a family apart. Values must
  // come from a bounded set: not addresses, paths, ids or messages.
  std::vector<std::string> labels = {};
  // How many series a family may have. A value beyond that counts in one series
  // that has "overflow" for every label, and in braid_metrics_overflow_total.
  size_t max_series = 1000;
};

// INVALID_ARGUMENT with a message that names the metric, the rule and the way
// out, if `definition` breaks a rule.
absl::Status Validate(Kind kind, const Definition& definition);

// The last word of `name`, without `_total`, if it is a base unit ("seconds",
// "bytes"), otherwise empty.
std::string_view UnitOf(std::string_view name);

}  // namespace braid::metrics

#endif  // BRAID_METRICS_DEFINITION_H_
