#include "braid/core/detail/link.h"

#include <exception>
#include <string>
#include <utility>

namespace braid::detail {
void DestructorThrew() noexcept {
  std::string text =
      "a destructor threw while its coroutine was being ended early, where "
      "nothing can catch that; make it not throw: ";
  try {
    throw;
  } catch (const std::exception& e) {
    text += e.what();
  } catch (...) {
    text += "not a std::exception";
  }
  CheckFailed(text.c_str(), std::source_location::current());
}

void PromiseBase::Destroy() noexcept {
  if (owner != nullptr) std::exchange(owner, nullptr)->child = nullptr;
  try {
    handle().destroy();
  } catch (...) {  // a parameter; a local's comes through unhandled_exception()
    DestructorThrew();
  }
}

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
