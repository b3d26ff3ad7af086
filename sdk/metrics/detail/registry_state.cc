#include "braid/metrics/detail/registry_state.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <set>
#include <utility>

#include "braid/metrics/detail/text.h"

namespace braid::metrics::detail {
namespace {

using braid::detail::Concat;
using braid::detail::OneLine;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Series read with the lock of their family held.
constexpr size_t kSeriesAtOnce = 128;

MetricType TypeOf(Kind kind) {
  switch (kind) {
    case Kind::kCounter:
      return MetricType::Counter;
    case Kind::kGauge:
      return MetricType::Gauge;
    case Kind::kHistogram:
      return MetricType::Histogram;
  }
  return MetricType::Untyped;
}

std::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Summary:
      return "summary";
    case MetricType::Untyped:
      return "untyped";
    case MetricType::Histogram:
      return "histogram";
  }
  return "";
}

std::vector<std::string> NamesOfSamples(MetricType type,
                                        const std::string& name) {
  switch (type) {
    case MetricType::Histogram:
      return {name, name + "_bucket", name + "_sum", name + "_count"};
    case MetricType::Summary:
      return {name, name + "_sum", name + "_count"};
    default:
      return {name};
  }
}

// The data model's rule, https://prometheus.io/docs/concepts/data_model.
bool IsName(std::string_view name, bool colons) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9'))
    return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || (colons && c == ':');
  });
}

std::string Quote(std::string_view text) {
  return Concat("\"", OneLine(text), "\"");
}

bool SameDefinition(const Definition& a, const Definition& b) {
  return a.help == b.help && a.labels == b.labels &&
         a.max_series == b.max_series;
}

}  // namespace

absl::StatusOr<std::shared_ptr<FamilyState>> RegistryState::Add(
    Kind kind, const Definition& definition, std::vector<double> bounds) {
  if (absl::Status status = Validate(kind, definition); !status.ok())
    return status;
  const std::string what = Concat("metric ", Quote(definition.name), ": ");
  if (!bounds.empty() &&
      bounds.back() == std::numeric_limits<double>::infinity())
    bounds.pop_back();
  for (size_t i = 0; i < bounds.size(); ++i) {
    if (!(bounds[i] > -std::numeric_limits<double>::infinity() &&
          bounds[i] < std::numeric_limits<double>::infinity()) ||
        (i > 0 && bounds[i] <= bounds[i - 1])) {
      std::string bound;
      braid::detail::AppendDouble(bound, bounds[i]);
      return absl::InvalidArgumentError(
          Concat(what, "bucket bound ", bound,
                 " is not finite or not above the one before; bounds are "
                 "ascending numbers"));
    }
  }
  if (kind == Kind::kHistogram && bounds.empty()) {
    return absl::InvalidArgumentError(
        what + "it has no bucket bounds; see metrics/buckets.h for some");
  }

  const std::lock_guard lock(mutex_);
  if (auto found = families_.find(definition.name); found != families_.end()) {
    const FamilyState& there = *found->second;
    if (there.kind() != kind) {
      return absl::AlreadyExistsError(
          Concat(what, "it is registered as a ", KindName(there.kind()),
                 ", and now as a ", KindName(kind),
                 "; one of them needs another name"));
    }
    if (!SameDefinition(there.definition(), definition) ||
        !std::equal(bounds.begin(), bounds.end(), there.bounds().begin(),
                    there.bounds().end())) {
      return absl::AlreadyExistsError(
          what +
          "it is registered with another help, labels, max_series or bounds; "
          "share one definition, or rename one");
    }
    return found->second;
  }
  std::vector<std::string> names =
      NamesOfSamples(TypeOf(kind), definition.name);
  // The name that OpenMetrics gives the family.
  if (kind == Kind::kCounter)
    names.push_back(definition.name.substr(0, definition.name.size() - 6));
  for (const std::string& name : names) {
    if (auto found = claims_.find(name); found != claims_.end()) {
      return absl::AlreadyExistsError(
          Concat(what, Quote(name), " is a name of the metric ",
                 Quote(found->second), " already; rename one of them"));
    }
  }
  for (std::string& name : names)
    claims_.emplace(std::move(name), definition.name);
  return families_
      .emplace(definition.name, std::make_shared<FamilyState>(
                                    kind, definition, std::move(bounds)))
      .first->second;
}

absl::Status RegistryState::AddCollectable(
    std::shared_ptr<prometheus::Collectable> collectable) {
  if (collectable == nullptr)
    return absl::InvalidArgumentError("the collectable is null");
  const std::lock_guard lock(mutex_);
  if (std::find(collectables_.begin(), collectables_.end(), collectable) !=
      collectables_.end()) {
    return absl::InvalidArgumentError(
        "the collectable is in this registry already; add it once");
  }
  collectables_.push_back(std::move(collectable));
  return absl::OkStatus();
}

void RegistryState::RemoveCollectable(
    const prometheus::Collectable& collectable) {
  std::shared_ptr<prometheus::Collectable> gone;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  for (auto at = collectables_.begin(); at != collectables_.end(); ++at) {
    if (at->get() != &collectable) continue;
    gone = std::move(*at);
    collectables_.erase(at);
    return;
  }
}

std::vector<std::shared_ptr<prometheus::Collectable>>
RegistryState::Collectables() const {
  const std::lock_guard lock(mutex_);
  return collectables_;
}

std::vector<MetricFamily> RegistryState::OwnFamilies() const {
  MetricFamily overflow = {
      .name = "braid_metrics_overflow_total",
      .help =
          "Look-ups of a series that a metric's max_series left no room for.",
      .type = MetricType::Counter};
  MetricFamily problems = {
      .name = "braid_metrics_problems_total",
      .help = "Series left out of scrapes and callbacks that failed.",
      .type = MetricType::Counter};
  uint64_t count = problems_.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  for (const auto& [name, family] : families_) {
    count += family->failed_callbacks();
    if (family->definition().labels.empty()) continue;
    ClientMetric& metric = overflow.metric.emplace_back();
    metric.label = {{.name = "metric", .value = name}};
    metric.counter.value = static_cast<double>(family->overflowed());
  }
  problems.metric.emplace_back().counter.value = static_cast<double>(count);
  std::vector<MetricFamily> families;
  if (!overflow.metric.empty()) families.push_back(std::move(overflow));
  families.push_back(std::move(problems));
  return families;
}

// Puts families of collectables under the names of a scrape.
class RegistryState::Merger {
 public:
  explicit Merger(Scrape& scrape) : scrape_(scrape) {}

  void Add(const std::string& name, std::shared_ptr<FamilyState> own) {
    Claim(TypeOf(own->kind()), name);
    scrape_.families[name].own = std::move(own);
  }

  void Add(MetricFamily family) {
    if (!IsName(family.name, true)) {
      return Problem(
          Concat("family ", Quote(family.name),
                 ": Prometheus would refuse this name; it is left out"));
    }
    auto found = scrape_.families.find(family.name);
    if (found == scrape_.families.end()) {
      if (!Claim(family.type, family.name)) return;
      found = scrape_.families.try_emplace(family.name).first;
      found->second.other = {.name = family.name,
                             .help = std::move(family.help),
                             .type = family.type};
    } else if (found->second.own != nullptr) {
      // From here on both are one family in the data model.
      MetricFamily collected = CollectFamily(*found->second.own);
      found->second.own = nullptr;
      found->second.other = {
          .name = family.name, .help = collected.help, .type = collected.type};
      AddMetrics(std::move(collected), found->second.other);
    }
    MetricFamily& to = found->second.other;
    if (to.type != family.type) {
      return Problem(Concat("family ", Quote(family.name), ": it is a ",
                            TypeName(to.type),
                            " and, in another collectable, a ",
                            TypeName(family.type), "; the second is left out"));
    }
    AddMetrics(std::move(family), to);
  }

  void Problem(std::string text) {
    ++problems_;
    if (scrape_.problems.size() >= kMostProblems) return;
    std::replace_if(
        text.begin(), text.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
    scrape_.problems.push_back(std::move(text));
  }

  uint64_t problems() const { return problems_; }

 private:
  bool Claim(MetricType type, const std::string& name) {
    std::vector<std::string> names = NamesOfSamples(type, name);
    for (const std::string& sample : names) {
      if (auto found = claims_.find(sample); found != claims_.end()) {
        Problem(Concat("family ", Quote(name), ": ", Quote(sample),
                       " is a name of the family ", Quote(found->second),
                       " already; it is left out"));
        return false;
      }
    }
    for (std::string& sample : names) claims_.emplace(std::move(sample), name);
    return true;
  }

  void AddMetrics(MetricFamily from, MetricFamily& to) {
    std::set<std::string>& seen = seen_[to.name];
    for (ClientMetric& metric : from.metric) {
      std::sort(metric.label.begin(), metric.label.end());
      std::string key;
      bool good = true;
      const std::string* previous = nullptr;
      for (ClientMetric::Label& label : metric.label) {
        good = good && IsName(label.name, false) &&
               !label.name.starts_with("__") &&
               !(to.type == MetricType::Histogram && label.name == "le") &&
               !(to.type == MetricType::Summary && label.name == "quantile") &&
               (previous == nullptr || *previous != label.name);
        previous = &label.name;
        std::string value;
        braid::detail::AppendUtf8(value, label.value, kLongestValue);
        label.value = std::move(value);
        key += Concat(key.empty() ? "" : ",", label.name, "=\"");
        braid::detail::AppendEscaped(key, label.value, true);
        key += '"';
      }
      if (!good) {
        Problem(Concat("series ", to.name, "{", key,
                       "}: Prometheus would refuse a label name that is there "
                       "twice, reserved or malformed; it is left out"));
      } else if (!seen.insert(key).second) {
        Problem(Concat("series ", to.name, "{", key,
                       "}: it is there twice; the second is left out"));
      } else {
        to.metric.push_back(std::move(metric));
      }
    }
  }

  Scrape& scrape_;
  std::map<std::string, std::string> claims_;
  std::map<std::string, std::set<std::string>> seen_;
  uint64_t problems_ = 0;
};

Scrape RegistryState::BeginScrape() {
  Scrape scrape;
  Merger merger(scrape);
  std::vector<std::shared_ptr<prometheus::Collectable>> collectables;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, family] : families_) merger.Add(name, family);
    collectables = collectables_;
  }
  for (MetricFamily& family : OwnFamilies()) merger.Add(std::move(family));
  for (const auto& collectable : collectables) {
    std::vector<MetricFamily> families;
    try {
      families = collectable->Collect();
    } catch (const std::exception& e) {
      merger.Problem(Concat("a collectable failed, its families are left out: ",
                            OneLine(e.what())));
    } catch (...) {
      merger.Problem(
          "a collectable threw something that is no std::exception, its "
          "families are left out");
    }
    for (MetricFamily& family : families) merger.Add(std::move(family));
  }
  problems_.fetch_add(merger.problems(), std::memory_order_relaxed);
  return scrape;
}

MetricFamily CollectFamily(FamilyState& family) {
  const Definition& definition = family.definition();
  MetricFamily collected = {.name = definition.name,
                            .help = definition.help,
                            .type = TypeOf(family.kind())};
  const std::span<const double> bounds = family.bounds();
  const auto add = [&](std::string_view key, const Totals& totals) {
    ClientMetric& metric = collected.metric.emplace_back();
    const std::vector<std::string_view> values = FamilyState::SplitKey(key);
    for (size_t i = 0; i < values.size(); ++i) {
      metric.label.push_back(
          {.name = definition.labels[i], .value = std::string(values[i])});
    }
    switch (family.kind()) {
      case Kind::kCounter:
        metric.counter.value = static_cast<double>(totals.whole) + totals.real;
        return;
      case Kind::kGauge:
        metric.gauge.value = totals.real;
        return;
      case Kind::kHistogram:
        uint64_t cumulative = 0;
        for (size_t i = 0; i < totals.buckets.size(); ++i) {
          cumulative += totals.buckets[i];
          metric.histogram.bucket.push_back(
              {.cumulative_count = cumulative,
               .upper_bound = i < bounds.size()
                                  ? bounds[i]
                                  : std::numeric_limits<double>::infinity()});
        }
        metric.histogram.sample_count = cumulative;
        metric.histogram.sample_sum = totals.real;
        return;
    }
  };
  std::optional<std::string> last = family.Read(nullptr, kSeriesAtOnce, add);
  while (last.has_value()) last = family.Read(&*last, kSeriesAtOnce, add);
  return collected;
}

}  // namespace braid::metrics::detail
