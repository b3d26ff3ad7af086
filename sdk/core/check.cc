#include "braid/core/check.h"

#include <cstdio>
#include <cstdlib>

#include "braid/core/detail/loop.h"
#include "braid/core/detail/task_node.h"

namespace braid::detail {

void CheckFailed(const char* what_to_do, std::source_location where) {
  std::fprintf(stderr, "%s:%u: %s: %s\n", where.file_name(),
               static_cast<unsigned>(where.line()), where.function_name(),
               what_to_do);
  if (Loop* loop = Loop::CurrentOrNull();
      loop != nullptr && loop->current() != nullptr) {
    const std::string_view name = loop->current()->name.view();
    std::fprintf(stderr, "  in task '%.*s'\n", static_cast<int>(name.size()),
                 name.data());
  }
  std::fflush(stderr);
  std::abort();
}

}  // namespace braid::detail
