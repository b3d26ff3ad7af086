// StartAndWait and Ready: until it is ready a task belongs to the call that
// started it, from then on to its group, and there is no moment in between.

#include "braid/core/ready.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
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
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

// Ready after `before`, ended after another `after`.
Task<absl::Status> Serve(Duration before, Duration after, absl::Status end,
                         Ready<int> ready) {
  co_await SleepFor(before);
  ready.Set(7);
  co_await SleepFor(after);
  co_return end;
}

LoopStats Stats() { return detail::Loop::Current().stats(); }

// Runs `body(time, group)` in a group, in every order.
template <typename B>
void InAGroup(B body) {
  RunInEveryOrder([body](VirtualTime& time) -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          co_await OrReturn(body(time, group));
          co_return co_await group.Join();
        });
  });
}

// The table of results.

template <typename Expected, typename Description>
constexpr bool kGives = std::is_same_v<detail::ResultOf<Description>, Expected>;

template <typename F, typename... Args>
using Of = decltype(std::declval<TaskGroup&>().StartAndWait(
    "", std::declval<F>(), std::declval<Args>()...));

static_assert(kGives<absl::StatusOr<int>, Of<Task<void> (*)(Ready<int>)>>);
static_assert(kGives<absl::StatusOr<int>,
                     Of<Task<int> (*)(std::string, Ready<int>), std::string>>);
static_assert(kGives<absl::Status, Of<Task<absl::Status> (*)(Ready<void>)>>);
static_assert(kGives<absl::StatusOr<std::reference_wrapper<int>>,
                     Of<Task<void> (*)(Ready<int&>)>>);

// What takes no Ready is refused where it is passed, not deep inside.
template <typename F>
concept CanStartAndWait = requires { typename Of<F>; };
static_assert(CanStartAndWait<Task<void> (*)(Ready<void>)>);
static_assert(!CanStartAndWait<Task<void> (*)()>);
static_assert(!CanStartAndWait<Task<void> (*)(int)>);
static_assert(!CanStartAndWait<int>);

TEST(StartAndWait, GivesWhatTheTaskIsReadyWithAndTheTaskGoesOn) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    EXPECT_EQ(co_await OrReturn(group.StartAndWait("server", Serve, 1s, 2s,
                                                   absl::OkStatus())),
              7);
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(group.size(), 1u);
    co_await OrReturn(group.Join());
    EXPECT_EQ(time.elapsed(), 3s);
    // Ready at once, and ended at once.
    EXPECT_EQ(co_await OrReturn(group.StartAndWait("server", Serve, 0s, 0s,
                                                   absl::OkStatus())),
              7);
    bool went_on = false;
    co_await OrReturn(
        group.StartAndWait("void", [&](Ready<void> ready) -> Task<void> {
          ready.Set();
          went_on = true;
          co_return;
        }));
    EXPECT_TRUE(went_on) << "it runs on; only then the starter does";
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, CarriesMoveOnlyConvertedAndReferenceValues) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    int number = 4;
    std::unique_ptr<int> unique = co_await OrReturn(group.StartAndWait(
        "unique", [](Ready<std::unique_ptr<int>> ready) -> Task<void> {
          ready.Set(std::make_unique<int>(5));
          co_return;
        }));
    EXPECT_EQ(*unique, 5);
    EXPECT_EQ(co_await OrReturn(group.StartAndWait(
                  "text",
                  [](Ready<std::string> ready) -> Task<void> {
                    ready.Set("literal");
                    co_return;
                  })),
              "literal");
    EXPECT_EQ(&(co_await OrReturn(
                    group.StartAndWait("reference",
                                       [&](Ready<int&> ready) -> Task<void> {
                                         ready.Set(number);
                                         co_return;
                                       })))
                   .get(),
              &number);
    co_return absl::OkStatus();
  });
}

class Server {
 public:
  explicit Server(int port) : port_(port) {}
  Task<void> Run(std::string name, Ready<std::string> ready) {
    ready.Set(name + std::to_string(port_));
    co_await SleepFor(1s);
  }

 private:
  int port_;
};

TEST(StartAndWait, TakesFunctionsLambdasAndMethodsWithTheirArguments) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    Server server(80);
    EXPECT_EQ(co_await OrReturn(group.StartAndWait(
                  "method", &Server::Run, &server, std::string("web"))),
              "web80");
    int count = 0;
    const std::string kept = "kept and not referred to, as it is too long";
    auto body = [own = std::make_unique<int>(2)](
                    const std::string& text, int& count,
                    Ready<int> ready) -> Task<void> {
      co_await SleepFor(1s);
      ++count;
      ready.Set(static_cast<int>(text.size()) + *own);
      co_await SleepFor(1s);
      ++count;
    };
    EXPECT_EQ(co_await OrReturn(group.StartAndWait("lambda", std::move(body),
                                                   kept, std::ref(count))),
              static_cast<int>(kept.size()) + 2);
    EXPECT_EQ(count, 1);
    co_await OrReturn(group.Join());
    EXPECT_EQ(count, 2);
    co_return absl::OkStatus();
  });
}

// Before it is ready

TEST(StartAndWait, AnErrorBeforeItIsReadyIsTheCallsResultAndNotTheGroups) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    auto sibling =
        group.Start("sibling", []() -> Task<void> { co_await SleepFor(3s); });
    const absl::StatusOr<int> port = co_await group.StartAndWait(
        "listener", [](Ready<int>) -> Task<absl::Status> {
          co_await SleepFor(1s);
          co_return absl::AlreadyExistsError("port taken");
        });
    EXPECT_EQ(port.status(), absl::AlreadyExistsError("port taken"));
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_FALSE(sibling.done());
    EXPECT_FALSE(CancelPending());
    // An exception.
    std::string caught;
    try {
      (void)co_await group.StartAndWait("thrower",
                                        [](Ready<int>) -> Task<void> {
                                          co_await Checkpoint();
                                          throw std::runtime_error("boom");
                                        });
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
    EXPECT_FALSE(group.cancel_called());
    EXPECT_TRUE((co_await sibling.Join()).ok());
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, EndedWithoutBeingReady) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    const absl::StatusOr<int> port = co_await group.StartAndWait(
        "forgetful", [](Ready<int>) -> Task<void> { co_await SleepFor(1s); });
    EXPECT_EQ(port.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(port.status().message()),
                HasSubstr("task 'forgetful' ended without saying that it is "
                          "ready"));
    // One that drops its Ready early may still end with an error.
    const absl::Status status = co_await group.StartAndWait(
        "dropper", [](Ready<void> ready) -> Task<absl::Status> {
          {
            Ready<void> gone = std::move(ready);
          }
          co_await SleepFor(1s);
          co_return absl::AbortedError("later");
        });
    EXPECT_EQ(status, absl::AbortedError("later"));
    co_return absl::OkStatus();
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()(Ready<int>) const {
    throw std::runtime_error("at once");
  }
};

TEST(StartAndWait, ACallableThatThrowsAtOnce) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    int caught = 0;
    try {
      (void)co_await group.StartAndWait("thrower", ThrowsAtOnce());
    } catch (const std::runtime_error&) {
      ++caught;
    }
    // In a boundary, where nothing may throw.
    try {
      (void)co_await MoveOnAfter(1s,
                                 group.StartAndWait("thrower", ThrowsAtOnce()));
    } catch (const std::runtime_error&) {
      ++caught;
    }
    EXPECT_EQ(caught, 2);
    EXPECT_EQ(group.size(), 0u);
    co_return absl::OkStatus();
  });
}

// Whoever sets a value that throws when it is made is not ready: the waiter
// used to be given a value that wasn't there.
TEST(StartAndWait, AValueThatThrowsWhenItIsMade) {
  struct Throws {
    Throws(const char* what) {  // NOLINT(google-explicit-constructor)
      throw std::runtime_error(what);
    }
  };
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    std::string caught;
    try {
      (void)co_await group.StartAndWait("thrower",
                                        [](Ready<Throws> ready) -> Task<void> {
                                          ready.Set("boom");
                                          co_return;
                                        });
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
    co_return absl::OkStatus();
  });
}

// From then on

TEST(StartAndWait, AnErrorAfterwardsIsTheGroups) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int stage = 0;
    const absl::Status status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          co_await OrReturn(group.StartAndWait("server", Serve, 1s, 1s,
                                               absl::AbortedError("late")));
          stage = 1;
          co_await SleepFor(1h);
          stage = 2;
          co_return absl::OkStatus();
        });
    EXPECT_EQ(status, absl::AbortedError("late"));
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// Ready, and failed before the starter runs: the value is delivered, and the
// group has the error.
TEST(StartAndWait, ReadyAndFailedInTheSameTurn) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int stage = 0;
    const absl::Status status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          EXPECT_EQ(co_await OrReturn(
                        group.StartAndWait("server", Serve, 1s, Duration(0),
                                           absl::AbortedError("at once"))),
                    7);
          stage = 1;
          EXPECT_TRUE(CancelPending() || group.size() == 1);
          co_await SleepFor(1h);
          stage = 2;
          co_return absl::OkStatus();
        });
    EXPECT_EQ(status, absl::AbortedError("at once"));
    EXPECT_EQ(stage, 1);
  });
}

// Cancellation

TEST(StartAndWait, CancelledBeforeItStartsThereIsNoTask) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    CancelScope scope;
    scope.Cancel();
    bool called = false;
    EXPECT_FALSE((co_await scope.Run(
        group.StartAndWait("never", [&](Ready<int>) -> Task<void> {
          called = true;
          co_return;
        }))));
    EXPECT_FALSE(called);
    EXPECT_EQ(group.size(), 0u);
    EXPECT_EQ(Stats().tasks_alive, 1u);
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, CancellingTheCallCancelsTheTaskAndWaitsForIt) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    std::optional<CancelCause> cause;
    EXPECT_FALSE((co_await MoveOnAfter(
        1s, group.StartAndWait("slow", [&](Ready<int>) -> Task<void> {
          struct AtTheEnd {
            ~AtTheEnd() { *cause = CancelReason(); }
            std::optional<CancelCause>* cause;
          } at_the_end{&cause};
          co_await Finally(SleepForever(), SleepFor(2s));
        }))));
    EXPECT_EQ(time.elapsed(), 3s);
    EXPECT_EQ(group.size(), 0u);
    EXPECT_EQ(cause->reason, "the call that started it was cancelled");
    EXPECT_FALSE(group.cancel_called());
    EXPECT_FALSE(CancelPending());
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, CancelledBeforeTheTaskHasBegunItBeginsAndStops) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    CancelScope scope;
    int begun = 0;
    group.Start("starter", [&]() -> Task<void> {
      EXPECT_FALSE((co_await scope.Run(
          group.StartAndWait("slow", [&](Ready<int> ready) -> Task<void> {
            ++begun;
            co_await SleepFor(1s);
            ready.Set(1);
          }))));
    });
    while (group.size() < 2) co_await Checkpoint();
    scope.Cancel();
    scope.Cancel("twice");
    (void)co_await group.Join();
    EXPECT_EQ(begun, 1);
    EXPECT_EQ(time.elapsed(), 0s);
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, AValueBeatsACancel) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    Gate gate;
    CancelScope scope;
    group.Start("test", [&]() -> Task<void> {
      co_await SleepFor(1s);
      gate.Open();
    });
    // Ready, and cancelled before the starter runs.
    auto result = co_await scope.Run(
        group.StartAndWait("server", [&](Ready<int> ready) -> Task<void> {
          co_await gate.Wait();
          ready.Set(5);
          scope.Cancel();
          scope.Cancel("twice");
          co_await SleepFor(3s);  // it is the group's, and goes on
        }));
    EXPECT_TRUE(result.has_value());
    EXPECT_EQ(**result, 5);
    co_await OrReturn(group.Join());
    EXPECT_EQ(time.elapsed(), 4s);
    co_return absl::OkStatus();
  });
}

// The value is too late, the call is being cancelled: Set does nothing, and the
// task, which is cancelled, ends at its next checkpoint.
TEST(StartAndWait, ReadyWhileTheCallIsBeingCancelled) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    int stage = 0;
    EXPECT_FALSE((co_await MoveOnAfter(
        1s, group.StartAndWait("slow", [&](Ready<int> ready) -> Task<void> {
          co_await Shield(SleepFor(2s));
          ready.Set(1);
          stage = 1;
          co_await Checkpoint();
          stage = 2;
        }))));
    EXPECT_EQ(stage, 1);
    EXPECT_EQ(time.elapsed(), 2s);
    EXPECT_EQ(group.size(), 0u);
    // One that completes nevertheless has no one to give its end to.
    EXPECT_FALSE((co_await MoveOnAfter(
        1s, group.StartAndWait("slow", [&](Ready<int> ready) -> Task<void> {
          co_await Shield(SleepFor(2s));
          ready.Set(1);
        }))));
    EXPECT_EQ(time.elapsed(), 4s);
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, AnErrorOfTheTaskOutranksTheCancelOfTheCall) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    auto result = co_await MoveOnAfter(
        1s, group.StartAndWait("slow", [](Ready<int>) -> Task<absl::Status> {
          co_return co_await Finally(
              SleepForever(), []() -> Task<absl::Status> {
                co_return absl::DataLossError("not flushed");
              });
        }));
    EXPECT_TRUE(result.has_value());
    EXPECT_EQ(result->status(), absl::DataLossError("not flushed"));
    EXPECT_FALSE(group.cancel_called());
    std::string caught;
    try {
      (void)co_await MoveOnAfter(
          1s, group.StartAndWait("slow", [](Ready<int>) -> Task<void> {
            co_await Shield(SleepFor(2s));
            throw std::runtime_error("boom");
          }));
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "boom");
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, TheGroupIsCancelledWhileItWaits) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int stage = 0;
    // The starter is the body: it is stopped with its group.
    const absl::Status status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("canceller", [&]() -> Task<void> {
            co_await SleepFor(1s);
            group.Cancel();
          });
          co_await OrReturn(
              group.StartAndWait("server", Serve, 1h, 1h, absl::OkStatus()));
          stage = 1;
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(stage, 0);
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(Stats().tasks_alive, 1u);
  });
}

// The starter is elsewhere, and is told.
TEST(StartAndWait, AnotherGroupIsCancelledWhileItWaits) {
  InAGroup([](VirtualTime& time, TaskGroup& outer) -> Task<absl::Status> {
    TaskGroup* inner = nullptr;
    outer.Start("owner", [&]() -> Task<void> {
      (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        inner = &group;
        co_await SleepFor(1s);
        group.Cancel();
        co_await SleepForever();
      })).IgnoreError();
    });
    while (inner == nullptr) co_await Checkpoint();
    const absl::StatusOr<int> port =
        co_await inner->StartAndWait("server", Serve, 1h, 1h, absl::OkStatus());
    EXPECT_EQ(port.status().code(), absl::StatusCode::kCancelled);
    EXPECT_THAT(std::string(port.status().message()),
                HasSubstr("task 'server' was cancelled before it was ready"));
    EXPECT_EQ(time.elapsed(), 1s);
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, AsALegAndInCleanUp) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    auto [port, expired] = co_await AnyOf(
        group.StartAndWait("server", Serve, 5s, 1s, absl::OkStatus()),
        SleepFor(1s));
    EXPECT_FALSE(port.has_value());
    EXPECT_TRUE(expired);
    EXPECT_EQ(group.size(), 0u);
    auto [again, late] = co_await AnyOf(
        group.StartAndWait("server", Serve, 1s, 1s, absl::OkStatus()),
        SleepFor(5s));
    EXPECT_EQ(**again, 7);
    EXPECT_FALSE(late);
    EXPECT_EQ(time.elapsed(), 2s);
    int cleaned = 0;
    EXPECT_FALSE(
        co_await MoveOnAfter(1s, Finally(SleepForever(), [&]() -> Task<void> {
                               cleaned = *(co_await group.StartAndWait(
                                   "server", Serve, 1s, 1s, absl::OkStatus()));
                             })));
    EXPECT_EQ(cleaned, 7);
    co_return absl::OkStatus();
  });
}

// What becomes of a Ready

// A task that hands its Ready on and ends has not become ready; what it was
// handed to may then set it as it likes. Between the task's end and the
// starter's turn that was a crash.
TEST(Ready, HandedOnToATaskThatGoesOn) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    // In time.
    EXPECT_EQ(co_await OrReturn(
                  group.StartAndWait("outer",
                                     [&](Ready<int> ready) -> Task<void> {
                                       group.Start(
                                           "inner",
                                           [](Ready<int> ready) -> Task<void> {
                                             co_await SleepFor(1s);
                                             ready.Set(3);
                                           },
                                           std::move(ready));
                                       co_await SleepFor(2s);
                                     })),
              3);
    EXPECT_EQ(time.elapsed(), 1s);
    // Too late, by nothing and by a second.
    for (const Duration late : {Duration(0), Duration(1s)}) {
      auto result = co_await group.StartAndWait(
          "outer", [&](Ready<int> ready) -> Task<void> {
            group.Start(
                "inner",
                [](Duration late, Ready<int> ready) -> Task<void> {
                  if (late > Duration(0)) co_await SleepFor(late);
                  ready.Set(3);
                },
                late, std::move(ready));
            co_return;
          });
      // In some orders the inner task ran first.
      EXPECT_TRUE(late == Duration(0) ||
                  result.status().code() ==
                      absl::StatusCode::kFailedPrecondition);
    }
    co_return absl::OkStatus();
  });
}

TEST(Ready, SetBetweenTheTasksEndAndTheStartersTurn) {
  RunInOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          std::optional<Ready<int>> kept;
          Gate ended;
          group.Start("setter", [&]() -> Task<void> {
            co_await ended.Wait();
            kept->Set(3);
          });
          co_await Checkpoint();
          const absl::StatusOr<int> result = co_await group.StartAndWait(
              "outer", [&](Ready<int> ready) -> Task<void> {
                kept.emplace(std::move(ready));
                ended.Open();  // the setter runs before the starter
                co_return;
              });
          EXPECT_EQ(result.status().code(),
                    absl::StatusCode::kFailedPrecondition);
          co_return co_await group.Join();
        });
  });
}

TEST(Ready, OutlivesTheCallItReportsTo) {
  InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
    std::optional<Ready<int>> kept;
    EXPECT_FALSE((co_await MoveOnAfter(
        1s, group.StartAndWait("keeper", [&](Ready<int> ready) -> Task<void> {
          kept.emplace(std::move(ready));
          co_await SleepForever();
        }))));
    kept->Set(1);
    kept.reset();
    EXPECT_EQ((co_await group.StartAndWait("keeper",
                                           [&](Ready<int> ready) -> Task<void> {
                                             kept.emplace(std::move(ready));
                                             co_return;
                                           }))
                  .status()
                  .code(),
              absl::StatusCode::kFailedPrecondition);
    Ready<int> moved = std::move(*kept);
    moved.Set(2);
    co_return absl::OkStatus();
  });
}

TEST(Ready, SetFromADestructor) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    struct Sets {
      ~Sets() { ready->Set(9); }
      Ready<int>* ready;
    };
    EXPECT_EQ(co_await OrReturn(group.StartAndWait(
                  "server",
                  [](Ready<int> ready) -> Task<void> {
                    co_await MoveOnAfter(1s, [&]() -> Task<void> {
                      Sets sets{&ready};
                      co_await SleepForever();
                    });
                    co_await SleepFor(1s);
                  })),
              9);
    EXPECT_EQ(time.elapsed(), 1s);
    co_return absl::OkStatus();
  });
}

TEST(StartAndWait, ManyAtOnce) {
  InAGroup([](VirtualTime& time, TaskGroup& group) -> Task<absl::Status> {
    int ready = 0;
    for (int i = 0; i < 100; ++i) {
      group.Start("starter", [&, i]() -> Task<absl::Status> {
        co_await OrReturn(group.StartAndWait("server", Serve, i % 7 * 1s, 10s,
                                             absl::OkStatus()));
        ++ready;
        co_return absl::OkStatus();
      });
    }
    co_await SleepFor(7s);
    EXPECT_EQ(ready, 100);
    co_await OrReturn(group.Join());
    EXPECT_EQ(time.elapsed(), 16s);
    co_return absl::OkStatus();
  });
}

// Misuse

TEST(ReadyDeathTest, SetTwice) {
  EXPECT_DEATH(
      InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
        co_return (
            co_await group.StartAndWait("twice",
                                        [](Ready<int> ready) -> Task<void> {
                                          ready.Set(1);
                                          ready.Set(2);
                                          co_return;
                                        }))
            .status();
      }),
      "Ready::Set is called twice");
}

TEST(ReadyDeathTest, SetAfterItWasMovedFrom) {
  EXPECT_DEATH(
      InAGroup([](VirtualTime&, TaskGroup& group) -> Task<absl::Status> {
        co_return (co_await group.StartAndWait(
                       "moved",
                       [](Ready<int> ready) -> Task<void> {
                         Ready<int> other = std::move(ready);
                         ready.Set(2);  // NOLINT(bugprone-use-after-move)
                         co_return;
                       }))
            .status();
      }),
      "moved from");
}

}  // namespace
}  // namespace braid
