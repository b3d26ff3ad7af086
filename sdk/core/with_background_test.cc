// WithBackground: the body ends first and what it stands on after it, whatever
// ends it.

#include "braid/core/with_background.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/any_of.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/finally.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"
#include "braid/core/stop_request.h"
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

// Writes down who ends when.
using Log = std::vector<std::string>;
struct Noted {
  Noted(Log* log, std::string name) : log(log), name(std::move(name)) {}
  ~Noted() { log->push_back(name); }
  Log* log;
  std::string name;
};
Task<void> ForeverNoted(Log* log, std::string name) {
  Noted noted(log, std::move(name));
  co_await SleepForever();
}

// The table of results.

template <typename Background, typename B>
using Of =
    decltype(WithBackground(std::declval<Background>(), std::declval<B>()));

using OfInt = Task<int>;
using OfVoid = Task<void>;
using OfStatus = Task<absl::Status>;
using OfEither = Task<absl::StatusOr<int>>;
using Sleep = decltype(SleepFor(std::declval<Delay>()));

static_assert(kGives<absl::Status, Of<OfVoid, OfVoid>>);
static_assert(kGives<absl::Status, Of<OfStatus, OfVoid>>);
static_assert(kGives<absl::Status, Of<OfInt, OfStatus>>);
static_assert(kGives<absl::Status, Of<Sleep, Sleep>>);
static_assert(kGives<absl::StatusOr<int>, Of<OfVoid, OfInt>>);
static_assert(kGives<absl::StatusOr<int>, Of<OfStatus, OfEither>>);
static_assert(kGives<absl::StatusOr<std::reference_wrapper<int>>,
                     Of<OfVoid, Task<int&>>>);

TEST(WithBackground, TheBodyEndsFirstAndThenTheBackground) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Log log;
    std::optional<CancelCause> cause;
    EXPECT_EQ(*(co_await WithBackground(
                  [&]() -> Task<void> {
                    struct AtTheEnd {
                      ~AtTheEnd() { *cause = CancelReason(); }
                      std::optional<CancelCause>* cause;
                    } at_the_end{&cause};
                    co_await ForeverNoted(&log, "background");
                  },
                  [&]() -> Task<int> {
                    Noted noted(&log, "body");
                    co_return co_await IntIn(1s);
                  })),
              3);
    EXPECT_THAT(log, ElementsAre("body", "background"));
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(cause->source, CancelCause::Source::kBodyEnded);
    EXPECT_EQ(Stats().tasks_alive, 1u);
    EXPECT_FALSE(CancelPending());
  });
}

TEST(WithBackground, TakesOperationsCallablesAndTasks) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_TRUE((co_await WithBackground(SleepForever(), SleepFor(1s))).ok());
    EXPECT_TRUE((co_await WithBackground(VoidIn(1h), VoidIn(1s))).ok());
    EXPECT_EQ(*(co_await WithBackground(
                    VoidIn(1h),
                    []() -> Task<absl::StatusOr<std::unique_ptr<int>>> {
                      co_return std::make_unique<int>(2);
                    }))
                   .value(),
              2);
    int number = 0;
    EXPECT_EQ(&(co_await WithBackground(
                    VoidIn(1h), [&]() -> Task<int&> { co_return number; }))
                   ->get(),
              &number);
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(Stats().timers, 0u);
  });
}

// A body that is over at once, before the background has begun: it begins all
// the same, and is stopped at its first checkpoint.
TEST(WithBackground, ABodyWithoutACheckpoint) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int stage = 0;
    EXPECT_TRUE((co_await WithBackground(
                     [&]() -> Task<void> {
                       stage = 1;
                       co_await Checkpoint();
                       stage = 2;
                     },
                     []() -> Task<void> { co_return; }))
                    .ok());
    EXPECT_EQ(stage, 1);
  });
}

TEST(WithBackground, ABackgroundThatEndsWellLeavesTheBodyAlone) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    EXPECT_EQ(*(co_await WithBackground(VoidIn(1s), IntIn(2s))), 3);
    EXPECT_EQ(*(co_await WithBackground(StatusIn(1s, absl::OkStatus()),
                                        EitherIn(2s, 4))),
              4);
    EXPECT_EQ(*(co_await WithBackground([]() -> Task<void> { co_return; },
                                        IntIn(1s))),
              3);
    EXPECT_EQ(time.elapsed(), 5s);
  });
}

// Errors

TEST(WithBackground, AFailingBackgroundCancelsTheBody) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Log log;
    std::optional<CancelCause> cause;
    const absl::StatusOr<int> result = co_await WithBackground(
        StatusIn(1s, BrokenError("reset by peer")), [&]() -> Task<int> {
          struct AtTheEnd {
            ~AtTheEnd() { *cause = CancelReason(); }
            std::optional<CancelCause>* cause;
          } at_the_end{&cause};
          co_await ForeverNoted(&log, "body");
          co_return 1;
        });
    EXPECT_EQ(result.status(), BrokenError("reset by peer"));
    EXPECT_THAT(log, ElementsAre("body"));
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(cause->source, CancelCause::Source::kChildFailed);
    EXPECT_THAT(cause->reason, HasSubstr("task 'background' failed: "
                                         "UNAVAILABLE: reset by peer"));
    EXPECT_FALSE(CancelPending());
    // Before the body's first checkpoint.
    EXPECT_EQ((co_await WithBackground(
                  []() -> Task<absl::Status> {
                    co_return absl::AbortedError("at once");
                  },
                  VoidIn(1h))),
              absl::AbortedError("at once"));
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(WithBackground, AnErrorOutranksTheBodysValue) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_EQ((co_await WithBackground(StatusIn(1s, absl::AbortedError("x")),
                                       Shield(IntIn(2s))))
                  .status(),
              absl::AbortedError("x"));
    // Also one that comes while the background is being cancelled.
    EXPECT_EQ((co_await WithBackground(
                   Finally(VoidIn(1h), StatusIn(1s, absl::DataLossError("y"))),
                   IntIn(1s)))
                  .status(),
              absl::DataLossError("y"));
  });
}

TEST(WithBackground, ErrorsOfBothAreGiven) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    // The body's is a consequence of the background's.
    const absl::Status background_first = co_await WithBackground(
        StatusIn(1s, absl::AbortedError("background")),
        Finally(VoidIn(1h), StatusIn(1s, absl::DataLossError("body"))));
    EXPECT_EQ(background_first.message(), "background");
    EXPECT_THAT(SuppressedErrors(background_first),
                ElementsAre(absl::DataLossError("body")));
    const absl::Status body_first = co_await WithBackground(
        Finally(VoidIn(1h), StatusIn(1s, absl::AbortedError("background"))),
        StatusIn(1s, absl::DataLossError("body")));
    EXPECT_EQ(body_first.message(), "body");
    EXPECT_THAT(SuppressedErrors(body_first),
                ElementsAre(absl::AbortedError("background")));
    EXPECT_EQ((co_await WithBackground(VoidIn(1h),
                                       EitherIn(1s, absl::NotFoundError("z"))))
                  .status(),
              absl::NotFoundError("z"));
  });
}

TEST(WithBackground, Exceptions) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::vector<std::string> caught;
    try {
      (void)co_await WithBackground(ThrowIn(1s, "background"), IntIn(1h));
    } catch (const std::runtime_error& e) {
      caught.push_back(e.what());
    }
    try {
      (co_await WithBackground(VoidIn(1h), ThrowIn(1s, "body"))).IgnoreError();
    } catch (const std::runtime_error& e) {
      caught.push_back(e.what());
    }
    try {
      (co_await WithBackground(Finally(VoidIn(1h), ThrowIn(1s, "second")),
                               StatusIn(1s, absl::AbortedError("first"))))
          .IgnoreError();
    } catch (const GroupError& e) {
      caught.push_back(e.what());
    }
    EXPECT_THAT(caught,
                ElementsAre("background", "body",
                            HasSubstr("2 tasks failed; second; ABORTED")));
    EXPECT_EQ(time.elapsed(), 4s);
    EXPECT_EQ(Stats().tasks_alive, 1u);
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()() const {
    throw std::runtime_error("at once");
  }
};

TEST(WithBackground, ACallableThatThrowsAtOnce) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int caught = 0;
    try {
      (co_await WithBackground(ThrowsAtOnce(), VoidIn(1h))).IgnoreError();
    } catch (const std::runtime_error&) {
      ++caught;
    }
    try {
      (co_await WithBackground(VoidIn(1h), ThrowsAtOnce())).IgnoreError();
    } catch (const std::runtime_error&) {
      ++caught;
    }
    EXPECT_EQ(caught, 2);
    EXPECT_EQ(time.elapsed(), 0s);
    EXPECT_EQ(CurrentDeadline(), kNever);
  });
}

TEST(WithBackground, AResultThatThrowsWhenMovedIsAnException) {
  struct Throws {
    explicit Throws(int left) : left(left) {}
    Throws(Throws&& other) : left(other.left - 1) {
      if (left == 0) throw std::runtime_error("moved");
    }
    int left;
  };
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int caught = 0;
    for (int at = 1; at <= 12; ++at) {
      try {
        (void)co_await WithBackground(
            SleepForever(), [at]() -> Task<Throws> { co_return Throws(at); });
      } catch (const std::runtime_error&) {
        ++caught;
      }
    }
    EXPECT_GE(caught, 2);
    EXPECT_LT(caught, 9);
  });
}

// Stops from outside

TEST(WithBackground, AStopFromOutsideEndsTheBodyFirst) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Log log;
    CancelScope scope(Now() + 1s);
    EXPECT_FALSE((co_await scope.Run([&]() -> Task<void> {
      (void)co_await WithBackground(
          [&]() -> Task<void> {
            EXPECT_EQ(CurrentDeadline(), kNever) << "out of reach";
            co_await ForeverNoted(&log, "background");
          },
          [&]() -> Task<void> {
            // Its clean-up still stands on the background.
            co_await Finally(ForeverNoted(&log, "body"), [&]() -> Task<void> {
              co_await SleepFor(1s);
              log.push_back("clean-up");
            });
          });
      ADD_FAILURE() << "it went on";
    })));
    EXPECT_THAT(log, ElementsAre("body", "clean-up", "background"));
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(Stats().tasks_alive, 1u);
  });
}

TEST(WithBackground, StoppedBeforeItStarts) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    int background = 0;
    EXPECT_FALSE((co_await scope.Run(WithBackground(
        [&]() -> Task<void> {
          background = 1;
          co_await SleepForever();
          background = 2;
        },
        VoidIn(1h)))));
    EXPECT_EQ(background, 1);
    EXPECT_EQ(time.elapsed(), 0s);
  });
}

TEST(WithBackground, AValueBeatsAStop) {
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
          auto result =
              co_await scope.Run(WithBackground(SleepForever(), gate.Wait()));
          EXPECT_TRUE(result.has_value());
          EXPECT_EQ(**result, 4);
        });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(scope.cancel_called());
    EXPECT_FALSE(scope.caught());
  });
}

// Between the end of the body and that of the background.
TEST(WithBackground, AStopWhileItWaitsForTheBackgroundComesTooLate) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int stage = 0;
    EXPECT_FALSE(co_await MoveOnAfter(2s, [&]() -> Task<void> {
      const absl::StatusOr<int> result = co_await WithBackground(
          Finally(SleepForever(), SleepFor(3s)), IntIn(1s));
      EXPECT_EQ(*result, 3);
      stage = 1;
      co_await Checkpoint();
      stage = 2;
    }));
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(time.elapsed(), 4s);
  });
}

TEST(WithBackground, AnErrorOutranksAStopAndTheScopeSaysThatItCaught) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope(Now() + 1s);
    auto result = co_await scope.Run(WithBackground(
        Finally(SleepForever(), StatusIn(1s, absl::DataLossError("x"))),
        VoidIn(1h)));
    EXPECT_EQ(result, std::optional<absl::Status>(absl::DataLossError("x")));
    EXPECT_TRUE(scope.caught());
    // Both at once: the background failed, and then the stop came.
    CancelScope late(Now() + 2s);
    auto failed =
        co_await late.Run(WithBackground(StatusIn(1s, absl::AbortedError("y")),
                                         Finally(VoidIn(1h), VoidIn(3s))));
    EXPECT_EQ(failed, std::optional<absl::Status>(absl::AbortedError("y")));
  });
}

TEST(WithBackground, ABackgroundThatTakesItsTimeToStop) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate later(Gate::OnCancel::kLater);
    Gate refuses(Gate::OnCancel::kRefuse);
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(3s);
            later.Withdraw();
            co_await SleepFor(3s);
            refuses.Open();
          });
          EXPECT_EQ(*(co_await WithBackground(later.Wait(), IntIn(1s))), 3);
          EXPECT_EQ(time.elapsed(), 3s);
          EXPECT_FALSE((co_await MoveOnAfter(
              1s, WithBackground(refuses.Wait(), VoidIn(1h)))));
          EXPECT_EQ(time.elapsed(), 6s);
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(later.cancels(), 1);
    EXPECT_EQ(refuses.cancels(), 1);
  });
}

TEST(WithBackground, ABodyThatRefusesHoldsTheBackground) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Log log;
    Gate refuses(Gate::OnCancel::kRefuse);
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(3s);
            EXPECT_THAT(log, IsEmpty()) << "the background still runs";
            refuses.Open(7);
          });
          auto result = co_await MoveOnAfter(
              1s,
              WithBackground(ForeverNoted(&log, "background"), refuses.Wait()));
          EXPECT_TRUE(result.has_value());
          EXPECT_EQ(**result, 7);
        });
    EXPECT_TRUE(status.ok());
    EXPECT_THAT(log, ElementsAre("background"));
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(WithBackground, AStopThatAShieldHidesMeanwhileIsNotLost) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    // Under a shield nothing comes from outside.
    CancelScope scope;
    scope.Cancel();
    EXPECT_TRUE(
        (co_await scope.Run(Shield(WithBackground(SleepForever(), IntIn(1s)))))
            .has_value());
    // In clean-up, past its limit.
    EXPECT_FALSE(co_await MoveOnAfter(1s, Finally(
                                              VoidIn(1h),
                                              []() -> Task<void> {
                                                (void)co_await WithBackground(
                                                    SleepForever(), VoidIn(1h));
                                                ADD_FAILURE() << "it went on";
                                              },
                                              1s)));
    EXPECT_EQ(Stats().cleanup_failures, 1u);
    EXPECT_EQ(Stats().tasks_alive, 1u);
  });
}

// Nesting: a protocol on a connection on a transport.
TEST(WithBackground, NestedTheyEndInsideOut) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (const bool stopped : {false, true}) {
      Log log;
      co_await MoveOnAfter(1s, [&]() -> Task<void> {
        (void)co_await WithBackground(
            ForeverNoted(&log, "transport"), [&]() -> Task<absl::Status> {
              co_return co_await WithBackground(
                  ForeverNoted(&log, "connection"), [&]() -> Task<void> {
                    Noted noted(&log, "call");
                    co_await SleepFor(stopped ? 1h : 0h);
                  });
            });
      });
      EXPECT_THAT(log, ElementsAre("call", "connection", "transport"));
    }
    // The outer background fails: all end, inside out, with its error.
    Log log;
    EXPECT_EQ((co_await WithBackground(
                  StatusIn(1s, absl::AbortedError("x")),
                  WithBackground(ForeverNoted(&log, "connection"),
                                 ForeverNoted(&log, "call")))),
              absl::AbortedError("x"));
    EXPECT_THAT(log, ElementsAre("call", "connection"));
  });
}

TEST(WithBackground, AsALegAndWithLegs) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Log log;
    auto [reply, expired] =
        co_await AnyOf(WithBackground(ForeverNoted(&log, "background"),
                                      ForeverNoted(&log, "body")),
                       SleepFor(1s));
    EXPECT_FALSE(reply.has_value());
    EXPECT_TRUE(expired);
    EXPECT_THAT(log, ElementsAre("body", "background"));
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(WithBackground, AGroupAsTheBackground) {
  RunInEveryOrder([](VirtualTime& time) -> Task<absl::Status> {
    int alive = 0;
    auto background = [&]() -> Task<absl::Status> {
      co_return co_await WithTaskGroup(
          [&](TaskGroup& group) -> Task<absl::Status> {
            for (int i = 0; i < 3; ++i) {
              group.Start("reader", [&alive]() -> Task<void> {
                struct Alive {
                  ~Alive() { --*count; }
                  int* count;
                } here{&alive};
                ++alive;
                co_await Finally(SleepForever(), SleepFor(1s));
              });
            }
            co_return co_await group.Join();
          });
    };
    const int seen =
        co_await OrReturn(WithBackground(background, [&]() -> Task<int> {
          co_await SleepFor(1s);
          co_return alive;
        }));
    EXPECT_EQ(seen, 3);
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(time.elapsed(), 2s);
    co_return absl::OkStatus();
  });
}

// A graceful stop reaches both; no shield hides it.
TEST(WithBackground, AStopRequestReachesBoth) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int heard = 0;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(1s);
            group.RequestStop();
          });
          auto hear = [&heard]() -> Task<void> {
            co_await StopRequested();
            ++heard;
          };
          co_return co_await WithBackground(hear, [&]() -> Task<void> {
            co_await hear();
            co_await Checkpoint();
            co_await SleepFor(1s);
          });
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(heard, 2);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(WithBackground, ALocalOfTheBodyMayCancelSetAndStart) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate;
    CancelScope scope(Now() + 1s);
    int ran = 0;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          EXPECT_FALSE((co_await scope.Run(
              WithBackground(gate.Wait(), [&]() -> Task<void> {
                MeddlesAtItsEnd local{&gate, &scope, &group, &ran};
                co_await SleepForever();
              }))));
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(ran, 1);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(WithBackgroundDeathTest, AwaitedTwice) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 auto with = WithBackground(VoidIn(1s), VoidIn(1s));
                 (co_await std::move(with)).IgnoreError();
                 (co_await std::move(with)).IgnoreError();
               }),
               "a task is awaited twice");
}

}  // namespace
}  // namespace braid
