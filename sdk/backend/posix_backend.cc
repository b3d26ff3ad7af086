#include "braid/backend/posix_backend.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "braid/backend/errno_status.h"

namespace braid::detail {

Time PosixBackend::Now() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return Time(std::chrono::seconds(now.tv_sec) +
              std::chrono::nanoseconds(now.tv_nsec));
}

absl::Status PosixBackend::OpenWakeUp(int flags) {
  wake_ = UniqueFd(::eventfd(0, flags | EFD_CLOEXEC));
  return wake_.ok() ? absl::OkStatus() : ErrnoStatus(errno, "open an eventfd");
}

// Every exchange is a read-modify-write, so what was handed over before a Wake
// is seen after the StopWaiting, or the failed StartWaiting, that follows it.
void PosixBackend::Wake() noexcept {
  if (wake_state_.exchange(WakeState::kWoken, std::memory_order_acq_rel) !=
      WakeState::kWaiting)
    return;
  const int saved = errno;  // this may be in a signal handler
  const uint64_t one = 1;
  // It can't fail but for 2^64 - 2 wake-ups that nobody read, and then there is
  // an edge in store anyway.
  [[maybe_unused]] const ssize_t written =
      ::write(wake_.get(), &one, sizeof one);
  errno = saved;
}

bool PosixBackend::StartWaiting() {
  WakeState expected = WakeState::kRunning;
  if (wake_state_.compare_exchange_strong(expected, WakeState::kWaiting,
                                          std::memory_order_acq_rel))
    return true;
  StopWaiting();
  return false;
}

void PosixBackend::StopWaiting() {
  wake_state_.exchange(WakeState::kRunning, std::memory_order_acq_rel);
}

absl::StatusOr<IoHandle> PosixBackend::Open(const SocketRequest& request) {
  absl::StatusOr<UniqueFd> fd = OpenSocket(request);
  if (!fd.ok()) return fd.status();
  const int number = fd->get();
  IoHandle handle =
      MakeDescriptor(*std::move(fd), request.kind, /*borrowed=*/false);
  auto& descriptor = static_cast<PosixDescriptor&>(*handle.get());
  const bool connected = request.kind == IoKind::kUdp && !request.peer.empty();
  if (connected) descriptor.peer = request.peer;
  if (connected || !request.bind.empty())
    descriptor.local = LocalAddressOf(number);
  descriptor.wants_destination = request.kind == IoKind::kUdp &&
                                 WantsDestination(number, descriptor.local);
  return handle;
}

absl::StatusOr<IoHandle> PosixBackend::Adopt(int fd, IoKind kind) {
  if (absl::Status status = PrepareAdopted(fd, kind); !status.ok())
    return status;
  IoHandle handle =
      MakeDescriptor(UniqueFd(fd), kind, kind == IoKind::kPollable);
  if (kind != IoKind::kPollable && kind != IoKind::kFile) {
    auto& descriptor = static_cast<PosixDescriptor&>(*handle.get());
    descriptor.local = LocalAddressOf(fd);
    descriptor.peer = PeerAddressOf(fd);
    descriptor.wants_destination =
        kind == IoKind::kUdp && WantsDestination(fd, descriptor.local);
    if (kind == IoKind::kUdp && GivesRuns(fd))
      descriptor.merged = std::make_unique<MergedDatagrams>();
  }
  return handle;
}

void PosixBackend::Offload(Descriptor& offloaded) {
  auto& descriptor = static_cast<PosixDescriptor&>(offloaded);
  const int fd = descriptor.fd.get();
  descriptor.takes_runs = TakesRuns(fd);
  if (descriptor.merged == nullptr && AskForRuns(fd))
    descriptor.merged = std::make_unique<MergedDatagrams>();
}

int PosixBackend::NativeHandle(const Descriptor& descriptor) const {
  return descriptor.closed
             ? -1
             : static_cast<const PosixDescriptor&>(descriptor).fd.get();
}

SocketInfo PosixBackend::Inspect(const Descriptor& descriptor) const {
  const auto& inspected = static_cast<const PosixDescriptor&>(descriptor);
  SocketInfo info = InspectSocket(NativeHandle(descriptor));
  info.offload = inspected.takes_runs && inspected.merged != nullptr;
  return info;
}

}  // namespace braid::detail
