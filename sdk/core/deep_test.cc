// Deep and wide things: neither the stack nor the time nor the loop's patience
// runs out. Times are CPU times of this thread at two sizes, so that a machine
// that is busy otherwise doesn't matter: growing 32 times must not cost as
// much as a quadratic algorithm would take.

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BRAID_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BRAID_TEST_SANITIZED 1
#endif
#endif
#ifdef BRAID_TEST_SANITIZED
constexpr int kScale = 20;  // sanitizers are slow; other tests count there
#else
constexpr int kScale = 1;
#endif

constexpr int kMillion = 1'000'000 / kScale;
constexpr int kHundredThousand = 100'000 / kScale;

double CpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

// Looks at the loop after every turn, as a backend looks for I/O.
class WatchedTime final : public Driver {
 public:
  void Run(detail::Loop& loop) override {
    while (!loop.finished()) {
      const LoopStats before = loop.stats();
      const bool more = loop.Turn();
      const LoopStats after = loop.stats();
      most_work = std::max(
          most_work, after.switches - before.switches +
                         after.cancels_delivered - before.cancels_delivered +
                         after.timers_fired - before.timers_fired);
      ++turns;
      if (more || loop.finished()) continue;
      if (loop.next_deadline() == kNever) {
        ADD_FAILURE() << "deadlock";
        loop.CancelRoot("deadlock");
        continue;
      }
      now_ = std::max(now_, loop.next_deadline());
    }
  }
  Time Now() override { return now_; }
  void Wake() noexcept override {}

  uint64_t most_work = 0;
  uint64_t turns = 0;

 private:
  Time now_{1h};
};

// The most that a turn may do: a portion of marks from timers, one from
// cancellations on their way, one from tasks, the timers, and a budget of
// tasks.
constexpr uint64_t kMostWork = 4 * detail::Loop::kCancelChunk +
                               detail::Loop::kTimersPerTurn +
                               detail::Loop::kTurnBudget;

// Runs `body(n)` for n and 32 times that, and expects the second to take less
// than 250 times as long: linear is 32, quadratic 1024. In between are caches
// that are too small and a machine that does something else meanwhile. The
// memory stays with the process: fresh pages cost more than what is measured.
// `bounded`: no turn does more than its share; not where a task itself does a
// lot in one step.
template <typename Body>
void ExpectLinear(int most, Body body, bool bounded = true) {
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  auto seconds = [&](int n, int times) {
    double best = 1e9;
    for (int i = 0; i < times; ++i) {
      WatchedTime time;
      const double start = CpuSeconds();
      const absl::Status status =
          braid::Run(time, [&]() -> Task<void> { co_await body(n); });
      best = std::min(best, CpuSeconds() - start);
      EXPECT_TRUE(status.ok()) << status;
      if (bounded) EXPECT_LE(time.most_work, kMostWork);
    }
    return best;
  };
  const double small = seconds(most / 32, 4);
  const double large = seconds(most, 2);
  EXPECT_LT(large, 250 * small + 0.05) << small << " s for a 32nd";
  testing::Test::RecordProperty("milliseconds", static_cast<int>(large * 1000));
}

Task<void> SleepForeverBody() { co_await SleepForever(); }

// Awaits

Task<int64_t> Chain(int n, Gate* gate) {
  if (n == 0) {
    if (gate != nullptr) co_await gate->Wait();
    co_return 0;
  }
  co_return 1 + co_await Chain(n - 1, gate);
}

TEST(Deep, AMillionAwaitsComplete) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    EXPECT_EQ(co_await Chain(n, nullptr), n);
  });
}

TEST(Deep, AMillionAwaitsCompleteAfterWaiting) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    Gate gate;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          "opens",
          [](Gate* gate) -> Task<void> {
            co_await SleepFor(1s);
            gate->Open();
          },
          &gate);
      EXPECT_EQ(co_await Chain(n, &gate), n);
    });
    EXPECT_TRUE(status.ok());
  });
}

TEST(Deep, AMillionAwaitsAreStopped) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    Gate gate;
    EXPECT_EQ(co_await MoveOnAfter(1s, Chain(n, &gate)), std::nullopt);
  });
}

Task<absl::StatusOr<int>> FallibleChain(int n) {
  if (n == 0) co_return absl::NotFoundError("bottom");
  co_return 1 + co_await OrReturn(FallibleChain(n - 1));
}

TEST(Deep, AMillionAwaitsReturnAnError) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    EXPECT_EQ((co_await FallibleChain(n)).status(),
              absl::NotFoundError("bottom"));
  });
}

Task<int> ThrowingChain(int n) {
  if (n == 0) throw std::runtime_error("bottom");
  co_return 1 + co_await ThrowingChain(n - 1);
}

TEST(Deep, AnExceptionGoesThroughAHundredThousandAwaits) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    bool caught = false;
    try {
      (void)co_await ThrowingChain(n);
    } catch (const std::runtime_error&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
  });
}

TEST(Deep, AMillionOperationsInALoop) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    Gate gate;
    gate.Open(1);
    int64_t sum = 0;
    for (int i = 0; i < n; ++i) {
      sum += co_await gate.Wait();
      if (i % 4 == 0) co_await Checkpoint();
      if (i % 4 == 1) sum += co_await Chain(1, nullptr);
    }
    EXPECT_EQ(sum, n + (n + 2) / 4);
  });
}

// Scopes

// Enters a scope of the vector at each level, and waits at the bottom. Counts
// the scopes that stopped what was inside.
Task<void> Nest(std::vector<CancelScope>* scopes, size_t depth, Gate* gate,
                int* caught) {
  if (depth == scopes->size()) {
    co_await gate->Wait();
    co_return;
  }
  // Named: g++ 12 goes wrong where an if awaits a temporary task.
  const bool ran =
      co_await (*scopes)[depth].Run(Nest(scopes, depth + 1, gate, caught));
  if (!ran) ++*caught;
}

TEST(Deep, AHundredThousandScopesAreEnteredAndLeft) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    std::vector<CancelScope> scopes(n);
    Gate gate;
    gate.Open();
    int caught = 0;
    co_await Nest(&scopes, 0, &gate, &caught);
    EXPECT_EQ(caught, 0);
  });
}

// Runs `then(scopes, gate)` beside a nest of scopes that waits at the bottom.
template <typename Then>
Task<int> Nested(int n, Then then, Time deadline_of_all = kNever) {
  std::vector<CancelScope> scopes(n);
  for (CancelScope& scope : scopes) scope.SetDeadline(deadline_of_all);
  Gate gate;
  int caught = 0;
  auto status =
      co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
        group.Start("nest", Nest, &scopes, 0u, &gate, &caught);
        co_await SleepFor(1s);
        co_await then(scopes, gate);
        co_return co_await group.Join();
      });
  EXPECT_TRUE(status.ok());
  co_return caught;
}

TEST(Deep, AHundredThousandScopesAreCancelledFromOutside) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    EXPECT_EQ(co_await Nested(n,
                              [](auto& scopes, Gate&) -> Task<void> {
                                scopes[0].Cancel();
                                co_return;
                              }),
              1);
  });
}

TEST(Deep, AHundredThousandScopesAreCancelledInnermostFirst) {
  ExpectLinear(
      kHundredThousand,
      [](int n) -> Task<void> {
        // All of them before anything runs: the outermost takes the stop.
        EXPECT_EQ(co_await Nested(n,
                                  [](auto& scopes, Gate&) -> Task<void> {
                                    for (size_t i = scopes.size(); i-- > 0;) {
                                      scopes[i].Cancel();
                                    }
                                    co_return;
                                  }),
                  1);
        // One after the other: each takes its own.
        EXPECT_EQ(co_await Nested(n,
                                  [](auto& scopes, Gate&) -> Task<void> {
                                    for (size_t i = scopes.size(); i-- > 0;) {
                                      scopes[i].Cancel();
                                      co_await Checkpoint();
                                    }
                                  }),
                  1);
      },
      /*bounded=*/false);
}

// Waits at each level on its way out, so that each scope has something to stop.
Task<void> WaitingNest(std::vector<CancelScope>* scopes, size_t depth,
                       int* caught) {
  if (depth < scopes->size()) {
    const bool ran =
        co_await (*scopes)[depth].Run(WaitingNest(scopes, depth + 1, caught));
    if (!ran) ++*caught;
  }
  co_await SleepForever();
}

TEST(Deep, AHundredThousandScopesTakeTheirOwnStopsInsideOut) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    std::vector<CancelScope> scopes(n);
    int caught = 0;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("nest", WaitingNest, &scopes, 0u, &caught);
          co_await Checkpoint();
          for (size_t i = scopes.size(); i-- > 0;) {
            scopes[i].Cancel();
            co_await Checkpoint();
          }
          group.Cancel();
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(caught, n);
  });
}

TEST(Deep, AHundredThousandScopesOfOneDeadline) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    EXPECT_EQ(co_await Nested(
                  n, [](auto&, Gate&) -> Task<void> { co_return; }, Now() + 5s),
              1);
  });
}

TEST(Deep, AHundredThousandDeadlinesInsideOut) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    std::vector<CancelScope> scopes(n);
    const Time start = Now() + 1s;
    for (int i = 0; i < n; ++i) {
      scopes[i].SetDeadline(start + std::chrono::milliseconds(n - i));
    }
    int caught = 0;
    EXPECT_FALSE(co_await MoveOnAt(start + std::chrono::milliseconds(n + 1),
                                   WaitingNest(&scopes, 0, &caught)));
    EXPECT_EQ(caught, n);
    EXPECT_EQ(detail::Loop::Current().stats().timers, 0u);
  });
}

TEST(Deep, AHundredThousandShields) {
  ExpectLinear(
      kHundredThousand,
      [](int n) -> Task<void> {
        std::vector<CancelScope> scopes(n);
        Gate gate;
        int caught = 0;
        CancelScope outer;
        auto status =
            co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
              group.Start("nest", [&]() -> Task<void> {
                EXPECT_FALSE(
                    co_await outer.Run(Nest(&scopes, 0, &gate, &caught)));
              });
              co_await Checkpoint();
              for (CancelScope& scope : scopes) scope.SetShield(true);
              outer.Cancel();
              for (CancelScope& scope : scopes) scope.SetShield(false);
              co_return co_await group.Join();
            });
        EXPECT_TRUE(status.ok());
        EXPECT_EQ(caught, 0);
      },
      /*bounded=*/false);
}

// Something large is being cancelled elsewhere: what is asked meanwhile about a
// deep nest is not answered by walking all of it each time.
TEST(Deep, AHundredThousandScopesWhileALargeCancelSpreadsElsewhere) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    std::vector<CancelScope> scopes(n);
    int caught = 0;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto wide = group.Start("wide", []() -> Task<absl::Status> {
            co_return co_await WithTaskGroup(
                [](TaskGroup& group) -> Task<void> {
                  for (int i = 0; i < 5000; ++i) {
                    group.Start("task", SleepForeverBody);
                  }
                  co_return;
                });
          });
          co_await SleepFor(1s);
          wide.Cancel();  // on its way as long as this task doesn't yield
          Gate gate;
          gate.Open();
          co_await Nest(&scopes, 0, &gate, &caught);
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(caught, 0);
  });
}

// Cancels the outermost scope from the bottom, and stops there.
Task<void> CancelsAtTheBottom(std::vector<CancelScope>* scopes, size_t depth,
                              int* caught) {
  if (depth == scopes->size()) {
    scopes->front().Cancel();
    co_await Checkpoint();
    ADD_FAILURE() << "went on";
    co_return;
  }
  const bool ran = co_await (*scopes)[depth].Run(
      CancelsAtTheBottom(scopes, depth + 1, caught));
  if (!ran) ++*caught;
}

// The task at the bottom is awake when the outermost scope is cancelled, and
// leaves before the marks have reached it.
TEST(Deep, AHundredThousandScopesAreLeftBeforeTheirCancelHasSpread) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    EXPECT_EQ(co_await Nested(n,
                              [](auto& scopes, Gate& gate) -> Task<void> {
                                gate.Open();
                                scopes[0].Cancel();
                                co_return;
                              }),
              0);  // the operation had completed: a value beats a cancel
    std::vector<CancelScope> scopes(n);
    int caught = 0;
    co_await CancelsAtTheBottom(&scopes, 0, &caught);
    EXPECT_EQ(caught, 1);
  });
}

// Tasks

TEST(Wide, AMillionTasksAreCancelledAtOnce) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < n; ++i) group.Start("task", SleepForeverBody);
      co_await SleepFor(1s);
      EXPECT_EQ(group.size(), static_cast<size_t>(n));
      group.Cancel();
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(detail::Loop::Current().stats().tasks_alive, 1u);
  });
}

TEST(Wide, AMillionTasksStartAndEnd) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    int64_t ended = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < n; ++i) {
        group.Start(
            "task",
            [](int64_t* ended) -> Task<void> {
              co_await Checkpoint();
              ++*ended;
            },
            &ended);
      }
      co_return;
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(ended, n);
  });
}

TEST(Wide, AMillionSleepsOfOneInstant) {
  ExpectLinear(kMillion, [](int n) -> Task<void> {
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < n; ++i) {
        group.Start("task", []() -> Task<void> { co_await SleepFor(1s); });
      }
      co_return;
    });
    EXPECT_TRUE(status.ok());
  });
}

TEST(Wide, AHundredThousandTasksFail) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    Gate gate;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < n; ++i) {
            group.Start(
                "task",
                [](Gate* gate) -> Task<absl::Status> {
                  co_await gate->Wait();
                  co_return absl::UnknownError("x");
                },
                &gate);
          }
          co_await Checkpoint();
          gate.Open();
          co_return co_await group.Join();
        });
    EXPECT_EQ(status.code(), absl::StatusCode::kUnknown);
  });
}

// Many groups, each so large that its cancellation takes more than one portion,
// are cancelled in one go.
TEST(Wide, ManyLargeGroupsAreCancelledAtOnce) {
  ExpectLinear(512 / (kScale > 1 ? 8 : 1), [](int n) -> Task<void> {
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          std::vector<TaskHandle<void>> groups;
          for (int i = 0; i < n; ++i) {
            groups.push_back(group.Start("group", []() -> Task<absl::Status> {
              co_return co_await WithTaskGroup(
                  [](TaskGroup& group) -> Task<void> {
                    for (int i = 0; i < 1500; ++i) {
                      group.Start("task", SleepForeverBody);
                    }
                    co_return;
                  });
            }));
          }
          co_await SleepFor(1s);
          for (TaskHandle<void>& handle : groups) {
            handle.Cancel();
            // One task step may mark a portion per call; it is the caller's.
            co_await Checkpoint();
          }
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
  });
}

// A nest of groups, each a task of the one above.
Task<absl::Status> GroupsDown(int depth) {
  co_return co_await WithTaskGroup(
      [depth](TaskGroup& group) -> Task<absl::Status> {
        if (depth > 0) group.Start("down", GroupsDown, depth - 1);
        if (depth == 0) co_await SleepForever();
        co_return co_await group.Join();
      });
}

TEST(Deep, AHundredThousandNestedGroupsAreCancelled) {
  ExpectLinear(kHundredThousand, [](int n) -> Task<void> {
    EXPECT_EQ(co_await MoveOnAfter(1s, GroupsDown(n)), std::nullopt);
    EXPECT_EQ(detail::Loop::Current().stats().tasks_alive, 1u);
  });
}

}  // namespace
}  // namespace braid
