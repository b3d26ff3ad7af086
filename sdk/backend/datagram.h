// Datagrams as they are received, and the memory that batches of them are lent
// from.

#ifndef BRAID_BACKEND_DATAGRAM_H_
#define BRAID_BACKEND_DATAGRAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "braid/backend/byte_view.h"
#include "braid/backend/socket_address.h"

namespace braid {

// One datagram. `data` refers to the buffer it was received into.
struct Datagram {
  MutableByteView data;
  // Who sent it; on the way out, whom it is for.
  SocketAddress peer;
  // The address of this machine it was sent to, with the socket's port; on the
  // way out, the address to send from (empty: the system chooses). On a socket
  // bound to one address it is that address.
  SocketAddress local;
  // Its length on the wire. More than data.size(): the buffer was too small,
  // and the rest is lost.
  size_t size = 0;

  bool truncated() const { return size > data.size(); }
};

namespace detail {

// Room for one batch.
struct DatagramBlock {
  DatagramBlock(size_t count, size_t datagram_size);

  // The room for the datagram at `index`, of datagram_size bytes.
  std::span<std::byte> Room(size_t index) {
    return {storage.get() + index * stride, datagram_size};
  }

  std::vector<Datagram> datagrams;
  size_t received = 0;  // how many of them are filled
  size_t datagram_size;
  size_t stride;
  std::unique_ptr<std::byte[]> storage;
};

// The blocks of one socket. Made as they are needed, up to a limit, and kept.
class DatagramSlab {
 public:
  DatagramSlab(size_t batch_size, size_t datagram_size, size_t max_blocks)
      : batch_size_(batch_size),
        datagram_size_(datagram_size),
        max_blocks_(max_blocks) {}

  bool available() const { return !free_.empty() || made_ < max_blocks_; }
  // One that is available.
  std::unique_ptr<DatagramBlock> Take();
  void Return(std::unique_ptr<DatagramBlock> block) {
    free_.push_back(std::move(block));
  }

 private:
  size_t batch_size_;
  size_t datagram_size_;
  size_t max_blocks_;
  size_t made_ = 0;
  // The last one returned is the next one lent: it is in the processor's cache.
  std::vector<std::unique_ptr<DatagramBlock>> free_;
};

}  // namespace detail
}  // namespace braid

#endif  // BRAID_BACKEND_DATAGRAM_H_
