// Finally: the clean-up runs however the body ended, once, shielded and within
// its limit, and no error is lost between the two.

#include "braid/core/finally.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "braid/core/all_of.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/test_bodies.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The table of results.

template <typename B, typename C>
using Of = decltype(Finally(std::declval<B>(), std::declval<C>()));

using OfInt = Task<int>;
using OfVoid = Task<void>;
using OfStatus = Task<absl::Status>;
using OfEither = Task<absl::StatusOr<int>>;
using OfReference = Task<int&>;
using Sleep = decltype(SleepFor(std::declval<Delay>()));

static_assert(kGives<int, Of<OfInt, OfVoid>>);
static_assert(kGives<int&, Of<OfReference, OfVoid>>);
static_assert(kGives<void, Of<OfVoid, OfVoid>>);
static_assert(kGives<void, Of<Sleep, Sleep>>);
static_assert(kGives<absl::Status, Of<OfVoid, OfStatus>>);
static_assert(kGives<absl::Status, Of<OfStatus, OfVoid>>);
static_assert(kGives<absl::Status, Of<OfStatus, OfStatus>>);
static_assert(kGives<absl::StatusOr<int>, Of<OfInt, OfStatus>>);
static_assert(kGives<absl::StatusOr<int>, Of<OfEither, OfVoid>>);
static_assert(kGives<absl::StatusOr<int>, Of<OfEither, OfStatus>>);
static_assert(kGives<absl::StatusOr<std::reference_wrapper<int>>,
                     Of<OfReference, OfStatus>>);

TEST(Finally, GivesTheBodysResultAndRunsTheCleanUpAfterIt) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::vector<std::string> seen;
    auto cleanup = [&](const Outcome<int>& outcome) -> Task<void> {
      co_await SleepFor(1s);
      seen.push_back(outcome.ok() ? std::to_string(outcome.value()) : "?");
    };
    EXPECT_EQ(co_await Finally(IntIn(1s), cleanup), 3);
    EXPECT_EQ(time.elapsed(), 2s);
    // Each kind of body and of clean-up.
    co_await Finally(SleepFor(1s), SleepFor(1s));
    co_await Finally([]() -> Task<void> { co_return; }, VoidIn(1s));
    EXPECT_EQ(time.elapsed(), 5s);
    EXPECT_TRUE(
        (co_await Finally(VoidIn(1s), StatusIn(1s, absl::OkStatus()))).ok());
    EXPECT_EQ(*(co_await Finally(EitherIn(1s, 4), cleanup)), 4);
    EXPECT_EQ(*(co_await Finally(IntIn(1s), StatusIn(1s, absl::OkStatus()))),
              3);
    int number = 5;
    EXPECT_EQ(&(co_await Finally([&]() -> Task<int&> { co_return number; },
                                 VoidIn(0s))),
              &number);
    EXPECT_EQ(**(co_await Finally(
                  []() -> Task<absl::StatusOr<std::unique_ptr<int>>> {
                    co_return std::make_unique<int>(6);
                  },
                  VoidIn(0s))),
              6);
    EXPECT_THAT(seen, ElementsAre("3", "4"));
    EXPECT_EQ(Stats().timers, 0u);
    EXPECT_EQ(Stats().cleanup_failures, 0u);
    EXPECT_FALSE(CancelPending());
    EXPECT_EQ(CurrentDeadline(), kNever);
  });
}

TEST(Finally, TheCleanUpSeesTheOutcome) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    std::vector<std::string> seen;
    auto cleanup = [&](const Outcome<void>& outcome) -> Task<void> {
      seen.push_back(outcome.stopped() ? "stopped"
                     : outcome.ok()    ? "ok"
                     : outcome.exception() != nullptr
                         ? "exception"
                         : std::string(outcome.status().message()));
      co_return;
    };
    EXPECT_TRUE(
        (co_await Finally(StatusIn(1s, absl::OkStatus()), cleanup)).ok());
    EXPECT_EQ(
        co_await Finally(StatusIn(1s, absl::AbortedError("failed")), cleanup),
        absl::AbortedError("failed"));
    try {
      co_await Finally(ThrowIn(1s, "x"), cleanup);
      ADD_FAILURE() << "it went on";
    } catch (const std::runtime_error&) {
    }
    EXPECT_FALSE(co_await MoveOnAfter(1s, Finally(VoidIn(1h), cleanup)));
    EXPECT_THAT(seen, ElementsAre("ok", "failed", "exception", "stopped"));
  });
}

TEST(Finally, TheBodysFramesAndItsCallableAreGoneBefore) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    std::vector<std::string> order;
    struct Local {
      ~Local() { order->push_back(name); }
      std::vector<std::string>* order;
      const char* name;
    };
    for (const bool stopped : {false, true}) {
      order.clear();
      co_await MoveOnAfter(
          1s, Finally(
                  [&, own = std::shared_ptr<Local>(
                          new Local{&order, "callable"})]() -> Task<void> {
                    Local outer{&order, "outer"};
                    co_await [](std::vector<std::string>* order,
                                bool forever) -> Task<void> {
                      Local inner{order, "inner"};
                      co_await SleepFor(forever ? 1h : 0h);
                    }(&order, stopped);
                  },
                  [&]() -> Task<void> {
                    order.push_back("clean-up");
                    co_return;
                  }));
      EXPECT_THAT(order, ElementsAre("inner", "outer", "callable", "clean-up"));
    }
  });
}

// Errors

TEST(Finally, ACleanUpsErrorIsTheResultOfABodyThatWasOk) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    const absl::Status error = absl::DataLossError("not flushed");
    EXPECT_EQ(co_await Finally(VoidIn(1s), StatusIn(1s, error)), error);
    EXPECT_EQ((co_await Finally(IntIn(1s), StatusIn(1s, error))).status(),
              error);
    std::string caught;
    try {
      (void)co_await Finally(IntIn(1s), ThrowIn(1s, "boom"));
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
  });
}

TEST(Finally, ACleanUpsErrorStandsBehindTheBodys) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    const absl::Status both =
        co_await Finally(StatusIn(1s, absl::AbortedError("body")),
                         StatusIn(1s, absl::DataLossError("clean-up")));
    EXPECT_EQ(both.code(), absl::StatusCode::kAborted);
    EXPECT_EQ(both.message(), "body");
    EXPECT_THAT(SuppressedErrors(both),
                ElementsAre(absl::DataLossError("clean-up")));
    // Exceptions outrank statuses; nothing is dropped.
    int caught = 0;
    try {
      (co_await Finally(StatusIn(1s, absl::AbortedError("body")),
                        ThrowIn(1s, "clean-up")))
          .IgnoreError();
    } catch (const GroupError& e) {
      ++caught;
      EXPECT_THAT(e.statuses(), ElementsAre(absl::AbortedError("body")));
      EXPECT_EQ(e.exceptions().size(), 1u);
    }
    try {
      (co_await Finally(ThrowIn(1s, "body"),
                        StatusIn(1s, absl::DataLossError("clean-up"))))
          .IgnoreError();
    } catch (const GroupError& e) {
      ++caught;
      EXPECT_THAT(e.what(), HasSubstr("2 tasks failed; body; DATA_LOSS"));
    }
    try {
      co_await Finally(ThrowIn(1s, "first"), ThrowIn(1s, "second"));
    } catch (const GroupError& e) {
      ++caught;
      EXPECT_THAT(e.what(), HasSubstr("first; second"));
    }
    EXPECT_EQ(caught, 3);
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()() const {
    throw std::runtime_error("at once");
  }
};

TEST(Finally, ABodyOrCleanUpThatThrowsWhenItIsCalled) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int cleaned = 0;
    int caught = 0;
    try {
      co_await Finally(ThrowsAtOnce(),
                       [&](const Outcome<void>& outcome) -> Task<void> {
                         EXPECT_NE(outcome.exception(), nullptr);
                         ++cleaned;
                         co_return;
                       });
    } catch (const std::runtime_error&) {
      ++caught;
    }
    try {
      co_await Finally(VoidIn(1s), ThrowsAtOnce());
    } catch (const std::runtime_error&) {
      ++caught;
    }
    EXPECT_EQ(cleaned, 1);
    EXPECT_EQ(caught, 2);
    EXPECT_EQ(CurrentDeadline(), kNever);
  });
}

// The value is moved into the outcome where nothing may throw: a move that
// threw ended the program.
TEST(Finally, AResultThatThrowsWhenMovedIsAnException) {
  struct Throws {
    explicit Throws(int left) : left(left) {}
    Throws(Throws&& other) : left(other.left - 1) {
      if (left == 0) throw std::runtime_error("moved");
    }
    int left;
  };
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int caught = 0;
    int cleaned = 0;
    for (int at = 1; at <= 12; ++at) {
      try {
        (void)co_await Finally(
            [at]() -> Task<Throws> { co_return Throws(at); },
            [&](const Outcome<Throws>& outcome) -> Task<void> {
              EXPECT_TRUE(outcome.ok() || outcome.exception() != nullptr);
              ++cleaned;
              co_return;
            });
      } catch (const std::runtime_error&) {
        ++caught;
      }
    }
    EXPECT_EQ(cleaned, 12) << "whatever happens";
    EXPECT_GE(caught, 3);
    EXPECT_LT(caught, 9);
  });
}

// Stops from outside

TEST(Finally, AStopGoesOnOutwardsAfterTheCleanUp) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int cleaned = 0;
    CancelScope scope(Now() + 1s);
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      co_await Finally(VoidIn(1h), [&]() -> Task<void> {
        EXPECT_FALSE(CancelPending());
        EXPECT_EQ(CurrentDeadline(), Now() + 10s) << "the default limit";
        co_await SleepFor(2s);
        ++cleaned;
      });
      ADD_FAILURE() << "it went on";
    }));
    EXPECT_EQ(cleaned, 1);
    EXPECT_EQ(time.elapsed(), 3s);
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(Stats().timers, 0u);
  });
}

TEST(Finally, StoppedBeforeItStartsTheCleanUpStillRuns) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    int begun = 0;
    int cleaned = 0;
    EXPECT_FALSE(co_await scope.Run(Finally(
        [&]() -> Task<void> {
          ++begun;
          co_await Checkpoint();
          ++begun;
        },
        [&](const Outcome<void>& outcome) -> Task<void> {
          EXPECT_TRUE(outcome.stopped());
          co_await Checkpoint();
          ++cleaned;
        })));
    EXPECT_EQ(begun, 1);
    EXPECT_EQ(cleaned, 1);
  });
}

TEST(Finally, AValueBeatsAStopAndTheCleanUpSeesIt) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    CancelScope scope;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(1s);
            gate.Open(4);
            scope.Cancel();
            scope.Cancel("twice");
          });
          EXPECT_EQ(co_await scope.Run(
                        Finally(gate.Wait(),
                                [](const Outcome<int>& outcome) -> Task<void> {
                                  EXPECT_EQ(outcome.value(), 4);
                                  co_await SleepFor(1s);
                                })),
                    4);
        });
    EXPECT_TRUE(status.ok());
    EXPECT_FALSE(scope.caught());
  });
}

TEST(Finally, StoppedDuringTheCleanUpItEndsFirst) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    // The body was OK, so its value is given; the stop waits for the next
    // checkpoint.
    int stage = 0;
    EXPECT_FALSE(co_await MoveOnAfter(2s, [&]() -> Task<void> {
      EXPECT_EQ(co_await Finally(IntIn(1s), VoidIn(3s)), 3);
      stage = 1;
      EXPECT_TRUE(CancelPending());
      co_await Checkpoint();
      stage = 2;
    }));
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(time.elapsed(), 4s);
    // Two scopes outside, one after the other: the body, then the clean-up.
    bool cleaned = false;
    EXPECT_FALSE((co_await MoveOnAfter(2s, [&]() -> Task<void> {
      co_await MoveOnAfter(1s, Finally(VoidIn(1h), [&]() -> Task<void> {
                             co_await SleepFor(3s);
                             cleaned = true;
                           }));
      ADD_FAILURE() << "the outer limit has passed too";
    })));
    EXPECT_TRUE(cleaned);
    EXPECT_EQ(time.elapsed(), 8s);
  });
}

TEST(Finally, ABodyThatTakesItsTimeToStop) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate later(Gate::OnCancel::kLater);
    bool cleaned = false;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(3s);
            EXPECT_FALSE(cleaned);
            later.Withdraw();
          });
          EXPECT_FALSE((co_await MoveOnAfter(
              1s, Finally(later.Wait(), [&]() -> Task<void> {
                cleaned = true;
                co_return;
              }))));
        });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(cleaned);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

// The scope outside did not say that it had stopped something, although it
// had, when the clean-up's error took the place of the stop.
TEST(Finally, ACleanUpsErrorOutranksAStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope(Now() + 1s);
    const std::optional<absl::Status> result = co_await scope.Run(
        Finally(VoidIn(1h), StatusIn(1s, absl::DataLossError("torn"))));
    EXPECT_EQ(result, absl::DataLossError("torn"));
    EXPECT_TRUE(scope.cancel_called());
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(scope.cause()->source, CancelCause::Source::kDeadline);
    // Of two scopes, the one that stopped it.
    CancelScope outer(Now() + 1s);
    CancelScope inner;
    std::string caught;
    try {
      co_await outer.Run([&]() -> Task<void> {
        co_await inner.Run(Finally(VoidIn(1h), ThrowIn(1s, "boom")));
      });
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
    EXPECT_TRUE(outer.caught());
    EXPECT_FALSE(inner.caught());
    // No stop, nothing caught.
    CancelScope calm;
    EXPECT_EQ(co_await calm.Run(Finally(
                  VoidIn(1s), StatusIn(1s, absl::DataLossError("torn")))),
              absl::DataLossError("torn"));
    EXPECT_FALSE(calm.caught());
  });
}

// The limit

TEST(Finally, PastItsLimitTheCleanUpIsStopped) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    bool went_on = false;
    auto slow = [&]() -> Task<absl::Status> {
      co_await SleepFor(1h);
      went_on = true;
      co_return absl::OkStatus();
    };
    const absl::Status status = co_await Finally(VoidIn(1s), slow, 1500ms);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("did not end within its limit of 1.5 s"));
    EXPECT_EQ(time.elapsed(), 2500ms);
    // The default.
    EXPECT_EQ((co_await Finally(VoidIn(1s), slow)).code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(time.elapsed(), 13500ms);
    // Of a body that was stopped, it is the result.
    EXPECT_EQ((co_await MoveOnAfter(1s, Finally(VoidIn(1h), slow, 1s)))->code(),
              absl::StatusCode::kDeadlineExceeded);
    // Of one that failed, it stands behind.
    const absl::Status failed =
        co_await Finally(StatusIn(1s, absl::AbortedError("x")), slow, 1s);
    EXPECT_EQ(failed.code(), absl::StatusCode::kAborted);
    EXPECT_EQ(SuppressedErrors(failed).size(), 1u);
    EXPECT_FALSE(went_on);
    EXPECT_EQ(Stats().cleanup_failures, 0u) << "all were told";
  });
}

TEST(Finally, WhereNothingCanCarryThatItIsCounted) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(co_await Finally(IntIn(1s), VoidIn(1h), 1s), 3);
    EXPECT_EQ(Stats().cleanup_failures, 1u);
    EXPECT_FALSE(co_await MoveOnAfter(1s, Finally(VoidIn(1h), VoidIn(1h), 1s)));
    EXPECT_EQ(Stats().cleanup_failures, 2u);
    EXPECT_EQ(time.elapsed(), 4s);
  });
}

TEST(Finally, TheLoopSaysWhatTheDefaultIs) {
  RunInOrder(
      [](VirtualTime& time) -> Task<void> {
        co_await Finally(VoidIn(1s), VoidIn(1h));
        EXPECT_EQ(time.elapsed(), 3s);
      },
      LoopOptions{.shuffle_seed = std::nullopt, .cleanup_limit = 2s});
}

// A negative limit meant the default, and not what it means everywhere: what
// was left of a deadline that has passed gave ten seconds more.
TEST(Finally, ANegativeLimitHasPassedAndAnInfiniteOneIsNone) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    for (const Delay limit : {Delay(-1ns), Delay(-1s), Delay(0s),
                              Delay(-absl::InfiniteDuration())}) {
      int stage = 0;
      const absl::Status status = co_await Finally(
          VoidIn(0s),
          [&]() -> Task<absl::Status> {
            stage = 1;  // it begins, as everything does
            co_await Checkpoint();
            stage = 2;
            co_return absl::OkStatus();
          },
          limit);
      EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
      EXPECT_EQ(stage, 1);
    }
    EXPECT_EQ(time.elapsed(), 0s);
    co_await Finally(
        VoidIn(0s),
        []() -> Task<void> {
          EXPECT_EQ(CurrentDeadline(), kNever);
          co_await SleepFor(1h);
        },
        kForever);
    co_await Finally(VoidIn(0s), VoidIn(1h), absl::InfiniteDuration());
    EXPECT_EQ(time.elapsed(), 2h);
    // A clean-up without a checkpoint needs no time.
    EXPECT_EQ(
        co_await Finally(IntIn(0s), []() -> Task<void> { co_return; }, 0s), 3);
    EXPECT_EQ(Stats().cleanup_failures, 0u);
  });
}

// Nesting, and what runs inside

TEST(Finally, NestedCleanUpsRunInsideOut) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::vector<int> order;
    auto cleanup = [&order](int i) {
      return [&order, i]() -> Task<void> {
        co_await SleepFor(1s);
        order.push_back(i);
      };
    };
    EXPECT_FALSE(co_await MoveOnAfter(
        1s, Finally(Finally(Finally(VoidIn(1h), cleanup(1)), cleanup(2)),
                    cleanup(3))));
    EXPECT_THAT(order, ElementsAre(1, 2, 3));
    EXPECT_EQ(time.elapsed(), 4s);
    // A clean-up with a clean-up of its own, which gets its time although the
    // outer one's limit has passed.
    order.clear();
    EXPECT_FALSE(co_await MoveOnAfter(
        1s, Finally(VoidIn(1h), Finally(VoidIn(1h), cleanup(4)), 1s)));
    EXPECT_THAT(order, ElementsAre(4));
    EXPECT_EQ(time.elapsed(), 7s);
    EXPECT_EQ(Stats().cleanup_failures, 1u);
  });
}

TEST(Finally, AGroupInTheCleanUp) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int closed = 0;
    EXPECT_FALSE((co_await MoveOnAfter(
        1s, Finally(VoidIn(1h), [&]() -> Task<void> {
          EXPECT_TRUE(
              (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
                for (int i = 0; i < 3; ++i) {
                  group.Start("closer", [&]() -> Task<void> {
                    co_await SleepFor(1s);
                    ++closed;
                  });
                }
                co_return;
              })).ok());
        }))));
    EXPECT_EQ(closed, 3);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(Finally, AroundAGroup) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int alive = 0;
    EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
      (void)co_await Finally(
          [&]() -> Task<absl::Status> {
            co_return co_await WithTaskGroup(
                [&](TaskGroup& group) -> Task<absl::Status> {
                  for (int i = 0; i < 3; ++i) {
                    group.Start("task", [&]() -> Task<void> {
                      ++alive;
                      co_await Finally(SleepForever(), SleepFor(1s));
                    });
                  }
                  co_return co_await group.Join();
                });
          },
          [&](const Outcome<void>& outcome) -> Task<void> {
            EXPECT_TRUE(outcome.stopped());
            EXPECT_EQ(alive, 3);
            EXPECT_EQ(Stats().tasks_alive, 1u) << "all have ended";
            co_return;
          });
    }));
  });
}

TEST(Finally, InOrReturnAndThroughOrReturn) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int cleaned = 0;
    auto count = [&]() -> Task<void> {
      ++cleaned;
      co_return;
    };
    auto failing = [&]() -> Task<absl::StatusOr<int>> {
      co_return co_await OrReturn(
          Finally(EitherIn(1s, absl::AbortedError("x")), count));
    };
    EXPECT_EQ((co_await failing()).status(), absl::AbortedError("x"));
    EXPECT_EQ((co_await Finally(
                   []() -> Task<absl::StatusOr<int>> {
                     const int value = co_await OrReturn(
                         EitherIn(1s, absl::AbortedError("y")));
                     ADD_FAILURE() << "it went on";
                     co_return value;
                   },
                   count))
                  .status(),
              absl::AbortedError("y"));
    EXPECT_EQ(cleaned, 2);
  });
}

TEST(Finally, ALocalOfTheBodyMayCancelSetAndStart) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate;
    CancelScope scope(Now() + 1s);
    int ran = 0;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          EXPECT_FALSE((co_await scope.Run(Finally(
              [&]() -> Task<void> {
                MeddlesAtItsEnd local{&gate, &scope, &group, &ran};
                co_await SleepForever();
              },
              [&]() -> Task<void> { co_await gate.Wait(); }))));
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(ran, 1);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// A loop of them leaves nothing behind, and the stack flat.
TEST(Finally, ManyInARow) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    int cleaned = 0;
    for (int i = 0; i < 100'000; ++i) {
      co_await Finally([]() -> Task<void> { co_return; },
                       [&]() -> Task<void> {
                         ++cleaned;
                         co_return;
                       });
    }
    EXPECT_EQ(cleaned, 100'000);
    EXPECT_EQ(Stats().timers, 0u);
  });
}

TEST(FinallyDeathTest, AwaitedTwice) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 auto finally = Finally(VoidIn(1s), VoidIn(1s));
                 co_await std::move(finally);
                 co_await std::move(finally);
               }),
               "a task is awaited twice");
}

}  // namespace
}  // namespace braid
