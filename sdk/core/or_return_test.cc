// OrReturn: the ? of Rust, from every place a coroutine can be in.

#include "braid/core/or_return.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
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

using Trace = std::vector<std::string>;

class Local {
 public:
  Local(Trace* trace, std::string name)
      : trace_(trace), name_(std::move(name)) {}
  Local(const Local&) = delete;
  ~Local() { trace_->push_back("~" + name_); }

 private:
  Trace* trace_;
  std::string name_;
};

const absl::Status kError = absl::NotFoundError("missing");

Task<absl::Status> StatusIn(Duration delay, absl::Status status) {
  if (delay > 0s) co_await SleepFor(delay);
  co_return status;
}
template <typename T>
Task<absl::StatusOr<T>> EitherIn(Duration delay, absl::StatusOr<T> either) {
  if (delay > 0s) co_await SleepFor(delay);
  co_return std::move(either);
}

TEST(OrReturn, UnwrapsWhatDidNotFail) {
  RunInEveryOrder([](VirtualTime&) -> Task<absl::Status> {
    // Of something awaitable, done at once or later, a task or a boundary.
    for (Duration delay : {0s, 1s}) {
      co_await OrReturn(StatusIn(delay, absl::OkStatus()));
      int i = co_await OrReturn(EitherIn<int>(delay, 3));
      EXPECT_EQ(i, 3);
      std::unique_ptr<int> moved = co_await OrReturn(
          EitherIn<std::unique_ptr<int>>(delay, std::make_unique<int>(4)));
      EXPECT_EQ(*moved, 4);
      EXPECT_EQ(co_await OrReturn(FailAfter(5s, EitherIn<int>(delay, 5))), 5);
      co_await OrReturn(FailAfter(5s, SleepFor(delay)));
    }
    // Of a result that is already there.
    co_await OrReturn(absl::OkStatus());
    const absl::Status lvalue;
    co_await OrReturn(lvalue);
    absl::StatusOr<std::string> there = std::string(40, 's');
    EXPECT_EQ(co_await OrReturn(there), std::string(40, 's'));
    EXPECT_EQ(*there, std::string(40, 's'));  // copied
    EXPECT_EQ(co_await OrReturn(std::move(there)), std::string(40, 's'));
    // Moved-only, from a temporary.
    EXPECT_EQ(*(co_await OrReturn(absl::StatusOr<std::unique_ptr<int>>(
                  std::make_unique<int>(6)))),
              6);
    co_return absl::OkStatus();
  });
}

TEST(OrReturn, AnErrorEndsTheCoroutineWithoutResumingIt) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (int way = 0; way < 5; ++way) {
      Trace trace;
      auto body = [&]() -> Task<absl::Status> {
        Local local(&trace, "local");
        switch (way) {
          case 0:
            co_await OrReturn(kError);
            break;
          case 1:
            co_await OrReturn(absl::StatusOr<int>(kError));
            break;
          case 2:
            co_await OrReturn(StatusIn(0s, kError));
            break;
          case 3:
            co_await OrReturn(EitherIn<int>(1s, kError));
            break;
          case 4: {
            Local inner(&trace, "inner");
            co_await OrReturn(FailAfter(1s, EitherIn<int>(1h, 1)));
            break;
          }
        }
        trace.push_back("resumed");
        co_return absl::OkStatus();
      };
      const absl::Status status = co_await body();
      trace.push_back("awaiter goes on");
      if (way == 4) {
        EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
        EXPECT_THAT(trace, ElementsAre("~inner", "~local", "awaiter goes on"));
      } else {
        EXPECT_EQ(status, kError);
        EXPECT_THAT(trace, ElementsAre("~local", "awaiter goes on"));
      }
    }
  });
}

TEST(OrReturn, GoesUpThroughEachCoroutineThatUsesIt) {
  struct Nest {
    static Task<absl::StatusOr<int>> At(Trace* trace, int depth) {
      Local local(trace, std::to_string(depth));
      if (depth == 0) co_return co_await OrReturn(EitherIn<int>(1s, kError));
      co_return 1 + co_await OrReturn(At(trace, depth - 1));
    }
  };
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    Trace trace;
    absl::StatusOr<int> result = co_await Nest::At(&trace, 3);
    EXPECT_EQ(result.status(), kError);
    EXPECT_THAT(trace, ElementsAre("~0", "~1", "~2", "~3"));
  });
}

TEST(OrReturn, KeepsPayloadsAndAllOfTheStatus) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    absl::Status detailed = absl::DataLossError("d");
    detailed.SetPayload("url", absl::Cord("payload"));
    auto body = [&]() -> Task<absl::StatusOr<std::string>> {
      co_await OrReturn(detailed);
      co_return "no";
    };
    EXPECT_EQ((co_await body()).status(), detailed);
  });
}

TEST(OrReturn, AnExceptionIsThrownInsideTheCoroutine) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    for (Duration delay : {0s, 1s}) {
      auto throws = [delay]() -> Task<absl::StatusOr<int>> {
        if (delay > 0s) co_await SleepFor(delay);
        throw std::runtime_error("boom");
      };
      auto body = [&]() -> Task<absl::Status> {
        try {
          (void)co_await OrReturn(throws());
        } catch (const std::runtime_error& e) {
          co_return absl::InternalError(e.what());
        }
        co_return absl::OkStatus();
      };
      EXPECT_EQ(co_await body(), absl::InternalError("boom"));
    }
  });
}

// A plain value is no checkpoint; an operation inside is.
TEST(OrReturn, IsCancelledAsWhatItAwaits) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope scope;
    int stage = 0;
    auto result = co_await scope.Run([&]() -> Task<absl::Status> {
      scope.Cancel();
      co_await OrReturn(absl::OkStatus());
      stage = 1;
      co_await OrReturn(StatusIn(0s, absl::OkStatus()));
      stage = 2;
      co_await OrReturn(StatusIn(1s, kError));
      stage = 3;
      co_return absl::OkStatus();
    });
    EXPECT_FALSE(result.has_value());
    EXPECT_EQ(stage, 2);
    EXPECT_EQ(time.elapsed(), 0s);
  });
}

TEST(OrReturn, AnErrorBeatsACancelThatComesTooLate) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    auto result = co_await scope.Run([&]() -> Task<absl::Status> {
      scope.Cancel();
      co_await OrReturn(kError);
      co_return absl::OkStatus();
    });
    EXPECT_EQ(result, kError);
    EXPECT_FALSE(scope.caught());
  });
}

// From every place, with tasks that still use the locals of the group's body.
// Under AddressSanitizer the last reads are of what is gone if a frame goes too
// early.

enum class Place {
  kBody,
  kScopeInBody,
  kLimitInBody,
  kShieldInBody,
  kNestedTask,
  kNestedGroupBody,
  kChild,
  kScopeInChild,
};

Task<absl::Status> From(Place place, Trace* trace) {
  // Outside of the body's frame: what the ways below return through.
  auto fails = []() -> Task<absl::Status> {
    co_await OrReturn(StatusIn(1s, kError));
    co_return absl::OkStatus();
  };
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    Local own(trace, "own");
    auto used = std::make_unique<std::string>("used");
    group.Start("uses the body's local", [&used, trace]() -> Task<void> {
      co_await Shield(SleepFor(5s));
      trace->push_back(*used);
    });
    switch (place) {
      case Place::kBody:
        co_await OrReturn(StatusIn(1s, kError));
        break;
      case Place::kScopeInBody: {
        CancelScope scope;
        auto result = co_await scope.Run([&]() -> Task<absl::Status> {
          Local inner(trace, "inner");
          co_await OrReturn(StatusIn(1s, kError));
          co_return absl::OkStatus();
        });
        co_await OrReturn(*std::move(result));
        break;
      }
      case Place::kLimitInBody:
        co_await OrReturn(FailAfter(2s, fails));
        break;
      case Place::kShieldInBody:
        co_await OrReturn(Shield(fails));
        break;
      case Place::kNestedTask:
        co_await OrReturn(fails());
        break;
      case Place::kNestedGroupBody:
        co_await OrReturn(
            WithTaskGroup([&](TaskGroup& nested) -> Task<absl::Status> {
              Local inner(trace, "inner");
              std::string inner_used = "inner used";
              nested.Start("uses it", [&inner_used, trace]() -> Task<void> {
                co_await Shield(SleepFor(2s));
                trace->push_back(inner_used);
              });
              co_await OrReturn(StatusIn(1s, kError));
              co_return absl::OkStatus();
            }));
        break;
      case Place::kChild:
        group.Start("fails", fails);
        break;
      case Place::kScopeInChild:
        group.Start("fails", [&]() -> Task<absl::Status> {
          CancelScope scope;
          auto result = co_await scope.Run(fails);
          co_await OrReturn(*std::move(result));
          co_return absl::OkStatus();
        });
        break;
    }
    co_return co_await group.Join();
  });
}

TEST(OrReturn, FromEveryPlaceTheBodysOwnFrameStaysForItsTasks) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    for (Place place :
         {Place::kBody, Place::kScopeInBody, Place::kLimitInBody,
          Place::kShieldInBody, Place::kNestedTask, Place::kNestedGroupBody,
          Place::kChild, Place::kScopeInChild}) {
      Trace trace;
      const Time begin = Now();
      EXPECT_EQ(co_await From(place, &trace), kError);
      EXPECT_EQ(Now() - begin, 5s);
      if (place == Place::kScopeInBody) {
        EXPECT_THAT(trace, ElementsAre("~inner", "used", "~own"));
      } else if (place == Place::kNestedGroupBody) {
        EXPECT_THAT(trace, ElementsAre("inner used", "~inner", "used", "~own"));
      } else {
        EXPECT_THAT(trace, ElementsAre("used", "~own"))
            << static_cast<int>(place);
      }
    }
    (void)time;
  });
}

TEST(OrReturn, InTheBodyOfRun) {
  VirtualTime time;
  EXPECT_EQ(braid::Run(time,
                       []() -> Task<absl::Status> {
                         co_await OrReturn(StatusIn(1s, kError));
                         co_return absl::OkStatus();
                       }),
            kError);
  EXPECT_EQ(braid::Run(time,
                       []() -> Task<absl::StatusOr<int>> {
                         co_return co_await OrReturn(EitherIn<int>(1s, 5)) + 1;
                       })
                .value(),
            6);
}

}  // namespace
}  // namespace braid
