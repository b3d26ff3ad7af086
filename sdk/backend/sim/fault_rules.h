// FaultRules: the faults that are in force, of a simulated network or disk. Not
// for programs, which use SimNetwork and SimDisk.

#ifndef BRAID_BACKEND_SIM_FAULT_RULES_H_
#define BRAID_BACKEND_SIM_FAULT_RULES_H_

#include <list>
#include <memory>
#include <utility>

#include "braid/backend/sim/scoped_fault.h"

namespace braid::detail {

template <typename F>
class FaultRules {
 public:
  // For good.
  void Add(F fault) { list_->push_front(std::move(fault)); }
  // As long as the result lives.
  ScopedFault Inject(F fault) {
    Add(std::move(fault));
    return ScopedFault([weak = std::weak_ptr(list_), own = list_->begin()] {
      if (const auto list = weak.lock()) list->erase(own);
    });
  }

  // The newest first.
  auto begin() const { return list_->begin(); }
  auto end() const { return list_->end(); }
  bool empty() const { return list_->empty(); }

 private:
  // Shared with the scoped faults, which may outlive this.
  const std::shared_ptr<std::list<F>> list_ = std::make_shared<std::list<F>>();
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_FAULT_RULES_H_
