#include "braid/backend/asio/epoll_backend.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "braid/backend/errno_status.h"
#include "braid/backend/socket_calls.h"

namespace braid::detail {
namespace {

constexpr int kIn = static_cast<int>(IoDirection::kIn);
constexpr int kOut = static_cast<int>(IoDirection::kOut);

// Events taken per look.
constexpr int kMaxEvents = 256;
// Lets `fd` end waits in the set, and nothing else. Every event is an edge:
// nobody has to read it. An errno.
int AddBare(int epoll, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

}  // namespace

class EpollBackend::EpollDescriptor final : public PosixDescriptor {
 public:
  using PosixDescriptor::PosixDescriptor;

  // The events that epoll tells; 0 while it isn't in the set.
  uint32_t watched = 0;
  // Whether the call of that direction may succeed. Nothing is known about what
  // comes in until epoll has told; a new socket can be written to.
  std::array<bool, 2> ready = {false, true};
  // A read that got less than it asked for has emptied the socket, unless there
  // is more to tell than bytes.
  bool short_read_means_empty = false;
};

absl::Status EpollBackend::Init() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.ok()) return ErrnoStatus(errno, "open an epoll set");
  if (absl::Status status = OpenWakeUp(EFD_NONBLOCK); !status.ok())
    return status;
  if (const int error = AddBare(epoll_.get(), wake_fd()); error != 0)
    return ErrnoStatus(error, "watch an eventfd");
  return absl::OkStatus();
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
  operation.Withdraw();
}

void EpollBackend::Release(Descriptor& released) noexcept {
  auto& descriptor = static_cast<EpollDescriptor&>(released);
  descriptor.closed = true;
  descriptor.RefuseWaiting();
  // Closing takes it out of the set only if no other process or number refers
  // to the same open file.
  if (descriptor.watched != 0)
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor.fd.get(), nullptr);
  descriptor.CloseFd();
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
  const ssize_t got = CallReceive(descriptor.fd.get(), buffer);
  if (got < 0) {
    error = static_cast<int>(-got);
    if (WouldBlock(error)) {
      error = 0;
      descriptor.ready[kIn] = false;
      return false;
    }
    if (EndsConnection(error)) descriptor.broken = error;
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
  const ssize_t sent =
      CallSend(descriptor.fd.get(), operation.data.subspan(operation.done));
  if (sent < 0) {
    const int error = static_cast<int>(-sent);
    if (WouldBlock(error)) {
      descriptor.ready[kOut] = false;
      return false;
    }
    operation.error = error;
    if (EndsConnection(error)) descriptor.broken = error;
    operation.LeaveRest();
    return true;
  }
  operation.done += static_cast<size_t>(sent);
  if (operation.done == operation.data.size()) return true;
  descriptor.ready[kOut] = false;  // it took what there was room for
  return false;
}

bool EpollBackend::ReceiveFrom(EpollDescriptor& descriptor,
                               ReceiveFromOperation& operation) {
  descriptor.ready[kIn] = CallReceiveFrom(descriptor, operation);
  return descriptor.ready[kIn];
}

bool EpollBackend::SendTo(EpollDescriptor& descriptor,
                          SendToOperation& operation) {
  descriptor.ready[kOut] = CallSendTo(descriptor, operation);
  return descriptor.ready[kOut];
}

bool EpollBackend::ReceiveBatch(EpollDescriptor& descriptor,
                                ReceiveBatchOperation& operation) {
  if (scratch_ == nullptr) scratch_ = std::make_unique<BatchScratch>();
  if (!descriptor.slab->available()) return false;
  bool drained = false;
  const bool done = scratch_->Receive(descriptor, operation, drained);
  // It stops early only when there is no more, or on an error that the next
  // call tells, of which there is an edge.
  descriptor.ready[kIn] = done && !drained;
  return done;
}

bool EpollBackend::SendBatch(EpollDescriptor& descriptor,
                             SendBatchOperation& operation) {
  if (scratch_ == nullptr) scratch_ = std::make_unique<BatchScratch>();
  descriptor.ready[kOut] = scratch_->Send(descriptor, operation);
  return descriptor.ready[kOut];
}

bool EpollBackend::Accept(EpollDescriptor& descriptor,
                          AcceptOperation& operation) {
  SocketAddress peer;
  const int accepted = CallAccept(descriptor.fd.get(), peer);
  if (accepted < 0) {
    if (WouldBlock(-accepted)) {
      descriptor.ready[kIn] = false;
      return false;
    }
    operation.error = -accepted;
    return true;
  }
  operation.accepted = MakeDescriptor(UniqueFd(accepted), IoKind::kTcpStream,
                                      /*borrowed=*/false);
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
