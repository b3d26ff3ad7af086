#include "services/udp_echo/rate_limiter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

#include "braid/core/check.h"

namespace braid::udp_echo {
namespace {

constexpr size_t kMostCounted = 65536;

int64_t Nanoseconds(Time time) { return time.time_since_epoch().count(); }

// A keyed permutation of 64 bits: multiply, fold, twice, with the key mixed in
// before each. Not cryptography; it only has to keep somebody who doesn't see
// the table from choosing prefixes that meet in one row.
uint64_t Mix(uint64_t value, uint64_t key) {
  const auto product =
      static_cast<unsigned __int128>(value ^ key) * 0x9e3779b97f4a7c15;
  return static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
}

}  // namespace

RateLimiter::RateLimiter(RateLimit limit, size_t capacity,
                         std::array<uint64_t, 2> key)
    : key_(key),
      rows_(std::bit_ceil(std::max<size_t>(capacity, 2 * kWays)) / kWays) {
  SetLimit(limit);
}

void RateLimiter::SetLimit(RateLimit limit) {
  detail::Check(limit.rate >= 0 && limit.rate <= 1e9,
                "a rate limit is between 0 and 1e9 datagrams a second");
  detail::Check(limit.burst >= 1, "a burst is at least one datagram");
  limit_ = limit;
  if (limit.rate == 0) return;
  // Rounded down: never less than the rate. A year bounds the sums below
  // whatever the two are.
  constexpr double kYear = 365.0 * 24 * 3600 * 1e9;
  cost_ = static_cast<int64_t>(std::min(1e9 / limit.rate, kYear));
  depth_ = static_cast<int64_t>(
      std::min(static_cast<double>(cost_) * limit.burst, kYear));
}

bool RateLimiter::TakeFrom(int64_t& full_at, int64_t now) const {
  // Kept even if the answer is no: after a step of the clock or a new limit
  // nobody waits longer than a whole burst takes.
  full_at = std::clamp(full_at, now, now + depth_);
  if (full_at + cost_ - now > depth_) return false;
  full_at += cost_;
  return true;
}

RateLimiter::Verdict RateLimiter::Take(uint64_t prefix, Time time) {
  if (limit_.rate == 0) return Verdict::kPass;
  const int64_t now = Nanoseconds(time);
  const size_t mask = rows_.size() - 1;
  const uint64_t hash = Mix(Mix(prefix, key_[0]), key_[1]);
  Row* const rows[] = {&rows_[hash & mask], &rows_[(hash >> 32) & mask]};

  // Of the places that may be taken, the one free for longest, in the emptier
  // row: that keeps the two even.
  Entry* place = nullptr;
  size_t most_free = 0;
  for (Row* row : rows) {
    size_t free = 0;
    Entry* oldest = nullptr;
    for (Entry& entry : row->entries) {
      if (entry.prefix == prefix)
        return TakeFrom(entry.full_at, now) ? Verdict::kPass
                                            : Verdict::kLimited;
      if (entry.full_at > now) continue;
      ++free;
      if (oldest == nullptr || entry.full_at < oldest->full_at) oldest = &entry;
    }
    if (free > most_free) {
      most_free = free;
      place = oldest;
    }
  }
  if (place == nullptr)
    return TakeFrom(shared_full_at_, now) ? Verdict::kPass
                                          : Verdict::kTableFull;
  *place = {prefix, now + cost_};
  return Verdict::kPass;
}

size_t RateLimiter::InUse(Time time) const {
  const int64_t now = Nanoseconds(time);
  const size_t looked_at = std::min(rows_.size(), kMostCounted / kWays);
  size_t in_use = 0;
  for (const Row& row : std::span(rows_).first(looked_at)) {
    in_use += static_cast<size_t>(std::ranges::count_if(
        row.entries,
        [now](const Entry& entry) { return entry.full_at > now; }));
  }
  return in_use * (rows_.size() / looked_at);  // powers of two
}

}  // namespace braid::udp_echo
