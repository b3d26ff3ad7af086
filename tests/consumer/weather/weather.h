// WeatherService: remembers what thermometers say, and passes it on.

#ifndef WEATHER_WEATHER_H_
#define WEATHER_WEATHER_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/braid.h"
#include "braid/metrics/registry.h"
#include "braid/rpc/server_context.h"
#include "braid/rpc/stream.h"
#include "weather/weather.braid.h"

namespace weather {

class WeatherService final : public v1::Weather::Service {
 public:
  // The registry outlives it. Readings below `coldest` are refused.
  WeatherService(braid::metrics::Registry& registry, double coldest);

  braid::Task<absl::StatusOr<google::protobuf::Empty>> Report(
      braid::rpc::ServerContext& call, v1::Reading reading) override;
  braid::Task<absl::StatusOr<v1::Reading>> Latest(
      braid::rpc::ServerContext& call, geo::v1::Place place) override;
  braid::Task<absl::Status> Follow(
      braid::rpc::ServerContext& call, v1::FollowRequest request,
      braid::rpc::Sink<v1::Reading> replies) override;

 private:
  const double coldest_;
  std::map<std::string, v1::Reading> latest_;  // by place
  braid::Watch<std::shared_ptr<const v1::Reading>> newest_;
  braid::metrics::CounterFamily readings_;
};

}  // namespace weather

#endif  // WEATHER_WEATHER_H_
