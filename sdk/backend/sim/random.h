// SimRandom: the only source of chance in a simulation.
//
// A stream of numbers that is the same for the same seed on every machine and
// with every standard library, which <random>'s distributions are not. Each
// concern (the scheduler, the network, each host) has a stream of its own, so
// that what one draws doesn't change what another sees. Not for secrets.

#ifndef BRAID_BACKEND_SIM_RANDOM_H_
#define BRAID_BACKEND_SIM_RANDOM_H_

#include <cstdint>
#include <string_view>

#include "braid/core/time.h"

namespace braid {

// SplitMix64 (Steele, Lea and Flood, 2014).
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    return Mix(state_);
  }
  // 0 to `limit` - 1; 0 for 0. Multiplied rather than divided: the bias is
  // below 2^-32 for every limit that is used.
  uint64_t Below(uint64_t limit) {
    return static_cast<uint64_t>(
        static_cast<unsigned __int128>(Next()) * limit >> 64);
  }
  // True with that probability. Draws nothing for 0 and below, and for 1 and
  // above.
  bool Chance(double probability) {
    if (probability <= 0) return false;
    if (probability >= 1) return true;
    return static_cast<double>(Next() >> 11) * 0x1p-53 < probability;
  }
  // Zero to `most`, both possible.
  Duration Upto(Duration most) {
    if (most <= Duration::zero()) return Duration::zero();
    return Duration(Below(static_cast<uint64_t>(most.count()) + 1));
  }

  // The seed of the stream for `purpose`.
  static uint64_t Derive(uint64_t seed, std::string_view purpose,
                         uint64_t index = 0) {
    uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (const char c : purpose)
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return Mix(Mix(seed ^ hash) + index);
  }

 private:
  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

}  // namespace braid

#endif  // BRAID_BACKEND_SIM_RANDOM_H_
