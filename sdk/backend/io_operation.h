// What a backend can be asked to do: tagged structs, the common base of every
// awaitable that does I/O.
//
// For: backends, and the sockets built on them. Each struct says what it takes
// and what it gives. An operation's memory, and what it points to, belongs to
// the backend from Submit until it has completed or was stopped.

#ifndef BRAID_BACKEND_IO_OPERATION_H_
#define BRAID_BACKEND_IO_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "braid/backend/backend.h"
#include "braid/backend/byte_view.h"
#include "braid/backend/chunk.h"
#include "braid/backend/datagram.h"
#include "braid/backend/errno_status.h"
#include "braid/backend/socket_address.h"
#include "braid/core/operation.h"

namespace braid {

// Backends switch over these without a default, so that the compiler finds what
// one of them leaves out.
enum class IoCode : uint8_t {
  kReceive,
  kReceiveChunk,
  kSend,
  kReceiveFrom,
  kSendTo,
  kReceiveBatch,
  kSendBatch,
  kAccept,
  kConnect,
  kShutdown,
  kPoll,
};

class IoOperation : public OperationBase {
 public:
  IoCode code() const { return code_; }
  IoDirection direction() const { return direction_; }
  Descriptor& descriptor() const { return *descriptor_; }

  bool Try();
  void Suspend() {}
  void Cancel() noexcept override;

  // For backends, after Submit said false.
  using OperationBase::Complete;
  using OperationBase::Stop;
  // Stops it where only its descriptor knows of it: it waits, and nothing is
  // under way.
  void Withdraw() noexcept;

  // An errno of what went wrong, 0 if it went well. EBADF: closed by this side.
  // EBUSY: another task is at it.
  int error = 0;

 protected:
  IoOperation(IoCode code, IoDirection direction, Descriptor* descriptor)
      : descriptor_(descriptor), code_(code), direction_(direction) {}
  ~IoOperation() = default;

  // The error as a status: "<doing> on <descriptor>: <why>".
  absl::Status Error(std::string_view doing) const noexcept;
  absl::Status Error(absl::FunctionRef<std::string()> doing) const noexcept;

 private:
  DescriptorRef descriptor_;
  IoCode code_;
  IoDirection direction_;
};

// Receives from a stream what is there, at least one byte. Gives `size`; 0 is
// the end of the stream.
class ReceiveOperation : public IoOperation {
 public:
  std::span<std::byte> buffer;
  size_t size = 0;

 protected:
  ReceiveOperation(Descriptor* descriptor, std::span<std::byte> buffer)
      : IoOperation(IoCode::kReceive, IoDirection::kIn, descriptor),
        buffer(buffer) {}
};

// The same into memory of the backend. Waits also while kMaxLentChunks are
// lent. Gives `chunk`; an empty one is the end of the stream.
class ReceiveChunkOperation : public IoOperation {
 public:
  Chunk chunk;

 protected:
  explicit ReceiveChunkOperation(Descriptor* descriptor)
      : IoOperation(IoCode::kReceiveChunk, IoDirection::kIn, descriptor) {}
};

// Sends all of `data` on a stream. `done` counts; stopped after some went out,
// it leaves the rest in descriptor().torn.
class SendOperation : public IoOperation {
 public:
  std::span<const std::byte> data;
  size_t done = 0;

  // It ends here, perhaps half-way.
  void LeaveRest() {
    if (done > 0) descriptor().torn = data.size() - done;
  }

 protected:
  SendOperation(Descriptor* descriptor, std::span<const std::byte> data)
      : IoOperation(IoCode::kSend, IoDirection::kOut, descriptor), data(data) {}
};

// Receives one datagram into `datagram.data`, which it shortens to what came.
class ReceiveFromOperation : public IoOperation {
 public:
  Datagram datagram;

 protected:
  ReceiveFromOperation(Descriptor* descriptor, std::span<std::byte> buffer)
      : IoOperation(IoCode::kReceiveFrom, IoDirection::kIn, descriptor) {
    datagram.data = buffer;
  }
};

// Sends one datagram: to `peer`, or, if that is empty, to what the socket is
// connected to; from `local`, unless that is empty.
class SendToOperation : public IoOperation {
 public:
  std::span<const std::byte> data;
  SocketAddress peer;
  SocketAddress local;

 protected:
  SendToOperation(Descriptor* descriptor, std::span<const std::byte> data,
                  const SocketAddress& peer, const SocketAddress& local)
      : IoOperation(IoCode::kSendTo, IoDirection::kOut, descriptor),
        data(data),
        peer(peer),
        local(local) {}
};

// Receives up to a block full of datagrams, at least one, into a block of
// descriptor().slab; waits while that has none. Gives `block`, and in it how
// many came.
class ReceiveBatchOperation : public IoOperation {
 public:
  std::unique_ptr<detail::DatagramBlock> block;

 protected:
  explicit ReceiveBatchOperation(Descriptor* descriptor)
      : IoOperation(IoCode::kReceiveBatch, IoDirection::kIn, descriptor) {}
};

// Sends as many of `datagrams`, from the front, as there is room for, at least
// one. Gives `sent`. An error is that of the first one; one that comes later
// ends the batch before the datagram it is about.
class SendBatchOperation : public IoOperation {
 public:
  std::span<const Datagram> datagrams;
  size_t sent = 0;

 protected:
  SendBatchOperation(Descriptor* descriptor,
                     std::span<const Datagram> datagrams)
      : IoOperation(IoCode::kSendBatch, IoDirection::kOut, descriptor),
        datagrams(datagrams) {}
};

// Takes the next connection. Gives `accepted`.
class AcceptOperation : public IoOperation {
 public:
  IoHandle accepted;

 protected:
  explicit AcceptOperation(Descriptor* descriptor)
      : IoOperation(IoCode::kAccept, IoDirection::kIn, descriptor) {}
};

// Connects to `peer`. A descriptor whose connect was stopped can only be
// released.
class ConnectOperation : public IoOperation {
 public:
  SocketAddress peer;
  bool started = false;  // for backends

 protected:
  ConnectOperation(Descriptor* descriptor, const SocketAddress& peer)
      : IoOperation(IoCode::kConnect, IoDirection::kOut, descriptor),
        peer(peer) {}
};

// Tells the peer of a stream that nothing more comes.
class ShutdownOperation : public IoOperation {
 protected:
  explicit ShutdownOperation(Descriptor* descriptor)
      : IoOperation(IoCode::kShutdown, IoDirection::kOut, descriptor) {}
};

// Waits until a kPollable is readable or writable, or has an error or an end to
// tell.
class PollOperation : public IoOperation {
 protected:
  PollOperation(Descriptor* descriptor, IoDirection direction)
      : IoOperation(IoCode::kPoll, direction, descriptor) {}
};

// Waits until a descriptor that was released is really gone.
class CloseOperation final : public OperationBase,
                             public detail::IntrusiveListNode {
 public:
  explicit CloseOperation(Descriptor* descriptor) : descriptor_(descriptor) {}

  bool Try() { return descriptor_->released_; }
  void Suspend();
  void Cancel() noexcept override;
  void TakeResult() noexcept {}

 private:
  friend class Descriptor;
  DescriptorRef descriptor_;
};

// Releases what `handle` owns, now; awaiting the result completes when it is
// gone. A task that is cancelled doesn't wait.
inline auto CloseHandle(IoHandle& handle) {
  Descriptor* descriptor = handle.Use();
  handle.Release();
  return Operation<CloseOperation, Descriptor*>(descriptor);
}

}  // namespace braid

#endif  // BRAID_BACKEND_IO_OPERATION_H_
