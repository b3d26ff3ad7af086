// EpollBackend: I/O by trying the system call first and waiting for readiness
// only when it would block.
//
// The part of the Asio backend that has nothing to do with Asio. All
// descriptors are in one epoll set, edge-triggered, put there when something
// first waits for them; whether one may be ready is remembered, so that no call
// is wasted on finding out. A waiting operation is a pointer in its descriptor:
// cancelling it costs no system call.

#ifndef BRAID_BACKEND_ASIO_EPOLL_BACKEND_H_
#define BRAID_BACKEND_ASIO_EPOLL_BACKEND_H_

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/io_operation.h"
#include "braid/backend/posix_backend.h"
#include "braid/backend/socket_calls.h"

namespace braid::detail {

class EpollBackend : public PosixBackend {
 public:
  bool Submit(IoOperation& operation) override;
  void Cancel(IoOperation& operation) noexcept override;
  void Release(Descriptor& descriptor) noexcept override;
  void Replenish(Descriptor& descriptor) noexcept override;

 protected:
  using PosixBackend::PosixBackend;
  // Opens the epoll set; nothing else may be called before.
  absl::Status Init();

  // Waits for events until `deadline` (kAlways: only looks) or a Wake, and ends
  // the operations they are about.
  void Poll(Time deadline);

  // Readable when Poll has something to do, and after a Wake while it waits.
  int epoll_fd() const { return epoll_.get(); }
  // Makes epoll_fd() readable at `when`, once.
  void ArmTimer(Time when);

 private:
  class EpollDescriptor;

  IoHandle MakeDescriptor(UniqueFd fd, IoKind kind, bool borrowed) override;
  // Makes sure that the epoll set tells when `descriptor` becomes ready. An
  // errno.
  int Watch(EpollDescriptor& descriptor, IoDirection direction);
  void Unwatch(EpollDescriptor& descriptor, uint32_t events);
  void Dispatch(EpollDescriptor& descriptor, uint32_t events);
  void Retry(EpollDescriptor& descriptor, IoDirection direction);

  // Each makes the system call of one kind of operation. False: it would block.
  bool Perform(EpollDescriptor& descriptor, IoOperation& operation);
  bool Receive(EpollDescriptor& descriptor, ReceiveOperation& operation);
  bool ReceiveChunk(EpollDescriptor& descriptor,
                    ReceiveChunkOperation& operation);
  // The bytes that came into `buffer`. False: it would block.
  bool ReceiveInto(EpollDescriptor& descriptor, std::span<std::byte> buffer,
                   size_t& size, int& error);
  bool Send(EpollDescriptor& descriptor, SendOperation& operation);
  bool ReceiveFrom(EpollDescriptor& descriptor,
                   ReceiveFromOperation& operation);
  bool SendTo(EpollDescriptor& descriptor, SendToOperation& operation);
  bool ReceiveBatch(EpollDescriptor& descriptor,
                    ReceiveBatchOperation& operation);
  bool SendBatch(EpollDescriptor& descriptor, SendBatchOperation& operation);
  bool Accept(EpollDescriptor& descriptor, AcceptOperation& operation);
  bool Connect(EpollDescriptor& descriptor, ConnectOperation& operation);
  bool Shutdown(EpollDescriptor& descriptor, ShutdownOperation& operation);
  bool PollOnce(EpollDescriptor& descriptor, PollOperation& operation);

  UniqueFd epoll_;
  UniqueFd timer_;  // once it was needed
  bool has_pwait2_ = true;
  std::unique_ptr<BatchScratch> scratch_;  // once a batch was asked for
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_ASIO_EPOLL_BACKEND_H_
