// braid_build_info: which build of the program runs, as the labels of a gauge
// that is 1. Joined to other metrics, it answers "since which version?".

#ifndef BRAID_METRICS_BUILD_INFO_H_
#define BRAID_METRICS_BUILD_INFO_H_

#include <string>

#include "absl/status/status.h"
#include "braid/metrics/registry.h"

namespace braid::metrics {

struct BuildInfo {
  std::string version;   // of the release: "1.4.0"
  std::string revision;  // of the source: a commit
};

// Adds braid_build_info{version, revision, compiler}; the compiler is the one
// that this is compiled with.
absl::Status AddBuildInfo(Registry& registry, const BuildInfo& info);

}  // namespace braid::metrics

#endif  // BRAID_METRICS_BUILD_INFO_H_
