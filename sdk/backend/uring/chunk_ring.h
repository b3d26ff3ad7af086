// ChunkRing: chunks that the kernel takes one from when there are bytes for it,
// so that a connection that waits holds none.
//
// Shared by the streams of a ring (io_uring_register_buf_ring(3)).

#ifndef BRAID_BACKEND_URING_CHUNK_RING_H_
#define BRAID_BACKEND_URING_CHUNK_RING_H_

#include <liburing.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "braid/backend/chunk.h"

namespace braid::detail {

class ChunkRing {
 public:
  static constexpr uint16_t kGroup = 2;
  // What can come between two looks at the completions; a power of two.
  static constexpr unsigned kChunks = 64;

  // nullptr: the kernel is older than 5.19, or memory is short. `pool` outlives
  // it.
  static std::unique_ptr<ChunkRing> Make(io_uring& ring, ChunkPool& pool);
  ChunkRing(const ChunkRing&) = delete;
  ChunkRing& operator=(const ChunkRing&) = delete;
  // The ring is gone by then, or has no request that uses it.
  ~ChunkRing();

  // The chunk that the kernel took; it is given another.
  std::unique_ptr<std::byte[]> Take(uint16_t index);

 private:
  ChunkRing(io_uring_buf_ring* places, ChunkPool& pool);
  void Give(uint16_t index);

  io_uring_buf_ring* places_;
  ChunkPool& pool_;
  std::array<std::unique_ptr<std::byte[]>, kChunks> chunks_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_URING_CHUNK_RING_H_
