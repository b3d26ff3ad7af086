#include "braid/testing/allocations.h"

#include <cstdlib>
#include <new>

namespace {

uint64_t allocations = 0;
size_t last_size = 0;

void* CountedAllocate(size_t size) {
  ++allocations;
  last_size = size;
  void* p = std::malloc(size);
  if (p == nullptr) std::abort();
  return p;
}

}  // namespace

void* operator new(size_t size) { return CountedAllocate(size); }
void* operator new[](size_t size) { return CountedAllocate(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace braid {

uint64_t Allocations() { return allocations; }
size_t LastAllocationSize() { return last_size; }

}  // namespace braid
