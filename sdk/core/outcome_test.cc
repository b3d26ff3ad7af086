#include "braid/core/outcome.h"

#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace braid {
namespace {

TEST(Outcome, OfAValue) {
  Outcome<std::string> outcome(std::string(40, 'v'));
  EXPECT_TRUE(outcome.ok());
  EXPECT_FALSE(outcome.failed());
  EXPECT_FALSE(outcome.stopped());
  EXPECT_EQ(outcome.status(), absl::OkStatus());
  EXPECT_EQ(outcome.exception(), nullptr);
  const Outcome<std::string>& constant = outcome;
  EXPECT_EQ(constant.value(), std::string(40, 'v'));
  outcome.value() += "!";
  const std::string moved = std::move(outcome).value();
  EXPECT_EQ(moved.size(), 41u);
}

TEST(Outcome, OfAMoveOnlyValueAndOfNothing) {
  Outcome<std::unique_ptr<int>> outcome(std::make_unique<int>(3));
  Outcome<std::unique_ptr<int>> moved = std::move(outcome);
  EXPECT_EQ(*moved.value(), 3);
  Outcome<void> nothing{std::monostate()};
  EXPECT_TRUE(nothing.ok());
}

TEST(Outcome, OfAnError) {
  Outcome<int> outcome(absl::NotFoundError("x"));
  EXPECT_FALSE(outcome.ok());
  EXPECT_TRUE(outcome.failed());
  EXPECT_FALSE(outcome.stopped());
  EXPECT_EQ(outcome.status(), absl::NotFoundError("x"));
  EXPECT_EQ(outcome.exception(), nullptr);
}

TEST(Outcome, OfAnException) {
  Outcome<int> outcome(std::make_exception_ptr(std::runtime_error("boom")));
  EXPECT_TRUE(outcome.failed());
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kUnknown);
  EXPECT_THROW(std::rethrow_exception(outcome.exception()), std::runtime_error);
}

TEST(Outcome, Stopped) {
  for (const Outcome<int>& outcome :
       {Outcome<int>(), Outcome<int>(Outcome<int>::Stopped())}) {
    EXPECT_FALSE(outcome.ok());
    EXPECT_FALSE(outcome.failed());
    EXPECT_TRUE(outcome.stopped());
    EXPECT_EQ(outcome.status().code(), absl::StatusCode::kCancelled);
  }
}

// The mapping from a body's result.
TEST(Outcome, OfEachKindOfResult) {
  detail::Slot<absl::StatusOr<int>> either;
  EXPECT_TRUE(detail::TakeOutcome(either).stopped());
  either.SetValue(absl::AbortedError("e"));
  EXPECT_EQ(detail::TakeOutcome(either).status(), absl::AbortedError("e"));
  either.SetValue(7);
  EXPECT_EQ(detail::TakeOutcome(either).value(), 7);

  detail::Slot<absl::Status> status;
  status.SetValue(absl::OkStatus());
  EXPECT_TRUE(detail::TakeOutcome(status).ok());
  status.SetValue(absl::AbortedError("s"));
  EXPECT_TRUE(detail::TakeOutcome(status).failed());

  detail::Slot<void> nothing;
  EXPECT_TRUE(detail::TakeOutcome(nothing).stopped());
  nothing.SetValue();
  EXPECT_TRUE(detail::TakeOutcome(nothing).ok());
  nothing.SetException(std::make_exception_ptr(1));
  EXPECT_TRUE(detail::TakeOutcome(nothing).failed());
}

TEST(OutcomeDeathTest, Misuse) {
  Outcome<int> stopped;
  EXPECT_DEATH(stopped.value(),
               "an Outcome has no value: look at ok\\(\\) first");
  EXPECT_DEATH((void)Outcome<int>{absl::OkStatus()},
               "an Outcome's error is OK; pass the value instead");
}

}  // namespace
}  // namespace braid
