// How tests count what echoing costs.
//
// For: a test program that puts its own recvfrom and so on before those of the
// libraries, by COUNTED; they count, and call those. Only what happens between
// StartCounting and StopCounting counts: what the test does as a client is left
// out. Included by one file of a program.

#ifndef BRAID_NET_COST_COUNTERS_H_
#define BRAID_NET_COST_COUNTERS_H_

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <utility>

#include "braid/backend/socket_address.h"
#include "braid/testing/allocations.h"

// Defines the C function `name`, which does `++counter` and then what it did.
#define COUNTED(counter, result, name, parameters, arguments)            \
  extern "C" result name parameters {                                    \
    static auto* const next =                                            \
        reinterpret_cast<result(*) parameters>(dlsym(RTLD_NEXT, #name)); \
    if (::braid::counting) ++(counter);                                  \
    return next arguments;                                               \
  }

namespace braid {

inline bool counting = false;
inline uint64_t allocations = 0;  // while counting
inline uint64_t allocations_at_start = 0;

inline void StartCounting() {
  allocations_at_start = Allocations();
  counting = true;
}
inline void StopCounting() {
  counting = false;
  allocations += Allocations() - allocations_at_start;
}

// Requests that are there when the server wakes up.
inline constexpr size_t kBurst = 64;

// A socket of the system.
class Client {
 public:
  Client(int type, const SocketAddress& server)
      : fd_(::socket(AF_INET, type, 0)) {
    EXPECT_EQ(::connect(fd_, server.raw(), server.size()), 0);
  }
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Client& operator=(Client&&) = delete;
  ~Client() {
    if (fd_ >= 0) ::close(fd_);
  }
  void Ask() {
    EXPECT_EQ(::send(fd_, request_.data(), request_.size(), 0), 64);
  }
  // kBurst requests in one message (UDP_SEGMENT).
  void AskInARun() {
    const int size = static_cast<int>(request_.size());
    EXPECT_EQ(::setsockopt(fd_, SOL_UDP, UDP_SEGMENT, &size, sizeof size), 0);
    const std::array<char, kBurst * 64> run = {};
    EXPECT_EQ(::send(fd_, run.data(), run.size(), 0), run.size());
  }
  void Hear() {
    EXPECT_EQ(::recv(fd_, request_.data(), request_.size(), 0), 64);
  }
  bool TryToHear() {
    return ::recv(fd_, request_.data(), request_.size(), MSG_DONTWAIT) == 64;
  }

 private:
  int fd_;
  std::array<char, 64> request_ = {};
};

}  // namespace braid

#endif  // BRAID_NET_COST_COUNTERS_H_
