#include "services/udp_echo/top_talkers.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "braid/core/check.h"

namespace braid::udp_echo {

TopTalkers::TopTalkers(size_t capacity)
    : capacity_(capacity), chains_(2 * std::bit_ceil(capacity), kNone) {
  detail::Check(capacity >= 1 && capacity <= 65536,
                "a list of top talkers has 1 to 65536 places");
  places_.reserve(capacity);
  heap_.reserve(capacity);
}

uint32_t& TopTalkers::Chain(const IpKey& address) {
  const auto product =
      static_cast<unsigned __int128>(address.high ^ 0x9e3779b97f4a7c15) *
      (address.low ^ 0xc2b2ae3d27d4eb4f);
  const auto hash =
      static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
  return chains_[(hash ^ hash >> 32) & (chains_.size() - 1)];
}

void TopTalkers::Unchain(uint32_t place) {
  uint32_t* link = &Chain(places_[place].talker.address);
  while (*link != place) link = &places_[*link].next;
  *link = places_[place].next;
}

void TopTalkers::SwapAt(size_t a, size_t b) {
  std::swap(heap_[a], heap_[b]);
  places_[heap_[a]].heap_index = static_cast<uint32_t>(a);
  places_[heap_[b]].heap_index = static_cast<uint32_t>(b);
}

void TopTalkers::SiftDown(size_t at) {
  for (;;) {
    size_t least = at;
    for (size_t child : {2 * at + 1, 2 * at + 2}) {
      if (child < heap_.size() && CountAt(child) < CountAt(least))
        least = child;
    }
    if (least == at) return;
    SwapAt(at, least);
    at = least;
  }
}

void TopTalkers::SiftUp(size_t at) {
  while (at > 0 && CountAt(at) < CountAt((at - 1) / 2)) {
    SwapAt(at, (at - 1) / 2);
    at = (at - 1) / 2;
  }
}

void TopTalkers::Count(const IpKey& address, size_t bytes) {
  uint32_t& chain = Chain(address);
  for (uint32_t place = chain; place != kNone; place = places_[place].next) {
    Talker& talker = places_[place].talker;
    if (talker.address != address) continue;
    ++talker.datagrams;
    talker.bytes += bytes;
    SiftDown(places_[place].heap_index);
    return;
  }
  if (heap_.size() < capacity_) {
    const auto place = static_cast<uint32_t>(places_.size());
    places_.push_back(
        {{address, 1, 0, bytes}, std::exchange(chain, place), place});
    heap_.push_back(place);
    SiftUp(heap_.size() - 1);
    return;
  }
  const uint32_t place = heap_[0];
  Unchain(place);
  const uint64_t inherited = places_[place].talker.datagrams;
  places_[place].talker = {address, inherited + 1, inherited, bytes};
  places_[place].next = std::exchange(chain, place);
  SiftDown(0);
}

void TopTalkers::Fade() {
  // Halving keeps the order, so the heap stays one.
  for (Place& place : places_) {
    place.talker.datagrams /= 2;
    place.talker.overestimate /= 2;
    place.talker.bytes /= 2;
  }
}

std::vector<TopTalkers::Talker> TopTalkers::Top(size_t limit) const {
  std::vector<Talker> top;
  top.reserve(places_.size());
  for (const Place& place : places_) {
    if (place.talker.datagrams > 0) top.push_back(place.talker);
  }
  // By address where the counts are the same, so that the answer is the same
  // whatever the order of arrival was.
  const auto before = [](const Talker& a, const Talker& b) {
    if (a.datagrams != b.datagrams) return a.datagrams > b.datagrams;
    return std::pair(a.address.high, a.address.low) <
           std::pair(b.address.high, b.address.low);
  };
  const size_t count = std::min(limit, top.size());
  std::ranges::partial_sort(top, top.begin() + static_cast<ptrdiff_t>(count),
                            before);
  top.resize(count);
  return top;
}

}  // namespace braid::udp_echo
