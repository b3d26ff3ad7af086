// AllOf: what it gives, what it does with errors, and that it never lets go
// before its last leg has ended.

#include "braid/core/all_of.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
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
#include "braid/core/any_of.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/finally.h"
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

// Counts itself as alive.
class Alive {
 public:
  explicit Alive(int* count) : count_(count) { ++*count_; }
  Alive(Alive&& other) noexcept
      : count_(std::exchange(other.count_, nullptr)) {}
  ~Alive() {
    if (count_ != nullptr) --*count_;
  }

 private:
  int* count_;
};

// The table of results.

template <typename... Bs>
using Of = decltype(AllOf(std::declval<Bs>()...));

using OfInt = Task<int>;
using OfVoid = Task<void>;
using OfStatus = Task<absl::Status>;
using OfEither = Task<absl::StatusOr<int>>;
using Sleep = decltype(SleepFor(std::declval<Delay>()));
using Nothing = std::monostate;

static_assert(kGives<std::tuple<int>, Of<OfInt>>);
static_assert(
    kGives<std::tuple<int, std::string>, Of<OfInt, Task<std::string>>>);
static_assert(kGives<std::tuple<int, Nothing>, Of<OfInt, OfVoid>>);
static_assert(kGives<std::tuple<int, Nothing>, Of<OfInt, Sleep>>);
static_assert(kGives<std::tuple<std::reference_wrapper<int>>, Of<Task<int&>>>);
static_assert(kGives<void, Of<OfVoid>>);
static_assert(kGives<void, Of<OfVoid, Sleep>>);
static_assert(kGives<absl::Status, Of<OfStatus>>);
static_assert(kGives<absl::Status, Of<OfVoid, OfStatus>>);
static_assert(kGives<absl::StatusOr<std::tuple<int>>, Of<OfEither>>);
static_assert(kGives<absl::StatusOr<std::tuple<int, int, Nothing, Nothing>>,
                     Of<OfInt, OfEither, OfVoid, OfStatus>>);
static_assert(
    kGives<absl::StatusOr<std::tuple<int, Nothing>>, Of<OfInt, OfStatus>>);
static_assert(kGives<std::vector<int>, Of<std::vector<OfInt>>>);
static_assert(kGives<std::vector<bool>, Of<std::vector<Task<bool>>>>);
static_assert(kGives<void, Of<std::vector<OfVoid>>>);
static_assert(kGives<void, Of<std::vector<Sleep>>>);
static_assert(kGives<absl::Status, Of<std::vector<OfStatus>>>);
static_assert(
    kGives<absl::StatusOr<std::vector<int>>, Of<std::vector<OfEither>>>);
static_assert(kGives<std::tuple<std::tuple<int, Nothing>, int>,
                     Of<Of<OfInt, OfVoid>, OfInt>>);

TEST(AllOf, GivesATupleOfTheValues) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto [a, b, c] = co_await AllOf(
        IntIn(2s), VoidIn(1s), []() -> Task<std::string> { co_return "text"; });
    EXPECT_EQ(a, 3);
    EXPECT_EQ(b, std::monostate());
    EXPECT_EQ(c, "text");
    EXPECT_EQ(time.elapsed(), 2s) << "side by side";
    co_await AllOf(VoidIn(1s), SleepFor(3s));
    EXPECT_EQ(time.elapsed(), 5s);
    EXPECT_EQ(std::get<0>(co_await AllOf(IntIn(1s, 9))), 9);
  });
}

TEST(AllOf, GivesAStatusOrWhereALegCanFail) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto all = co_await AllOf(IntIn(1s, 1), EitherIn(2s, 2), VoidIn(1s),
                              StatusIn(1s, absl::OkStatus()));
    EXPECT_EQ(*all, std::make_tuple(1, 2, Nothing(), Nothing()));
    EXPECT_TRUE(
        (co_await AllOf(VoidIn(1s), StatusIn(1s, absl::OkStatus()))).ok());
    EXPECT_EQ(*(co_await AllOf(EitherIn(1s, 4))), std::make_tuple(4));
  });
}

TEST(AllOf, UnwrapsInOrReturn) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    auto [a, b] = co_await OrReturn(AllOf(EitherIn(1s, 1), EitherIn(2s, 2)));
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 2);
    const absl::Status failed = co_await []() -> Task<absl::Status> {
      co_await OrReturn(
          AllOf(VoidIn(1s), StatusIn(1s, absl::AbortedError("x"))));
      ADD_FAILURE() << "it went on";
      co_return absl::OkStatus();
    }();
    EXPECT_EQ(failed, absl::AbortedError("x"));
    co_return absl::OkStatus();
  });
}

TEST(AllOf, GivesAVectorInTheOrderOfTheRange) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 5; ++i) tasks.push_back(IntIn(1s * (5 - i), i));
    EXPECT_THAT(co_await AllOf(std::move(tasks)), ElementsAre(0, 1, 2, 3, 4));
    EXPECT_EQ(time.elapsed(), 5s);

    // Operations and callables.
    Gate gate;
    gate.Open(6);
    std::vector<decltype(gate.Wait())> waits;
    for (int i = 0; i < 3; ++i) waits.push_back(gate.Wait());
    EXPECT_THAT(co_await AllOf(std::move(waits)), ElementsAre(6, 6, 6));
    int calls = 0;
    auto call = [&calls, own = std::make_unique<int>(7)]() -> Task<int> {
      co_await SleepFor(1s);
      ++calls;
      co_return *own;
    };
    std::vector<decltype(call)> callables;
    callables.push_back(std::move(call));
    EXPECT_THAT(co_await AllOf(std::move(callables)), ElementsAre(7));
    EXPECT_EQ(calls, 1);

    std::vector<Task<void>> nothing;
    nothing.push_back(VoidIn(1s));
    co_await AllOf(std::move(nothing));
    std::vector<Task<bool>> bools;
    bools.push_back([]() -> Task<bool> { co_return true; }());
    EXPECT_THAT(co_await AllOf(std::move(bools)), ElementsAre(true));
    std::vector<Task<absl::StatusOr<int>>> fallible;
    fallible.push_back(EitherIn(2s, 8));
    fallible.push_back(EitherIn(1s, 9));
    EXPECT_THAT(*(co_await AllOf(std::move(fallible))), ElementsAre(8, 9));
  });
}

TEST(AllOf, OfNothingCompletesAtOnce) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    const uint64_t switches = Stats().switches;
    EXPECT_THAT(co_await AllOf(std::vector<Task<int>>()), IsEmpty());
    co_await AllOf(std::vector<Task<void>>());
    EXPECT_TRUE((co_await AllOf(std::vector<Task<absl::Status>>())).ok());
    EXPECT_THAT(*(co_await AllOf(std::vector<OfEither>())), IsEmpty());
    EXPECT_EQ(Stats().switches, switches);
    // It is no checkpoint, as awaiting anything but an operation isn't.
    CancelScope scope;
    scope.Cancel();
    EXPECT_TRUE(co_await scope.Run(
        []() -> Task<void> { co_await AllOf(std::vector<Task<void>>()); }));
    // As the body of another boundary, and as a leg.
    EXPECT_TRUE(co_await MoveOnAfter(1s, AllOf(std::vector<Task<void>>())));
    auto [empty, one] =
        co_await AllOf(AllOf(std::vector<Task<int>>()), IntIn(1s, 1));
    EXPECT_THAT(empty, IsEmpty());
    EXPECT_EQ(one, 1);
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(AllOf, CarriesMoveOnlyBigAndReferenceResults) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    int number = 5;
    auto [unique, reference, big] = co_await OrReturn(AllOf(
        []() -> Task<absl::StatusOr<std::unique_ptr<int>>> {
          co_await Checkpoint();
          co_return std::make_unique<int>(1);
        },
        [&]() -> Task<int&> { co_return number; },
        []() -> Task<std::array<int, 1000>> {
          std::array<int, 1000> all;
          all.fill(7);
          co_await Checkpoint();
          co_return all;
        }));
    EXPECT_EQ(*unique, 1);
    EXPECT_EQ(&reference.get(), &number);
    EXPECT_THAT(big, testing::Each(7));
    co_return absl::OkStatus();
  });
}

TEST(AllOf, LegsBeginInOrder) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    std::vector<int> begun;
    auto leg = [&begun](int i) {
      return [&begun, i]() -> Task<void> {
        begun.push_back(i);
        co_return;
      };
    };
    auto all = AllOf(leg(1), leg(2), leg(3));
    co_await Checkpoint();
    EXPECT_THAT(begun, IsEmpty()) << "it begins when it is awaited";
    co_await std::move(all);
    EXPECT_THAT(begun, ElementsAre(1, 2, 3));
  });
}

TEST(AllOf, CallablesLiveAsLongAsTheirTasks) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int alive = 0;
    auto leg = [&alive](Duration delay) {
      return [own = Alive(&alive), number = std::make_unique<int>(4),
              delay]() -> Task<int> {
        co_await SleepFor(delay);
        co_return *number;
      };
    };
    const auto values = co_await AllOf(leg(1s), leg(2s));
    EXPECT_EQ(values, std::make_tuple(4, 4));
    EXPECT_EQ(alive, 0);
  });
}

// Errors

TEST(AllOf, TheFirstErrorCancelsTheRest) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int alive = 0;
    std::optional<CancelCause> cause;
    auto slow = [&]() -> Task<absl::StatusOr<int>> {
      Alive here(&alive);
      struct AtTheEnd {
        ~AtTheEnd() { *cause = CancelReason(); }
        std::optional<CancelCause>* cause;
      } at_the_end{&cause};
      co_await SleepForever();
      co_return 1;
    };
    auto all = co_await AllOf(
        slow, EitherIn(1s, absl::NotFoundError("no such thing")), IntIn(1h));
    EXPECT_EQ(all.status(), absl::NotFoundError("no such thing"));
    EXPECT_THAT(SuppressedErrors(all.status()), IsEmpty());
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(cause->source, CancelCause::Source::kChildFailed);
    EXPECT_EQ(cause->reason,
              "task 'AllOf leg' failed: NOT_FOUND: no such thing");
    EXPECT_FALSE(CancelPending());
    EXPECT_EQ(Stats().timers, 0u);
  });
}

TEST(AllOf, OtherErrorsStandBehindTheFirst) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    const absl::Status status = co_await AllOf(
        // Fails while it is being cancelled.
        Finally(VoidIn(1h), StatusIn(1s, absl::DataLossError("second"))),
        StatusIn(1s, absl::NotFoundError("first")),
        // Has a value all the same: dropped with the rest.
        Shield(StatusIn(5s, absl::OkStatus())));
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(status.message(), "first");
    EXPECT_THAT(SuppressedErrors(status),
                ElementsAre(absl::DataLossError("second")));
    EXPECT_EQ(time.elapsed(), 5s) << "it waits for all";
  });
}

TEST(AllOf, AnExceptionCancelsTheRestAndIsRethrown) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::string caught;
    try {
      (void)co_await AllOf(VoidIn(1h), ThrowIn<int>(1s, "boom"));
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_FALSE(CancelPending());
    // A range, and where statuses would be given.
    std::vector<Task<absl::Status>> tasks;
    tasks.push_back(StatusIn(1h, absl::OkStatus()));
    tasks.push_back([]() -> Task<absl::Status> {
      co_await Checkpoint();
      throw std::runtime_error("of a range");
    }());
    try {
      (co_await AllOf(std::move(tasks))).IgnoreError();
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "of a range");
    EXPECT_EQ(Stats().timers, 0u);
  });
}

TEST(AllOf, SeveralFailuresWithAnExceptionComeInAGroupError) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    bool caught = false;
    try {
      (co_await AllOf(
           Finally(VoidIn(1h), StatusIn(1s, absl::DataLossError("status"))),
           [] {
             return Finally(VoidIn(1h), []() -> Task<void> {
               co_await SleepFor(2s);
               throw std::runtime_error("second");
             });
           },
           ThrowIn<int>(1s, "first")))
          .status()
          .IgnoreError();
    } catch (const GroupError& e) {
      caught = true;
      EXPECT_EQ(e.exceptions().size(), 2u);
      EXPECT_THAT(e.statuses(), ElementsAre(absl::DataLossError("status")));
      EXPECT_THAT(e.what(), HasSubstr("3 tasks failed; first; second"));
    }
    EXPECT_TRUE(caught);
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()() const {
    throw std::runtime_error("at once");
  }
};

TEST(AllOf, ACallableThatThrowsAtOnceIsALegThatFailed) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int caught = 0;
    try {
      co_await AllOf(ThrowsAtOnce(), VoidIn(1h));
    } catch (const std::runtime_error&) {
      ++caught;
    }
    try {
      co_await AllOf(std::vector<ThrowsAtOnce>(1));
    } catch (const std::runtime_error&) {
      ++caught;
    }
    EXPECT_EQ(caught, 2);
    EXPECT_EQ(time.elapsed(), 0s);
  });
}

// Throws when it is moved for the `left`-th time.
struct Throws {
  explicit Throws(int left) : left(left) {}
  Throws(Throws&& other) : left(other.left - 1) {
    if (left == 0) throw std::runtime_error("moved");
  }
  int left;
};

TEST(AllOf, AResultThatThrowsWhenMovedIsAnException) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int caught = 0;
    int arrived = 0;
    for (int at = 1; at <= 12; ++at) {
      try {
        (void)co_await AllOf([at]() -> Task<Throws> { co_return Throws(at); },
                             VoidIn(1s));
        ++arrived;
      } catch (const std::runtime_error&) {
        ++caught;
      }
    }
    EXPECT_EQ(caught + arrived, 12);
    EXPECT_GE(caught, 2);
    EXPECT_GE(arrived, 4);
  });
}

// One whose move throws, as that of a captured std::list may when memory is
// short, came up when other legs had begun already, and the await that failed
// took them down.
TEST(AllOf, ABodyThatThrowsWhenMovedLeavesNothingRunning) {
  struct Body {
    explicit Body(int left) : left(left) {}
    Body(Body&& other) noexcept(false) : left(other.left - 1) {
      if (left == 0) throw std::runtime_error("moved");
    }
    Task<void> operator()() const { co_await SleepFor(1s); }
    int left;
  };
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int caught = 0;
    for (int at = 1; at <= 4; ++at) {
      try {
        std::vector<Body> bodies;
        bodies.reserve(2);
        bodies.emplace_back(1000);
        bodies.emplace_back(at);
        co_await AllOf(std::move(bodies));
      } catch (const std::runtime_error&) {
        ++caught;
      }
      EXPECT_EQ(Stats().tasks_alive, 1u);
    }
    EXPECT_EQ(caught, 1) << "the vector moves as a whole, its bodies once";
  });
}

// Stops from outside

TEST(AllOf, StoppedFromOutsideAllAreStopped) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int alive = 0;
    int went_on = 0;
    auto leg = [&]() -> Task<int> {
      Alive here(&alive);
      co_await SleepForever();
      ++went_on;
      co_return 1;
    };
    CancelScope scope(Now() + 1s);
    EXPECT_FALSE((co_await scope.Run(AllOf(leg, leg, IntIn(500ms)))));
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(went_on, 0);
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(Stats().tasks_alive, 1u);
    // A range.
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(IntIn(1h));
    EXPECT_FALSE((co_await MoveOnAfter(1s, AllOf(std::move(tasks)))));
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(Stats().timers, 0u);
  });
}

TEST(AllOf, StoppedBeforeItStartsItsLegsBeginAndStopAtOnce) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    int begun = 0;
    int went_on = 0;
    auto leg = [&]() -> Task<void> {
      ++begun;
      co_await Checkpoint();
      ++went_on;
    };
    EXPECT_FALSE(co_await scope.Run([&]() -> Task<void> {
      co_await AllOf(leg, leg, SleepFor(1s));
      ++went_on;
    }));
    EXPECT_EQ(begun, 2);
    EXPECT_EQ(went_on, 0);
    EXPECT_EQ(time.elapsed(), 0s);
  });
}

TEST(AllOf, ValuesOfAllBeatAStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate refuses(Gate::OnCancel::kRefuse);
    CancelScope scope;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(1s);
            scope.Cancel();
            scope.Cancel("twice");
            co_await SleepFor(1s);
            refuses.Open(4);
          });
          auto values =
              co_await scope.Run(AllOf(refuses.Wait(), refuses.Wait()));
          EXPECT_EQ(values, std::make_tuple(4, 4));
        });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(scope.cancel_called());
    EXPECT_FALSE(scope.caught());
  });
}

TEST(AllOf, StoppedBetweenCompletionAndResumptionOfTheLastLeg) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    CancelScope scope;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(1s);
            gate.Open(4);
            scope.Cancel();
          });
          EXPECT_TRUE((co_await scope.Run(AllOf(gate.Wait(), IntIn(0s)))));
        });
    EXPECT_TRUE(status.ok());
  });
}

// One leg completed, the other was stopped: there is no whole result.
TEST(AllOf, OneValueDoesNotBeatAStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    EXPECT_FALSE(
        (co_await MoveOnAfter(1s, AllOf(Shield(IntIn(2s)), gate.Wait()))));
    EXPECT_EQ(gate.cancels(), 1);
    EXPECT_EQ(gate.waiting(), 0u);
  });
}

TEST(AllOf, AnErrorOutranksAStopAndTheScopeSaysThatItCaught) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope(Now() + 1s);
    auto result = co_await scope.Run(
        AllOf(VoidIn(1h),
              Finally(VoidIn(1h), StatusIn(1s, absl::DataLossError("torn")))));
    EXPECT_EQ(result, std::optional<absl::Status>(absl::DataLossError("torn")));
    EXPECT_TRUE(scope.caught());
    EXPECT_EQ(scope.cause()->source, CancelCause::Source::kDeadline);
  });
}

TEST(AllOf, WaitsForLegsThatTakeTheirTimeToStop) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate later(Gate::OnCancel::kLater);
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(3s);
            EXPECT_EQ(later.cancels(), 1);
            later.Withdraw();
          });
          EXPECT_FALSE(
              (co_await MoveOnAfter(1s, AllOf(later.Wait(), VoidIn(1h)))));
          EXPECT_EQ(time.elapsed(), 3s);
          // And when it is an error that cancels.
          group.Start("test", [&]() -> Task<void> {
            co_await SleepFor(3s);
            EXPECT_EQ(later.cancels(), 2);
            later.Withdraw();
          });
          EXPECT_EQ((co_await AllOf(later.Wait(),
                                    StatusIn(1s, absl::AbortedError("x"))))
                        .status(),
                    absl::AbortedError("x"));
          EXPECT_EQ(time.elapsed(), 6s);
        });
    EXPECT_TRUE(status.ok());
  });
}

TEST(AllOf, InCleanUpItRunsToItsEnd) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int cleaned = 0;
    EXPECT_FALSE(co_await MoveOnAfter(
        1s, Finally(VoidIn(1h), [&]() -> Task<void> {
          const auto values = co_await AllOf(IntIn(1s, 1), IntIn(2s, 2));
          cleaned = std::get<0>(values) + std::get<1>(values);
        })));
    EXPECT_EQ(cleaned, 3);
    EXPECT_EQ(time.elapsed(), 3s);
    // Past the clean-up's limit it is stopped.
    EXPECT_FALSE(co_await MoveOnAfter(1s, Finally(
                                              VoidIn(1h),
                                              [&]() -> Task<void> {
                                                co_await AllOf(VoidIn(1h),
                                                               VoidIn(1h));
                                                ADD_FAILURE() << "it went on";
                                              },
                                              2s)));
    EXPECT_EQ(time.elapsed(), 6s);
    EXPECT_EQ(Stats().cleanup_failures, 1u);
  });
}

TEST(AllOf, ShieldsAndDeadlinesAroundAndInside) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    const Time deadline = Now() + 10s;
    EXPECT_TRUE((co_await MoveOnAt(deadline,
                                   AllOf(
                                       [=]() -> Task<void> {
                                         EXPECT_EQ(CurrentDeadline(), deadline);
                                         co_return;
                                       },
                                       Shield([]() -> Task<void> {
                                         EXPECT_EQ(CurrentDeadline(), kNever);
                                         co_return;
                                       }),
                                       FailAfter(1s, VoidIn(1h)),
                                       MoveOnAfter(1s, VoidIn(1h)))))
                    .has_value());
    EXPECT_EQ(time.elapsed(), 1s);
    // A leg's own limit is its result, and nobody else's.
    auto [limited, slow] =
        co_await AllOf(MoveOnAfter(1s, IntIn(1h)), IntIn(2s));
    EXPECT_EQ(limited, std::nullopt);
    EXPECT_EQ(slow, 3);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(AllOf, Nests) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto all = co_await AllOf(AllOf(IntIn(1s, 1), EitherIn(2s, 2)),
                              AllOf(AllOf(IntIn(3s, 3)), VoidIn(1s)));
    EXPECT_EQ(*all,
              std::make_tuple(std::make_tuple(1, 2),
                              std::make_tuple(std::make_tuple(3), Nothing())));
    EXPECT_EQ(time.elapsed(), 3s);
    // An error inside goes through both.
    auto failed = co_await AllOf(
        AllOf(VoidIn(1h), StatusIn(1s, absl::AbortedError("x"))), IntIn(1h));
    EXPECT_EQ(failed.status(), absl::AbortedError("x"));
    EXPECT_EQ(time.elapsed(), 4s);
  });
}

// What destructors do

TEST(AllOf, ALegsLocalMayCancelSetAndStart) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Gate gate;
    CancelScope elsewhere;
    int ran = 0;
    const auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("elsewhere", [&]() -> Task<void> {
            EXPECT_FALSE(co_await elsewhere.Run(VoidIn(1h)));
            ++ran;
          });
          auto all = co_await AllOf(
              [&]() -> Task<void> {
                MeddlesAtItsEnd local{&gate, &elsewhere, &group, &ran};
                co_await SleepForever();
              },
              Shield(gate.Wait()), StatusIn(1s, absl::AbortedError("x")));
          EXPECT_EQ(all.status(), absl::AbortedError("x"));
          EXPECT_EQ(time.elapsed(), 1s);
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(ran, 2);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(AllOf, ALegMayCancelTheScopeAroundIt) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    EXPECT_FALSE((co_await scope.Run(AllOf(
        [&]() -> Task<int> {
          scope.Cancel("from a leg");
          co_return 1;
        },
        VoidIn(1h)))));
    EXPECT_EQ(scope.cause()->task, "AllOf leg");
    EXPECT_TRUE(scope.caught());
  });
}

// Misuse

TEST(AllOfDeathTest, ATaskThatWasAwaited) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 Task<int> task = IntIn(1s);
                 co_await std::move(task);
                 (void)co_await AllOf(std::move(task));
               }),
               "a task is awaited twice");
}

TEST(AllOfDeathTest, AwaitedTwice) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 auto all = AllOf(IntIn(1s), IntIn(1s));
                 (void)co_await std::move(all);
                 (void)co_await std::move(all);
               }),
               "a task is awaited twice");
}

}  // namespace
}  // namespace braid
