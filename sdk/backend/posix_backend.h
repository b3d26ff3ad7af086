// PosixBackend: what backends over the operating system's sockets have in
// common: making and examining descriptors, the clock, and the wake-up.
//
// Not for: how operations are done and waited for, which is what such backends
// differ in.

#ifndef BRAID_BACKEND_POSIX_BACKEND_H_
#define BRAID_BACKEND_POSIX_BACKEND_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/merged_datagrams.h"
#include "braid/backend/posix_socket.h"

namespace braid::detail {

class PosixDescriptor : public Descriptor {
 public:
  // A borrowed one is never closed.
  PosixDescriptor(Backend& backend, IoKind kind, UniqueFd descriptor,
                  bool is_borrowed)
      : Descriptor(backend, kind),
        fd(std::move(descriptor)),
        borrowed(is_borrowed) {}

  // Gives it back.
  void CloseFd() {
    if (borrowed) {
      fd.release();
    } else {
      fd.Reset();
    }
  }

  UniqueFd fd;
  const bool borrowed;
  // Datagrams say where they were sent to.
  bool wants_destination = false;
  // A message may carry a run of datagrams out.
  bool takes_runs = false;
  // Where one that comes in may be such a run.
  std::unique_ptr<MergedDatagrams> merged;

 protected:
  ~PosixDescriptor() override { CloseFd(); }
};

class PosixBackend : public Backend {
 public:
  Time Now() final;
  void Wake() noexcept final;

  absl::StatusOr<IoHandle> Open(const SocketRequest& request) final;
  absl::StatusOr<IoHandle> Adopt(int fd, IoKind kind) final;
  void Offload(Descriptor& descriptor) final;
  int NativeHandle(const Descriptor& descriptor) const final;
  SocketInfo Inspect(const Descriptor& descriptor) const override;

 protected:
  using Backend::Backend;

  // A new PosixDescriptor.
  virtual IoHandle MakeDescriptor(UniqueFd fd, IoKind kind, bool borrowed) = 0;

  // Opens what Wake writes to; nothing else may be called before. `flags` are
  // eventfd's.
  absl::Status OpenWakeUp(int flags);
  int wake_fd() const { return wake_.get(); }
  // From StartWaiting to StopWaiting, Wake makes wake_fd() readable. False: it
  // was called before; don't wait.
  bool StartWaiting();
  void StopWaiting();

 private:
  enum class WakeState : uint8_t { kRunning, kWaiting, kWoken };

  UniqueFd wake_;
  std::atomic<WakeState> wake_state_ = WakeState::kRunning;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_POSIX_BACKEND_H_
