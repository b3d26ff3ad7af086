#include "braid/thread/portal.h"

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <thread>
#include <utility>

#include "braid/core/check.h"
#include "braid/core/detail/loop.h"
#include "braid/core/detail/slot.h"
#include "braid/core/detail/task_set.h"
#include "braid/core/loop_local.h"
#include "braid/core/status.h"

namespace braid {
namespace {

struct PostedFunction final : detail::InboxNode {
  using Function = absl::AnyInvocable<void() &&>;

  explicit PostedFunction(Function function)
      : InboxNode(&Run), function(std::move(function)) {}

  static void Run(detail::InboxNode& node) {
    const std::unique_ptr<PostedFunction> self(
        static_cast<PostedFunction*>(&node));
    // It would take the loop, with all its tasks, along.
    const std::exception_ptr exception = detail::CallAndCatch(
        [](void* function) { std::move (*static_cast<Function*>(function))(); },
        &self->function);
    if (exception == nullptr) return;
    const std::string text =
        "a function handed to Portal::Post ended with an exception, which has "
        "nobody to go to; catch it inside, or hand the function to "
        "Portal::Call: " +
        detail::Describe(exception);
    detail::CheckFailed(text.c_str(), std::source_location::current());
  }

  Function function;
};

}  // namespace

// Keeps `loop_` from ending while a thread is posting to it.
class Portal::State {
 public:
  explicit State(detail::Loop* loop)
      : thread_(std::this_thread::get_id()), loop_(loop) {}

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

  // For its own thread while no loop is current there: between two turns, in a
  // job of a simulation, or in a handler of an application that the loop is a
  // guest of. What was posted before goes first. False: the loop has ended.
  template <typename F>
  bool RunHere(F function) {
    // It can't end meanwhile: that would happen here.
    detail::Loop* const loop = [this] {
      const std::lock_guard lock(mutex_);
      return loop_;
    }();
    if (loop == nullptr) return false;
    const detail::Loop::Binding binding(*loop);
    loop->RunInbox();
    function();
    return true;
  }

  bool OnItsThread() const { return thread_ == std::this_thread::get_id(); }

 private:
  const std::thread::id thread_;
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

absl::Status Portal::CallAndWait(void (*function)(void*), void* argument,
                                 std::exception_ptr& exception) const {
  detail::Check(detail::Loop::CurrentOrNull() == nullptr,
                "Portal::Call blocks its thread until a loop has run the "
                "function, and is called on a thread that itself runs a loop; "
                "call the function directly, Post it, or await the work");
  const auto run = [&] {
    exception = detail::CallAndCatch(function, argument);
  };
  bool accepted = false;
  if (state_->OnItsThread()) {
    accepted = state_->RunHere(run);
  } else {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    accepted = state_->Post([&] {
      run();
      // Under the lock to the end: once it is free, this is gone.
      const std::lock_guard lock(mutex);
      done = true;
      changed.notify_one();
    });
    if (accepted) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return done; });
    }
  }
  if (accepted) return absl::OkStatus();
  return ClosedError("call a function on a loop: the loop has ended");
}

}  // namespace braid
