#include "braid/metrics/instruments.h"

#include <limits>

namespace braid::metrics {

detail::ExemplarSlot* Histogram::MakeExemplars(detail::Cell& cell) {
  size_t buckets = 1;
  for (size_t i = 0; i < cell.bound_count; ++i) {
    if (cell.bounds[i] < std::numeric_limits<double>::infinity()) ++buckets;
  }
  auto* slots = new detail::ExemplarSlot[buckets];
  cell.exemplars.store(slots, std::memory_order_release);
  return slots;
}

}  // namespace braid::metrics
