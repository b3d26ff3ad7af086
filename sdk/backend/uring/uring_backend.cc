#include "braid/backend/uring/uring_backend.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "braid/backend/errno_status.h"
#include "braid/backend/io_operation.h"
#include "braid/backend/posix_backend.h"
#include "braid/backend/socket_calls.h"
#include "braid/backend/uring/chunk_ring.h"
#include "braid/backend/uring/datagram_pool.h"
#include "braid/backend/uring/file_requests.h"
#include "braid/backend/uring/ring.h"

namespace braid {
namespace detail {
namespace {

constexpr int kIn = static_cast<int>(IoDirection::kIn);
constexpr int kOut = static_cast<int>(IoDirection::kOut);

// Datagrams that wait in the handle of their socket, at most; a few more come
// before the kernel has heard of it.
constexpr unsigned kMaxQueued = 96;
// Datagrams that leave at the end of the turn: how many at a time, and how
// large.
constexpr size_t kMaxDepartures = 128;
constexpr size_t kLargestDeparture = 2048;

// What a completion is about. Anything else is the address of a descriptor,
// with its direction in the lowest bit, of a departure, with the next one set,
// or of a file operation, with the one after that.
constexpr uint64_t kNothing = 0;
constexpr uint64_t kWakeUp = 4;
constexpr uint64_t kDirectionBit = 1;
constexpr uint64_t kDepartureBit = 2;

// Addresses that datagrams came from lately. It forgets.
class Sources {
 public:
  void Add(const SocketAddress& address) {
    SocketAddress& place = Place(address);
    if (place != address) place = address;
  }
  bool Has(const SocketAddress& address) { return Place(address) == address; }

 private:
  static constexpr int kBits = 6;

  SocketAddress& Place(const SocketAddress& address) {
    // Family, port, and in either form the end of the address.
    uint64_t key = address.port();
    const std::span<const uint8_t> bytes = address.bytes();
    uint32_t end = 0;
    std::memcpy(&end, bytes.data() + bytes.size() - sizeof end, sizeof end);
    key = (key << 32 | end) * 0x9e3779b97f4a7c15;
    return places_[key >> (64 - kBits)];
  }

  std::array<SocketAddress, 1 << kBits> places_;
};

}  // namespace

class UringBackend final : public PosixBackend {
 public:
  UringBackend(std::shared_ptr<Host> host, const UringOptions& options)
      : PosixBackend(std::move(host)),
        options_(options),
        provided_buffers_(options.provided_buffers),
        multishot_(options.provided_buffers && options.multishot_receive),
        buffers_(options.buffers) {}
  ~UringBackend() override {
    Check(in_flight_ == 0,
          "a uring backend goes while the kernel works for it; this is a bug "
          "in the backend");
  }
  absl::Status Init();

  std::string_view name() const override { return "uring"; }
  Factory ShardFactory() const override {
    return [options = options_, host = shared_host()] {
      return MakeUringBackend(options, host);
    };
  }

  void Run(Loop& loop) override;

  SocketInfo Inspect(const Descriptor& descriptor) const override;
  bool Submit(IoOperation& operation) override;
  void Cancel(IoOperation& operation) noexcept override;
  void Release(Descriptor& descriptor) noexcept override;
  void Replenish(Descriptor& descriptor) noexcept override;
  bool SubmitFile(FileOperation& operation) override;
  void CancelFile(FileOperation& operation) noexcept override;

 private:
  class UringDescriptor;
  struct Departure;
  // What the kernel has of one direction of a descriptor.
  enum class Request : uint8_t {
    kNone,
    kPoll,       // tells when a call may succeed
    kMultishot,  // puts datagrams into the handle
    kOperation,  // does what an operation asks for, in its memory
  };
  // What came of that.
  enum class Outcome : uint8_t {
    kDone,
    kAgain,      // not yet: it has to be asked for once more
    kWithdrawn,  // it didn't happen
  };

  IoHandle MakeDescriptor(UniqueFd fd, IoKind kind, bool borrowed) override;

  // Hands over requests and takes the completions there are.
  void Look();
  void WaitUntil(Time deadline);
  void TakeCompletions();
  void Quiesce();
  void ArmWakeUp();
  void OnWakeUp();

  // Starts and withdraws requests.
  io_uring_sqe* Begin(UringDescriptor& descriptor, int which, Request request);
  void BeginPoll(UringDescriptor& descriptor, int which);
  void BeginMultishot(UringDescriptor& descriptor);
  void Withdraw(UringDescriptor& descriptor, int which);
  void CancelRequest(uint64_t data);
  static uint64_t DataOf(UringDescriptor& descriptor, int which) {
    return reinterpret_cast<uint64_t>(&descriptor) |
           static_cast<uint64_t>(which);
  }

  // Looks whether `operation` can be done now; if so, it is. Nothing of its
  // direction is with the kernel that uses an operation's memory.
  bool Try(UringDescriptor& descriptor, IoOperation& operation);
  // Has the kernel do it, or tell when to try again, if that isn't under way.
  void Pursue(UringDescriptor& descriptor, IoOperation& operation);
  // Something has changed for what waits in that direction.
  void Proceed(UringDescriptor& descriptor, int which);
  void CloseIfIdle(UringDescriptor& descriptor);

  // Completions.
  void OnRequest(UringDescriptor& descriptor, int which,
                 const io_uring_cqe& completion);
  void OnDatagram(UringDescriptor& descriptor, const io_uring_cqe& completion);
  void OnDeparture(Departure& departure, int result);
  Outcome Finish(UringDescriptor& descriptor, IoOperation& operation,
                 const io_uring_cqe& completion);
  void Conclude(UringDescriptor& descriptor, int which, IoOperation& operation,
                Outcome outcome);

  bool Receive(UringDescriptor& descriptor, ReceiveOperation& operation);
  bool ReceiveChunk(UringDescriptor& descriptor,
                    ReceiveChunkOperation& operation);
  bool ReceiveInto(UringDescriptor& descriptor, std::span<std::byte> buffer,
                   size_t& size, int& error);
  bool ReceiveFrom(UringDescriptor& descriptor,
                   ReceiveFromOperation& operation);
  bool ReceiveBatch(UringDescriptor& descriptor,
                    ReceiveBatchOperation& operation);
  bool SendTo(UringDescriptor& descriptor, SendToOperation& operation);
  bool SendBatch(UringDescriptor& descriptor, SendBatchOperation& operation);
  bool Accept(UringDescriptor& descriptor, AcceptOperation& operation);
  bool PollOnce(UringDescriptor& descriptor, PollOperation& operation);

  bool MayDepartLater(UringDescriptor& descriptor,
                      const SendToOperation& operation) const;
  Departure* TakeDeparture();
  bool DepartLater(UringDescriptor& descriptor,
                   const SendToOperation& operation);
  // Whether everything that was to leave has left, so that a call may follow.
  bool AllDeparted(UringDescriptor& descriptor);
  bool UsesMultishot();
  bool UsesChunkRing();

  std::unique_ptr<Ring> ring_;
  std::optional<FileRequests> files_;
  std::unique_ptr<DatagramPool> pool_;     // once a UDP socket receives
  std::unique_ptr<ChunkRing> chunk_ring_;  // once a stream receives chunks
  // What the kernel has, as far as it is known.
  const UringOptions options_;
  bool provided_buffers_;
  bool multishot_;
  unsigned buffers_;
  uint64_t wake_count_ = 0;  // the kernel writes it
  bool running_ = false;
  // Requests that will complete.
  size_t in_flight_ = 0;
  bool taking_ = false;
  // Descriptors to go on with once all completions are taken.
  std::vector<UringDescriptor*> later_;
  IntrusiveList<UringDescriptor> with_requests_;
  std::vector<std::unique_ptr<Departure>> departures_;
  Departure* free_departures_ = nullptr;
  std::unordered_map<int, UringDescriptor*> watched_;  // foreign ones
  BatchScratch scratch_;
};

class UringBackend::UringDescriptor final : public PosixDescriptor,
                                            public IntrusiveListNode {
 public:
  using PosixDescriptor::PosixDescriptor;

  struct Lane {
    Request request = Request::kNone;
    bool withdrawing = false;
    // Whether a call may succeed.
    bool ready = false;
    // The kernel didn't wait with the last request, as older ones do on a
    // non-blocking socket: a poll comes before the next.
    bool poll_first = false;
    // Whose memory a kOperation uses. If it isn't what waits in this direction,
    // it was cancelled.
    IoOperation* owner = nullptr;
  };

  // Whether a call may get datagrams, or some are here that one got before.
  bool MayCallForDatagrams() const {
    return (merged != nullptr && !merged->empty()) ||
           (lanes[kIn].ready && lanes[kIn].request == Request::kNone);
  }

  // A datagram came from there.
  void Remember(const SocketAddress& source) {
    if (!peer.empty() || source.empty()) return;
    if (sources == nullptr) sources = std::make_unique<Sources>();
    sources->Add(source);
  }

  bool proceeds_later = false;
  std::array<Lane, 2> lanes;

  // Datagrams.
  DatagramPool::Queue arrived;
  msghdr shape = {};  // of what the multishot receive puts in there
  int receive_error = 0;
  int send_error = 0;
  std::unique_ptr<Sources> sources;
  unsigned departing = 0;
  uint64_t departs_with = 0;  // the hand-over that the last of them is part of

  // The kernel fills it.
  SocketAddress accepted_peer;
  socklen_t accepted_size = 0;
};

// A datagram on its way out.
struct UringBackend::Departure {
  UringDescriptor* descriptor;
  Departure* next_free;
  msghdr message;
  iovec part;
  SocketAddress peer;
  std::array<std::byte, kLargestDeparture> bytes;
  DestinationControl control;
};

absl::Status UringBackend::Init() {
  absl::StatusOr<std::unique_ptr<Ring>> ring = Ring::Open(options_);
  if (!ring.ok()) return ring.status();
  ring_ = *std::move(ring);
  files_.emplace(*ring_, options_.file_requests, options_.path_requests);
  // Blocking: a read of it is a request, and waits.
  return OpenWakeUp(0);
}

// The loop.

void UringBackend::Run(Loop& loop) {
  ring_->Attach();
  running_ = true;
  ArmWakeUp();
  for (;;) {
    const bool more = loop.Turn();
    if (loop.finished()) break;
    if (!more) {
      WaitUntil(loop.next_deadline());
    } else if (ring_->has_requests() || ring_->has_news()) {
      Look();
    }
  }
  Quiesce();
  ring_->Detach();
}

void UringBackend::ArmWakeUp() {
  io_uring_sqe* entry = ring_->Next();
  io_uring_prep_read(entry, wake_fd(), &wake_count_, sizeof wake_count_, 0);
  io_uring_sqe_set_data64(entry, kWakeUp);
  ++in_flight_;
}

void UringBackend::OnWakeUp() {
  --in_flight_;
  if (running_) ArmWakeUp();
}

void UringBackend::WaitUntil(Time deadline) {
  if (StartWaiting()) {
    Duration limit = Ring::kForever;
    if (deadline != kNever) limit = deadline - Now();
    if (limit > Duration::zero()) {
      ring_->Wait(limit);
    } else {
      ring_->Look();
    }
    StopWaiting();
  } else if (ring_->has_requests() || ring_->has_news()) {
    ring_->Look();
  }
  TakeCompletions();
}

void UringBackend::Look() {
  ring_->Look();
  TakeCompletions();
}

void UringBackend::TakeCompletions() {
  taking_ = true;
  ring_->TakeCompletions([this](const io_uring_cqe& completion) {
    const uint64_t data = completion.user_data;
    if (data == kNothing) return;
    if (data == kWakeUp) return OnWakeUp();
    if ((data & FileRequests::kBit) != 0)
      return files_->OnCompletion(data, completion.res);
    if ((data & kDepartureBit) != 0) {
      OnDeparture(*reinterpret_cast<Departure*>(data & ~kDepartureBit),
                  completion.res);
    } else {
      OnRequest(*reinterpret_cast<UringDescriptor*>(data & ~kDirectionBit),
                static_cast<int>(data & kDirectionBit), completion);
    }
  });
  for (UringDescriptor* descriptor : later_) {
    descriptor->proceeds_later = false;
    Proceed(*descriptor, kIn);
    descriptor->DropRef();
  }
  later_.clear();
  taking_ = false;
}

// Nothing of a loop that has ended stays with the kernel.
void UringBackend::Quiesce() {
  running_ = false;
  CancelRequest(kWakeUp);
  for (UringDescriptor* descriptor = with_requests_.front();
       descriptor != nullptr; descriptor = with_requests_.Next(descriptor)) {
    for (const int which : {kIn, kOut}) Withdraw(*descriptor, which);
  }
  while (in_flight_ > 0) {
    ring_->Wait(Ring::kForever);
    TakeCompletions();
  }
}

// Descriptors.

IoHandle UringBackend::MakeDescriptor(UniqueFd fd, IoKind kind, bool borrowed) {
  auto* descriptor = new UringDescriptor(*this, kind, std::move(fd), borrowed);
  descriptor->lanes[kOut].ready = kind == IoKind::kUdp;
  return IoHandle(descriptor);
}

SocketInfo UringBackend::Inspect(const Descriptor& descriptor) const {
  // So that it tells of all that was done before.
  if (ring_->has_requests()) ring_->Submit();
  return PosixBackend::Inspect(descriptor);
}

void UringBackend::Release(Descriptor& released) noexcept {
  auto& descriptor = static_cast<UringDescriptor&>(released);
  const DescriptorRef alive(&descriptor);
  descriptor.closed = true;
  for (const int which : {kIn, kOut}) {
    UringDescriptor::Lane& lane = descriptor.lanes[which];
    IoOperation* waiting = descriptor.waiting[which];
    if (waiting != nullptr && waiting != lane.owner) {
      descriptor.waiting[which] = nullptr;
      waiting->error = EBADF;
      waiting->Complete();
    }
    Withdraw(descriptor, which);
  }
  if (descriptor.borrowed) {
    const auto watched = watched_.find(descriptor.fd.get());
    if (watched != watched_.end() && watched->second == &descriptor)
      watched_.erase(watched);
  }
  // A request that only waits is withdrawn at once, so that the descriptor is
  // closed when this returns, as a rule.
  if ((descriptor.lanes[kIn].request != Request::kNone ||
       descriptor.lanes[kOut].request != Request::kNone ||
       descriptor.departing > 0) &&
      !taking_) {
    Look();
  }
  CloseIfIdle(descriptor);
}

void UringBackend::CloseIfIdle(UringDescriptor& descriptor) {
  if (!descriptor.closed || !descriptor.fd.ok() ||
      descriptor.lanes[kIn].request != Request::kNone ||
      descriptor.lanes[kOut].request != Request::kNone ||
      descriptor.departing > 0) {
    return;
  }
  if (pool_ != nullptr) pool_->Drop(descriptor.arrived);
  descriptor.CloseFd();
  descriptor.MarkReleased();
}

void UringBackend::Replenish(Descriptor& replenished) noexcept {
  auto& descriptor = static_cast<UringDescriptor&>(replenished);
  if (descriptor.waiting[kIn] != nullptr) Proceed(descriptor, kIn);
}

// Operations.

bool UringBackend::SubmitFile(FileOperation& operation) {
  if (!files_->Takes(operation)) return Backend::SubmitFile(operation);
  files_->Submit(operation);
  return false;
}

void UringBackend::CancelFile(FileOperation& operation) noexcept {
  if (!files_->Takes(operation)) return Backend::CancelFile(operation);
  files_->Cancel(operation);
}

bool UringBackend::Submit(IoOperation& operation) {
  auto& descriptor = static_cast<UringDescriptor&>(operation.descriptor());
  const int which = static_cast<int>(operation.direction());
  if (descriptor.closed) [[unlikely]] {
    operation.error = EBADF;
    return true;
  }
  if (descriptor.waiting[which] != nullptr) [[unlikely]] {
    operation.error = EBUSY;
    return true;
  }
  if (descriptor.lanes[which].owner == nullptr) {
    if (Try(descriptor, operation)) return true;
    descriptor.waiting[which] = &operation;
    Pursue(descriptor, operation);
  } else {
    // After one that was cancelled, and is with the kernel yet.
    descriptor.waiting[which] = &operation;
  }
  return false;
}

void UringBackend::Cancel(IoOperation& operation) noexcept {
  auto& descriptor = static_cast<UringDescriptor&>(operation.descriptor());
  const int which = static_cast<int>(operation.direction());
  if (descriptor.lanes[which].owner != &operation) return operation.Withdraw();
  descriptor.waiting[which] = nullptr;
  Withdraw(descriptor, which);
}

void UringBackend::Proceed(UringDescriptor& descriptor, int which) {
  IoOperation* operation = descriptor.waiting[which];
  if (operation == nullptr || descriptor.lanes[which].owner != nullptr) return;
  if (!Try(descriptor, *operation)) return Pursue(descriptor, *operation);
  descriptor.waiting[which] = nullptr;
  operation->Complete();
}

bool UringBackend::Try(UringDescriptor& descriptor, IoOperation& operation) {
  switch (operation.code()) {
    case IoCode::kReceive:
      return Receive(descriptor, static_cast<ReceiveOperation&>(operation));
    case IoCode::kReceiveChunk:
      return ReceiveChunk(descriptor,
                          static_cast<ReceiveChunkOperation&>(operation));
    case IoCode::kSend:
      operation.error = descriptor.broken;
      return operation.error != 0 ||
             static_cast<SendOperation&>(operation).data.empty();
    case IoCode::kReceiveFrom:
      return ReceiveFrom(descriptor,
                         static_cast<ReceiveFromOperation&>(operation));
    case IoCode::kSendTo:
      return SendTo(descriptor, static_cast<SendToOperation&>(operation));
    case IoCode::kReceiveBatch:
      return ReceiveBatch(descriptor,
                          static_cast<ReceiveBatchOperation&>(operation));
    case IoCode::kSendBatch:
      return SendBatch(descriptor, static_cast<SendBatchOperation&>(operation));
    case IoCode::kAccept:
      return Accept(descriptor, static_cast<AcceptOperation&>(operation));
    case IoCode::kConnect:
      return false;
    case IoCode::kShutdown:
      if (::shutdown(descriptor.fd.get(), SHUT_WR) != 0)
        operation.error = errno;
      return true;
    case IoCode::kPoll:
      return PollOnce(descriptor, static_cast<PollOperation&>(operation));
  }
  Check(false, "an operation has no code; this is a bug in Braid");
  return true;
}

void UringBackend::Pursue(UringDescriptor& descriptor, IoOperation& operation) {
  const int which = static_cast<int>(operation.direction());
  UringDescriptor::Lane& lane = descriptor.lanes[which];
  // It tells, or was withdrawn and ends soon; either goes on from here.
  if (lane.request != Request::kNone) return;
  if (std::exchange(lane.poll_first, false))
    return BeginPoll(descriptor, which);
  const int wait = options_.requests_wait ? 0 : MSG_DONTWAIT;
  const int fd = descriptor.fd.get();
  io_uring_sqe* entry = nullptr;
  switch (operation.code()) {
    case IoCode::kReceive: {
      const auto buffer = static_cast<ReceiveOperation&>(operation).buffer;
      entry = Begin(descriptor, which, Request::kOperation);
      io_uring_prep_recv(entry, fd, buffer.data(),
                         std::min(buffer.size(), kLargestTransfer), wait);
      // There was nothing a moment ago.
      entry->ioprio |= ring_->poll_first();
      break;
    }
    case IoCode::kSend: {
      const auto& send = static_cast<SendOperation&>(operation);
      const auto rest = send.data.subspan(send.done);
      entry = Begin(descriptor, which, Request::kOperation);
      io_uring_prep_send(entry, fd, rest.data(),
                         std::min(rest.size(), kLargestTransfer),
                         MSG_NOSIGNAL | wait);
      if (send.done > 0) entry->ioprio |= ring_->poll_first();
      break;
    }
    case IoCode::kAccept:
      entry = Begin(descriptor, which, Request::kOperation);
      descriptor.accepted_peer = SocketAddress();
      descriptor.accepted_size = SocketAddress::kCapacity;
      io_uring_prep_accept(entry, fd, descriptor.accepted_peer.raw(),
                           &descriptor.accepted_size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
      break;
    case IoCode::kConnect: {
      const auto& connect = static_cast<ConnectOperation&>(operation);
      entry = Begin(descriptor, which, Request::kOperation);
      io_uring_prep_connect(entry, fd, connect.peer.raw(), connect.peer.size());
      break;
    }
    case IoCode::kReceiveFrom:
      // Merged ones are received by calls alone, each of which gets many.
      if (descriptor.merged == nullptr && UsesMultishot())
        return BeginMultishot(descriptor);
      return BeginPoll(descriptor, which);
    case IoCode::kReceiveChunk:
      // Replenish tells otherwise.
      if (descriptor.lent_chunks == Descriptor::kMaxLentChunks) return;
      if (!UsesChunkRing()) return BeginPoll(descriptor, which);
      entry = Begin(descriptor, which, Request::kOperation);
      io_uring_prep_recv(entry, fd, nullptr, 0, 0);
      entry->ioprio |= ring_->poll_first();
      entry->flags |= IOSQE_BUFFER_SELECT;
      entry->buf_group = ChunkRing::kGroup;
      break;
    case IoCode::kReceiveBatch:
      if (descriptor.slab->available()) BeginPoll(descriptor, which);
      return;
    case IoCode::kSendTo:
    case IoCode::kSendBatch:
      // The last of those that depart tells otherwise.
      if (descriptor.departing == 0) BeginPoll(descriptor, which);
      return;
    case IoCode::kPoll:
      return BeginPoll(descriptor, which);
    case IoCode::kShutdown:
      return;  // done when it was tried
  }
  lane.owner = &operation;
  io_uring_sqe_set_data64(entry, DataOf(descriptor, which));
}

// Requests.

// Its preparation clears user_data, which is set after.
io_uring_sqe* UringBackend::Begin(UringDescriptor& descriptor, int which,
                                  Request request) {
  descriptor.lanes[which].request = request;
  if (!descriptor.linked()) with_requests_.PushBack(descriptor);
  descriptor.AddRef();
  ++in_flight_;
  return ring_->Next();
}

void UringBackend::BeginPoll(UringDescriptor& descriptor, int which) {
  descriptor.lanes[which].ready = false;
  io_uring_sqe* entry = Begin(descriptor, which, Request::kPoll);
  io_uring_prep_poll_add(entry, descriptor.fd.get(),
                         which == kIn ? POLLIN : POLLOUT);
  io_uring_sqe_set_data64(entry, DataOf(descriptor, which));
}

// Without a free piece, it would end at once.
bool UringBackend::UsesMultishot() {
  if (multishot_ && pool_ == nullptr) {
    pool_ = DatagramPool::Make(*ring_->raw(), buffers_);
    multishot_ = pool_ != nullptr;
  }
  return multishot_ && pool_->available() > 0;
}

bool UringBackend::UsesChunkRing() {
  if (provided_buffers_ && chunk_ring_ == nullptr) {
    chunk_ring_ = ChunkRing::Make(*ring_->raw(), chunks());
    provided_buffers_ = chunk_ring_ != nullptr;
  }
  return provided_buffers_;
}

void UringBackend::BeginMultishot(UringDescriptor& descriptor) {
  descriptor.shape.msg_namelen = SocketAddress::kCapacity;
  descriptor.shape.msg_controllen =
      descriptor.wants_destination ? sizeof(DestinationControl) : 0;
  io_uring_sqe* entry = Begin(descriptor, kIn, Request::kMultishot);
  io_uring_prep_recvmsg_multishot(entry, descriptor.fd.get(), &descriptor.shape,
                                  MSG_TRUNC);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = DatagramPool::kGroup;
  io_uring_sqe_set_data64(entry, DataOf(descriptor, kIn));
}

void UringBackend::Withdraw(UringDescriptor& descriptor, int which) {
  UringDescriptor::Lane& lane = descriptor.lanes[which];
  if (lane.request == Request::kNone || lane.withdrawing) return;
  lane.withdrawing = true;
  CancelRequest(DataOf(descriptor, which));
}

void UringBackend::CancelRequest(uint64_t data) {
  io_uring_sqe* entry = ring_->Next();
  io_uring_prep_cancel64(entry, data, 0);
  io_uring_sqe_set_data64(entry, kNothing);
}

// Completions. Nothing here runs code of users.

void UringBackend::OnRequest(UringDescriptor& descriptor, int which,
                             const io_uring_cqe& completion) {
  UringDescriptor::Lane& lane = descriptor.lanes[which];
  if (lane.request == Request::kMultishot) {
    OnDatagram(descriptor, completion);
    if ((completion.flags & IORING_CQE_F_MORE) != 0) return;
  }
  const Request request = std::exchange(lane.request, Request::kNone);
  IoOperation* owner = std::exchange(lane.owner, nullptr);
  lane.withdrawing = false;
  --in_flight_;
  if (descriptor.lanes[1 - which].request == Request::kNone)
    with_requests_.Remove(descriptor);
  if (request == Request::kPoll) {
    IoOperation* waiting = descriptor.waiting[which];
    if (completion.res >= 0) {
      // What a foreign descriptor is like is asked each time.
      lane.ready = waiting != nullptr || !descriptor.borrowed;
    } else if (completion.res != -ECANCELED && waiting != nullptr) {
      descriptor.waiting[which] = nullptr;
      waiting->error = -completion.res;
      waiting->Complete();
    }
  } else if (request == Request::kOperation) {
    Conclude(descriptor, which, *owner, Finish(descriptor, *owner, completion));
  }
  Proceed(descriptor, which);
  CloseIfIdle(descriptor);
  descriptor.DropRef();
}

void UringBackend::OnDatagram(UringDescriptor& descriptor,
                              const io_uring_cqe& completion) {
  if ((completion.flags & IORING_CQE_F_BUFFER) != 0) {
    pool_->Taken();
    pool_->Push(descriptor.arrived, completion.flags >> IORING_CQE_BUFFER_SHIFT,
                static_cast<uint32_t>(completion.res));
    if (descriptor.arrived.size >= kMaxQueued) Withdraw(descriptor, kIn);
  } else if (completion.res == -EINVAL) {
    multishot_ = false;  // of Linux 6.0
  } else if (completion.res < 0 && completion.res != -ECANCELED &&
             completion.res != -ENOBUFS) {
    descriptor.receive_error = -completion.res;
  }
  IoOperation* waiting = descriptor.waiting[kIn];
  if (waiting == nullptr || (completion.flags & IORING_CQE_F_MORE) == 0) return;
  if (waiting->code() == IoCode::kReceiveFrom) {
    Proceed(descriptor, kIn);
  } else if (!descriptor.proceeds_later) {
    // A batch takes all that have come.
    descriptor.proceeds_later = true;
    descriptor.AddRef();
    later_.push_back(&descriptor);
  }
}

UringBackend::Outcome UringBackend::Finish(UringDescriptor& descriptor,
                                           IoOperation& operation,
                                           const io_uring_cqe& completion) {
  const int result = completion.res;
  UringDescriptor::Lane& lane =
      descriptor.lanes[static_cast<int>(operation.direction())];
  if (result == -ECANCELED) return Outcome::kWithdrawn;
  if (WouldBlock(-result)) lane.poll_first = true;
  if (result == -EINTR || WouldBlock(-result)) return Outcome::kAgain;
  switch (operation.code()) {
    case IoCode::kReceive: {
      auto& receive = static_cast<ReceiveOperation&>(operation);
      if (result < 0) {
        if (EndsConnection(-result)) descriptor.broken = -result;
        break;
      }
      receive.size = static_cast<size_t>(result);
      lane.ready = receive.size == receive.buffer.size() ||
                   (completion.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
      // The kernel tells an error once, and the end of the stream from then on.
      if (result == 0) operation.error = descriptor.broken;
      return Outcome::kDone;
    }
    case IoCode::kReceiveChunk: {
      if (result == -ENOBUFS) {
        // More came at once than the ring has chunks: by a call, then.
        lane.ready = true;
        return Outcome::kAgain;
      }
      std::unique_ptr<std::byte[]> memory;
      if ((completion.flags & IORING_CQE_F_BUFFER) != 0)
        memory = chunk_ring_->Take(completion.flags >> IORING_CQE_BUFFER_SHIFT);
      if (result > 0) {
        static_cast<ReceiveChunkOperation&>(operation).chunk =
            Chunk(descriptor, std::move(memory), static_cast<size_t>(result));
      } else if (memory != nullptr) {
        chunks().Return(std::move(memory));
      }
      if (result < 0) {
        if (EndsConnection(-result)) descriptor.broken = -result;
        break;
      }
      lane.ready = static_cast<size_t>(result) == ChunkPool::kChunkSize ||
                   (completion.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
      if (result == 0) operation.error = descriptor.broken;
      return Outcome::kDone;
    }
    case IoCode::kSend: {
      auto& send = static_cast<SendOperation&>(operation);
      if (result < 0) {
        if (EndsConnection(-result)) descriptor.broken = -result;
        send.LeaveRest();
        break;
      }
      send.done += static_cast<size_t>(result);
      return send.done == send.data.size() ? Outcome::kDone : Outcome::kAgain;
    }
    case IoCode::kAccept: {
      if (result < 0) {
        if (AboutOneConnection(-result)) return Outcome::kAgain;
        break;
      }
      auto& accept = static_cast<AcceptOperation&>(operation);
      accept.accepted = MakeDescriptor(UniqueFd(result), IoKind::kTcpStream,
                                       /*borrowed=*/false);
      accept.accepted.get()->peer = descriptor.accepted_peer;
      lane.ready = (completion.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
      return Outcome::kDone;
    }
    case IoCode::kConnect:
      if (result < 0) break;
      descriptor.peer = static_cast<ConnectOperation&>(operation).peer;
      return Outcome::kDone;
    default:
      Check(false, "an operation was with the kernel that never is");
  }
  operation.error = -result;
  return Outcome::kDone;
}

void UringBackend::Conclude(UringDescriptor& descriptor, int which,
                            IoOperation& operation, Outcome outcome) {
  const bool cancelled = descriptor.waiting[which] != &operation;
  if (outcome == Outcome::kDone) {
    if (descriptor.closed && operation.error != 0) operation.error = EBADF;
    if (!cancelled) descriptor.waiting[which] = nullptr;
    operation.Complete();
  } else if (cancelled) {
    if (operation.code() == IoCode::kSend)
      static_cast<SendOperation&>(operation).LeaveRest();
    operation.Stop();
  } else if (descriptor.closed) {
    descriptor.waiting[which] = nullptr;
    operation.error = EBADF;
    operation.Complete();
  }
  // Otherwise it waits still, and Proceed asks once more.
}

// Streams.

bool UringBackend::ReceiveInto(UringDescriptor& descriptor,
                               std::span<std::byte> buffer, size_t& size,
                               int& error) {
  if (!descriptor.lanes[kIn].ready) return false;
  const ssize_t got = CallReceive(descriptor.fd.get(), buffer);
  if (got < 0) {
    if (WouldBlock(static_cast<int>(-got))) {
      descriptor.lanes[kIn].ready = false;
      return false;
    }
    error = static_cast<int>(-got);
    if (EndsConnection(error)) descriptor.broken = error;
    return true;
  }
  if (got == 0) error = descriptor.broken;
  size = static_cast<size_t>(got);
  // Whether this was all is seen when the kernel is asked to wait for more.
  descriptor.lanes[kIn].ready = size == buffer.size();
  return true;
}

bool UringBackend::Receive(UringDescriptor& descriptor,
                           ReceiveOperation& operation) {
  return ReceiveInto(descriptor, operation.buffer, operation.size,
                     operation.error);
}

bool UringBackend::ReceiveChunk(UringDescriptor& descriptor,
                                ReceiveChunkOperation& operation) {
  if (descriptor.lent_chunks == Descriptor::kMaxLentChunks ||
      !descriptor.lanes[kIn].ready) {
    return false;
  }
  std::unique_ptr<std::byte[]> memory = chunks().Take();
  size_t size = 0;
  const bool done = ReceiveInto(
      descriptor, {memory.get(), ChunkPool::kChunkSize}, size, operation.error);
  if (size > 0) {
    operation.chunk = Chunk(descriptor, std::move(memory), size);
  } else {
    chunks().Return(std::move(memory));
  }
  return done;
}

bool UringBackend::Accept(UringDescriptor& descriptor,
                          AcceptOperation& operation) {
  if (!descriptor.lanes[kIn].ready) return false;
  SocketAddress peer;
  const int accepted = CallAccept(descriptor.fd.get(), peer);
  if (accepted >= 0) {
    operation.accepted = MakeDescriptor(UniqueFd(accepted), IoKind::kTcpStream,
                                        /*borrowed=*/false);
    operation.accepted.get()->peer = peer;
    return true;
  }
  descriptor.lanes[kIn].ready = false;
  if (WouldBlock(-accepted)) return false;
  operation.error = -accepted;
  return true;
}

// Datagrams.

bool UringBackend::ReceiveFrom(UringDescriptor& descriptor,
                               ReceiveFromOperation& operation) {
  UringDescriptor::Lane& lane = descriptor.lanes[kIn];
  if (descriptor.arrived.size > 0) [[likely]] {
    Datagram& datagram = operation.datagram;
    pool_->PopInto(descriptor.arrived, datagram, descriptor.shape,
                   descriptor.local);
    if (!descriptor.peer.empty()) datagram.peer = descriptor.peer;
    descriptor.Remember(datagram.peer);
    return true;
  }
  operation.error = std::exchange(descriptor.receive_error, 0);
  if (operation.error != 0) return true;
  if (!descriptor.MayCallForDatagrams()) return false;
  if (!CallReceiveFrom(descriptor, operation)) {
    lane.ready = false;
    return false;
  }
  if (operation.error == 0) descriptor.Remember(operation.datagram.peer);
  return true;
}

bool UringBackend::ReceiveBatch(UringDescriptor& descriptor,
                                ReceiveBatchOperation& operation) {
  UringDescriptor::Lane& lane = descriptor.lanes[kIn];
  if (!descriptor.slab->available()) return false;
  if (descriptor.arrived.size > 0) {
    std::unique_ptr<DatagramBlock> block = descriptor.slab->Take();
    block->received =
        std::min<size_t>({descriptor.arrived.size, block->datagrams.size(),
                          BatchScratch::kMaxBatch});
    for (size_t i = 0; i < block->received; ++i) {
      Datagram& datagram = block->datagrams[i];
      datagram.data = block->Room(i);
      pool_->PopInto(descriptor.arrived, datagram, descriptor.shape,
                     descriptor.local);
      if (!descriptor.peer.empty()) datagram.peer = descriptor.peer;
    }
    operation.block = std::move(block);
    return true;
  }
  operation.error = std::exchange(descriptor.receive_error, 0);
  if (operation.error != 0) return true;
  if (!descriptor.MayCallForDatagrams()) return false;
  bool drained = false;
  const bool done = scratch_.Receive(descriptor, operation, drained);
  lane.ready = done && !drained;
  return done;
}

bool UringBackend::SendTo(UringDescriptor& descriptor,
                          SendToOperation& operation) {
  operation.error = std::exchange(descriptor.send_error, 0);
  if (operation.error != 0) [[unlikely]]
    return true;
  if (MayDepartLater(descriptor, operation) &&
      DepartLater(descriptor, operation)) {
    return true;
  }
  UringDescriptor::Lane& lane = descriptor.lanes[kOut];
  if (!AllDeparted(descriptor) || !lane.ready) return false;
  operation.error = std::exchange(descriptor.send_error, 0);
  if (operation.error != 0) return true;
  lane.ready = CallSendTo(descriptor, operation);
  return lane.ready;
}

bool UringBackend::SendBatch(UringDescriptor& descriptor,
                             SendBatchOperation& operation) {
  UringDescriptor::Lane& lane = descriptor.lanes[kOut];
  if (!AllDeparted(descriptor) || !lane.ready) return false;
  operation.error = std::exchange(descriptor.send_error, 0);
  if (operation.error != 0) return true;
  lane.ready = scratch_.Send(descriptor, operation);
  return lane.ready;
}

// An address that a datagram came from can be sent to, as a rule, so that
// nothing is to be told of it.
bool UringBackend::MayDepartLater(UringDescriptor& descriptor,
                                  const SendToOperation& operation) const {
  return descriptor.sources != nullptr && !operation.peer.empty() &&
         operation.data.size() <= kLargestDeparture &&
         descriptor.lanes[kOut].ready && operation.peer.port() != 0 &&
         // Those that were handed over, and haven't left, wait for room.
         (descriptor.departing == 0 ||
          descriptor.departs_with == ring_->hand_overs()) &&
         descriptor.sources->Has(operation.peer);
}

UringBackend::Departure* UringBackend::TakeDeparture() {
  if (free_departures_ == nullptr) {
    if (departures_.size() < kMaxDepartures) {
      departures_.push_back(std::make_unique_for_overwrite<Departure>());
      return departures_.back().get();
    }
    if (taking_) return nullptr;
    Look();
    if (free_departures_ == nullptr) return nullptr;
  }
  return std::exchange(free_departures_, free_departures_->next_free);
}

bool UringBackend::DepartLater(UringDescriptor& descriptor,
                               const SendToOperation& operation) {
  Departure* departure = TakeDeparture();
  if (departure == nullptr) return false;
  io_uring_sqe* entry = ring_->Next();
  const size_t size = operation.data.size();
  departure->descriptor = &descriptor;
  std::memcpy(departure->bytes.data(), operation.data.data(), size);
  departure->peer = operation.peer;
  departure->part = {departure->bytes.data(), size};
  msghdr& message = departure->message;
  message = {};
  message.msg_name = departure->peer.raw();
  message.msg_namelen = departure->peer.size();
  message.msg_iov = &departure->part;
  message.msg_iovlen = 1;
  if (descriptor.wants_destination && !operation.local.empty())
    SetSource(message, departure->control, operation.local);
  io_uring_prep_sendmsg(entry, descriptor.fd.get(), &message, MSG_NOSIGNAL);
  io_uring_sqe_set_data64(
      entry, reinterpret_cast<uint64_t>(departure) | kDepartureBit);
  descriptor.AddRef();
  ++descriptor.departing;
  descriptor.departs_with = ring_->hand_overs();
  ++in_flight_;
  return true;
}

bool UringBackend::AllDeparted(UringDescriptor& descriptor) {
  if (descriptor.departing > 0 && !taking_) Look();
  return descriptor.departing == 0;
}

void UringBackend::OnDeparture(Departure& departure, int result) {
  UringDescriptor& descriptor = *departure.descriptor;
  departure.next_free = std::exchange(free_departures_, &departure);
  --in_flight_;
  if (result < 0) descriptor.send_error = -result;
  if (--descriptor.departing == 0) {
    Proceed(descriptor, kOut);
    CloseIfIdle(descriptor);
  }
  descriptor.DropRef();
}

// Others.

bool UringBackend::PollOnce(UringDescriptor& descriptor,
                            PollOperation& operation) {
  // As epoll has it, which knows a number once.
  const auto [watch, first] =
      watched_.try_emplace(descriptor.fd.get(), &descriptor);
  if (watch->second != &descriptor) {
    operation.error = EBUSY;
    return true;
  }
  return std::exchange(
      descriptor.lanes[static_cast<int>(operation.direction())].ready, false);
}

absl::StatusOr<std::unique_ptr<Backend>> MakeUringBackend(
    const UringOptions& options, std::shared_ptr<Host> host) {
  auto backend = std::make_unique<UringBackend>(std::move(host), options);
  if (absl::Status status = backend->Init(); !status.ok()) return status;
  return backend;
}

}  // namespace detail

absl::StatusOr<std::unique_ptr<Backend>> MakeUringBackend(
    std::shared_ptr<Host> host) {
  return detail::MakeUringBackend(detail::UringOptions(), std::move(host));
}

}  // namespace braid
