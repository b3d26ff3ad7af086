#include "braid/core/detail/link.h"

namespace braid::detail {

std::coroutine_handle<> ContinueAtBoundary(Link* link) {
  while (link != nullptr) {
    if (link->ops == nullptr) return static_cast<PromiseBase*>(link)->handle();
    link = link->ops->done(link);
  }
  return std::noop_coroutine();
}

Link* Unwind(Link* link) noexcept {
  while (link != nullptr) {
    if (link->ops == nullptr) {
      link = FinishEarly(*static_cast<PromiseBase*>(link));
    } else {
      const Unwound unwound = link->ops->stopped(link);
      link = unwound.link;
      if (!unwound.still_stops) break;
    }
  }
  return link;
}

}  // namespace braid::detail
