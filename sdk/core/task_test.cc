// Task: results, exceptions, and what a stop leaves behind.

#include "braid/core/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/cancel_scope.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

using Trace = std::vector<std::string>;

// Says in a trace when it goes.
class Local {
 public:
  Local(Trace* trace, std::string name)
      : trace_(trace), name_(std::move(name)) {}
  Local(Local&& other) noexcept
      : trace_(std::exchange(other.trace_, nullptr)),
        name_(std::move(other.name_)) {}
  ~Local() {
    if (trace_ != nullptr) trace_->push_back("~" + name_);
  }

 private:
  Trace* trace_;
  std::string name_;
};

Task<int> Add(int a, int b) { co_return a + b; }

TEST(Task, DoesNothingUntilItIsAwaited) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    bool began = false;
    auto body = [&]() -> Task<int> {
      began = true;
      co_return 3;
    };
    Task<int> task = body();
    EXPECT_FALSE(began);
    EXPECT_EQ(co_await std::move(task), 3);
    EXPECT_TRUE(began);
  });
}

TEST(Task, RunsInTheAwaitingTaskWithoutGivingUpTheThread) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    const detail::Loop& loop = detail::Loop::Current();
    const uint64_t switches = loop.stats().switches;
    const detail::TaskNode* task = loop.current();
    int sum = 0;
    for (int i = 0; i < 1000; ++i) sum += co_await Add(i, 1);
    EXPECT_EQ(sum, 999 * 500 + 1000);
    EXPECT_EQ(loop.current(), task);
    EXPECT_EQ(loop.stats().switches, switches);
  });
}

TEST(Task, OneThatIsDroppedUnawaitedDestroysItsArguments) {
  Trace trace;
  auto keep = [](Local) -> Task<void> { co_return; };
  {
    Task<void> dropped = keep(Local(&trace, "dropped"));
    Task<void> replaced = keep(Local(&trace, "replaced"));
    EXPECT_THAT(trace, ElementsAre());
    replaced = std::move(dropped);
    EXPECT_THAT(trace, ElementsAre("~replaced"));
  }
  EXPECT_THAT(trace, ElementsAre("~replaced", "~dropped"));
}

// Results

TEST(Task, GivesAMoveOnlyResult) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    auto make = []() -> Task<std::unique_ptr<int>> {
      auto made = std::make_unique<int>(5);
      co_await Checkpoint();
      co_return made;
    };
    std::unique_ptr<int> got = co_await make();
    EXPECT_EQ(*got, 5);
  });
}

TEST(Task, GivesAReferenceToTheVeryObject) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    int object = 1;
    const int constant = 2;
    auto refer = [](int& i) -> Task<int&> { co_return i; };
    auto refer_const = [](const int& i) -> Task<const int&> { co_return i; };
    int& reference = co_await refer(object);
    EXPECT_EQ(&reference, &object);
    const int& constant_reference = co_await refer_const(constant);
    EXPECT_EQ(&constant_reference, &constant);
  });
}

class NoDefault {
 public:
  explicit NoDefault(int value) : value_(value) {}
  int value() const { return value_; }

 private:
  int value_;
};

TEST(Task, GivesAResultWithoutDefaultConstructor) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    auto make = []() -> Task<NoDefault> { co_return NoDefault(4); };
    EXPECT_EQ((co_await make()).value(), 4);
  });
}

TEST(Task, GivesABigResult) {
  using Big = std::array<char, 1 << 16>;
  RunInOrder([](VirtualTime&) -> Task<void> {
    auto make = []() -> Task<Big> {
      Big big;
      big.fill('x');
      co_await Checkpoint();
      co_return big;
    };
    const Big got = co_await make();
    EXPECT_EQ(got.front(), 'x');
    EXPECT_EQ(got.back(), 'x');
  });
}

TEST(Task, AResultIsMovedTwiceAndNeverCopied) {
  struct Counted {
    explicit Counted(int* moves) : moves(moves) {}
    Counted(Counted&& other) noexcept : moves(other.moves) { ++*moves; }
    int* moves;
  };
  RunInOrder([](VirtualTime&) -> Task<void> {
    int moves = 0;
    auto make = [&]() -> Task<Counted> { co_return Counted(&moves); };
    Counted got = co_await make();
    EXPECT_EQ(moves, 2);  // to where it is awaited, and out of there
    (void)got;
  });
}

// Throws at the n-th move.
class ThrowsWhenMoved {
 public:
  explicit ThrowsWhenMoved(int at) : left_(at) {}
  ThrowsWhenMoved(ThrowsWhenMoved&& other) : left_(other.left_ - 1) {
    if (left_ == 0) throw std::runtime_error("moved");
  }

 private:
  int left_;
};

TEST(Task, AResultThatThrowsWhenMovedBecomesAnException) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    for (int at : {1, 2}) {  // into the awaiter, and out of it
      auto make = [at]() -> Task<ThrowsWhenMoved> {
        co_return ThrowsWhenMoved(at);
      };
      std::string caught;
      try {
        ThrowsWhenMoved got = co_await make();
        (void)got;
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      EXPECT_EQ(caught, "moved") << at;
    }
    auto make = []() -> Task<ThrowsWhenMoved> { co_return ThrowsWhenMoved(3); };
    ThrowsWhenMoved got = co_await make();
    (void)got;
  });
}

// The order is: result moved out, frame destroyed, then the parent resumed.
TEST(Task, ItsFrameIsGoneBeforeTheAwaiterGoesOn) {
  Trace trace;
  RunInOrder([&](VirtualTime&) -> Task<void> {
    auto body = [&](Local) -> Task<int> {
      Local local(&trace, "local");
      co_await Checkpoint();
      co_return 1;
    };
    co_await body(Local(&trace, "argument"));
    trace.push_back("resumed");
  });
  EXPECT_THAT(trace, ElementsAre("~local", "~argument", "resumed"));
}

// Exceptions

TEST(Task, AnExceptionGoesThroughEveryAwaiterOutwards) {
  Trace trace;
  RunInOrder([&](VirtualTime&) -> Task<void> {
    struct Thrower {
      static Task<int> Throw() {
        co_await Checkpoint();
        throw std::out_of_range("deep");
      }
      static Task<int> Pass(Trace* trace) {
        Local local(trace, "passed");
        co_return co_await Throw() + 1;
      }
    };
    try {
      co_await Thrower::Pass(&trace);
      ADD_FAILURE() << "no exception";
    } catch (const std::out_of_range& e) {
      trace.push_back(e.what());
    }
    co_await Checkpoint();  // and the task goes on
    trace.push_back("on");
  });
  EXPECT_THAT(trace, ElementsAre("~passed", "deep", "on"));
}

TEST(Task, AnExceptionOfAnyTypeAndFromAVoidTask) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    auto throw_int = []() -> Task<void> {
      throw 7;
      co_return;
    };
    int caught = 0;
    try {
      co_await throw_int();
    } catch (int i) {
      caught = i;
    }
    EXPECT_EQ(caught, 7);
  });
}

TEST(Task, AnExceptionAfterTheValueReplacesIt) {
  struct ThrowsAtExit {
    ~ThrowsAtExit() noexcept(false) { throw std::runtime_error("at exit"); }
  };
  RunInOrder([](VirtualTime&) -> Task<void> {
    auto body = []() -> Task<std::string> {
      ThrowsAtExit local;
      co_return "value";
    };
    std::string caught;
    try {
      co_await body();
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "at exit");
  });
}

// Cancellation

TEST(Task, AwaitingIsNoCheckpoint) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    CancelScope scope;
    scope.Cancel();
    std::optional<int> sum = co_await scope.Run([]() -> Task<int> {
      EXPECT_TRUE(CancelPending());
      co_return co_await Add(co_await Add(1, 2), 3);
    });
    EXPECT_EQ(sum, 6);
  });
}

// A stopped await does not resume its coroutine; frames go innermost first.
TEST(Task, AStopDestroysFramesInnermostFirstAndResumesNone) {
  Trace trace;
  RunInOrder([&](VirtualTime& time) -> Task<void> {
    struct Nest {
      static Task<void> At(Trace* trace, int depth) {
        Local outer(trace, "outer" + std::to_string(depth));
        Local inner(trace, "inner" + std::to_string(depth));
        if (depth == 3) {
          co_await SleepForever();
        } else {
          co_await At(trace, depth + 1);
        }
        trace->push_back("resumed");
      }
    };
    EXPECT_FALSE(co_await MoveOnAfter(1s, Nest::At(&trace, 1)));
    EXPECT_EQ(time.elapsed(), 1s);
  });
  EXPECT_THAT(trace, ElementsAre("~inner3", "~outer3", "~inner2", "~outer2",
                                 "~inner1", "~outer1"));
}

TEST(Task, AStopCanNotBeSwallowed) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    bool swallowed = false;
    EXPECT_FALSE(co_await MoveOnAfter(1s, [&]() -> Task<void> {
      try {
        co_await SleepForever();
      } catch (...) {
        swallowed = true;
      }
      swallowed = true;
      co_await SleepFor(1h);
    }));
    EXPECT_FALSE(swallowed);
    EXPECT_EQ(time.elapsed(), 1s);
  });
}

// Destructors run as part of the unwind, and may cancel what else is running.
TEST(Task, ADestructorMayCancelDuringAnUnwind) {
  RunInOrder([](VirtualTime& time) -> Task<void> {
    struct CancelsAtExit {
      explicit CancelsAtExit(CancelScope* scope) : scope(scope) {}
      ~CancelsAtExit() { scope->Cancel("from a destructor"); }
      CancelScope* scope;
    };
    CancelScope outer;
    CancelScope inner;
    bool between = false;
    const bool completed = co_await outer.Run([&]() -> Task<void> {
      EXPECT_FALSE(co_await inner.Run([&]() -> Task<void> {
        CancelsAtExit cancels(&outer);
        inner.SetDeadline(Now() + 1s);
        co_await SleepForever();
      }));
      between = true;  // the inner scope had already taken the stop
      co_await Checkpoint();
      ADD_FAILURE() << "the outer scope stops the next checkpoint";
    });
    EXPECT_FALSE(completed);
    EXPECT_FALSE(between);
    EXPECT_EQ(time.elapsed(), 1s);
    EXPECT_EQ(outer.cause()->reason, "from a destructor");
    EXPECT_EQ(outer.cause()->task, "main");
  });
}

// Operations that are ready at once run on without a switch, 64 in a row.
TEST(Task, ReadyOperationsGiveWayAfterSixtyFourInARow) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    Gate gate;
    gate.Open();
    co_await Checkpoint();  // begin a fresh row
    const detail::Loop& loop = detail::Loop::Current();
    const uint64_t switches = loop.stats().switches;
    for (int i = 0; i < 64; ++i) co_await gate.Wait();
    EXPECT_EQ(loop.stats().switches, switches);
    co_await gate.Wait();
    EXPECT_EQ(loop.stats().switches, switches + 1);
    for (int i = 0; i < 63; ++i) co_await gate.Wait();
    EXPECT_EQ(loop.stats().switches, switches + 1);
    EXPECT_EQ(gate.waits(), 0);
  });
}

// Misuse

using TaskDeathTest = testing::Test;

TEST(TaskDeathTest, AwaitedTwice) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 Task<int> task = Add(1, 2);
                 co_await std::move(task);
                 co_await std::move(task);
               }),
               "a task is awaited twice, or after it was moved from; call the "
               "coroutine again(.|\n)*in task 'main'");
}

TEST(TaskDeathTest, MovedFromIntoABoundary) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 Task<int> task = Add(1, 2);
                 Task<int> other = std::move(task);
                 co_await std::move(other);
                 co_await MoveOnAfter(1s, std::move(task));
               }),
               "a task is awaited twice, or after it was moved from");
}

TEST(TaskDeathTest, ADestructorThatThrowsWhileStoppedNamesTheTask) {
  struct Throws {
    ~Throws() noexcept(false) { throw std::runtime_error("too late"); }
  };
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 co_await MoveOnAfter(1s, []() -> Task<void> {
                   Throws local;
                   co_await SleepForever();
                 });
               }),
               "a destructor threw(.|\n)*too late(.|\n)*in task 'main'");
}

}  // namespace
}  // namespace braid
