// MergedDatagrams: datagrams that the kernel hands over many at a time, as one
// message (UDP_GRO, udp(7)), and that are taken one by one.
//
// For a socket whose receiver asked for offload. What the kernel has merged
// comes from one sender, and all but the last are of one size; what it hasn't
// comes as always. Datagrams that nobody has asked for yet wait here.

#ifndef BRAID_BACKEND_MERGED_DATAGRAMS_H_
#define BRAID_BACKEND_MERGED_DATAGRAMS_H_

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "braid/backend/datagram.h"
#include "braid/backend/socket_address.h"

namespace braid::detail {

class PosixDescriptor;

class MergedDatagrams {
 public:
  MergedDatagrams();

  bool empty() const { return rest_.empty() && next_ == received_; }

  // Receives messages, as many as there are and as there is room for: to be
  // called while it is empty. An errno; EAGAIN: there is none. `drained`: there
  // was less than there was room for.
  int Fill(const PosixDescriptor& descriptor, bool& drained);
  // Has the next Fill give this error.
  void TellLater(int error) { error_ = error; }

  // Copies the first one into `datagram`, whose data says how much room there
  // is.
  void PopInto(const PosixDescriptor& descriptor, Datagram& datagram);

 private:
  // Of one system call. As a merged message carries dozens, it needs few.
  static constexpr size_t kMessages = 16;

  // Whatever options an adopted socket may have, the size of the segments is
  // found.
  union Control {
    cmsghdr header;  // aligns it
    unsigned char bytes[256];
  };

  // Turns to the next message.
  void Open(const PosixDescriptor& descriptor);
  std::span<std::byte> Room(size_t index) const;

  std::unique_ptr<std::byte[]> storage_;  // only what is used becomes memory
  std::array<mmsghdr, kMessages> messages_ = {};
  std::array<iovec, kMessages> parts_;
  std::array<Control, kMessages> controls_;
  std::array<SocketAddress, kMessages> peers_;
  size_t received_ = 0;
  size_t next_ = 0;
  int error_ = 0;

  // Of the message at hand: what is left of it, how long each datagram in it
  // is, and between whom.
  std::span<const std::byte> rest_;
  size_t segment_ = 0;
  SocketAddress peer_;
  SocketAddress local_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_MERGED_DATAGRAMS_H_
