// LoopMetrics: braid_loop_*, what a loop of the program does.
//
//   metrics::LoopMetrics loop =
//       *metrics::LoopMetrics::Add(registry, "shard-1");
//   group.Start("loop metrics", &metrics::LoopMetrics::Keep, &loop);
//
// One for each loop, told apart by the label `loop`: "main", and "shard-1",
// "shard-2", ... for the others. `sum without (loop) (...)` is the program's.
//
// Only a loop itself may read its own statistics, and a scrape happens on one
// of them: so each writes its own into cells that the scrape reads, now and
// then. The series are there as long as this is.

#ifndef BRAID_METRICS_RUNTIME_H_
#define BRAID_METRICS_RUNTIME_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "braid/core/task.h"
#include "braid/metrics/registry.h"

namespace braid::metrics {

class LoopMetrics {
 public:
  // On the loop that it is about. ALREADY_EXISTS if the registry has other
  // metrics of these names.
  static absl::StatusOr<LoopMetrics> Add(Registry& registry,
                                         const std::string& loop);
  LoopMetrics(LoopMetrics&&) noexcept;
  LoopMetrics& operator=(LoopMetrics&&) = delete;
  ~LoopMetrics();

  // Writes down what the loop has done so far. On that loop (checked). A dozen
  // plain stores: a loop that is scraped on its own thread does so before each
  // scrape.
  void Update();

  // Updates every second, for a loop that is scraped on another one's thread,
  // until it is cancelled. This must outlive it.
  Task<void> Keep();

 private:
  struct Cells;
  LoopMetrics();

  std::unique_ptr<Cells> cells_;
  std::vector<Callback> callbacks_;  // read the cells, so they go first
};

}  // namespace braid::metrics

#endif  // BRAID_METRICS_RUNTIME_H_
