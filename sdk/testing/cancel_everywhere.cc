#include "braid/testing/cancel_everywhere.h"

#include "braid/backend/sim/sim_backend.h"
#include "braid/core/detail/loop.h"

namespace braid::detail {

std::unique_ptr<Backend> MakeCancellingBackend(uint64_t switches,
                                               bool* cancelled) {
  std::unique_ptr<Backend> backend = MakeSimBackend();
  static_cast<SimBackend&>(*backend).set_before_step(
      [switches, cancelled](Loop& loop) {
        if (*cancelled || loop.stats().switches < switches) return;
        *cancelled = true;
        loop.CancelRoot("CancelEverywhere: after " + std::to_string(switches) +
                        " switches");
      });
  return backend;
}

}  // namespace braid::detail
