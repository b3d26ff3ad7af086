// SimNetwork: what lies between the hosts of a simulation: latency, bandwidth,
// loss, and the faults that a test injects.
//
//   Simulation sim({.seed = 7, .link = {.latency = 20ms, .loss = 0.01}});
//   sim.network().SetLink(client, server, {.latency = 80ms});
//   {
//     ScopedFault cut = sim.network().Inject(Partition({"client"},
//     {"server"})); EXPECT_TRUE(sim.RunFor(30s).ok());
//   }  // healed
//   sim.network().Add({.from = {"server"}, .only = Transport::kUdp,
//                      .duplicate = 0.1});  // from now on
//
// Every pair of hosts has a link in each direction. Packets on one link keep
// their order, whatever their latencies, except for those that `reorder` holds
// back. What a host sends to itself goes through neither link nor fault: it is
// there at once, as on a real loopback.
//
// UDP datagrams that are longer than the link's MTU are fragmented: they are
// lost if one of their fragments is. TCP retransmits, so loss there is delay.
//
// Threads: the simulation's.

#ifndef BRAID_BACKEND_SIM_NETWORK_H_
#define BRAID_BACKEND_SIM_NETWORK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/backend/sim/fault_rules.h"
#include "braid/backend/sim/random.h"
#include "braid/backend/sim/scoped_fault.h"
#include "braid/backend/socket_address.h"
#include "braid/core/time.h"

namespace braid {

class SimHost;

namespace detail {
class Machine;
class World;
struct Packet;
}  // namespace detail

// One direction of the way between two hosts.
struct SimLink {
  // How long a packet takes: `latency`, and up to `jitter` more.
  Duration latency = std::chrono::microseconds(500);
  Duration jitter = std::chrono::microseconds(500);
  // The probability of each for a packet.
  double loss = 0;
  double duplicate = 0;
  // To be held back by up to `reorder_by`, while others overtake.
  double reorder = 0;
  Duration reorder_by = std::chrono::milliseconds(10);
  // 0: no limit. What has to wait for its turn stands in a queue; what would
  // make that longer than `queue_bytes` is lost.
  uint64_t bytes_per_second = 0;
  size_t queue_bytes = size_t{256} * 1024;
  size_t mtu = 1500;  // bytes of an IP packet, at least 1280
};

enum class Transport : uint8_t { kUdp, kTcp };

// A packet, as a fault may look at it.
struct SimPacket {
  const std::string& from_host;
  const std::string& to_host;
  Transport transport;
  SocketAddress from;
  SocketAddress to;
  size_t size;  // of its payload
  // TCP.
  bool syn;
  bool fin;
  bool rst;
};

// What goes wrong, for which packets, on top of what the link does. A value:
// nothing happens before a network is given it.
struct Fault {
  // Names of hosts; none: every host.
  std::vector<std::string> from = {};
  std::vector<std::string> to = {};
  // For the way back, too.
  bool both_ways = false;
  std::optional<Transport> only = std::nullopt;
  // Set: only packets for which it says true. It may be asked twice about one:
  // when the packet is sent, and when it arrives.
  std::function<bool(const SimPacket&)> when = nullptr;

  // The probability of each. A loss of 1 is a cut: it takes what is on its way,
  // too.
  double loss = 0;
  double duplicate = 0;
  double reorder = 0;
  Duration reorder_by = std::chrono::milliseconds(10);
  // Added to the latency: `delay`, and up to `jitter` more.
  Duration delay = {};
  Duration jitter = {};
};

// Nothing passes between the two sides, or from `from` to `to`; no packet says
// so to anybody. An empty side is every host.
inline Fault Partition(std::vector<std::string> a, std::vector<std::string> b) {
  return {
      .from = std::move(a), .to = std::move(b), .both_ways = true, .loss = 1};
}
inline Fault PartitionOneWay(std::vector<std::string> from,
                             std::vector<std::string> to) {
  return {.from = std::move(from), .to = std::move(to), .loss = 1};
}

// Packets, since the simulation began; loopback is not counted.
struct SimNetworkStats {
  uint64_t sent = 0;
  uint64_t delivered = 0;   // to a host that was up
  uint64_t lost = 0;        // by chance, on a link or by a fault
  uint64_t cut = 0;         // by a fault whose loss is 1
  uint64_t queue_full = 0;  // beyond the bandwidth of a link
  uint64_t duplicated = 0;
  uint64_t reordered = 0;
  uint64_t nobody = 0;  // to an address of no host, or to one that was down
};

class SimNetwork {
 public:
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // How every link is for which nothing else was said; how the two between `a`
  // and `b` are; how the one from `from` to `to` is. For packets that are sent
  // from now on.
  void SetLink(const SimLink& link);
  void SetLink(const SimHost& a, const SimHost& b, const SimLink& link);
  void SetOneWay(const SimHost& from, const SimHost& to, const SimLink& link);

  // The fault is in force from now on: for good, or as long as the result
  // lives. The newest that matches a packet decides about it alone.
  void Add(Fault fault);
  ScopedFault Inject(Fault fault);

  const SimNetworkStats& stats() const { return stats_; }

 private:
  friend class detail::World;
  friend class detail::Machine;

  // What is kept of a link between packets.
  struct LinkState {
    Time free_at = kAlways;       // of its bandwidth
    Time last_arrival = kAlways;  // of packets that keep their order
  };
  using Direction = std::pair<size_t, size_t>;  // indices of hosts

  SimNetwork(detail::World& world, const SimLink& link, uint64_t seed);

  // From the kernel of `from`: takes the packet to where its address says.
  void Send(detail::Machine& from, detail::Packet packet);
  size_t MtuBetween(const detail::Machine& from, const SocketAddress& to) const;

  const SimLink& LinkOf(Direction direction) const;
  // The newest rule for a packet; nullptr: none.
  const Fault* FaultOf(const detail::Machine& from, const detail::Machine& to,
                       const detail::Packet& packet) const;
  void Deliver(detail::Machine& from, detail::Machine& to,
               detail::Packet packet);

  detail::World& world_;
  SimLink default_link_;
  std::map<Direction, SimLink> links_;
  std::map<Direction, LinkState> states_;
  detail::FaultRules<Fault> faults_;
  SimRandom random_;
  SimNetworkStats stats_;
};

}  // namespace braid

#endif  // BRAID_BACKEND_SIM_NETWORK_H_
