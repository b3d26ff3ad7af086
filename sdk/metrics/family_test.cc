#include "braid/metrics/family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "braid/metrics/registry.h"

namespace braid::metrics {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

Definition Dropped(size_t max_series = 1000) {
  return {.name = "test_dropped_total",
          .help = "Dropped, by reason.",
          .labels = {"reason"},
          .max_series = max_series};
}

// The series of a metric: label values joined by '|', and value.
std::map<std::string, double> Read(
    const Registry& registry, const std::string& name = "test_dropped_total") {
  std::map<std::string, double> series;
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    if (family.name != name) continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::string key;
      for (const auto& label : metric.label)
        key += (key.empty() ? "" : "|") + label.value;
      series[key] = metric.counter.value + metric.gauge.value;
    }
  }
  return series;
}

TEST(FamilyTest, OneInstrumentForEachCombination) {
  Registry registry;
  CounterFamily family =
      *registry.AddCounterFamily({.name = "test_dropped_total",
                                  .help = "Dropped.",
                                  .labels = {"reason", "protocol"}});
  EXPECT_THAT(Read(registry), IsEmpty());
  Counter& late = family.With("late", "udp");
  EXPECT_EQ(&late, &family.With("late", std::string("udp")));
  EXPECT_NE(&late, &family.With("late", "tcp"));
  late.Increment(3);
  family.With("late", "tcp").Increment();
  // Values that would be the same if they were simply joined.
  family.With("a", "bc").Increment(5);
  family.With("ab", "c").Increment(6);
  EXPECT_THAT(Read(registry),
              ElementsAre(Pair("ab|c", 6), Pair("a|bc", 5), Pair("late|tcp", 1),
                          Pair("late|udp", 3)));
}

TEST(FamilyTest, HandlesAreSummedBySeries) {
  Registry registry;
  CounterFamily a = *registry.AddCounterFamily(Dropped());
  CounterFamily b = *registry.AddCounterFamily(Dropped());
  a.With("x").Increment(1);
  b.With("x").Increment(10);
  b.With("y").Increment(100);
  EXPECT_THAT(Read(registry), ElementsAre(Pair("x", 11), Pair("y", 100)));
  b = std::move(a);  // what the old one counted stays
  EXPECT_THAT(Read(registry), ElementsAre(Pair("x", 11), Pair("y", 100)));
}

TEST(FamilyTest, WrongNumberOfValuesIsMisuse) {
  Registry registry;
  CounterFamily family = *registry.AddCounterFamily(Dropped());
  EXPECT_DEATH(family.With("a", "b"),
               "test_dropped_total has 1 labels and was given 2 values");
  EXPECT_DEATH(family.With(), "was given 0 values");
}

TEST(FamilyTest, BeyondTheLimitAllShareOneSeries) {
  Registry registry;
  CounterFamily family = *registry.AddCounterFamily(Dropped(2));
  CounterFamily other_loop = *registry.AddCounterFamily(Dropped(2));
  family.With("a").Increment();
  family.With("b").Increment();
  for (int i = 0; i < 10000; ++i) family.With(std::to_string(i)).Increment();
  other_loop.With("z").Increment();
  other_loop.With("a").Increment();  // those that are there stay available
  EXPECT_THAT(Read(registry),
              ElementsAre(Pair("a", 2), Pair("b", 1), Pair("overflow", 10001)));
  EXPECT_THAT(Read(registry, "braid_metrics_overflow_total"),
              ElementsAre(Pair("test_dropped_total", 10001)));
}

TEST(FamilyTest, AValueCalledOverflowIsNothingSpecial) {
  Registry registry;
  CounterFamily family = *registry.AddCounterFamily(Dropped(1));
  family.With("overflow").Increment();
  family.With("a").Increment(10);
  family.With("b").Increment(100);
  EXPECT_THAT(Read(registry),
              ElementsAre(Pair("a", 10), Pair("overflow", 101)));
}

TEST(FamilyTest, RemoveMakesRoom) {
  Registry registry;
  GaugeFamily family = *registry.AddGaugeFamily({.name = "test_children",
                                                 .help = "Children.",
                                                 .labels = {"child"},
                                                 .max_series = 1});
  family.With("a").Set(1);
  family.Remove("never there");
  family.Remove("a");
  EXPECT_THAT(Read(registry, "test_children"), IsEmpty());
  family.With("b").Set(2);
  EXPECT_THAT(Read(registry, "test_children"), ElementsAre(Pair("b", 2)));
}

TEST(FamilyTest, RemoveWhileAnotherHandleCounts) {
  Registry registry;
  CounterFamily a = *registry.AddCounterFamily(Dropped());
  CounterFamily b = *registry.AddCounterFamily(Dropped());
  a.With("x").Increment(1);
  b.With("x").Increment(10);
  a.Remove("x");
  EXPECT_THAT(Read(registry),
              ElementsAre(Pair("x", 11)));  // the sum must not fall
  b.Remove("x");
  EXPECT_THAT(Read(registry), IsEmpty());
  a.With("x").Increment();
  EXPECT_THAT(Read(registry), ElementsAre(Pair("x", 1)));
}

TEST(FamilyTest, ValuesAreMadeReadable) {
  Registry registry;
  CounterFamily family = *registry.AddCounterFamily(Dropped());
  family.With("\xC3").Increment();
  family.With("\xFF")
      .Increment();  // the byte that ends a value inside of the registry
  family.With(std::string(5000, 'x') + "1").Increment();
  family.With(std::string(5000, 'x') + "2").Increment();
  family.With("").Increment();
  EXPECT_THAT(Read(registry),
              ElementsAre(Pair("", 1), Pair(std::string(1024, 'x'), 2),
                          Pair("\xEF\xBF\xBD", 2)));
}

TEST(FamilyTest, Histograms) {
  Registry registry;
  HistogramFamily family =
      *registry.AddHistogramFamily({.name = "test_latency_seconds",
                                    .help = "Latency.",
                                    .labels = {"method"}},
                                   {1, 2});
  family.With("get").Observe(1.5);
  const auto families = registry.Collect();
  const auto found = std::find_if(
      families.begin(), families.end(),
      [](const auto& f) { return f.name == "test_latency_seconds"; });
  ASSERT_NE(found, families.end());
  EXPECT_EQ(found->metric.at(0).histogram.sample_sum, 1.5);
  EXPECT_EQ(found->metric.at(0).label.at(0).value, "get");
}

// Loops that make series, count in them and give them up, while scrapes run.
TEST(FamilyTest, SeriesComeAndGoDuringScrapes) {
  constexpr int kThreads = 3;
  constexpr int kSeries = 500;
  Registry registry;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      {
        CounterFamily family = *registry.AddCounterFamily(Dropped());
        GaugeFamily gauges = *registry.AddGaugeFamily({.name = "test_children",
                                                       .help = "Children.",
                                                       .labels = {"child"}});
        for (int i = 0; i < kSeries; ++i) {
          family.With(std::to_string(i)).Increment();
          gauges.With(std::to_string(i)).Set(t);
          if (i % 3 == 0) gauges.Remove(std::to_string(i));
        }
      }
      --running;
    });
  }
  while (running > 0) Read(registry);
  for (std::thread& thread : threads) thread.join();
  const auto series = Read(registry);
  EXPECT_EQ(series.size(), kSeries);
  for (const auto& [reason, value] : series)
    EXPECT_EQ(value, kThreads) << reason;
  EXPECT_THAT(Read(registry, "test_children"), IsEmpty());
}

}  // namespace
}  // namespace braid::metrics
