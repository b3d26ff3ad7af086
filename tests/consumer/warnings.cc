// Every public header, under warnings that a project may have turned on.
#include "braid/braid.h"
#include "braid/metrics/exposition.h"
#include "braid/metrics/process.h"
#include "braid/metrics/runtime.h"
#include "braid/rpc/client.h"
#include "braid/rpc/server.h"
#include "braid/service/config.h"
#include "braid/service/main.h"
#include "braid/service/rpc_metrics.h"

using namespace braid;

// Templates are warned about where they are used.
Task<absl::StatusOr<int>> UseMuch(UdpSocket socket, rpc::Channel channel) {
  Event event;
  Mutex mutex;
  auto [sender, receiver] = MakeChannel<int>(1);
  DatagramBuffer buffer;
  int sum = co_await OrReturn(
      WithTaskGroup([&](TaskGroup& group) -> Task<absl::StatusOr<int>> {
        group.Start(
            "send",
            [](Sender<int> to) -> Task<absl::Status> {
              co_return co_await to.Send(1);
            },
            std::move(sender));
        std::optional<int> item = co_await OrReturn(receiver.Receive());
        auto lock = co_await mutex.Lock();
        event.Set();
        co_await OrReturn(group.Join());
        co_return item.value_or(0);
      }));
  auto [datagram, late] = co_await AnyOf(
      socket.Receive(buffer), SleepFor(std::chrono::milliseconds(1)));
  if (late && !datagram.has_value()) ++sum;
  co_await OrReturn(FailAfter(std::chrono::seconds(1), event.Wait()));
  co_return sum;
}
