// The network side of a machine's kernel: sockets, ports, and what happens to
// packets that arrive. Not for programs.
//
// It outlives programs, as a kernel does: what they sent is still delivered
// after they have ended. Errors are errno numbers, as system calls give them.
// What is queued is charged and limited as Linux does it, roughly.

#ifndef BRAID_BACKEND_SIM_KERNEL_H_
#define BRAID_BACKEND_SIM_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/sim/event_queue.h"
#include "braid/backend/sim/packet.h"
#include "braid/backend/sim/socket_user.h"
#include "braid/backend/sim/tcp_connection.h"

namespace braid::detail {

class Machine;

// A socket. Addresses are never of the mapped form; Present gives the one that
// its user sees.
struct SimSocket {
  IoKind kind = IoKind::kUdp;
  bool v6 = false;
  bool v6_only = false;
  bool reuse_port = false;
  SocketAddress bound;  // empty: not yet
  SocketUser* user = nullptr;
  // Bytes, as SO_RCVBUF and SO_SNDBUF say it.
  size_t receive_buffer = 0;
  size_t send_buffer = 0;

  // UDP.
  SocketAddress peer;  // connected
  std::deque<Packet> datagrams;
  size_t charged = 0;
  uint64_t drops = 0;
  int error = 0;  // told by the next call

  // A listener.
  size_t backlog = 0;
  std::deque<std::shared_ptr<TcpConnection>> waiting;
  std::vector<std::shared_ptr<TcpConnection>> half_open;

  // A stream, and what a listener gives to its own.
  bool no_delay = true;
  std::shared_ptr<TcpConnection> connection;

  SocketAddress Present(const SocketAddress& address) const {
    return v6 ? Mapped(address) : address;
  }
};

class Kernel : public std::enable_shared_from_this<Kernel> {
 public:
  explicit Kernel(Machine& machine) : machine_(machine) {}
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // For system calls. Each may leave packets for Flush.

  absl::StatusOr<std::shared_ptr<SimSocket>> Open(const SocketRequest& request);
  void Close(SimSocket& socket);
  int ConnectTcp(SimSocket& socket, const SocketAddress& peer);
  // `peer` and `from` may be empty.
  int SendUdp(SimSocket& socket, std::string_view data,
              const SocketAddress& peer, const SocketAddress& from);
  // The first one, which there must be.
  Packet TakeDatagram(SimSocket& socket);
  // The first connection that waits; nullptr: none does.
  std::shared_ptr<SimSocket> Accept(SimSocket& listener);

  // Delivers what this machine has sent to itself. True: there was something.
  bool Flush();

  // From the network.
  void Receive(const Packet& packet);
  // The power goes.
  void Die();
  bool dead() const { return dead_; }

  // For connections.
  EventQueue& events() const;
  Time now() const;
  uint64_t NextSequence();
  void Transmit(Packet packet);
  // Whether the address is one of this machine's.
  bool Owns(const SocketAddress& address) const;
  // Whether one more connection may wait at the listener.
  bool Accepts(const SimSocket& listener) const {
    return listener.waiting.size() <= listener.backlog;
  }
  void Established(SimSocket& listener,
                   std::shared_ptr<TcpConnection> connection);
  // A connection is over; one was before it was established.
  void Forget(TcpConnection& connection);
  void Forget(SimSocket& listener, const TcpConnection& connection);

 private:
  using Ends = std::pair<AddressKey, AddressKey>;  // local, peer

  static int CheckFamily(const SimSocket& socket, const SocketAddress& address);
  // An errno; on success `socket` is bound, to a free port if it asked for 0.
  int Bind(SimSocket& socket, const SocketAddress& address);
  bool PortTaken(const SimSocket& socket, const SocketAddress& address) const;
  // Calls `free(port)` for ports that need not be asked for, beginning
  // anywhere, until it says true. 0: it never did.
  template <typename F>
  uint16_t FindPort(F free);
  // The address that packets to `to` leave from; an errno if there is none.
  int ChooseSource(const SimSocket& socket, const SocketAddress& to,
                   SocketAddress& from) const;
  size_t MssTo(const SocketAddress& peer) const;
  TcpConnection::Options StreamOptions(const SimSocket& socket,
                                       const SocketAddress& peer) const;
  bool Connected(const SocketAddress& local, const SocketAddress& peer) const {
    return connections_.contains({KeyOf(local), KeyOf(peer)});
  }

  void ReceiveUdp(const Packet& packet);
  void ReceiveTcp(const Packet& packet);
  void ReceiveUnreachable(const Packet& packet);
  // The socket of `sockets` that a packet is for; nullptr: none.
  SimSocket* Choose(const std::map<uint16_t, std::vector<SimSocket*>>& sockets,
                    const Packet& packet) const;
  void Refuse(const Packet& packet);

  Machine& machine_;
  bool dead_ = false;
  // By port, in the order in which they were bound. Of TCP: those that listen,
  // and those that asked for an address before they connect.
  std::map<uint16_t, std::vector<SimSocket*>> udp_;
  std::map<uint16_t, std::vector<SimSocket*>> tcp_;
  std::map<Ends, std::shared_ptr<TcpConnection>> connections_;
  std::deque<Packet> loopback_;
  bool flushing_ = false;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_KERNEL_H_
