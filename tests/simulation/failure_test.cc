// RPC and whole services where calls of the system fail, memory is short and
// deadlines pass: what FailEverywhere finds in them.

#include <signal.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/sim/simulation.h"
#include "braid/braid.h"
#include "braid/echo/v1/echo_control.braid.h"
#include "braid/rpc/client.h"
#include "braid/rpc/server.h"
#include "braid/service/main.h"
#include "braid/testing/fail_everywhere.h"
#include "gtest/gtest.h"
#include "services/udp_echo/definition.h"

namespace braid {
namespace {

using namespace std::chrono_literals;
using echo::v1::EchoControl;

// gRPC ends the program where memory is short, and so does what stands for it
// in the simulation; protobuf and Abseil's hash tables don't expect exceptions.
constexpr FailOptions kNotAllocations = {.allocations = false};

class Control final : public EchoControl::Service {
 public:
  explicit Control(int* begun) : begun_(begun) {}

  Task<absl::StatusOr<echo::v1::StatsReply>> GetStats(
      rpc::ServerContext&, echo::v1::StatsRequest) override {
    ++*begun_;
    co_await SleepFor(1ms);
    co_return echo::v1::StatsReply();
  }

 private:
  int* begun_;
};

// A call is answered only if its handler has run, and the server's program
// ends.
TEST(Failure, OfAUnaryCall) {
  int begun = 0;
  std::optional<absl::Status> answer;
  const int things = FailEverywhere(
      [&] {
        begun = 0;
        answer.reset();
        Simulation sim;
        SimHost& server = sim.AddHost("server");
        SimHost& client = sim.AddHost("client");
        server.Run([&]() -> Task<absl::Status> {
          Control control(&begun);
          rpc::ServerOptions options;
          options.listen = {"0.0.0.0:700"};
          rpc::Server server(std::move(options));
          server.AddService(control);
          co_return co_await WithTaskGroup(
              [&](TaskGroup& group) -> Task<absl::Status> {
                group.Start("server", &rpc::Server::Serve, &server);
                co_await SleepFor(10s);
                group.RequestStop();
                co_return co_await group.Join();
              });
        });
        client.Run([&]() -> Task<void> {
          EchoControl::Client control(rpc::Channel::To("server:700"));
          auto reply = co_await FailAfter(
              5s, control.GetStats(echo::v1::StatsRequest(),
                                   rpc::CallOptions().WaitForReady()));
          answer = reply.status();
        });
        return sim.RunUntilIdle();
      },
      [&](const absl::Status& status) {
        if (!status.ok()) return;
        EXPECT_TRUE(answer.has_value());
        if (answer == absl::OkStatus()) EXPECT_EQ(begun, 1);
      },
      kNotAllocations);
  EXPECT_GT(things, 5);
}

// Its whole life: it ends with an exit code, whatever happens.
TEST(Failure, OfAServicesLife) {
  std::optional<int> code;
  const int things = FailEverywhere(
      [&] {
        code.reset();
        Simulation sim;
        SimHost& host = sim.AddHost("echo");
        host.Run([&]() -> Task<void> {
          std::vector<std::string> flags = {
              "--listen=0.0.0.0:4007", "--service.rpc_listen=0.0.0.0:9101",
              "--service.http_listen=0.0.0.0:9100"};
          code = co_await service::Run(std::move(flags),
                                       udp_echo::MakeDefinition());
        });
        sim.After(5s, [&] { host.Signal(SIGTERM); });
        return sim.RunUntilIdle();
      },
      [&](const absl::Status& status) {
        if (status.ok()) EXPECT_TRUE(code.has_value());
      },
      kNotAllocations);
  EXPECT_GT(things, 5);
}

}  // namespace
}  // namespace braid
