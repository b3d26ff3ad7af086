// What a test puts between the programs of simulations and their system: it may
// let calls fail, and hears of what it can't see from outside. Not for
// programs; FailEverywhere (testing/fail_everywhere.h) is made of it.

#ifndef BRAID_BACKEND_SIM_FAULTS_H_
#define BRAID_BACKEND_SIM_FAULTS_H_

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "braid/backend/io_operation.h"

namespace braid {

class FileOperation;

namespace detail {

class Loop;

// A call that may fail: its name, and the one of its errors that stands for
// all.
struct SimCall {
  std::string_view name;
  int error = 0;
};

class SimFaults {
 public:
  SimFaults() = default;
  SimFaults(const SimFaults&) = delete;
  SimFaults& operator=(const SimFaults&) = delete;
  virtual ~SimFaults() = default;

  // Whether this call is to fail. `on` says what it is made on.
  virtual bool Fails(const SimCall& call,
                     absl::FunctionRef<std::string()> on) = 0;
  // A loop has had its turn.
  virtual void TurnEnded(Loop& loop) = 0;
  // Every task waits for what can't happen; they are `tasks`.
  virtual void Deadlocked(std::string_view tasks) = 0;
  // From Enter to Leave the system does what a program has called it for.
  virtual void Enter() = 0;
  virtual void Leave() = 0;
};

// Of all simulations of this process, which then run in one thread; nullptr:
// nothing fails.
extern constinit SimFaults* sim_faults;

// While one lives, the system is at work.
class InSimSystem {
 public:
  InSimSystem() : faults_(sim_faults) {
    if (faults_ != nullptr) faults_->Enter();
  }
  InSimSystem(const InSimSystem&) = delete;
  InSimSystem& operator=(const InSimSystem&) = delete;
  ~InSimSystem() {
    if (faults_ != nullptr) faults_->Leave();
  }

 private:
  SimFaults* faults_;
};

// The error that a call is to fail with, 0 if it is not to.
inline int FaultOf(const SimCall& call, absl::FunctionRef<std::string()> on) {
  return sim_faults != nullptr && sim_faults->Fails(call, on) ? call.error : 0;
}
int FaultOf(const FileOperation& operation);
// Calls on a stream give ECONNRESET: its connection is to be reset before.
int FaultOf(const IoOperation& operation);

}  // namespace detail
}  // namespace braid

#endif  // BRAID_BACKEND_SIM_FAULTS_H_
