// AllSignalsBlocked: for making threads that no signal is delivered to.
//
//   const AllSignalsBlocked blocked;
//   thread_ = std::thread(...);
//
// A thread inherits the mask of the one that makes it. Signals are for the
// threads of the program, and a SIGPIPE becomes an error of write.

#ifndef BRAID_BACKEND_SIGNAL_MASK_H_
#define BRAID_BACKEND_SIGNAL_MASK_H_

#include <signal.h>

namespace braid::detail {

// On this thread, while it lives.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIGNAL_MASK_H_
