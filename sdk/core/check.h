// Assertions that hold in release builds too.
//
// For: invariants of Braid and misuse of its interfaces (a group used after it
// closed, a task awaited twice). A failed check ends the program: it names the
// place, the task that was running, and what the caller should have done
// instead. Not for: conditions that input, the network or the machine can bring
// about. Those are an absl::Status.

#ifndef BRAID_CORE_CHECK_H_
#define BRAID_CORE_CHECK_H_

#include <source_location>

namespace braid::detail {

// Prints `what_to_do`, `where` and the current task to standard error, then
// aborts.
[[noreturn]] void CheckFailed(const char* what_to_do,
                              std::source_location where);

// Ends the program unless `condition` holds. `what_to_do` is a literal that
// says what went wrong and what to do.
inline void Check(
    bool condition, const char* what_to_do,
    std::source_location where = std::source_location::current()) {
  if (!condition) [[unlikely]] {
    CheckFailed(what_to_do, where);
  }
}

}  // namespace braid::detail

#endif  // BRAID_CORE_CHECK_H_
