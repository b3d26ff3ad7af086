#include "braid/metrics/family.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "braid/metrics/detail/family_state.h"

namespace braid::metrics {

template <typename Instrument>
struct Family<Instrument>::Cache {
  std::shared_ptr<detail::FamilyState> state;
  // By key. Only looked up in, never iterated: its order is not the same in two
  // runs. Abseil's tables don't survive std::bad_alloc.
  std::unordered_map<std::string, std::unique_ptr<Instrument>> instruments;
  std::unique_ptr<Instrument> overflow;
  std::string key;  // of the combination that is being looked up
};

template <typename Instrument>
Family<Instrument>::Family(std::shared_ptr<detail::FamilyState> state)
    : cache_(new Cache{.state = std::move(state)}) {}
template <typename Instrument>
Family<Instrument>::Family(Family&&) noexcept = default;
template <typename Instrument>
Family<Instrument>& Family<Instrument>::operator=(Family&&) noexcept = default;
template <typename Instrument>
Family<Instrument>::~Family() = default;

template <typename Instrument>
Instrument& Family<Instrument>::Find(std::span<const std::string_view> values) {
  Cache& cache = *cache_;
  cache.key.clear();
  cache.state->AppendKey(values, cache.key);
  if (auto found = cache.instruments.find(cache.key);
      found != cache.instruments.end())
    return *found->second;
  if (std::optional<detail::Lease> lease = cache.state->TryAttach(cache.key);
      lease.has_value()) {
    std::unique_ptr<Instrument> made(new Instrument(*std::move(lease)));
    return *cache.instruments.emplace(cache.key, std::move(made)).first->second;
  }
  cache.state->CountOverflow();
  if (cache.overflow == nullptr)
    cache.overflow =
        std::make_unique<Instrument>(cache.state->AttachOverflow());
  return *cache.overflow;
}

template <typename Instrument>
void Family<Instrument>::Drop(std::span<const std::string_view> values) {
  Cache& cache = *cache_;
  cache.key.clear();
  cache.state->AppendKey(values, cache.key);
  const auto found = cache.instruments.find(cache.key);
  if (found == cache.instruments.end()) return;
  std::move(found->second->lease_).Forget();
  cache.instruments.erase(found);
}

template class Family<Counter>;
template class Family<Gauge>;
template class Family<Histogram>;

}  // namespace braid::metrics
