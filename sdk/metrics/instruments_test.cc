#include "braid/metrics/instruments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "braid/metrics/buckets.h"
#include "braid/metrics/registry.h"

namespace braid::metrics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const Definition kCounter = {.name = "test_events_total", .help = "Events."};
const Definition kGauge = {.name = "test_depth", .help = "Depth."};
const Definition kHistogram = {.name = "test_latency_seconds",
                               .help = "Latency."};

// The only series of a metric, as a scrape sees it; nothing if it has none.
std::optional<prometheus::ClientMetric> Read(const Registry& registry,
                                             const std::string& name) {
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    if (family.name != name || family.metric.empty()) continue;
    EXPECT_EQ(family.metric.size(), 1u);
    return family.metric[0];
  }
  return std::nullopt;
}

double CounterValue(const Registry& registry) {
  return Read(registry, kCounter.name)->counter.value;
}
double GaugeValue(const Registry& registry) {
  return Read(registry, kGauge.name)->gauge.value;
}

TEST(CounterTest, Increments) {
  Registry registry;
  Counter counter = *registry.AddCounter(kCounter);
  EXPECT_EQ(CounterValue(registry), 0);
  counter.Increment();
  counter.Increment(41);
  EXPECT_EQ(CounterValue(registry), 42);
  counter.Increment(0.5);
  EXPECT_EQ(CounterValue(registry), 42.5);
  counter.Increment(0);
  counter.Increment(uint64_t{1} << 60);
  EXPECT_EQ(CounterValue(registry), 42.5 + 0x1p60);
}

TEST(CounterTest, OnlyGrows) {
  Registry registry;
  Counter counter = *registry.AddCounter(kCounter);
  EXPECT_DEATH(counter.Increment(-1), "it only grows");
  EXPECT_DEATH(counter.Increment(-0.1), "it only grows");
  EXPECT_DEATH(counter.Increment(std::nan("")), "it only grows");
}

TEST(CounterTest, HandlesOfOneMetricAreSummed) {
  Registry registry;
  Counter a = *registry.AddCounter(kCounter);
  Counter b = *registry.AddCounter(kCounter);
  a.Increment(1);
  b.Increment(10);
  EXPECT_EQ(CounterValue(registry), 11);
}

TEST(CounterTest, WhatAHandleCountedStaysWhenItGoes) {
  Registry registry;
  {
    Counter counter = *registry.AddCounter(kCounter);
    counter.Increment(5);
    counter.Increment(0.25);
  }
  EXPECT_EQ(CounterValue(registry), 5.25);
  Counter again = *registry.AddCounter(kCounter);
  again.Increment();
  EXPECT_EQ(CounterValue(registry), 6.25);
}

TEST(CounterTest, MovesAndOutlivesItsRegistry) {
  std::optional<Counter> kept;
  {
    Registry registry;
    Counter counter = *registry.AddCounter(kCounter);
    counter.Increment(2);
    kept = std::move(counter);
    kept->Increment();
    EXPECT_EQ(CounterValue(registry), 3);
    Counter other = *registry.AddCounter(kCounter);
    other.Increment(4);
    *kept = std::move(other);  // what the old one counted stays
    kept->Increment();
    EXPECT_EQ(CounterValue(registry), 8);
  }
  kept->Increment();
}

// Handles of several threads, scraped meanwhile: nothing is lost, and nothing
// ever falls. Under ThreadSanitizer this is the proof that scraping doesn't
// race with counting.
TEST(CounterTest, ThreadsCountAndAScrapeReads) {
  constexpr int kThreads = 4;
  constexpr int kEach = 50000;
  Registry registry;
  Counter first = *registry.AddCounter(kCounter);
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      {
        Counter counter = *registry.AddCounter(kCounter);
        Histogram histogram =
            *registry.AddHistogram(kHistogram, LatencyBuckets());
        for (int i = 0; i < kEach; ++i) {
          counter.Increment();
          histogram.Observe(i * 1e-5);
          if (i % 64 == 0)
            histogram.Observe(
                i * 1e-5,
                {.trace_id_high = 1, .trace_id_low = 2, .unix_seconds = 3});
        }
      }
      --running;
    });
  }
  double last = 0;
  uint64_t last_count = 0;
  while (running > 0) {
    const double now = CounterValue(registry);
    EXPECT_GE(now, last);
    last = now;
    if (const auto histogram = Read(registry, kHistogram.name);
        histogram.has_value()) {
      EXPECT_GE(histogram->histogram.sample_count, last_count);
      last_count = histogram->histogram.sample_count;
      EXPECT_EQ(histogram->histogram.bucket.back().cumulative_count,
                last_count);
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(CounterValue(registry), kThreads * kEach);
  constexpr uint64_t kWithExemplar = (kEach + 63) / 64;
  EXPECT_EQ(Read(registry, kHistogram.name)->histogram.sample_count,
            kThreads * (kEach + kWithExemplar));
}

#ifndef NDEBUG
TEST(CounterTest, TwoThreadsWithOneHandleIsMisuse) {
  EXPECT_DEATH(
      {
        Registry registry;
        Counter counter = *registry.AddCounter(kCounter);
        counter.Increment();
        std::thread([&] { counter.Increment(); }).join();
      },
      "test_events_total is written by two threads");
}

TEST(CounterTest, AMovedHandleMayGoToAnotherThread) {
  Registry registry;
  Counter counter = *registry.AddCounter(kCounter);
  counter.Increment();
  std::thread([moved = std::move(counter)]() mutable {
    moved.Increment();
  }).join();
  EXPECT_EQ(CounterValue(registry), 2);
}
#endif

TEST(GaugeTest, GoesUpAndDown) {
  Registry registry;
  Gauge gauge = *registry.AddGauge(kGauge);
  gauge.Set(5);
  gauge.Increment();
  gauge.Decrement();
  gauge.Decrement();
  gauge.Add(-0.5);
  EXPECT_EQ(GaugeValue(registry), 3.5);
}

TEST(GaugeTest, AHandlesShareGoesWithIt) {
  Registry registry;
  Gauge stays = *registry.AddGauge(kGauge);
  stays.Set(1);
  {
    Gauge goes = *registry.AddGauge(kGauge);
    goes.Set(10);
    EXPECT_EQ(GaugeValue(registry), 11);
  }
  EXPECT_EQ(GaugeValue(registry), 1);
}

TEST(GaugeTest, HoldLastsAsLongAsItLives) {
  Registry registry;
  Gauge gauge = *registry.AddGauge(kGauge);
  {
    Gauge::Held one = gauge.Hold();
    EXPECT_EQ(GaugeValue(registry), 1);
    Gauge::Held moved = std::move(one);
    const Gauge::Held bytes = gauge.Hold(100);
    EXPECT_EQ(GaugeValue(registry), 101);
  }
  EXPECT_EQ(GaugeValue(registry), 0);
}

TEST(HistogramTest, ABoundBelongsToItsBucket) {
  Registry registry;
  Histogram histogram = *registry.AddHistogram(kHistogram, {1, 2, 4});
  for (double value :
       {-1.0, 0.5, 1.0, 1.5, 2.0, 2.5, 4.0, 4.5, kInfinity, -kInfinity})
    histogram.Observe(value);
  const auto read = Read(registry, kHistogram.name)->histogram;
  std::vector<uint64_t> cumulative;
  for (const auto& bucket : read.bucket)
    cumulative.push_back(bucket.cumulative_count);
  EXPECT_THAT(cumulative, ::testing::ElementsAre(4, 6, 8, 10));
  EXPECT_EQ(read.sample_count, 10u);
}

// Bounds are searched in groups of eight: sizes around the groups, and every
// value on, below and above each bound.
TEST(HistogramTest, EveryNumberOfBounds) {
  for (int count = 1; count <= 26; ++count) {
    Registry registry;
    const std::vector<double> bounds = LinearBuckets(1, 1, count);
    Histogram histogram = *registry.AddHistogram(kHistogram, bounds);
    for (int i = 1; i <= count; ++i) {
      histogram.Observe(i - 0.5);
      histogram.Observe(i);
    }
    histogram.Observe(count + 0.5);
    histogram.Observe(kInfinity);
    const auto read = Read(registry, kHistogram.name)->histogram;
    ASSERT_EQ(read.bucket.size(), bounds.size() + 1);
    for (int i = 0; i < count; ++i)
      EXPECT_EQ(read.bucket[i].cumulative_count, 2u * (i + 1)) << count;
    EXPECT_EQ(read.bucket.back().cumulative_count, 2u * count + 2);
    EXPECT_EQ(read.bucket.back().upper_bound, kInfinity);
  }
}

TEST(HistogramTest, NaNIsNotCounted) {
  Registry registry;
  Histogram histogram = *registry.AddHistogram(kHistogram, {1});
  histogram.Observe(std::nan(""));
  histogram.Observe(std::nan(""), Exemplar{});
  histogram.Observe(0.25);
  const auto read = Read(registry, kHistogram.name)->histogram;
  EXPECT_EQ(read.sample_count, 1u);
  EXPECT_EQ(read.sample_sum, 0.25);
}

TEST(HistogramTest, WhatAHandleCountedStaysWhenItGoes) {
  Registry registry;
  {
    Histogram histogram = *registry.AddHistogram(kHistogram, {1, 2});
    histogram.Observe(1.5, {.trace_id_low = 1});
    histogram.Observe(3);
  }
  Histogram histogram = *registry.AddHistogram(kHistogram, {1, 2});
  histogram.Observe(0.5);
  const auto read = Read(registry, kHistogram.name)->histogram;
  EXPECT_EQ(read.sample_count, 3u);
  EXPECT_EQ(read.sample_sum, 5);
  EXPECT_EQ(read.bucket[0].cumulative_count, 1u);
  EXPECT_EQ(read.bucket[1].cumulative_count, 2u);
}

TEST(BucketsTest, Helpers) {
  EXPECT_THAT(ExponentialBuckets(1, 2, 4), ::testing::ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(LinearBuckets(-1, 0.5, 3), ::testing::ElementsAre(-1, -0.5, 0));
  EXPECT_THAT(LatencyBuckets(), ::testing::SizeIs(16));
  EXPECT_EQ(SizeBuckets().back(), 16 << 20);
  EXPECT_DEATH(ExponentialBuckets(0, 2, 4), "start above 0");
  EXPECT_DEATH(LinearBuckets(0, 0, 4), "width above 0");
}

}  // namespace
}  // namespace braid::metrics
