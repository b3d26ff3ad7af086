// FramePool: what is recycled, what isn't, and its limits.

#include "braid/core/detail/frame_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/testing/every_order.h"
#include "braid/testing/virtual_time.h"

namespace braid::detail {
namespace {

using namespace std::chrono_literals;

TEST(FramePool, RecyclesTheBlockLastReleased) {
  FramePool pool;
  void* a = pool.Allocate(100);
  void* b = pool.Allocate(100);
  EXPECT_NE(a, b);
  EXPECT_EQ(pool.misses(), 2u);
  EXPECT_EQ(pool.cached_bytes(), 0u);
  pool.Release(a, 100);
  pool.Release(b, 100);
  EXPECT_EQ(pool.cached_bytes(), 2u * 120);
  EXPECT_EQ(pool.Allocate(100), b);
  EXPECT_EQ(pool.Allocate(100), a);
  EXPECT_EQ(pool.misses(), 2u);
  EXPECT_EQ(pool.cached_bytes(), 0u);
  pool.Release(a, 100);
  pool.Release(b, 100);
}

TEST(FramePool, SizesOfOneClassShareBlocksAndOthersDoNot) {
  FramePool pool;
  void* a = pool.Allocate(65);
  pool.Release(a, 65);
  EXPECT_EQ(pool.Allocate(120), a) << "56 < size <= 120 is one class";
  pool.Release(a, 120);
  void* b = pool.Allocate(121);
  EXPECT_NE(b, a);
  void* c = pool.Allocate(56);
  EXPECT_NE(c, a);
  EXPECT_EQ(pool.misses(), 3u);
  pool.Release(b, 121);
  pool.Release(c, 56);
  EXPECT_EQ(pool.cached_bytes(), 120u + 184 + 56);
}

TEST(FramePool, EachSizeFitsItsBlock) {
  FramePool pool;
  std::vector<std::pair<std::byte*, size_t>> blocks;
  for (size_t size = 1; size <= FramePool::kLargest; ++size) {
    auto* p = static_cast<std::byte*>(pool.Allocate(size));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % __STDCPP_DEFAULT_NEW_ALIGNMENT__,
              0u);
    std::memset(p, static_cast<int>(size % 251), size);
    blocks.emplace_back(p, size);
  }
  for (auto [p, size] : blocks) {
    for (size_t i : {size_t{0}, size / 2, size - 1}) {
      ASSERT_EQ(static_cast<size_t>(p[i]), size % 251) << size;
    }
  }
  for (auto [p, size] : blocks) pool.Release(p, size);
  EXPECT_EQ(pool.misses(), FramePool::kLargest);
}

TEST(FramePool, TrimGivesEverythingBack) {
  FramePool pool;
  for (size_t size = 1; size <= FramePool::kLargest;
       size += FramePool::kGranule) {
    pool.Release(pool.Allocate(size), size);
  }
  EXPECT_GT(pool.cached_bytes(), 0u);
  pool.Trim();
  EXPECT_EQ(pool.cached_bytes(), 0u);
  const uint64_t misses = pool.misses();
  pool.Release(pool.Allocate(1), 1);
  EXPECT_EQ(pool.misses(), misses + 1) << "it goes on as before";
}

// A burst of frames does not stay for ever.
TEST(FramePool, KeepsNoMoreThanItsLimit) {
  FramePool pool;
  constexpr size_t kFit = FramePool::kMaxCachedBytes / FramePool::kLargest;
  std::vector<void*> blocks;
  for (size_t i = 0; i < kFit + 100; ++i) {
    blocks.push_back(pool.Allocate(FramePool::kLargest));
  }
  for (void* p : blocks) pool.Release(p, FramePool::kLargest);
  EXPECT_EQ(pool.cached_bytes(), kFit * FramePool::kLargest);
  // A smaller one goes back too, unless there is room.
  constexpr size_t kSmall = FramePool::BlockSize(1);
  constexpr size_t kRoom =
      (FramePool::kMaxCachedBytes - kFit * FramePool::kLargest) / kSmall;
  std::vector<void*> small;
  for (size_t i = 0; i < kRoom + 3; ++i) small.push_back(pool.Allocate(1));
  for (void* p : small) pool.Release(p, 1);
  constexpr size_t kFull = kFit * FramePool::kLargest + kRoom * kSmall;
  EXPECT_EQ(pool.cached_bytes(), kFull);
  void* p = pool.Allocate(FramePool::kLargest);
  void* q = ::operator new(kSmall);
  pool.Release(q, 1);
  EXPECT_EQ(pool.cached_bytes(), kFull - FramePool::kLargest + kSmall);
  pool.Release(p, FramePool::kLargest);
  EXPECT_LE(pool.cached_bytes(), FramePool::kMaxCachedBytes);
}

// Random use: no block is given out twice, and the count is right.
TEST(FramePool, NoBlockIsGivenOutTwice) {
  FramePool pool;
  std::mt19937 random(7);
  struct Held {
    uint32_t* words;
    size_t size;
    uint32_t stamp;
  };
  std::vector<Held> held;
  uint32_t stamp = 0;
  for (int step = 0; step < 100'000; ++step) {
    if (held.empty() || (held.size() < 1000 && random() % 2 == 0)) {
      const size_t size = 8 + random() % (FramePool::kLargest - 8);
      auto* words = static_cast<uint32_t*>(pool.Allocate(size));
      words[0] = words[size / 4 - 1] = ++stamp;
      held.push_back({words, size, stamp});
    } else {
      std::swap(held[random() % held.size()], held.back());
      const Held last = held.back();
      held.pop_back();
      ASSERT_EQ(last.words[0], last.stamp);
      ASSERT_EQ(last.words[last.size / 4 - 1], last.stamp);
      pool.Release(last.words, last.size);
    }
  }
  for (const Held& block : held) pool.Release(block.words, block.size);
}

// Frames of coroutines, on a loop. Under AddressSanitizer none is kept, so that
// a use after free is seen.

Task<int> Small() { co_return 1; }
// The compiler doesn't know what becomes of it, so it has to be in the frame.
void Keep(void* p) { asm volatile("" : : "g"(p) : "memory"); }
Task<int> Large() {
  std::array<int, 2000> numbers{};
  Keep(&numbers);
  co_await Checkpoint();
  Keep(&numbers);
  co_return numbers[1999] + 1;
}
LoopStats Stats() { return Loop::Current().stats(); }

TEST(FramePool, ALoopRecyclesFramesAndRecords) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    const bool pooled = BRAID_FRAME_POOL_ENABLED;
    auto round = []() -> Task<void> {
      (co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
        for (int i = 0; i < 10; ++i) group.Start("small", Small);
        co_return;
      })).IgnoreError();
    };
    co_await round();
    const uint64_t misses = Stats().frame_pool_misses;
    EXPECT_EQ(misses > 0, pooled);
    for (int i = 0; i < 100; ++i) co_await round();
    EXPECT_EQ(Stats().frame_pool_misses, misses);
    EXPECT_EQ(Stats().frame_pool_bytes > 0, pooled);
  });
}

TEST(FramePool, LargeFramesAreNotKept) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    const uint64_t bytes = Stats().frame_pool_bytes;
    const uint64_t misses = Stats().frame_pool_misses;
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(co_await Large(), 1);
    }
    EXPECT_EQ(Stats().frame_pool_bytes, bytes);
    EXPECT_EQ(Stats().frame_pool_misses, misses);
  });
}

// A frame may be made where there is no loop and end on one, and the other way
// round.
TEST(FramePool, FramesMayCrossLoopsAndThreads) {
  std::vector<Task<int>> made_here;
  for (int i = 0; i < 100; ++i) made_here.push_back(Small());
  std::vector<Task<int>> made_there;
  RunInOrder([&](VirtualTime&) -> Task<void> {
    for (Task<int>& task : made_here) EXPECT_EQ(co_await std::move(task), 1);
    for (int i = 0; i < 100; ++i) made_there.push_back(Small());
  });
  made_here.clear();
  // On the next loop, on another thread.
  std::thread([&] {
    RunInOrder([&](VirtualTime&) -> Task<void> {
      while (made_there.size() > 50) {
        Task<int> task = std::move(made_there.back());
        made_there.pop_back();
        EXPECT_EQ(co_await std::move(task), 1);
      }
    });
  }).join();
  made_there.clear();  // never run, and no loop here
}

}  // namespace
}  // namespace braid::detail
