// What things cost in memory: ceilings for the sizes of the core's objects and
// of the frames that hold them, and that nothing allocates once it is warm.
// Replaces the global operator new, so nothing else is here. A ceiling that is
// passed is a decision to take, not a number to raise.

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/core.h"
#include "braid/testing/allocations.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Sizes of objects, on a 64-bit machine.

template <typename Description>
using AwaiterOf = typename Description::Awaiter;
using Sleep = decltype(SleepFor(std::declval<Delay>()));

template <size_t kSize, size_t kCeiling>
constexpr bool AtMost() {
  static_assert(kSize <= kCeiling);
  return true;
}

// A task in a group: its record, beside its own frame.
static_assert(AtMost<sizeof(detail::PlainChild<void>), 256>());
static_assert(AtMost<sizeof(detail::PlainChild<int>), 256>());
static_assert(AtMost<sizeof(detail::PlainChild<absl::Status>), 256>());
static_assert(AtMost<sizeof(detail::TaskNode), 168>());
static_assert(AtMost<sizeof(detail::Scope), 88>());
static_assert(AtMost<sizeof(CancelScope), 88>());
static_assert(AtMost<sizeof(TaskGroup), 192>());
static_assert(AtMost<sizeof(TaskHandle<int>), 8>());
static_assert(AtMost<sizeof(Task<int>), 8>());
// An await of a task: what the frame that awaits holds, and what each frame
// has beside its locals.
static_assert(AtMost<sizeof(detail::PromiseBase), 32>());
static_assert(AtMost<sizeof(detail::TaskAwaiter<void>), 24>());
static_assert(AtMost<sizeof(detail::TaskAwaiter<int>), 24>());
static_assert(AtMost<sizeof(detail::OrReturnAwaiter<
                            Task<absl::Status>, detail::Promise<absl::Status>>),
                     48>());
// Operations.
static_assert(AtMost<sizeof(OperationBase), 16>());
static_assert(AtMost<sizeof(AwaiterOf<Sleep>), 64>());
static_assert(AtMost<sizeof(AwaiterOf<decltype(Checkpoint())>), 8>());
static_assert(AtMost<sizeof(AwaiterOf<decltype(StopRequested())>), 64>());
static_assert(
    AtMost<sizeof(AwaiterOf<decltype(std::declval<TaskGroup&>().Join())>),
           32>());
static_assert(
    AtMost<sizeof(AwaiterOf<decltype(std::declval<TaskHandle<int>&>().Join())>),
           64>());
// Boundaries and combinators, beside the body they hold.
template <typename Description, size_t kBodies>
inline constexpr size_t kBesideSleeps =
    sizeof(AwaiterOf<Description>) - kBodies * sizeof(AwaiterOf<Sleep>);
static_assert(
    AtMost<kBesideSleeps<decltype(MoveOnAfter(1s, SleepFor(1s))), 1>, 176>());
static_assert(AtMost<kBesideSleeps<decltype(Shield(SleepFor(1s))), 1>, 160>());
static_assert(
    AtMost<kBesideSleeps<decltype(Finally(SleepFor(1s), SleepFor(1s))), 2>,
           256>());
// 224 for each leg, which is a task.
static_assert(
    AtMost<kBesideSleeps<decltype(AnyOf(SleepFor(1s))), 1>, 224 + 208>());
static_assert(
    AtMost<kBesideSleeps<decltype(AnyOf(SleepFor(1s), SleepFor(1s))), 2>,
           2 * 224 + 208>());
static_assert(
    AtMost<
        kBesideSleeps<decltype(WithBackground(SleepFor(1s), SleepFor(1s))), 2>,
        224 + 336>());

// Sizes of frames, as they come from operator new: in steps of 64, less what
// malloc keeps for itself.

#if defined(__OPTIMIZE__) && defined(__clang__)
constexpr bool kOptimized = true;
#else
constexpr bool kOptimized = false;
#endif

template <typename F>
void ExpectFrame(const char* what, F coroutine, size_t optimized,
                 size_t otherwise) {
  auto task = coroutine();  // outside of a loop, so not recycled
  EXPECT_LE(LastAllocationSize(), kOptimized ? optimized : otherwise) << what;
  EXPECT_GE(LastAllocationSize(), detail::FramePool::BlockSize(1));
}

Task<int> Three() { co_return 3; }
Task<absl::Status> Fine() { co_return absl::OkStatus(); }

TEST(Size, OfFrames) {
  ExpectFrame("nothing", []() -> Task<void> { co_return; }, 64, 128);
  ExpectFrame("a value", []() -> Task<int> { co_return 1; }, 64, 128);
  ExpectFrame(
      "an await", []() -> Task<int> { co_return co_await Three(); }, 128, 192);
  ExpectFrame(
      "OrReturn",
      []() -> Task<absl::Status> {
        co_await OrReturn(Fine());
        co_return absl::OkStatus();
      },
      128, 256);
  ExpectFrame(
      "a checkpoint", []() -> Task<void> { co_await Checkpoint(); }, 64, 192);
  ExpectFrame(
      "a sleep", []() -> Task<void> { co_await SleepFor(1s); }, 128, 256);
  // What one await holds is given back before the next.
  ExpectFrame(
      "four awaits",
      []() -> Task<int> {
        const int a = co_await Three();
        const int b = co_await Three();
        const int c = co_await Three();
        co_return a + b + c + co_await Three();
      },
      192, 384);
  ExpectFrame(
      "a limit", []() -> Task<void> { co_await MoveOnAfter(1s, SleepFor(1s)); },
      376, 448);
  ExpectFrame(
      "two legs",
      []() -> Task<void> { co_await AnyOf(SleepFor(1s), SleepFor(1s)); }, 888,
      960);
}

// Nothing allocates once it is warm.

// Runs `round` again and again.
template <typename F>
void ExpectNoAllocation(const char* what, F round) {
  RunInOrder([&](VirtualTime&) -> Task<void> {
    AllocationMeter meter(what);
    for (int i = 0; i < AllocationMeter::kRounds; ++i) {
      co_await round();
      meter.Tick();
    }
  });
}

TEST(Allocation, TheMeterMeasures) {
  EXPECT_NONFATAL_FAILURE(
      {
        AllocationMeter meter("new");
        for (int i = 0; i < AllocationMeter::kRounds; ++i) {
          meter.Tick();
          ::operator delete(::operator new(1));
        }
      },
      "at_end_ - at_begin_");
}

Task<int> Depth(int left) {
  // Not in one expression: g++ 12 awaits both sides of a `?:`.
  if (left == 0) co_return 0;
  co_return 1 + co_await Depth(left - 1);
}
Task<absl::StatusOr<int>> Fallible(int left) {
  if (left == 0) co_return 0;
  const int inner = co_await OrReturn(Fallible(left - 1));
  co_return inner + 1;
}

TEST(Allocation, Awaits) {
  ExpectNoAllocation("tasks",
                     []() -> Task<void> { EXPECT_EQ(co_await Depth(50), 50); });
  ExpectNoAllocation("OrReturn", []() -> Task<void> {
    EXPECT_EQ(*(co_await Fallible(50)), 50);
  });
  ExpectNoAllocation("a checkpoint",
                     []() -> Task<void> { co_await Checkpoint(); });
  ExpectNoAllocation("a sleep", []() -> Task<void> { co_await SleepFor(1ns); });
}

TEST(Allocation, TasksAndGroups) {
  ExpectNoAllocation("a group", []() -> Task<void> {
    int sum = 0;
    absl::Status status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 5; ++i) {
            group.Start("by value", Depth, 3);
            group.Start("captures", [&sum]() -> Task<void> {
              co_await Checkpoint();
              ++sum;
            });
          }
          TaskHandle<int> handle = group.Start("joined", Depth, 1);
          sum += (co_await handle.Join()).value();
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(sum, 6);
  });
  ExpectNoAllocation("StartAndWait", []() -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
      EXPECT_EQ(co_await OrReturn(
                    group.StartAndWait("ready",
                                       [](Ready<int> ready) -> Task<void> {
                                         ready.Set(1);
                                         co_return;
                                       })),
                1);
      co_return absl::OkStatus();
    })).IgnoreError();
  });
  ExpectNoAllocation("a stop request", []() -> Task<void> {
    (co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      group.Start("waiter", []() -> Task<void> { co_await StopRequested(); });
      co_await Checkpoint();
      group.RequestStop();
    })).IgnoreError();
  });
}

TEST(Allocation, BoundariesAndCombinatorsOfOperations) {
  Gate open;
  open.Open(4);
  ExpectNoAllocation("a limit that isn't reached", [&]() -> Task<void> {
    EXPECT_EQ(co_await MoveOnAfter(1s, open.Wait()), 4);
    EXPECT_TRUE((co_await FailAfter(1s, SleepFor(1ns))).ok());
  });
  ExpectNoAllocation("a limit that is", []() -> Task<void> {
    EXPECT_FALSE(co_await MoveOnAfter(1ns, SleepFor(1s)));
  });
  ExpectNoAllocation("a shield",
                     [&]() -> Task<void> { co_await Shield(open.Wait()); });
  ExpectNoAllocation("AllOf", [&]() -> Task<void> {
    auto values = co_await AllOf(open.Wait(), SleepFor(1ns), open.Wait());
    EXPECT_EQ(std::get<0>(values), 4);
  });
  ExpectNoAllocation("AnyOf", [&]() -> Task<void> {
    auto [value, slept] = co_await AnyOf(SleepForever(), SleepFor(1ns));
    EXPECT_FALSE(value);
    EXPECT_TRUE(slept);
  });
  ExpectNoAllocation("FirstOk", [&]() -> Task<void> {
    EXPECT_TRUE((co_await FirstOk(SleepForever(), SleepFor(1ns))).ok());
  });
  ExpectNoAllocation("Finally", [&]() -> Task<void> {
    EXPECT_EQ(co_await Finally(open.Wait(), SleepFor(1ns)), 4);
  });
  ExpectNoAllocation("WithBackground", [&]() -> Task<void> {
    EXPECT_TRUE((co_await WithBackground(SleepForever(), SleepFor(1ns))).ok());
  });
  // A frame of more than 2 KiB would come from operator new each time.
  ExpectNoAllocation("some of them in each other", [&]() -> Task<void> {
    auto [inner, slept] = co_await AnyOf(
        MoveOnAfter(1s, Finally(Shield(SleepFor(1ns)), SleepFor(1ns))),
        SleepFor(1s));
    EXPECT_TRUE(inner);
    EXPECT_FALSE(slept);
  });
}

}  // namespace
}  // namespace braid
