#include "braid/backend/sim/sim_backend.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "braid/backend/file_operation.h"
#include "braid/backend/sim/faults.h"
#include "braid/backend/sim/kernel.h"
#include "braid/backend/sim/sim_file.h"
#include "braid/backend/sim/world.h"

namespace braid {
namespace detail {

class SimBackend::SimDescriptor final : public Descriptor, public SocketUser {
 public:
  SimDescriptor(SimBackend& backend, std::shared_ptr<SimSocket> its_socket)
      : Descriptor(backend, its_socket->kind), socket(std::move(its_socket)) {
    socket->user = this;
    if (socket->connection != nullptr) {
      socket->connection->set_user(this);
      peer = socket->Present(socket->connection->peer());
    } else {
      if (!socket->bound.empty()) local = socket->Present(socket->bound);
      if (!socket->peer.empty()) peer = socket->Present(socket->peer);
    }
  }

  void OnReady(IoDirection direction) override {
    static_cast<SimBackend&>(backend()).Retry(*this, direction);
  }

  std::shared_ptr<SimSocket> socket;
};

SimBackend::SimBackend(Machine& machine, std::shared_ptr<Host> host)
    : Backend(std::move(host)),
      machine_(machine),
      kernel_(machine.kernel()->shared_from_this()) {}

SimBackend::~SimBackend() = default;

void SimBackend::Run(Loop& loop) {
  machine_.world().RunAttached(machine_, loop, before_step_);
}

Time SimBackend::Now() { return machine_.world().now(); }

absl::StatusOr<IoHandle> SimBackend::Open(const SocketRequest& request) {
  const InSimSystem in_system;
  absl::StatusOr<std::shared_ptr<SimSocket>> socket = kernel_->Open(request);
  if (!socket.ok()) return socket.status();
  return IoHandle(new SimDescriptor(*this, *std::move(socket)));
}

absl::StatusOr<IoHandle> SimBackend::Adopt(int fd, IoKind) {
  return absl::UnimplementedError(
      "adopt file descriptor " + std::to_string(fd) +
      ": the simulation has no descriptors of the operating system; use the "
      "sockets of the SDK, or another backend");
}

SocketInfo SimBackend::Inspect(const Descriptor& inspected) const {
  const SimSocket& socket =
      *static_cast<const SimDescriptor&>(inspected).socket;
  SocketInfo info;
  if (!inspected.closed) {
    const SocketAddress& local = socket.connection != nullptr
                                     ? socket.connection->local()
                                     : socket.bound;
    if (!local.empty()) info.local = socket.Present(local);
    info.peer = inspected.peer;
  }
  info.receive_buffer = static_cast<int>(socket.receive_buffer);
  info.send_buffer = static_cast<int>(socket.send_buffer);
  info.kernel_drops = socket.drops;
  return info;
}

SimBackend* SimBackend::CurrentOrNull() {
  const Loop* loop = Loop::CurrentOrNull();
  return loop == nullptr ? nullptr : dynamic_cast<SimBackend*>(&loop->driver());
}

bool SimBackend::Submit(IoOperation& operation) {
  const InSimSystem in_system;
  auto& descriptor = static_cast<SimDescriptor&>(operation.descriptor());
  IoOperation*& waiting =
      descriptor.waiting[static_cast<int>(operation.direction())];
  if (descriptor.closed) [[unlikely]] {
    operation.error = EBADF;
    return true;
  }
  if (waiting != nullptr) [[unlikely]] {
    operation.error = EBUSY;
    return true;
  }
  if (const int error = FaultOf(operation); error != 0) [[unlikely]] {
    if (descriptor.kind() != IoKind::kTcpStream) {
      operation.error = error;
      return true;
    }
    descriptor.socket->connection->Reset();
  }
  for (;;) {
    const bool done = Perform(descriptor, operation);
    // What this machine sends to itself is there at once, and may make room.
    const bool moved = kernel_->Flush();
    if (done) return true;
    if (!moved) break;
  }
  waiting = &operation;
  return false;
}

void SimBackend::Cancel(IoOperation& operation) noexcept {
  operation.Withdraw();
}

bool SimBackend::SubmitFile(FileOperation& operation) {
  const InSimSystem in_system;
  operation.error = FaultOf(operation);
  if (operation.error != 0) return true;
  machine_.disk().Submit(operation);
  return false;
}

void SimBackend::CancelFile(FileOperation& operation) noexcept {
  const InSimSystem in_system;
  machine_.disk().Cancel(operation);
}

void SimBackend::Release(Descriptor& released) noexcept {
  const InSimSystem in_system;
  if (released.kind() == IoKind::kFile)
    return static_cast<SimFile&>(released).Close();
  auto& descriptor = static_cast<SimDescriptor&>(released);
  descriptor.closed = true;
  descriptor.RefuseWaiting();
  descriptor.socket->user = nullptr;
  kernel_->Close(*descriptor.socket);
  kernel_->Flush();
  descriptor.MarkReleased();
}

void SimBackend::Replenish(Descriptor& replenished) noexcept {
  const InSimSystem in_system;
  auto& descriptor = static_cast<SimDescriptor&>(replenished);
  Retry(descriptor, IoDirection::kIn);
  kernel_->Flush();
}

void SimBackend::Retry(SimDescriptor& descriptor, IoDirection direction) {
  const int which = static_cast<int>(direction);
  IoOperation* operation = descriptor.waiting[which];
  if (operation == nullptr || !Perform(descriptor, *operation)) return;
  descriptor.waiting[which] = nullptr;
  operation->Complete();
}

bool SimBackend::Perform(SimDescriptor& descriptor, IoOperation& operation) {
  switch (operation.code()) {
    case IoCode::kReceive: {
      auto& receive = static_cast<ReceiveOperation&>(operation);
      return ReceiveInto(descriptor, receive.buffer, receive.size,
                         receive.error);
    }
    case IoCode::kReceiveChunk:
      return ReceiveChunk(descriptor,
                          static_cast<ReceiveChunkOperation&>(operation));
    case IoCode::kSend:
      return Send(descriptor, static_cast<SendOperation&>(operation));
    case IoCode::kReceiveFrom:
      return ReceiveFrom(descriptor,
                         static_cast<ReceiveFromOperation&>(operation).datagram,
                         operation.error);
    case IoCode::kSendTo: {
      auto& send = static_cast<SendToOperation&>(operation);
      send.error =
          kernel_->SendUdp(*descriptor.socket, ByteView(send.data).text(),
                           send.peer, send.local);
      return true;
    }
    case IoCode::kReceiveBatch:
      return ReceiveBatch(descriptor,
                          static_cast<ReceiveBatchOperation&>(operation));
    case IoCode::kSendBatch:
      return SendBatch(descriptor, static_cast<SendBatchOperation&>(operation));
    case IoCode::kAccept:
      return Accept(descriptor, static_cast<AcceptOperation&>(operation));
    case IoCode::kConnect:
      return Connect(descriptor, static_cast<ConnectOperation&>(operation));
    case IoCode::kShutdown: {
      TcpConnection& connection = *descriptor.socket->connection;
      if (connection.error() != 0) {
        operation.error = ENOTCONN;
      } else {
        connection.EndWriting();
      }
      return true;
    }
    case IoCode::kPoll:
      Check(false, "the simulation has nothing that could be polled");
      return true;
  }
  Check(false, "an operation has no code; this is a bug in Braid");
  return true;
}

bool SimBackend::ReceiveInto(SimDescriptor& descriptor,
                             std::span<std::byte> buffer, size_t& size,
                             int& error) {
  TcpConnection& connection = *descriptor.socket->connection;
  if (!connection.readable()) return false;
  size = connection.Read(buffer);
  if (size > 0) return true;
  // In this order: the end of the stream hides what went wrong later, unless a
  // send has met that.
  if (!connection.peer_ended()) descriptor.broken = connection.error();
  error = descriptor.broken;
  return true;
}

bool SimBackend::ReceiveChunk(SimDescriptor& descriptor,
                              ReceiveChunkOperation& operation) {
  if (descriptor.lent_chunks == Descriptor::kMaxLentChunks) return false;
  if (!descriptor.socket->connection->readable()) return false;
  std::unique_ptr<std::byte[]> memory = chunks().Take();
  size_t size = 0;
  ReceiveInto(descriptor, {memory.get(), ChunkPool::kChunkSize}, size,
              operation.error);
  if (size > 0) {
    operation.chunk = Chunk(descriptor, std::move(memory), size);
  } else {
    chunks().Return(std::move(memory));
  }
  return true;
}

bool SimBackend::Send(SimDescriptor& descriptor, SendOperation& operation) {
  TcpConnection& connection = *descriptor.socket->connection;
  if (descriptor.broken == 0) descriptor.broken = connection.error();
  if (descriptor.broken != 0) {
    operation.error = descriptor.broken;
    if (operation.done > 0)
      descriptor.torn = operation.data.size() - operation.done;
    return true;
  }
  const std::string_view rest =
      ByteView(operation.data).text().substr(operation.done);
  operation.done += connection.Write(rest);
  return operation.done == operation.data.size();
}

bool SimBackend::ReceiveFrom(SimDescriptor& descriptor, Datagram& datagram,
                             int& error) {
  SimSocket& socket = *descriptor.socket;
  if (socket.error != 0) {
    error = std::exchange(socket.error, 0);
    return true;
  }
  if (socket.datagrams.empty()) return false;
  const Packet packet = kernel_->TakeDatagram(socket);
  datagram.size = packet.payload.size();
  datagram.data =
      datagram.data.first(std::min(datagram.size, datagram.data.size()));
  if (!datagram.data.empty()) {
    std::memcpy(datagram.data.data(), packet.payload.data(),
                datagram.data.size());
  }
  datagram.peer = socket.Present(packet.from);
  datagram.local =
      socket.bound.is_any() ? socket.Present(packet.to) : descriptor.local;
  return true;
}

bool SimBackend::ReceiveBatch(SimDescriptor& descriptor,
                              ReceiveBatchOperation& operation) {
  if (!descriptor.slab->available()) return false;
  SimSocket& socket = *descriptor.socket;
  if (socket.error == 0 && socket.datagrams.empty()) return false;
  std::unique_ptr<DatagramBlock> block = descriptor.slab->Take();
  block->received = 0;
  for (size_t i = 0; i < block->datagrams.size(); ++i) {
    if (i > 0 && (socket.error != 0 || socket.datagrams.empty())) break;
    block->datagrams[i].data = block->Room(i);
    ReceiveFrom(descriptor, block->datagrams[i], operation.error);
    if (operation.error != 0) {
      descriptor.slab->Return(std::move(block));
      return true;
    }
    ++block->received;
  }
  operation.block = std::move(block);
  return true;
}

bool SimBackend::SendBatch(SimDescriptor& descriptor,
                           SendBatchOperation& operation) {
  for (; operation.sent < operation.datagrams.size(); ++operation.sent) {
    // An error that waits to be told is told by the next call.
    if (operation.sent > 0 && descriptor.socket->error != 0) break;
    const Datagram& datagram = operation.datagrams[operation.sent];
    const bool connected = !descriptor.peer.empty();
    const int error = kernel_->SendUdp(
        *descriptor.socket, datagram.data.text(),
        connected ? SocketAddress() : datagram.peer, datagram.local);
    if (error == 0) continue;
    if (operation.sent == 0) operation.error = error;
    break;
  }
  return true;
}

bool SimBackend::Accept(SimDescriptor& descriptor, AcceptOperation& operation) {
  std::shared_ptr<SimSocket> accepted = kernel_->Accept(*descriptor.socket);
  if (accepted == nullptr) return false;
  operation.accepted = IoHandle(new SimDescriptor(*this, std::move(accepted)));
  return true;
}

bool SimBackend::Connect(SimDescriptor& descriptor,
                         ConnectOperation& operation) {
  SimSocket& socket = *descriptor.socket;
  if (!operation.started) {
    operation.started = true;
    operation.error = kernel_->ConnectTcp(socket, operation.peer);
    if (operation.error != 0) return true;
  }
  const TcpConnection& connection = *socket.connection;
  if (connection.state() == TcpConnection::State::kSynSent) return false;
  operation.error = connection.error();
  if (operation.error == 0) descriptor.peer = operation.peer;
  return true;
}

}  // namespace detail

namespace {

// First the simulation, then what stands on it.
struct OwnWorld {
  OwnWorld(const SimulationOptions& options, const SimHostOptions& host)
      : own_world(options),
        own_machine(own_world.AddMachine("localhost", host)) {}

  detail::World own_world;
  detail::Machine& own_machine;
};

class OwnBackend final : private OwnWorld, public detail::SimBackend {
 public:
  OwnBackend(const SimulationOptions& options, const SimHostOptions& host)
      : OwnWorld(options, host),
        SimBackend(own_machine, own_machine.BootAttached()) {}
};

}  // namespace

std::unique_ptr<Backend> MakeSimBackend() {
  return MakeSimBackend({.trace = false});
}

std::unique_ptr<Backend> MakeSimBackend(const SimulationOptions& options) {
  return MakeSimBackend(options, {});
}

std::unique_ptr<Backend> MakeSimBackend(const SimulationOptions& options,
                                        const SimHostOptions& host) {
  return std::make_unique<OwnBackend>(options, host);
}

}  // namespace braid
