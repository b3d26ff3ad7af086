// Load for tcp_echo_64x64: kTcpConnections connections with one request
// outstanding on each; or, in a sweep, another number of connections, with
// requests outstanding on as many of them, one after the other. On io_uring,
// because that costs less than what any server does for an answer, so that the
// server is the bottleneck.
#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

#include "tests/bench/benches.h"
#include "tests/bench/load.h"
#include "tests/bench/sockets.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

constexpr unsigned kEntries = 256;
constexpr uint64_t kSendTag =
    1ull << 32;  // a completion of a send, that is, a failure

struct Connection {
  int fd = -1;
  int received = 0;
  std::array<char, kPayload> answer;
};

void Generate(const LoadOptions& options) {
  io_uring ring;
  int error = -io_uring_queue_init(
      kEntries, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
  if (error != 0) {
    std::fprintf(stderr,
                 "tcp_load: io_uring_setup: %s: not permitted or too old a "
                 "kernel here\n",
                 std::strerror(error));
    std::_Exit(kNotAvailable);
  }
  RaiseDescriptorLimit();
  std::vector<Connection> connections(options.size == 0 ? kTcpConnections
                                                        : options.size);
  static const std::array<char, kPayload> request = {};
  for (Connection& connection : connections) {
    connection.fd = ConnectLoopback(SOCK_STREAM, options.port);
    SetNoDelay(connection.fd);
  }
  auto send = [&](Connection& connection) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    io_uring_prep_send(entry, connection.fd, request.data(), request.size(),
                       MSG_NOSIGNAL | MSG_WAITALL);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(entry, kSendTag);
  };
  auto receive = [&](Connection& connection) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    io_uring_prep_recv(entry, connection.fd, connection.answer.data(),
                       kPayload - connection.received, 0);
    entry->ioprio |=
        IORING_RECVSEND_POLL_FIRST;  // an answer is never there yet
    io_uring_sqe_set_data64(
        entry, static_cast<uint64_t>(&connection - connections.data()));
  };
  // Those without a request, the one that waits longest first.
  std::deque<Connection*> idle;
  for (Connection& connection : connections) idle.push_back(&connection);
  const size_t at_a_time =
      std::min<size_t>(connections.size(), kTcpConnections);

  uint64_t sent = 0;
  uint64_t answered = 0;
  Window window(options, Window::ServerThreads::kOne);
  auto request_next = [&] {
    if (!window.MaySend(sent)) return;
    Connection& connection = *idle.front();
    idle.pop_front();
    ++sent;
    send(connection);
    receive(connection);
  };
  while (!window.Over(answered)) {
    if (sent == answered) {
      for (size_t i = 0; i < at_a_time; ++i) request_next();
    }
    int result = window.bursts() ? io_uring_submit_and_wait(&ring, 1)
                                 : io_uring_submit_and_get_events(&ring);
    if (result < 0 && result != -EINTR) Die("io_uring_enter", -result);
    io_uring_cqe* completion = nullptr;
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring, head, completion) {
      ++seen;
      if (completion->user_data == kSendTag) Die("send", -completion->res);
      if (completion->res < 0) Die("receive", -completion->res);
      if (completion->res == 0)
        Die("receive", "the server closed a connection");
      Connection& connection = connections[completion->user_data];
      connection.received += completion->res;
      if (connection.received < kPayload) {
        receive(connection);
        continue;
      }
      connection.received = 0;
      ++answered;
      idle.push_back(&connection);
      if (!window.bursts()) request_next();
    }
    io_uring_cq_advance(&ring, seen);
  }
  window.Print(/*resent=*/0);
}

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  braid::bench::Generate(braid::bench::ParseLoad(argc, argv));
  std::fflush(stdout);
  std::_Exit(0);  // receives are still in flight
}
