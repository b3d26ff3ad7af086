#include "braid/backend/uring/chunk_ring.h"

#include <sys/mman.h>

#include <utility>

namespace braid::detail {
namespace {

constexpr size_t kSize = ChunkRing::kChunks * sizeof(io_uring_buf);

}  // namespace

std::unique_ptr<ChunkRing> ChunkRing::Make(io_uring& ring, ChunkPool& pool) {
  void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  std::unique_ptr<ChunkRing> chunks(
      new ChunkRing(static_cast<io_uring_buf_ring*>(memory), pool));
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory);
  registration.ring_entries = kChunks;
  registration.bgid = kGroup;
  if (io_uring_register_buf_ring(&ring, &registration, 0) != 0) return nullptr;
  for (unsigned i = 0; i < kChunks; ++i) chunks->Give(static_cast<uint16_t>(i));
  return chunks;
}

ChunkRing::ChunkRing(io_uring_buf_ring* places, ChunkPool& pool)
    : places_(places), pool_(pool) {
  io_uring_buf_ring_init(places_);
}

ChunkRing::~ChunkRing() { ::munmap(places_, kSize); }

std::unique_ptr<std::byte[]> ChunkRing::Take(uint16_t index) {
  std::unique_ptr<std::byte[]> chunk = std::move(chunks_[index]);
  Give(index);
  return chunk;
}

void ChunkRing::Give(uint16_t index) {
  chunks_[index] = pool_.Take();
  io_uring_buf_ring_add(places_, chunks_[index].get(), ChunkPool::kChunkSize,
                        index, io_uring_buf_ring_mask(kChunks), 0);
  io_uring_buf_ring_advance(places_, 1);
}

}  // namespace braid::detail
