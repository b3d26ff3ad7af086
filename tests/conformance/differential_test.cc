// Random programs do the same on every driver, in every order of ready tasks.
//
// A program that does something else somewhere is made smaller as long as it
// still does, and printed with what was observed.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/backend/sim/sim_backend.h"
#include "braid/backend/sim/simulation.h"
#include "braid/testing/explore_seeds.h"
#include "braid/testing/virtual_time.h"
#include "tests/conformance/interpreter.h"
#include "tests/conformance/program.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// For virtual time, and for clocks that have to be waited for.
constexpr ProgramSize kLarge = {.slots = 24, .length = 5, .rounds = 24};
constexpr ProgramSize kSmall = {.slots = 7, .length = 5, .rounds = 8};

std::string InVirtualTime(const Program& program, LoopOptions options = {}) {
  VirtualTime time;
  return RunProgram(program, time, 1ms, options).observed;
}

std::string InSimulation(const Program& program, uint64_t seed,
                         LoopOptions options = {}) {
  const std::unique_ptr<Backend> backend = MakeSimBackend({.seed = seed});
  return RunProgram(program, *backend, 1ms, options).observed;
}

// With slots as long as it takes to be in time.
std::string OnSystem(const Program& program, const char* name,
                     const std::string& expected, LoopOptions options) {
  for (Duration slot = 1ms;; slot *= 4) {
    const auto backend = MakeBackend(name);
    if (!backend.ok()) return backend.status().ToString();
    const ProgramOutcome outcome =
        RunProgram(program, **backend, slot, options);
    if (outcome.observed == expected || !outcome.late || slot > 100ms)
      return outcome.observed;
  }
}

// What differs from what is expected, if anything does.
using Comparison = std::optional<std::string> (*)(const Program&);

std::optional<std::string> Compare(const std::string& where,
                                   const std::string& expected,
                                   const std::string& observed) {
  if (observed == expected) return std::nullopt;
  return "in the simulation, ready tasks first in, first out:\n" + expected +
         "\n" + where + ":\n" + observed;
}

std::optional<std::string> DiffersInVirtualTime(const Program& program) {
  const std::string expected = InSimulation(program, 1);
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const std::string order = ", shuffle_seed " + std::to_string(seed);
    auto difference =
        Compare("in the simulation" + order, expected,
                InSimulation(program, seed, {.shuffle_seed = seed}));
    if (!difference.has_value() && !program.network) {
      difference = Compare("in virtual time" + order, expected,
                           InVirtualTime(program, {.shuffle_seed = seed}));
    }
    if (difference.has_value()) return difference;
  }
  return std::nullopt;
}

std::optional<std::string> DiffersOnSystems(const Program& program) {
  const std::string expected = InSimulation(program, 1);
  for (const char* name : {"asio", "uring"}) {
    if (!detail::HasBackend(name)) continue;
    for (const std::optional<uint64_t> seed :
         {std::optional<uint64_t>(), std::optional<uint64_t>(1)}) {
      const LoopOptions options = {.shuffle_seed = seed};
      auto difference =
          Compare(name, expected, OnSystem(program, name, expected, options));
      if (difference.has_value()) return difference;
    }
  }
  return std::nullopt;
}

void Check(const Program& program, Comparison differs) {
  std::optional<std::string> difference = differs(program);
  if (!difference.has_value()) return;
  Program smallest = program;
  for (bool smaller = true; smaller;) {
    smaller = false;
    for (const Program& candidate : Smaller(smallest)) {
      std::optional<std::string> still = differs(candidate);
      if (!still.has_value()) continue;
      smallest = candidate;
      difference = std::move(still);
      smaller = true;
      break;
    }
  }
  ADD_FAILURE() << "The smallest program that differs:\n"
                << Format(smallest) << *difference;
}

TEST(Differential, ProgramsDoTheSameInEveryOrder) {
  ExploreSeeds(300, [](uint64_t seed) {
    Check(MakeProgram(seed, kLarge), DiffersInVirtualTime);
  });
}

TEST(Differential, ProgramsDoTheSameOnEveryBackend) {
  ExploreSeeds(25, [](uint64_t seed) {
    Check(MakeProgram(seed, kSmall), DiffersOnSystems);
  });
}

// Or the comparison above would compare little.
TEST(Differential, ProgramsDoAllKindsOfThings) {
  std::string all;
  for (uint64_t seed = 1; seed <= 1500; ++seed) {
    all += InSimulation(MakeProgram(seed, kLarge), 1);
  }
  for (const char* what : {"stopped@",
                           "fails: error of",
                           "throws@",
                           "GroupError",
                           "exception of",
                           "cancels a scope",
                           "cancels a task",
                           "scope stopped called caught",
                           "scope done",
                           "clean-up: stopped",
                           "clean-up: ok",
                           "clean-up: failed",
                           "DEADLINE_EXCEEDED",
                           "locked",
                           "acquired",
                           "received 2",
                           "received end",
                           "sent OK",
                           "sent closed",
                           "event@",
                           "was notified",
                           "watched 0 and",
                           "stop requested",
                           "datagram C",
                           "datagram busy",
                           "byte C",
                           "byte busy",
                           "completed: ",
                           " + error of",
                           "the program ended",
                           "the program was stopped"}) {
    EXPECT_TRUE(all.find(what) != std::string::npos) << what;
  }
}

}  // namespace
}  // namespace braid::conformance
