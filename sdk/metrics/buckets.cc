#include "braid/metrics/buckets.h"

#include <cmath>

#include "braid/core/check.h"

namespace braid::metrics {

std::vector<double> ExponentialBuckets(double start, double factor, int count) {
  braid::detail::Check(
      start > 0 && factor > 1,
      "exponential buckets need a start above 0 and a factor above 1");
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i) bounds.push_back(start * std::pow(factor, i));
  return bounds;
}

std::vector<double> LinearBuckets(double start, double width, int count) {
  braid::detail::Check(width > 0, "linear buckets need a width above 0");
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i) bounds.push_back(start + width * i);
  return bounds;
}

std::vector<double> LatencyBuckets() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
          0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
}

std::vector<double> SizeBuckets() { return ExponentialBuckets(64, 4, 10); }

}  // namespace braid::metrics
