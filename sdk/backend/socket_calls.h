// The system calls of sockets, made at once and without waiting: what an
// operation comes down to, on every backend that lets the kernel do it now.
//
// Each fills its operation in. False: it would block, and nothing has happened.

#ifndef BRAID_BACKEND_SOCKET_CALLS_H_
#define BRAID_BACKEND_SOCKET_CALLS_H_

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "braid/backend/io_operation.h"
#include "braid/backend/posix_backend.h"
#include "braid/backend/posix_socket.h"

namespace braid::detail {

// For the batch calls, which take arrays of pointers to everything.
class BatchScratch {
 public:
  // Datagrams sent or received by one system call.
  static constexpr size_t kMaxBatch = 64;

  // `drained`: there was less than there was room for.
  bool Receive(PosixDescriptor& descriptor, ReceiveBatchOperation& operation,
               bool& drained);
  // Where the kernel takes runs of datagrams, each goes as one message; one
  // that it refuses goes datagram by datagram.
  bool Send(const PosixDescriptor& descriptor, SendBatchOperation& operation);

 private:
  static bool ReceiveMerged(PosixDescriptor& descriptor,
                            ReceiveBatchOperation& operation, bool& drained);
  // A message for each run of `batch`, none in the first `single`; how many.
  size_t Prepare(const PosixDescriptor& descriptor,
                 std::span<const Datagram> batch, size_t single);

  std::array<mmsghdr, kMaxBatch> messages_;
  std::array<iovec, kMaxBatch> parts_;
  std::array<SendControl, kMaxBatch> controls_;
  std::array<uint8_t, kMaxBatch> runs_;  // datagrams in each message
};

bool CallReceiveFrom(PosixDescriptor& descriptor,
                     ReceiveFromOperation& operation);
bool CallSendTo(const PosixDescriptor& descriptor, SendToOperation& operation);

// The bytes that came, 0 at the end of the stream, or a negative errno.
ssize_t CallReceive(int fd, std::span<std::byte> buffer);
// The bytes that went out, or a negative errno.
ssize_t CallSend(int fd, std::span<const std::byte> data);

// The new descriptor, or a negative errno.
int CallAccept(int fd, SocketAddress& peer);

// Errors of accept that are about one connection, which is gone: the next one
// may be there (accept(2)).
bool AboutOneConnection(int error);

// Whether a stream is of no use after this error: all but a passing lack of
// memory.
bool EndsConnection(int error);

bool WouldBlock(int error);

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SOCKET_CALLS_H_
