// Built with -fno-exceptions, as some projects are: headers and generated code
// compile, everything links, and stopping works all the same.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/braid.h"
#include "braid/metrics/exposition.h"
#include "braid/rpc/client.h"
#include "braid/rpc/server.h"
#include "weather/weather.braid.h"

#if defined(__cpp_exceptions)
#error "exceptions are on: this test shows nothing"
#endif

namespace {

using namespace braid;
using namespace std::chrono_literals;

class Thermometer final : public weather::v1::Weather::Service {
 public:
  explicit Thermometer(metrics::Registry& registry)
      : asked_(*registry.AddCounter(
            {.name = "thermometer_asked_total", .help = "Times read."})) {}

  Task<absl::StatusOr<weather::v1::Reading>> Latest(rpc::ServerContext&,
                                                    geo::v1::Place) override {
    asked_.Increment();
    weather::v1::Reading reading;
    reading.set_celsius(21);
    co_return reading;
  }

 private:
  metrics::Counter asked_;
};

template <typename Body>
absl::Status RunBody(Body body) {
  auto backend = MakeBackend("auto");
  return backend.ok() ? Run(**backend, body) : backend.status();
}

TEST(NoExceptionsTest, StopsAndFails) {
  const absl::Status status = RunBody([]() -> Task<absl::Status> {
    const std::optional<int> late =
        co_await MoveOnAfter(1ms, []() -> Task<int> {
          co_await SleepForever();
          co_return 1;
        });
    EXPECT_FALSE(late.has_value());

    absl::Status failed =
        co_await WithTaskGroup([](TaskGroup& group) -> Task<absl::Status> {
          group.Start("fails", []() -> Task<absl::Status> {
            co_return absl::AbortedError("as told");
          });
          co_await SleepForever();
          co_return absl::OkStatus();
        });
    EXPECT_TRUE(absl::IsAborted(failed)) << failed;
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(NoExceptionsTest, ServesAndCalls) {
  metrics::Registry registry;
  Thermometer thermometer(registry);
  const absl::Status status = RunBody([&]() -> Task<absl::Status> {
    rpc::ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    rpc::Server server(std::move(options));
    server.AddService(thermometer);
    co_await OrReturn(server.Listen());
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("serve", &rpc::Server::Serve, &server);
          weather::v1::Weather::Client client(
              rpc::Channel::To("127.0.0.1:" + std::to_string(server.port())));
          auto reading = co_await OrReturn(FailAfter(10s, client.Latest({})));
          EXPECT_EQ(reading.celsius(), 21);
          group.RequestStop();
          co_return co_await group.Join();
        });
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_NE(metrics::Expose(registry, metrics::Format::kText)
                .find("thermometer_asked_total 1\n"),
            std::string::npos);
}

}  // namespace
