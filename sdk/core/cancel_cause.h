// CancelCause: why something was cancelled.
//
//   std::optional<CancelCause> cause = scope.cause();
//   if (cause.has_value()) LOG(cause->ToString());
//
// A task that is being stopped asks CancelReason() (sleep.h), the task
// tree says it of every task (task_tree.h).

#ifndef BRAID_CORE_CANCEL_CAUSE_H_
#define BRAID_CORE_CANCEL_CAUSE_H_

#include <cstdint>
#include <string>

namespace braid {

// Who cancelled a scope, and why.
struct CancelCause {
  enum class Source : uint8_t {
    kExplicit,      // Cancel() was called
    kDeadline,      // a deadline passed
    kChildFailed,   // a task of the group, or a leg of the combinator, failed
    kLegCompleted,  // another leg of AnyOf or FirstOk completed first
    kBodyEnded,     // the body that a background stands under has ended
  };

  Source source = Source::kExplicit;
  std::string reason;  // what was passed to Cancel(), or the error that made
                       // the group fail
  std::string task;    // the task that cancelled; empty for a deadline

  // "cancelled by task 'main': signal", for people.
  std::string ToString() const;
};

}  // namespace braid

#endif  // BRAID_CORE_CANCEL_CAUSE_H_
