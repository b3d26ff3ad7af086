#include "braid/sync/capacity_limiter.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/run_test_body.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using Borrower = CapacityLimiter::Borrower;

TEST(CapacityLimiterTest, AtMostSoManyBorrowers) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(3);
    int inside = 0;
    int most = 0;
    for (int i = 0; i < 10; ++i) {
      group.Start("task", [&]() -> Task<void> {
        CapacityLimiter::Token token = co_await limiter.Acquire();
        most = std::max(most, ++inside);
        EXPECT_GE(limiter.borrowed(), static_cast<size_t>(inside));
        EXPECT_LE(limiter.borrowed(), 3u);
        co_await SleepFor(1s);
        --inside;
      });
    }
    co_await OrReturn(group.Join());
    EXPECT_EQ(most, 3);
    EXPECT_EQ(limiter.borrowed(), 0u);
    EXPECT_EQ(limiter.available(), 3);
    co_return absl::OkStatus();
  });
}

TEST(CapacityLimiterTest, ATokenThatComesBackGoesToTheNextInLine) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(1);
    std::vector<int> order;
    std::optional<CapacityLimiter::Token> token = limiter.TryAcquire();
    for (int i = 0; i < 3; ++i) {
      group.Start("waiter", [&, i]() -> Task<void> {
        CapacityLimiter::Token token = co_await limiter.Acquire();
        order.push_back(i);
        co_await SleepFor(1s);
      });
      co_await OthersWait();
    }
    token.reset();
    EXPECT_EQ(limiter.borrowed(), 1u) << "reserved for the first waiter";
    const int object = 0;
    EXPECT_FALSE(limiter.TryAcquireOnBehalfOf(&object).has_value());
    co_await OrReturn(group.Join());
    EXPECT_EQ(order, (std::vector{0, 1, 2}));
    co_return absl::OkStatus();
  });
}

TEST(CapacityLimiterTest, RaisingTheTotalWakesWaiters) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(0);
    int inside = 0;
    for (int i = 0; i < 5; ++i) {
      group.Start("waiter", [&]() -> Task<void> {
        CapacityLimiter::Token token = co_await limiter.Acquire();
        ++inside;
        co_await SleepFor(1s);
      });
    }
    co_await OthersWait();
    EXPECT_EQ(limiter.available(), 0);
    EXPECT_EQ(limiter.stats().tasks_waiting, 5u);
    limiter.SetTotal(2);
    EXPECT_EQ(inside, 0) << "nothing resumes inside SetTotal()";
    EXPECT_EQ(limiter.borrowed(), 2u) << "but the tokens are theirs";
    co_await OthersWait();
    EXPECT_EQ(inside, 2);
    limiter.SetTotal(CapacityLimiter::kUnlimited);
    co_await OthersWait();
    EXPECT_EQ(inside, 5);
    EXPECT_EQ(limiter.available(), PTRDIFF_MAX);
    co_return co_await group.Join();
  });
}

TEST(CapacityLimiterTest, LoweringTheTotalTakesNothingAway) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    CapacityLimiter limiter(3);
    int a = 0;
    int b = 0;
    std::optional<CapacityLimiter::Token> one =
        limiter.TryAcquireOnBehalfOf(&a);
    std::optional<CapacityLimiter::Token> two =
        limiter.TryAcquireOnBehalfOf(&b);
    limiter.SetTotal(1);
    EXPECT_EQ(limiter.available(), -1);
    EXPECT_EQ(limiter.borrowed(), 2u);
    one.reset();
    EXPECT_EQ(limiter.available(), 0);
    EXPECT_FALSE(limiter.TryAcquire().has_value());
    two.reset();
    EXPECT_TRUE(limiter.TryAcquire().has_value());
    co_return absl::OkStatus();
  });
}

TEST(CapacityLimiterTest, KnowsWhoHasTheTokens) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(2);
    int object = 0;
    auto task = group.Start("task", [&]() -> Task<void> {
      CapacityLimiter::Token token = co_await limiter.Acquire();
      co_await SleepFor(2s);
    });
    co_await OthersWait();
    CapacityLimiter::Token token = co_await limiter.AcquireOnBehalfOf(&object);
    auto waiter = group.Start("waiter", [&]() -> Task<void> {
      CapacityLimiter::Token token = co_await limiter.Acquire();
      co_await SleepFor(2s);
    });
    co_await OthersWait();
    CapacityLimiter::Stats now = limiter.stats();
    EXPECT_EQ(now.total, 2u);
    EXPECT_EQ(now.borrowed, 2u);
    EXPECT_EQ(now.borrowers,
              (std::vector<Borrower>{{task.id(), nullptr}, {0, &object}}));
    EXPECT_EQ(now.tasks_waiting, 1u);
    token.Release();
    now = limiter.stats();
    EXPECT_EQ(now.borrowers, (std::vector<Borrower>{{task.id(), nullptr},
                                                    {waiter.id(), nullptr}}));
    EXPECT_EQ(now.tasks_waiting, 0u);
    co_return co_await group.Join();
  });
}

TEST(CapacityLimiterTest, ATokenStaysItsBorrowersWhenItMoves) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    CapacityLimiter limiter(1);
    CapacityLimiter::Token token = co_await limiter.Acquire();
    const std::vector<Borrower> borrowers = limiter.stats().borrowers;
    group.Start(
        "holder",
        [&](CapacityLimiter::Token token) -> Task<void> {
          EXPECT_TRUE(token);
          EXPECT_EQ(limiter.stats().borrowers, borrowers);
          co_await SleepFor(1s);
        },
        std::move(token));
    co_await OrReturn(group.Join());
    EXPECT_EQ(limiter.borrowed(), 0u);
    token = co_await limiter.Acquire();
    co_return absl::OkStatus();
  });
}

TEST(CapacityLimiterTest, ABorrowerThatGaveUpMayAskAgain) {
  RunGroupInManyOrders([](TaskGroup&) -> Task<absl::Status> {
    CapacityLimiter limiter(0);
    for (int i = 0; i < 3; ++i) {
      auto token = co_await MoveOnAfter(1s, limiter.Acquire());
      EXPECT_FALSE(token.has_value());
    }
    EXPECT_EQ(limiter.stats().tasks_waiting, 0u);
    limiter.SetTotal(1);
    CapacityLimiter::Token token = co_await limiter.Acquire();
    co_return absl::OkStatus();
  });
}

TEST(CapacityLimiterDeathTest, OneTokenForEachBorrower) {
  const char* says = "acquires a second token";
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 CapacityLimiter limiter(5);
                 CapacityLimiter::Token one = co_await limiter.Acquire();
                 CapacityLimiter::Token two = co_await limiter.Acquire();
                 co_return absl::OkStatus();
               }),
               says);
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 CapacityLimiter limiter(1);
                 CapacityLimiter::Token one = co_await limiter.Acquire();
                 EXPECT_FALSE(limiter.TryAcquire().has_value());
                 co_return absl::OkStatus();
               }),
               says);
  // Also one that still waits for its first.
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup& group) -> Task<absl::Status> {
                 CapacityLimiter limiter(0);
                 int object = 0;
                 for (int i = 0; i < 2; ++i) {
                   group.Start("waiter", [&]() -> Task<void> {
                     CapacityLimiter::Token token =
                         co_await limiter.AcquireOnBehalfOf(&object);
                   });
                 }
                 co_return co_await group.Join();
               }),
               says);
}

TEST(CapacityLimiterDeathTest, ABorrowerIsSomething) {
  CapacityLimiter limiter(1);
  EXPECT_DEATH((void)limiter.TryAcquireOnBehalfOf(nullptr),
               "on behalf of nullptr");
}

TEST(CapacityLimiterTest, ALastingTokenMayOutliveIt) {
  RunGroupInManyOrders([](TaskGroup& group) -> Task<absl::Status> {
    auto limiter = std::make_unique<CapacityLimiter>(1);
    std::optional<CapacityLimiter::LastingToken> lasting(
        co_await limiter->Acquire());
    EXPECT_EQ(limiter->borrowed(), 1u);
    lasting.reset();
    EXPECT_EQ(limiter->borrowed(), 0u);
    lasting.emplace(co_await limiter->Acquire());
    limiter.reset();
    lasting.reset();
    co_return co_await group.Join();
  });
}

TEST(CapacityLimiterDeathTest, OutlivesItsTokens) {
  EXPECT_DEATH(RunGroupInOrder([](TaskGroup&) -> Task<absl::Status> {
                 auto limiter = std::make_unique<CapacityLimiter>(1);
                 CapacityLimiter::Token token = co_await limiter->Acquire();
                 limiter.reset();
                 co_return absl::OkStatus();
               }),
               "destroyed while tokens are borrowed");
}

}  // namespace
}  // namespace braid
