// The subjects `raw_epoll_plain`, `raw_epoll_mmsg`, `raw_epoll_offload` (UDP)
// and `raw_epoll` (TCP):
// the system calls and nothing else.
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "tests/bench/benches.h"
#include "tests/bench/sockets.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

constexpr int kBatch = 64;

class Poller {
 public:
  Poller() : fd_(epoll_create1(0)) {
    if (fd_ < 0) Die("epoll_create1", errno);
  }
  void Add(int fd) {
    epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0) Die("epoll_ctl", errno);
  }
  // How many of `events` are filled.
  template <size_t size>
  int Wait(std::array<epoll_event, size>& events) {
    int ready = epoll_wait(fd_, events.data(), size, -1);
    if (ready < 0 && errno != EINTR) Die("epoll_wait", errno);
    return ready;
  }

 private:
  int fd_;
};

int ListenUdp(Run& run) {
  int fd = BindLoopback(SOCK_DGRAM | SOCK_NONBLOCK, run.port());
  run.Listening(LocalPort(fd));
  return fd;
}

// Receive one, answer it; wait only when there is nothing to receive.
void UdpPlain(Run& run) {
  int fd = ListenUdp(run);
  Poller poller;
  poller.Add(fd);
  std::array<epoll_event, 1> events;
  static char buffer[kMaxDatagram];
  while (true) {
    poller.Wait(events);
    while (true) {
      sockaddr_in peer;
      socklen_t peer_size = sizeof peer;
      auto* address = reinterpret_cast<sockaddr*>(&peer);
      ssize_t size =
          recvfrom(fd, buffer, sizeof buffer, 0, address, &peer_size);
      if (size < 0) break;
      sendto(fd, buffer, size, 0, address, peer_size);
      if (++counted == run.ops()) return run.Done(counted);
    }
  }
}

// Up to kBatch datagrams to a call. A batch that isn't full means that the
// queue is empty.
void UdpBatch(Run& run) {
  int fd = ListenUdp(run);
  Poller poller;
  poller.Add(fd);
  std::array<epoll_event, 1> events;
  static std::array<std::array<char, kMaxDatagram>, kBatch> buffers;
  static std::array<sockaddr_in, kBatch> peers;
  static std::array<iovec, kBatch> parts;
  static std::array<mmsghdr, kBatch> messages;
  for (int i = 0; i < kBatch; ++i) {
    msghdr& header = messages[i].msg_hdr;
    header.msg_iov = &parts[i];
    header.msg_iovlen = 1;
    header.msg_name = &peers[i];
    parts[i].iov_base = buffers[i].data();
  }
  while (true) {
    poller.Wait(events);
    int received = 0;
    do {
      for (int i = 0; i < kBatch; ++i) {
        parts[i].iov_len = kMaxDatagram;
        messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
      }
      received = recvmmsg(fd, messages.data(), kBatch, 0, nullptr);
      for (int i = 0; i < received; ++i) parts[i].iov_len = messages[i].msg_len;
      for (int sent = 0; sent < received;) {
        int now = sendmmsg(fd, messages.data() + sent, received - sent, 0);
        if (now <= 0) break;
        sent += now;
      }
      if (received > 0) counted += received;
      if (run.ops() > 0 && counted >= run.ops()) return run.Done(counted);
    } while (received == kBatch);
  }
}

// Up to kRuns messages to a call, each of which may be a run of datagrams
// (UDP_GRO) and is sent back as one (UDP_SEGMENT). Nobody looks at the
// datagrams in it.
void UdpOffload(Run& run) {
  constexpr int kRuns = 16;
  union Control {
    cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  };
  int fd = ListenUdp(run);
  const int one = 1;
  if (setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) != 0)
    Die("setsockopt of UDP_GRO", errno);
  Poller poller;
  poller.Add(fd);
  std::array<epoll_event, 1> events;
  static std::array<std::array<char, 65536>, kRuns> buffers;
  static std::array<sockaddr_in, kRuns> peers;
  static std::array<iovec, kRuns> parts;
  static std::array<Control, kRuns> controls;
  static std::array<mmsghdr, kRuns> messages;
  while (true) {
    poller.Wait(events);
    int received = 0;
    do {
      for (int i = 0; i < kRuns; ++i) {
        parts[i] = {buffers[i].data(), buffers[i].size()};
        msghdr& header = messages[i].msg_hdr;
        header = {};
        header.msg_iov = &parts[i];
        header.msg_iovlen = 1;
        header.msg_name = &peers[i];
        header.msg_namelen = sizeof(sockaddr_in);
        header.msg_control = &controls[i];
        header.msg_controllen = sizeof(Control);
      }
      received = recvmmsg(fd, messages.data(), kRuns, 0, nullptr);
      for (int i = 0; i < received; ++i) {
        parts[i].iov_len = messages[i].msg_len;
        msghdr& header = messages[i].msg_hdr;
        cmsghdr* control = CMSG_FIRSTHDR(&header);
        int size = 0;
        if (control != nullptr && control->cmsg_type == UDP_GRO)
          std::memcpy(&size, CMSG_DATA(control), sizeof size);
        if (size == 0) {
          counted += 1;
          header.msg_controllen = 0;
          continue;
        }
        counted += (messages[i].msg_len + size - 1) / size;
        const auto segment = static_cast<uint16_t>(size);
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof segment);
        std::memcpy(CMSG_DATA(control), &segment, sizeof segment);
        header.msg_controllen = CMSG_SPACE(sizeof segment);
      }
      for (int sent = 0; sent < received;) {
        int now = sendmmsg(fd, messages.data() + sent, received - sent, 0);
        if (now <= 0) break;
        sent += now;
      }
      if (run.ops() > 0 && counted >= run.ops()) return run.Done(counted);
    } while (received == kRuns);
  }
}

void TcpEcho(Run& run) {
  RaiseDescriptorLimit();
  int listener = BindLoopback(SOCK_STREAM | SOCK_NONBLOCK, run.port());
  Poller poller;
  poller.Add(listener);
  run.Listening(LocalPort(listener));
  std::array<epoll_event, 256> events;
  static char buffer[4096];
  while (true) {
    int ready = poller.Wait(events);
    for (int i = 0; i < ready; ++i) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int connection = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        if (connection < 0) continue;
        SetNoDelay(connection);
        poller.Add(connection);
        continue;
      }
      ssize_t size = recv(fd, buffer, sizeof buffer, 0);
      if (size > 0) {
        send(fd, buffer, size, MSG_NOSIGNAL);
        if (++counted == run.ops()) return run.Done(counted);
      } else if (size == 0 || errno != EAGAIN) {
        close(fd);
      }
    }
  }
}

constexpr Bench kBenches[] = {{"udp_echo_64", UdpPlain},
                              {"udp_echo_64_batch", UdpBatch},
                              {"udp_echo_64_offload", UdpOffload},
                              {"tcp_echo_64x64", TcpEcho},
                              {"sweep_connections", TcpEcho, /*sweep=*/true}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
