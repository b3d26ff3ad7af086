#include "braid/rpc/detail/until.h"

#include "absl/status/status.h"
#include "braid/core/core.h"
#include "braid/testing/every_order.h"
#include "braid/testing/virtual_time.h"
#include "gtest/gtest.h"

namespace braid::rpc::detail {
namespace {

using namespace std::chrono_literals;

class UntilTest : public testing::Test {
 protected:
  bool so_ = false;
  Until until_{[this] { return so_; }};
};

TEST_F(UntilTest, CompletesOnceItIsSo) {
  RunInEveryOrder([this](VirtualTime& time) -> Task<absl::Status> {
    so_ = false;
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start("owner", [&]() -> Task<void> {
        co_await SleepFor(1s);
        until_.Look();  // not yet
        co_await SleepFor(1s);
        so_ = true;
        until_.Look();
        until_.Look();  // nobody waits any more
      });
      co_await until_.Wait();
      EXPECT_EQ(time.elapsed(), 2s);
      co_await until_.Wait();  // at once
      EXPECT_EQ(time.elapsed(), 2s);
    });
  });
}

TEST_F(UntilTest, CancelledBeforeItStarts) {
  RunInEveryOrder([this](VirtualTime&) -> Task<absl::Status> {
    so_ = true;
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(co_await scope.Run(until_.Wait()));
    co_return absl::OkStatus();
  });
}

TEST_F(UntilTest, CancelledWhileItWaits) {
  RunInEveryOrder([this](VirtualTime& time) -> Task<absl::Status> {
    so_ = false;
    EXPECT_FALSE(co_await MoveOnAfter(1s, until_.Wait()));
    EXPECT_EQ(time.elapsed(), 1s);
    so_ = true;
    until_.Look();  // nobody waits any more
    EXPECT_TRUE(co_await MoveOnAfter(1s, until_.Wait()));
    co_return absl::OkStatus();
  });
}

TEST_F(UntilTest, CancelledAsItCompletesItHasCompleted) {
  RunInEveryOrder([this](VirtualTime& time) -> Task<absl::Status> {
    so_ = false;
    CancelScope outer;
    CancelScope inner;
    co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start("owner", [&]() -> Task<void> {
        co_await SleepFor(1s);
        so_ = true;
        until_.Look();
        inner.Cancel();
        outer.Cancel();  // and twice
      });
      const auto waited = co_await outer.Run(inner.Run(until_.Wait()));
      EXPECT_EQ(waited, true);
      EXPECT_EQ(time.elapsed(), 1s);
    });
  });
}

}  // namespace
}  // namespace braid::rpc::detail
