#include "braid/testing/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

uint64_t allocations = 0;
uint64_t frees = 0;
size_t last_size = 0;
constinit std::atomic<braid::AllocationWatcher*> watcher = nullptr;

void* CountedAllocate(size_t size) {
  if (braid::AllocationWatcher* watching =
          watcher.load(std::memory_order_acquire);
      watching != nullptr && watching->Fails(size)) {
    throw std::bad_alloc();
  }
  ++allocations;
  last_size = size;
  void* p = std::malloc(size);
  if (p == nullptr) std::abort();
  return p;
}

void CountedFree(void* p) noexcept {
  if (p != nullptr) ++frees;
  std::free(p);
}

}  // namespace

void* operator new(size_t size) { return CountedAllocate(size); }
void* operator new[](size_t size) { return CountedAllocate(size); }
void operator delete(void* p) noexcept { CountedFree(p); }
void operator delete[](void* p) noexcept { CountedFree(p); }
void operator delete(void* p, size_t) noexcept { CountedFree(p); }
void operator delete[](void* p, size_t) noexcept { CountedFree(p); }

namespace braid {

uint64_t Allocations() { return allocations; }
uint64_t AllocationsAlive() { return allocations - frees; }
size_t LastAllocationSize() { return last_size; }

void WatchAllocations(AllocationWatcher* its_watcher) {
  watcher.store(its_watcher, std::memory_order_release);
}

}  // namespace braid
