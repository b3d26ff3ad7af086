// What a case of the conformance suite must be seen to do, and whether it was.
//
// See conformance.h for how an expectation is written.

#ifndef TESTS_CONFORMANCE_EXPECTATION_H_
#define TESTS_CONFORMANCE_EXPECTATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "braid/core/time.h"

namespace braid::conformance {

struct Observation {
  std::string what;
  Duration when{};  // since the case began

  friend bool operator==(const Observation&, const Observation&) = default;
};

class Expectation {
 public:
  // What isn't written as it should be is a failed check.
  explicit Expectation(std::string_view text);

  // What is wrong with `seen`; nothing if it is as expected. Times are those
  // expected where `exact`, and those or later otherwise.
  std::optional<std::string> Mismatch(const std::vector<Observation>& seen,
                                      Duration tick, bool exact) const;

  // The time of the last observation, in ticks.
  int64_t length() const { return groups_.empty() ? 0 : groups_.back().when; }

 private:
  // Observations whose order is open; one that stands alone is a group.
  struct Group {
    std::vector<std::string> what;  // sorted
    int64_t when = 0;
  };
  std::vector<Group> groups_;
};

// "a@1, b", as an expectation of it would be written; "a@1.50" where the time
// isn't a whole number of ticks.
std::string Format(const std::vector<Observation>& seen, Duration tick);

}  // namespace braid::conformance

#endif  // TESTS_CONFORMANCE_EXPECTATION_H_
