// The frame of the suite notices what cases are there to notice.

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/conformance/expectation.h"

namespace braid::conformance {
namespace {

using namespace std::chrono_literals;

// "as expected", or what is wrong.
std::string Compare(const char* expected, std::vector<Observation> seen,
                    bool exact = true) {
  return Expectation(expected)
      .Mismatch(seen, 1ms, exact)
      .value_or("as expected");
}

TEST(Expectation, OrderAndTimes) {
  EXPECT_EQ(Compare("", {}), "as expected");
  EXPECT_EQ(Compare("a, b@2, c", {{"a", 0ms}, {"b", 2ms}, {"c", 2ms}}),
            "as expected");
  EXPECT_EQ(Compare("a, b", {{"b", 0ms}, {"a", 0ms}}),
            "'a' isn't where it should be");
  EXPECT_EQ(Compare("a, b", {{"a", 0ms}}), "'b' isn't where it should be");
  EXPECT_EQ(Compare("a", {{"a", 0ms}, {"b", 0ms}}),
            "'b' is more than was expected");
  EXPECT_EQ(Compare("a@2", {{"a", 1999us}}), "'a' came too early");
  EXPECT_EQ(Compare("a@2", {{"a", 2001us}}), "'a' came too late");
}

TEST(Expectation, OnARealClockTimesAreLowerBounds) {
  EXPECT_EQ(Compare("a@2", {{"a", 2500us}}, false), "as expected");
  EXPECT_EQ(Compare("a@2", {{"a", 1900us}}, false), "'a' came too early");
}

TEST(Expectation, WhatMayComeInAnyOrder) {
  for (const bool swapped : {false, true}) {
    EXPECT_EQ(Compare("a, [b, c]@1, d", {{"a", 0ms},
                                         {swapped ? "c" : "b", 1ms},
                                         {swapped ? "b" : "c", 1ms},
                                         {"d", 1ms}}),
              "as expected");
  }
  EXPECT_EQ(Compare("[b, b]", {{"b", 0ms}, {"c", 0ms}}),
            "'b' isn't where it should be");
  EXPECT_EQ(Compare("[b, c]", {{"b", 0ms}}), "'c' isn't where it should be");
}

TEST(Expectation, SaysWhetherTimePlaysAPart) {
  EXPECT_EQ(Expectation("a@1, b@3").length(), 3);
  EXPECT_EQ(Expectation("a, b").length(), 0);
}

TEST(Expectation, SaysWhatWasSeenAsItIsWritten) {
  EXPECT_EQ(Format({{"a", 0ms}, {"b", 2ms}, {"c", 2ms}, {"d", 2050us}}, 1ms),
            "a, b@2, c, d@2.05");
}

TEST(ExpectationDeathTest, HowItIsWritten) {
  EXPECT_DEATH(Expectation("a@x"), "an expectation is");
  EXPECT_DEATH(Expectation("a@2, b@1"), "in order of time");
}

// Fails unless `test` fails, on every backend, and says `what`.
void FailsWith(const char* what, void (*test)()) {
  testing::TestPartResultArray failures;
  {
    const testing::ScopedFakeTestPartResultReporter caught(
        testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &failures);
    test();
  }
  EXPECT_GE(failures.size(), 2);
  for (int i = 0; i < failures.size(); ++i) {
    const std::string message = failures.GetTestPartResult(i).message();
    EXPECT_NE(message.find(what), std::string::npos) << message;
  }
}

TEST(Harness, ACaseThatSeesSomethingElseFails) {
  FailsWith("'a' isn't where it should be", [] {
    Conforms("a", []() -> Task<void> { co_await SayIn(0, "b"); });
  });
}

TEST(Harness, SoDoesOneWhoseBodyFails) {
  FailsWith("the body ended with ABORTED: broken", [] {
    Conforms("", []() -> Task<absl::Status> {
      co_return co_await FailIn(0, "broken");
    });
  });
}

TEST(Harness, AndOneWhoseOrderIsOpenAfterAll) {
  FailsWith("isn't where it should be", [] {
    Conforms("a, b", []() -> Task<void> {
      co_await AllOf(SayIn(0, "a"), SayIn(0, "b"));
    });
  });
}

TEST(Harness, AndOneWithAFailedExpectation) {
  FailsWith("this is not so", [] {
    Conforms("", []() -> Task<void> {
      EXPECT_TRUE(false) << "this is not so";
      co_return;
    });
  });
}

TEST(Harness, AndOneThatIsTooEarly) {
  FailsWith("came too early", [] {
    Conforms("a@2", []() -> Task<void> { co_await SayIn(1, "a"); });
  });
}

// A machine that is busy at first: a run that may have been disturbed by that
// is repeated, and the property then shows.
TEST(Harness, ARunThatWasLateProvesNothing) {
  Conforms("a@1, b@2", [](TaskGroup& group) -> Task<void> {
    group.Start("b", SayIn, 2, "b");
    group.Start("a", SayIn, 1, "a");
    if (BackendName() != "sim" && Ticks(1) < 10ms) {
      co_await Checkpoint();
      const Time until = Now() + Ticks(3);
      while (Now() < until) continue;  // both are due at once then
      Saw("disturbed");
    }
  });
}

TEST(Harness, AndOneThatLeavesADescriptorOpen) {
  FailsWith("descriptors are left open", [] {
    Conforms("", []() -> Task<void> {
      (void)dup(0);
      co_return;
    });
  });
}

TEST(Harness, ADeadlockOfASimulationEndsWithTheTaskTree) {
  FailsWith("deadlock", [] {
    Conforms("", []() -> Task<void> {
      if (BackendName() == "sim") co_await SleepForever();
      EXPECT_EQ(BackendName(), "sim")
          << "the deadlock of a real loop is a hang";
    });
  });
}

TEST(Harness, OthersWaitUntilOnlyTimeOrTheCallerCanMoveThem) {
  Conforms("first, second, others wait, slow@1",
           [](TaskGroup& group) -> Task<void> {
             group.Start("slow", SayIn, 1, "slow");
             group.Start("steps", []() -> Task<void> {
               Saw("first");
               for (int i = 0; i < 5; ++i) co_await Checkpoint();
               Saw("second");
             });
             co_await OthersWait();
             Saw("others wait");
           });
}

}  // namespace
}  // namespace braid::conformance
