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

 protected:
  LocalNode(const void* key, LocalNode* next,
            void (*destroy)(LocalNode*) noexcept)
      : key_(key), next_(Share(next)), destroy_(destroy) {}
  ~LocalNode() = default;

 private:
  const void* key_;
  LocalNode* next_;
  void (*destroy_)(LocalNode*) noexcept;
  uint32_t references_ = 1;
};

template <typename T>
struct LocalValue final : LocalNode {
  LocalValue(const void* key, LocalNode* next, T value)
      : LocalNode(key, next,
                  [](LocalNode* node) noexcept {
                    delete static_cast<LocalValue*>(node);
                  }),
        value(std::move(value)) {}
  T value;
};

// Runs a body with another list of locals and puts the old one back.
template <typename B>
class WithLocal {
 public:
  WithLocal(LocalNode* locals, B&& body)
      : locals_(locals), body_(std::move(body)) {}
  WithLocal(WithLocal&& other) noexcept
      : locals_(std::exchange(other.locals_, nullptr)),
        body_(std::move(other.body_)) {}
  ~WithLocal() {
    if (locals_ != nullptr) LocalNode::Unshare(locals_);
  }

  class Awaiter : public Link {
   public:
    Awaiter(LocalNode* locals, B&& body)
        : Link(&kOps), locals_(locals), body_(std::move(body)) {}
    ~Awaiter() {
      if (locals_ != nullptr) LocalNode::Unshare(locals_);
    }

    bool Ready() const { return false; }
    Link* Start(Link* link) {
      parent = link;
      Swap();
      auto& awaiter = body_.Begin();
      return awaiter.Ready() ? this : StartAwaiter(awaiter, this);
    }
    decltype(auto) TakeResult() { return body_.awaiter().TakeResult(); }

   private:
    void Swap() { std::swap(Loop::Current().CurrentTask().locals, locals_); }
    static Link* Done(Link* link) {
      static_cast<Awaiter*>(link)->Swap();
      return link->parent;
    }
    static Unwound Stopped(Link* link) {
      static_cast<Awaiter*>(link)->Swap();
      return {link->parent, true};
    }
    static constexpr LinkOps kOps = {&Done, &Stopped, false, "TaskLocal::With"};

    LocalNode* locals_;
    BodyHolder<B> body_;
  };

  Awaiter MakeAwaiter() && {
    return Awaiter(std::exchange(locals_, nullptr), std::move(body_));
  }

 private:
  LocalNode* locals_;
  B body_;
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
  [[nodiscard]] auto With(T value, B&& body) const {
    detail::LocalNode* outer = detail::Loop::Current().CurrentTask().locals;
    return detail::WithLocal<std::decay_t<B>>(
        new detail::LocalValue<T>(this, outer, std::move(value)),
        std::decay_t<B>(std::forward<B>(body)));
  }
};

}  // namespace braid

#endif  // BRAID_CORE_TASK_LOCAL_H_
