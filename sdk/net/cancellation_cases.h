// Awaitables that do I/O under cancellation at each of the points where such
// code goes wrong: before the start, while it waits, between completion and
// resumption, twice, in clean-up, as a leg of a combinator, and in a race.
//
// For: tests. A *case* is one awaitable on descriptors of its own: Wait()
// awaits it once and counts in `completed` what it got, Release() makes exactly
// one thing happen that a Wait() gets, a waiting or a later one. Whatever was
// cancelled in between, what was released is got once, in order.

#ifndef BRAID_NET_CANCELLATION_CASES_H_
#define BRAID_NET_CANCELLATION_CASES_H_

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "braid/backend/every_backend.h"
#include "braid/core/core.h"

namespace braid {

class CancellationCase {
 public:
  virtual ~CancellationCase() = default;

  virtual Task<absl::Status> Open() = 0;
  virtual Task<absl::Status> Wait() = 0;
  virtual Task<absl::Status> Release() = 0;

  int released = 0;
  int completed = 0;
};

// A row of the table.
struct CancellationParam {
  const char* name;
  std::unique_ptr<CancellationCase> (*make)();
  bool real_only = false;  // about what only a real system has
};

template <typename C>
std::unique_ptr<CancellationCase> MakeCase() {
  return std::make_unique<C>();
}

inline std::string NameOf(
    const testing::TestParamInfo<CancellationParam>& info) {
  return info.param.name;
}

class IoCancellationTest : public testing::TestWithParam<CancellationParam> {
 protected:
  // Runs `test(group, case)`; whatever hangs fails.
  template <typename F>
  void ForTheCase(F test) {
    auto body = [&]() -> Task<absl::Status> {
      const std::unique_ptr<CancellationCase> it = GetParam().make();
      co_await OrReturn(it->Open());
      co_return co_await FailAfter(
          std::chrono::seconds(20),
          WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
            co_await OrReturn(test(group, *it));
            co_return co_await group.Join();
          }));
    };
    if (GetParam().real_only) {
      RunOnRealBackends("descriptors of the system", body);
    } else {
      RunOnEveryBackend(body);
    }
  }

  // What was released and not got so far is there, and nothing else.
  static Task<absl::Status> Drain(CancellationCase& it) {
    while (it.completed < it.released) co_await OrReturn(it.Wait());
    EXPECT_FALSE((co_await MoveOnAfter(std::chrono::milliseconds(1), it.Wait()))
                     .has_value());
    EXPECT_EQ(it.completed, it.released);
    co_return absl::OkStatus();
  }
};

TEST_P(IoCancellationTest, BeforeStart) {
  ForTheCase([](TaskGroup&, CancellationCase& it) -> Task<absl::Status> {
    co_await OrReturn(it.Release());
    for (int i = 0; i < 3; ++i) {
      CancelScope scope;
      scope.Cancel();
      EXPECT_FALSE((co_await scope.Run(it.Wait())).has_value());
      EXPECT_TRUE(scope.caught());
      co_await Checkpoint();
    }
    EXPECT_EQ(it.completed, 0);
    co_return co_await Drain(it);
  });
}

TEST_P(IoCancellationTest, WhileWaiting) {
  ForTheCase([](TaskGroup& group, CancellationCase& it) -> Task<absl::Status> {
    for (int i = 0; i < 5; ++i) {
      auto task = group.Start("waiter", [&it]() -> Task<absl::Status> {
        co_return co_await it.Wait();
      });
      co_await UntilWaiting("waiter");
      if (i % 2 == 1) co_await SleepFor(std::chrono::milliseconds(1));
      task.Cancel();
      EXPECT_TRUE((co_await task.Join()).stopped());
      EXPECT_EQ(it.completed, i);
      co_await OrReturn(it.Release());
      co_await OrReturn(it.Wait());
    }
    co_return co_await Drain(it);
  });
}

// Cancelled right after it was released, before the loop has looked at I/O, and
// after.
TEST_P(IoCancellationTest, AfterItsReleaseBeforeItRuns) {
  ForTheCase([](TaskGroup& group, CancellationCase& it) -> Task<absl::Status> {
    for (int i = 0; i < 20; ++i) {
      auto task = group.Start("waiter", [&it]() -> Task<absl::Status> {
        co_return co_await it.Wait();
      });
      co_await UntilWaiting("waiter");
      co_await OrReturn(it.Release());
      for (int yields = i % 4; yields > 0; --yields) co_await Checkpoint();
      task.Cancel();
      const Outcome<void> outcome = co_await task.Join();
      // It either happened and was delivered, or it did not and is still there.
      EXPECT_FALSE(outcome.failed());
      EXPECT_EQ(it.completed, outcome.ok() ? it.released : it.released - 1);
      if (it.completed < it.released) co_await OrReturn(it.Wait());
    }
    co_return co_await Drain(it);
  });
}

// Two of a kind complete with the same look at I/O; whichever task runs first
// cancels the other, whose operation has happened then.
TEST_P(IoCancellationTest, BetweenCompletionAndResumption) {
  ForTheCase([](TaskGroup& group, CancellationCase& it) -> Task<absl::Status> {
    const std::unique_ptr<CancellationCase> other = GetParam().make();
    co_await OrReturn(other->Open());
    for (int i = 0; i < 20; ++i) {
      CancelScope scopes[2];
      CancellationCase* cases[2] = {&it, other.get()};
      co_await OrReturn(
          WithTaskGroup([&](TaskGroup& pair) -> Task<absl::Status> {
            for (int side : {0, 1}) {
              pair.Start("waiter", [&, side]() -> Task<absl::Status> {
                auto result = co_await scopes[side].Run(cases[side]->Wait());
                scopes[1 - side].Cancel();
                co_return result.value_or(absl::OkStatus());
              });
            }
            co_await UntilWaiting("waiter");
            co_await OrReturn(it.Release());
            co_await OrReturn(other->Release());
            co_return co_await pair.Join();
          }));
      EXPECT_GE(it.completed + other->completed, 2 * i + 1);
      for (CancellationCase* one : cases) {
        while (one->completed < one->released) co_await OrReturn(one->Wait());
      }
    }
    co_await OrReturn(Drain(it));
    co_return co_await Drain(*other);
    (void)group;
  });
}

TEST_P(IoCancellationTest, Twice) {
  ForTheCase([](TaskGroup& group, CancellationCase& it) -> Task<absl::Status> {
    CancelScope outer;
    CancelScope inner;
    auto task = group.Start("waiter", [&]() -> Task<void> {
      (void)co_await outer.Run([&]() -> Task<void> {
        (void)co_await inner.Run(it.Wait());
        ADD_FAILURE() << "the outer one is cancelled too";
      });
    });
    co_await UntilWaiting("waiter");
    inner.Cancel();
    inner.Cancel();
    outer.Cancel();
    outer.Cancel();
    EXPECT_TRUE((co_await task.Join()).ok());
    EXPECT_EQ(it.completed, 0);
    co_await OrReturn(it.Release());
    co_await OrReturn(it.Wait());
    // And twice after its release.
    auto late = group.Start("late", [&it]() -> Task<absl::Status> {
      co_return co_await it.Wait();
    });
    co_await UntilWaiting("late");
    co_await OrReturn(it.Release());
    late.Cancel();
    late.Cancel();
    EXPECT_FALSE((co_await late.Join()).failed());
    co_return co_await Drain(it);
  });
}

TEST_P(IoCancellationTest, InCleanUp) {
  ForTheCase([](TaskGroup& group, CancellationCase& it) -> Task<absl::Status> {
    for (int i = 0; i < 3; ++i) {
      auto task = group.Start("cleaner", [&it]() -> Task<absl::Status> {
        co_return co_await Finally(
            SleepForever(), [&it](const Outcome<void>&) -> Task<absl::Status> {
              co_return co_await it.Wait();
            });
      });
      co_await UntilWaiting("cleaner");
      task.Cancel();
      co_await SleepFor(std::chrono::milliseconds(1));
      EXPECT_FALSE(task.done()) << "clean-up is shielded, and waits";
      co_await OrReturn(it.Release());
      EXPECT_TRUE((co_await task.Join()).stopped());
      EXPECT_EQ(it.completed, i + 1);
    }
    co_return co_await Drain(it);
  });
}

TEST_P(IoCancellationTest, InCleanUpThatTakesTooLong) {
  ForTheCase([](TaskGroup& group, CancellationCase& it) -> Task<absl::Status> {
    auto task = group.Start("cleaner", [&it]() -> Task<void> {
      co_await Finally(
          SleepForever(),
          [&it]() -> Task<void> { (co_await it.Wait()).IgnoreError(); },
          std::chrono::milliseconds(1));
    });
    co_await UntilWaiting("cleaner");
    task.Cancel();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_EQ(it.completed, 0);
    co_await OrReturn(it.Release());
    co_await OrReturn(it.Wait());
    co_return co_await Drain(it);
  });
}

TEST_P(IoCancellationTest, AsALeg) {
  ForTheCase([](TaskGroup&, CancellationCase& it) -> Task<absl::Status> {
    auto [nothing, slept] =
        co_await AnyOf(it.Wait(), SleepFor(std::chrono::milliseconds(1)));
    EXPECT_FALSE(nothing.has_value());
    EXPECT_TRUE(slept);
    co_await OrReturn(it.Release());
    auto [something, slept_again] =
        co_await AnyOf(it.Wait(), SleepFor(std::chrono::milliseconds(1)));
    EXPECT_TRUE(something.has_value() || slept_again);
    EXPECT_EQ(something.has_value(), it.completed == 1);
    co_return co_await Drain(it);
  });
}

// A receiver of little patience, and a sender that doesn't care.
TEST_P(IoCancellationTest, ARaceLosesNothing) {
  ForTheCase([](TaskGroup& group, CancellationCase& it) -> Task<absl::Status> {
    bool enough = false;
    group.Start("sender", [&]() -> Task<absl::Status> {
      int i = 0;
      while (!enough) {
        co_await OrReturn(it.Release());
        // Not far ahead, or the system would have to throw some away.
        while (it.released - it.completed > 3 && !enough)
          co_await SleepFor(std::chrono::microseconds(20));
        co_await SleepFor(std::chrono::microseconds(i++ % 60));
      }
      co_return absl::OkStatus();
    });
    int stopped = 0;
    for (int i = 0; i < 400; ++i) {
      auto result =
          co_await MoveOnAfter(std::chrono::microseconds(i % 30), it.Wait());
      if (!result.has_value()) {
        ++stopped;
      } else {
        co_await OrReturn(*result);
      }
      if (i % 16 == 0) co_await Checkpoint();
    }
    enough = true;
    co_await OrReturn(group.Join());
    EXPECT_GT(stopped, 0) << "or this tests nothing";
    EXPECT_GT(it.completed, 0);
    co_return co_await Drain(it);
  });
}

}  // namespace braid

#endif  // BRAID_NET_CANCELLATION_CASES_H_
