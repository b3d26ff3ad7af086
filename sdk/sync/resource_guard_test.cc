#include "braid/sync/resource_guard.h"

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

Task<absl::Status> UseFor(ResourceGuard& guard, Delay delay) {
  auto use = co_await OrReturn(guard.Enter());
  co_await SleepFor(delay);
  co_return absl::OkStatus();
}

TEST(ResourceGuardTest, TheSecondTaskIsToldAtOnce) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    ResourceGuard guard("receiving from this socket");
    group.Start("first", UseFor, std::ref(guard), 1s);
    co_await OthersWait();
    EXPECT_TRUE(guard.in_use());
    const Time before = Now();
    const absl::Status status = co_await UseFor(guard, 1s);
    EXPECT_TRUE(IsBusy(status));
    EXPECT_EQ(status.message(),
              "another task is already receiving from this socket");
    EXPECT_EQ(Now(), before);
    co_await OrReturn(group.Join());
    EXPECT_FALSE(guard.in_use());
    co_return co_await UseFor(guard, 1s);
  });
}

TEST(ResourceGuardTest, AStoppedUseEnds) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    ResourceGuard guard;
    EXPECT_FALSE((co_await MoveOnAfter(1s, UseFor(guard, 5s))).has_value());
    EXPECT_FALSE(guard.in_use());
    co_return co_await UseFor(guard, 1s);
  });
}

TEST(ResourceGuardTest, UsesMove) {
  ResourceGuard one;
  ResourceGuard two;
  {
    auto use = *one.Enter();
    ResourceGuard::Use moved = std::move(use);
    EXPECT_TRUE(one.in_use());
    EXPECT_TRUE(IsBusy(one.Enter().status()));
    moved = *two.Enter();
    EXPECT_FALSE(one.in_use());
    EXPECT_TRUE(two.in_use());
  }
  EXPECT_FALSE(one.in_use());
  EXPECT_FALSE(two.in_use());
}

TEST(ResourceGuardDeathTest, OutlivesItsUses) {
  EXPECT_DEATH(
      {
        auto guard = std::make_unique<ResourceGuard>();
        auto use = *guard->Enter();
        guard.reset();
      },
      "destroyed while the resource is in use");
}

}  // namespace
}  // namespace braid
