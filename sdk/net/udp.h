// UdpSocket: sends and receives datagrams.
//
//   UdpSocket socket = co_await OrReturn(UdpSocket::Bind("127.0.0.1:7007"));
//   DatagramBuffer buffer;
//   for (;;) {
//     Datagram d = co_await OrReturn(socket.Receive(buffer));
//     co_await OrReturn(socket.Reply(d, d.data));
//   }
//
// A datagram is received whole or not at all; an empty one is a datagram; one
// that is longer than the buffer is cut, and says so. What the kernel throws
// away because the receive buffer is full is counted (Info().kernel_drops).
//
// For all awaitables here:
//   - Each is atomic: completed, it happened, and its result is delivered;
//     stopped, it did not, and no datagram is lost.
//   - One task at a time receives, and one sends: another gets Busy (IsBusy).
//   - The socket must stay where it is until the await is over, or be closed
//     first; buffers belong to the operation until then.
//   - After Close, and if the socket goes meanwhile: Closed (IsClosed). That
//     the peer of a *connected* socket refuses datagrams (ICMP port
//     unreachable) is an error of a later call, UNAVAILABLE, and passes: the
//     socket is still good.
//
// Threads: the loop's.

#ifndef BRAID_NET_UDP_H_
#define BRAID_NET_UDP_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/byte_view.h"
#include "braid/backend/datagram.h"
#include "braid/backend/io_operation.h"
#include "braid/backend/socket_address.h"
#include "braid/core/operation.h"

namespace braid {

// What is out of range is INVALID_ARGUMENT when the socket is made.
struct UdpOptions {
  // Lets several sockets, mostly of several shards, bind the same address; the
  // kernel spreads the senders over them.
  bool reuse_port = false;
  // An IPv6 socket that leaves IPv4 to others.
  bool v6_only = false;
  // Bytes; 0: the system's default. The kernel counts a small datagram as about
  // 700 bytes, and gives at most net.core.rmem_max to the unprivileged: see
  // Info() for what it gave.
  int receive_buffer = 0;
  int send_buffer = 0;
  // Of ReceiveBatch: datagrams per batch (at most 64), the room for each in
  // bytes, and how many batches may be lent at a time.
  size_t batch_size = 64;
  size_t batch_datagram_size = 2048;
  size_t max_batches = 4;
  // Segmentation offload (UDP_SEGMENT and UDP_GRO, udp(7)): the kernel takes,
  // and gives, a run of datagrams as one, which costs it little more than a
  // single one does. Operations and what they give stay the same:
  //   - SendBatch makes one of up to 64 datagrams in a row that are for one
  //     peer, from one address, and of one size (the last may be shorter). What
  //     the kernel refuses to take as one, such as datagrams longer than the
  //     path's MTU, goes one by one.
  //   - What the kernel has made one of, ReceiveBatch and Receive take apart.
  //     What isn't asked for yet waits in the socket, up to 1 MiB of it.
  //   - A run that is dropped on its way, or for want of room, is lost whole;
  //     Info().kernel_drops counts it as one.
  // On by request, as where runs are rare it only costs that memory and a copy
  // of what is received. Where the kernel or the backend has none, as in
  // simulations, nothing changes; Info().offload tells.
  bool offload = false;
};

// A place on the heap for one datagram of any size. Only what is used becomes
// memory.
class DatagramBuffer {
 public:
  static constexpr size_t kLargestDatagram = 65535;
  explicit DatagramBuffer(size_t size = kLargestDatagram)
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(size)),
        size_(size) {}

  std::byte* begin() const { return bytes_.get(); }
  std::byte* end() const { return bytes_.get() + size_; }
  std::byte* data() const { return bytes_.get(); }
  size_t size() const { return size_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  size_t size_;
};

// Datagrams that were received together, in memory that belongs to the socket
// and goes back to it when this goes. Move-only. It may outlive the socket, not
// the backend. Threads: the loop's.
class DatagramBatch {
 public:
  DatagramBatch(DatagramBatch&&) noexcept = default;
  DatagramBatch& operator=(DatagramBatch&& other) noexcept;
  ~DatagramBatch() { Return(); }

  // May be changed, for instance into what is to be sent.
  std::span<Datagram> datagrams() const {
    return block_ == nullptr
               ? std::span<Datagram>()
               : std::span(block_->datagrams).first(block_->received);
  }
  size_t size() const { return datagrams().size(); }
  Datagram* begin() const { return datagrams().data(); }
  Datagram* end() const { return datagrams().data() + size(); }
  Datagram& operator[](size_t i) const { return datagrams()[i]; }

 private:
  friend class UdpSocket;
  DatagramBatch(DescriptorRef descriptor,
                std::unique_ptr<detail::DatagramBlock> block)
      : descriptor_(std::move(descriptor)), block_(std::move(block)) {}
  void Return() noexcept;

  DescriptorRef descriptor_;
  std::unique_ptr<detail::DatagramBlock> block_;
};

class UdpSocket {
 public:
  // A socket that receives what is sent to `address`. Port 0 takes a free one
  // (see local_address). On an address of all interfaces, Reply sends from the
  // address that was written to; SocketAddress::Any takes IPv6 and IPv4, whose
  // peers then are of the form ::ffff:1.2.3.4. Port taken: ALREADY_EXISTS that
  // names it.
  static absl::StatusOr<UdpSocket> Bind(const SocketAddress& address,
                                        const UdpOptions& options = {});
  // The same with SocketAddress::Parse.
  static absl::StatusOr<UdpSocket> Bind(std::string_view address,
                                        const UdpOptions& options = {});

  // A socket for one peer: it receives from that peer only, and may Send. Bound
  // to `local`, or to a free port.
  static absl::StatusOr<UdpSocket> Connect(const SocketAddress& peer,
                                           const UdpOptions& options = {},
                                           const SocketAddress& local = {});
  static absl::StatusOr<UdpSocket> Connect(std::string_view peer,
                                           const UdpOptions& options = {});

  // Takes over a UDP socket of the operating system, and makes it non-blocking.
  // On error, `fd` stays with the caller.
  static absl::StatusOr<UdpSocket> FromFd(int fd,
                                          const UdpOptions& options = {});

  UdpSocket(UdpSocket&&) noexcept = default;
  UdpSocket& operator=(UdpSocket&&) noexcept = default;
  // Closes it at once, if Close hasn't.
  ~UdpSocket() = default;

  // Completes when a datagram has come. co_await gives
  // absl::StatusOr<Datagram>, whose data is the part of `buffer` that was
  // filled. Cancelled: stopped as long as none was received.
  auto Receive(MutableByteView buffer) {
    return Operation<ReceiveOp, Descriptor*, MutableByteView>(handle_.Use(),
                                                              buffer);
  }

  // Completes when the datagram has been handed to the kernel, which waits for
  // room in the send buffer. co_await gives absl::Status: INVALID_ARGUMENT if
  // it is too long for a datagram. Cancelled: stopped while it waits for room.
  // `from` is one of this machine's addresses, for a socket bound to all of
  // them; empty: the system chooses.
  auto SendTo(ByteView data ABSL_ATTRIBUTE_LIFETIME_BOUND,
              const SocketAddress& peer, const SocketAddress& from = {}) {
    return Operation<SendOp, Descriptor*, ByteView, SocketAddress,
                     SocketAddress>(handle_.Use(), data, peer, from);
  }
  // To whom `received` came from, from the address that it was sent to.
  auto Reply(const Datagram& received,
             ByteView data ABSL_ATTRIBUTE_LIFETIME_BOUND) {
    return SendTo(data, received.peer, received.local);
  }
  // To the peer of a connected socket.
  auto Send(ByteView data ABSL_ATTRIBUTE_LIFETIME_BOUND) {
    return SendTo(data, SocketAddress());
  }

  // Completes when at least one datagram has come; gives
  // absl::StatusOr<DatagramBatch> with all that are there, as many as go into a
  // batch. Waits also while all of `max_batches` are lent. Cancelled: stopped
  // as long as none was received.
  auto ReceiveBatch() {
    return Operation<ReceiveBatchOp, Descriptor*>(handle_.Use());
  }

  // Hands datagrams to the kernel, each to its `peer` and from its `local`: as
  // many, from the front, as there is room for, and at least one; waits only
  // for that one. co_await gives absl::StatusOr<size_t>, how many were sent. An
  // error is about the first; one that comes later ends the batch, and is told
  // when the rest is sent. None: 0 at once. Cancelled: stopped while none was
  // sent.
  auto SendBatch(std::span<const Datagram> datagrams) {
    return Operation<SendBatchOp, Descriptor*, std::span<const Datagram>>(
        handle_.Use(), datagrams);
  }

  // Releases the socket. Begins at the call; awaiting it completes once the
  // address is free again. What waits on the socket gets Closed. Idempotent.
  // Cancelled: the socket is released all the same.
  auto Close() { return CloseHandle(handle_); }

  // Where it is bound, with the port in use.
  SocketAddress local_address() const { return handle_.Use()->local; }
  // What it is connected to; empty if it isn't.
  SocketAddress peer_address() const { return handle_.Use()->peer; }
  // Addresses, buffer sizes and kernel drops, asked of the system.
  SocketInfo Info() const;
  // The descriptor of the operating system, -1 where there is none or it is
  // closed. It stays with the socket.
  int native_handle() const;

 private:
  class ReceiveOp final : public ReceiveFromOperation {
   public:
    ReceiveOp(Descriptor* descriptor, MutableByteView buffer)
        : ReceiveFromOperation(descriptor, buffer) {}
    absl::StatusOr<Datagram> TakeResult() noexcept {
      if (error != 0) [[unlikely]]
        return Error("receive");
      return datagram;
    }
  };

  class SendOp final : public SendToOperation {
   public:
    SendOp(Descriptor* descriptor, ByteView data, const SocketAddress& peer,
           const SocketAddress& from)
        : SendToOperation(descriptor, data, peer, from) {}
    absl::Status TakeResult() noexcept {
      if (error != 0) [[unlikely]]
        return Failed();
      return absl::OkStatus();
    }

   private:
    absl::Status Failed() const;
  };

  class ReceiveBatchOp final : public ReceiveBatchOperation {
   public:
    explicit ReceiveBatchOp(Descriptor* descriptor)
        : ReceiveBatchOperation(descriptor) {}
    absl::StatusOr<DatagramBatch> TakeResult() noexcept {
      if (error != 0) [[unlikely]]
        return Error("receive");
      return DatagramBatch(DescriptorRef(&descriptor()), std::move(block));
    }
  };

  class SendBatchOp final : public SendBatchOperation {
   public:
    SendBatchOp(Descriptor* descriptor, std::span<const Datagram> datagrams)
        : SendBatchOperation(descriptor, datagrams) {}
    bool Try() { return datagrams.empty() || SendBatchOperation::Try(); }
    absl::StatusOr<size_t> TakeResult() noexcept {
      if (error != 0) [[unlikely]]
        return Failed();
      return sent;
    }

   private:
    absl::Status Failed() const;
  };

  friend class DatagramBatch;

  explicit UdpSocket(IoHandle handle, const UdpOptions& options);

  IoHandle handle_;
};

}  // namespace braid

#endif  // BRAID_NET_UDP_H_
