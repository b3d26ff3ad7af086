// RateLimiter: how many datagrams each source prefix may have answered, in a
// table of fixed size.
//
// Every prefix (IPv4 /24, IPv6 /56) has a token bucket: `burst` at once, `rate`
// per second in the long run. The source of a datagram is easily forged, so the
// table is what is attacked:
//   - Its memory is taken once, 16 bytes per prefix, and never grows.
//   - A prefix whose bucket is full again is the same as one never seen. Only
//     such a one ever loses its place, so no flood can wash out the memory of a
//     prefix that has used its rate and give it a fresh burst.
//   - A newcomer that finds no place, because all the prefixes it could
//     displace are in use, shares *one* bucket of `rate` and `burst` with all
//     such newcomers. Prefixes that have a place keep their rate. Filling the
//     table takes `capacity` x `rate` datagrams a second, kept up.
//   - Places are found by a hash with a secret key, in 2 x 4 candidates (two
//     cache lines), so that nobody can aim at one row. Two fifths of the table
//     fill before the first newcomer finds no place; at four fifths it is one
//     in fifty.
//
// Time is an argument. Every call is constant work without allocation. Not
// synchronised.

#ifndef BRAID_SERVICES_UDP_ECHO_RATE_LIMITER_H_
#define BRAID_SERVICES_UDP_ECHO_RATE_LIMITER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "braid/core/time.h"

namespace braid::udp_echo {

struct RateLimit {
  // Datagrams a second and prefix; 0 for no limit. At most 1e9.
  double rate = 0;
  // Datagrams at once and prefix; at least 1.
  uint32_t burst = 1;
};

class RateLimiter {
 public:
  enum class Verdict { kPass, kLimited, kTableFull };

  // `capacity`: prefixes, rounded up to a power of two, at least 8. `key`:
  // secret, drawn at random.
  RateLimiter(RateLimit limit, size_t capacity, std::array<uint64_t, 2> key);

  // Takes one datagram off the bucket of `prefix` (IpKey::Prefix()). `now`
  // doesn't go back (a step back counts as none).
  Verdict Take(uint64_t prefix, Time now);

  // From the next datagram on. What prefixes have used stays used, but nobody
  // waits longer than the new limit has them.
  void SetLimit(RateLimit limit);
  RateLimit limit() const { return limit_; }

  size_t capacity() const { return rows_.size() * kWays; }
  // Prefixes whose buckets aren't full at `now`. Counts a table of up to
  // 65,536; of a larger one it counts so many places, and scales: prefixes are
  // spread by chance, so that is right to about one in a hundred when it is
  // worth knowing, and never walks hundreds of megabytes.
  size_t InUse(Time now) const;

 private:
  static constexpr size_t kWays = 4;

  // A bucket is the time at which it is full again (the "theoretical arrival
  // time" of the generic cell rate algorithm, ITU-T I.371): in the past means
  // full.
  struct Entry {
    uint64_t prefix = 0;
    int64_t full_at = INT64_MIN;
  };
  struct alignas(64) Row {
    std::array<Entry, kWays> entries;
  };

  bool TakeFrom(int64_t& full_at, int64_t now) const;

  RateLimit limit_;
  int64_t cost_ = 0;   // nanoseconds until one datagram is refilled
  int64_t depth_ = 0;  // nanoseconds until an empty bucket is full
  std::array<uint64_t, 2> key_;
  std::vector<Row> rows_;
  int64_t shared_full_at_ = INT64_MIN;
};

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_RATE_LIMITER_H_
