#include "braid/backend/uring/datagram_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "braid/core/check.h"

namespace braid::detail {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kPage = 4096;
constexpr size_t kLargest = 65535;
constexpr size_t kHeader = sizeof(io_uring_recvmsg_out) +
                           SocketAddress::kCapacity +
                           sizeof(DestinationControl);
// Not a multiple of the page: all the beginnings would fall into the same sets
// of the processor's cache.
constexpr size_t kStride =
    (kHeader + kLargest + kCacheLine - 1) / kCacheLine * kCacheLine +
    kCacheLine;
static_assert(kStride % kPage != 0);

}  // namespace

std::unique_ptr<DatagramPool> DatagramPool::Make(io_uring& ring,
                                                 unsigned count) {
  const size_t size = count * (sizeof(io_uring_buf) + kStride);
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // A huge page would be memory that nothing is in.
  ::madvise(memory, size, MADV_NOHUGEPAGE);
  std::unique_ptr<DatagramPool> pool(
      new DatagramPool(count, static_cast<std::byte*>(memory), size));
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory);
  registration.ring_entries = count;
  registration.bgid = kGroup;
  if (io_uring_register_buf_ring(&ring, &registration, 0) != 0) return nullptr;
  for (unsigned i = 0; i < count; ++i) pool->Recycle(static_cast<uint16_t>(i));
  return pool;
}

DatagramPool::DatagramPool(unsigned count, std::byte* memory, size_t size)
    : count_(count),
      memory_(memory),
      size_(size),
      pieces_(reinterpret_cast<io_uring_buf_ring*>(memory)),
      filled_(count) {
  io_uring_buf_ring_init(pieces_);
}

DatagramPool::~DatagramPool() { ::munmap(memory_, size_); }

std::byte* DatagramPool::Piece(uint16_t index) const {
  return memory_ + count_ * sizeof(io_uring_buf) + index * kStride;
}

void DatagramPool::Recycle(uint16_t index) {
  io_uring_buf_ring_add(pieces_, Piece(index), kStride, index,
                        io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(pieces_, 1);
  ++available_;
}

void DatagramPool::Push(Queue& queue, uint16_t index, uint32_t filled) {
  filled_[index].size = filled;
  if (queue.size++ == 0) {
    queue.first = index;
  } else {
    filled_[queue.last].next = index;
  }
  queue.last = index;
}

uint16_t DatagramPool::Pop(Queue& queue) {
  const uint16_t index = queue.first;
  queue.first = filled_[index].next;
  --queue.size;
  return index;
}

void DatagramPool::PopInto(Queue& queue, Datagram& datagram,
                           const msghdr& shape, const SocketAddress& bound) {
  const uint16_t index = Pop(queue);
  const std::byte* piece = Piece(index);
  io_uring_recvmsg_out out;
  std::memcpy(&out, piece, sizeof out);
  const std::byte* name = piece + sizeof out;
  const std::byte* control = name + shape.msg_namelen;
  const std::byte* payload = control + shape.msg_controllen;

  std::memcpy(datagram.peer.raw(), name,
              std::min<size_t>(out.namelen, SocketAddress::kCapacity));
  if (shape.msg_controllen > 0) {
    DestinationControl copy;
    std::memcpy(&copy, control, sizeof copy);
    msghdr message = {};
    message.msg_control = &copy;
    message.msg_controllen = out.controllen;
    datagram.local = DestinationOf(message, bound);
  } else {
    datagram.local = bound;
  }
  datagram.size = out.payloadlen;
  const size_t copied = std::min<size_t>(out.payloadlen, datagram.data.size());
  std::memcpy(datagram.data.data(), payload, copied);
  datagram.data = std::span(datagram.data).first(copied);
  Recycle(index);
}

void DatagramPool::Drop(Queue& queue) {
  while (queue.size > 0) Recycle(Pop(queue));
}

}  // namespace braid::detail
