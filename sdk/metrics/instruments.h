// Counter, Gauge, Histogram: what the hot path counts with. An increment costs
// about as much as incrementing an integer.
//
// An instrument is a handle with one writer. Each loop (shard, thread) asks the
// registry for its own, usually by making its own object of a struct like this
// one; a scrape adds them up:
//
//   struct EchoMetrics {
//     explicit EchoMetrics(metrics::Registry& registry)
//         : received(*registry.AddCounter(
//               {.name = "echo_received_datagrams_total",
//                .help = "Datagrams received."})),
//           dropped(*registry.AddCounterFamily(
//               {.name = "echo_dropped_datagrams_total",
//                .help = "Datagrams dropped, by reason.",
//                .labels = {"reason"}})),
//           too_long(dropped.With("too_long")) {}
//     metrics::Counter received;
//     metrics::CounterFamily dropped;
//     metrics::Counter& too_long;  // looked up once
//   };
//
// Threads: a handle is written by one thread, the first one that writes to it,
// until it is moved; debug builds check that. Reading is the registry's
// business and may happen on any thread. A handle may outlive its registry.
// When it goes, what it counted stays counted; a gauge's share goes with it.

#ifndef BRAID_METRICS_INSTRUMENTS_H_
#define BRAID_METRICS_INSTRUMENTS_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "braid/core/check.h"
#include "braid/metrics/detail/cell.h"

namespace braid::metrics {

// A number that only grows, from 0: requests, bytes, seconds spent.
class Counter {
 public:
  explicit Counter(detail::Lease lease) : lease_(std::move(lease)) {}

  void Increment() { detail::AddRelaxed<uint64_t>(lease_.ToWrite().whole, 1); }
  // By `amount`; a negative or NaN amount is a failed check. Whole numbers are
  // exact up to 2^64.
  template <std::integral T>
  void Increment(T amount) {
    braid::detail::Check(std::cmp_greater_equal(amount, 0), kNegative);
    detail::AddRelaxed<uint64_t>(lease_.ToWrite().whole,
                                 static_cast<uint64_t>(amount));
  }
  void Increment(double amount) {
    braid::detail::Check(amount >= 0, kNegative);
    detail::AddRelaxed(lease_.ToWrite().real, amount);
  }

 private:
  template <typename>
  friend class Family;

  static constexpr const char* kNegative =
      "a counter was incremented by less than 0, or NaN; it only grows, use a "
      "gauge for what goes up and down";

  detail::Lease lease_;
};

// A number that goes up and down: connections, bytes in a queue. Where several
// loops have handles of one gauge, what is reported is the sum; for what can't
// be added (a time, a version) keep one handle, or use a callback.
class Gauge {
 public:
  // While it lives, the gauge is higher by an amount. The way to count what is
  // in progress: it goes back when the frame of a stopped task goes. It must
  // not outlive the gauge.
  class Held {
   public:
    Held(Gauge& gauge, double amount) : gauge_(&gauge), amount_(amount) {
      gauge.Add(amount);
    }
    Held(Held&& other) noexcept
        : gauge_(std::exchange(other.gauge_, nullptr)),
          amount_(other.amount_) {}
    Held& operator=(Held&&) = delete;
    ~Held() {
      if (gauge_ != nullptr) gauge_->Add(-amount_);
    }

   private:
    Gauge* gauge_;
    double amount_;
  };

  explicit Gauge(detail::Lease lease) : lease_(std::move(lease)) {}

  void Set(double value) {
    lease_.ToWrite().real.store(value, std::memory_order_relaxed);
  }
  void Add(double amount) { detail::AddRelaxed(lease_.ToWrite().real, amount); }
  void Increment() { Add(1); }
  void Decrement() { Add(-1); }
  [[nodiscard]] Held Hold(double amount = 1) { return Held(*this, amount); }

 private:
  template <typename>
  friend class Family;

  detail::Lease lease_;
};

// How values are distributed: latencies in seconds, sizes in bytes. The bounds
// of its buckets are the family's, see buckets.h.
class Histogram {
 public:
  explicit Histogram(detail::Lease lease) : lease_(std::move(lease)) {}

  // Counts `value` in the first bucket whose upper bound is not below it. A NaN
  // is not counted: it would make the sum NaN for good.
  void Observe(double value) {
    if (value != value) [[unlikely]] {
      return;
    }
    detail::Cell& cell = lease_.ToWrite();
    Count(cell, BucketOf(cell, value), value);
  }

  // The same, and remembers the observation as the latest of its bucket. Only
  // OpenMetrics shows it. Costs a few stores more, so give it for traces that
  // are kept.
  void Observe(double value, const Exemplar& exemplar) {
    if (value != value) [[unlikely]] {
      return;
    }
    detail::Cell& cell = lease_.ToWrite();
    const size_t bucket = BucketOf(cell, value);
    Count(cell, bucket, value);
    detail::ExemplarSlot* slots =
        cell.exemplars.load(std::memory_order_relaxed);
    (slots != nullptr ? slots : MakeExemplars(cell))[bucket].Store(value,
                                                                   exemplar);
  }

 private:
  template <typename>
  friend class Family;

  // Whole groups of bounds, without a branch inside of one.
  static size_t BucketOf(const detail::Cell& cell, double value) {
    size_t bucket = 0;
    for (const double* bound = cell.bounds;
         bound != cell.bounds + cell.bound_count;
         bound += detail::kBoundsAtOnce) {
      size_t below = 0;
      for (size_t i = 0; i < detail::kBoundsAtOnce; ++i)
        below += bound[i] < value ? 1 : 0;
      bucket += below;
      if (below != detail::kBoundsAtOnce) break;
    }
    return bucket;
  }
  static void Count(detail::Cell& cell, size_t bucket, double value) {
    detail::AddRelaxed<uint64_t>(cell.buckets[bucket], 1);
    detail::AddRelaxed(cell.real, value);
  }
  static detail::ExemplarSlot* MakeExemplars(detail::Cell& cell);

  detail::Lease lease_;
};

}  // namespace braid::metrics

#endif  // BRAID_METRICS_INSTRUMENTS_H_
