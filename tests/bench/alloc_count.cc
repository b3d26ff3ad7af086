// Counts every allocation of a process. Preloaded (LD_PRELOAD) in counting runs
// only, so that timed runs pay nothing for it. operator new ends in malloc and
// is counted there. Not for: bytes, or who allocated.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

extern "C" {

// glibc's own names for what is defined below.
// NOLINTBEGIN(bugprone-reserved-identifier)
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
// NOLINTEND(bugprone-reserved-identifier)

static constinit std::atomic<uint64_t> allocations{0};

static void Count() { allocations.fetch_add(1, std::memory_order_relaxed); }

uint64_t BraidBenchAllocations() {
  return allocations.load(std::memory_order_relaxed);
}

void* malloc(size_t size) {
  Count();
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  Count();
  return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) {
  Count();
  return __libc_realloc(old, size);
}

void* memalign(size_t alignment, size_t size) {
  Count();
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

int posix_memalign(void** result, size_t alignment, size_t size) {
  *result = memalign(alignment, size);
  return *result == nullptr ? ENOMEM : 0;
}

}  // extern "C"
