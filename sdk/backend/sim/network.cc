#include "braid/backend/sim/network.h"

#include <algorithm>
#include <cerrno>

#include "braid/backend/sim/packet.h"
#include "braid/backend/sim/simulation.h"
#include "braid/backend/sim/world.h"
#include "braid/core/check.h"

namespace braid {
namespace {

// Until a kernel gives up asking who has an address of its own network (three
// questions, a second apart).
constexpr Duration kNeighbourTimeout = std::chrono::seconds(3);
constexpr size_t kSmallestMtu = 1280;  // of IPv6 (RFC 8200, 5)

bool Names(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::ranges::find(names, name) != names.end();
}

size_t FragmentsOf(const detail::Packet& packet, const SimLink& link) {
  if (packet.kind != detail::Packet::Kind::kUdp) return 1;
  const size_t header = packet.from.is_v4() ? 20 : 48;
  const size_t room = (link.mtu - header) / 8 * 8;
  return std::max<size_t>((packet.payload.size() + 8 + room - 1) / room, 1);
}

void CheckLink(const SimLink& link) {
  detail::Check(link.mtu >= kSmallestMtu && link.latency >= Duration::zero(),
                "the MTU of a link is at least 1280, its latency not negative");
}

}  // namespace

SimNetwork::SimNetwork(detail::World& world, const SimLink& link, uint64_t seed)
    : world_(world), default_link_(link), random_(seed) {
  CheckLink(link);
}

void SimNetwork::SetLink(const SimLink& link) {
  CheckLink(link);
  default_link_ = link;
}

void SimNetwork::SetLink(const SimHost& a, const SimHost& b,
                         const SimLink& link) {
  SetOneWay(a, b, link);
  SetOneWay(b, a, link);
}

void SimNetwork::SetOneWay(const SimHost& from, const SimHost& to,
                           const SimLink& link) {
  CheckLink(link);
  links_[{from.machine_.index(), to.machine_.index()}] = link;
}

void SimNetwork::Add(Fault fault) { faults_.Add(std::move(fault)); }

ScopedFault SimNetwork::Inject(Fault fault) {
  return faults_.Inject(std::move(fault));
}

const SimLink& SimNetwork::LinkOf(Direction direction) const {
  const auto found = links_.find(direction);
  return found == links_.end() ? default_link_ : found->second;
}

size_t SimNetwork::MtuBetween(const detail::Machine& from,
                              const SocketAddress& to) const {
  const detail::Machine* machine = world_.FindByAddress(to);
  return machine == nullptr ? default_link_.mtu
                            : LinkOf({from.index(), machine->index()}).mtu;
}

const Fault* SimNetwork::FaultOf(const detail::Machine& from,
                                 const detail::Machine& to,
                                 const detail::Packet& packet) const {
  using Kind = detail::Packet::Kind;
  const Kind kind =
      packet.kind == Kind::kUnreachable ? packet.about : packet.kind;
  const SimPacket view = {
      .from_host = from.name(),
      .to_host = to.name(),
      .transport = kind == Kind::kTcp ? Transport::kTcp : Transport::kUdp,
      .from = packet.from,
      .to = packet.to,
      .size = packet.payload.size(),
      .syn = packet.Has(detail::Packet::kSyn),
      .fin = packet.Has(detail::Packet::kFin),
      .rst = packet.Has(detail::Packet::kRst)};
  for (const Fault& fault : faults_) {
    const bool there =
        Names(fault.from, from.name()) && Names(fault.to, to.name());
    const bool back = fault.both_ways && Names(fault.from, to.name()) &&
                      Names(fault.to, from.name());
    if (!there && !back) continue;
    if (fault.only.has_value() && *fault.only != view.transport) continue;
    if (fault.when != nullptr && !fault.when(view)) continue;
    return &fault;
  }
  return nullptr;
}

void SimNetwork::Send(detail::Machine& from, detail::Packet packet) {
  const auto trace = [&](const char* what) {
    if (world_.tracing()) from.Trace(what + packet.Describe());
  };
  ++stats_.sent;
  detail::Machine* to = world_.FindByAddress(packet.to);
  if (to == nullptr) {
    ++stats_.nobody;
    trace("nobody has ");
    if (packet.kind == detail::Packet::Kind::kUnreachable) return;
    detail::Packet answer;
    answer.kind = detail::Packet::Kind::kUnreachable;
    answer.from = packet.to;
    answer.to = packet.from;
    answer.error = EHOSTUNREACH;
    answer.about = packet.kind;
    world_.events().Add(
        world_.now() + kNeighbourTimeout,
        [kernel = std::weak_ptr(from.kernel()->shared_from_this()), answer] {
          const std::shared_ptr<detail::Kernel> still = kernel.lock();
          if (still == nullptr || still->dead()) return;
          still->Receive(answer);
          still->Flush();
        });
    return;
  }

  const Direction direction(from.index(), to->index());
  const SimLink& link = LinkOf(direction);
  LinkState& state = states_[direction];
  const Fault* fault = FaultOf(from, *to, packet);
  const Fault none;
  const Fault& wrong = fault != nullptr ? *fault : none;
  if (wrong.loss >= 1) {
    ++stats_.cut;
    return trace("cut ");
  }
  const size_t fragments = FragmentsOf(packet, link);
  bool lost = false;
  for (size_t i = 0; i < fragments && !lost; ++i)
    lost = random_.Chance(link.loss) || random_.Chance(wrong.loss);
  if (lost) {
    ++stats_.lost;
    return trace("lost ");
  }
  const Time now = world_.now();
  Time departure = now;
  if (link.bytes_per_second > 0) {
    const double per_byte = 1e9 / static_cast<double>(link.bytes_per_second);
    const size_t size =
        packet.WireSize() + (fragments - 1) * (packet.from.is_v4() ? 20 : 48);
    departure = std::max(now, state.free_at);
    const double queued =
        static_cast<double>((departure - now).count()) / per_byte;
    if (queued + static_cast<double>(size) >
            static_cast<double>(link.queue_bytes) &&
        queued > 0) {
      ++stats_.queue_full;
      return trace("queue full for ");
    }
    departure +=
        Duration(static_cast<int64_t>(static_cast<double>(size) * per_byte));
    state.free_at = departure;
  }
  Time arrival = departure + link.latency + random_.Upto(link.jitter);
  const bool held_by_link = random_.Chance(link.reorder);
  const bool held_by_fault = random_.Chance(wrong.reorder);
  if (held_by_link || held_by_fault) {
    ++stats_.reordered;
    arrival += random_.Upto(held_by_link ? link.reorder_by : wrong.reorder_by);
  } else {
    arrival = std::max(arrival, state.last_arrival);
    state.last_arrival = arrival;
  }
  arrival += wrong.delay + random_.Upto(wrong.jitter);
  trace("send ");
  const auto deliver_at = [&](Time at, detail::Packet copy) {
    world_.events().Add(at,
                        [this, &from, to, copy = std::move(copy)]() mutable {
                          Deliver(from, *to, std::move(copy));
                        });
  };
  if (random_.Chance(link.duplicate) || random_.Chance(wrong.duplicate)) {
    ++stats_.duplicated;
    deliver_at(arrival + random_.Upto(link.latency + link.jitter), packet);
  }
  deliver_at(arrival, std::move(packet));
}

void SimNetwork::Deliver(detail::Machine& from, detail::Machine& to,
                         detail::Packet packet) {
  const auto trace = [&](const char* what) {
    if (world_.tracing()) to.Trace(what + packet.Describe());
  };
  if (const Fault* fault = FaultOf(from, to, packet);
      fault != nullptr && fault->loss >= 1) {
    ++stats_.cut;
    return trace("cut on the way ");
  }
  if (to.kernel() == nullptr) {
    ++stats_.nobody;
    return trace("is down for ");
  }
  ++stats_.delivered;
  trace("receive ");
  const std::shared_ptr<detail::Kernel> kernel =
      to.kernel()->shared_from_this();
  kernel->Receive(packet);
  kernel->Flush();
}

}  // namespace braid
