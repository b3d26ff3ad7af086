// What a registry holds, and what one scrape of it finds.

#ifndef BRAID_METRICS_DETAIL_REGISTRY_STATE_H_
#define BRAID_METRICS_DETAIL_REGISTRY_STATE_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/metrics/definition.h"
#include "braid/metrics/detail/family_state.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace braid::metrics::detail {

// All that is exposed under one name: a family of the registry's own, or else
// families of collectables, already merged.
struct ScrapedFamily {
  std::shared_ptr<FamilyState> own;
  prometheus::MetricFamily other;
};

struct Scrape {
  std::map<std::string, ScrapedFamily> families;
  // What was left out and why, a line each; the first kMostProblems of them.
  std::vector<std::string> problems;
};

class RegistryState {
 public:
  static constexpr size_t kMostProblems = 20;

  absl::StatusOr<std::shared_ptr<FamilyState>> Add(Kind kind,
                                                   const Definition& definition,
                                                   std::vector<double> bounds);
  absl::Status AddCollectable(
      std::shared_ptr<prometheus::Collectable> collectable);
  void RemoveCollectable(const prometheus::Collectable& collectable);
  std::vector<std::shared_ptr<prometheus::Collectable>> Collectables() const;

  // Calls Collect() of the collectables, sorts out what can't be exposed
  // together, and counts problems.
  Scrape BeginScrape();

 private:
  class Merger;

  // What the registry says about itself.
  std::vector<prometheus::MetricFamily> OwnFamilies() const;

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<FamilyState>> families_;
  // Names that samples of the families have, and the family whose they are.
  std::map<std::string, std::string> claims_;
  std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;
  std::atomic<uint64_t> problems_ = 0;
};

// The family in prometheus-cpp's data model.
prometheus::MetricFamily CollectFamily(FamilyState& family);

}  // namespace braid::metrics::detail

#endif  // BRAID_METRICS_DETAIL_REGISTRY_STATE_H_
