// Sockets of the operating system, for the backends that use them: making,
// examining, and sending datagrams with the addresses at both ends. Not for
// programs: those use sdk/net.

#ifndef BRAID_BACKEND_POSIX_SOCKET_H_
#define BRAID_BACKEND_POSIX_SOCKET_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/system_call.h"

namespace braid::detail {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void Reset();

 private:
  int fd_ = -1;
};

// A non-blocking, close-on-exec socket as `request` describes it, bound and
// listening as far as that says so.
absl::StatusOr<UniqueFd> OpenSocket(const SocketRequest& request);

// Checks that `fd` is a socket of that kind and makes it non-blocking. For
// kPollable: that it is open.
absl::Status PrepareAdopted(int fd, IoKind kind);

SocketInfo InspectSocket(int fd);
SocketAddress LocalAddressOf(int fd);
SocketAddress PeerAddressOf(int fd);

// Whether datagrams that arrive at this socket have to say where they were sent
// to: it is bound to more than one address.
bool WantsDestination(int fd, const SocketAddress& local);

// Whether a message may carry a run of datagrams out (UDP_SEGMENT).
bool TakesRuns(int fd);
// Whether one that comes in may be such a run (UDP_GRO), and asking for it.
bool GivesRuns(int fd);
bool AskForRuns(int fd);

// Has `message` receive into `room`, by way of `part`, and say who sent it.
inline void SetReceiving(msghdr& message, iovec& part,
                         std::span<std::byte> room, SocketAddress& peer) {
  part = {room.data(), room.size()};
  message.msg_name = peer.raw();
  message.msg_namelen = SocketAddress::kCapacity;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
}

// Room for the ancillary data of one datagram: its destination.
union DestinationControl {
  cmsghdr header;  // aligns it
  unsigned char bytes[CMSG_SPACE(sizeof(in6_pktinfo))];
};

// The address in the ancillary data of a received message, with the port of
// `bound`; empty if there is none.
SocketAddress DestinationOf(const msghdr& message, const SocketAddress& bound);
// Fills `control` so that `message` leaves from `source`.
void SetSource(msghdr& message, DestinationControl& control,
               const SocketAddress& source);

// Room for that of one message that is sent: its source, and the size of the
// datagrams in it.
union SendControl {
  DestinationControl source;
  unsigned char
      bytes[CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

// Has `message` leave as datagrams of `size` bytes, the last one of what is
// left. After SetSource.
void SetSegmentSize(msghdr& message, SendControl& control, uint16_t size);
// The size of the datagrams in a received message; 0: it is one.
size_t SegmentSizeOf(const msghdr& message);

}  // namespace braid::detail

#endif  // BRAID_BACKEND_POSIX_SOCKET_H_
