// What Braid puts into an absl::Status beyond its code and message.
//
// Predicates for conditions that callers act on, and the errors that stand
// behind the one a task group returns. The functions that make errors don't
// throw: one that there is no memory for has its code alone, and no predicate.

#ifndef BRAID_CORE_STATUS_H_
#define BRAID_CORE_STATUS_H_

#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace braid {

// The end that was used is closed on this side: by Close(), or because its
// owner went away. FAILED_PRECONDITION.
absl::Status ClosedError(std::string_view message) noexcept;
bool IsClosed(const absl::Status& status);

// The other side is gone, or the connection broke; it stays so. UNAVAILABLE.
absl::Status BrokenError(std::string_view message) noexcept;
bool IsBroken(const absl::Status& status);

// Another task is already using it in a way that only one may.
// FAILED_PRECONDITION.
absl::Status BusyError(std::string_view message) noexcept;
bool IsBusy(const absl::Status& status);

// A try-variant would have had to wait. RESOURCE_EXHAUSTED.
absl::Status WouldBlockError(std::string_view message) noexcept;
bool IsWouldBlock(const absl::Status& status);

// The stream ended before all that was asked for had come. OUT_OF_RANGE.
absl::Status IncompleteReadError(std::string_view message) noexcept;
bool IsIncompleteRead(const absl::Status& status);

// A delimiter did not come within the limit. RESOURCE_EXHAUSTED.
absl::Status DelimiterNotFoundError(std::string_view message) noexcept;
bool IsDelimiterNotFound(const absl::Status& status);

// A group or combinator returns the first error; this gives the others, in the
// order they happened. Each keeps its code, message and payloads; those that
// stood behind one of them follow it. Empty if there are none.
std::vector<absl::Status> SuppressedErrors(const absl::Status& status);

// `status` with `suppressed` behind it, after those that are there already.
absl::Status WithSuppressed(absl::Status status,
                            const std::vector<absl::Status>& suppressed);

namespace detail {

// What `make` gives. Where there is no memory for its text, an error of `code`
// without one: for those who tell of an error where nothing may throw.
absl::Status MakeStatus(absl::StatusCode code,
                        absl::FunctionRef<absl::Status()> make) noexcept;

}  // namespace detail
}  // namespace braid

#endif  // BRAID_CORE_STATUS_H_
