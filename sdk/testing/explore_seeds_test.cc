#include "braid/testing/explore_seeds.h"

#include <gtest/gtest-spi.h>

#include <cstdlib>
#include <vector>

namespace braid {
namespace {

// lint: allow(environment): what the test is about, before any thread
void Set(const char* name, const char* value) { ::setenv(name, value, 1); }
// lint: allow(environment): as above
void Unset(const char* name) { ::unsetenv(name); }

std::vector<uint64_t> seen;

void Fail(uint64_t seed) {
  seen.push_back(seed);
  EXPECT_LT(seed, 3u);
}
absl::Status FailWithStatus(uint64_t seed) {
  seen.push_back(seed);
  return seed < 3 ? absl::OkStatus() : absl::InternalError("three");
}

class ExploreSeedsTest : public testing::Test {
 protected:
  ExploreSeedsTest() {
    seen.clear();
    Unset("BRAID_SEED");
    Unset("BRAID_SEEDS");
  }
  ~ExploreSeedsTest() override {
    Unset("BRAID_SEED");
    Unset("BRAID_SEEDS");
  }
};

TEST_F(ExploreSeedsTest, RunsEachOnce) {
  ExploreSeeds(5, [](uint64_t seed) { seen.push_back(seed); });
  EXPECT_EQ(seen, (std::vector<uint64_t>{1, 2, 3, 4, 5}));
}

// In a process of its own, whose test may fail.
TEST_F(ExploreSeedsTest, StopsAtTheFirstThatFails) {
  const std::vector<uint64_t> until_it = {1, 2, 3};
  EXPECT_EXIT(
      {
        ExploreSeeds(5, Fail);
        std::exit(HasFailure() && seen == until_it ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        ExploreSeeds(5, FailWithStatus);
        std::exit(HasFailure() && seen == until_it ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(ExploreSeedsTest, NamesTheSeedThatFailed) {
  EXPECT_NONFATAL_FAILURE(ExploreSeeds(3, Fail),
                          "seed 3; --braid_seed=3 or BRAID_SEED=3");
  EXPECT_NONFATAL_FAILURE(ExploreSeeds(3, FailWithStatus), "INTERNAL: three");
}

TEST_F(ExploreSeedsTest, TheEnvironmentGivesOneBack) {
  Set("BRAID_SEED", "77");
  ExploreSeeds(5, [](uint64_t seed) { seen.push_back(seed); });
  EXPECT_EQ(seen, (std::vector<uint64_t>{77}));
}

TEST_F(ExploreSeedsTest, TheEnvironmentAsksForMore) {
  Set("BRAID_SEEDS", "7");
  ExploreSeeds(5, [](uint64_t seed) { seen.push_back(seed); });
  EXPECT_EQ(seen.size(), 7u);
}

TEST_F(ExploreSeedsTest, WhatIsNoNumberIsAFailedCheck) {
  Set("BRAID_SEED", "x");
  EXPECT_DEATH(ExploreSeeds(5, Fail), "whole numbers");
}

}  // namespace
}  // namespace braid
