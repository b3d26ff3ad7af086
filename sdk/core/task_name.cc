#include "braid/core/task_name.h"

#include <cstring>

namespace braid {

const char* TaskName::Copy(std::string_view name) {
  char* copy = new char[name.size()];
  std::memcpy(copy, name.data(), name.size());
  return copy;
}

void TaskName::Free(const char* copy) noexcept { delete[] copy; }

}  // namespace braid
