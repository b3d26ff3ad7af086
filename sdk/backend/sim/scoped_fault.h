// ScopedFault: a fault of a simulated network or disk that ends when it goes.
//
//   ScopedFault cut = sim.network().Inject(Partition({"a"}, {"b"}));
//   ScopedFault full = host.disk().Inject({.error = ENOSPC});
//
// Threads: the simulation's.

#ifndef BRAID_BACKEND_SIM_SCOPED_FAULT_H_
#define BRAID_BACKEND_SIM_SCOPED_FAULT_H_

#include <functional>
#include <utility>

namespace braid {

namespace detail {
template <typename F>
class FaultRules;
}  // namespace detail

// Keeps a fault in force while it lives. Move-only; it may outlive the
// simulation.
class [[nodiscard("the fault ends when this goes")]] ScopedFault {
 public:
  ScopedFault() = default;
  ScopedFault(ScopedFault&&) noexcept = default;
  ScopedFault& operator=(ScopedFault&& other) noexcept {
    std::swap(remove_, other.remove_);
    return *this;
  }
  ~ScopedFault() { End(); }

  // Ends it now.
  void End() {
    if (auto remove = std::exchange(remove_, nullptr)) remove();
  }

 private:
  template <typename F>
  friend class detail::FaultRules;
  explicit ScopedFault(std::function<void()> remove)
      : remove_(std::move(remove)) {}

  std::function<void()> remove_;
};

}  // namespace braid

#endif  // BRAID_BACKEND_SIM_SCOPED_FAULT_H_
