// Bounds for histograms.
//
// Put several of them around the value that decides whether things are well
// (the objective for a latency): quantiles are interpolated inside a bucket.
// Each bucket of each series is a time series of its own, so 10 to 20 are
// plenty.

#ifndef BRAID_METRICS_BUCKETS_H_
#define BRAID_METRICS_BUCKETS_H_

#include <vector>

namespace braid::metrics {

// start, start * factor, start * factor^2, ...: `count` bounds. Needs start >
// 0, factor > 1.
std::vector<double> ExponentialBuckets(double start, double factor, int count);

// start, start + width, ...: `count` bounds. Needs width > 0.
std::vector<double> LinearBuckets(double start, double width, int count);

// For the latency of a request in seconds, from 100 us to 10 s: the default
// bounds of Prometheus' client libraries, with five finer ones below.
std::vector<double> LatencyBuckets();

// For sizes in bytes: powers of 4 from 64 to 16 MiB.
std::vector<double> SizeBuckets();

}  // namespace braid::metrics

#endif  // BRAID_METRICS_BUCKETS_H_
