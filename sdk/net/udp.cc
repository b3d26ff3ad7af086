#include "braid/net/udp.h"

#include <algorithm>
#include <string>

namespace braid {
namespace {

// Of the kernel, for one system call.
constexpr size_t kLargestBatch = 64;

SocketRequest RequestOf(const UdpOptions& options) {
  SocketRequest request;
  request.kind = IoKind::kUdp;
  request.reuse_port = options.reuse_port;
  request.v6_only = options.v6_only;
  request.receive_buffer = options.receive_buffer;
  request.send_buffer = options.send_buffer;
  return request;
}

absl::Status CheckOptions(const UdpOptions& options) {
  if (options.batch_size < 1 || options.batch_size > kLargestBatch) {
    return absl::InvalidArgumentError(
        "UdpOptions.batch_size is " + std::to_string(options.batch_size) +
        "; it is 1 to " + std::to_string(kLargestBatch));
  }
  if (options.batch_datagram_size < 1 ||
      options.batch_datagram_size > DatagramBuffer::kLargestDatagram) {
    return absl::InvalidArgumentError(
        "UdpOptions.batch_datagram_size is " +
        std::to_string(options.batch_datagram_size) + "; it is 1 to " +
        std::to_string(DatagramBuffer::kLargestDatagram));
  }
  if (options.max_batches < 1)
    return absl::InvalidArgumentError(
        "UdpOptions.max_batches is 0; it is at least 1");
  if (options.receive_buffer < 0 || options.send_buffer < 0) {
    return absl::InvalidArgumentError(
        "UdpOptions: a buffer size is negative; 0 is the system's default");
  }
  return absl::OkStatus();
}

}  // namespace

DatagramBatch& DatagramBatch::operator=(DatagramBatch&& other) noexcept {
  if (this != &other) {
    Return();
    descriptor_ = std::move(other.descriptor_);
    block_ = std::move(other.block_);
  }
  return *this;
}

void DatagramBatch::Return() noexcept {
  if (block_ == nullptr) return;
  descriptor_->slab->Return(std::move(block_));
  descriptor_->backend().Replenish(*descriptor_);
}

UdpSocket::UdpSocket(IoHandle handle, const UdpOptions& options)
    : handle_(std::move(handle)) {
  handle_.get()->slab = std::make_unique<detail::DatagramSlab>(
      options.batch_size, options.batch_datagram_size, options.max_batches);
  if (options.offload) handle_.get()->backend().Offload(*handle_.get());
}

absl::StatusOr<UdpSocket> UdpSocket::Bind(const SocketAddress& address,
                                          const UdpOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  SocketRequest request = RequestOf(options);
  request.bind = address;
  absl::StatusOr<IoHandle> handle = CurrentBackend().Open(request);
  if (!handle.ok()) return handle.status();
  return UdpSocket(*std::move(handle), options);
}

absl::StatusOr<UdpSocket> UdpSocket::Bind(std::string_view address,
                                          const UdpOptions& options) {
  absl::StatusOr<SocketAddress> parsed = SocketAddress::Parse(address);
  if (!parsed.ok()) return parsed.status();
  return Bind(*parsed, options);
}

absl::StatusOr<UdpSocket> UdpSocket::Connect(const SocketAddress& peer,
                                             const UdpOptions& options,
                                             const SocketAddress& local) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  SocketRequest request = RequestOf(options);
  request.bind = local;
  request.peer = peer;
  absl::StatusOr<IoHandle> handle = CurrentBackend().Open(request);
  if (!handle.ok()) return handle.status();
  return UdpSocket(*std::move(handle), options);
}

absl::StatusOr<UdpSocket> UdpSocket::Connect(std::string_view peer,
                                             const UdpOptions& options) {
  absl::StatusOr<SocketAddress> parsed = SocketAddress::Parse(peer);
  if (!parsed.ok()) return parsed.status();
  return Connect(*parsed, options);
}

absl::StatusOr<UdpSocket> UdpSocket::FromFd(int fd, const UdpOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  absl::StatusOr<IoHandle> handle = CurrentBackend().Adopt(fd, IoKind::kUdp);
  if (!handle.ok()) return handle.status();
  return UdpSocket(*std::move(handle), options);
}

SocketInfo UdpSocket::Info() const {
  const Descriptor* descriptor = handle_.Use();
  return descriptor->backend().Inspect(*descriptor);
}

int UdpSocket::native_handle() const {
  const Descriptor* descriptor = handle_.Use();
  return descriptor->backend().NativeHandle(*descriptor);
}

absl::Status UdpSocket::SendOp::Failed() const {
  return Error([&] {
    return "send " + std::to_string(data.size()) + " bytes" +
           (peer.empty() ? "" : " to " + peer.ToString());
  });
}

absl::Status UdpSocket::SendBatchOp::Failed() const {
  const Datagram& first = datagrams.front();
  return Error([&] {
    return "send " + std::to_string(first.data.size()) + " bytes" +
           (first.peer.empty() ? "" : " to " + first.peer.ToString());
  });
}

}  // namespace braid
