// Recycled memory for coroutine frames and the records of started tasks.
//
// A free list per size class, owned by one loop and used by its thread alone:
// no lock, no atomic. A class is 64 bytes with the 8 that malloc keeps for
// itself. Blocks come from operator new, rounded up to their class, so one may
// be freed on a thread that has no loop and one made there may be recycled
// here. Large frames are never cached, and under AddressSanitizer none is, so
// that a use after free is seen. Not for: anything whose size is not known at
// the time of the release.

#ifndef BRAID_CORE_DETAIL_FRAME_POOL_H_
#define BRAID_CORE_DETAIL_FRAME_POOL_H_

#include <cstddef>
#include <cstdint>
#include <new>

namespace braid::detail {

#if defined(__SANITIZE_ADDRESS__)
#define BRAID_FRAME_POOL_ENABLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BRAID_FRAME_POOL_ENABLED 0
#endif
#endif
#ifndef BRAID_FRAME_POOL_ENABLED
#define BRAID_FRAME_POOL_ENABLED 1
#endif

class FramePool {
 public:
  static constexpr size_t kGranule = 64;
  static constexpr size_t kClasses = 32;
  static constexpr size_t kMallocsOwn = 8;
  static constexpr size_t kLargest = kGranule * kClasses - kMallocsOwn;
  // What is kept for reuse, at most. Above it, blocks go back to operator
  // delete.
  static constexpr size_t kMaxCachedBytes = size_t{256} << 20;

  // The size of the block that something of `size` bytes gets.
  static constexpr size_t BlockSize(size_t size) {
    return (ClassOf(size) + 1) * kGranule - kMallocsOwn;
  }

  FramePool() = default;
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  ~FramePool() { Trim(); }

  void* Allocate(size_t size) {
    const size_t cls = ClassOf(size);
    if (Block* block = free_[cls]; block != nullptr) [[likely]] {
      free_[cls] = block->next;
      cached_bytes_ -= BlockSize(size);
      return block;
    }
    return AllocateFresh(BlockSize(size));
  }

  void Release(void* p, size_t size) noexcept {
    const size_t cls = ClassOf(size);
    const size_t bytes = BlockSize(size);
    if (cached_bytes_ + bytes > kMaxCachedBytes) [[unlikely]] {
      ::operator delete(p);
      return;
    }
    cached_bytes_ += bytes;
    free_[cls] = ::new (p) Block{free_[cls]};
  }

  // Gives what is cached back to operator delete.
  void Trim() noexcept;

  // Bytes waiting to be reused, and blocks that had to be newly made since the
  // start.
  size_t cached_bytes() const { return cached_bytes_; }
  uint64_t misses() const { return misses_; }

 private:
  struct Block {
    Block* next;
  };

  static constexpr size_t ClassOf(size_t size) {
    return (size + kMallocsOwn - 1) / kGranule;
  }

  void* AllocateFresh(size_t bytes) {
    ++misses_;
    return ::operator new(bytes);
  }

  Block* free_[kClasses] = {};
  size_t cached_bytes_ = 0;
  uint64_t misses_ = 0;
};

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_FRAME_POOL_H_
