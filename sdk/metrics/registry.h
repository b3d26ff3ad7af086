// Registry: all metrics of one host, and the place where a scrape finds them.
//
//   metrics::Registry registry;
//   metrics::Counter requests = *registry.AddCounter(
//       {.name = "shop_requests_total", .help = "Requests received."});
//   metrics::Histogram latency = *registry.AddHistogram(
//       {.name = "shop_request_seconds", .help = "From request to response."},
//       metrics::LatencyBuckets());
//   requests.Increment();
//   std::string text = metrics::Expose(registry, metrics::Format::kText);
//
// It belongs to a host or service object; there is no global one. Adding the
// same definition again gives another handle of the same metric: that is how
// each loop gets its own. A definition that breaks a rule, or differs from the
// one that has the name, is an error; `*` on the result ends the program with
// its message, which is right for names written in code.
//
// It speaks prometheus-cpp's data model both ways: it is a
// prometheus::Collectable that an Exposer or Gateway takes, and it takes other
// Collectables, such as a prometheus::Registry of a library. Braid's own text
// formats know more (exemplars, units, OpenMetrics) and escape correctly.
//
// Threads: all of it may be called from any thread.

#ifndef BRAID_METRICS_REGISTRY_H_
#define BRAID_METRICS_REGISTRY_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/metrics/definition.h"
#include "braid/metrics/family.h"
#include "braid/metrics/instruments.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace braid::metrics {

namespace detail {
class RegistryState;
}

// Keeps a callback registered. When the destructor returns, the callback isn't
// running and will not run again.
class [[nodiscard]] Callback {
 public:
  explicit Callback(std::function<void()> remove)
      : remove_(std::move(remove)) {}
  Callback(Callback&& other) noexcept
      : remove_(std::exchange(other.remove_, nullptr)) {}
  Callback& operator=(Callback&& other) noexcept {
    Callback moved(std::move(other));
    std::swap(remove_, moved.remove_);
    return *this;
  }
  ~Callback() {
    if (remove_ != nullptr) remove_();
  }

 private:
  std::function<void()> remove_;
};

class Registry final : public prometheus::Collectable {
 public:
  Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  ~Registry() override;

  // An instrument without labels. INVALID_ARGUMENT for a definition that breaks
  // a rule or has labels, ALREADY_EXISTS for a name that another definition
  // has, or that would be confused with one (a counter x_total and a gauge x).
  absl::StatusOr<Counter> AddCounter(const Definition& definition);
  absl::StatusOr<Gauge> AddGauge(const Definition& definition);
  // `bounds` are the upper bounds of the buckets, ascending; the bucket up to
  // +Inf comes by itself.
  absl::StatusOr<Histogram> AddHistogram(const Definition& definition,
                                         std::vector<double> bounds);

  // A family with labels. The same errors; INVALID_ARGUMENT without labels.
  absl::StatusOr<CounterFamily> AddCounterFamily(const Definition& definition);
  absl::StatusOr<GaugeFamily> AddGaugeFamily(const Definition& definition);
  absl::StatusOr<HistogramFamily> AddHistogramFamily(
      const Definition& definition, std::vector<double> bounds);

  // A value that `read` finds out when it is scraped, for the series with these
  // label values (none for a definition without labels). `read` is called on
  // the thread that scrapes, with a lock held: it must be quick and not use
  // this registry. NaN means that there is no value now; then the series is
  // left out. A counter's values must not fall. Where several callbacks and
  // handles have one series, it is the sum. RESOURCE_EXHAUSTED beyond the
  // definition's max_series.
  absl::StatusOr<Callback> AddCounterCallback(
      const Definition& definition,
      const std::vector<std::string>& label_values,
      std::function<double()> read);
  absl::StatusOr<Callback> AddGaugeCallback(
      const Definition& definition,
      const std::vector<std::string>& label_values,
      std::function<double()> read);

  // Exposes what `collectable` collects, too, until RemoveCollectable. Families
  // of one name and type are merged; a series that is there twice, a family
  // whose type differs and names that Prometheus would refuse are left out, and
  // each is a problem of the scrape, see Exposition::problems(). Collect() is
  // called on the thread that scrapes. INVALID_ARGUMENT for null, a Braid
  // registry, and one that is there already.
  absl::Status AddCollectable(
      std::shared_ptr<prometheus::Collectable> collectable);
  void RemoveCollectable(const prometheus::Collectable& collectable);

  // For users of prometheus-cpp: everything, in its data model, sorted by name
  // and labels.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  friend class Exposition;

  std::shared_ptr<detail::RegistryState> state_;
};

}  // namespace braid::metrics

#endif  // BRAID_METRICS_REGISTRY_H_
