#include "braid/backend/asio/epoll_backend.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "braid/backend/errno_status.h"

namespace braid::detail {
namespace {

constexpr int kIn = static_cast<int>(IoDirection::kIn);
constexpr int kOut = static_cast<int>(IoDirection::kOut);

// Events taken per look.
constexpr int kMaxEvents = 256;
// Datagrams sent or received by one system call.
constexpr size_t kMaxBatch = 64;

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

// Errors of accept that are about one connection, which is gone: the next one
// may be there (accept(2)).
bool AboutOneConnection(int error) {
  switch (error) {
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

// Whether a stream is of no use after this error: all but a passing lack of
// memory.
bool EndsConnection(int error) { return error != ENOBUFS && error != ENOMEM; }

// Lets `fd` end waits in the set, and nothing else. Every event is an edge:
// nobody has to read it. An errno.
int AddBare(int epoll, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

// Calls until it isn't interrupted.
template <typename F>
auto Retrying(F call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

class EpollBackend::EpollDescriptor final : public Descriptor {
 public:
  EpollDescriptor(Backend& backend, IoKind kind, UniqueFd descriptor,
                  bool is_borrowed)
      : Descriptor(backend, kind),
        fd(std::move(descriptor)),
        borrowed(is_borrowed) {}
  ~EpollDescriptor() override {
    if (borrowed) fd.release();
  }

  UniqueFd fd;
  // The events that epoll tells; 0 while it isn't in the set.
  uint32_t watched = 0;
  // Whether the call of that direction may succeed. Nothing is known about what
  // comes in until epoll has told; a new socket can be written to.
  std::array<bool, 2> ready = {false, true};
  // A read that got less than it asked for has emptied the socket, unless there
  // is more to tell than bytes.
  bool short_read_means_empty = false;
  // Datagrams say where they were sent to.
  bool wants_destination = false;
  const bool borrowed;
};

// For the batch calls, which take arrays of pointers to everything. Shared by
// all sockets: it is only in use during a call.
struct EpollBackend::Scratch {
  std::array<mmsghdr, kMaxBatch> messages;
  std::array<iovec, kMaxBatch> parts;
  std::array<DestinationControl, kMaxBatch> controls;
};

EpollBackend::EpollBackend(std::shared_ptr<Host> host)
    : Backend(std::move(host)) {}
EpollBackend::~EpollBackend() = default;

absl::Status EpollBackend::Init() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.ok()) return ErrnoStatus(errno, "open an epoll set");
  wake_ = UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake_.ok()) return ErrnoStatus(errno, "open an eventfd");
  if (const int error = AddBare(epoll_.get(), wake_.get()); error != 0)
    return ErrnoStatus(error, "watch an eventfd");
  return absl::OkStatus();
}

Time EpollBackend::Now() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return Time(std::chrono::seconds(now.tv_sec) +
              std::chrono::nanoseconds(now.tv_nsec));
}

// Every exchange is a read-modify-write, so what was handed over before a Wake
// is seen after the StopWaiting, or the failed StartWaiting, that follows it.
void EpollBackend::Wake() noexcept {
  if (wake_state_.exchange(WakeState::kWoken, std::memory_order_acq_rel) !=
      WakeState::kWaiting)
    return;
  const int saved = errno;  // this may be in a signal handler
  const uint64_t one = 1;
  // It can't fail but for 2^64 - 2 wake-ups that nobody read, and then there is
  // an edge in store anyway.
  [[maybe_unused]] const ssize_t written =
      ::write(wake_.get(), &one, sizeof one);
  errno = saved;
}

bool EpollBackend::StartWaiting() {
  WakeState expected = WakeState::kRunning;
  if (wake_state_.compare_exchange_strong(expected, WakeState::kWaiting,
                                          std::memory_order_acq_rel))
    return true;
  StopWaiting();
  return false;
}

void EpollBackend::ArmTimer(Time when) {
  if (!timer_.ok()) {
    timer_ =
        UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    Check(timer_.ok() && AddBare(epoll_.get(), timer_.get()) == 0,
          "the process has no descriptor left for a timer");
  }
  itimerspec setting = {};
  const Duration since_boot =
      std::max(when.time_since_epoch(), Duration(1));  // 0 would disarm it
  setting.it_value.tv_sec = since_boot / std::chrono::seconds(1);
  setting.it_value.tv_nsec = (since_boot % std::chrono::seconds(1)).count();
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &setting, nullptr);
}

void EpollBackend::StopWaiting() {
  wake_state_.exchange(WakeState::kRunning, std::memory_order_acq_rel);
}

void EpollBackend::Poll(Time deadline) {
  std::array<epoll_event, kMaxEvents> events;
  int count = 0;
  Duration left = Duration::zero();
  bool waits = deadline != kAlways && StartWaiting();
  if (waits && deadline != kNever) {
    left = deadline - Now();
    if (left <= Duration::zero()) {
      StopWaiting();
      waits = false;
    }
  }
  if (!waits) {
    count = ::epoll_wait(epoll_.get(), events.data(), kMaxEvents, 0);
  } else {
    if (deadline == kNever) {
      count = ::epoll_wait(epoll_.get(), events.data(), kMaxEvents, -1);
    } else {
      count = -1;
      if (has_pwait2_) {
        timespec timeout;
        timeout.tv_sec = left / std::chrono::seconds(1);
        timeout.tv_nsec = (left % std::chrono::seconds(1)).count();
        count = ::epoll_pwait2(epoll_.get(), events.data(), kMaxEvents,
                               &timeout, nullptr);
        has_pwait2_ = count >= 0 || errno != ENOSYS;
      }
      if (!has_pwait2_) {
        // Before Linux 5.11: in milliseconds, rounded up, so that it is never
        // too early.
        const int64_t limit = INT32_MAX;
        const int64_t milliseconds = (left.count() + 999'999) / 1'000'000;
        count = ::epoll_wait(epoll_.get(), events.data(), kMaxEvents,
                             static_cast<int>(std::min(milliseconds, limit)));
      }
    }
    StopWaiting();
  }
  for (int i = 0; i < count; ++i) {
    if (events[i].data.ptr == nullptr) continue;  // a Wake, or the timer
    Dispatch(*static_cast<EpollDescriptor*>(events[i].data.ptr),
             events[i].events);
  }
}

// Nothing here runs code of users, so that no descriptor can go while events
// about it are at hand.
void EpollBackend::Dispatch(EpollDescriptor& descriptor, uint32_t events) {
  // With an end, an error or urgent data there is more to read than the bytes
  // that a short read leaves none of.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0)
    descriptor.short_read_means_empty = false;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0)
    Retry(descriptor, IoDirection::kIn);
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
    Retry(descriptor, IoDirection::kOut);
}

void EpollBackend::Retry(EpollDescriptor& descriptor, IoDirection direction) {
  const int which = static_cast<int>(direction);
  descriptor.ready[which] = true;
  IoOperation* operation = descriptor.waiting[which];
  if (operation == nullptr) return;
  if (!Perform(descriptor, *operation)) {
    operation->error = Watch(descriptor, direction);
    if (operation->error == 0) return;
  }
  descriptor.waiting[which] = nullptr;
  // Every datagram that leaves the send buffer would be an edge.
  if (direction == IoDirection::kOut && descriptor.kind() == IoKind::kUdp)
    Unwatch(descriptor, EPOLLOUT);
  operation->Complete();
}

void EpollBackend::Unwatch(EpollDescriptor& descriptor, uint32_t events) {
  epoll_event event = {};
  event.events = descriptor.watched & ~events;
  event.data.ptr = &descriptor;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, descriptor.fd.get(), &event) ==
      0)
    descriptor.watched = event.events;
}

int EpollBackend::Watch(EpollDescriptor& descriptor, IoDirection direction) {
  uint32_t wanted = descriptor.watched | EPOLLET;
  wanted |= direction == IoDirection::kIn ? EPOLLIN | EPOLLRDHUP | EPOLLPRI
                                          : EPOLLOUT;
  if (wanted == descriptor.watched) return 0;
  epoll_event event = {};
  event.events = wanted;
  event.data.ptr = &descriptor;
  const int action = descriptor.watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_.get(), action, descriptor.fd.get(), &event) != 0) {
    return errno == EEXIST ? EBUSY : errno;  // watched under another name
  }
  descriptor.watched = wanted;
  return 0;
}

IoHandle EpollBackend::MakeDescriptor(UniqueFd fd, IoKind kind, bool borrowed) {
  auto* descriptor = new EpollDescriptor(*this, kind, std::move(fd), borrowed);
  descriptor->short_read_means_empty = kind == IoKind::kTcpStream;
  if (kind == IoKind::kPollable)
    descriptor->ready = {true, true};  // which has to be looked at first
  return IoHandle(descriptor);
}

absl::StatusOr<IoHandle> EpollBackend::Open(const SocketRequest& request) {
  absl::StatusOr<UniqueFd> fd = OpenSocket(request);
  if (!fd.ok()) return fd.status();
  const int number = fd->get();
  IoHandle handle =
      MakeDescriptor(*std::move(fd), request.kind, /*borrowed=*/false);
  auto& descriptor = static_cast<EpollDescriptor&>(*handle.get());
  const bool connected = request.kind == IoKind::kUdp && !request.peer.empty();
  if (connected) descriptor.peer = request.peer;
  if (connected || !request.bind.empty())
    descriptor.local = LocalAddressOf(number);
  descriptor.wants_destination = request.kind == IoKind::kUdp &&
                                 WantsDestination(number, descriptor.local);
  return handle;
}

absl::StatusOr<IoHandle> EpollBackend::Adopt(int fd, IoKind kind) {
  if (absl::Status status = PrepareAdopted(fd, kind); !status.ok())
    return status;
  IoHandle handle =
      MakeDescriptor(UniqueFd(fd), kind, kind == IoKind::kPollable);
  if (kind != IoKind::kPollable) {
    auto& descriptor = static_cast<EpollDescriptor&>(*handle.get());
    descriptor.local = LocalAddressOf(fd);
    descriptor.peer = PeerAddressOf(fd);
    descriptor.wants_destination =
        kind == IoKind::kUdp && WantsDestination(fd, descriptor.local);
  }
  return handle;
}

int EpollBackend::NativeHandle(const Descriptor& descriptor) const {
  return static_cast<const EpollDescriptor&>(descriptor).fd.get();
}

SocketInfo EpollBackend::Inspect(const Descriptor& descriptor) const {
  return InspectSocket(NativeHandle(descriptor));
}

bool EpollBackend::Submit(IoOperation& operation) {
  auto& descriptor = static_cast<EpollDescriptor&>(operation.descriptor());
  const int which = static_cast<int>(operation.direction());
  if (descriptor.closed) [[unlikely]] {
    operation.error = EBADF;
    return true;
  }
  if (descriptor.waiting[which] != nullptr) [[unlikely]] {
    operation.error = EBUSY;
    return true;
  }
  if (descriptor.ready[which] && Perform(descriptor, operation)) return true;
  operation.error = Watch(descriptor, operation.direction());
  if (operation.error != 0) [[unlikely]]
    return true;
  descriptor.waiting[which] = &operation;
  return false;
}

void EpollBackend::Cancel(IoOperation& operation) noexcept {
  Descriptor& descriptor = operation.descriptor();
  descriptor.waiting[static_cast<int>(operation.direction())] = nullptr;
  if (operation.code() == IoCode::kSend) {
    const auto& send = static_cast<const SendOperation&>(operation);
    if (send.done > 0) descriptor.torn = send.data.size() - send.done;
  }
  operation.Stop();
}

void EpollBackend::Release(Descriptor& released) noexcept {
  auto& descriptor = static_cast<EpollDescriptor&>(released);
  descriptor.closed = true;
  for (IoOperation*& waiting : descriptor.waiting) {
    IoOperation* operation = std::exchange(waiting, nullptr);
    if (operation == nullptr) continue;
    operation->error = EBADF;
    operation->Complete();
  }
  // Closing takes it out of the set only if no other process or number refers
  // to the same open file.
  if (descriptor.watched != 0)
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor.fd.get(), nullptr);
  if (descriptor.borrowed) {
    descriptor.fd.release();
  } else {
    descriptor.fd.Reset();
  }
  descriptor.MarkReleased();
}

void EpollBackend::Replenish(Descriptor& replenished) noexcept {
  auto& descriptor = static_cast<EpollDescriptor&>(replenished);
  // What waits although the call may succeed waits for room.
  if (descriptor.waiting[kIn] != nullptr && descriptor.ready[kIn])
    Retry(descriptor, IoDirection::kIn);
}

bool EpollBackend::Perform(EpollDescriptor& descriptor,
                           IoOperation& operation) {
  switch (operation.code()) {
    case IoCode::kReceive:
      return Receive(descriptor, static_cast<ReceiveOperation&>(operation));
    case IoCode::kReceiveChunk:
      return ReceiveChunk(descriptor,
                          static_cast<ReceiveChunkOperation&>(operation));
    case IoCode::kSend:
      return Send(descriptor, static_cast<SendOperation&>(operation));
    case IoCode::kReceiveFrom:
      return ReceiveFrom(descriptor,
                         static_cast<ReceiveFromOperation&>(operation));
    case IoCode::kSendTo:
      return SendTo(descriptor, static_cast<SendToOperation&>(operation));
    case IoCode::kReceiveBatch:
      return ReceiveBatch(descriptor,
                          static_cast<ReceiveBatchOperation&>(operation));
    case IoCode::kSendBatch:
      return SendBatch(descriptor, static_cast<SendBatchOperation&>(operation));
    case IoCode::kAccept:
      return Accept(descriptor, static_cast<AcceptOperation&>(operation));
    case IoCode::kConnect:
      return Connect(descriptor, static_cast<ConnectOperation&>(operation));
    case IoCode::kShutdown:
      return Shutdown(descriptor, static_cast<ShutdownOperation&>(operation));
    case IoCode::kPoll:
      return PollOnce(descriptor, static_cast<PollOperation&>(operation));
  }
  Check(false, "an operation has no code; this is a bug in Braid");
  return true;
}

bool EpollBackend::ReceiveInto(EpollDescriptor& descriptor,
                               std::span<std::byte> buffer, size_t& size,
                               int& error) {
  const ssize_t got = Retrying([&] {
    return ::recv(descriptor.fd.get(), buffer.data(), buffer.size(), 0);
  });
  if (got < 0) {
    if (WouldBlock(errno)) {
      descriptor.ready[kIn] = false;
      return false;
    }
    error = errno;
    if (EndsConnection(errno)) descriptor.broken = errno;
    return true;
  }
  // The kernel tells an error once, and the end of the stream from then on.
  if (got == 0) error = descriptor.broken;
  size = static_cast<size_t>(got);
  if (size < buffer.size() && descriptor.short_read_means_empty)
    descriptor.ready[kIn] = false;
  return true;
}

bool EpollBackend::Receive(EpollDescriptor& descriptor,
                           ReceiveOperation& operation) {
  return ReceiveInto(descriptor, operation.buffer, operation.size,
                     operation.error);
}

bool EpollBackend::ReceiveChunk(EpollDescriptor& descriptor,
                                ReceiveChunkOperation& operation) {
  if (descriptor.lent_chunks == Descriptor::kMaxLentChunks) return false;
  std::unique_ptr<std::byte[]> memory = chunks().Take();
  size_t size = 0;
  const bool done = ReceiveInto(
      descriptor, {memory.get(), ChunkPool::kChunkSize}, size, operation.error);
  if (size > 0) {
    operation.chunk = Chunk(descriptor, std::move(memory), size);
  } else {
    chunks().Return(std::move(memory));
  }
  return done;
}

bool EpollBackend::Send(EpollDescriptor& descriptor, SendOperation& operation) {
  if (descriptor.broken != 0) {
    operation.error = descriptor.broken;
    return true;
  }
  const auto rest = operation.data.subspan(operation.done);
  const ssize_t sent = Retrying([&] {
    return ::send(descriptor.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
  });
  if (sent < 0) {
    if (WouldBlock(errno)) {
      descriptor.ready[kOut] = false;
      return false;
    }
    operation.error = errno;
    if (EndsConnection(errno)) descriptor.broken = errno;
    if (operation.done > 0) descriptor.torn = rest.size();
    return true;
  }
  operation.done += static_cast<size_t>(sent);
  if (operation.done == operation.data.size()) return true;
  descriptor.ready[kOut] = false;  // it took what there was room for
  return false;
}

bool EpollBackend::ReceiveFrom(EpollDescriptor& descriptor,
                               ReceiveFromOperation& operation) {
  Datagram& datagram = operation.datagram;
  ssize_t size = 0;
  const int fd = descriptor.fd.get();
  std::byte* data = datagram.data.data();
  // With MSG_TRUNC, the result is the length on the wire.
  if (descriptor.wants_destination) {
    iovec part = {data, datagram.data.size()};
    DestinationControl control;
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_name = datagram.peer.raw();
    message.msg_namelen = SocketAddress::kCapacity;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    size = Retrying([&] { return ::recvmsg(fd, &message, MSG_TRUNC); });
    if (size >= 0) datagram.local = DestinationOf(message, descriptor.local);
  } else if (!descriptor.peer.empty()) {
    size = Retrying(
        [&] { return ::recv(fd, data, datagram.data.size(), MSG_TRUNC); });
    datagram.peer = descriptor.peer;
    datagram.local = descriptor.local;
  } else {
    socklen_t name_size = SocketAddress::kCapacity;
    size = Retrying([&] {
      return ::recvfrom(fd, data, datagram.data.size(), MSG_TRUNC,
                        datagram.peer.raw(), &name_size);
    });
    datagram.local = descriptor.local;
  }
  if (size < 0) {
    if (WouldBlock(errno)) {
      descriptor.ready[kIn] = false;
      return false;
    }
    operation.error = errno;
    return true;
  }
  datagram.size = static_cast<size_t>(size);
  if (datagram.size < datagram.data.size())
    datagram.data = datagram.data.first(datagram.size);
  return true;
}

bool EpollBackend::SendTo(EpollDescriptor& descriptor,
                          SendToOperation& operation) {
  const int fd = descriptor.fd.get();
  const std::byte* data = operation.data.data();
  const size_t size = operation.data.size();
  ssize_t sent = 0;
  if (operation.peer.empty()) {
    sent = Retrying([&] { return ::send(fd, data, size, MSG_NOSIGNAL); });
  } else if (descriptor.wants_destination && !operation.local.empty()) {
    iovec part = {const_cast<std::byte*>(data), size};
    DestinationControl control;
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_name = operation.peer.raw();
    message.msg_namelen = operation.peer.size();
    SetSource(message, control, operation.local);
    sent = Retrying([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); });
  } else {
    sent = Retrying([&] {
      return ::sendto(fd, data, size, MSG_NOSIGNAL, operation.peer.raw(),
                      operation.peer.size());
    });
  }
  if (sent >= 0) return true;
  if (WouldBlock(errno)) {
    descriptor.ready[kOut] = false;
    return false;
  }
  operation.error = errno;
  return true;
}

bool EpollBackend::ReceiveBatch(EpollDescriptor& descriptor,
                                ReceiveBatchOperation& operation) {
  if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  if (!descriptor.slab->available()) return false;
  std::unique_ptr<DatagramBlock> taken = descriptor.slab->Take();
  DatagramBlock& block = *taken;
  const size_t limit = std::min(block.datagrams.size(), kMaxBatch);
  for (size_t i = 0; i < limit; ++i) {
    Datagram& datagram = block.datagrams[i];
    const std::span<std::byte> room = block.Room(i);
    scratch_->parts[i] = {room.data(), room.size()};
    msghdr& header = scratch_->messages[i].msg_hdr;
    header.msg_name = datagram.peer.raw();
    header.msg_namelen = SocketAddress::kCapacity;
    header.msg_iov = &scratch_->parts[i];
    header.msg_iovlen = 1;
    header.msg_control =
        descriptor.wants_destination ? &scratch_->controls[i] : nullptr;
    header.msg_controllen =
        descriptor.wants_destination ? sizeof(DestinationControl) : 0;
  }
  const int received = Retrying([&] {
    return ::recvmmsg(descriptor.fd.get(), scratch_->messages.data(),
                      static_cast<unsigned>(limit), MSG_TRUNC, nullptr);
  });
  if (received < 0) {
    descriptor.slab->Return(std::move(taken));
    if (WouldBlock(errno)) {
      descriptor.ready[kIn] = false;
      return false;
    }
    operation.error = errno;
    return true;
  }
  block.received = static_cast<size_t>(received);
  for (size_t i = 0; i < block.received; ++i) {
    Datagram& datagram = block.datagrams[i];
    const mmsghdr& message = scratch_->messages[i];
    const std::span<std::byte> room = block.Room(i);
    datagram.size = message.msg_len;
    datagram.data = room.first(std::min<size_t>(message.msg_len, room.size()));
    if (descriptor.wants_destination) {
      datagram.local = DestinationOf(message.msg_hdr, descriptor.local);
    } else {
      datagram.local = descriptor.local;
    }
    if (message.msg_hdr.msg_namelen == 0) datagram.peer = descriptor.peer;
  }
  // It stops early only when there is no more, or on an error that the next
  // call tells, of which there is an edge.
  if (block.received < limit) descriptor.ready[kIn] = false;
  operation.block = std::move(taken);
  return true;
}

bool EpollBackend::SendBatch(EpollDescriptor& descriptor,
                             SendBatchOperation& operation) {
  if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  while (operation.sent < operation.datagrams.size()) {
    const size_t count =
        std::min(operation.datagrams.size() - operation.sent, kMaxBatch);
    for (size_t i = 0; i < count; ++i) {
      const Datagram& datagram = operation.datagrams[operation.sent + i];
      scratch_->parts[i] = {datagram.data.data(), datagram.data.size()};
      msghdr& header = scratch_->messages[i].msg_hdr;
      const bool connected = datagram.peer.empty() || !descriptor.peer.empty();
      header.msg_name =
          connected ? nullptr : const_cast<sockaddr*>(datagram.peer.raw());
      header.msg_namelen = connected ? 0 : datagram.peer.size();
      header.msg_iov = &scratch_->parts[i];
      header.msg_iovlen = 1;
      header.msg_control = nullptr;
      header.msg_controllen = 0;
      header.msg_flags = 0;
      if (descriptor.wants_destination && !datagram.local.empty()) {
        SetSource(header, scratch_->controls[i], datagram.local);
      }
    }
    const int sent = Retrying([&] {
      return ::sendmmsg(descriptor.fd.get(), scratch_->messages.data(),
                        static_cast<unsigned>(count), MSG_NOSIGNAL);
    });
    if (sent < 0) {
      if (operation.sent > 0) return true;  // the next call tells
      if (WouldBlock(errno)) {
        descriptor.ready[kOut] = false;
        return false;
      }
      operation.error = errno;
      return true;
    }
    operation.sent += static_cast<size_t>(sent);
    if (static_cast<size_t>(sent) < count) return true;
  }
  return true;
}

bool EpollBackend::Accept(EpollDescriptor& descriptor,
                          AcceptOperation& operation) {
  SocketAddress peer;
  UniqueFd fd;
  for (;;) {
    socklen_t size = SocketAddress::kCapacity;
    fd = UniqueFd(::accept4(descriptor.fd.get(), peer.raw(), &size,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.ok()) break;
    if (errno == EINTR || AboutOneConnection(errno)) continue;
    if (WouldBlock(errno)) {
      descriptor.ready[kIn] = false;
      return false;
    }
    operation.error = errno;
    return true;
  }
  operation.accepted =
      MakeDescriptor(std::move(fd), IoKind::kTcpStream, /*borrowed=*/false);
  operation.accepted.get()->peer = peer;
  return true;
}

bool EpollBackend::Connect(EpollDescriptor& descriptor,
                           ConnectOperation& operation) {
  const int fd = descriptor.fd.get();
  if (!operation.started) {
    operation.started = true;
    if (::connect(fd, operation.peer.raw(), operation.peer.size()) != 0) {
      // Interrupted, it goes on all the same (connect(2)).
      if (errno == EINPROGRESS || errno == EINTR) {
        descriptor.ready[kOut] = false;
        return false;
      }
      operation.error = errno;
      return true;
    }
  } else {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0 && PeerAddressOf(fd).empty()) {
      descriptor.ready[kOut] = false;
      return false;
    }
    operation.error = error;
    if (error != 0) return true;
  }
  descriptor.peer = operation.peer;
  return true;
}

bool EpollBackend::Shutdown(EpollDescriptor& descriptor,
                            ShutdownOperation& operation) {
  if (::shutdown(descriptor.fd.get(), SHUT_WR) != 0) operation.error = errno;
  return true;
}

bool EpollBackend::PollOnce(EpollDescriptor& descriptor,
                            PollOperation& operation) {
  const bool in = operation.direction() == IoDirection::kIn;
  pollfd wanted = {descriptor.fd.get(),
                   static_cast<int16_t>(in ? POLLIN : POLLOUT), 0};
  if (::poll(&wanted, 1, 0) != 0) return true;
  descriptor.ready[in ? kIn : kOut] = false;
  return false;
}

}  // namespace braid::detail
