// A service that does nothing but end, in the way it is told to: for tests of
// service::Main.

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/sleep.h"
#include "braid/core/stop_request.h"
#include "braid/core/timeout.h"
#include "braid/service/main.h"
#include "tests/integration/life_service.pb.h"

namespace braid::integration {
namespace {

using namespace std::chrono_literals;

class LifeService final : public service::Service {
 public:
  LifeService(service::Context& context, LifeConfig config)
      : context_(context), config_(std::move(config)) {
    if (config_.end() == "stops_when_made") context_.RequestStop("a test");
  }

  Task<absl::Status> Serve(Ready<void> ready) override {
    const std::string& end = config_.end();
    if (end == "never_ready") {
      co_await StopRequested();
      co_return absl::OkStatus();
    }
    ready.Set();
    if (end == "never") co_await SleepForever();
    if (end == "fails") co_return absl::DataLossError("the disk is gone");
    if (end == "throws") throw std::runtime_error("thrown by the service");
    if (end == "by_itself") co_return absl::OkStatus();
    if (end == "not_ready") context_.SetReady(false);
    co_await StopRequested();
    co_return absl::OkStatus();
  }

  absl::Status Reload(const google::protobuf::Message& config) override {
    const auto& next = static_cast<const LifeConfig&>(config);
    if (next.label() == config_.refuses()) {
      return absl::FailedPreconditionError("this label can't be had");
    }
    return absl::OkStatus();
  }

 private:
  service::Context& context_;
  const LifeConfig config_;
};

}  // namespace
}  // namespace braid::integration

int main(int argc, char** argv) {
  using braid::integration::LifeConfig;
  braid::service::Definition<LifeConfig> definition;
  definition.name = "life_service";
  definition.summary = "Ends as it is told to.";
  definition.validate = [](const LifeConfig& config) {
    if (config.label() != "invalid") return absl::OkStatus();
    return absl::InvalidArgumentError("label=invalid: must be something else");
  };
  definition.make = [](braid::service::Context& context,
                       const LifeConfig& config) {
    return std::make_unique<braid::integration::LifeService>(context, config);
  };
  definition.reloadable = {"label", "secret"};
  return braid::service::Main(argc, argv, definition);
}
