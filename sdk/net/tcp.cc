#include "braid/net/tcp.h"

#include <cerrno>
#include <string>
#include <utility>

#include "braid/core/or_return.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"

namespace braid {
namespace {

constexpr Duration kAcceptBackoff = std::chrono::milliseconds(100);

// Errors of accept that pass, but not at once.
bool OutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM;
}

absl::Status CheckBuffers(int receive_buffer, int send_buffer) {
  if (receive_buffer >= 0 && send_buffer >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "TcpOptions: a buffer size is negative; 0 is the system's default");
}

}  // namespace

class TcpStream::ConnectOp final : public ConnectOperation {
 public:
  ConnectOp(Descriptor* descriptor, SocketAddress peer)
      : ConnectOperation(descriptor, peer) {}
  absl::Status TakeResult() noexcept {
    if (error == 0) return absl::OkStatus();
    return ErrnoStatus(error, [&] { return "connect to " + peer.ToString(); });
  }
};

class TcpListener::AcceptOp final : public AcceptOperation {
 public:
  explicit AcceptOp(Descriptor* descriptor) : AcceptOperation(descriptor) {}
  // No handle and OK: out of resources.
  absl::StatusOr<IoHandle> TakeResult() noexcept {
    if (error != 0 && !OutOfResources(error)) return Error("accept");
    return std::move(accepted);
  }
};

Task<absl::StatusOr<TcpStream>> TcpStream::Connect(SocketAddress peer,
                                                   TcpOptions options,
                                                   SocketAddress local) {
  co_await OrReturn(CheckBuffers(options.receive_buffer, options.send_buffer));
  SocketRequest request;
  request.kind = IoKind::kTcpStream;
  request.bind = local;
  request.peer = peer;
  request.no_delay = options.no_delay;
  request.receive_buffer = options.receive_buffer;
  request.send_buffer = options.send_buffer;
  IoHandle handle = co_await OrReturn(CurrentBackend().Open(request));
  co_await OrReturn(
      Operation<ConnectOp, Descriptor*, SocketAddress>(handle.get(), peer));
  co_return TcpStream(std::move(handle));
}

Task<absl::StatusOr<TcpStream>> TcpStream::Connect(std::string peer,
                                                   TcpOptions options) {
  const SocketAddress address = co_await OrReturn(SocketAddress::Parse(peer));
  co_return co_await Connect(address, options);
}

absl::StatusOr<TcpStream> TcpStream::FromFd(int fd) {
  absl::StatusOr<IoHandle> handle =
      CurrentBackend().Adopt(fd, IoKind::kTcpStream);
  if (!handle.ok()) return handle.status();
  return TcpStream(*std::move(handle));
}

SocketInfo TcpStream::Info() const {
  const Descriptor* descriptor = handle_.Use();
  return descriptor->backend().Inspect(*descriptor);
}

int TcpStream::native_handle() const {
  const Descriptor* descriptor = handle_.Use();
  return descriptor->backend().NativeHandle(*descriptor);
}

absl::Status TcpStream::ReceiveOp::Failed() const {
  if (error != 0) return Error("receive");
  return detail::MakeStatus(absl::StatusCode::kInvalidArgument, [&] {
    return absl::InvalidArgumentError(
        "receive on " + descriptor().Describe() +
        ": the buffer has no bytes; 0 would mean the end of the stream");
  });
}

absl::Status TcpStream::SendOp::Failed() const {
  const auto what = [&] {
    return "send " + std::to_string(data.size()) + " bytes on " +
           descriptor().Describe();
  };
  const int errno_told = error != 0 ? error : descriptor().broken;
  if (errno_told != 0) return ErrnoStatus(errno_told, what);
  if (descriptor().sent_eof) {
    return detail::MakeStatus(absl::StatusCode::kFailedPrecondition, [&] {
      return ClosedError(what() + ": after SendEof");
    });
  }
  return detail::MakeStatus(absl::StatusCode::kUnavailable, [&] {
    return BrokenError(what() + ": " + std::to_string(descriptor().torn) +
                       " bytes of an earlier send, which was stopped half-way, "
                       "are missing; close the connection");
  });
}

absl::Status TcpStream::SendEofOp::TakeResult() noexcept {
  if (error != 0) return Error("end the sending side");
  descriptor().sent_eof = true;
  return absl::OkStatus();
}

absl::StatusOr<TcpListener> TcpListener::Bind(const SocketAddress& address,
                                              const TcpListenOptions& options) {
  if (absl::Status status = CheckBuffers(options.stream.receive_buffer,
                                         options.stream.send_buffer);
      !status.ok()) {
    return status;
  }
  SocketRequest request;
  request.kind = IoKind::kTcpListener;
  request.bind = address;
  request.v6_only = options.v6_only;
  request.reuse_port = options.reuse_port;
  request.no_delay = options.stream.no_delay;
  request.backlog = options.backlog;
  request.receive_buffer = options.stream.receive_buffer;
  request.send_buffer = options.stream.send_buffer;
  absl::StatusOr<IoHandle> handle = CurrentBackend().Open(request);
  if (!handle.ok()) return handle.status();
  return TcpListener(*std::move(handle));
}

absl::StatusOr<TcpListener> TcpListener::Bind(std::string_view address,
                                              const TcpListenOptions& options) {
  absl::StatusOr<SocketAddress> parsed = SocketAddress::Parse(address);
  if (!parsed.ok()) return parsed.status();
  return Bind(*parsed, options);
}

absl::StatusOr<TcpListener> TcpListener::FromFd(int fd) {
  absl::StatusOr<IoHandle> handle =
      CurrentBackend().Adopt(fd, IoKind::kTcpListener);
  if (!handle.ok()) return handle.status();
  return TcpListener(*std::move(handle));
}

Task<absl::StatusOr<TcpStream>> TcpListener::Accept() {
  // The listener may go meanwhile.
  const DescriptorRef descriptor(handle_.Use());
  for (;;) {
    IoHandle accepted =
        co_await OrReturn(Operation<AcceptOp, Descriptor*>(descriptor.get()));
    if (accepted.get() != nullptr) co_return TcpStream(std::move(accepted));
    ++backoffs_;
    co_await SleepFor(kAcceptBackoff);
  }
}

int TcpListener::native_handle() const {
  const Descriptor* descriptor = handle_.Use();
  return descriptor->backend().NativeHandle(*descriptor);
}

}  // namespace braid
