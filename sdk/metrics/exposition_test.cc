#include "braid/metrics/exposition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "braid/metrics/buckets.h"
#include "braid/metrics/promtool.h"
#include "braid/metrics/registry.h"

namespace braid::metrics {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Fixed final : public prometheus::Collectable {
 public:
  explicit Fixed(std::vector<prometheus::MetricFamily> families)
      : families_(std::move(families)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    return families_;
  }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

// A registry with some of everything, and with the nastiest text.
struct Everything {
  Everything() {
    requests.Increment(1234567);
    spent.Increment(0.25);
    depth.Set(-0.1);
    for (const char* value :
         {"", "plain", "quote\"backslash\\newline\n", "tab\tcr\r",
          "\xC3\xA9\xE2\x82\xAC", "\xFF\xFE broken \xC3", "{}=,#", "\\n\\\\",
          " # HELP x y", "nul"}) {
      drops.With(value, "udp").Increment();
    }
    drops.With(std::string_view("nul\0byte", 8), "tcp").Increment();
    latency.With("get").Observe(0.003);
    latency.With("get").Observe(0.7, {.trace_id_high = 0x0123456789abcdef,
                                      .trace_id_low = 0xfedcba9876543210,
                                      .unix_seconds = 1520879607.789});
    latency.With("get").Observe(100, {.trace_id_low = 7});
    below_zero.Observe(-1);
    below_zero.Observe(std::numeric_limits<double>::infinity());
    EXPECT_TRUE(registry
                    .AddCollectable(std::make_shared<Fixed>(
                        std::vector<prometheus::MetricFamily>{
                            {"foreign_summary",
                             "A summary.",
                             prometheus::MetricType::Summary,
                             {Summary()}},
                            {"foreign_thing",
                             "Something.",
                             prometheus::MetricType::Untyped,
                             {Timed()}},
                            {"foreign_clash",
                             "A gauge.",
                             prometheus::MetricType::Gauge,
                             {{}}},
                            {"foreign_clash_total",
                             "A counter.",
                             prometheus::MetricType::Counter,
                             {{}}},
                            {"foreign_no_suffix",
                             "A counter, named badly.",
                             prometheus::MetricType::Counter,
                             {{}}}}))
                    .ok());
  }
  static prometheus::ClientMetric Summary() {
    prometheus::ClientMetric metric;
    metric.summary = {.sample_count = 3,
                      .sample_sum = 4.5,
                      .quantile = {{0.5, 1}, {0.99, 2}}};
    return metric;
  }
  static prometheus::ClientMetric Timed() {
    prometheus::ClientMetric metric;
    metric.untyped.value = 5;
    metric.timestamp_ms = 1520879607789;
    return metric;
  }

  Registry registry;
  Counter requests =
      *registry.AddCounter({.name = "test_requests_total",
                            .help = "Back\\slash, \"quotes\",\nnewline."});
  Counter spent = *registry.AddCounter(
      {.name = "test_cpu_seconds_total", .help = "Broken \xFF UTF-8."});
  Gauge depth =
      *registry.AddGauge({.name = "test_depth", .help = "  spaces  "});
  CounterFamily drops =
      *registry.AddCounterFamily({.name = "test_drops_total",
                                  .help = "Drops.",
                                  .labels = {"reason", "protocol"}});
  HistogramFamily latency =
      *registry.AddHistogramFamily({.name = "test_latency_seconds",
                                    .help = "Latency.",
                                    .labels = {"method"}},
                                   {0.005, 1, 2.5, 1e6});
  Histogram below_zero = *registry.AddHistogram(
      {.name = "test_celsius", .help = "Temperature."}, {-10, 0, 10});
};

TEST(ExpositionTest, Text) {
  const Everything everything;
  const std::string text = Expose(everything.registry, Format::kText);
  EXPECT_THAT(
      text,
      HasSubstr(
          "# HELP test_requests_total Back\\\\slash, \"quotes\",\\nnewline.\n"
          "# TYPE test_requests_total counter\n"
          "test_requests_total 1234567\n"));
  EXPECT_THAT(
      text,
      HasSubstr("# HELP test_cpu_seconds_total Broken \xEF\xBF\xBD UTF-8.\n"
                "# TYPE test_cpu_seconds_total counter\n"
                "test_cpu_seconds_total 0.25\n"));
  EXPECT_THAT(text, HasSubstr("test_depth -0.1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("test_drops_total{reason=\"quote\\\"backslash\\\\newline\\n\","
                "protocol=\"udp\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("test_drops_total{reason=\"\",protocol=\"udp\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("test_latency_seconds_bucket{method=\"get\",le=\"0.005\"} 1\n"
                "test_latency_seconds_bucket{method=\"get\",le=\"1.0\"} 2\n"
                "test_latency_seconds_bucket{method=\"get\",le=\"2.5\"} 2\n"
                "test_latency_seconds_bucket{method=\"get\",le=\"1e+06\"} 3\n"
                "test_latency_seconds_bucket{method=\"get\",le=\"+Inf\"} 3\n"
                "test_latency_seconds_sum{method=\"get\"} 100.703\n"
                "test_latency_seconds_count{method=\"get\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("test_celsius_sum +Inf\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "# TYPE foreign_thing untyped\nforeign_thing 5 1520879607789\n"));
  EXPECT_THAT(text, Not(HasSubstr("# EOF")));
  EXPECT_THAT(text, Not(HasSubstr("# UNIT")));
  EXPECT_THAT(text, Not(HasSubstr("trace_id")));
}

TEST(ExpositionTest, OpenMetrics) {
  const Everything everything;
  const std::string text = Expose(everything.registry, Format::kOpenMetrics);
  EXPECT_THAT(
      text,
      HasSubstr(
          "# HELP test_requests Back\\\\slash, \\\"quotes\\\",\\nnewline.\n"
          "# TYPE test_requests counter\n"
          "test_requests_total 1234567\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE test_cpu_seconds counter\n"
                              "# UNIT test_cpu_seconds seconds\n"
                              "test_cpu_seconds_total 0.25\n"));
  EXPECT_THAT(
      text,
      HasSubstr("test_latency_seconds_bucket{method=\"get\",le=\"0.005\"} 1\n"
                "test_latency_seconds_bucket{method=\"get\",le=\"1.0\"} 2 "
                "# {trace_id=\"0123456789abcdeffedcba9876543210\"} 0.7 "
                "1520879607.789\n"
                "test_latency_seconds_bucket{method=\"get\",le=\"2.5\"} 2\n"
                "test_latency_seconds_bucket{method=\"get\",le=\"1e+06\"} 3 "
                "# {trace_id=\"00000000000000000000000000000007\"} 100\n"));
  // A histogram of values below zero has neither sum nor count there.
  EXPECT_THAT(text, HasSubstr("test_celsius_bucket{le=\"-10.0\"} 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("test_celsius_sum")));
  EXPECT_THAT(text, Not(HasSubstr("test_celsius_count")));
  EXPECT_THAT(
      text,
      HasSubstr(
          "# TYPE foreign_thing unknown\nforeign_thing 5 1520879607.789\n"));
  // Samples keep their names even where OpenMetrics has no counter of that
  // name.
  EXPECT_THAT(
      text,
      HasSubstr("# TYPE foreign_clash_total unknown\nforeign_clash_total 0\n"));
  EXPECT_THAT(
      text,
      HasSubstr("# TYPE foreign_no_suffix unknown\nforeign_no_suffix 0\n"));
  EXPECT_TRUE(text.ends_with("\n# EOF\n"));
}

TEST(ExpositionTest, AnEmptyRegistry) {
  const Registry registry;
  EXPECT_THAT(Expose(registry, Format::kText),
              HasSubstr("braid_metrics_problems_total 0\n"));
  EXPECT_TRUE(Expose(registry, Format::kOpenMetrics).ends_with("# EOF\n"));
}

TEST(ExpositionTest, PromtoolAccepts) {
  Everything everything;
  // What promtool minds in the collectable is its owner's to fix; it must parse
  // all the same.
  const auto complaints =
      PromtoolComplaints(Expose(everything.registry, Format::kText));
  if (!complaints.has_value())
    GTEST_SKIP() << "promtool is not installed: NOT CHECKED";
  EXPECT_THAT(*complaints, Not(HasSubstr("error while linting")));
  EXPECT_THAT(*complaints, Not(HasSubstr("test_")));
  EXPECT_THAT(*complaints, HasSubstr("foreign_no_suffix"));  // it does look
}

TEST(ExpositionTest, OpenMetricsParserAccepts) {
  Everything everything;
  const auto complaints =
      OpenMetricsComplaints(Expose(everything.registry, Format::kOpenMetrics));
  if (!complaints.has_value())
    GTEST_SKIP() << "python3-prometheus-client is not installed: NOT CHECKED";
  EXPECT_EQ(*complaints, "");
}

// Random label values and help texts: nothing that a program may say breaks the
// format.
struct AnyText {
  AnyText() {
    for (int f = 0; f < 30; ++f) {
      families.push_back(
          *registry.AddGaugeFamily({.name = "test_depth" + std::to_string(f),
                                    .help = "Help " + Any(),
                                    .labels = {"a", "b"}}));
      for (int i = 0; i < 30; ++i)
        families.back().With(Any(), Any()).Set(static_cast<double>(random()));
    }
  }
  std::string Any() {
    std::string text;
    for (uint32_t n = random() % 40; n > 0; --n) {
      constexpr std::string_view kNasty =
          "\\\"\n\r\t{}#=, \x80\xC3\xE2\xF0\xFF";
      text += random() % 3 == 0 ? static_cast<char>(random() % 256)
                                : kNasty[random() % kNasty.size()];
    }
    return text;
  }

  std::mt19937 random = std::mt19937(3);
  Registry registry;
  std::vector<GaugeFamily> families;
};

TEST(ExpositionTest, PromtoolAcceptsAnyText) {
  const AnyText any;
  const auto complaints =
      PromtoolComplaints(Expose(any.registry, Format::kText));
  if (!complaints.has_value())
    GTEST_SKIP() << "promtool is not installed: NOT CHECKED";
  EXPECT_EQ(*complaints, "");
}

TEST(ExpositionTest, OpenMetricsParserAcceptsAnyText) {
  const AnyText any;
  const auto complaints =
      OpenMetricsComplaints(Expose(any.registry, Format::kOpenMetrics));
  if (!complaints.has_value())
    GTEST_SKIP() << "python3-prometheus-client is not installed: NOT CHECKED";
  EXPECT_EQ(*complaints, "");
}

// Parts are whole lines of bounded size, and together they are the whole,
// whatever the sizes of families.
TEST(ExpositionTest, ComesInParts) {
  Registry registry;
  std::vector<CounterFamily> families;
  std::vector<prometheus::MetricFamily> foreign;
  for (int size : {0, 1, 98, 99, 100, 101, 250, 3}) {
    families.push_back(*registry.AddCounterFamily(
        {.name = "test_" + std::to_string(families.size()) + "x_total",
         .help = "Help.",
         .labels = {"i"}}));
    prometheus::MetricFamily& theirs = foreign.emplace_back();
    theirs.name = "theirs_" + std::to_string(families.size());
    for (int i = 0; i < size; ++i) {
      families.back().With(std::to_string(i)).Increment(i);
      theirs.metric.emplace_back().label = {{"i", std::to_string(i)}};
    }
  }
  ASSERT_TRUE(
      registry.AddCollectable(std::make_shared<Fixed>(std::move(foreign)))
          .ok());
  for (const Format format : {Format::kText, Format::kOpenMetrics}) {
    std::string text;
    int parts = 0;
    Exposition exposition(registry, format);
    for (bool more = true; more; ++parts) {
      std::string part;
      more = exposition.AppendNext(part);
      EXPECT_EQ(part.back(), '\n');
      EXPECT_LE(std::count(part.begin(), part.end(), '\n'), 250);
      text += part;
    }
    EXPECT_GE(parts, 652 * 2 / 100);
    EXPECT_EQ(text, Expose(registry, format));
    // Each sample, each head, and the registry's own families.
    const int own_lines = 2 + 8 + 2 + 1;
    const int eof = format == Format::kOpenMetrics ? 1 : 0;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
              652 * 2 + 16 * 2 + own_lines + eof);
  }
}

TEST(ExpositionTest, SeriesAndRegistriesMayGoMeanwhile) {
  auto registry = std::make_unique<Registry>();
  GaugeFamily family = *registry->AddGaugeFamily(
      {.name = "test_depth", .help = "Depth.", .labels = {"i"}});
  for (int i = 100; i < 400; ++i) family.With(std::to_string(i)).Set(i);
  Exposition exposition(*registry, Format::kText);
  std::string text;
  ASSERT_TRUE(exposition.AppendNext(text));
  for (int i = 100; i < 390; ++i) family.Remove(std::to_string(i));
  registry.reset();
  while (exposition.AppendNext(text)) {
  }
  EXPECT_THAT(text, HasSubstr("test_depth{i=\"100\"} 100\n"));
  EXPECT_THAT(text, Not(HasSubstr("test_depth{i=\"389\"}")));
  EXPECT_THAT(text, HasSubstr("test_depth{i=\"390\"} 390\n"));
}

// An exemplar is whole or not shown: its value and its trace belong together.
TEST(ExpositionTest, ExemplarsAreNotTorn) {
  Registry registry;
  std::atomic<bool> stop = false;
  std::atomic<bool> began = false;
  std::thread writer([&] {
    Histogram histogram = *registry.AddHistogram(
        {.name = "test_wait_seconds", .help = "Waits."}, {1e18});
    for (uint64_t i = 1; !stop; ++i) {
      histogram.Observe(static_cast<double>(i),
                        {.trace_id_high = i,
                         .trace_id_low = i,
                         .unix_seconds = static_cast<double>(i)});
      began = true;
    }
  });
  while (!began) std::this_thread::yield();
  int seen = 0;
  for (int i = 0; i < 2000 || seen == 0; ++i) {
    const std::string text = Expose(registry, Format::kOpenMetrics);
    const size_t at = text.find("trace_id=\"");
    if (at == std::string::npos) continue;
    ++seen;
    const std::string high = text.substr(at + 10, 16);
    const std::string low = text.substr(at + 26, 16);
    EXPECT_EQ(high, low);
    const double number = static_cast<double>(std::stoull(high, nullptr, 16));
    EXPECT_EQ(std::stod(text.substr(at + 45)), number);
    EXPECT_EQ(std::stod(text.substr(text.find(' ', at + 45))), number);
  }
  stop = true;
  writer.join();
}

TEST(NegotiateFormatTest, PrometheusGetsOpenMetrics) {
  // What Prometheus 2.42 sends, and what it sends with native histograms on.
  EXPECT_EQ(
      NegotiateFormat("application/openmetrics-text;version=1.0.0,application/"
                      "openmetrics-text;version=0.0.1;q=0.75,"
                      "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
      Format::kOpenMetrics);
  EXPECT_EQ(NegotiateFormat(
                "application/"
                "vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                "encoding=delimited,"
                "application/openmetrics-text;version=1.0.0;q=0.8,application/"
                "openmetrics-text;version=0.0.1;"
                "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
            Format::kOpenMetrics);
}

TEST(NegotiateFormatTest, Weights) {
  EXPECT_EQ(NegotiateFormat(""), Format::kText);
  EXPECT_EQ(NegotiateFormat("*/*"), Format::kText);
  EXPECT_EQ(NegotiateFormat("text/html,application/xhtml+xml,application/"
                            "xml;q=0.9,image/webp,*/*;q=0.8"),
            Format::kText);
  EXPECT_EQ(NegotiateFormat("application/json"), Format::kText);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text"),
            Format::kOpenMetrics);
  EXPECT_EQ(NegotiateFormat(" Application/OpenMetrics-Text ; Version=1.0.0 ; "
                            "Q=0.3 , text/plain;q=0.2"),
            Format::kOpenMetrics);
  EXPECT_EQ(
      NegotiateFormat("application/openmetrics-text;q=0.2, text/plain;q=0.3"),
      Format::kText);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text;q=0"), Format::kText);
  EXPECT_EQ(NegotiateFormat("text/plain, application/openmetrics-text"),
            Format::kText);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text, text/plain"),
            Format::kOpenMetrics);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text;version=2.0.0"),
            Format::kText);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text;version=0.0.1"),
            Format::kText);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text;q=nonsense, */*"),
            Format::kText);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text;q=nan"),
            Format::kText);
  EXPECT_EQ(NegotiateFormat("application/openmetrics-text;q=7"), Format::kText);
  EXPECT_EQ(NegotiateFormat(",,;;,=;q,application/openmetrics-text;;"),
            Format::kOpenMetrics);
}

TEST(ContentTypeTest, HasAVersion) {
  EXPECT_EQ(ContentType(Format::kText),
            "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(ContentType(Format::kOpenMetrics),
            "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

}  // namespace
}  // namespace braid::metrics
