#include "braid/metrics/detail/text_format.h"

#include <cmath>
#include <limits>

#include "braid/metrics/detail/text.h"

namespace braid::metrics::detail {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

std::string_view TypeWord(MetricType type, Format format) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Summary:
      return "summary";
    case MetricType::Untyped:
      return format == Format::kText ? "untyped" : "unknown";
    case MetricType::Histogram:
      return "histogram";
  }
  return "";
}

void AppendLabel(std::string& out, std::string_view name,
                 std::string_view value) {
  if (!out.empty()) out += ',';
  out += name;
  out += "=\"";
  braid::detail::AppendEscaped(out, value, true);
  out += '"';
}

void AppendHex(std::string& out, uint64_t value) {
  for (int shift = 60; shift >= 0; shift -= 4)
    out += "0123456789abcdef"[(value >> shift) & 15];
}

}  // namespace

void TextFormat::Head(std::string_view name, std::string_view help,
                      MetricType type, bool total_is_free) {
  if (format_ == Format::kOpenMetrics && type == MetricType::Counter) {
    if (name.ends_with("_total") && total_is_free) {
      name.remove_suffix(6);
    } else {
      type = MetricType::Untyped;  // its samples keep their name, which no
                                   // OpenMetrics counter could have
    }
  }
  const auto line = [&](std::string_view keyword) -> std::string& {
    return out_.append("# ").append(keyword).append(" ").append(name).append(
        " ");
  };
  std::string text;
  braid::detail::AppendUtf8(text, help, help.size() * 3);
  braid::detail::AppendEscaped(line("HELP"), text,
                               format_ == Format::kOpenMetrics);
  out_ += '\n';
  line("TYPE").append(TypeWord(type, format_)).append("\n");
  if (format_ != Format::kOpenMetrics) return;
  if (const std::string_view unit = UnitOf(name); !unit.empty())
    line("UNIT").append(unit).append("\n");
}

void TextFormat::Begin(std::string_view name, std::string_view suffix,
                       std::string_view labels, std::string_view extra) {
  out_.append(name).append(suffix);
  if (!labels.empty() || !extra.empty()) {
    out_.append("{")
        .append(labels)
        .append(labels.empty() || extra.empty() ? "" : ",")
        .append(extra)
        .append("}");
  }
  out_ += ' ';
}

void TextFormat::Value(double value, int64_t timestamp_ms) {
  braid::detail::AppendDouble(out_, value);
  Finish(timestamp_ms);
}

void TextFormat::Value(uint64_t value, int64_t timestamp_ms) {
  braid::detail::AppendInteger(out_, value);
  Finish(timestamp_ms);
}

void TextFormat::Finish(int64_t timestamp_ms) {
  if (timestamp_ms != 0) {
    out_ += ' ';
    if (format_ == Format::kText) {
      out_ += std::to_string(timestamp_ms);
    } else {
      braid::detail::AppendDouble(out_,
                                  static_cast<double>(timestamp_ms) / 1000);
    }
  }
  out_ += '\n';
}

void TextFormat::WriteExemplar(double value, const Exemplar& exemplar) {
  out_ += " # {trace_id=\"";
  AppendHex(out_, exemplar.trace_id_high);
  AppendHex(out_, exemplar.trace_id_low);
  out_ += "\"} ";
  braid::detail::AppendDouble(out_, value);
  if (exemplar.unix_seconds != 0) {
    out_ += ' ';
    braid::detail::AppendDouble(out_, exemplar.unix_seconds);
  }
}

void TextFormat::Write(const FamilyState& family, std::string_view key,
                       const Totals& totals) {
  const Definition& definition = family.definition();
  labels_.clear();
  for (const std::string& name : definition.labels) {
    const size_t end = key.find('\xFF');
    AppendLabel(labels_, name, key.substr(0, end));
    key.remove_prefix(end + 1);
  }
  switch (family.kind()) {
    case Kind::kCounter:
      Begin(definition.name, "", labels_, "");
      if (totals.real == 0) {
        Value(totals.whole);
      } else {
        Value(static_cast<double>(totals.whole) + totals.real);
      }
      return;
    case Kind::kGauge:
      Begin(definition.name, "", labels_, "");
      Value(totals.real);
      return;
    case Kind::kHistogram:
      break;
  }
  uint64_t cumulative = 0;
  for (size_t i = 0; i < totals.buckets.size(); ++i) {
    cumulative += totals.buckets[i];
    Begin(definition.name, "_bucket", labels_, family.bound_labels()[i]);
    braid::detail::AppendInteger(out_, cumulative);
    if (format_ == Format::kOpenMetrics && !totals.exemplars.empty() &&
        totals.exemplars[i].has_value()) {
      WriteExemplar(totals.exemplars[i]->first, totals.exemplars[i]->second);
    }
    out_ += '\n';
  }
  // With negative values a sum can fall, which OpenMetrics does not allow.
  if (format_ == Format::kOpenMetrics && family.bounds().front() < 0) return;
  Begin(definition.name, "_sum", labels_, "");
  Value(totals.real);
  Begin(definition.name, "_count", labels_, "");
  Value(cumulative);
}

void TextFormat::Write(const prometheus::MetricFamily& family,
                       const ClientMetric& metric) {
  labels_.clear();
  for (const ClientMetric::Label& label : metric.label)
    AppendLabel(labels_, label.name, label.value);
  const int64_t time = metric.timestamp_ms;
  std::string extra;
  switch (family.type) {
    case MetricType::Counter:
      Begin(family.name, "", labels_, "");
      Value(metric.counter.value, time);
      return;
    case MetricType::Gauge:
      Begin(family.name, "", labels_, "");
      Value(metric.gauge.value, time);
      return;
    case MetricType::Untyped:
      Begin(family.name, "", labels_, "");
      Value(metric.untyped.value, time);
      return;
    case MetricType::Summary:
      for (const ClientMetric::Quantile& quantile : metric.summary.quantile) {
        extra = "quantile=\"";
        braid::detail::AppendCanonicalDouble(extra, quantile.quantile);
        Begin(family.name, "", labels_, extra += '"');
        Value(quantile.value, time);
      }
      Begin(family.name, "_sum", labels_, "");
      Value(metric.summary.sample_sum, time);
      Begin(family.name, "_count", labels_, "");
      Value(metric.summary.sample_count, time);
      return;
    case MetricType::Histogram:
      break;
  }
  double last = 0;
  for (const ClientMetric::Bucket& bucket : metric.histogram.bucket) {
    last = bucket.upper_bound;
    extra = "le=\"";
    braid::detail::AppendCanonicalDouble(extra, last);
    Begin(family.name, "_bucket", labels_, extra += '"');
    Value(bucket.cumulative_count, time);
  }
  if (last != std::numeric_limits<double>::infinity()) {
    Begin(family.name, "_bucket", labels_, "le=\"+Inf\"");
    Value(metric.histogram.sample_count, time);
  }
  if (format_ == Format::kOpenMetrics && !metric.histogram.bucket.empty() &&
      metric.histogram.bucket.front().upper_bound < 0) {
    return;
  }
  Begin(family.name, "_sum", labels_, "");
  Value(metric.histogram.sample_sum, time);
  Begin(family.name, "_count", labels_, "");
  Value(metric.histogram.sample_count, time);
}

void TextFormat::End() {
  if (format_ == Format::kOpenMetrics) out_ += "# EOF\n";
}

}  // namespace braid::metrics::detail
