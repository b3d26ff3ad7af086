#include "braid/core/task_local.h"

namespace braid::detail {

void LocalNode::Unshare(LocalNode* node) noexcept {
  // A loop: a long list must not be released by recursion.
  while (node != nullptr && --node->references_ == 0) {
    LocalNode* next = node->next_;
    node->destroy_(node);
    node = next;
  }
}

}  // namespace braid::detail
