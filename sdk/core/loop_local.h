// LoopLocal<T>: one value per loop, made at first use and destroyed with the
// loop, on its thread.
//
// For: what would otherwise be a global: a cache, a pool, a registry of a
// library that runs on several loops.
//
//   constexpr LoopLocal<Cache> cache;            // a namespace-scope key
//   cache.Get().Insert(...);                     // the current loop's
//
// Values are destroyed in reverse order of their making, after the last task
// has ended. Not for: what belongs to one piece of work (TaskLocal).

#ifndef BRAID_CORE_LOOP_LOCAL_H_
#define BRAID_CORE_LOOP_LOCAL_H_

#include <memory>

#include "braid/core/detail/loop.h"

namespace braid {

template <typename T>
class LoopLocal {
 public:
  constexpr LoopLocal() = default;
  LoopLocal(const LoopLocal&) = delete;
  LoopLocal& operator=(const LoopLocal&) = delete;

  // The current loop's value. T needs a default constructor.
  T& Get() const {
    detail::Loop& loop = detail::Loop::Current();
    if (void* value = loop.FindLocal(this); value != nullptr)
      return *static_cast<T*>(value);
    auto value = std::make_unique<T>();
    loop.AddLocal(this, value.get(),
                  [](void* p) noexcept { delete static_cast<T*>(p); });
    return *value.release();
  }

 private:
  // Not empty: two keys must not share an address.
  char unused_ = 0;
};

}  // namespace braid

#endif  // BRAID_CORE_LOOP_LOCAL_H_
