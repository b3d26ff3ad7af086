// TaskGroup: who ends when, what comes out, and what the body's frame outlives.

#include "braid/core/task_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"
#include "braid/core/task.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

using Trace = std::vector<std::string>;

Task<void> Forever() { co_await SleepForever(); }
Task<absl::Status> FailIn(Duration delay, absl::Status status) {
  co_await SleepFor(delay);
  co_return status;
}
Task<void> ThrowIn(Duration delay, std::string what) {
  co_await SleepFor(delay);
  throw std::runtime_error(what);
}

// Runs a function when it goes.
class AtExit {
 public:
  explicit AtExit(std::function<void()> function)
      : function_(std::move(function)) {}
  AtExit(AtExit&& other) noexcept
      : function_(std::exchange(other.function_, nullptr)) {}
  ~AtExit() {
    if (function_ != nullptr) function_();
  }

 private:
  std::function<void()> function_;
};

// Structure: no task outlives its group.

TEST(TaskGroup, ReturnsWhenItsLastTaskHasEnded) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int ended = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (int i = 1; i <= 5; ++i) {
        group.Start(
            "sleeper",
            [](int i, int* ended) -> Task<void> {
              co_await SleepFor(std::chrono::seconds(i));
              ++*ended;
            },
            i, &ended);
      }
      EXPECT_EQ(group.size(), 5u);
      co_return;  // at once: the tasks use nothing of this frame
    });
    EXPECT_EQ(status, absl::OkStatus());
    EXPECT_EQ(ended, 5);
    EXPECT_EQ(time.elapsed(), 5s);
    EXPECT_EQ(detail::Loop::Current().stats().tasks_alive, 1u);
  });
}

TEST(TaskGroup, StartNeverRunsTheTaskInline) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          bool began = false;
          group.Start(
              "child",
              [](bool* began) -> Task<void> {
                *began = true;
                co_return;
              },
              &began);
          EXPECT_FALSE(began);
          absl::Status joined = co_await group.Join();
          EXPECT_TRUE(began);
          co_return joined;
        });
    EXPECT_TRUE(status.ok());
  });
}

TEST(TaskGroup, LeavingIsNoCheckpoint) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {  // D1
    CancelScope scope;
    int ended = 0;
    auto result = co_await scope.Run([&]() -> Task<absl::StatusOr<int>> {
      co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<int> {
        group.Start(
            "ends without a checkpoint",
            [](int* ended) -> Task<void> {
              ++*ended;
              co_return;
            },
            &ended);
        scope.Cancel();
        co_return 5;
      });
    });
    EXPECT_TRUE(result.has_value() && result->ok() && **result == 5);
    EXPECT_EQ(ended, 1);
    EXPECT_FALSE(scope.caught());
  });
}

TEST(TaskGroup, JoinWaitsForAllAndMayBeRepeated) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          for (int round = 1; round <= 2; ++round) {
            group.Start("a", []() -> Task<void> { co_await SleepFor(1s); });
            group.Start("b", []() -> Task<void> { co_await SleepFor(2s); });
            EXPECT_TRUE((co_await group.Join()).ok());
            EXPECT_EQ(group.size(), 0u);
            EXPECT_EQ(time.elapsed(), 2s * round);
          }
          co_return co_await group.Join();  // at once
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(time.elapsed(), 4s);
  });
}

TEST(TaskGroup, AGroupOfNothing) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_TRUE((co_await WithTaskGroup([](TaskGroup&) -> Task<void> {
                  co_return;
                })).ok());
    EXPECT_EQ(*(co_await WithTaskGroup([](TaskGroup& group) -> Task<int> {
      (void)co_await group.Join();
      co_return 4;
    })),
              4);
  });
}

// Callables and arguments are decay-copied and kept until the task ends.

Task<void> AppendByReference(std::string& to, const std::string& what) {
  co_await SleepFor(1s);
  to += what;
}

TEST(TaskGroup, CallablesAndArgumentsAreKeptUntilTheTaskEnds) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    struct Counter {
      Task<void> Add(int n) {
        co_await SleepFor(1s);
        total += n;
      }
      Task<void> AddTo(int& to, std::unique_ptr<int> n) const {
        co_await SleepFor(1s);
        to += *n;
      }
      int total = 0;
    };
    std::string text;
    Counter counter;
    int sum = 0;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          // A reference parameter refers to the kept copy, or to std::ref's
          // object.
          group.Start("ref", AppendByReference, std::ref(text),
                      std::string(100, 'x'));
          // A literal decays; for a reference it would need a temporary, which
          // is refused at compile time.
          group.Start(
              "literal",
              [](std::string* text, std::string by_value) -> Task<void> {
                co_await SleepFor(1s);
                *text += by_value;
              },
              &text, "yy");
          // A temporary lambda with captures.
          {
            std::string captured(50, 'z');
            group.Start("lambda", [&text, captured]() -> Task<void> {
              co_await SleepFor(1s);
              text += captured;
            });
          }
          // A generic one, a move-only argument, member functions by pointer
          // and by reference, a copy of the object.
          group.Start(
              "generic",
              [](auto p, int* sum) -> Task<void> {
                co_await SleepFor(1s);
                *sum += *p;
              },
              std::make_unique<int>(1), &sum);
          group.Start("member", &Counter::Add, &counter, 10);
          group.Start("member", &Counter::Add, std::ref(counter), 20);
          group.Start("member", &Counter::Add, Counter(), 40);
          group.Start("member", &Counter::AddTo, &counter, std::ref(sum),
                      std::make_unique<int>(100));
          // A named callable is copied.
          auto named = [](std::string own) -> Task<void> {
            co_await SleepFor(1s);
            EXPECT_EQ(own, std::string(30, 'o'));
          };
          std::string lvalue(30, 'o');
          group.Start("named", named, lvalue);
          lvalue = "changed";
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(text.size(), 152u);
    EXPECT_EQ(sum, 101);
    EXPECT_EQ(counter.total, 30);
  });
}

TEST(TaskGroup, AnOveralignedArgumentIsAligned) {
  struct alignas(64) Wide {
    char bytes[64] = {};
  };
  RunInOrder([](VirtualTime&) -> Task<absl::Status> {
    co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 8; ++i) {
        group.Start(
            "wide",
            [](const Wide& wide) -> Task<void> {
              EXPECT_EQ(reinterpret_cast<uintptr_t>(&wide) % 64, 0u);
              co_return;
            },
            Wide());
      }
      co_return;
    });
  });
}

// They are destroyed as the task ends: while it still counts as a task of its
// group, and even if a handle lives on.
TEST(TaskGroup, CallablesAndArgumentsGoWhenTheTaskEnds) {
  Trace trace;
  RunInEveryOrder([&](VirtualTime&) -> Task<void> {
    trace.clear();
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          AtExit capture([&] {
            trace.push_back("capture, " + std::to_string(group.size()) +
                            " alive");
          });
          AtExit argument([&] { trace.push_back("argument"); });
          TaskHandle<void> handle = group.Start(
              "child",
              [capture = std::move(capture)](const AtExit&) -> Task<void> {
                co_await SleepFor(1s);
              },
              std::move(argument));
          EXPECT_THAT(trace, ElementsAre());
          EXPECT_TRUE((co_await handle.Join()).ok());
          EXPECT_THAT(trace,
                      UnorderedElementsAre("capture, 1 alive", "argument"));
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(trace.size(), 2u);
  });
}

// Story: the record of a task is destroyed as its last step, and its name with
// it, before the arguments; one whose destructor cancels something looked up
// that name.
TEST(TaskGroup, AnArgumentsDestructorMayCancelAndStart) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    int late = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start(
          std::string("a name long enough to live on the heap"),
          [](const AtExit&) -> Task<void> { co_await SleepFor(1s); },
          AtExit([&] {
            scope.Cancel("by an argument");
            group.Start(
                "late",
                [](int* late) -> Task<void> {
                  co_await SleepFor(1s);
                  ++*late;
                },
                &late);
          }));
      co_return;
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(late, 1);
    EXPECT_TRUE(scope.cancel_called());
    EXPECT_EQ(scope.cause()->task, "a name long enough to live on the heap");
  });
}

// Who may start.

TEST(TaskGroup, StartFromAChildAndFromASibling) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    struct Tree {
      static Task<void> Grow(TaskGroup* group, int depth, int* count) {
        ++*count;
        co_await SleepFor(1s);
        if (depth == 0) co_return;
        group->Start("left", Grow, group, depth - 1, count);
        group->Start("right", Grow, group, depth - 1, count);
      }
    };
    int count = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      group.Start("root", Tree::Grow, &group, 4, &count);
      co_return;
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(count, 31);
    EXPECT_EQ(time.elapsed(), 5s);
  });
}

// Tasks run in the group's scopes, whoever starts them.
TEST(TaskGroup, AStartersOwnScopesDoNotReachTheChild) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    bool ended = false;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
            group.Start(
                "child",
                [](bool* ended) -> Task<void> {
                  EXPECT_EQ(CurrentDeadline(), kNever);
                  co_await SleepFor(3s);
                  *ended = true;
                },
                &ended);
            co_await SleepForever();
          }));
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(ended);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(TaskGroup, StartedUnderACancelATaskBeginsAndStopsAtItsFirstCheckpoint) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int began = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      auto child = [](int* began) -> Task<void> {
        ++*began;
        EXPECT_TRUE(CancelPending());
        EXPECT_EQ(CancelReason()->reason, "done");
        co_await Checkpoint();
        ADD_FAILURE() << "went on";
      };
      group.Start("before", child, &began);
      group.Cancel("done");
      group.Start("after", child, &began);
      co_await Shield(Checkpoint());
      group.Start("later", child, &began);
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(began, 3);
  });
}

TEST(TaskGroup, StartFromADestructorDuringAnUnwind) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int began = 0;
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto handle = group.Start(
              "stopped",
              [](TaskGroup* group, int* began) -> Task<void> {
                AtExit at_exit([=] {
                  group->Start(
                      "from the destructor",
                      [](int* began) -> Task<void> {
                        ++*began;
                        co_return;
                      },
                      began);
                });
                co_await SleepForever();
              },
              &group, &began);
          co_await SleepFor(1s);
          handle.Cancel();
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(began, 1);
  });
}

// Story: a local of the body that starts a task as it goes worked where the
// body returned, and ended the program where the body was stopped.
TEST(TaskGroup, ALocalOfTheBodyMayStartATaskHoweverTheBodyEnds) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (int way = 0; way < 4; ++way) {
      int began = 0;
      CancelScope scope(Now() + 1s);
      auto status = co_await scope.Run([&]() -> Task<absl::Status> {
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              AtExit at_exit([&] {
                group.Start(
                    "late",
                    [](int* began) -> Task<void> {
                      ++*began;
                      co_await Checkpoint();
                    },
                    &began);
              });
              if (way == 0) co_return absl::OkStatus();
              if (way == 1) co_await OrReturn(absl::AbortedError("out"));
              if (way == 2) group.Cancel();
              co_await SleepForever();
              co_return absl::OkStatus();
            });
      });
      EXPECT_EQ(began, 1) << way;
      EXPECT_EQ(status.has_value(), way != 3);
      EXPECT_TRUE(way == 3 || status->ok() == (way != 1));
    }
  });
}

// Errors flow up, and none is ever dropped.

TEST(TaskGroup, AFailureCancelsSiblingsAndBody) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    int stopped = 0;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      AtExit body([&] { ++stopped; });
      for (int i = 0; i < 3; ++i) {
        group.Start(
            "sibling",
            [](int* stopped) -> Task<void> {
              AtExit sibling([=] { ++*stopped; });
              co_await SleepFor(1h);
              ADD_FAILURE() << "went on";
            },
            &stopped);
      }
      group.Start("fails", FailIn, 1s, absl::NotFoundError("no"));
      co_await SleepForever();
      ADD_FAILURE() << "went on";
    });
    EXPECT_EQ(status, absl::NotFoundError("no"));  // one failure as itself
    EXPECT_EQ(stopped, 4);
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(TaskGroup, SeveralStatusesComeAsTheFirstWithTheOthersBehindIt) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("first", FailIn, 1s, absl::NotFoundError("1"));
      for (int i = 2; i <= 4; ++i) {
        group.Start(
            "fails in clean-up",
            [](int i) -> Task<absl::Status> {
              co_await Shield(SleepFor(std::chrono::seconds(i)));
              co_return absl::DataLossError(std::to_string(i));
            },
            i);
      }
      co_return;
    });
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(status.message(), "1");
    EXPECT_THAT(SuppressedErrors(status),
                ElementsAre(absl::DataLossError("2"), absl::DataLossError("3"),
                            absl::DataLossError("4")));
  });
}

TEST(TaskGroup, ABodysErrorIsOneOfThem) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
          group.Start("fails in clean-up", []() -> Task<absl::Status> {
            co_await Shield(SleepFor(1s));
            co_return absl::DataLossError("child");
          });
          co_return absl::AbortedError("body");
        });
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    EXPECT_THAT(SuppressedErrors(status),
                ElementsAre(absl::DataLossError("child")));
  });
}

TEST(TaskGroup, OneExceptionIsRethrownAsItself) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    std::string caught;
    for (bool in_body : {false, true}) {
      try {
        (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("sibling", Forever);
          if (in_body) {
            co_await ThrowIn(1s, "body");
          } else {
            group.Start("throws", ThrowIn, 1s, "child");
            co_await SleepForever();
          }
        })).IgnoreError();
      } catch (const std::runtime_error& e) {
        caught += e.what();
      }
    }
    EXPECT_EQ(caught, "childbody");
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(TaskGroup, AnExceptionAmongSeveralFailuresComesInAGroupError) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    bool caught = false;
    try {
      (co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
        group.Start("status", FailIn, 1s, absl::NotFoundError("first"));
        for (int i = 2; i <= 3; ++i) {
          group.Start(
              "throws in clean-up",
              [](int i) -> Task<void> {
                co_await Shield(SleepFor(std::chrono::seconds(i)));
                throw std::out_of_range(std::to_string(i));
              },
              i);
        }
        group.Start("status in clean-up", []() -> Task<absl::Status> {
          co_await Shield(SleepFor(4s));
          co_return absl::DataLossError("last");
        });
        co_return absl::OkStatus();
      })).IgnoreError();
    } catch (const GroupError& e) {
      caught = true;
      EXPECT_THAT(e.statuses(), ElementsAre(absl::NotFoundError("first"),
                                            absl::DataLossError("last")));
      EXPECT_EQ(e.exceptions().size(), 2u);
      for (const std::exception_ptr& exception : e.exceptions()) {
        EXPECT_THROW(std::rethrow_exception(exception), std::out_of_range);
      }
      EXPECT_STREQ(e.what(),
                   "4 tasks failed; 2; 3; NOT_FOUND: first; DATA_LOSS: last");
    }
    EXPECT_TRUE(caught);
  });
}

TEST(TaskGroup, ErrorsNeverVanish) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    constexpr int kTasks = 200;
    // Half of them fail at once, half while they are being cancelled; a third
    // of the groups is nested.
    struct Maker {
      static Task<absl::Status> Fail(int i) {
        if (i % 2 == 0) co_await Shield(SleepFor(std::chrono::seconds(i)));
        co_return absl::UnknownError(std::to_string(i));
      }
      static Task<absl::Status> FailNested(int i) {
        co_return co_await WithTaskGroup(
            [i](TaskGroup& group) -> Task<absl::Status> {
              group.Start("nested", Fail, i);
              co_return co_await group.Join();
            });
      }
    };
    CancelScope outer(Now() + 5s);
    auto status = co_await outer.Run([&]() -> Task<absl::Status> {
      co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
        for (int i = 0; i < kTasks; ++i) {
          if (i % 3 == 0) {
            group.Start("fails", Maker::FailNested, i);
          } else {
            group.Start("fails", Maker::Fail, i);
          }
        }
        co_await SleepForever();
      });
    });
    EXPECT_TRUE(status.has_value());
    std::vector<absl::Status> errors = SuppressedErrors(*status);
    EXPECT_EQ(errors.size() + 1, static_cast<size_t>(kTasks));
    std::vector<bool> seen(kTasks);
    seen[std::stoi(std::string(status->message()))] = true;
    for (const absl::Status& error : errors) {
      seen[std::stoi(std::string(error.message()))] = true;
    }
    EXPECT_THAT(seen, testing::Each(true));
  });
}

// D4 and rule 2: reading a handle's result doesn't handle it for the group.
TEST(TaskGroup, ReadingAnOutcomeDoesNotHandleTheError) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      auto handle = group.Start("fails", FailIn, 1s, absl::NotFoundError("x"));
      co_await Shield([&]() -> Task<void> {
        Outcome<void> outcome = co_await handle.Join();
        EXPECT_EQ(outcome.status(), absl::NotFoundError("x"));
      });
    });
    EXPECT_EQ(status, absl::NotFoundError("x"));
  });
}

// The order of precedence of what a group gives.

enum class BodyEnd { kValue, kStopped };
enum class ChildEnd { kNone, kCompletes, kIsStopped, kFails };
enum class Who { kNobody, kOwnCancel, kOuterScope, kBoth };

struct Given {
  bool came_back;
  absl::StatusCode code;
};

Task<Given> Case(BodyEnd body, ChildEnd child, Who who) {
  CancelScope outer;
  std::optional<absl::StatusOr<int>> result =
      co_await outer.Run([&]() -> Task<absl::StatusOr<int>> {
        co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<int> {
          if (child != ChildEnd::kNone) {
            group.Start(
                "child",
                [](ChildEnd child) -> Task<absl::Status> {
                  co_await Shield(SleepFor(2s));
                  if (child == ChildEnd::kIsStopped) co_await SleepFor(2s);
                  if (child == ChildEnd::kFails)
                    co_return absl::DataLossError("x");
                  co_return absl::OkStatus();
                },
                child);
          }
          co_await SleepFor(1s);
          if (who == Who::kOwnCancel || who == Who::kBoth) group.Cancel();
          if (who == Who::kOuterScope || who == Who::kBoth) outer.Cancel();
          if (body == BodyEnd::kStopped) co_await SleepFor(1s);
          co_return 1;
        });
      });
  if (!result.has_value()) co_return Given{false, absl::StatusCode::kOk};
  co_return Given{true, result->status().code()};
}

TEST(TaskGroup, WhatItGivesInOrderOfPrecedence) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (BodyEnd body : {BodyEnd::kValue, BodyEnd::kStopped}) {
      for (ChildEnd child : {ChildEnd::kNone, ChildEnd::kCompletes,
                             ChildEnd::kIsStopped, ChildEnd::kFails}) {
        for (Who who :
             {Who::kNobody, Who::kOwnCancel, Who::kOuterScope, Who::kBoth}) {
          const bool outer = who == Who::kOuterScope || who == Who::kBoth;
          Given expected{true, absl::StatusCode::kOk};
          if (child == ChildEnd::kFails) {
            expected.code = absl::StatusCode::kDataLoss;  // whatever else
          } else if (outer && (body == BodyEnd::kStopped ||
                               child == ChildEnd::kIsStopped)) {
            expected.came_back = false;  // an enclosing scope stopped some
          } else if (who == Who::kOwnCancel && body == BodyEnd::kStopped) {
            expected.code = absl::StatusCode::kCancelled;
          }
          const Given given = co_await Case(body, child, who);
          EXPECT_EQ(given.came_back, expected.came_back)
              << "body " << static_cast<int>(body) << " child "
              << static_cast<int>(child) << " who " << static_cast<int>(who);
          EXPECT_EQ(given.code, expected.code)
              << "body " << static_cast<int>(body) << " child "
              << static_cast<int>(child) << " who " << static_cast<int>(who);
        }
      }
    }
  });
}

TEST(TaskGroup, ItsOwnCancelIsOkWhereNoValueIsOwed) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto of_void = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("child", Forever);
      group.Cancel();
      co_await SleepForever();
    });
    static_assert(std::is_same_v<decltype(of_void), absl::Status>);
    EXPECT_EQ(of_void, absl::OkStatus());
    auto of_status =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
          group.SetDeadline(Now() + 1s);
          co_await SleepForever();
          co_return absl::AbortedError("not reached");
        });
    static_assert(std::is_same_v<decltype(of_status), absl::Status>);
    EXPECT_EQ(of_status, absl::OkStatus());
    auto of_value = co_await WithTaskGroup([](TaskGroup& group) -> Task<int> {
      group.Cancel();
      co_return 3;  // the body was not stopped
    });
    static_assert(std::is_same_v<decltype(of_value), absl::StatusOr<int>>);
    EXPECT_EQ(*of_value, 3);
    auto of_either = co_await WithTaskGroup(
        [](TaskGroup& group) -> Task<absl::StatusOr<int>> {
          group.Cancel("why not");
          co_await SleepForever();
          co_return 3;
        });
    static_assert(std::is_same_v<decltype(of_either), absl::StatusOr<int>>);
    EXPECT_EQ(of_either.status().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

TEST(TaskGroup, GivesMoveOnlyAndBigResults) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto made =
        co_await WithTaskGroup([](TaskGroup&) -> Task<std::unique_ptr<int>> {
          co_return std::make_unique<int>(6);
        });
    EXPECT_EQ(**made, 6);
    using Big = std::array<char, 1 << 16>;
    auto big = co_await WithTaskGroup([](TaskGroup& group) -> Task<Big> {
      auto handle = group.Start("big", []() -> Task<Big> {
        Big big;
        big.fill('b');
        co_await Checkpoint();
        co_return big;
      });
      co_return (co_await handle.Join()).value();
    });
    EXPECT_EQ(big->back(), 'b');
  });
}

// Story: it ended the program, because results were moved in a noexcept place.
TEST(TaskGroup, AResultThatThrowsWhenMovedIsAnException) {
  struct Throws {
    explicit Throws(int left) : left(left) {}
    Throws(Throws&& other) : left(other.left - 1) {
      if (left == 0) throw std::runtime_error("moved");
    }
    int left;
  };
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (int at = 1; at <= 4; ++at) {
      std::string caught;
      try {
        (void)co_await WithTaskGroup([&](TaskGroup& group) -> Task<Throws> {
          group.Start("child", []() -> Task<void> { co_await SleepFor(1s); });
          (void)co_await group.Join();
          co_return Throws(at);
        });
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      EXPECT_EQ(caught, "moved") << at;
    }
  });
}

struct ThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()() const {
    throw std::runtime_error("at once");
  }
};
struct BodyThrowsAtOnce {
  BRAID_CORO_WRAPPER Task<void> operator()(TaskGroup& group) const {
    group.Start(
        "child",
        [](int* ended) -> Task<void> {
          AtExit at_exit([=] { ++*ended; });
          co_await SleepForever();
        },
        ended);
    throw std::runtime_error("at once");
  }
  int* ended;
};

TEST(TaskGroup, ACallableThatThrowsAtOnce) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    // Where a task is started, the exception is the starter's.
    auto status = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      EXPECT_THROW(group.Start("throws", ThrowsAtOnce()), std::runtime_error);
      EXPECT_EQ(group.size(), 0u);
      co_return;
    });
    EXPECT_TRUE(status.ok());
    // A body's is the group's, after its tasks have ended.
    int ended = 0;
    std::string caught;
    try {
      (co_await WithTaskGroup(BodyThrowsAtOnce{&ended})).IgnoreError();
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "at once");
    EXPECT_EQ(ended, 1);
  });
}

// The body's frame.

// However the body ends, its own locals outlive the tasks that use them. Run
// under AddressSanitizer, each of these reads what is gone if they don't.
enum class WayOut {
  kJoin,
  kStoppedFromOutside,
  kStoppedByOwnCancel,
  kStoppedByFailedChild,
  kOrReturn,
  kOrReturnOfOperation,
  kJoinStopped,
};

TEST(TaskGroup, TheBodysLocalsOutliveItsTasks) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    for (WayOut way : {WayOut::kJoin, WayOut::kStoppedFromOutside,
                       WayOut::kStoppedByOwnCancel,
                       WayOut::kStoppedByFailedChild, WayOut::kOrReturn,
                       WayOut::kOrReturnOfOperation, WayOut::kJoinStopped}) {
      Trace trace;
      CancelScope outer;
      const Time begin = Now();
      (void)co_await outer.Run([&]() -> Task<absl::Status> {
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              AtExit at_exit([&] { trace.push_back("body's local"); });
              auto local = std::make_unique<std::string>("used");
              group.Start("uses it", [&local, &trace]() -> Task<void> {
                AtExit use([&] { trace.push_back("child " + *local); });
                // However it is cancelled, it goes on for a while.
                co_await Shield(SleepFor(5s));
                co_await Shield([&]() -> Task<void> {
                  trace.push_back(*local);
                  co_await SleepFor(1s);
                  trace.push_back(*local);
                });
              });
              co_await SleepFor(1s);
              switch (way) {
                case WayOut::kJoin:
                  break;
                case WayOut::kStoppedFromOutside:
                  outer.Cancel();
                  co_await SleepForever();
                  break;
                case WayOut::kStoppedByOwnCancel:
                  group.Cancel();
                  co_await SleepForever();
                  break;
                case WayOut::kStoppedByFailedChild:
                  group.Start("fails", FailIn, 1s, absl::AbortedError("no"));
                  co_await SleepForever();
                  break;
                case WayOut::kOrReturn:
                  co_await OrReturn(absl::AbortedError("out"));
                  break;
                case WayOut::kOrReturnOfOperation:
                  co_await OrReturn(FailIn(1s, absl::AbortedError("out")));
                  break;
                case WayOut::kJoinStopped:
                  outer.SetDeadline(Now() + 1s);
                  break;
              }
              co_return co_await group.Join();
            });
      });
      EXPECT_THAT(trace,
                  ElementsAre("used", "used", "child used", "body's local"))
          << static_cast<int>(way);
      EXPECT_EQ(Now() - begin, 6s);
    }
    (void)time;
  });
}

// The frames below the body's own go at once.
TEST(TaskGroup, FramesBelowTheBodysOwnGoAtOnce) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Trace trace;
    CancelScope outer(Now() + 1s);
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      (void)co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        AtExit own([&] { trace.push_back("own"); });
        group.Start("child", [&trace]() -> Task<void> {
          co_await Shield(SleepFor(3s));
          trace.push_back("child");
        });
        auto below = [&]() -> Task<void> {
          AtExit at_exit([&] { trace.push_back("below"); });
          co_await SleepForever();
        };
        co_await below();
      });
    }));
    EXPECT_THAT(trace, ElementsAre("below", "child", "own"));
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(TaskGroup, APlainReturnDestroysTheBodysLocalsFirst) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Trace trace;
    auto status = co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      AtExit own([&] { trace.push_back("own"); });
      group.Start(
          "child",
          [](Trace* trace) -> Task<void> {
            co_await SleepFor(1s);
            trace->push_back("child");
          },
          &trace);
      co_return;
    });
    EXPECT_TRUE(status.ok());
    EXPECT_THAT(trace, ElementsAre("own", "child"));
  });
}

TEST(TaskGroup, ACallableBodyOutlivesTheTasks) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    std::string seen;
    // A variable of its own: g++ 12 destroys what a closure inside a co_await
    // captures twice.
    auto body = [captured = std::string(40, 'c'),
                 &seen](TaskGroup& group) -> Task<void> {
      group.Start("child", [&captured, &seen]() -> Task<void> {
        co_await SleepFor(1s);
        seen = captured;
      });
      co_return;
    };
    auto status = co_await WithTaskGroup(std::move(body));
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(seen, std::string(40, 'c'));
  });
}

// A group is a scope.

TEST(TaskGroup, ItsDeadlineStopsTheBodyAndItsTasks) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto result = co_await WithTaskGroup([](TaskGroup& group) -> Task<int> {
      group.SetDeadline(Now() + 2s);
      EXPECT_EQ(group.deadline(), Now() + 2s);
      auto handle = group.Start("child", Forever);
      co_await Shield([&]() -> Task<void> {
        EXPECT_TRUE((co_await handle.Join()).stopped());
      });
      EXPECT_TRUE(group.cancel_called());
      co_await Checkpoint();
      co_return 1;
    });
    EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(TaskGroup, ItsShieldHidesWhatIsOutside) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer(Now() + 1s);
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      auto result = co_await WithTaskGroup([](TaskGroup& group) -> Task<int> {
        group.SetShield(true);
        group.Start("child", []() -> Task<void> {
          co_await SleepFor(2s);
          EXPECT_FALSE(CancelPending());
        });
        (void)co_await group.Join();
        co_return 1;
      });
      EXPECT_TRUE(result.ok());
      co_await Checkpoint();
    }));
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

// Story: the stop of a child was decided, then a shield came between; the group
// gave its body's value as if nothing had been stopped.
TEST(TaskGroup, AShieldSetBetweenStopAndUnwindDoesNotLoseTheStop) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (bool body_waits : {false, true}) {
      CancelScope outer;
      bool came_back = false;
      const bool completed = co_await outer.Run([&]() -> Task<void> {
        (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start("stopped", Forever);
          group.Start(
              "canceller",
              [](TaskGroup* group, CancelScope* outer) -> Task<void> {
                co_await SleepFor(1s);
                outer->Cancel();
                group->SetShield(true);
              },
              &group, &outer);
          if (body_waits) co_await SleepForever();
        })).IgnoreError();
        came_back = true;
      });
      EXPECT_FALSE(completed);
      EXPECT_FALSE(came_back);
    }
  });
}

TEST(TaskGroup, CancellingItTwiceKeepsTheFirstReason) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    auto status = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("child", []() -> Task<void> {
        co_await Shield(Checkpoint());
        EXPECT_EQ(CancelReason()->reason, "first");
        co_await Checkpoint();
      });
      group.Cancel("first");
      group.Cancel("second");
      co_return;
    });
    EXPECT_TRUE(status.ok());
  });
}

// Join, in the five places.

TEST(TaskGroup, JoinCancelledBeforeItBegins) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer;
    outer.Cancel();
    EXPECT_FALSE((co_await outer.Run([&]() -> Task<absl::Status> {
                   co_return co_await WithTaskGroup(
                       [&](TaskGroup& group) -> Task<absl::Status> {
                         group.Start("child", []() -> Task<void> {
                           co_await Shield(SleepFor(1s));
                           co_await Checkpoint();
                         });
                         absl::Status joined = co_await group.Join();
                         ADD_FAILURE() << "went on";
                         co_return joined;
                       });
                 })).has_value());
    EXPECT_EQ(time.elapsed(), 1s);  // and yet the group waited for its task
  });
}

TEST(TaskGroup, JoinCancelledBetweenCompletionAndResumption) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope outer;
    int stage = 0;
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        group.Start(
            "last",
            [](CancelScope* outer) -> Task<void> {
              co_await SleepFor(1s);
              // Its end completes the Join, and cancels right after.
              AtExit* at_exit = new AtExit([=] { outer->Cancel(); });
              co_await Shield(Checkpoint());
              delete at_exit;
            },
            &outer);
        (void)co_await group.Join();
        stage = 1;
        co_await Checkpoint();
        stage = 2;
      })).IgnoreError();
      ADD_FAILURE() << "went on";
    }));
    EXPECT_LE(stage, 1);
  });
}

TEST(TaskGroup, JoinCancelledTwiceAndAgainAfterAShield) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto status =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
          group.Start("child", []() -> Task<void> { co_await SleepFor(3s); });
          EXPECT_FALSE((co_await MoveOnAfter(1s, group.Join())).has_value());
          EXPECT_FALSE((co_await MoveOnAfter(1s, group.Join())).has_value());
          EXPECT_EQ(group.size(), 1u);
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(TaskGroup, AChildThatFailsStopsTheJoin) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto status =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
          group.Start("fails", FailIn, 1s, absl::AbortedError("x"));
          group.Start("slow to stop",
                      []() -> Task<void> { co_await Shield(SleepFor(2s)); });
          absl::Status joined = co_await group.Join();
          ADD_FAILURE() << "went on";
          co_return joined;
        });
    EXPECT_EQ(status, absl::AbortedError("x"));
    EXPECT_EQ(time.elapsed(), 2s);
  });
}

TEST(TaskGroup, NestedGroupsEndInsideOut) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    Trace trace;
    CancelScope outer(Now() + 1s);
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        AtExit own([&] { trace.push_back("outer body"); });
        group.Start(
            "nests",
            [](Trace* trace) -> Task<absl::Status> {
              co_return co_await WithTaskGroup(
                  [&](TaskGroup& group) -> Task<void> {
                    AtExit own([&] { trace->push_back("inner body"); });
                    group.Start(
                        "child",
                        [](Trace* trace) -> Task<void> {
                          co_await Shield(SleepFor(3s));
                          trace->push_back("inner child");
                          co_await Checkpoint();
                        },
                        trace);
                    co_await SleepForever();
                  });
            },
            &trace);
        co_await SleepForever();
      })).IgnoreError();
    }));
    EXPECT_THAT(trace, ElementsAre("inner child", "inner body", "outer body"));
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

TEST(TaskGroup, ABoundaryMayBeTheBody) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    auto result = co_await WithTaskGroup([](TaskGroup& group) {
      group.Start("child", []() -> Task<void> { co_await SleepFor(3s); });
      return MoveOnAfter(1s, SleepForever());
    });
    static_assert(std::is_same_v<decltype(result), absl::StatusOr<bool>>);
    EXPECT_EQ(*result, false);
    EXPECT_EQ(time.elapsed(), 3s);
  });
}

// Misuse

TEST(TaskGroupDeathTest, StartAfterItClosed) {
  // The body's callable goes with the group, after it has closed.
  struct Late {
    explicit Late(TaskGroup** group) : group(group) {}
    Late(Late&& other) noexcept : group(std::exchange(other.group, nullptr)) {}
    ~Late() {
      if (group != nullptr) (*group)->Start("late", Forever);
    }
    Task<void> operator()(TaskGroup& entered) {
      *group = &entered;
      co_return;
    }
    TaskGroup** group;
  };
  EXPECT_DEATH(
      RunInOrder([](VirtualTime&) -> Task<absl::Status> {
        TaskGroup* kept = nullptr;
        co_return co_await WithTaskGroup(Late(&kept));
      }),
      "a task is started in a group that has closed; keep the group's body "
      "running, or start it elsewhere");
}

TEST(TaskGroupDeathTest, StartFromAnotherThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      RunInOrder([](VirtualTime&) -> Task<absl::Status> {
        co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
          std::thread([&] { group.Start("elsewhere", Forever); }).join();
          co_return;
        });
      }),
      "a task is started in a group of another thread's loop; hand "
      "the work to that loop");
}

TEST(TaskGroupDeathTest, TwoJoins) {
  EXPECT_DEATH(
      RunInOrder([](VirtualTime&) -> Task<absl::Status> {
        co_return co_await WithTaskGroup(
            [](TaskGroup& group) -> Task<absl::Status> {
              group.Start("joins too", [&group]() -> Task<absl::Status> {
                co_return co_await group.Join();
              });
              co_return co_await group.Join();
            });
      }),
      "a task joins the group it belongs to|two tasks join the same group");
}

TEST(TaskGroupDeathTest, ATaskJoinsItsOwnGroup) {
  EXPECT_DEATH(
      RunInOrder([](VirtualTime&) -> Task<absl::Status> {
        co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
          group.Start("joins", [&group]() -> Task<absl::Status> {
            co_return co_await MoveOnAfter(1s, group.Join())
                ? absl::OkStatus()
                : absl::InternalError("no check");
          });
          co_await SleepForever();
        });
      }),
      "a task joins the group it belongs to, and would wait for "
      "itself(.|\n)*in task 'joins'");
}

}  // namespace
}  // namespace braid
