#include "braid/metrics/registry.h"

#include <string_view>

#include "braid/metrics/detail/family_state.h"
#include "braid/metrics/detail/registry_state.h"
#include "braid/metrics/detail/text.h"

namespace braid::metrics {
namespace {

using braid::detail::Concat;
using FamilyOr = absl::StatusOr<std::shared_ptr<detail::FamilyState>>;

template <typename Instrument>
absl::StatusOr<Instrument> One(detail::RegistryState& state, Kind kind,
                               const Definition& definition,
                               std::vector<double> bounds = {}) {
  if (!definition.labels.empty()) {
    return absl::InvalidArgumentError(
        Concat("metric \"", definition.name,
               "\": it has labels; add it as a family, and get its instruments "
               "from With()"));
  }
  FamilyOr family = state.Add(kind, definition, std::move(bounds));
  if (!family.ok()) return family.status();
  return Instrument(*(*family)->TryAttach(""));
}

template <typename Instrument>
absl::StatusOr<Family<Instrument>> Many(detail::RegistryState& state, Kind kind,
                                        const Definition& definition,
                                        std::vector<double> bounds = {}) {
  if (definition.labels.empty()) {
    return absl::InvalidArgumentError(
        Concat("metric \"", definition.name,
               "\": a family needs labels; name them, or add it as a single "
               "instrument"));
  }
  FamilyOr family = state.Add(kind, definition, std::move(bounds));
  if (!family.ok()) return family.status();
  return Family<Instrument>(*std::move(family));
}

absl::StatusOr<Callback> AddCallback(
    detail::RegistryState& state, Kind kind, const Definition& definition,
    const std::vector<std::string>& label_values,
    std::function<double()> read) {
  if (read == nullptr)
    return absl::InvalidArgumentError(
        Concat("metric \"", definition.name, "\": the callback is null"));
  if (label_values.size() != definition.labels.size()) {
    return absl::InvalidArgumentError(Concat(
        "metric \"", definition.name, "\": it has ",
        std::to_string(definition.labels.size()), " labels and was given ",
        std::to_string(label_values.size()), " values; give one for each"));
  }
  FamilyOr added = state.Add(kind, definition, {});
  if (!added.ok()) return added.status();
  std::shared_ptr<detail::FamilyState> family = *std::move(added);
  std::string key;
  family->AppendKey(
      std::vector<std::string_view>(label_values.begin(), label_values.end()),
      key);
  const auto place = family->TryAddCallback(key, std::move(read));
  if (!place.has_value()) {
    return absl::ResourceExhaustedError(
        Concat("metric \"", definition.name,
               "\": it has as many series as its max_series of ",
               std::to_string(family->definition().max_series), " allows"));
  }
  return Callback([family = std::move(family), place = *place] {
    family->RemoveCallback(place);
  });
}

}  // namespace

Registry::Registry() : state_(std::make_shared<detail::RegistryState>()) {}
Registry::~Registry() = default;

absl::StatusOr<Counter> Registry::AddCounter(const Definition& definition) {
  return One<Counter>(*state_, Kind::kCounter, definition);
}

absl::StatusOr<Gauge> Registry::AddGauge(const Definition& definition) {
  return One<Gauge>(*state_, Kind::kGauge, definition);
}

absl::StatusOr<Histogram> Registry::AddHistogram(const Definition& definition,
                                                 std::vector<double> bounds) {
  return One<Histogram>(*state_, Kind::kHistogram, definition,
                        std::move(bounds));
}

absl::StatusOr<CounterFamily> Registry::AddCounterFamily(
    const Definition& definition) {
  return Many<Counter>(*state_, Kind::kCounter, definition);
}

absl::StatusOr<GaugeFamily> Registry::AddGaugeFamily(
    const Definition& definition) {
  return Many<Gauge>(*state_, Kind::kGauge, definition);
}

absl::StatusOr<HistogramFamily> Registry::AddHistogramFamily(
    const Definition& definition, std::vector<double> bounds) {
  return Many<Histogram>(*state_, Kind::kHistogram, definition,
                         std::move(bounds));
}

absl::StatusOr<Callback> Registry::AddCounterCallback(
    const Definition& definition, const std::vector<std::string>& label_values,
    std::function<double()> read) {
  return AddCallback(*state_, Kind::kCounter, definition, label_values,
                     std::move(read));
}

absl::StatusOr<Callback> Registry::AddGaugeCallback(
    const Definition& definition, const std::vector<std::string>& label_values,
    std::function<double()> read) {
  return AddCallback(*state_, Kind::kGauge, definition, label_values,
                     std::move(read));
}

absl::Status Registry::AddCollectable(
    std::shared_ptr<prometheus::Collectable> collectable) {
  if (dynamic_cast<const Registry*>(collectable.get()) != nullptr) {
    return absl::InvalidArgumentError(
        "a registry can't be added to a registry; let all register in one");
  }
  return state_->AddCollectable(std::move(collectable));
}

void Registry::RemoveCollectable(const prometheus::Collectable& collectable) {
  state_->RemoveCollectable(collectable);
}

std::vector<prometheus::MetricFamily> Registry::Collect() const {
  detail::Scrape scrape = state_->BeginScrape();
  std::vector<prometheus::MetricFamily> families;
  for (auto& [name, family] : scrape.families) {
    families.push_back(family.own != nullptr
                           ? detail::CollectFamily(*family.own)
                           : std::move(family.other));
  }
  return families;
}

}  // namespace braid::metrics
