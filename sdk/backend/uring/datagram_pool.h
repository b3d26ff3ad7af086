// DatagramPool: memory that the kernel puts datagrams into before anyone has
// asked for them.
//
// Shared by the UDP sockets of a ring (io_uring_register_buf_ring(3)). Each
// piece has room for the largest datagram there is, but only what was once
// filled is memory: 1 MiB where datagrams are small.

#ifndef BRAID_BACKEND_URING_DATAGRAM_POOL_H_
#define BRAID_BACKEND_URING_DATAGRAM_POOL_H_

#include <liburing.h>
#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "braid/backend/datagram.h"
#include "braid/backend/posix_socket.h"

namespace braid::detail {

class DatagramPool {
 public:
  static constexpr uint16_t kGroup = 1;

  // `count` is a power of two. nullptr: the kernel is older than 5.19, or
  // memory is short.
  static std::unique_ptr<DatagramPool> Make(io_uring& ring, unsigned count);
  DatagramPool(const DatagramPool&) = delete;
  DatagramPool& operator=(const DatagramPool&) = delete;
  // The ring is gone by then, or has no request that uses it.
  ~DatagramPool();

  // Pieces that the kernel may fill.
  unsigned available() const { return available_; }
  void Taken() { --available_; }
  // Gives a piece to the kernel.
  void Recycle(uint16_t index);

  // Datagrams of one socket, in the order they came.
  struct Queue {
    uint16_t first = 0;
    uint16_t last = 0;
    unsigned size = 0;
  };
  // `filled` is how much of the piece the kernel says to have used.
  void Push(Queue& queue, uint16_t index, uint32_t filled);
  // Copies the first one into `datagram`, whose data says how much room there
  // is, and recycles its piece. `shape` is what the receive was made with;
  // where that asks for a destination, `bound` is the socket's own address.
  void PopInto(Queue& queue, Datagram& datagram, const msghdr& shape,
               const SocketAddress& bound);
  void Drop(Queue& queue);

 private:
  DatagramPool(unsigned count, std::byte* memory, size_t size);
  std::byte* Piece(uint16_t index) const;
  uint16_t Pop(Queue& queue);

  struct Filled {
    uint32_t size = 0;
    uint16_t next = 0;
  };

  unsigned count_;
  unsigned available_ = 0;
  std::byte* memory_;
  size_t size_;
  io_uring_buf_ring* pieces_;
  std::vector<Filled> filled_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_URING_DATAGRAM_POOL_H_
