// How services end, in the order of things that a seed decides.

#include <signal.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/sim/simulation.h"
#include "braid/braid.h"
#include "braid/service/main.h"
#include "braid/testing/explore_seeds.h"
#include "gtest/gtest.h"
#include "services/udp_echo/config.pb.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using udp_echo::Config;

// Fails a second after it was started, and asks for its end once more then.
class Failing final : public service::Service {
 public:
  explicit Failing(service::Context& context) : context_(context) {}
  ~Failing() override { context_.RequestStop("the service is destroyed"); }

  Task<absl::Status> Serve(Ready<void> ready) override {
    ready.Set();
    co_await SleepFor(1s);
    co_return absl::DataLossError("the disk is gone");
  }

 private:
  service::Context& context_;
};

service::Definition<Config> FailingService() {
  service::Definition<Config> definition;
  definition.name = "failing";
  definition.summary = "Fails.";
  definition.make = [](service::Context& context, const Config&) {
    return std::make_unique<Failing>(context);
  };
  return definition;
}

std::vector<std::string> Flags() {
  return {"--service.http_listen=", "--service.rpc_listen=0.0.0.0:9101",
          "--service.lame_duck=0s"};
}

// Nothing is drained any more where that is asked for too late.
TEST(ServiceLife, AStopMayBeRequestedWhenAllHasEnded) {
  Simulation sim;
  std::optional<int> code;
  sim.AddHost("host").Run([&]() -> Task<void> {
    code = co_await service::Run(Flags(), FailingService());
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(code, 1);
}

// A signal while the endpoints of a failed service go: what is told to stop
// then must still be there.
TEST(ServiceLife, ASignalWhileItFails) {
  ExploreSeeds(200, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    std::optional<int> code;
    SimHost& host = sim.AddHost("host");
    host.Run([&]() -> Task<void> {
      code = co_await service::Run(Flags(), FailingService());
    });
    sim.After(1s, [&] { host.Signal(SIGTERM); });
    const absl::Status status = sim.RunUntilIdle();
    if (code.has_value()) {
      EXPECT_EQ(code, 1) << seed;
    }
    return status;
  });
}

// Cancelled at any time, it leaves nothing behind.
TEST(ServiceLife, CancelledAtAnyTime) {
  ExploreSeeds(50, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    std::optional<int> code;
    SimHost& host = sim.AddHost("host");
    host.Run([&]() -> Task<void> {
      code = co_await MoveOnAfter(1s, service::Run(Flags(), FailingService()));
    });
    sim.After(Duration(1s) - std::chrono::microseconds(seed % 7),
              [&] { host.Signal(seed % 2 == 0 ? SIGTERM : SIGHUP); });
    return sim.RunUntilIdle();
  });
}

}  // namespace
}  // namespace braid
