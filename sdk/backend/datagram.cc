#include "braid/backend/datagram.h"

namespace braid::detail {
namespace {

// Rooms whose distance is a power of two would all fall into the same few sets
// of the processor's cache.
constexpr size_t kCacheLine = 64;

}  // namespace

DatagramBlock::DatagramBlock(size_t count, size_t datagram_size)
    : datagrams(count),
      datagram_size(datagram_size),
      stride((datagram_size + kCacheLine - 1) / kCacheLine * kCacheLine +
             kCacheLine),
      storage(std::make_unique_for_overwrite<std::byte[]>(count * stride)) {}

std::unique_ptr<DatagramBlock> DatagramSlab::Take() {
  if (free_.empty()) {
    ++made_;
    free_.reserve(made_);  // so that returning never allocates
    return std::make_unique<DatagramBlock>(batch_size_, datagram_size_);
  }
  std::unique_ptr<DatagramBlock> block = std::move(free_.back());
  free_.pop_back();
  return block;
}

}  // namespace braid::detail
