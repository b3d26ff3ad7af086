// The simulation backend: does I/O on the simulated kernel of one machine.
//
//   absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("sim");
//
// For: running a program or a test alone, on virtual time and a network of its
// own that has one host. Several hosts are a Simulation (simulation.h).
// Deadlock is a result: when every task waits for something that can't happen
// any more, the program is cancelled and Run gives CANCELLED with the task tree
// in the message. Not for: descriptors of the operating system, which Adopt
// refuses as UNIMPLEMENTED.

#ifndef BRAID_BACKEND_SIM_SIM_BACKEND_H_
#define BRAID_BACKEND_SIM_SIM_BACKEND_H_

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/io_operation.h"

namespace braid {

struct SimHostOptions;
struct SimulationOptions;
class Simulation;

// A host on its own. It is called "localhost", and its address is 10.0.0.1.
std::unique_ptr<Backend> MakeSimBackend();
std::unique_ptr<Backend> MakeSimBackend(const SimulationOptions& options);
std::unique_ptr<Backend> MakeSimBackend(const SimulationOptions& options,
                                        const SimHostOptions& host);

namespace detail {

class Kernel;
class Machine;

class SimBackend : public Backend {
 public:
  SimBackend(Machine& machine, std::shared_ptr<Host> host);
  ~SimBackend() override;

  // That of the loop that runs on this thread; nullptr: none, or another kind.
  static SimBackend* CurrentOrNull();

  std::string_view name() const override { return "sim"; }
  Factory ShardFactory() const override { return nullptr; }
  void Run(Loop& loop) override;
  Time Now() override;
  // All of a simulation runs in one thread, which looks at every inbox.
  void Wake() noexcept override {}

  absl::StatusOr<IoHandle> Open(const SocketRequest& request) override;
  absl::StatusOr<IoHandle> Adopt(int fd, IoKind kind) override;
  int NativeHandle(const Descriptor&) const override { return -1; }
  SocketInfo Inspect(const Descriptor& descriptor) const override;
  bool Submit(IoOperation& operation) override;
  void Cancel(IoOperation& operation) noexcept override;
  void Release(Descriptor& descriptor) noexcept override;
  void Replenish(Descriptor& descriptor) noexcept override;
  bool SubmitFile(FileOperation& operation) override;
  void CancelFile(FileOperation& operation) noexcept override;

  Machine& machine() const { return machine_; }
  // Is called before each thing that Run lets happen.
  void set_before_step(std::function<void(Loop&)> before_step) {
    before_step_ = std::move(before_step);
  }

 private:
  class SimDescriptor;

  // Each does what one kind of operation asks for. False: it has to wait.
  bool Perform(SimDescriptor& descriptor, IoOperation& operation);
  bool ReceiveInto(SimDescriptor& descriptor, std::span<std::byte> buffer,
                   size_t& size, int& error);
  bool ReceiveChunk(SimDescriptor& descriptor,
                    ReceiveChunkOperation& operation);
  bool Send(SimDescriptor& descriptor, SendOperation& operation);
  bool ReceiveFrom(SimDescriptor& descriptor, Datagram& datagram, int& error);
  bool ReceiveBatch(SimDescriptor& descriptor,
                    ReceiveBatchOperation& operation);
  bool SendBatch(SimDescriptor& descriptor, SendBatchOperation& operation);
  bool Accept(SimDescriptor& descriptor, AcceptOperation& operation);
  bool Connect(SimDescriptor& descriptor, ConnectOperation& operation);
  void Retry(SimDescriptor& descriptor, IoDirection direction);

  Machine& machine_;
  std::shared_ptr<Kernel> kernel_;
  std::function<void(Loop&)> before_step_;
};

}  // namespace detail
}  // namespace braid

#endif  // BRAID_BACKEND_SIM_SIM_BACKEND_H_
