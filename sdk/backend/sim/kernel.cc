#include "braid/backend/sim/kernel.h"

#include <algorithm>
#include <cerrno>

#include "braid/backend/errno_status.h"
#include "braid/backend/sim/faults.h"
#include "braid/backend/sim/world.h"

namespace braid::detail {
namespace {

// Of Linux: net.core.rmem_default, and what a socket is given at least.
constexpr size_t kDefaultUdpBuffer = 212'992;
constexpr size_t kLeastReceiveBuffer = 2304;
constexpr size_t kLeastSendBuffer = 4608;
// net.ipv4.tcp_rmem's default, without its growing with the connection.
constexpr size_t kDefaultTcpBuffer = 131'072;
constexpr size_t kDefaultBacklog = 4096;  // net.core.somaxconn
constexpr size_t kLoopbackMtu = 65'536;
constexpr size_t kLargestV4 = 65'507;
constexpr size_t kLargestV6 = 65'527;

// What a datagram takes of the receive buffer: its bytes in blocks of memory
// of a power of two, and what the kernel notes about it.
size_t ChargeOf(size_t size) {
  size_t block = 512;
  while (block < size + 400) block *= 2;
  return block + 256;
}

// Twice what was asked for, the half of which is payload (socket(7)).
size_t BufferOf(int asked, size_t standard, size_t least) {
  return asked == 0 ? standard
                    : std::max(static_cast<size_t>(asked) * 2, least);
}

bool SameHost(const SocketAddress& a, const SocketAddress& b) {
  return a.WithPort(0) == b.WithPort(0);
}

// Whether a socket that is bound so gets what is sent to `address`.
bool Covers(const SimSocket& socket, const SocketAddress& bound,
            const SocketAddress& address) {
  if (!bound.is_any()) return SameHost(bound, address);
  if (bound.is_v4()) return address.is_v4();
  return address.is_v6() || !socket.v6_only;
}

void Erase(std::vector<SimSocket*>& sockets, const SimSocket& socket) {
  std::erase(sockets, &socket);
}

// Spreads senders over the sockets that share a port, the same each time.
uint64_t HashOf(const Packet& packet) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const SocketAddress* address : {&packet.from, &packet.to}) {
    for (const uint8_t byte : KeyOf(*address))
      hash = (hash ^ byte) * 0x100000001b3;
  }
  return hash ^ (hash >> 32);
}

}  // namespace

EventQueue& Kernel::events() const { return machine_.world().events(); }
Time Kernel::now() const { return machine_.world().now(); }

uint64_t Kernel::NextSequence() { return machine_.world().NextSequence(); }

bool Kernel::Owns(const SocketAddress& address) const {
  return address.is_loopback() || SameHost(address, machine_.v4()) ||
         SameHost(address, machine_.v6());
}

int Kernel::CheckFamily(const SimSocket& socket, const SocketAddress& address) {
  if (address.is_v6() && !address.is_v4_mapped())
    return socket.v6 ? 0 : EAFNOSUPPORT;
  return socket.v6 && socket.v6_only ? ENETUNREACH : 0;
}

template <typename F>
uint16_t Kernel::FindPort(F free) {
  const SimHostOptions& options = machine_.options();
  const uint64_t count =
      uint64_t{options.last_free_port} - options.first_free_port + 1;
  const uint64_t start = machine_.random().Below(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto port =
        static_cast<uint16_t>(options.first_free_port + (start + i) % count);
    if (free(port)) return port;
  }
  return 0;
}

bool Kernel::PortTaken(const SimSocket& socket,
                       const SocketAddress& address) const {
  const bool udp = socket.kind == IoKind::kUdp;
  const auto& sockets = udp ? udp_ : tcp_;
  if (const auto same = sockets.find(address.port()); same != sockets.end()) {
    for (const SimSocket* other : same->second) {
      if (other == &socket) continue;
      const bool overlap = Covers(socket, address, other->bound) ||
                           Covers(*other, other->bound, address);
      if (overlap && !(socket.reuse_port && other->reuse_port)) return true;
    }
  }
  if (udp) return false;
  // What connections leave behind keeps a port from all but listeners, which
  // have SO_REUSEADDR; those that a listener accepted have it too.
  AddressKey first = {};
  first[0] = static_cast<uint8_t>(address.port() >> 8);
  first[1] = static_cast<uint8_t>(address.port() & 0xff);
  for (auto connection = connections_.lower_bound({first, AddressKey()});
       connection != connections_.end() &&
       connection->second->local().port() == address.port();
       ++connection) {
    const TcpConnection& other = *connection->second;
    if (!Covers(socket, address, other.local())) continue;
    if (socket.kind != IoKind::kTcpListener || !other.options().reuse_address)
      return true;
  }
  return false;
}

int Kernel::Bind(SimSocket& socket, const SocketAddress& wanted) {
  const SocketAddress address = wanted.Unmapped();
  if (CheckFamily(socket, wanted) != 0) return EADDRNOTAVAIL;
  if (!address.is_any() && !Owns(address)) return EADDRNOTAVAIL;
  uint16_t port = address.port();
  if (port == 0) {
    port = FindPort([&](uint16_t candidate) {
      return !PortTaken(socket, address.WithPort(candidate));
    });
    if (port == 0) return EADDRINUSE;
  } else if (PortTaken(socket, address)) {
    return EADDRINUSE;
  }
  socket.bound = address.WithPort(port);
  (socket.kind == IoKind::kUdp ? udp_ : tcp_)[port].push_back(&socket);
  return 0;
}

absl::StatusOr<std::shared_ptr<SimSocket>> Kernel::Open(
    const SocketRequest& request) {
  const SocketAddress& sample =
      request.bind.empty() ? request.peer : request.bind;
  if (sample.empty())
    return absl::InvalidArgumentError(
        "a socket needs an address to bind or connect to; this one is empty");
  const auto failed = [&](int error, const char* what) {
    const char* kind = request.kind == IoKind::kUdp ? "UDP " : "TCP ";
    return ErrnoStatus(error, what + (kind + sample.ToString()));
  };
  if (const int error =
          FaultOf({"open a socket", EMFILE}, [&] { return sample.ToString(); });
      error != 0) {
    return failed(error, "open a socket for ");
  }
  auto socket = std::make_shared<SimSocket>();
  socket->kind = request.kind;
  socket->v6 = sample.is_v6();
  socket->v6_only = request.v6_only;
  socket->reuse_port = request.reuse_port;
  socket->no_delay = request.no_delay;
  const size_t standard =
      request.kind == IoKind::kUdp ? kDefaultUdpBuffer : kDefaultTcpBuffer;
  socket->receive_buffer =
      BufferOf(request.receive_buffer, standard, kLeastReceiveBuffer);
  socket->send_buffer =
      BufferOf(request.send_buffer, standard, kLeastSendBuffer);
  if (!request.bind.empty()) {
    if (const int error = Bind(*socket, request.bind); error != 0)
      return failed(error, "bind ");
  }
  if (request.kind == IoKind::kTcpListener) {
    socket->backlog = request.backlog > 0 ? static_cast<size_t>(request.backlog)
                                          : kDefaultBacklog;
  }
  if (request.kind != IoKind::kUdp || request.peer.empty()) return socket;

  // A datagram socket is connected at once: it only notes the peer.
  int error = CheckFamily(*socket, request.peer);
  const SocketAddress peer = request.peer.Unmapped();
  SocketAddress from;
  if (error == 0) error = ChooseSource(*socket, peer, from);
  if (error == 0 && socket->bound.empty()) {
    // Bound to every address first, and to the one in use after.
    error = Bind(*socket,
                 socket->v6 ? SocketAddress::Any(0) : SocketAddress::AnyV4(0));
    if (error == EADDRINUSE) error = EAGAIN;  // as Linux says it
  }
  if (error != 0) {
    Close(*socket);
    return failed(error, "connect ");
  }
  socket->bound = from.WithPort(socket->bound.port());
  socket->peer = peer;
  return socket;
}

void Kernel::Close(SimSocket& socket) {
  if (dead_) return;
  if (!socket.bound.empty()) {
    auto& sockets = socket.kind == IoKind::kUdp ? udp_ : tcp_;
    if (const auto port = sockets.find(socket.bound.port());
        port != sockets.end()) {
      Erase(port->second, socket);
      if (port->second.empty()) sockets.erase(port);
    }
  }
  for (const auto& connection : std::exchange(socket.waiting, {}))
    connection->Abort();
  for (const auto& connection : std::exchange(socket.half_open, {})) {
    connection->set_listener(nullptr);
    connection->Vanish();
  }
  if (socket.connection != nullptr) socket.connection->Close();
  socket.datagrams.clear();
}

int Kernel::ChooseSource(const SimSocket& socket, const SocketAddress& to,
                         SocketAddress& from) const {
  if (to.is_multicast()) return ENETUNREACH;
  const bool local = Owns(to);
  if (!local && !World::Routes(to)) return ENETUNREACH;
  if (!socket.bound.empty() && !socket.bound.is_any()) {
    if (socket.bound.is_v4() != to.is_v4()) return ENETUNREACH;
    // From one's own loopback into the world: nobody could answer.
    if (socket.bound.is_loopback() && !local) return EINVAL;
    from = socket.bound;
    return 0;
  }
  const uint16_t port = socket.bound.port();
  if (to.is_loopback()) {
    from = to.is_v4() ? SocketAddress::LoopbackV4(port)
                      : SocketAddress::LoopbackV6(port);
  } else {
    from = (to.is_v4() ? machine_.v4() : machine_.v6()).WithPort(port);
  }
  return 0;
}

size_t Kernel::MssTo(const SocketAddress& peer) const {
  const size_t mtu =
      Owns(peer) ? kLoopbackMtu : machine_.world().MtuBetween(machine_, peer);
  return mtu - (peer.is_v4() ? 40 : 60);
}

TcpConnection::Options Kernel::StreamOptions(const SimSocket& socket,
                                             const SocketAddress& peer) const {
  TcpConnection::Options options;
  options.v6 = socket.v6;
  options.no_delay = socket.no_delay;
  options.reuse_address = socket.kind == IoKind::kTcpListener;
  options.receive_capacity = socket.receive_buffer / 2;
  options.send_capacity = socket.send_buffer / 2;
  options.mss = MssTo(peer);
  return options;
}

int Kernel::ConnectTcp(SimSocket& socket, const SocketAddress& wanted) {
  if (wanted.port() == 0) return ECONNREFUSED;
  if (const int error = FaultOf({"connect", ECONNREFUSED},
                                [&] { return "to " + wanted.ToString(); });
      error != 0) {
    return error;
  }
  if (const int error = CheckFamily(socket, wanted); error != 0) return error;
  SocketAddress peer = wanted.Unmapped();
  if (peer.is_any()) {  // this machine, on Linux
    peer = peer.is_v4() ? SocketAddress::LoopbackV4(peer.port())
                        : SocketAddress::LoopbackV6(peer.port());
  }
  SocketAddress local;
  if (const int error = ChooseSource(socket, peer, local); error != 0)
    return error;
  if (local.port() == 0) {
    const uint16_t port = FindPort([&](uint16_t candidate) {
      const SocketAddress from = local.WithPort(candidate);
      return !tcp_.contains(candidate) && !Connected(from, peer) &&
             from != peer;
    });
    if (port == 0) return EADDRNOTAVAIL;
    local = local.WithPort(port);
  } else if (Connected(local, peer) || local == peer) {
    return EADDRNOTAVAIL;
  }
  socket.connection = std::make_shared<TcpConnection>(
      *this, local, peer, StreamOptions(socket, peer));
  socket.connection->set_user(socket.user);
  connections_.emplace(Ends(KeyOf(local), KeyOf(peer)), socket.connection);
  socket.connection->Connect();
  return 0;
}

int Kernel::SendUdp(SimSocket& socket, std::string_view data,
                    const SocketAddress& wanted, const SocketAddress& source) {
  if (socket.error != 0) return std::exchange(socket.error, 0);
  if (wanted.empty() && socket.peer.empty()) return EDESTADDRREQ;
  if (!wanted.empty()) {
    if (const int error = CheckFamily(socket, wanted); error != 0) return error;
    if (wanted.port() == 0) return EINVAL;
  }
  SocketAddress to = wanted.empty() ? socket.peer : wanted.Unmapped();
  if (to.is_any()) {
    to = to.is_v4() ? SocketAddress::LoopbackV4(to.port())
                    : SocketAddress::LoopbackV6(to.port());
  }
  if (data.size() > (to.is_v4() ? kLargestV4 : kLargestV6)) return EMSGSIZE;
  Packet packet;
  packet.kind = Packet::Kind::kUdp;
  if (const int error = ChooseSource(socket, to, packet.from); error != 0)
    return error;
  if (!source.empty() && socket.bound.is_any() && !source.is_any()) {
    const SocketAddress from = source.Unmapped();
    if (!Owns(from) || from.is_v4() != to.is_v4()) return EINVAL;
    packet.from = from.WithPort(socket.bound.port());
  }
  packet.to = to;
  packet.payload = data;
  Transmit(std::move(packet));
  return 0;
}

Packet Kernel::TakeDatagram(SimSocket& socket) {
  Packet packet = std::move(socket.datagrams.front());
  socket.datagrams.pop_front();
  socket.charged -= ChargeOf(packet.payload.size());
  return packet;
}

std::shared_ptr<SimSocket> Kernel::Accept(SimSocket& listener) {
  if (listener.waiting.empty()) return nullptr;
  auto socket = std::make_shared<SimSocket>();
  socket->kind = IoKind::kTcpStream;
  socket->v6 = listener.v6;
  socket->no_delay = listener.no_delay;
  socket->receive_buffer = listener.receive_buffer;
  socket->send_buffer = listener.send_buffer;
  socket->connection = std::move(listener.waiting.front());
  listener.waiting.pop_front();
  return socket;
}

void Kernel::Transmit(Packet packet) {
  if (dead_) return;
  if (!Owns(packet.to))
    return machine_.world().Send(machine_, std::move(packet));
  loopback_.push_back(std::move(packet));
}

bool Kernel::Flush() {
  if (flushing_ || loopback_.empty()) return false;
  flushing_ = true;
  while (!loopback_.empty()) {
    const Packet packet = std::move(loopback_.front());
    loopback_.pop_front();
    if (machine_.world().tracing()) machine_.Trace("loop " + packet.Describe());
    Receive(packet);
  }
  flushing_ = false;
  return true;
}

void Kernel::Receive(const Packet& packet) {
  switch (packet.kind) {
    case Packet::Kind::kUdp:
      return ReceiveUdp(packet);
    case Packet::Kind::kTcp:
      return ReceiveTcp(packet);
    case Packet::Kind::kUnreachable:
      return ReceiveUnreachable(packet);
  }
}

SimSocket* Kernel::Choose(
    const std::map<uint16_t, std::vector<SimSocket*>>& sockets,
    const Packet& packet) const {
  const auto same = sockets.find(packet.to.port());
  if (same == sockets.end()) return nullptr;
  int best = -1;
  std::vector<SimSocket*> candidates;
  for (SimSocket* socket : same->second) {
    if (socket->kind == IoKind::kTcpStream) continue;  // not connected yet
    if (!Covers(*socket, socket->bound, packet.to)) continue;
    if (!socket->peer.empty() && socket->peer != packet.from) continue;
    const int score = (socket->peer.empty() ? 0 : 8) +
                      (socket->bound.is_any() ? 0 : 4) +
                      (socket->bound.is_v4() == packet.to.is_v4() ? 2 : 0);
    if (score > best) candidates.clear();
    if (score >= best) candidates.push_back(socket);
    best = std::max(best, score);
  }
  if (candidates.empty()) return nullptr;
  return candidates[HashOf(packet) % candidates.size()];
}

void Kernel::ReceiveUdp(const Packet& packet) {
  SimSocket* socket = Choose(udp_, packet);
  if (socket == nullptr) {
    Packet answer;
    answer.kind = Packet::Kind::kUnreachable;
    answer.from = packet.to;
    answer.to = packet.from;
    answer.error = ECONNREFUSED;
    answer.about = Packet::Kind::kUdp;
    return Transmit(std::move(answer));
  }
  if (socket->charged > socket->receive_buffer) {
    ++socket->drops;
    if (machine_.world().tracing())
      machine_.Trace("no room for " + packet.Describe());
    return;
  }
  socket->charged += ChargeOf(packet.payload.size());
  socket->datagrams.push_back(packet);
  if (socket->user != nullptr) socket->user->OnReady(IoDirection::kIn);
}

// Only a connected socket hears of it (udp(7)).
void Kernel::ReceiveUnreachable(const Packet& packet) {
  if (packet.about == Packet::Kind::kTcp) {
    const auto connection =
        connections_.find(Ends(KeyOf(packet.to), KeyOf(packet.from)));
    if (connection == connections_.end()) return;
    const std::shared_ptr<TcpConnection> keep = connection->second;
    return keep->Unreachable(packet.error);
  }
  const auto same = udp_.find(packet.to.port());
  if (same == udp_.end()) return;
  for (SimSocket* socket : same->second) {
    if (socket->peer != packet.from) continue;
    if (!Covers(*socket, socket->bound, packet.to)) continue;
    socket->error = packet.error;
    if (socket->user != nullptr) socket->user->OnReady(IoDirection::kIn);
    return;
  }
}

// A reset that its receiver believes (RFC 9293, 3.10.7.1).
void Kernel::Refuse(const Packet& packet) {
  if (packet.Has(Packet::kRst)) return;
  Packet reset;
  reset.kind = Packet::Kind::kTcp;
  reset.from = packet.to;
  reset.to = packet.from;
  if (packet.Has(Packet::kAck)) {
    reset.flags = Packet::kRst;
    reset.seq = packet.ack;
  } else {
    reset.flags = Packet::kRst | Packet::kAck;
    reset.ack = packet.seq + packet.payload.size() +
                (packet.Has(Packet::kSyn) ? 1 : 0) +
                (packet.Has(Packet::kFin) ? 1 : 0);
  }
  Transmit(std::move(reset));
}

void Kernel::ReceiveTcp(const Packet& packet) {
  const Ends ends(KeyOf(packet.to), KeyOf(packet.from));
  const bool is_syn = packet.Has(Packet::kSyn) && !packet.Has(Packet::kAck);
  if (const auto found = connections_.find(ends); found != connections_.end()) {
    const std::shared_ptr<TcpConnection> connection = found->second;
    // The peer uses its port again; the numbers say that it is no old packet.
    if (!is_syn || connection->state() != TcpConnection::State::kTimeWait ||
        packet.seq <= connection->received_until())
      return connection->Receive(packet);
    connection->Vanish();
  }
  SimSocket* listener = is_syn ? Choose(tcp_, packet) : nullptr;
  if (listener == nullptr) return Refuse(packet);
  if (!Accepts(*listener)) {
    if (machine_.world().tracing())
      machine_.Trace("backlog is full for " + packet.Describe());
    return;  // it will be sent again
  }
  auto connection = std::make_shared<TcpConnection>(
      *this, packet.to, packet.from, StreamOptions(*listener, packet.from));
  connection->set_listener(listener);
  connections_.emplace(ends, connection);
  listener->half_open.push_back(connection);
  connection->Answer(packet);
}

void Kernel::Established(SimSocket& listener,
                         std::shared_ptr<TcpConnection> connection) {
  Forget(listener, *connection);
  listener.waiting.push_back(std::move(connection));
  if (listener.user != nullptr) listener.user->OnReady(IoDirection::kIn);
}

void Kernel::Forget(TcpConnection& connection) {
  const auto found = connections_.find(
      Ends(KeyOf(connection.local()), KeyOf(connection.peer())));
  if (found != connections_.end() && found->second.get() == &connection)
    connections_.erase(found);
}

void Kernel::Forget(SimSocket& listener, const TcpConnection& connection) {
  std::erase_if(listener.half_open,
                [&](const auto& other) { return other.get() == &connection; });
}

void Kernel::Die() {
  dead_ = true;
  udp_.clear();
  tcp_.clear();
  loopback_.clear();
  while (!connections_.empty()) {
    const std::shared_ptr<TcpConnection> connection =
        connections_.begin()->second;
    connection->set_user(nullptr);
    connection->set_listener(nullptr);
    connection->Vanish();
  }
}

}  // namespace braid::detail
