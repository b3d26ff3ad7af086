// process_*: CPU, memory, descriptors and threads of this process, under the
// names that all Prometheus clients use
// (https://prometheus.io/docs/instrumenting/writing_clientlibs, "Process
// metrics").
//
// Everything is read when it is scraped, through a ProcessReader, so that a
// simulation can have none. What can't be read, or has no limit, is left out.

#ifndef BRAID_METRICS_PROCESS_H_
#define BRAID_METRICS_PROCESS_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/metrics/registry.h"

namespace braid::metrics {

// Where process metrics come from. Called on the thread that scrapes; must not
// block.
class ProcessReader {
 public:
  virtual ~ProcessReader() = default;

  // The contents of a file under /proc, see proc(5).
  virtual absl::StatusOr<std::string> Read(std::string_view path) = 0;
  // The number of entries of a directory under /proc.
  virtual absl::StatusOr<size_t> CountEntries(std::string_view path) = 0;
  // Bytes that malloc has taken from the system.
  virtual std::optional<size_t> HeapBytes() = 0;
};

// Reads the running system's /proc.
std::unique_ptr<ProcessReader> RealProcessReader();

// Adds process_cpu_seconds_total, process_open_fds, process_max_fds,
// process_virtual_memory_bytes, process_virtual_memory_max_bytes,
// process_resident_memory_bytes, process_heap_bytes, process_start_time_seconds
// and process_threads.
absl::Status AddProcessMetrics(Registry& registry,
                               std::unique_ptr<ProcessReader> reader);

}  // namespace braid::metrics

#endif  // BRAID_METRICS_PROCESS_H_
