#include "braid/core/detail/slot.h"

namespace braid::detail {

std::exception_ptr CurrentException() noexcept {
  return std::current_exception();
}

void Rethrow(std::exception_ptr exception) {
  std::rethrow_exception(std::move(exception));
}

std::exception_ptr CallAndCatch(void (*function)(void*),
                                void* argument) noexcept {
  try {
    function(argument);
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace braid::detail
