// A family with labels: one instrument for each combination of label values.
//
//   metrics::CounterFamily dropped = *registry.AddCounterFamily(
//       {.name = "echo_dropped_datagrams_total",
//        .help = "Datagrams dropped, by reason.",
//        .labels = {"reason"}});
//   metrics::Counter& too_long = dropped.With("too_long");  // once
//   too_long.Increment();                                   // often
//
// Like an instrument, a family is a handle for one loop (shard, thread): each
// has its own, and the scrape adds them up.

#ifndef BRAID_METRICS_FAMILY_H_
#define BRAID_METRICS_FAMILY_H_

#include <array>
#include <memory>
#include <span>
#include <string_view>

#include "braid/metrics/instruments.h"

namespace braid::metrics {

template <typename Instrument>
class Family {
 public:
  explicit Family(std::shared_ptr<detail::FamilyState> state);
  Family(Family&&) noexcept;
  Family& operator=(Family&&) noexcept;
  ~Family();

  // The instrument for these label values, in the order of the definition's
  // label names; another number of values is a failed check. A new series
  // starts at 0 and is exposed at once: call this at start for values known in
  // advance, so that rates are right from the first event.
  //
  // The reference is valid until Remove or the end of this object. A known
  // combination costs a hash lookup, a new one a lock and allocations, so keep
  // the reference where it matters. Beyond the definition's max_series all new
  // combinations share one instrument, the series labelled "overflow". Values
  // are made valid UTF-8 and cut at 1 KiB.
  template <typename... Values>
  Instrument& With(const Values&... values) {
    const std::array<std::string_view, sizeof...(Values)> list = {
        std::string_view(values)...};
    return Find(list);
  }

  // Gives up this handle's instrument for these values, if there is one. Once
  // no handle has one left, the series is no longer exposed and makes room for
  // another; what it had counted is lost. For things that end, such as a child
  // process.
  template <typename... Values>
  void Remove(const Values&... values) {
    const std::array<std::string_view, sizeof...(Values)> list = {
        std::string_view(values)...};
    Drop(list);
  }

 private:
  struct Cache;

  Instrument& Find(std::span<const std::string_view> values);
  void Drop(std::span<const std::string_view> values);

  std::unique_ptr<Cache> cache_;
};

using CounterFamily = Family<Counter>;
using GaugeFamily = Family<Gauge>;
using HistogramFamily = Family<Histogram>;

extern template class Family<Counter>;
extern template class Family<Gauge>;
extern template class Family<Histogram>;

}  // namespace braid::metrics

#endif  // BRAID_METRICS_FAMILY_H_
