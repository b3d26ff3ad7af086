#include "braid/backend/from_callback.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

TEST(FromCallback, GivesWhatTheCallbackWasCalledWith) {
  RunOnRealBackends("threads", []() -> Task<absl::Status> {
    // At once.
    EXPECT_EQ(co_await FromCallback<int>([](Callback<int> done) { done(7); }),
              7);
    co_await FromCallback<void>([](Callback<void> done) { done(); });
    // From another thread.
    std::thread thread;
    const std::string text =
        co_await FromCallback<std::string>([&](Callback<std::string> done) {
          thread = std::thread([done = std::move(done)] { done("from afar"); });
        });
    thread.join();
    EXPECT_EQ(text, "from afar");
    // A value that can only be moved, and a status.
    auto moved = co_await FromCallback<std::unique_ptr<int>>(
        [](Callback<std::unique_ptr<int>> done) {
          done(std::make_unique<int>(3));
        });
    EXPECT_EQ(*moved, 3);
    EXPECT_TRUE(absl::IsNotFound(co_await FromCallback<absl::Status>(
        [](Callback<absl::Status> done) { done(absl::NotFoundError("no")); })));
    co_return absl::OkStatus();
  });
}

TEST(FromCallback, WorksInStdFunction) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::function<void(int)> later;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            EXPECT_EQ(co_await FromCallback<int>(
                          [&](Callback<int> done) { later = done; }),
                      5);
          });
          co_await UntilWaiting("waiter");
          later(5);
          co_return co_await group.Join();
        });
  });
}

TEST(FromCallback, CancelledWithoutAHookItIsAbandoned) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::function<void(std::shared_ptr<int>)> later;
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            EXPECT_FALSE((co_await scope.Run(FromCallback<std::shared_ptr<int>>(
                              [&](Callback<std::shared_ptr<int>> done) {
                                later = done;
                              })))
                             .has_value());
          });
          co_await UntilWaiting("waiter");
          scope.Cancel("once");
          scope.Cancel("twice");
          co_await OrReturn(group.Join());
          auto value = std::make_shared<int>(1);
          later(value);
          EXPECT_EQ(value.use_count(), 1);  // thrown away
          co_return absl::OkStatus();
        });
  });
}

TEST(FromCallback, ItsHookMayWithdrawIt) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::function<void(int)> later;
    int withdrawn = 0;
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            EXPECT_FALSE((co_await scope.Run(FromCallback<int>(
                              [&](Callback<int> done) { later = done; },
                              [&] {
                                ++withdrawn;
                                later = nullptr;  // it will not be called
                                return true;
                              })))
                             .has_value());
          });
          co_await UntilWaiting("waiter");
          scope.Cancel();
          co_await OrReturn(group.Join());
          EXPECT_EQ(withdrawn, 1);
          co_return absl::OkStatus();
        });
  });
}

TEST(FromCallback, AHookThatIsTooLateLetsItComplete) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::function<void(int)> later;
    int asked = 0;
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            std::optional<int> got = co_await scope.Run(
                FromCallback<int>([&](Callback<int> done) { later = done; },
                                  [&] {
                                    ++asked;
                                    return false;
                                  }));
            EXPECT_EQ(got, 9);
          });
          co_await UntilWaiting("waiter");
          scope.Cancel("once");
          scope.Cancel("twice");
          co_await UntilWaiting("waiter");
          later(9);
          co_await OrReturn(group.Join());
          EXPECT_EQ(asked, 1);
          co_return absl::OkStatus();
        });
  });
}

TEST(FromCallback, CancelledBeforeItStartsItDoesNotStart) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    CancelScope scope;
    scope.Cancel();
    bool started = false;
    EXPECT_FALSE((co_await scope.Run(FromCallback<int>([&](Callback<int> done) {
                   started = true;
                   done(1);
                 }))).has_value());
    EXPECT_FALSE(started);
    co_return absl::OkStatus();
  });
}

TEST(FromCallback, ACancelAtCompletionDeliversTheValue) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::function<void(int)> later;
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            EXPECT_EQ(co_await scope.Run(FromCallback<int>(
                          [&](Callback<int> done) { later = done; })),
                      4);
          });
          co_await UntilWaiting("waiter");
          later(4);
          scope.Cancel();
          co_return co_await group.Join();
        });
  });
}

TEST(FromCallback, WorksInCleanUp) {
  RunOnRealBackends("threads", []() -> Task<absl::Status> {
    CancelScope scope;
    scope.Cancel();
    int got = 0;
    std::thread thread;
    (void)co_await scope.Run(Finally(SleepForever(), [&]() -> Task<void> {
      got = co_await FromCallback<int>([&](Callback<int> done) {
        thread = std::thread([done] { done(6); });
      });
    }));
    thread.join();
    EXPECT_EQ(got, 6);
    co_return absl::OkStatus();
  });
}

TEST(FromCallback, ACallbackThatIsThrownAwayIsAnError) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    EXPECT_TRUE(absl::IsCancelled(
        co_await FromCallback<absl::Status>([](Callback<absl::Status>) {})));
    absl::StatusOr<int> later = co_await FromCallback<absl::StatusOr<int>>(
        [](Callback<absl::StatusOr<int>> done) {
          std::thread([done = std::move(done)] {}).join();
        });
    EXPECT_TRUE(absl::IsCancelled(later.status()));
    co_return absl::OkStatus();
  });
}

TEST(FromCallback, ACallbackThatIsThrownAwayByAHookThatIsTooLateIsAnError) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::function<void(absl::Status)> later;
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            std::optional<absl::Status> got =
                co_await scope.Run(FromCallback<absl::Status>(
                    [&](Callback<absl::Status> done) { later = done; },
                    [&] {
                      later = nullptr;
                      return false;
                    }));
            EXPECT_TRUE(got.has_value() && absl::IsCancelled(*got));
          });
          co_await UntilWaiting("waiter");
          scope.Cancel();
          co_return co_await group.Join();
        });
  });
}

TEST(FromCallbackDeathTest, MisuseIsAFailedCheck) {
  EXPECT_DEATH(
      RunOnBackend("asio",
                   []() -> Task<void> {
                     co_await FromCallback<void>([](Callback<void> done) {
                       done();
                       done();
                     });
                   }),
      "called a second time");
  EXPECT_DEATH(
      RunOnBackend("asio",
                   []() -> Task<void> {
                     co_await FromCallback<void>([](Callback<void>) {});
                   }),
      "destroyed without having been called");
}

TEST(FromCallback, NeedsNoBackend) {
  VirtualTime time;
  const absl::Status status = ::braid::Run(time, []() -> Task<void> {
    EXPECT_EQ(co_await FromCallback<int>([](Callback<int> done) { done(1); }),
              1);
  });
  EXPECT_TRUE(status.ok()) << status;
}

// As an API does that can't begin. The callback goes with the exception, and
// that it went without having been called was all that was told.
TEST(FromCallback, AStartThatThrowsIsHeard) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    const auto begin = [](const auto&) { throw std::runtime_error("no"); };
    int caught = 0;
    try {
      (void)co_await FromCallback<int>(begin);
    } catch (const std::runtime_error&) {
      ++caught;
    }
    try {
      (co_await FromCallback<absl::Status>(begin)).IgnoreError();
    } catch (const std::runtime_error&) {
      ++caught;
    }
    EXPECT_EQ(caught, 2);
    co_return absl::OkStatus();
  });
}

struct Unwilling {
  explicit Unwilling(int value) {
    if (value == 0) throw std::invalid_argument("not 0");
  }
};

// Making the value may throw, at whoever calls. It counted as called all the
// same, and the task waited for ever.
TEST(FromCallback, AValueThatCantBeMadeWasNotSaid) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    std::function<void(int)> later;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("again", [&]() -> Task<void> {
            (void)co_await FromCallback<Unwilling>(
                [&](Callback<Unwilling> done) { later = done; });
          });
          co_await UntilWaiting("again");
          EXPECT_THROW(later(0), std::invalid_argument);
          later(1);
          co_await OrReturn(group.Join());

          group.Start("never", [&]() -> Task<void> {
            const auto got = co_await FromCallback<absl::StatusOr<Unwilling>>(
                [&](Callback<absl::StatusOr<Unwilling>> done) {
                  later = [done](int value) { done(Unwilling(value)); };
                });
            EXPECT_TRUE(absl::IsCancelled(got.status())) << got.status();
          });
          co_await UntilWaiting("never");
          EXPECT_THROW(later(0), std::invalid_argument);
          later = nullptr;
          co_return co_await group.Join();
        });
  });
}

// Threads call, tasks are cancelled, at any moment; the loop may end while
// threads are still on their way.
TEST(FromCallback, AFloodFromOtherThreads) {
  std::vector<std::thread> threads;
  RunOnRealBackends("threads", [&]() -> Task<absl::Status> {
    int completed = 0;
    int stopped = 0;
    constexpr int kTasks = 300;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < kTasks; ++i) {
            group.Start("waiter", [&, i]() -> Task<void> {
              const auto got = co_await MoveOnAfter(
                  std::chrono::microseconds(i % 10 * 20),
                  FromCallback<int>([&](Callback<int> done) {
                    threads.emplace_back(
                        [done = std::move(done), i] { done(i); });
                  }));
              if (got.has_value()) {
                EXPECT_EQ(*got, i);
                ++completed;
              } else {
                ++stopped;
              }
            });
            if (i % 30 == 0) co_await Checkpoint();
          }
          co_await OrReturn(group.Join());
          EXPECT_EQ(completed + stopped, kTasks);
          co_return absl::OkStatus();
        });
  });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace braid
