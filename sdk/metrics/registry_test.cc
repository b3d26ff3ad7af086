#include "braid/metrics/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "braid/metrics/buckets.h"
#include "braid/metrics/exposition.h"

namespace braid::metrics {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const Definition kEvents = {.name = "test_events_total", .help = "Events."};
const Definition kDepth = {.name = "test_depth", .help = "Depth."};

// A collectable with what a test wants.
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

prometheus::ClientMetric Sample(
    double value, std::vector<prometheus::ClientMetric::Label> labels = {}) {
  prometheus::ClientMetric metric;
  metric.label = std::move(labels);
  metric.counter.value = metric.gauge.value = metric.untyped.value = value;
  return metric;
}

// What the exposition says without the registry's own metrics.
std::string Text(const Registry& registry, Format format = Format::kText) {
  std::string text;
  std::string all = Expose(registry, format);
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = all.find('\n', begin);
    const std::string line = all.substr(begin, end + 1 - begin);
    if (line.find("braid_metrics_") == std::string::npos) text += line;
    begin = end + 1;
  }
  return text;
}

std::vector<std::string> Problems(const Registry& registry) {
  return Exposition(registry, Format::kText).problems();
}

double ProblemCount(const Registry& registry) {
  for (const auto& family : registry.Collect()) {
    if (family.name == "braid_metrics_problems_total")
      return family.metric.at(0).counter.value;
  }
  return -1;
}

template <typename T>
std::string Error(const absl::StatusOr<T>& result) {
  return result.status().ToString();
}

TEST(RegistryTest, ConflictsAreExplained) {
  Registry registry;
  Counter counter = *registry.AddCounter(kEvents);
  Histogram histogram = *registry.AddHistogram(
      {.name = "test_wait_seconds", .help = "Waits."}, {1, 2});
  CounterFamily family = *registry.AddCounterFamily(
      {.name = "test_drops_total", .help = "Drops.", .labels = {"a"}});

  EXPECT_THAT(Error(registry.AddCounter(
                  {.name = "test_events_total", .help = "Other."})),
              HasSubstr("ALREADY_EXISTS: metric \"test_events_total\": it is "
                        "registered with another help"));
  EXPECT_THAT(
      Error(registry.AddGauge({.name = "test_wait_seconds", .help = "Waits."})),
      HasSubstr("it is registered as a histogram, and now as a gauge"));
  EXPECT_THAT(Error(registry.AddHistogram(
                  {.name = "test_wait_seconds", .help = "Waits."}, {1, 3})),
              HasSubstr("another help, labels, max_series or bounds"));
  EXPECT_THAT(Error(registry.AddHistogram(
                  {.name = "test_wait_seconds", .help = "Waits."}, {1, 2, 3})),
              HasSubstr("another help, labels, max_series or bounds"));
  EXPECT_THAT(
      Error(registry.AddCounterFamily(
          {.name = "test_drops_total", .help = "Drops.", .labels = {"b"}})),
      HasSubstr("ALREADY_EXISTS"));
  // A name that OpenMetrics would give to both.
  EXPECT_THAT(
      Error(registry.AddGauge({.name = "test_events", .help = "Events."})),
      HasSubstr("\"test_events\" is a name of the metric \"test_events_total\" "
                "already"));
  EXPECT_TRUE(
      registry
          .AddHistogram({.name = "test_wait_seconds", .help = "Waits."}, {1, 2})
          .ok());
}

TEST(RegistryTest, WrongUseIsExplained) {
  Registry registry;
  EXPECT_THAT(Error(registry.AddCounter({.name = "bad", .help = "Bad."})),
              HasSubstr("INVALID_ARGUMENT: metric \"bad\""));
  EXPECT_THAT(Error(registry.AddCounter(
                  {.name = "test_a_total", .help = "A.", .labels = {"x"}})),
              HasSubstr("it has labels; add it as a family"));
  EXPECT_THAT(
      Error(registry.AddCounterFamily({.name = "test_a_total", .help = "A."})),
      HasSubstr("a family needs labels"));
  EXPECT_THAT(
      Error(registry.AddHistogram({.name = "test_x", .help = "B."}, {})),
      HasSubstr("no bucket bounds"));
  EXPECT_THAT(
      Error(registry.AddHistogram({.name = "test_x", .help = "B."}, {1, 1})),
      HasSubstr("bucket bound 1 is not"));
  EXPECT_THAT(
      Error(registry.AddHistogram({.name = "test_x", .help = "B."}, {2, 1})),
      HasSubstr("bucket bound 1 is not"));
  EXPECT_THAT(Error(registry.AddHistogram({.name = "test_x", .help = "B."},
                                          {std::nan("")})),
              HasSubstr("bound NaN"));
  EXPECT_THAT(Error(registry.AddHistogram(
                  {.name = "test_x", .help = "B."},
                  {-std::numeric_limits<double>::infinity(), 1})),
              HasSubstr("bound -Inf"));
  // None of these left anything behind.
  EXPECT_THAT(Text(registry), IsEmpty());
  // A bound of +Inf at the end is what comes by itself.
  EXPECT_TRUE(registry
                  .AddHistogram({.name = "test_x", .help = "B."},
                                {1, std::numeric_limits<double>::infinity()})
                  .ok());
  EXPECT_DEATH(
      static_cast<void>(*registry.AddCounter({.name = "bad", .help = "Bad."})),
      "metric \"bad\"");
}

TEST(RegistryTest, CallbacksAreReadWhenScraped) {
  Registry registry;
  double depth = 1;
  int calls = 0;
  Callback gauge =
      *registry.AddGaugeCallback(kDepth, {}, [&] { return ++calls, depth; });
  Callback counter = *registry.AddCounterCallback(
      {.name = "test_drops_total", .help = "Drops.", .labels = {"reason"}},
      {"late"}, [] { return 7.0; });
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(Text(registry),
            "# HELP test_depth Depth.\n# TYPE test_depth gauge\ntest_depth 1\n"
            "# HELP test_drops_total Drops.\n# TYPE test_drops_total "
            "counter\ntest_drops_total{reason=\"late\"} 7\n");
  depth = 2.5;
  EXPECT_THAT(Text(registry), HasSubstr("test_depth 2.5\n"));
  EXPECT_EQ(calls, 2);
}

TEST(RegistryTest, CallbacksAndHandlesOfOneSeriesAreSummed) {
  Registry registry;
  Gauge gauge = *registry.AddGauge(kDepth);
  gauge.Set(1);
  const Callback ten =
      *registry.AddGaugeCallback(kDepth, {}, [] { return 10; });
  const Callback hundred =
      *registry.AddGaugeCallback(kDepth, {}, [] { return 100; });
  EXPECT_THAT(Text(registry), HasSubstr("test_depth 111\n"));
}

TEST(RegistryTest, ACallbackWithoutAValueIsLeftOut) {
  Registry registry;
  double value = std::nan("");
  const Callback callback =
      *registry.AddGaugeCallback(kDepth, {}, [&] { return value; });
  EXPECT_EQ(Text(registry),
            "# HELP test_depth Depth.\n# TYPE test_depth gauge\n");
  value = 3;
  EXPECT_THAT(Text(registry), HasSubstr("test_depth 3\n"));
}

TEST(RegistryTest, ACallbackThatThrowsIsLeftOutAndCounted) {
  Registry registry;
  const Callback callback = *registry.AddGaugeCallback(
      kDepth, {}, []() -> double { throw std::runtime_error("no"); });
  EXPECT_THAT(Text(registry), Not(HasSubstr("\ntest_depth ")));
  EXPECT_EQ(ProblemCount(registry), 1);
}

TEST(RegistryTest, ARemovedCallbackIsNeverCalled) {
  Registry registry;
  {
    const auto state = std::make_unique<double>(1);
    Callback callback =
        *registry.AddGaugeCallback(kDepth, {}, [&state] { return *state; });
    const Callback moved = std::move(callback);
    EXPECT_THAT(Text(registry), HasSubstr("test_depth 1\n"));
  }
  EXPECT_THAT(Text(registry), Not(HasSubstr("test_depth 1\n")));
}

TEST(RegistryTest, ACallbackMayOutliveTheRegistry) {
  std::optional<Callback> callback;
  {
    Registry registry;
    callback = *registry.AddGaugeCallback(kDepth, {}, [] { return 1; });
  }
}

TEST(RegistryTest, WrongCallbacksAreExplained) {
  Registry registry;
  const Definition labelled = {.name = "test_depth",
                               .help = "Depth.",
                               .labels = {"queue"},
                               .max_series = 1};
  EXPECT_THAT(Error(registry.AddGaugeCallback(labelled, {}, [] { return 1; })),
              HasSubstr("it has 1 labels and was given 0"));
  EXPECT_THAT(Error(registry.AddGaugeCallback(labelled, {"a"}, nullptr)),
              HasSubstr("the callback is null"));
  const Callback a =
      *registry.AddGaugeCallback(labelled, {"a"}, [] { return 1; });
  EXPECT_THAT(
      Error(registry.AddGaugeCallback(labelled, {"b"}, [] { return 1; })),
      HasSubstr("RESOURCE_EXHAUSTED: metric \"test_depth\": it has as many "
                "series as its max_series of 1"));
}

TEST(RegistryTest, TakesAPrometheusRegistry) {
  auto theirs = std::make_shared<prometheus::Registry>();
  auto& counter = prometheus::BuildCounter()
                      .Name("their_events_total")
                      .Help("Events.")
                      .Register(*theirs);
  counter.Add({{"kind", "a\"b\\c\nd"}}).Increment(0.1 + 0.2);
  prometheus::BuildGauge()
      .Name("their_depth")
      .Help("Back\\slash and\nnewline.")
      .Register(*theirs)
      .Add({})
      .Set(-1.5);
  prometheus::BuildHistogram()
      .Name("their_wait_seconds")
      .Help("Waits.")
      .Register(*theirs)
      .Add({{"x", "y"}}, prometheus::Histogram::BucketBoundaries{1, 2})
      .Observe(1.5);
  prometheus::BuildSummary()
      .Name("their_summary")
      .Help("Summary.")
      .Register(*theirs)
      .Add({}, prometheus::Summary::Quantiles{{0.5, 0.05}})
      .Observe(4);

  Registry registry;
  ASSERT_TRUE(registry.AddCollectable(theirs).ok());
  EXPECT_EQ(Text(registry),
            "# HELP their_depth Back\\\\slash and\\nnewline.\n"
            "# TYPE their_depth gauge\n"
            "their_depth -1.5\n"
            "# HELP their_events_total Events.\n"
            "# TYPE their_events_total counter\n"
            "their_events_total{kind=\"a\\\"b\\\\c\\nd\"} 0.30000000000000004\n"
            "# HELP their_summary Summary.\n"
            "# TYPE their_summary summary\n"
            "their_summary{quantile=\"0.5\"} 4\n"
            "their_summary_sum 4\n"
            "their_summary_count 1\n"
            "# HELP their_wait_seconds Waits.\n"
            "# TYPE their_wait_seconds histogram\n"
            "their_wait_seconds_bucket{x=\"y\",le=\"1.0\"} 0\n"
            "their_wait_seconds_bucket{x=\"y\",le=\"2.0\"} 1\n"
            "their_wait_seconds_bucket{x=\"y\",le=\"+Inf\"} 1\n"
            "their_wait_seconds_sum{x=\"y\"} 1.5\n"
            "their_wait_seconds_count{x=\"y\"} 1\n");
  EXPECT_THAT(Problems(registry), IsEmpty());

  registry.RemoveCollectable(*theirs);
  EXPECT_THAT(Text(registry), IsEmpty());
}

// The other way round: prometheus-cpp's own serializer, which its Exposer and
// Gateway use, reads a Braid registry.
TEST(RegistryTest, IsACollectable) {
  Registry registry;
  Counter counter = *registry.AddCounter(kEvents);
  counter.Increment(3);
  HistogramFamily histograms = *registry.AddHistogramFamily(
      {.name = "test_wait_seconds", .help = "Waits.", .labels = {"queue"}},
      {0.5});
  histograms.With("in").Observe(0.25);
  const prometheus::Collectable& collectable = registry;
  const std::string text =
      prometheus::TextSerializer().prometheus::Serializer::Serialize(
          collectable.Collect());
  EXPECT_THAT(text, HasSubstr("test_events_total 3\n"));
  EXPECT_THAT(
      text, HasSubstr("test_wait_seconds_bucket{queue=\"in\",le=\"0.5\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("test_wait_seconds_bucket{queue=\"in\",le=\"+Inf\"} 1\n"));
}

TEST(RegistryTest, FamiliesOfOneNameAreMerged) {
  Registry registry;
  CounterFamily ours = *registry.AddCounterFamily(
      {.name = "test_drops_total", .help = "Drops.", .labels = {"reason"}});
  ours.With("late").Increment(1);
  ASSERT_TRUE(registry
                  .AddCollectable(std::make_shared<Fixed>(
                      std::vector<prometheus::MetricFamily>{
                          {"test_drops_total",
                           "Ignored.",
                           prometheus::MetricType::Counter,
                           {Sample(2, {{"reason", "long"}}),
                            Sample(5, {{"reason", "late"}})}}}))
                  .ok());
  ASSERT_TRUE(registry
                  .AddCollectable(std::make_shared<Fixed>(
                      std::vector<prometheus::MetricFamily>{
                          {"test_drops_total",
                           "",
                           prometheus::MetricType::Counter,
                           {Sample(3, {{"other", "x"}})}}}))
                  .ok());
  EXPECT_EQ(Text(registry),
            "# HELP test_drops_total Drops.\n"
            "# TYPE test_drops_total counter\n"
            "test_drops_total{reason=\"late\"} 1\n"
            "test_drops_total{reason=\"long\"} 2\n"
            "test_drops_total{other=\"x\"} 3\n");
  EXPECT_THAT(Problems(registry),
              ElementsAre("series test_drops_total{reason=\"late\"}: it is "
                          "there twice; the second is left out"));
}

TEST(RegistryTest, WhatCannotBeExposedIsLeftOutAndNamed) {
  Registry registry;
  Gauge depth = *registry.AddGauge(kDepth);
  Histogram wait = *registry.AddHistogram(
      {.name = "test_wait_seconds", .help = "Waits."}, {1});
  ASSERT_TRUE(
      registry
          .AddCollectable(std::make_shared<
                          Fixed>(std::vector<prometheus::MetricFamily>{
              {"test_depth", "", prometheus::MetricType::Counter, {Sample(1)}},
              {"test_wait_seconds_sum",
               "",
               prometheus::MetricType::Gauge,
               {Sample(1)}},
              {"bad name\n", "", prometheus::MetricType::Gauge, {Sample(1)}},
              {"", "", prometheus::MetricType::Gauge, {Sample(1)}},
              {"labels_ok",
               "",
               prometheus::MetricType::Gauge,
               {Sample(1, {{"bad-label", ""}}),
                Sample(2, {{"a", "1"}, {"a", "2"}}),
                Sample(3, {{"__name__", "x"}}), Sample(4, {{"", "x"}}),
                Sample(5, {{"b", "2"}, {"a", "1"}}),
                Sample(6, {{"a", "1"}, {"b", "2"}})}},
              {"hist",
               "",
               prometheus::MetricType::Histogram,
               {Sample(1, {{"le", "1"}})}}}))
          .ok());
  EXPECT_THAT(Text(registry), Not(HasSubstr("bad")));
  EXPECT_THAT(Text(registry), HasSubstr("test_depth 0\n"));
  EXPECT_THAT(Text(registry), HasSubstr("labels_ok{a=\"1\",b=\"2\"} 5\n"));
  EXPECT_THAT(
      Problems(registry),
      ElementsAre(
          HasSubstr("family \"test_depth\": it is a gauge and, in another "
                    "collectable, a counter"),
          HasSubstr("\"test_wait_seconds_sum\" is a name of the family "
                    "\"test_wait_seconds\""),
          HasSubstr(
              "family \"bad name\\n\": Prometheus would refuse this name"),
          HasSubstr("family \"\""), HasSubstr("series labels_ok{bad-label"),
          HasSubstr("series labels_ok{a=\"1\",a=\"2\"}"),
          HasSubstr("series labels_ok{__name__"),
          HasSubstr("series labels_ok{="),
          HasSubstr("series labels_ok{a=\"1\",b=\"2\"}: it is there twice"),
          HasSubstr("series hist{le")));
  EXPECT_EQ(ProblemCount(registry), 4 * 10);  // of the four scrapes before
}

TEST(RegistryTest, ACollectableThatThrowsDoesNotSpoilTheRest) {
  class Throwing final : public prometheus::Collectable {
   public:
    std::vector<prometheus::MetricFamily> Collect() const override {
      throw std::runtime_error("out of\npaper");
    }
  };
  Registry registry;
  Gauge depth = *registry.AddGauge(kDepth);
  ASSERT_TRUE(registry.AddCollectable(std::make_shared<Throwing>()).ok());
  EXPECT_THAT(Text(registry), HasSubstr("test_depth 0\n"));
  EXPECT_THAT(
      Problems(registry),
      ElementsAre(HasSubstr(
          "a collectable failed, its families are left out: out of\\npaper")));
}

TEST(RegistryTest, ProblemsAreBounded) {
  Registry registry;
  std::vector<prometheus::MetricFamily> families(
      1000, {"x y", "", prometheus::MetricType::Gauge, {}});
  ASSERT_TRUE(
      registry.AddCollectable(std::make_shared<Fixed>(std::move(families)))
          .ok());
  EXPECT_THAT(Problems(registry), ::testing::SizeIs(20));
  EXPECT_EQ(ProblemCount(registry), 1000);
}

TEST(RegistryTest, WrongCollectablesAreExplained) {
  auto registry = std::make_shared<Registry>();
  EXPECT_THAT(registry->AddCollectable(nullptr).ToString(),
              HasSubstr("is null"));
  EXPECT_THAT(registry->AddCollectable(registry).ToString(),
              HasSubstr("can't be added to a registry"));
  EXPECT_THAT(registry->AddCollectable(std::make_shared<Registry>()).ToString(),
              HasSubstr("let all register in one"));
  auto once = std::make_shared<prometheus::Registry>();
  EXPECT_TRUE(registry->AddCollectable(once).ok());
  EXPECT_THAT(registry->AddCollectable(once).ToString(),
              HasSubstr("add it once"));
}

}  // namespace
}  // namespace braid::metrics
