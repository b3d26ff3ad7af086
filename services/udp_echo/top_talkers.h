// TopTalkers: the addresses that send the most, in constant memory.
//
// The space-saving sketch (Metwally, Agrawal, El Abbadi 2005) over a fixed
// number of places: a newcomer takes the place of the least talkative and
// inherits its count, as the most it could have been overlooked for. What holds
// for every address: it really sent between `datagrams - overestimate` and
// `datagrams`; and one that sent more than 1/capacity of all is listed.
//
// Fade() halves everything: called once a minute, the list says who is
// talkative now, not who was last week.
//
// Each datagram costs a look into a hash table, and moves in a heap of
// `capacity` places when the order changes: no allocation. The addresses are
// the senders' claims; one who forges them fills the list with noise of count 1
// and a large overestimate. Not synchronised.

#ifndef BRAID_SERVICES_UDP_ECHO_TOP_TALKERS_H_
#define BRAID_SERVICES_UDP_ECHO_TOP_TALKERS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "services/udp_echo/ip_key.h"

namespace braid::udp_echo {

class TopTalkers {
 public:
  struct Talker {
    IpKey address;
    uint64_t datagrams = 0;     // at most this many
    uint64_t overestimate = 0;  // of which so many may have been others'
    uint64_t bytes = 0;         // payload, since it came into the list
  };

  // `capacity`: places, 1 to 65536.
  explicit TopTalkers(size_t capacity);

  void Count(const IpKey& address, size_t bytes);

  void Fade();

  // The `limit` most talkative, the first first. Allocates.
  std::vector<Talker> Top(size_t limit) const;

  size_t size() const { return heap_.size(); }
  size_t capacity() const { return capacity_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Place {
    Talker talker;
    uint32_t next = kNone;  // in the chain of its hash
    uint32_t heap_index = 0;
  };

  uint32_t& Chain(const IpKey& address);
  void Unchain(uint32_t place);
  uint64_t CountAt(size_t heap_index) const {
    return places_[heap_[heap_index]].talker.datagrams;
  }
  void SwapAt(size_t a, size_t b);
  void SiftDown(size_t heap_index);
  void SiftUp(size_t heap_index);

  size_t capacity_;
  std::vector<Place> places_;
  std::vector<uint32_t> chains_;  // heads, by hash
  std::vector<uint32_t> heap_;    // of places, the least talkative first
};

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_TOP_TALKERS_H_
