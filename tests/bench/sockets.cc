#include "tests/bench/sockets.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <string>

#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

constexpr int kBacklog = 256;

int Open(int type) {
  int fd = socket(AF_INET, type, 0);
  if (fd < 0) Die("socket", errno);
  return fd;
}

std::string Name(std::string_view call, int port) {
  return std::string(call) + " 127.0.0.1:" + std::to_string(port);
}

}  // namespace

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int BindLoopback(int type, int port) {
  int fd = Open(type);
  sockaddr_in address = Loopback(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    Die(Name("bind", port), errno);
  bool stream = (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM;
  if (stream && listen(fd, kBacklog) != 0) Die(Name("listen", port), errno);
  return fd;
}

int ConnectLoopback(int type, int port) {
  int fd = Open(type);
  sockaddr_in address = Loopback(port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    Die(Name("connect", port), errno);
  return fd;
}

int LocalPort(int fd) {
  sockaddr_in address = {};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    Die("getsockname", errno);
  return ntohs(address.sin_port);
}

void SetNoDelay(int fd) {
  int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
    Die("TCP_NODELAY", errno);
}

}  // namespace braid::bench
