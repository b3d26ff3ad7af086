// The server.
#include <memory>

#include "braid/braid.h"
#include "braid/service/config.h"
#include "braid/service/main.h"
#include "weather/config.pb.h"
#include "weather/weather.h"

namespace weather {
namespace {

class Server final : public braid::service::Service {
 public:
  Server(braid::service::Context& context, const Config& config)
      : weather_(context.registry(), config.coldest()) {
    context.AddRpc(weather_);
  }

  braid::Task<absl::Status> Serve(braid::Ready<void> ready) override {
    ready.Set();
    co_await braid::StopRequested();
    co_return absl::OkStatus();
  }

 private:
  WeatherService weather_;
};

}  // namespace
}  // namespace weather

int main(int argc, char** argv) {
  braid::service::Definition<weather::Config> definition;
  definition.name = "weather";
  definition.summary = "Remembers what thermometers say.";
  definition.make = [](braid::service::Context& context,
                       const weather::Config& config) {
    return std::make_unique<weather::Server>(context, config);
  };
  return braid::service::Main(argc, argv, definition);
}
