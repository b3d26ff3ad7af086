// Chunk: bytes that were received into memory of the backend, lent to whoever
// asked for them.
//
// For: receiving without a buffer of one's own: a connection that waits holds
// none. Not for: keeping bytes; a chunk goes back soon, or those who read from
// the same socket wait for it.

#ifndef BRAID_BACKEND_CHUNK_H_
#define BRAID_BACKEND_CHUNK_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "braid/backend/byte_view.h"

namespace braid {

class Descriptor;

namespace detail {

// Equal pieces of memory. The one that came back last is the next one lent: it
// is in the processor's cache.
class ChunkPool {
 public:
  static constexpr size_t kChunkSize = size_t{16} * 1024;
  // What is kept for the next time, at most.
  static constexpr size_t kMaxFree = 64;

  ChunkPool() { free_.reserve(kMaxFree); }

  std::unique_ptr<std::byte[]> Take() {
    if (free_.empty())
      return std::make_unique_for_overwrite<std::byte[]>(kChunkSize);
    std::unique_ptr<std::byte[]> chunk = std::move(free_.back());
    free_.pop_back();
    return chunk;
  }
  void Return(std::unique_ptr<std::byte[]> chunk) {
    if (free_.size() < kMaxFree) free_.push_back(std::move(chunk));
  }

 private:
  std::vector<std::unique_ptr<std::byte[]>> free_;
};

}  // namespace detail

// Move-only; the memory goes back when it goes. It may outlive the socket, not
// the backend. Threads: the loop's.
class Chunk {
 public:
  // No bytes.
  Chunk() = default;
  Chunk(Chunk&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, nullptr)),
        memory_(std::move(other.memory_)),
        size_(std::exchange(other.size_, 0)) {}
  Chunk& operator=(Chunk&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Chunk();

  // May be written to.
  std::span<std::byte> bytes() const { return {memory_.get(), size_}; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(memory_.get()), size_};
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // So that it can be sent as it is.
  std::byte* begin() const { return memory_.get(); }
  std::byte* end() const { return memory_.get() + size_; }

  // For backends: `descriptor` lends `memory`.
  Chunk(Descriptor& descriptor, std::unique_ptr<std::byte[]> memory,
        size_t size);

 private:
  Descriptor* descriptor_ = nullptr;
  std::unique_ptr<std::byte[]> memory_;
  size_t size_ = 0;
};

}  // namespace braid

#endif  // BRAID_BACKEND_CHUNK_H_
