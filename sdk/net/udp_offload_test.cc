// UdpOptions::offload: the same datagrams in fewer messages, and what happens
// where the kernel won't have it. That all else is as without offload, udp_test
// shows.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/net/udp.h"

namespace {

// What the kernel is made to do, and what it was asked for.
struct Kernel {
  // Messages that it takes at a time.
  unsigned most = UINT32_MAX;
  // What it says to a message that carries a run.
  int refuses_runs = 0;
  // What it says to the n-th message from now.
  int fails_at = -1;
  int fails_with = 0;
  std::vector<size_t> runs;  // datagrams in each message that it took
};
Kernel kernel;

size_t RunOf(const msghdr& message) {
  for (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(const_cast<msghdr*>(&message),
                            const_cast<cmsghdr*>(header))) {
    if (header->cmsg_level != SOL_UDP || header->cmsg_type != UDP_SEGMENT)
      continue;
    uint16_t size = 0;
    std::memcpy(&size, CMSG_DATA(header), sizeof size);
    size_t bytes = 0;
    for (size_t i = 0; i < message.msg_iovlen; ++i)
      bytes += message.msg_iov[i].iov_len;
    return (bytes + size - 1) / size;
  }
  EXPECT_EQ(message.msg_iovlen, 1u);
  return 1;
}

}  // namespace

extern "C" int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  static auto* const next =
      reinterpret_cast<decltype(&sendmmsg)>(dlsym(RTLD_NEXT, "sendmmsg"));
  int error = 0;
  unsigned taken = 0;
  for (; taken < std::min(count, kernel.most); ++taken) {
    if (kernel.refuses_runs != 0 && RunOf(messages[taken].msg_hdr) > 1) {
      error = kernel.refuses_runs;
      break;
    }
    if (kernel.fails_at == 0) {
      if (taken == 0) kernel.fails_at = -1;
      error = kernel.fails_with;
      break;
    }
    if (kernel.fails_at > 0) --kernel.fails_at;
  }
  if (taken == 0) {
    errno = error;
    return -1;
  }
  const int sent = next(fd, messages, taken, flags);
  for (int i = 0; i < sent; ++i)
    kernel.runs.push_back(RunOf(messages[i].msg_hdr));
  return sent;
}

namespace braid {
namespace {

using testing::Test;

constexpr char kLoopback[] = "127.0.0.1:0";
constexpr char kWhy[] = "about messages to a kernel";

// Datagrams of these sizes, all different, to `peer`.
class Texts {
 public:
  Texts(std::span<const size_t> sizes, const SocketAddress& peer) {
    for (const size_t size : sizes) {
      std::string text(size, static_cast<char>('a' + texts_.size() % 26));
      const std::string number = std::to_string(texts_.size());
      text.replace(0, std::min(size, number.size()),
                   number.substr(0, std::min(size, number.size())));
      texts_.push_back(std::move(text));
    }
    for (std::string& text : texts_) {
      Datagram datagram;
      datagram.data = text;
      datagram.peer = peer;
      datagrams_.push_back(datagram);
    }
  }
  Texts(size_t count, size_t size, const SocketAddress& peer)
      : Texts(std::vector<size_t>(count, size), peer) {}
  Texts(const Texts&) = delete;
  Texts& operator=(const Texts&) = delete;

  size_t size() const { return texts_.size(); }
  const std::string& operator[](size_t i) const { return texts_[i]; }
  std::span<Datagram> datagrams() { return datagrams_; }

 private:
  std::vector<std::string> texts_;
  std::vector<Datagram> datagrams_;
};

Task<absl::Status> SendAll(UdpSocket* socket, std::span<const Datagram> rest) {
  while (!rest.empty()) {
    const size_t sent = co_await OrReturn(socket->SendBatch(rest));
    EXPECT_GT(sent, 0u);
    rest = rest.subspan(sent);
  }
  co_return absl::OkStatus();
}

// They come in order, whole, from `peer`, and nothing else does.
Task<absl::Status> ExpectAll(UdpSocket* socket, const Texts* texts,
                             SocketAddress peer) {
  size_t next = 0;
  while (next < texts->size()) {
    DatagramBatch batch = co_await OrReturn(socket->ReceiveBatch());
    EXPECT_GT(batch.size(), 0u);
    for (const Datagram& datagram : batch) {
      EXPECT_EQ(datagram.data.text(), (*texts)[next]) << next;
      EXPECT_EQ(datagram.size, (*texts)[next].size());
      EXPECT_EQ(datagram.peer, peer);
      EXPECT_EQ(datagram.local, socket->local_address());
      ++next;
    }
  }
  EXPECT_EQ(next, texts->size());
  co_return absl::OkStatus();
}

class UdpOffload : public Test {
 protected:
  UdpOffload() { kernel = {}; }
};

TEST_F(UdpOffload, DatagramsOfAllSizesArriveAsTheyWereSent) {
  for (const bool sender : {false, true}) {
    for (const bool receiver : {false, true}) {
      SCOPED_TRACE(testing::Message() << sender << receiver);
      RunOnEveryBackend([&]() -> Task<absl::Status> {
        UdpSocket a =
            co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = sender}));
        UdpSocket b = co_await OrReturn(
            UdpSocket::Bind(kLoopback, {.offload = receiver}));
        std::vector<size_t> sizes;
        for (int i = 0; i < 20; ++i) {
          // Runs with and without a shorter end, an empty one, alone, longer
          // than what came before.
          for (const size_t size : {64, 64, 64, 10, 64, 0, 0, 64, 65, 65, 1})
            sizes.push_back(size);
        }
        Texts texts(sizes, b.local_address());
        co_await OrReturn(SendAll(&a, texts.datagrams()));
        co_return co_await ExpectAll(&b, &texts, a.local_address());
      });
    }
  }
}

TEST_F(UdpOffload, SpeaksIPv6) {
  RunOnEveryBackend([&]() -> Task<absl::Status> {
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind("[::1]:0", {.offload = true}));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(
        "[::1]:0", {.receive_buffer = 1 << 20, .offload = true}));
    Texts texts(100, 1000, b.local_address());
    co_await OrReturn(SendAll(&a, texts.datagrams()));
    co_return co_await ExpectAll(&b, &texts, a.local_address());
  });
}

TEST_F(UdpOffload, SaysWhetherItHasIt) {
  RunOnRealBackends(kWhy, [&]() -> Task<absl::Status> {
    UdpSocket with =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    UdpSocket without = co_await OrReturn(UdpSocket::Bind(kLoopback));
    EXPECT_TRUE(with.Info().offload);  // Linux 5.0 and later
    EXPECT_FALSE(without.Info().offload);
    co_return absl::OkStatus();
  });
  RunOnBackend("sim", [&]() -> Task<absl::Status> {
    UdpSocket with =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    EXPECT_FALSE(with.Info().offload);
    co_return absl::OkStatus();
  });
}

TEST_F(UdpOffload, ARunIsOneMessage) {
  RunOnRealBackends(kWhy, [&]() -> Task<absl::Status> {
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket c = co_await OrReturn(UdpSocket::Bind(kLoopback));
    const auto runs = [&](std::vector<size_t> sizes) {
      kernel.runs.clear();
      return std::make_unique<Texts>(sizes, b.local_address());
    };
    // Of one size, the last one shorter.
    auto texts = runs({64, 64, 64, 10, 64});
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts->datagrams())), 5u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{4, 1}));
    texts = runs({64, 65, 65, 0, 0, 1, 1});
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts->datagrams())), 7u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{1, 2, 1, 1, 2}));
    // Of at most 64 KiB.
    texts = runs({30'000, 30'000, 30'000, 40'000, 65'507});
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts->datagrams())), 5u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{2, 1, 1, 1}));
    // To one peer.
    texts = runs({64, 64, 64, 64});
    texts->datagrams()[2].peer = c.local_address();
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts->datagrams())), 4u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{2, 1, 1}));
    // Of 64.
    texts = runs(std::vector<size_t>(130, 8));
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts->datagrams())), 130u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{64, 64, 2}));
    // Not without the option.
    texts = runs({64, 64});
    EXPECT_EQ(co_await OrReturn(c.SendBatch(texts->datagrams())), 2u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{1, 1}));
    // Of a connected socket, whatever peer they name.
    UdpSocket d = co_await OrReturn(
        UdpSocket::Connect(b.local_address(), {.offload = true}));
    texts = runs({64, 64});
    texts->datagrams()[1].peer = SocketAddress();
    EXPECT_EQ(co_await OrReturn(d.SendBatch(texts->datagrams())), 2u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{2}));
    co_return absl::OkStatus();
  });
}

// A run leaves from the address that each of its datagrams names.
TEST_F(UdpOffload, RepliesFromTheAddressesThatWereWrittenTo) {
  for (const bool v6 : {false, true}) {
    RunOnEveryBackend([&]() -> Task<absl::Status> {
      UdpSocket server = co_await OrReturn(
          UdpSocket::Bind(v6 ? SocketAddress::Any(0) : SocketAddress::AnyV4(0),
                          {.offload = true}));
      UdpSocket client =
          co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
      const std::string port = std::to_string(server.local_address().port());
      std::vector<SocketAddress> froms;
      for (const char* host : {"127.0.0.1:", "127.0.0.2:"})
        froms.push_back(co_await OrReturn(SocketAddress::Parse(host + port)));
      Texts texts(6, 100, froms[0]);
      for (size_t i = 3; i < 6; ++i) texts.datagrams()[i].peer = froms[1];
      co_await OrReturn(SendAll(&client, texts.datagrams()));
      for (size_t got = 0; got < 6;) {
        DatagramBatch batch = co_await OrReturn(server.ReceiveBatch());
        for (const Datagram& datagram : batch) {
          EXPECT_EQ(datagram.local.Unmapped(), froms[got / 3]);
          ++got;
        }
        kernel.runs.clear();
        co_await OrReturn(SendAll(&server, batch.datagrams()));
        if (batch.size() == 6 && !kernel.runs.empty())
          EXPECT_EQ(kernel.runs, (std::vector<size_t>{3, 3}));
      }
      for (size_t got = 0; got < 6;) {
        DatagramBatch batch = co_await OrReturn(client.ReceiveBatch());
        for (const Datagram& datagram : batch) {
          EXPECT_EQ(datagram.peer, froms[got / 3]);
          EXPECT_EQ(datagram.data.text(), texts[got]);
          ++got;
        }
      }
      co_return absl::OkStatus();
    });
  }
}

// Batches stay as large as asked for, what is cut stays cut, and Receive and
// ReceiveBatch go on where the other stopped, within what came as one.
TEST_F(UdpOffload, WhatCameAsOneIsTakenApart) {
  RunOnEveryBackend([&]() -> Task<absl::Status> {
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(
        kLoopback,
        {.batch_size = 3, .batch_datagram_size = 40, .offload = true}));
    Texts texts(40, 64, b.local_address());
    co_await OrReturn(SendAll(&a, texts.datagrams()));
    size_t next = 0;
    std::array<std::byte, 10> small;
    while (next < texts.size()) {
      Datagram one = co_await OrReturn(b.Receive(small));
      EXPECT_EQ(one.data.text(), texts[next++].substr(0, 10));
      EXPECT_EQ(one.size, 64u);
      EXPECT_EQ(one.peer, a.local_address());
      if (next == texts.size()) break;
      DatagramBatch batch = co_await OrReturn(b.ReceiveBatch());
      EXPECT_LE(batch.size(), 3u);
      for (const Datagram& datagram : batch) {
        EXPECT_EQ(datagram.data.text(), texts[next++].substr(0, 40));
        EXPECT_TRUE(datagram.truncated());
      }
    }
    co_return absl::OkStatus();
  });
}

// A receiver that is cancelled, or has no batch to lend, while part of a run
// waits: the rest is there for the next one, and new ones come after it.
TEST_F(UdpOffload, WhatWaitsOfARunIsKept) {
  RunOnEveryBackend([&]() -> Task<absl::Status> {
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(
        kLoopback, {.batch_size = 4, .max_batches = 1, .offload = true}));
    Texts texts(12, 64, b.local_address());
    co_await OrReturn(SendAll(&a, texts.datagrams().first(10)));
    size_t next = 0;
    while (next < 12) {
      DatagramBatch lent = co_await OrReturn(b.ReceiveBatch());
      for (const Datagram& datagram : lent)
        EXPECT_EQ(datagram.data.text(), texts[next++]);
      if (next == 8)
        co_await OrReturn(SendAll(&a, texts.datagrams().subspan(10)));
      CancelScope scope;
      scope.Cancel();
      EXPECT_FALSE((co_await scope.Run(b.ReceiveBatch())).has_value());
      EXPECT_FALSE((co_await MoveOnAfter(std::chrono::microseconds(100),
                                         b.ReceiveBatch()))
                       .has_value());
    }
    EXPECT_EQ(next, 12u);
    EXPECT_FALSE(
        (co_await MoveOnAfter(std::chrono::milliseconds(1), b.ReceiveBatch()))
            .has_value());
    co_return absl::OkStatus();
  });
}

// `sent` counts datagrams, not messages.
TEST_F(UdpOffload, APartialSendSaysHowManyWentOut) {
  RunOnRealBackends(kWhy, [&]() -> Task<absl::Status> {
    kernel = {};
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    UdpSocket b =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    const size_t sizes[] = {64, 64, 10, 32, 32, 32, 100, 99};
    Texts texts(sizes, b.local_address());
    // The third message finds no room.
    kernel.fails_at = 2;
    kernel.fails_with = EAGAIN;
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts.datagrams())), 6u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{3, 3}));
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts.datagrams().subspan(6))), 2u);
    // The kernel takes one at a time.
    kernel.most = 1;
    co_await OrReturn(ExpectAll(&b, &texts, a.local_address()));
    co_await OrReturn(SendAll(&a, texts.datagrams()));
    co_return co_await ExpectAll(&b, &texts, a.local_address());
  });
}

// Routes without offload say EIO, segments beyond the path's MTU EMSGSIZE or,
// on older kernels, EINVAL.
TEST_F(UdpOffload, ARunThatIsRefusedGoesOneByOne) {
  for (const int error : {EIO, EINVAL, EMSGSIZE, ENOBUFS}) {
    SCOPED_TRACE(error);
    RunOnRealBackends(kWhy, [&]() -> Task<absl::Status> {
      kernel = {};
      kernel.refuses_runs = error;
      UdpSocket a =
          co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
      UdpSocket b =
          co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
      const size_t sizes[] = {100, 64, 64, 10, 64, 32, 32, 0, 5};
      Texts texts(sizes, b.local_address());
      EXPECT_EQ(co_await OrReturn(a.SendBatch(texts.datagrams())), 9u);
      EXPECT_EQ(kernel.runs, (std::vector<size_t>(9, 1)));
      co_await OrReturn(ExpectAll(&b, &texts, a.local_address()));
      // The next one is tried again.
      kernel = {};
      EXPECT_EQ(co_await OrReturn(a.SendBatch(texts.datagrams())), 9u);
      EXPECT_EQ(kernel.runs, (std::vector<size_t>{2, 2, 2, 1, 1, 1}));
      co_return co_await ExpectAll(&b, &texts, a.local_address());
    });
  }
}

// The real thing: a socket without checksums can't have its runs cut up.
TEST_F(UdpOffload, ASocketWithoutChecksumsSendsOneByOne) {
  RunOnRealBackends(kWhy, [&]() -> Task<absl::Status> {
    kernel = {};
    const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
    const SocketAddress loopback = SocketAddress::LoopbackV4(0);
    EXPECT_EQ(::bind(fd, loopback.raw(), loopback.size()), 0);
    const int one = 1;
    EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &one, sizeof one), 0);
    UdpSocket a = co_await OrReturn(UdpSocket::FromFd(fd, {.offload = true}));
    UdpSocket b =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    Texts texts(100, 64, b.local_address());
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts.datagrams())), 100u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>(100, 1)));
    co_return co_await ExpectAll(&b, &texts, a.local_address());
  });
}

// And so is one whose datagrams are longer than its MTU: by themselves they are
// fragmented.
TEST_F(UdpOffload, DatagramsLongerThanTheMtuGoOneByOne) {
  RunOnRealBackends(kWhy, [&]() -> Task<absl::Status> {
    kernel = {};
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind("[::1]:0", {.offload = true}));
    const int mtu = 1280;
    EXPECT_EQ(::setsockopt(a.native_handle(), IPPROTO_IPV6, IPV6_MTU, &mtu,
                           sizeof mtu),
              0);
    UdpSocket b = co_await OrReturn(
        UdpSocket::Bind("[::1]:0", {.receive_buffer = 1 << 20,
                                    .batch_datagram_size = 4096,
                                    .offload = true}));
    const size_t sizes[] = {1500, 1500, 1500, 1000, 1000};
    Texts texts(sizes, b.local_address());
    EXPECT_EQ(co_await OrReturn(a.SendBatch(texts.datagrams())), 5u);
    EXPECT_EQ(kernel.runs, (std::vector<size_t>{1, 1, 1, 1, 1}));
    co_return co_await ExpectAll(&b, &texts, a.local_address());
  });
}

TEST_F(UdpOffload, AnErrorIsAboutTheFirstDatagram) {
  RunOnEveryBackend([&]() -> Task<absl::Status> {
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    UdpSocket b =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    const size_t sizes[] = {64, 64, 64, 70'000, 64, 64};
    Texts texts(sizes, b.local_address());
    const std::span<const Datagram> out = texts.datagrams();
    EXPECT_EQ(co_await OrReturn(a.SendBatch(out)), 3u);
    const absl::StatusOr<size_t> failed = co_await a.SendBatch(out.subspan(3));
    EXPECT_EQ(failed.status().code(), absl::StatusCode::kInvalidArgument)
        << failed.status();
    EXPECT_EQ(co_await OrReturn(a.SendBatch(out.subspan(4))), 2u);
    size_t received = 0;
    while (received < 5)
      received += (co_await OrReturn(b.ReceiveBatch())).size();
    EXPECT_EQ(received, 5u);
    co_return absl::OkStatus();
  });
}

// The kernel tells it once, to whichever call comes next: trying a run again
// must not be the one that hides it.
TEST_F(UdpOffload, AConnectedSocketIsToldThatItsPeerIsGone) {
  RunOnEveryBackend([&]() -> Task<absl::Status> {
    UdpSocket b = co_await OrReturn(UdpSocket::Bind(kLoopback));
    UdpSocket a = co_await OrReturn(
        UdpSocket::Connect(b.local_address(), {.offload = true}));
    co_await b.Close();
    Texts texts(4, 64, SocketAddress());
    co_await OrReturn(SendAll(&a, texts.datagrams()));
    co_await SleepFor(std::chrono::milliseconds(10));
    const absl::StatusOr<size_t> told = co_await a.SendBatch(texts.datagrams());
    EXPECT_EQ(told.status().code(), absl::StatusCode::kUnavailable)
        << told.status();
    co_return absl::OkStatus();
  });
}

// Who sets the option himself gets single datagrams all the same.
TEST_F(UdpOffload, ASocketThatWasAskingAlreadyIsTakenOver) {
  RunOnRealBackends(kWhy, [&]() -> Task<absl::Status> {
    const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
    const SocketAddress loopback = SocketAddress::LoopbackV4(0);
    EXPECT_EQ(::bind(fd, loopback.raw(), loopback.size()), 0);
    const int one = 1;
    EXPECT_EQ(::setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one), 0);
    // These take room next to what the kernel says of a run.
    EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one),
              0);
    EXPECT_EQ(::setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof one), 0);
    UdpSocket b = co_await OrReturn(UdpSocket::FromFd(fd));
    UdpSocket a =
        co_await OrReturn(UdpSocket::Bind(kLoopback, {.offload = true}));
    Texts texts(100, 64, b.local_address());
    co_await OrReturn(SendAll(&a, texts.datagrams()));
    co_return co_await ExpectAll(&b, &texts, a.local_address());
  });
}

}  // namespace
}  // namespace braid
