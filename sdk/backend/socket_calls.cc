#include "braid/backend/socket_calls.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace braid::detail {
namespace {

// The kernel's limits for one message (udp(7)): datagrams, and bytes, which
// IPv4 sets.
constexpr size_t kLongestRun = 64;
constexpr size_t kLargestRun = 65507;

// How many datagrams from the front may go as one message: between the same
// two, of one size, but that the last may be shorter.
size_t RunLength(const PosixDescriptor& descriptor,
                 std::span<const Datagram> batch) {
  const Datagram& first = batch.front();
  const size_t size = first.data.size();
  if (size == 0) return 1;
  const size_t limit =
      std::min({batch.size(), kLongestRun, kLargestRun / size});
  for (size_t i = 1; i < limit; ++i) {
    const Datagram& next = batch[i];
    const size_t next_size = next.data.size();
    if (next_size > size || next_size == 0 ||
        (descriptor.peer.empty() && next.peer != first.peer) ||
        (descriptor.wants_destination && next.local != first.local)) {
      return i;
    }
    if (next_size < size) return i + 1;
  }
  return std::max<size_t>(limit, 1);
}

// Errors by which the kernel may mean that it can't make datagrams of a message
// (segments longer than the path takes, a route without checksums, no memory
// for all at once), while each by itself may go. That depends on the peer, and
// trying costs a hundredth of what sending each does, so nothing is remembered.
bool RefusesRun(int error) {
  switch (error) {
    case EINVAL:
    case EIO:
    case EMSGSIZE:
    case ENOBUFS:
    case ENOMEM:
      return true;
    default:
      return false;
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

bool CallReceiveFrom(PosixDescriptor& descriptor,
                     ReceiveFromOperation& operation) {
  // With MSG_TRUNC, the result is the length on the wire.
  constexpr int kFlags = MSG_TRUNC | MSG_DONTWAIT;
  const int fd = descriptor.fd.get();
  Datagram& datagram = operation.datagram;
  if (descriptor.merged != nullptr) {
    if (descriptor.merged->empty()) {
      bool drained = false;
      const int error = descriptor.merged->Fill(descriptor, drained);
      if (WouldBlock(error)) return false;
      operation.error = error;
      if (error != 0) return true;
    }
    descriptor.merged->PopInto(descriptor, datagram);
    return true;
  }
  std::byte* data = datagram.data.data();
  ssize_t size = 0;
  if (descriptor.wants_destination) {
    iovec part;
    DestinationControl control;
    msghdr message = {};
    SetReceiving(message, part, datagram.data, datagram.peer);
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

bool CallSendTo(const PosixDescriptor& descriptor, SendToOperation& operation) {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  const int fd = descriptor.fd.get();
  const std::byte* data = operation.data.data();
  const size_t size = operation.data.size();
  ssize_t sent = 0;
  if (operation.peer.empty()) {
    sent = Retrying([&] { return ::send(fd, data, size, kFlags); });
  } else if (descriptor.wants_destination && !operation.local.empty()) {
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

bool BatchScratch::Receive(PosixDescriptor& descriptor,
                           ReceiveBatchOperation& operation, bool& drained) {
  if (descriptor.merged != nullptr)
    return ReceiveMerged(descriptor, operation, drained);
  const bool wants_destination = descriptor.wants_destination;
  std::unique_ptr<DatagramBlock> taken = descriptor.slab->Take();
  DatagramBlock& block = *taken;
  const size_t limit = std::min(block.datagrams.size(), kMaxBatch);
  for (size_t i = 0; i < limit; ++i) {
    msghdr& header = messages_[i].msg_hdr;
    SetReceiving(header, parts_[i], block.Room(i), block.datagrams[i].peer);
    header.msg_control = wants_destination ? &controls_[i] : nullptr;
    header.msg_controllen = wants_destination ? sizeof(DestinationControl) : 0;
  }
  const int received = Retrying([&] {
    return ::recvmmsg(descriptor.fd.get(), messages_.data(),
                      static_cast<unsigned>(limit), MSG_TRUNC | MSG_DONTWAIT,
                      nullptr);
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

// All that are there and go into a batch, however few of them a message has.
// They lie close together: it is as they came, and easy to send as it is.
bool BatchScratch::ReceiveMerged(PosixDescriptor& descriptor,
                                 ReceiveBatchOperation& operation,
                                 bool& drained) {
  MergedDatagrams& merged = *descriptor.merged;
  if (merged.empty()) {
    const int error = merged.Fill(descriptor, drained);
    if (WouldBlock(error)) return false;
    operation.error = error;
    if (error != 0) return true;
  }
  std::unique_ptr<DatagramBlock> block = descriptor.slab->Take();
  const size_t limit = std::min(block->datagrams.size(), kMaxBatch);
  std::byte* place = block->storage.get();
  for (block->received = 0; block->received < limit; ++block->received) {
    if (merged.empty()) {
      if (drained) break;
      const int error = merged.Fill(descriptor, drained);
      if (error != 0) {
        drained = WouldBlock(error);
        if (!drained) merged.TellLater(error);
        break;
      }
    }
    Datagram& datagram = block->datagrams[block->received];
    datagram.data = std::span(place, block->datagram_size);
    merged.PopInto(descriptor, datagram);
    place += datagram.data.size();
  }
  drained = drained && merged.empty();
  operation.block = std::move(block);
  return true;
}

size_t BatchScratch::Prepare(const PosixDescriptor& descriptor,
                             std::span<const Datagram> batch, size_t single) {
  size_t count = 0;
  for (size_t i = 0; i < batch.size(); i += runs_[count++]) {
    const Datagram& datagram = batch[i];
    const size_t run = descriptor.takes_runs && i >= single
                           ? RunLength(descriptor, batch.subspan(i))
                           : 1;
    iovec* part = &parts_[i];
    *part = {datagram.data.data(), datagram.data.size()};
    for (const Datagram& next : batch.subspan(i + 1, run - 1)) {
      const bool adjoins =
          next.data.data() ==
          static_cast<const std::byte*>(part->iov_base) + part->iov_len;
      if (adjoins) {
        part->iov_len += next.data.size();
      } else {
        *++part = {next.data.data(), next.data.size()};
      }
    }
    msghdr& header = messages_[count].msg_hdr;
    const bool connected = datagram.peer.empty() || !descriptor.peer.empty();
    header.msg_name =
        connected ? nullptr : const_cast<sockaddr*>(datagram.peer.raw());
    header.msg_namelen = connected ? 0 : datagram.peer.size();
    header.msg_iov = &parts_[i];
    header.msg_iovlen = static_cast<size_t>(part - &parts_[i]) + 1;
    header.msg_control = nullptr;
    header.msg_controllen = 0;
    header.msg_flags = 0;
    if (descriptor.wants_destination && !datagram.local.empty())
      SetSource(header, controls_[count].source, datagram.local);
    if (run > 1)
      SetSegmentSize(header, controls_[count],
                     static_cast<uint16_t>(datagram.data.size()));
    runs_[count] = static_cast<uint8_t>(run);
  }
  return count;
}

bool BatchScratch::Send(const PosixDescriptor& descriptor,
                        SendBatchOperation& operation) {
  size_t single = 0;  // of those that are left
  while (operation.sent < operation.datagrams.size()) {
    const auto left = operation.datagrams.subspan(operation.sent);
    const size_t count = Prepare(
        descriptor, left.first(std::min(left.size(), kMaxBatch)), single);
    const int messages = Retrying([&] {
      return ::sendmmsg(descriptor.fd.get(), messages_.data(),
                        static_cast<unsigned>(count),
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    });
    if (messages < 0) {
      const int error = errno;
      if (runs_[0] > 1 && RefusesRun(error)) {
        single = runs_[0];
        continue;
      }
      if (operation.sent > 0) return true;  // the next call tells
      if (WouldBlock(error)) return false;
      operation.error = error;
      return true;
    }
    const auto sent = static_cast<size_t>(messages);
    const size_t before = operation.sent;
    for (size_t i = 0; i < sent; ++i) operation.sent += runs_[i];
    single -= std::min(single, operation.sent - before);
    // Where a run comes next, whether it is refused shows when it is tried
    // again.
    if (sent < count && runs_[sent] == 1) return true;
  }
  return true;
}

}  // namespace braid::detail
