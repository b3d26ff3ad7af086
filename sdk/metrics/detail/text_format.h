// Writes samples in Prometheus' text formats: 0.0.4 and OpenMetrics 1.0.0.
//
// Sources: https://prometheus.io/docs/instrumenting/exposition_formats and the
// OpenMetrics 1.0 specification.

#ifndef BRAID_METRICS_DETAIL_TEXT_FORMAT_H_
#define BRAID_METRICS_DETAIL_TEXT_FORMAT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "braid/metrics/detail/family_state.h"
#include "braid/metrics/exposition.h"
#include "prometheus/metric_family.h"

namespace braid::metrics::detail {

class TextFormat {
 public:
  // Text is appended to `out`, which outlives this.
  TextFormat(Format format, std::string& out) : format_(format), out_(out) {}

  // The lines before the samples of a family. `name` is the one that samples
  // have in the text format. `total_is_free`: no other family has the name
  // without _total, which OpenMetrics gives a counter.
  void Head(std::string_view name, std::string_view help,
            prometheus::MetricType type, bool total_is_free);

  // A series of a registry's own family.
  void Write(const FamilyState& family, std::string_view key,
             const Totals& totals);
  // A series of prometheus-cpp's data model.
  void Write(const prometheus::MetricFamily& family,
             const prometheus::ClientMetric& metric);

  void End();

 private:
  // name{labels,extra}, without a value.
  void Begin(std::string_view name, std::string_view suffix,
             std::string_view labels, std::string_view extra);
  // Values, up to the end of the line.
  void Value(double value, int64_t timestamp_ms = 0);
  void Value(uint64_t value, int64_t timestamp_ms = 0);
  void Finish(int64_t timestamp_ms);
  void WriteExemplar(double value, const Exemplar& exemplar);

  Format format_;
  std::string& out_;
  std::string labels_;  // of the series being written
};

}  // namespace braid::metrics::detail

#endif  // BRAID_METRICS_DETAIL_TEXT_FORMAT_H_
