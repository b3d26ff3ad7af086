// TcpListener and TcpStream: connections.
//
//   TcpListener listener = co_await OrReturn(TcpListener::Bind("[::1]:7007"));
//   TcpStream stream = co_await OrReturn(listener.Accept());
//   std::array<std::byte, 4096> buffer;
//   while (size_t size = co_await OrReturn(stream.Receive(buffer))) {
//     co_await OrReturn(stream.Send(std::span(buffer).first(size)));
//   }
//   co_await stream.Close();
//
// Nothing is read before somebody asks for it: a peer that sends what nobody
// receives is held back by the kernel's window. A time limit for anything here
// is a FailAfter around it.
//
// For all awaitables here:
//   - One task at a time receives, and one sends, both at once: a second one
//     gets Busy (IsBusy).
//   - The object must stay where it is until the await is over, or be closed
//     first; buffers belong to the operation until then.
//   - After Close, and if the object goes meanwhile: Closed (IsClosed).
//   - A connection that broke (reset, timed out) is Broken (IsBroken), and
//     stays so; what had arrived before is received first. That the peer has
//     ended its side in good order is not an error: Receive gives 0 bytes.
//
// Threads: the loop's.

#ifndef BRAID_NET_TCP_H_
#define BRAID_NET_TCP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/byte_view.h"
#include "braid/backend/chunk.h"
#include "braid/backend/io_operation.h"
#include "braid/backend/socket_address.h"
#include "braid/core/operation.h"
#include "braid/core/task.h"

namespace braid {

// What is out of range is INVALID_ARGUMENT when the socket is made.
struct TcpOptions {
  // Sends small pieces at once (TCP_NODELAY).
  bool no_delay = true;
  // Bytes; 0: the system's default, which adapts itself to the connection.
  int receive_buffer = 0;
  int send_buffer = 0;
};

struct TcpListenOptions {
  // Of the connections it accepts.
  TcpOptions stream = {};
  // Connections that may wait to be accepted; 0: as many as the system allows
  // (net.core.somaxconn).
  int backlog = 0;
  // Lets several listeners, mostly of several shards, bind the same address.
  bool reuse_port = false;
  // An IPv6 listener that leaves IPv4 to others.
  bool v6_only = false;
};

class TcpStream {
 public:
  // Connects to `peer`, from `local` or from whatever the system chooses.
  // Completes when the connection is there. Cancelled: stopped as long as it
  // isn't; nothing is left behind. Refused: UNAVAILABLE. A peer that doesn't
  // answer is given up after minutes: put a FailAfter around it. For a name,
  // Resolve comes first.
  static Task<absl::StatusOr<TcpStream>> Connect(SocketAddress peer,
                                                 TcpOptions options = {},
                                                 SocketAddress local = {});
  // The same with SocketAddress::Parse.
  static Task<absl::StatusOr<TcpStream>> Connect(std::string peer,
                                                 TcpOptions options = {});

  // Takes over a connected TCP socket of the operating system, and makes it
  // non-blocking. On error, `fd` stays with the caller.
  static absl::StatusOr<TcpStream> FromFd(int fd);

  TcpStream(TcpStream&&) noexcept = default;
  TcpStream& operator=(TcpStream&&) noexcept = default;
  // Closes it at once, if Close hasn't. What was sent is still delivered, if
  // nothing is left unreceived.
  ~TcpStream() = default;

  // Completes when there is something to receive. co_await gives
  // absl::StatusOr<size_t>, how many bytes of `buffer` were filled, at least 1;
  // 0 is the end of the stream. A buffer of no bytes is INVALID_ARGUMENT.
  // Cancelled: stopped as long as nothing was received; no byte is lost.
  auto Receive(MutableByteView buffer) {
    return Operation<ReceiveOp, Descriptor*, MutableByteView>(handle_.Use(),
                                                              buffer);
  }

  // The same without a buffer: co_await gives absl::StatusOr<Chunk>, memory
  // that is lent until the chunk goes; an empty one is the end of the stream.
  // At most 16 KiB come in one; while four of this stream are lent, it waits.
  auto ReceiveChunk() {
    return Operation<ReceiveChunkOp, Descriptor*>(handle_.Use());
  }

  // Completes when all of `data` has been handed to the kernel; it waits for
  // the peer to make room. co_await gives absl::Status. Cancelled: stopped
  // while it waits. If part of `data` had gone out, the stream is torn, as its
  // framing is lost: every later Send is Broken, and says how many bytes are
  // missing. Receiving goes on. The same holds for an error half-way.
  auto Send(ByteView data ABSL_ATTRIBUTE_LIFETIME_BOUND) {
    return Operation<SendOp, Descriptor*, ByteView>(handle_.Use(), data);
  }

  // Tells the peer that nothing more comes; it receives 0 bytes after all that
  // was sent. Receiving goes on. Completes at once. Idempotent. A Send
  // afterwards is Closed.
  auto SendEof() { return Operation<SendEofOp, Descriptor*>(handle_.Use()); }

  // Releases the connection. Begins at the call; awaiting it completes once it
  // is released. What waits on it gets Closed. What was sent is still
  // delivered, if nothing is left unreceived; otherwise the peer gets a reset,
  // by the rules of TCP. Idempotent. Cancelled: released all the same.
  auto Close() { return CloseHandle(handle_); }

  SocketAddress peer_address() const { return handle_.Use()->peer; }
  // Asked of the system.
  SocketAddress local_address() const { return Info().local; }
  SocketInfo Info() const;
  // The descriptor of the operating system, -1 where there is none or it is
  // closed. It stays with the stream.
  int native_handle() const;

 private:
  friend class TcpListener;

  class ReceiveOp final : public ReceiveOperation {
   public:
    ReceiveOp(Descriptor* descriptor, MutableByteView buffer)
        : ReceiveOperation(descriptor, buffer) {}
    bool Try() { return buffer.empty() || ReceiveOperation::Try(); }
    absl::StatusOr<size_t> TakeResult() noexcept {
      if (error != 0 || buffer.empty()) [[unlikely]]
        return Failed();
      return size;
    }

   private:
    absl::Status Failed() const;
  };

  class ReceiveChunkOp final : public ReceiveChunkOperation {
   public:
    explicit ReceiveChunkOp(Descriptor* descriptor)
        : ReceiveChunkOperation(descriptor) {}
    absl::StatusOr<Chunk> TakeResult() noexcept {
      if (error != 0) [[unlikely]]
        return Error("receive");
      return std::move(chunk);
    }
  };

  class SendOp final : public SendOperation {
   public:
    SendOp(Descriptor* descriptor, ByteView data)
        : SendOperation(descriptor, data) {}
    bool Try() {
      refused_ = descriptor().torn != 0 || descriptor().sent_eof;
      return refused_ || SendOperation::Try();
    }
    absl::Status TakeResult() noexcept {
      if (error != 0 || refused_) [[unlikely]]
        return Failed();
      return absl::OkStatus();
    }

   private:
    absl::Status Failed() const;
    bool refused_ = false;
  };

  class SendEofOp final : public ShutdownOperation {
   public:
    explicit SendEofOp(Descriptor* descriptor)
        : ShutdownOperation(descriptor) {}
    bool Try() { return descriptor().sent_eof || ShutdownOperation::Try(); }
    absl::Status TakeResult() noexcept;
  };

  class ConnectOp;

  explicit TcpStream(IoHandle handle) : handle_(std::move(handle)) {}

  IoHandle handle_;
};

class TcpListener {
 public:
  // Listens on `address`. Port 0 takes a free one (see local_address).
  // SocketAddress::Any takes IPv6 and IPv4. Port taken: ALREADY_EXISTS that
  // names it.
  static absl::StatusOr<TcpListener> Bind(const SocketAddress& address,
                                          const TcpListenOptions& options = {});
  // The same with SocketAddress::Parse.
  static absl::StatusOr<TcpListener> Bind(std::string_view address,
                                          const TcpListenOptions& options = {});
  // Takes over a listening TCP socket of the operating system, and makes it
  // non-blocking. On error, `fd` stays with the caller.
  static absl::StatusOr<TcpListener> FromFd(int fd);

  TcpListener(TcpListener&&) noexcept = default;
  TcpListener& operator=(TcpListener&&) noexcept = default;
  // Closes it at once, if Close hasn't.
  ~TcpListener() = default;

  // Completes when a connection has come. Cancelled: stopped as long as none
  // was taken; no connection is lost. Errors that are about one connection,
  // which is gone, are passed over. While the process is out of descriptors, or
  // the system out of memory, it tries again every 100 ms, and connections wait
  // in the backlog; backoffs() counts that.
  Task<absl::StatusOr<TcpStream>> Accept();

  // Releases the listener. Begins at the call; awaiting it completes once the
  // address is free again. What waits in Accept gets Closed; connections that
  // nobody accepted are reset. Idempotent. Cancelled: released all the same.
  auto Close() { return CloseHandle(handle_); }

  // Where it listens, with the port in use.
  SocketAddress local_address() const { return handle_.Use()->local; }
  // How often Accept had to wait for descriptors or memory.
  uint64_t backoffs() const { return backoffs_; }
  // The descriptor of the operating system, -1 where there is none or it is
  // closed. It stays with the listener.
  int native_handle() const;

 private:
  class AcceptOp;

  explicit TcpListener(IoHandle handle) : handle_(std::move(handle)) {}

  IoHandle handle_;
  uint64_t backoffs_ = 0;
};

}  // namespace braid

#endif  // BRAID_NET_TCP_H_
