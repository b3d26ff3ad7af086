// What counting and scraping cost. `bazel run //sdk/metrics:metrics_benchmark`
// prints nanoseconds for one operation, the median of several rounds.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "braid/metrics/buckets.h"
#include "braid/metrics/exposition.h"
#include "braid/metrics/registry.h"

namespace {

using braid::metrics::Counter;
using braid::metrics::CounterFamily;
using braid::metrics::Expose;
using braid::metrics::Format;
using braid::metrics::Gauge;
using braid::metrics::Histogram;
using braid::metrics::Registry;

double Median(const std::function<double()>& round) {
  std::vector<double> figures;
  for (int i = 0; i < 9; ++i) figures.push_back(round());
  std::nth_element(figures.begin(), figures.begin() + 4, figures.end());
  return figures[4];
}

// Nanoseconds for one of `count` calls.
template <typename F>
double Time(int count, F&& call) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    call(i);
    asm volatile("" ::: "memory");  // each one is done
  }
  return std::chrono::duration<double, std::nano>(
             std::chrono::steady_clock::now() - begin)
             .count() /
         count;
}

void Print(const char* name, double ns) {
  std::printf("%-46s %12.2f ns\n", name, ns);
}

}  // namespace

int main() {
  constexpr int kMany = 20'000'000;
  {
    Registry registry;
    Counter counter =
        *registry.AddCounter({.name = "bench_events_total", .help = "Events."});
    Print("counter, Increment()", Median([&] {
            return Time(kMany, [&](int) { counter.Increment(); });
          }));
    Print("counter, Increment(bytes)", Median([&] {
            return Time(kMany, [&](int i) { counter.Increment(i); });
          }));
    Print("counter, Increment(seconds)", Median([&] {
            return Time(kMany, [&](int) { counter.Increment(0.5); });
          }));
    Print("counter, two threads, each its own handle", Median([&] {
            double other_ns = 0;
            std::thread other([&] {
              Counter own = *registry.AddCounter(
                  {.name = "bench_events_total", .help = "Events."});
              other_ns = Time(kMany, [&](int) { own.Increment(); });
            });
            const double ns = Time(kMany, [&](int) { counter.Increment(); });
            other.join();
            return std::max(ns, other_ns);
          }));
    Gauge gauge = *registry.AddGauge({.name = "bench_depth", .help = "Depth."});
    Print("gauge, Set",
          Median([&] { return Time(kMany, [&](int i) { gauge.Set(i); }); }));
    Print("gauge, Hold and release", Median([&] {
            return Time(kMany, [&](int) { static_cast<void>(gauge.Hold()); });
          }));
    std::mt19937 random(1);
    std::lognormal_distribution<double> latency(-5, 1);
    std::vector<double> values(4096);
    for (double& value : values) value = latency(random);
    Histogram histogram =
        *registry.AddHistogram({.name = "bench_wait_seconds", .help = "Waits."},
                               braid::metrics::LatencyBuckets());
    Print("histogram of 16 bounds, Observe", Median([&] {
            return Time(kMany,
                        [&](int i) { histogram.Observe(values[i & 4095]); });
          }));
    Print("histogram of 16 bounds, Observe with exemplar", Median([&] {
            return Time(kMany, [&](int i) {
              histogram.Observe(values[i & 4095],
                                {.trace_id_low = 1, .unix_seconds = 2});
            });
          }));
    Histogram fine = *registry.AddHistogram(
        {.name = "bench_fine_seconds", .help = "Waits."},
        braid::metrics::ExponentialBuckets(0.0001, 1.2, 64));
    Print("histogram of 64 bounds, Observe", Median([&] {
            return Time(kMany, [&](int i) { fine.Observe(values[i & 4095]); });
          }));
    CounterFamily family =
        *registry.AddCounterFamily({.name = "bench_drops_total",
                                    .help = "Drops.",
                                    .labels = {"reason", "protocol"}});
    family.With("too_long", "udp").Increment();
    Print("family, With() of a known combination", Median([&] {
            return Time(kMany / 20, [&](int) {
              family.With("too_long", "udp").Increment();
            });
          }));
  }
  {
    constexpr int kSeries = 100'000;
    Registry registry;
    CounterFamily family =
        *registry.AddCounterFamily({.name = "bench_requests_total",
                                    .help = "Requests.",
                                    .labels = {"method", "peer"},
                                    .max_series = kSeries});
    Print("family, With() of a new combination", Time(kSeries, [&](int i) {
            family.With(i % 2 == 0 ? "get" : "put", std::to_string(i))
                .Increment(i);
          }));
    size_t bytes = 0;
    const auto expose = [&](Format format) {
      return Median([&] {
        return Time(1, [&](int) { bytes = Expose(registry, format).size(); });
      });
    };
    Print("Expose() of 100,000 series, text", expose(Format::kText));
    Print("Expose() of 100,000 series, OpenMetrics",
          expose(Format::kOpenMetrics));
    std::printf("%-46s %12zu\n", "bytes of it", bytes);
    Print("longest AppendNext() of it", Median([&] {
            braid::metrics::Exposition exposition(registry, Format::kText);
            std::string text;
            text.reserve(bytes);
            double longest = 0;
            for (bool more = true; more;) {
              longest = std::max(longest, Time(1, [&](int) {
                                   more = exposition.AppendNext(text);
                                 }));
            }
            return longest;
          }));
    Print("Collect() of 100,000 series", Median([&] {
            return Time(1, [&](int) { bytes = registry.Collect().size(); });
          }));
  }
}
