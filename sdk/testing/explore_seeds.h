// ExploreSeeds: runs a test body once for each of many seeds, and says which
// one failed.
//
// For: simulations, whose seed decides everything that is left to chance.
//
//   TEST(Cache, SurvivesARestart) {
//     ExploreSeeds(100, [](uint64_t seed) {
//       Simulation sim({.seed = seed});
//       ...
//       EXPECT_TRUE(sim.RunUntilIdle().ok());
//     });
//   }
//
// The body returns nothing or an absl::Status; anything but OK fails the test.
// The first seed that fails is the last that is run, and the failure names it:
//
//   seed 17; --braid_seed=17 or BRAID_SEED=17 runs it alone
//
// Seeds are 1 to `count`, so that every run of the test does the same. The
// command line of the test, or its environment, says otherwise:
//   --braid_seed=N    BRAID_SEED=N     that one only
//   --braid_seeds=N   BRAID_SEEDS=N    N seeds, of every ExploreSeeds
// What is no number is a failed check. A flag goes before the environment.
// With Bazel: bazel test //... --test_arg=--braid_seed=17.

#ifndef BRAID_TESTING_EXPLORE_SEEDS_H_
#define BRAID_TESTING_EXPLORE_SEEDS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/status/status.h"

namespace braid {
namespace detail {

// Both included.
struct SeedRange {
  uint64_t first = 1;
  uint64_t last = 0;
};

// What the command line and the environment of this process ask for.
SeedRange SeedsToRun(uint64_t count);

}  // namespace detail

template <typename F>
void ExploreSeeds(uint64_t count, F body) {
  const detail::SeedRange seeds = detail::SeedsToRun(count);
  for (uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
    const std::string number = std::to_string(seed);
    SCOPED_TRACE("seed " + number + "; --braid_seed=" + number +
                 " or BRAID_SEED=" + number + " runs it alone");
    if constexpr (std::is_void_v<std::invoke_result_t<F&, uint64_t>>) {
      body(seed);
    } else {
      const absl::Status status = body(seed);
      EXPECT_TRUE(status.ok()) << status;
    }
    if (testing::Test::HasFailure()) return;  // one is enough to look at
  }
}

}  // namespace braid

#endif  // BRAID_TESTING_EXPLORE_SEEDS_H_
