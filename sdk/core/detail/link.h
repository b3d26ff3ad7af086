// The chain of awaits of a task, and how completion and stopping travel along
// it.
//
// Each thing that awaits another is a Link: a coroutine (its promise), or a
// boundary such as a cancel scope, a task group or a combinator's leg. A link
// knows who awaits it. From the innermost link outwards:
//   - completion: `Continue` asks link after link what runs next, until it
//     finds a coroutine to resume;
//   - stopping: `Unwind` destroys coroutine frames, innermost first, until a
//     boundary takes the stop.
// Both are loops, never recursion, so that the native stack stays flat however
// deep the chain is. docs/awaiter-protocol.md is the specification.

#ifndef BRAID_CORE_DETAIL_LINK_H_
#define BRAID_CORE_DETAIL_LINK_H_

#include <coroutine>
#include <source_location>

#include "braid/core/check.h"

namespace braid::detail {

struct Link;
class PromiseBase;

// What a boundary says after it was told that what it awaited was stopped.
struct Unwound {
  Link* link;        // where to go on; nullptr: the task is parked, or over
  bool still_stops;  // true: `link` is stopped too; false: `link` goes on with
                     // the boundary's result
};

struct LinkOps {
  // What this link awaited has completed. Returns the link to go on with
  // (itself, after it started another await; its parent, when it has a result),
  // or nullptr when the task is parked or over.
  Link* (*done)(Link*);
  // What this link awaited was stopped, and its frames are gone (but see
  // keeps_frame).
  Unwound (*stopped)(Link*);
  // True: the frame of the coroutine right below stays when it is stopped or
  // ends early; this link destroys it later.
  bool keeps_frame;
  // What the task tree shows for it, such as "TaskGroup".
  const char* name;
};

// One await of the chain. `ops` is nullptr for a coroutine.
struct Link {
  explicit Link(const LinkOps* ops) : ops(ops) {}
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  const LinkOps* ops;
  Link* parent = nullptr;
};

// Who holds a coroutine that was started: its result goes there, and it
// destroys the frame if nobody did before.
struct FrameOwner {
  PromiseBase* child = nullptr;
};

// Ends the program because of the exception being handled.
[[noreturn]] void DestructorThrew() noexcept;

// The part of every Task's promise that does not depend on the result's type.
// Its address is the coroutine's Link.
class PromiseBase : public Link {
 public:
  PromiseBase() : Link(nullptr) {}

  // Destroys the frame this promise lives in. Destructors of its locals run;
  // one that throws ends the program, naming the task.
  void Destroy() noexcept;

  // Valid because every promise type begins with its PromiseBase and is aligned
  // like it (asserted in task.h).
  std::coroutine_handle<PromiseBase> handle() {
    return std::coroutine_handle<PromiseBase>::from_promise(*this);
  }

  // nullptr until it is awaited, and while it is being destroyed early.
  FrameOwner* owner = nullptr;
  std::source_location location;  // of the await it is suspended in
};

// The slow part of Continue: walks boundaries.
std::coroutine_handle<> ContinueAtBoundary(Link* link);

// The coroutine to resume when what `link` awaited has completed; a no-op where
// there is none.
inline std::coroutine_handle<> Continue(Link* link) {
  if (link == nullptr) return std::noop_coroutine();
  if (link->ops == nullptr) [[likely]] {
    return static_cast<PromiseBase*>(link)->handle();
  }
  return ContinueAtBoundary(link);
}

// Stops `link`: destroys frames from there outwards until a boundary takes the
// stop. Returns the link to go on with, or nullptr when the task is parked or
// over. Linear in the number of frames.
Link* Unwind(Link* link) noexcept;

// Ends a coroutine that is suspended and whose result is already set, without
// resuming it. Returns the link to go on with.
inline Link* FinishEarly(PromiseBase& promise) {
  Link* parent = promise.parent;
  if (parent->ops == nullptr || !parent->ops->keeps_frame) promise.Destroy();
  return parent;
}

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_LINK_H_
