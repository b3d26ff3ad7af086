// Load for udp_echo_64 and udp_echo_64_batch: kUdpSockets connected sockets
// with kUdpWindow datagrams outstanding on each. And for udp_echo_64_offload:
// runs of kUdpRun, as one message each way where the server does that too.
#include <netinet/udp.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tests/bench/benches.h"
#include "tests/bench/load.h"
#include "tests/bench/sockets.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

// No answer for this long, and what is outstanding is taken for lost: sent
// again, or in bursts, whose number is exact, the end.
constexpr int64_t kLost = 50'000'000;
constexpr int64_t kBurstLost = 10'000'000'000;

// Messages that share one place to send from, and one to receive into: nobody
// looks at what comes back but its size.
class Messages {
 public:
  explicit Messages(size_t size) : part_{data_.data(), size} {
    for (mmsghdr& message : messages_) {
      message.msg_hdr.msg_iov = &part_;
      message.msg_hdr.msg_iovlen = 1;
    }
  }
  mmsghdr* data() { return messages_.data(); }

 private:
  std::array<char, kMaxDatagram> data_ = {};
  iovec part_;
  std::array<mmsghdr, kUdpWindow> messages_ = {};
};

struct Client {
  int fd = -1;
  int outstanding = 0;
  int64_t last_answer = 0;
};

class Load {
 public:
  explicit Load(const LoadOptions& options)
      : runs_(options.bench == "udp_echo_64_offload"),
        window_(options, options.size > 1 ? Window::ServerThreads::kMany
                                          : Window::ServerThreads::kOne),
        lost_after_(window_.bursts() ? kBurstLost : kLost) {
    for (Client& client : clients_) {
      client.fd = ConnectLoopback(SOCK_DGRAM | SOCK_NONBLOCK, options.port);
      if (runs_) {
        SetUdpOption(client.fd, UDP_SEGMENT, kPayload);
        SetUdpOption(client.fd, UDP_GRO, 1);
      }
    }
  }

  void Run() {
    while (!window_.Over(answered_)) {
      int64_t now = WallNow();
      if (!window_.bursts() || sent_ == answered_) {
        for (Client& client : clients_) Send(client, now);
      }
      if (window_.bursts()) Sleep();
      for (Client& client : clients_) Receive(client, now);
    }
    window_.Print(resent_);
  }

 private:
  static void SetUdpOption(int fd, int name, int value) {
    if (setsockopt(fd, SOL_UDP, name, &value, sizeof value) != 0)
      Die("setsockopt of UDP", errno);
  }

  void Send(Client& client, int64_t now) {
    if (runs_ && client.outstanding > 0) return;
    const int window = runs_ ? kUdpRun : kUdpWindow;
    int wanted = 0;
    while (client.outstanding + wanted < window &&
           window_.MaySend(sent_ + wanted))
      ++wanted;
    if (wanted == 0) return;
    int gone = 0;
    if (runs_) {
      gone =
          send(client.fd, run_.data(), wanted * kPayload, 0) < 0 ? -1 : wanted;
    } else {
      gone = sendmmsg(client.fd, out_.data(), wanted, 0);
    }
    if (gone < 0 && errno != EAGAIN) Die("send", errno);
    if (gone <= 0) return;
    if (client.outstanding == 0) client.last_answer = now;
    client.outstanding += gone;
    sent_ += gone;
  }

  void Receive(Client& client, int64_t now) {
    const int received = runs_ ? ReceiveRun(client) : ReceiveBatch(client);
    if (received > 0) {
      answered_ += received;
      client.outstanding -= received;
      client.last_answer = now;
    } else if (client.outstanding > 0 &&
               now - client.last_answer > lost_after_) {
      if (window_.bursts()) Die("the server", "doesn't answer");
      sent_ -= client.outstanding;
      resent_ += client.outstanding;
      client.outstanding = 0;
    }
  }

  int ReceiveBatch(const Client& client) {
    const int received =
        recvmmsg(client.fd, in_.data(), kUdpWindow, MSG_DONTWAIT, nullptr);
    for (int i = 0; i < received; ++i) CheckAnswer(in_.data()[i].msg_len);
    return received;
  }

  // One message, of one datagram or more.
  int ReceiveRun(const Client& client) {
    const auto size = recv(client.fd, run_.data(), run_.size(), MSG_DONTWAIT);
    if (size < 0) return 0;
    const int count = static_cast<int>(size / kPayload);
    CheckAnswer(size - (count - 1) * kPayload);
    return count;
  }

  static void CheckAnswer(int64_t size) {
    if (size != kPayload) Die("an answer", "is not as long as what was sent");
  }

  void Sleep() {
    std::array<pollfd, kUdpSockets> wanted;
    std::ranges::transform(clients_, wanted.begin(), [](const Client& client) {
      return pollfd{.fd = client.fd, .events = POLLIN, .revents = 0};
    });
    poll(wanted.data(), wanted.size(), /*milliseconds=*/1000);
  }

  const bool runs_;
  std::array<char, kUdpRun * kPayload> run_ = {};
  Messages out_{kPayload};
  Messages in_{kMaxDatagram};
  std::array<Client, kUdpSockets> clients_;
  uint64_t sent_ = 0;
  uint64_t answered_ = 0;
  uint64_t resent_ = 0;
  Window window_;
  int64_t lost_after_;
};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  braid::bench::Load(braid::bench::ParseLoad(argc, argv)).Run();
}
