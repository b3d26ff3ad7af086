#include "braid/thread/portal.h"

#include <mutex>

#include "braid/core/detail/loop.h"
#include "braid/core/loop_local.h"

namespace braid {
namespace {

struct PostedFunction final : detail::InboxNode {
  explicit PostedFunction(absl::AnyInvocable<void() &&> function)
      : InboxNode(&Run), function(std::move(function)) {}

  static void Run(detail::InboxNode& node) {
    const std::unique_ptr<PostedFunction> self(
        static_cast<PostedFunction*>(&node));
    std::move(self->function)();
  }

  absl::AnyInvocable<void() &&> function;
};

}  // namespace

// Keeps `loop_` from ending while a thread is posting to it.
class Portal::State {
 public:
  explicit State(detail::Loop* loop) : loop_(loop) {}

  bool Post(absl::AnyInvocable<void() &&> function) {
    auto node = std::make_unique<PostedFunction>(std::move(function));
    const std::lock_guard lock(mutex_);
    if (loop_ == nullptr) return false;
    loop_->Post(node.release());
    return true;
  }
  void Close() {
    const std::lock_guard lock(mutex_);
    loop_ = nullptr;
  }

 private:
  std::mutex mutex_;
  detail::Loop* loop_;
};

namespace {

// Closes the door when the loop ends.
struct LoopDoor {
  std::shared_ptr<void> state;
  void (*close)(void*) = nullptr;
  ~LoopDoor() {
    if (close != nullptr) close(state.get());
  }
};

constexpr LoopLocal<LoopDoor> door;

}  // namespace

Portal Portal::Current() {
  LoopDoor& mine = door.Get();
  if (mine.state == nullptr) {
    mine.state = std::make_shared<State>(&detail::Loop::Current());
    mine.close = [](void* state) { static_cast<State*>(state)->Close(); };
  }
  return Portal(std::static_pointer_cast<State>(mine.state));
}

bool Portal::Post(absl::AnyInvocable<void() &&> function) const {
  return state_->Post(std::move(function));
}

}  // namespace braid
