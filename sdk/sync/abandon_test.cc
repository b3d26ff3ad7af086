// What a task was given and did not take: its machine loses its power between
// the two. Each of these ended the simulation it happened in once, as a lock
// that is destroyed while it is held.

#include <gtest/gtest.h>

#include "braid/core/core.h"
#include "braid/core/run.h"
#include "braid/sync/capacity_limiter.h"
#include "braid/sync/mutex.h"
#include "braid/sync/semaphore.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Runs one task at a time, and cuts the power when one says so.
class PowerCut final : public Driver {
 public:
  void Run(detail::Loop& loop) override {
    while (!cut && !loop.finished()) (void)loop.Turn();
    abandoned = loop.Abandon();
  }
  Time Now() override { return Time(1h); }
  void Wake() noexcept override {}

  bool cut = false;
  bool abandoned = false;
};

// Two tasks want what there is one of; `take` gives an operation that takes it.
template <typename Lock, typename Take>
void CutBetweenGivingAndTaking(Take take) {
  PowerCut driver;
  bool taken_twice = false;
  const absl::Status status =
      ::braid::Run(driver,
                   [&]() -> Task<absl::Status> {
                     Lock lock(1);
                     co_return co_await WithTaskGroup(
                         [&](TaskGroup& group) -> Task<absl::Status> {
                           group.Start("has it", [&]() -> Task<void> {
                             {
                               const auto held = co_await take(lock);
                               group.Start("waits for it", [&]() -> Task<void> {
                                 const auto given = co_await take(lock);
                                 taken_twice = true;
                               });
                               for (int i = 0; i < 3; ++i)
                                 co_await Checkpoint();
                             }
                             driver.cut = true;
                           });
                           co_return co_await group.Join();
                         });
                   },
                   {.turn_budget = 1});
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(driver.abandoned);
  EXPECT_FALSE(taken_twice);
}

// One that is taken at once, by a task that has to let others run first.
template <typename Lock, typename Take>
void CutWhereTheTaskYields(Take take) {
  PowerCut driver;
  bool taken = false;
  const absl::Status status =
      ::braid::Run(driver,
                   [&]() -> Task<absl::Status> {
                     Lock lock(1);
                     for (int i = 0; i < detail::Loop::kReadyInARow; ++i)
                       (void)co_await take(lock);
                     driver.cut = true;
                     const auto held = co_await take(lock);
                     taken = true;
                     co_return absl::OkStatus();
                   },
                   {.turn_budget = 1});
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(driver.abandoned);
  EXPECT_FALSE(taken);
}

template <typename Lock, typename Take>
void CutBeforeItIsTaken(Take take) {
  CutBetweenGivingAndTaking<Lock>(take);
  CutWhereTheTaskYields<Lock>(take);
}

TEST(AbandonTest, AMutexIsUnlocked) {
  struct One : Mutex {
    explicit One(int) {}
  };
  CutBeforeItIsTaken<One>([](Mutex& mutex) { return mutex.Lock(); });
}

TEST(AbandonTest, APermitGoesBack) {
  CutBeforeItIsTaken<Semaphore>(
      [](Semaphore& semaphore) { return semaphore.Acquire(); });
}

TEST(AbandonTest, ATokenGoesBack) {
  CutBeforeItIsTaken<CapacityLimiter>(
      [](CapacityLimiter& limiter) { return limiter.Acquire(); });
}

}  // namespace
}  // namespace braid
