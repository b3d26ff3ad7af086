// Reports a reading and prints what the server sends to those who follow.
//
//   client TARGET PLACE CELSIUS
#include "braid/rpc/client.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "braid/braid.h"
#include "weather/weather.braid.h"

using namespace braid;
using namespace std::chrono_literals;

Task<absl::Status> Main(std::vector<std::string> arguments) {
  if (arguments.size() != 3) {
    co_return absl::InvalidArgumentError("use: client TARGET PLACE CELSIUS");
  }
  weather::v1::Weather::Client client(rpc::Channel::To(arguments[0]));

  co_return co_await FailAfter(10s, [&]() -> Task<absl::Status> {
    rpc::ClientReader<weather::v1::Reading> readings = client.Follow({});
    // Once the empty one has come, no other is missed.
    co_await OrReturn(readings.Receive());

    weather::v1::Reading reading;
    reading.mutable_place()->set_name(arguments[1]);
    reading.set_celsius(std::atof(arguments[2].c_str()));
    reading.mutable_period()->set_seconds(60);
    co_await OrReturn(client.Report(reading));

    auto followed = co_await OrReturn(readings.Receive());
    if (!followed.has_value()) {
      co_return absl::DataLossError("the stream ended");
    }
    std::printf("%s %.1f\n", followed->place().name().c_str(),
                followed->celsius());
    co_return absl::OkStatus();
  });
}

int main(int argc, char** argv) { return RunMain(argc, argv, Main); }
