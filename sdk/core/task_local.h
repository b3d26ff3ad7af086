// TaskLocal<T>: a value that a task sees and that the tasks it starts inherit.
//
// For: what belongs to a piece of work and would otherwise be passed through
// every call: a trace id, a request's user.
//
//   TaskLocal<std::string> request_id;  // a namespace-scope key
//   co_await request_id.With("r-17", [&]() -> Task<void> {
//     Log(*request_id.Get());  // here, and in tasks started from here
//     co_return;
//   });
//
// A started task keeps the values its starter saw at that moment; later changes
// don't reach it, and its own don't flow back. Values are immutable and shared:
// on one loop, without locks. Not for: state that tasks change together.

#ifndef BRAID_CORE_TASK_LOCAL_H_
#define BRAID_CORE_TASK_LOCAL_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "braid/core/awaitable.h"
#include "braid/core/check.h"
#include "braid/core/detail/link.h"
#include "braid/core/detail/loop.h"

namespace braid {
namespace detail {

// One value in the persistent list of a task; later values hide earlier ones of
// the same key.
class LocalNode {
 public:
  static LocalNode* Share(LocalNode* node) {
    if (node != nullptr) ++node->references_;
    return node;
  }
  static void Unshare(LocalNode* node) noexcept;

  static LocalNode* Find(LocalNode* from, const void* key) {
    while (from != nullptr && from->key_ != key) from = from->next_;
    return from;
  }

  // Puts a new node before those that the task sees by now.
  void SetNext(LocalNode* next) { next_ = Share(next); }

 protected:
  LocalNode(const void* key, void (*destroy)(LocalNode*) noexcept)
      : key_(key), destroy_(destroy) {}
  ~LocalNode() = default;

 private:
  const void* key_;
  LocalNode* next_ = nullptr;
  void (*destroy_)(LocalNode*) noexcept;
  uint32_t references_ = 1;
};

template <typename T>
struct LocalValue final : LocalNode {
  LocalValue(const void* key, T value)
      : LocalNode(key,
                  [](LocalNode* node) noexcept {
                    delete static_cast<LocalValue*>(node);
                  }),
        value(std::move(value)) {}
  T value;
};

struct UnshareLocal {
  void operator()(LocalNode* node) const noexcept { LocalNode::Unshare(node); }
};
using LocalOwner = std::unique_ptr<LocalNode, UnshareLocal>;

// Runs a body with one more local and puts the old list back.
template <typename B>
class WithLocal : public Link {
 public:
  WithLocal(LocalOwner&& local, B&& body)
      : Link(&kOps), locals_(std::move(local)), body_(std::move(body)) {}

  bool Ready() const { return false; }
  Link* Start(Link* link) {
    parent = link;
    locals_->SetNext(Loop::Current().CurrentTask().locals);
    Swap();
    return body_.Start(this);
  }
  decltype(auto) TakeResult() { return body_.TakeResult(); }

 private:
  void Swap() {
    LocalNode* mine = locals_.release();
    locals_.reset(std::exchange(Loop::Current().CurrentTask().locals, mine));
  }
  static Link* Done(Link* link) {
    static_cast<WithLocal*>(link)->Swap();
    return link->parent;
  }
  static Unwound Stopped(Link* link) {
    static_cast<WithLocal*>(link)->Swap();
    return {link->parent, true};
  }
  static constexpr LinkOps kOps = {&Done, &Stopped, false, "TaskLocal::With"};

  LocalOwner locals_;  // ours before and after, the task's meanwhile
  BodyHolder<B> body_;
};

}  // namespace detail

template <typename T>
class TaskLocal {
 public:
  constexpr TaskLocal() = default;
  TaskLocal(const TaskLocal&) = delete;
  TaskLocal& operator=(const TaskLocal&) = delete;

  // The value the current task sees, nullptr if there is none or no task runs
  // here. Valid until the task leaves the With that set it.
  const T* Get() const {
    detail::Loop* loop = detail::Loop::CurrentOrNull();
    if (loop == nullptr || loop->current() == nullptr) return nullptr;
    detail::LocalNode* node =
        detail::LocalNode::Find(loop->current()->locals, this);
    return node == nullptr ? nullptr
                           : &static_cast<detail::LocalValue<T>*>(node)->value;
  }

  // Runs `body` with the value set, and gives its result. Completes, fails and
  // is stopped as the body does.
  template <Body B>
  auto With(T value, B&& body) const {
    using Stored = std::decay_t<B>;
    return detail::Boundary<detail::WithLocal<Stored>, detail::LocalOwner,
                            Stored>(
        detail::LocalOwner(new detail::LocalValue<T>(this, std::move(value))),
        Stored(std::forward<B>(body)));
  }
};

}  // namespace braid

#endif  // BRAID_CORE_TASK_LOCAL_H_
