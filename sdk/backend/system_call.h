// What holds for every system call that moves bytes. Not for programs.

#ifndef BRAID_BACKEND_SYSTEM_CALL_H_
#define BRAID_BACKEND_SYSTEM_CALL_H_

#include <cerrno>
#include <cstddef>

namespace braid::detail {

// Bytes for one call: the kernel counts in 31 bits, less a page.
inline constexpr size_t kLargestTransfer = size_t{1} << 30;

// Makes a system call until it isn't interrupted.
template <typename F>
auto Retrying(F call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SYSTEM_CALL_H_
