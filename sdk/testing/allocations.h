// Counts what a program allocates, and lets allocations fail.
//
//   AllocationMeter meter("a checkpoint");
//   for (int i = 0; i < AllocationMeter::kRounds; ++i) {
//     co_await Checkpoint();
//     meter.Tick();  // from the 100th to the last but 100: no allocation
//   }
//
// Linking this replaces operator new, as sanitizers do too: a test that expects
// a number carries the tags no_asan and no_tsan. Threads: one.

#ifndef BRAID_TESTING_ALLOCATIONS_H_
#define BRAID_TESTING_ALLOCATIONS_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace braid {

// Calls of operator new so far.
uint64_t Allocations();
// Those whose memory was not given back yet.
uint64_t AllocationsAlive();
// The size the last of them asked for, in bytes.
size_t LastAllocationSize();

// Is asked before each.
class AllocationWatcher {
 public:
  // Whether it is to throw std::bad_alloc. From any thread.
  virtual bool Fails(size_t size) noexcept = 0;

 protected:
  ~AllocationWatcher() = default;
};
// From now on; nullptr: none.
void WatchAllocations(AllocationWatcher* watcher);

// Tick() is called in every round. From the time when everything has been used
// once until the end comes near, nothing may allocate.
class AllocationMeter {
 public:
  static constexpr int kRounds = 1000;

  explicit AllocationMeter(std::string_view what = "") : what_(what) {}
  AllocationMeter(const AllocationMeter&) = delete;
  AllocationMeter& operator=(const AllocationMeter&) = delete;
  ~AllocationMeter() {
    EXPECT_GE(ticks_, kEnd) << what_;
    EXPECT_EQ(at_end_ - at_begin_, 0u) << what_;
  }
  void Tick() {
    ++ticks_;
    if (ticks_ == kBegin) at_begin_ = Allocations();
    if (ticks_ == kEnd) at_end_ = Allocations();
  }

 private:
  static constexpr int kBegin = 100;
  static constexpr int kEnd = kRounds - 100;
  std::string_view what_;
  int ticks_ = 0;
  uint64_t at_begin_ = 0;
  uint64_t at_end_ = 0;
};

}  // namespace braid

#endif  // BRAID_TESTING_ALLOCATIONS_H_
