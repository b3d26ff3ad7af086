#include "braid/metrics/definition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "braid/metrics/exposition.h"
#include "braid/metrics/promtool.h"
#include "braid/metrics/registry.h"

namespace braid::metrics {
namespace {

using ::testing::HasSubstr;

std::string Complaint(Kind kind, const Definition& definition) {
  return std::string(Validate(kind, definition).message());
}

TEST(DefinitionTest, GoodNames) {
  for (const char* name : {"echo_received_bytes_total",
                           "grpc_server_handled_total", "a_b2_c_total"}) {
    EXPECT_EQ(Complaint(Kind::kCounter, {.name = name, .help = "Help."}), "")
        << name;
  }
  for (const char* name : {"echo_queue_bytes", "process_resident_memory_bytes",
                           "braid_build_info", "pool_used_ratio"}) {
    EXPECT_EQ(
        Complaint(Kind::kGauge,
                  {.name = name, .help = "Help.", .labels = {"a", "b_1"}}),
        "")
        << name;
  }
  EXPECT_EQ(Complaint(Kind::kHistogram, {.name = "grpc_server_handling_seconds",
                                         .help = "Help."}),
            "");
}

TEST(DefinitionTest, BadNamesAreExplained) {
  struct Row {
    Kind kind;
    std::string name;
    const char* complaint;
  };
  for (const Row& row : std::vector<Row>{
           {Kind::kCounter, "", "snake_case"},
           {Kind::kCounter, "1echo_requests_total", "snake_case"},
           {Kind::kCounter, "echoRequests_total", "snake_case"},
           {Kind::kCounter, "echo:requests_total", "snake_case"},
           {Kind::kCounter, "echo requests_total", "snake_case"},
           {Kind::kCounter, std::string("echo_\0_total", 12), "snake_case"},
           {Kind::kCounter, "_echo_requests_total", "snake_case"},
           {Kind::kCounter, "echo__requests_total", "single underscores"},
           {Kind::kGauge, "echo_requests_", "single underscores"},
           {Kind::kCounter, "echo_requests", "call it \"echo_requests_total\""},
           {Kind::kGauge, "echo_requests_total", "call it \"echo_requests\""},
           {Kind::kHistogram, "echo_seconds_total", "only a counter"},
           {Kind::kCounter, "requests_total", "prefix"},
           {Kind::kGauge, "up", "prefix"},
           {Kind::kGauge, "scrape_duration_seconds", "scrape_"},
           {Kind::kGauge, "echo_latency_ms", "measure in seconds"},
           {Kind::kGauge, "echo_milliseconds_spent", "measure in seconds"},
           {Kind::kCounter, "echo_kibibytes_total", "measure in bytes"},
           {Kind::kGauge, "echo_used_percent", "measure in ratio"},
           {Kind::kGauge, "echo_requests_count", "_count"},
           {Kind::kHistogram, "echo_requests_bucket", "_bucket"},
           {Kind::kGauge, "echo_seconds_sum", "_sum"},
           {Kind::kGauge, "echo_created", "_created"},
           {Kind::kCounter, "echo_created_total", "_created"},
           {Kind::kCounter, "echo_info_total", "_info"},
           {Kind::kGauge, "echo_queue_gauge", "leave out \"gauge\""},
           {Kind::kCounter, "echo_counter_total", "leave out \"counter\""},
       }) {
    const absl::Status status =
        Validate(row.kind, {.name = row.name, .help = "Help."});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.complaint))
        << row.name;
    EXPECT_THAT(std::string(status.message()),
                ::testing::StartsWith("metric \""))
        << row.name;
  }
}

TEST(DefinitionTest, BadLabelsHelpAndLimitAreExplained) {
  const auto with_labels = [](std::vector<std::string> labels) {
    return Complaint(Kind::kGauge, {.name = "echo_queue_bytes",
                                    .help = "Help.",
                                    .labels = std::move(labels)});
  };
  EXPECT_THAT(with_labels({"le"}),
              HasSubstr("label \"le\": it belongs to histograms"));
  EXPECT_THAT(with_labels({"quantile"}), HasSubstr("label \"quantile\""));
  EXPECT_THAT(with_labels({"job"}), HasSubstr("the scrape adds it"));
  EXPECT_THAT(with_labels({"instance"}), HasSubstr("the scrape adds it"));
  EXPECT_THAT(with_labels({"__name__"}), HasSubstr("leading underscores"));
  EXPECT_THAT(with_labels({"Reason"}), HasSubstr("snake_case"));
  EXPECT_THAT(with_labels({""}), HasSubstr("snake_case"));
  EXPECT_THAT(with_labels({"a", "b", "a"}), HasSubstr("\"a\" is there twice"));
  EXPECT_THAT(
      Complaint(Kind::kGauge, {.name = "echo_queue_bytes", .help = " \n"}),
      HasSubstr("help is empty"));
  EXPECT_THAT(
      Complaint(Kind::kGauge,
                {.name = "echo_queue_bytes", .help = "Help.", .max_series = 0}),
      HasSubstr("max_series"));
}

TEST(DefinitionTest, UnitOf) {
  EXPECT_EQ(UnitOf("echo_received_bytes_total"), "bytes");
  EXPECT_EQ(UnitOf("echo_latency_seconds"), "seconds");
  EXPECT_EQ(UnitOf("echo_requests_total"), "");
  EXPECT_EQ(UnitOf("bytes"), "bytes");
  EXPECT_EQ(UnitOf(""), "");
}

// Whatever names are accepted, promtool has nothing to say against them.
TEST(DefinitionTest, PromtoolAgrees) {
  std::mt19937 random(7);  // the same names in each run
  const std::vector<std::string> words = {
      "echo",    "requests",     "bytes",     "seconds", "total",
      "ms",      "milliseconds", "kilobytes", "count",   "sum",
      "bucket",  "info",         "gauge",     "counter", "days",
      "percent", "celsius",      "kelvin",    "volts",   "kb",
      "x1",      "ratio",        "hertz",     "created", "grams",
      "h",       "meters",       "mebibytes", "inches",  "bits",
      "d",       "queue"};
  Registry registry;
  std::vector<Gauge> gauges;
  std::vector<Counter> counters;
  std::vector<Histogram> histograms;
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string name;
    for (uint32_t n = 1 + random() % 4; n > 0; --n)
      name += (name.empty() ? "" : "_") + words[random() % words.size()];
    if (i % 3 == 0) name += "_total";
    const Definition definition = {.name = name, .help = "Help."};
    if (auto gauge = registry.AddGauge(definition); gauge.ok()) {
      gauges.push_back(*std::move(gauge));
    } else if (auto counter = registry.AddCounter(definition); counter.ok()) {
      counters.push_back(*std::move(counter));
    } else if (auto histogram = registry.AddHistogram(
                   {.name = name + "_histo", .help = "Help."}, {1});
               histogram.ok()) {
      histograms.push_back(*std::move(histogram));
    } else {
      ++refused;
    }
  }
  EXPECT_GT(gauges.size(), 100u);
  EXPECT_GT(counters.size(), 20u);
  EXPECT_GT(refused, 100);
  const auto complaints = PromtoolComplaints(Expose(registry, Format::kText));
  if (!complaints.has_value())
    GTEST_SKIP() << "promtool is not installed: NOT CHECKED";
  EXPECT_EQ(*complaints, "");
}

}  // namespace
}  // namespace braid::metrics
