#include "braid/backend/socket_calls.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace braid::detail {
namespace {

// Calls until it isn't interrupted.
template <typename F>
auto Retrying(F call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

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

bool EndsConnection(int error) { return error != ENOBUFS && error != ENOMEM; }

ssize_t CallReceive(int fd, std::span<std::byte> buffer) {
  const ssize_t got = Retrying(
      [&] { return ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT); });
  return got < 0 ? -errno : got;
}

ssize_t CallSend(int fd, std::span<const std::byte> data) {
  const ssize_t sent = Retrying([&] {
    return ::send(fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  });
  return sent < 0 ? -errno : sent;
}

int CallAccept(int fd, SocketAddress& peer) {
  for (;;) {
    socklen_t size = SocketAddress::kCapacity;
    const int accepted =
        ::accept4(fd, peer.raw(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) return accepted;
    if (errno != EINTR && !AboutOneConnection(errno)) return -errno;
  }
}

bool CallReceiveFrom(int fd, bool wants_destination,
                     const Descriptor& descriptor,
                     ReceiveFromOperation& operation) {
  // With MSG_TRUNC, the result is the length on the wire.
  constexpr int kFlags = MSG_TRUNC | MSG_DONTWAIT;
  Datagram& datagram = operation.datagram;
  std::byte* data = datagram.data.data();
  ssize_t size = 0;
  if (wants_destination) {
    iovec part = {data, datagram.data.size()};
    DestinationControl control;
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_name = datagram.peer.raw();
    message.msg_namelen = SocketAddress::kCapacity;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    size = Retrying([&] { return ::recvmsg(fd, &message, kFlags); });
    if (size >= 0) datagram.local = DestinationOf(message, descriptor.local);
  } else if (!descriptor.peer.empty()) {
    size = Retrying(
        [&] { return ::recv(fd, data, datagram.data.size(), kFlags); });
    datagram.peer = descriptor.peer;
    datagram.local = descriptor.local;
  } else {
    socklen_t name_size = SocketAddress::kCapacity;
    size = Retrying([&] {
      return ::recvfrom(fd, data, datagram.data.size(), kFlags,
                        datagram.peer.raw(), &name_size);
    });
    datagram.local = descriptor.local;
  }
  if (size < 0) {
    if (WouldBlock(errno)) return false;
    operation.error = errno;
    return true;
  }
  datagram.size = static_cast<size_t>(size);
  if (datagram.size < datagram.data.size())
    datagram.data = datagram.data.first(datagram.size);
  return true;
}

bool CallSendTo(int fd, bool wants_destination, SendToOperation& operation) {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  const std::byte* data = operation.data.data();
  const size_t size = operation.data.size();
  ssize_t sent = 0;
  if (operation.peer.empty()) {
    sent = Retrying([&] { return ::send(fd, data, size, kFlags); });
  } else if (wants_destination && !operation.local.empty()) {
    iovec part = {const_cast<std::byte*>(data), size};
    DestinationControl control;
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_name = operation.peer.raw();
    message.msg_namelen = operation.peer.size();
    SetSource(message, control, operation.local);
    sent = Retrying([&] { return ::sendmsg(fd, &message, kFlags); });
  } else {
    sent = Retrying([&] {
      return ::sendto(fd, data, size, kFlags, operation.peer.raw(),
                      operation.peer.size());
    });
  }
  if (sent >= 0) return true;
  if (WouldBlock(errno)) return false;
  operation.error = errno;
  return true;
}

bool BatchScratch::Receive(int fd, bool wants_destination,
                           const Descriptor& descriptor,
                           ReceiveBatchOperation& operation, bool& drained) {
  std::unique_ptr<DatagramBlock> taken = descriptor.slab->Take();
  DatagramBlock& block = *taken;
  const size_t limit = std::min(block.datagrams.size(), kMaxBatch);
  for (size_t i = 0; i < limit; ++i) {
    const std::span<std::byte> room = block.Room(i);
    parts_[i] = {room.data(), room.size()};
    msghdr& header = messages_[i].msg_hdr;
    header.msg_name = block.datagrams[i].peer.raw();
    header.msg_namelen = SocketAddress::kCapacity;
    header.msg_iov = &parts_[i];
    header.msg_iovlen = 1;
    header.msg_control = wants_destination ? &controls_[i] : nullptr;
    header.msg_controllen = wants_destination ? sizeof(DestinationControl) : 0;
  }
  const int received = Retrying([&] {
    return ::recvmmsg(fd, messages_.data(), static_cast<unsigned>(limit),
                      MSG_TRUNC | MSG_DONTWAIT, nullptr);
  });
  if (received < 0) {
    const int error = errno;
    descriptor.slab->Return(std::move(taken));
    if (WouldBlock(error)) return false;
    operation.error = error;
    return true;
  }
  block.received = static_cast<size_t>(received);
  for (size_t i = 0; i < block.received; ++i) {
    Datagram& datagram = block.datagrams[i];
    const mmsghdr& message = messages_[i];
    const std::span<std::byte> room = block.Room(i);
    datagram.size = message.msg_len;
    datagram.data = room.first(std::min<size_t>(message.msg_len, room.size()));
    datagram.local = wants_destination
                         ? DestinationOf(message.msg_hdr, descriptor.local)
                         : descriptor.local;
    if (message.msg_hdr.msg_namelen == 0) datagram.peer = descriptor.peer;
  }
  drained = block.received < limit;
  operation.block = std::move(taken);
  return true;
}

bool BatchScratch::Send(int fd, bool wants_destination,
                        const Descriptor& descriptor,
                        SendBatchOperation& operation) {
  while (operation.sent < operation.datagrams.size()) {
    const size_t count =
        std::min(operation.datagrams.size() - operation.sent, kMaxBatch);
    for (size_t i = 0; i < count; ++i) {
      const Datagram& datagram = operation.datagrams[operation.sent + i];
      parts_[i] = {datagram.data.data(), datagram.data.size()};
      msghdr& header = messages_[i].msg_hdr;
      const bool connected = datagram.peer.empty() || !descriptor.peer.empty();
      header.msg_name =
          connected ? nullptr : const_cast<sockaddr*>(datagram.peer.raw());
      header.msg_namelen = connected ? 0 : datagram.peer.size();
      header.msg_iov = &parts_[i];
      header.msg_iovlen = 1;
      header.msg_control = nullptr;
      header.msg_controllen = 0;
      header.msg_flags = 0;
      if (wants_destination && !datagram.local.empty())
        SetSource(header, controls_[i], datagram.local);
    }
    const int sent = Retrying([&] {
      return ::sendmmsg(fd, messages_.data(), static_cast<unsigned>(count),
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    });
    if (sent < 0) {
      if (operation.sent > 0) return true;  // the next call tells
      if (WouldBlock(errno)) return false;
      operation.error = errno;
      return true;
    }
    operation.sent += static_cast<size_t>(sent);
    if (static_cast<size_t>(sent) < count) return true;
  }
  return true;
}

}  // namespace braid::detail
