#include "braid/metrics/build_info.h"

#include <memory>
#include <utility>
#include <vector>

namespace braid::metrics {
namespace {

// Families that never change.
class Constant final : public prometheus::Collectable {
 public:
  explicit Constant(std::vector<prometheus::MetricFamily> families)
      : families_(std::move(families)) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    return families_;
  }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

constexpr const char* kCompiler =
#ifdef __clang__
    "clang " __clang_version__;
#else
    "gcc " __VERSION__;
#endif

}  // namespace

absl::Status AddBuildInfo(Registry& registry, const BuildInfo& info) {
  prometheus::MetricFamily family = {
      .name = "braid_build_info",
      .help =
          "1, labelled with the version, source revision and compiler of the "
          "program.",
      .type = prometheus::MetricType::Gauge};
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.gauge.value = 1;
  metric.label = {{.name = "compiler", .value = kCompiler},
                  {.name = "revision", .value = info.revision},
                  {.name = "version", .value = info.version}};
  return registry.AddCollectable(
      std::make_shared<Constant>(std::vector{std::move(family)}));
}

}  // namespace braid::metrics
