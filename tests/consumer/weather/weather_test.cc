// The service and its client in one process, over gRPC and in memory.
#include "weather/weather.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "braid/metrics/exposition.h"
#include "braid/rpc/client.h"
#include "braid/rpc/server.h"
#include "braid/rpc/testing/memory_transport.h"

namespace weather {
namespace {

using namespace braid;
using namespace std::chrono_literals;
using v1::Reading;
using v1::Weather;

Reading MakeReading(std::string place, double celsius) {
  Reading reading;
  reading.mutable_place()->set_name(std::move(place));
  reading.mutable_time()->set_seconds(1'000'000);
  reading.set_celsius(celsius);
  return reading;
}

class WeatherTest : public testing::TestWithParam<const char*> {
 protected:
  // Runs `body(client, group)` while the service is served in `group`.
  template <typename Body>
  void Serve(Body body) {
    auto backend = MakeBackend("auto");
    ASSERT_TRUE(backend.ok()) << backend.status();
    WeatherService service(registry_, -90);
    const absl::Status status =
        braid::Run(**backend, [&]() -> Task<absl::Status> {
          rpc::MemoryTransport memory;
          rpc::ServerOptions options;
          if (GetParam() == std::string("memory")) {
            options.transport = memory.server();
          } else {
            options.listen = {"127.0.0.1:0"};
          }
          rpc::Server server(std::move(options));
          server.AddService(service);
          co_await OrReturn(server.Listen());
          rpc::Channel channel =
              GetParam() == std::string("memory")
                  ? rpc::Channel(memory.client())
                  : rpc::Channel::To("127.0.0.1:" +
                                     std::to_string(server.port()));
          Weather::Client client(channel);
          co_return co_await WithTaskGroup(
              [&](TaskGroup& group) -> Task<absl::Status> {
                group.Start("serve", &rpc::Server::Serve, &server);
                co_await OrReturn(FailAfter(10s, body(client, group)));
                group.RequestStop();
                co_return co_await group.Join();
              });
        });
    EXPECT_TRUE(status.ok()) << status;
  }

  metrics::Registry registry_;
};

TEST_P(WeatherTest, RemembersTheLatestOfEachPlace) {
  Serve([](Weather::Client& client, TaskGroup&) -> Task<absl::Status> {
    co_await OrReturn(client.Report(MakeReading("oslo", -4)));
    co_await OrReturn(client.Report(MakeReading("rome", 12)));
    co_await OrReturn(client.Report(MakeReading("oslo", -3)));
    geo::v1::Place oslo;
    oslo.set_name("oslo");
    const Reading latest = co_await OrReturn(client.Latest(oslo));
    EXPECT_EQ(latest.celsius(), -3);
    EXPECT_EQ(latest.time().seconds(), 1'000'000);
    co_return absl::OkStatus();
  });
}

TEST_P(WeatherTest, RefusesAndCounts) {
  Serve([](Weather::Client& client, TaskGroup&) -> Task<absl::Status> {
    const auto nowhere = co_await client.Report(MakeReading("", 1));
    EXPECT_TRUE(absl::IsInvalidArgument(nowhere.status())) << nowhere.status();
    const auto unknown = co_await client.Latest({});
    EXPECT_TRUE(absl::IsNotFound(unknown.status())) << unknown.status();
    co_return absl::OkStatus();
  });
  const std::string text = metrics::Expose(registry_, metrics::Format::kText);
  EXPECT_NE(text.find("weather_readings_total{result=\"refused\"} 1\n"),
            std::string::npos)
      << text;
}

// The stream ends in good order when the server is asked to stop.
TEST_P(WeatherTest, FollowersGetReadingsUntilTheServerStops) {
  Serve([](Weather::Client& client, TaskGroup& group) -> Task<absl::Status> {
    rpc::ClientReader<Reading> readings = client.Follow({});
    co_await OrReturn(readings.Receive());
    co_await OrReturn(client.Report(MakeReading("oslo", -4)));
    const auto reading = co_await OrReturn(readings.Receive());
    EXPECT_TRUE(reading.has_value());
    if (reading.has_value()) EXPECT_EQ(reading->place().name(), "oslo");
    group.RequestStop();
    EXPECT_FALSE((co_await OrReturn(readings.Receive())).has_value());
    co_return absl::OkStatus();
  });
}

// What a handler is given to do ends when its caller no longer waits.
TEST_P(WeatherTest, ADeadlineEndsAStream) {
  Serve([](Weather::Client& client, TaskGroup&) -> Task<absl::Status> {
    const auto readings =
        co_await MoveOnAfter(20ms, [&]() -> Task<absl::StatusOr<int>> {
          rpc::ClientReader<Reading> stream = client.Follow({});
          int count = 0;
          while (auto reading = co_await OrReturn(stream.Receive())) ++count;
          co_return count;
        });
    EXPECT_FALSE(readings.has_value());
    co_return absl::OkStatus();
  });
}

INSTANTIATE_TEST_SUITE_P(Transports, WeatherTest,
                         testing::Values("grpc", "memory"));

}  // namespace
}  // namespace weather
