// The subject `raw_uring`: io_uring and nothing else. Multishot receive and
// accept, a ring of provided buffers, answers sent from the buffer that was
// received into, one io_uring_enter to submit all of them and wait for more.
//
// The UDP server is the subject of both udp_echo_64 and udp_echo_64_batch: it
// has no other form.
#include <liburing.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "tests/bench/benches.h"
#include "tests/bench/sockets.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

constexpr unsigned kEntries = 2048;
constexpr unsigned kCompletions = 8192;
constexpr int kBuffers = 1024;  // a power of two
constexpr int kGroup = 0;

// What a completion is of: kind, descriptor and buffer in its user_data.
enum class Kind : uint8_t { kAccept, kReceive, kSend };
struct Tag {
  Kind kind;
  int fd;
  uint16_t buffer;

  uint64_t Pack() const {
    return static_cast<uint64_t>(kind) << 56 |
           static_cast<uint64_t>(buffer) << 32 | static_cast<uint32_t>(fd);
  }
  static Tag Unpack(uint64_t data) {
    return {static_cast<Kind>(data >> 56), static_cast<int>(data),
            static_cast<uint16_t>(data >> 32)};
  }
};

uint16_t BufferOf(const io_uring_cqe& completion) {
  return completion.flags >> IORING_CQE_BUFFER_SHIFT;
}

class Ring {
 public:
  Ring() {
    io_uring_params params = {};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_CQSIZE;
    params.cq_entries = kCompletions;
    int error = -io_uring_queue_init_params(kEntries, &ring_, &params);
    if (error == EPERM || error == ENOSYS || error == EINVAL) {
      std::fprintf(stderr,
                   "raw_uring: io_uring_setup: %s: not permitted or too old a "
                   "kernel here\n",
                   std::strerror(error));
      std::_Exit(kNotAvailable);
    }
    if (error != 0) Die("io_uring_setup", error);
    size_t descriptors = kBuffers * sizeof(io_uring_buf);
    auto* memory = static_cast<char*>(
        mmap(nullptr, descriptors + size_t{kBuffers} * kMaxDatagram,
             PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE,
             -1, 0));
    if (memory == MAP_FAILED) Die("mmap of the buffers", errno);
    buffers_ = reinterpret_cast<io_uring_buf_ring*>(memory);
    memory_ = memory + descriptors;
    io_uring_buf_reg registration = {};
    registration.ring_addr = reinterpret_cast<uint64_t>(buffers_);
    registration.ring_entries = kBuffers;
    registration.bgid = kGroup;
    if (int result = io_uring_register_buf_ring(&ring_, &registration, 0))
      Die("io_uring_register_buf_ring", -result);
    io_uring_buf_ring_init(buffers_);
    for (int i = 0; i < kBuffers; ++i) Recycle(i);
  }

  char* Buffer(uint16_t index) {
    return memory_ + size_t{index} * kMaxDatagram;
  }

  // Gives a buffer back to the kernel, at the end of this turn.
  void Recycle(uint16_t index) {
    io_uring_buf_ring_add(buffers_, Buffer(index), kMaxDatagram, index,
                          io_uring_buf_ring_mask(kBuffers), recycled_++);
  }

  io_uring_sqe* Submission() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (entry == nullptr) {
      io_uring_submit(&ring_);
      entry = io_uring_get_sqe(&ring_);
    }
    return entry;
  }

  // Submits what there is, waits for at least one completion and gives each to
  // `handle`.
  template <class Handle>
  void Turn(Handle handle) {
    if (recycled_ > 0) io_uring_buf_ring_advance(buffers_, recycled_);
    recycled_ = 0;
    int result = io_uring_submit_and_wait(&ring_, 1);
    if (result < 0 && result != -EINTR) Die("io_uring_enter", -result);
    io_uring_cqe* completion = nullptr;
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_, head, completion) {
      ++seen;
      handle(*completion);
    }
    io_uring_cq_advance(&ring_, seen);
  }

 private:
  io_uring ring_;
  io_uring_buf_ring* buffers_;
  char* memory_;
  int recycled_ = 0;
};

void UdpEcho(Run& run) {
  Ring ring;
  int fd = BindLoopback(SOCK_DGRAM, run.port());
  run.Listening(LocalPort(fd));

  msghdr shape = {};  // of what multishot recvmsg puts into each buffer
  shape.msg_namelen = sizeof(sockaddr_in);
  struct Answer {
    msghdr header;
    iovec part;
  };
  static Answer answers[kBuffers];

  auto receive = [&] {
    io_uring_sqe* entry = ring.Submission();
    io_uring_prep_recvmsg_multishot(entry, fd, &shape, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = kGroup;
    io_uring_sqe_set_data64(entry, Tag{Kind::kReceive, fd, 0}.Pack());
  };
  auto on_received = [&](const io_uring_cqe& completion) {
    if (!(completion.flags & IORING_CQE_F_MORE)) receive();
    if (completion.res == -ENOBUFS)
      return;  // every buffer is in flight: the next receive waits for one
    if (completion.res < 0) Die("recvmsg", -completion.res);
    uint16_t index = BufferOf(completion);
    io_uring_recvmsg_out* message =
        io_uring_recvmsg_validate(ring.Buffer(index), completion.res, &shape);
    if (message == nullptr) Die("recvmsg", "gave a buffer that is too small");
    Answer& answer = answers[index];
    answer.part = {
        io_uring_recvmsg_payload(message, &shape),
        io_uring_recvmsg_payload_length(message, completion.res, &shape)};
    answer.header.msg_name = io_uring_recvmsg_name(message);
    answer.header.msg_namelen = message->namelen;
    answer.header.msg_iov = &answer.part;
    answer.header.msg_iovlen = 1;
    io_uring_sqe* entry = ring.Submission();
    io_uring_prep_sendmsg(entry, fd, &answer.header, 0);
    io_uring_sqe_set_data64(entry, Tag{Kind::kSend, fd, index}.Pack());
  };

  receive();
  while (run.ops() == 0 || counted < run.ops()) {
    ring.Turn([&](const io_uring_cqe& completion) {
      Tag tag = Tag::Unpack(completion.user_data);
      if (tag.kind == Kind::kReceive) return on_received(completion);
      ring.Recycle(tag.buffer);
      ++counted;
    });
  }
  run.Done(counted);
}

void TcpEcho(Run& run) {
  RaiseDescriptorLimit();
  Ring ring;
  int listener = BindLoopback(SOCK_STREAM, run.port());
  run.Listening(LocalPort(listener));
  io_uring_sqe* accept = ring.Submission();
  io_uring_prep_multishot_accept(accept, listener, nullptr, nullptr, 0);
  io_uring_sqe_set_data64(accept, Tag{Kind::kAccept, listener, 0}.Pack());

  auto receive = [&](int fd) {
    io_uring_sqe* entry = ring.Submission();
    io_uring_prep_recv_multishot(entry, fd, nullptr, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = kGroup;
    io_uring_sqe_set_data64(entry, Tag{Kind::kReceive, fd, 0}.Pack());
  };
  auto on_received = [&](int fd, const io_uring_cqe& completion) {
    if (completion.res == -ENOBUFS) return receive(fd);
    if (completion.res <= 0) {
      if (completion.flags & IORING_CQE_F_BUFFER)
        ring.Recycle(BufferOf(completion));
      close(fd);
      return;
    }
    uint16_t index = BufferOf(completion);
    io_uring_sqe* entry = ring.Submission();
    io_uring_prep_send(entry, fd, ring.Buffer(index), completion.res,
                       MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(entry, Tag{Kind::kSend, fd, index}.Pack());
    if (!(completion.flags & IORING_CQE_F_MORE)) receive(fd);
  };

  while (run.ops() == 0 || counted < run.ops()) {
    ring.Turn([&](const io_uring_cqe& completion) {
      Tag tag = Tag::Unpack(completion.user_data);
      switch (tag.kind) {
        case Kind::kAccept:
          if (completion.res < 0) Die("accept", -completion.res);
          SetNoDelay(completion.res);
          receive(completion.res);
          break;
        case Kind::kReceive:
          on_received(tag.fd, completion);
          break;
        case Kind::kSend:
          ring.Recycle(tag.buffer);
          ++counted;
          break;
      }
    });
  }
  run.Done(counted);
}

constexpr Bench kBenches[] = {{"udp_echo_64", UdpEcho},
                              {"udp_echo_64_batch", UdpEcho},
                              {"tcp_echo_64x64", TcpEcho},
                              {"sweep_connections", TcpEcho, /*sweep=*/true}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
