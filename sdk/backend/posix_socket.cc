#include "braid/backend/posix_socket.h"

#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "braid/backend/errno_status.h"

namespace braid::detail {
namespace {

int SetInt(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : errno;
}

int GetInt(int fd, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

// The forced form, which only the privileged may use, goes beyond the system's
// limit.
int SetBuffer(int fd, int name, int forced, int bytes) {
  if (bytes == 0 || SetInt(fd, SOL_SOCKET, forced, bytes) == 0) return 0;
  return SetInt(fd, SOL_SOCKET, name, bytes);
}

absl::Status Failed(int error, const char* what, const SocketRequest& request) {
  const char* kind = request.kind == IoKind::kUdp ? "UDP " : "TCP ";
  const SocketAddress& about =
      request.bind.empty() ? request.peer : request.bind;
  return ErrnoStatus(error, what + (kind + about.ToString()));
}

}  // namespace

void UniqueFd::Reset() {
  // Linux has released the number whatever close says, EINTR included
  // (close(2)).
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

absl::StatusOr<UniqueFd> OpenSocket(const SocketRequest& request) {
  const SocketAddress& sample =
      request.bind.empty() ? request.peer : request.bind;
  if (sample.empty())
    return absl::InvalidArgumentError(
        "a socket needs an address to bind or connect to; this one is empty");
  const int family = sample.is_v4() ? AF_INET : AF_INET6;
  const int type = request.kind == IoKind::kUdp ? SOCK_DGRAM : SOCK_STREAM;
  UniqueFd fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok()) {
    // Every address of a machine that has no IPv6 is every IPv4 address.
    if (errno == EAFNOSUPPORT &&
        request.bind == SocketAddress::Any(request.bind.port()) &&
        !request.v6_only) {
      SocketRequest v4 = request;
      v4.bind = SocketAddress::AnyV4(request.bind.port());
      return OpenSocket(v4);
    }
    return Failed(errno, "open a socket for ", request);
  }

  int error = 0;
  const auto set = [&](int level, int name, int value) {
    if (error == 0) error = SetInt(fd.get(), level, name, value);
  };
  if (family == AF_INET6)
    set(IPPROTO_IPV6, IPV6_V6ONLY, request.v6_only ? 1 : 0);
  if (request.reuse_port) set(SOL_SOCKET, SO_REUSEPORT, 1);
  // A listener may be restarted while connections of the one before it linger.
  // It would let two UDP sockets share a port.
  if (request.kind == IoKind::kTcpListener) set(SOL_SOCKET, SO_REUSEADDR, 1);
  // Accepted connections inherit it.
  if (request.kind != IoKind::kUdp && request.no_delay)
    set(IPPROTO_TCP, TCP_NODELAY, 1);
  if (error == 0)
    error =
        SetBuffer(fd.get(), SO_RCVBUF, SO_RCVBUFFORCE, request.receive_buffer);
  if (error == 0)
    error = SetBuffer(fd.get(), SO_SNDBUF, SO_SNDBUFFORCE, request.send_buffer);
  if (error == 0 && request.kind == IoKind::kUdp && request.bind.is_any()) {
    if (family == AF_INET) {
      set(IPPROTO_IP, IP_PKTINFO, 1);
    } else {
      set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
  }
  if (error != 0) return Failed(error, "set up a socket for ", request);

  if (!request.bind.empty()) {
    if (::bind(fd.get(), request.bind.raw(), request.bind.size()) != 0)
      return Failed(errno, "bind ", request);
  }
  // A datagram socket is connected at once: it only notes the peer.
  if (request.kind == IoKind::kUdp && !request.peer.empty()) {
    if (::connect(fd.get(), request.peer.raw(), request.peer.size()) != 0)
      return Failed(errno, "connect ", request);
  }
  if (request.kind == IoKind::kTcpListener) {
    if (::listen(fd.get(), request.backlog > 0 ? request.backlog : SOMAXCONN) !=
        0) {
      return Failed(errno, "listen on ", request);
    }
  }
  return fd;
}

absl::Status PrepareAdopted(int fd, IoKind kind) {
  const int flags = ::fcntl(fd, F_GETFL);
  const std::string what = "file descriptor " + std::to_string(fd);
  // Not Closed, which is said of what the SDK had and closed.
  if (flags < 0) return absl::InvalidArgumentError(what + " is not open");
  if (kind == IoKind::kPollable) return absl::OkStatus();
  if (kind == IoKind::kFile) {
    struct stat about;
    const bool good = ::fstat(fd, &about) == 0 &&
                      (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode));
    return good ? absl::OkStatus()
                : absl::InvalidArgumentError(
                      what + " is not a regular file or directory");
  }
  const int type = GetInt(fd, SOL_SOCKET, SO_TYPE);
  const int family = GetInt(fd, SOL_SOCKET, SO_DOMAIN);
  const bool listens = GetInt(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1;
  if (type < 0) return absl::InvalidArgumentError(what + " is not a socket");
  if (family != AF_INET && family != AF_INET6)
    return absl::InvalidArgumentError(what + " is not an IP socket");
  if ((type == SOCK_DGRAM) != (kind == IoKind::kUdp) ||
      (type != SOCK_DGRAM && type != SOCK_STREAM)) {
    return absl::InvalidArgumentError(what + (kind == IoKind::kUdp
                                                  ? " is not a UDP socket"
                                                  : " is not a TCP socket"));
  }
  if (listens != (kind == IoKind::kTcpListener)) {
    return absl::InvalidArgumentError(
        what +
        (listens ? " listens; it is not a connection" : " does not listen"));
  }
  if (kind == IoKind::kTcpStream && PeerAddressOf(fd).empty()) {
    return absl::InvalidArgumentError(what + " is not connected");
  }
  if (kind == IoKind::kUdp && LocalAddressOf(fd).is_any()) {
    // Best effort: without it, replies leave from an address that the system
    // chooses.
    if (family == AF_INET) {
      SetInt(fd, IPPROTO_IP, IP_PKTINFO, 1);
    } else {
      SetInt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
  }
  if ((flags & O_NONBLOCK) == 0 &&
      ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return ErrnoStatus(errno, "make " + what + " non-blocking");
  }
  return absl::OkStatus();
}

SocketAddress LocalAddressOf(int fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::kCapacity;
  return ::getsockname(fd, address.raw(), &size) == 0 ? address
                                                      : SocketAddress();
}

SocketAddress PeerAddressOf(int fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::kCapacity;
  return ::getpeername(fd, address.raw(), &size) == 0 ? address
                                                      : SocketAddress();
}

SocketInfo InspectSocket(int fd) {
  SocketInfo info;
  info.local = LocalAddressOf(fd);
  info.peer = PeerAddressOf(fd);
  info.receive_buffer = GetInt(fd, SOL_SOCKET, SO_RCVBUF);
  info.send_buffer = GetInt(fd, SOL_SOCKET, SO_SNDBUF);
  uint32_t memory[SK_MEMINFO_VARS] = {};
  socklen_t size = sizeof memory;
  if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) == 0)
    info.kernel_drops = memory[SK_MEMINFO_DROPS];
  return info;
}

bool WantsDestination(int fd, const SocketAddress& local) {
  if (!local.is_any()) return false;
  return local.is_v4() ? GetInt(fd, IPPROTO_IP, IP_PKTINFO) == 1
                       : GetInt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) == 1;
}

bool TakesRuns(int fd) { return GetInt(fd, SOL_UDP, UDP_SEGMENT) >= 0; }

bool GivesRuns(int fd) { return GetInt(fd, SOL_UDP, UDP_GRO) == 1; }

bool AskForRuns(int fd) { return SetInt(fd, SOL_UDP, UDP_GRO, 1) == 0; }

SocketAddress DestinationOf(const msghdr& message, const SocketAddress& bound) {
  for (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(const_cast<msghdr*>(&message),
                            const_cast<cmsghdr*>(header))) {
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      // ipi_addr is the destination in the packet; ipi_spec_dst the address
      // that a reply is to leave from (ip(7)): the same, except for broadcast
      // and multicast, where the former can't be sent from.
      uint8_t bytes[4];
      std::memcpy(bytes, &info.ipi_spec_dst, sizeof bytes);
      return SocketAddress::V4(bytes, bound.port());
    }
    if (header->cmsg_level == IPPROTO_IPV6 &&
        header->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      const bool link_local = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ||
                              IN6_IS_ADDR_MC_LINKLOCAL(&info.ipi6_addr);
      return SocketAddress::V6(info.ipi6_addr.s6_addr, bound.port(),
                               link_local ? info.ipi6_ifindex : 0);
    }
  }
  return {};
}

void SetSource(msghdr& message, DestinationControl& control,
               const SocketAddress& source) {
  cmsghdr& header = control.header;
  message.msg_control = &control;
  if (source.is_v4()) {
    in_pktinfo info = {};
    std::memcpy(&info.ipi_spec_dst, source.bytes().data(), 4);
    header.cmsg_level = IPPROTO_IP;
    header.cmsg_type = IP_PKTINFO;
    header.cmsg_len = CMSG_LEN(sizeof info);
    message.msg_controllen = CMSG_SPACE(sizeof info);
    std::memcpy(CMSG_DATA(&header), &info, sizeof info);
  } else {
    in6_pktinfo info = {};
    std::memcpy(&info.ipi6_addr, source.bytes().data(), 16);
    info.ipi6_ifindex = source.scope();
    header.cmsg_level = IPPROTO_IPV6;
    header.cmsg_type = IPV6_PKTINFO;
    header.cmsg_len = CMSG_LEN(sizeof info);
    message.msg_controllen = CMSG_SPACE(sizeof info);
    std::memcpy(CMSG_DATA(&header), &info, sizeof info);
  }
}

void SetSegmentSize(msghdr& message, SendControl& control, uint16_t size) {
  unsigned char* place = control.bytes + message.msg_controllen;
  cmsghdr header = {};
  header.cmsg_level = SOL_UDP;
  header.cmsg_type = UDP_SEGMENT;
  header.cmsg_len = CMSG_LEN(sizeof size);
  std::memcpy(place, &header, sizeof header);
  std::memcpy(place + CMSG_LEN(0), &size, sizeof size);
  message.msg_control = &control;
  message.msg_controllen += CMSG_SPACE(sizeof size);
}

size_t SegmentSizeOf(const msghdr& message) {
  for (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(const_cast<msghdr*>(&message),
                            const_cast<cmsghdr*>(header))) {
    if (header->cmsg_level != SOL_UDP || header->cmsg_type != UDP_GRO) continue;
    int size = 0;
    std::memcpy(&size, CMSG_DATA(header), sizeof size);
    return size > 0 ? static_cast<size_t>(size) : 0;
  }
  return 0;
}

}  // namespace braid::detail
