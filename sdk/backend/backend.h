// Backend: does I/O for a loop.
//
// For: implementing a backend, and writing operations on one. Programs name a
// backend once, when they start, and use sockets and files from then on:
//
//   absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("asio");
//   absl::Status status = Run(**backend, Main);
//
// A backend is a Driver with sockets. What it is asked to do is an IoOperation
// (io_operation.h), what it does it on is a Descriptor. The rules:
//   - Submit starts an operation. True: it has completed already. False:
//     exactly one of Complete() and Stop() follows, on the loop's thread, never
//     from within Submit.
//   - Whatever an operation points to belongs to the backend until then. Cancel
//     is a request: the operation is stopped if that is still possible, at once
//     or later; otherwise it completes.
//   - A descriptor has at most one operation in each direction; a second one
//     completes with EBUSY.
//   - Release ends the operations that wait on it with EBADF.
//
// Threads: all of it on the thread of the loop that the backend drives, Wake
// excepted.

#ifndef BRAID_BACKEND_BACKEND_H_
#define BRAID_BACKEND_BACKEND_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/chunk.h"
#include "braid/backend/datagram.h"
#include "braid/backend/socket_address.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/loop.h"

namespace braid {

namespace detail {
class FileWorkers;
}

class Backend;
class CloseOperation;
class FileOperation;
class Host;
class IoOperation;

enum class IoKind : uint8_t {
  kUdp,
  kTcpListener,
  kTcpStream,
  kPollable,  // a foreign descriptor that is only waited for
  kFile,      // a regular file or a directory
};

enum class IoDirection : uint8_t { kIn, kOut };

// A socket to be made.
struct SocketRequest {
  IoKind kind = IoKind::kUdp;
  // Where to bind it; empty: nowhere, and the peer of a later connect says the
  // family.
  SocketAddress bind;
  SocketAddress peer;
  // An IPv6 socket that leaves IPv4 to others.
  bool v6_only = false;
  bool reuse_port = false;
  bool no_delay = true;    // TCP
  int backlog = 0;         // listeners
  int receive_buffer = 0;  // bytes; 0: the system's default
  int send_buffer = 0;
};

// What the system says about a socket.
struct SocketInfo {
  SocketAddress local;
  SocketAddress peer;
  // Bytes, as the kernel counts them: about half of it is payload.
  int receive_buffer = 0;
  int send_buffer = 0;
  // Datagrams that arrived and were thrown away, mostly because the receive
  // buffer was full. Since the socket was made. A run that arrived as one
  // counts as one.
  uint64_t kernel_drops = 0;
  // Runs of datagrams go to the kernel, and come from it, as one: it was asked
  // for, and the kernel has it.
  bool offload = false;
};

// An open socket, as a backend keeps it. Owned by its IoHandle and, until their
// ends, by operations and batches on it.
class Descriptor {
 public:
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  Backend& backend() const { return *backend_; }
  IoKind kind() const { return kind_; }
  void AddRef() { ++references_; }
  void DropRef() {
    if (--references_ == 0) delete this;
  }

  // "UDP socket 127.0.0.1:7007", for messages.
  std::string Describe() const;

  SocketAddress local;  // where it is bound; empty where it isn't, or not known
  SocketAddress peer;   // what it is connected to
  // Released by this side: every further operation is refused.
  bool closed = false;
  // After SendEof.
  bool sent_eof = false;
  // What a TCP connection died of; it stays so.
  int broken = 0;
  // Bytes of a send that was stopped half-way, and never will be sent.
  size_t torn = 0;
  // What batches of datagrams are lent from.
  std::unique_ptr<detail::DatagramSlab> slab;
  // A file's path.
  std::string path;
  // Where in a file the next read or write goes that doesn't say so, and
  // whether one is under way.
  uint64_t position = 0;
  bool position_taken = false;
  bool appends = false;  // every write goes to the end
  // What it was opened for.
  bool readable = true;
  bool writable = true;
  // Chunks that are lent now. A reader waits while it is kMaxLentChunks.
  static constexpr uint32_t kMaxLentChunks = 4;
  uint32_t lent_chunks = 0;

  // For backends: the operation that waits, in each direction.
  std::array<IoOperation*, 2> waiting = {};
  // For backends: no operation is to wait any more; those that do get EBADF.
  void RefuseWaiting();
  // For backends: the system has it back.
  void MarkReleased();

 protected:
  Descriptor(Backend& backend, IoKind kind);
  virtual ~Descriptor();

 private:
  friend class CloseOperation;
  friend class FileOperation;
  friend class IoHandle;

  // Has the backend release it, now or after the last file operation that is
  // under way.
  void Release() noexcept;

  Backend* backend_;
  detail::IntrusiveList<CloseOperation> close_waiters_;
  uint32_t references_ = 1;
  uint32_t file_operations_ = 0;  // under way
  IoKind kind_;
  bool released_ = false;
};

// A reference to a descriptor.
class DescriptorRef {
 public:
  DescriptorRef() = default;
  explicit DescriptorRef(Descriptor* descriptor) : descriptor_(descriptor) {
    if (descriptor_ != nullptr) descriptor_->AddRef();
  }
  DescriptorRef(DescriptorRef&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  DescriptorRef& operator=(DescriptorRef&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~DescriptorRef() {
    if (descriptor_ != nullptr) descriptor_->DropRef();
  }

  Descriptor* get() const { return descriptor_; }
  Descriptor& operator*() const { return *descriptor_; }
  Descriptor* operator->() const { return descriptor_; }

 private:
  Descriptor* descriptor_ = nullptr;
};

// Owns an open socket: releases it in the end.
class IoHandle {
 public:
  IoHandle() = default;
  // Takes over the reference that a new descriptor comes with.
  explicit IoHandle(Descriptor* descriptor) : descriptor_(descriptor) {}
  IoHandle(IoHandle&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  IoHandle& operator=(IoHandle&& other) noexcept {
    if (this != &other) {
      Reset();
      descriptor_ = std::exchange(other.descriptor_, nullptr);
    }
    return *this;
  }
  ~IoHandle() { Reset(); }

  // Begins to release it, if that hasn't happened. Operations on it then give
  // Closed.
  void Release() noexcept;

  // nullptr after a move.
  Descriptor* get() const { return descriptor_; }
  // The same, checked.
  Descriptor* Use() const {
    detail::Check(descriptor_ != nullptr,
                  "a socket is used after it was moved from");
    return descriptor_;
  }

 private:
  void Reset() noexcept;

  Descriptor* descriptor_ = nullptr;
};

class Backend : public Driver {
 public:
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  // Every socket has been released before.
  ~Backend() override;

  // Run, Now and Wake come from Driver.

  // As --backend names it.
  virtual std::string_view name() const = 0;

  // What makes another backend like this one, with the same options and host,
  // for a loop on the thread that calls it: any thread, at any time. Empty: one
  // loop stands for all of them, as in a simulation.
  using Factory =
      absl::AnyInvocable<absl::StatusOr<std::unique_ptr<Backend>>() const>;
  virtual Factory ShardFactory() const = 0;

  // Makes a socket.
  virtual absl::StatusOr<IoHandle> Open(const SocketRequest& request) = 0;
  // Takes over a descriptor of the operating system, or, for kPollable, borrows
  // it. On error it stays with the caller.
  virtual absl::StatusOr<IoHandle> Adopt(int fd, IoKind kind) = 0;
  // From here on, runs of datagrams may go to the system and come from it as
  // one. It is for speed alone, and a backend without it leaves it be: what
  // operations give is the same.
  virtual void Offload(Descriptor&) {}
  // The number of the operating system; -1 where there is none.
  virtual int NativeHandle(const Descriptor& descriptor) const = 0;
  virtual SocketInfo Inspect(const Descriptor& descriptor) const = 0;

  virtual bool Submit(IoOperation& operation) = 0;
  virtual void Cancel(IoOperation& operation) noexcept = 0;
  // No file operation is under way on it.
  virtual void Release(Descriptor& descriptor) noexcept = 0;
  // The same for files (file_operation.h). By itself a backend does them on
  // worker threads.
  virtual bool SubmitFile(FileOperation& operation);
  virtual void CancelFile(FileOperation& operation) noexcept;
  // Something lent from this descriptor's memory came back: what waits for room
  // may go on.
  virtual void Replenish(Descriptor& descriptor) noexcept = 0;

  // The machine this runs on.
  Host& host() const { return *host_; }
  const std::shared_ptr<Host>& shared_host() const { return host_; }

  // Sockets, files and batches of datagrams that are still there.
  size_t descriptors() const { return descriptors_; }

  detail::ChunkPool& chunks() { return chunks_; }

 protected:
  explicit Backend(std::shared_ptr<Host> host);

 private:
  friend class Descriptor;

  std::shared_ptr<Host> host_;
  detail::ChunkPool chunks_;
  std::unique_ptr<detail::FileWorkers> file_workers_;  // once there is a file
  size_t descriptors_ = 0;
};

// The backend of the loop that runs on this thread. It is a failed check if
// none runs, or one that does no I/O.
Backend& CurrentBackend();

inline void Descriptor::Release() noexcept {
  closed = true;
  if (file_operations_ == 0) backend_->Release(*this);
}

inline void IoHandle::Release() noexcept {
  if (!descriptor_->closed) descriptor_->Release();
}

inline void IoHandle::Reset() noexcept {
  if (descriptor_ == nullptr) return;
  Release();
  std::exchange(descriptor_, nullptr)->DropRef();
}

}  // namespace braid

#endif  // BRAID_BACKEND_BACKEND_H_
