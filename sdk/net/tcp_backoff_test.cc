// A process without descriptors: apart from the other tests of TCP, as
// sanitizers need descriptors of their own.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/net/tcp.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// A listener that can't accept must not spin, and goes on when it can.
TEST(Tcp, AcceptBacksOffWhileThereAreNoDescriptors) {
  RunOnBackend("asio", []() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
    TcpStream client =
        co_await OrReturn(TcpStream::Connect(listener.local_address()));
    rlimit before;
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    std::vector<int> taken;
    const rlimit tight = {.rlim_cur = OpenDescriptors() + 1,
                          .rlim_max = before.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int fd = 0; (fd = ::dup(0)) >= 0;) taken.push_back(fd);
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("acceptor", [&]() -> Task<absl::Status> {
            TcpStream server = co_await OrReturn(listener.Accept());
            EXPECT_EQ(server.peer_address(), client.local_address());
            co_return absl::OkStatus();
          });
          while (listener.backoffs() < 2) co_await SleepFor(1ms);
          EXPECT_LE(listener.backoffs(), 3u);
          EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
          co_return co_await group.Join();
        }));
    for (int fd : taken) ::close(fd);
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid
