// Runs a Program, and says what could be observed of it.

#ifndef TESTS_CONFORMANCE_INTERPRETER_H_
#define TESTS_CONFORMANCE_INTERPRETER_H_

#include <string>

#include "braid/core/driver.h"
#include "braid/core/time.h"
#include "tests/conformance/program.h"

namespace braid::conformance {

struct ProgramOutcome {
  // What each task did and when, a line each; what was left at the end.
  std::string observed;
  // The loop had its turn so late after a slot that slots may have met.
  bool late = false;
};

// A slot is as long as `slot`. Where the program uses the network, the driver
// is a Backend.
ProgramOutcome RunProgram(const Program& program, Driver& driver, Duration slot,
                          LoopOptions options = {});

}  // namespace braid::conformance

#endif  // TESTS_CONFORMANCE_INTERPRETER_H_
