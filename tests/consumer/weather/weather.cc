#include "weather/weather.h"

#include <utility>

namespace weather {

using braid::OrReturn;
using braid::Task;

WeatherService::WeatherService(braid::metrics::Registry& registry,
                               double coldest)
    : coldest_(coldest),
      newest_(std::make_shared<v1::Reading>()),
      readings_(*registry.AddCounterFamily(
          {.name = "weather_readings_total",
           .help = "Readings received, by what became of them.",
           .labels = {"result"}})) {
  readings_.With("taken");
  readings_.With("refused");
}

Task<absl::StatusOr<google::protobuf::Empty>> WeatherService::Report(
    braid::rpc::ServerContext&, v1::Reading reading) {
  if (reading.place().name().empty() || reading.celsius() < coldest_) {
    readings_.With("refused").Increment();
    co_return absl::InvalidArgumentError(reading.place().name().empty()
                                             ? "place.name is empty"
                                             : "celsius: too cold to be true");
  }
  readings_.With("taken").Increment();
  newest_.Set(std::make_shared<v1::Reading>(reading));
  latest_[reading.place().name()] = std::move(reading);
  co_return google::protobuf::Empty();
}

Task<absl::StatusOr<v1::Reading>> WeatherService::Latest(
    braid::rpc::ServerContext&, geo::v1::Place place) {
  const auto found = latest_.find(place.name());
  if (found == latest_.end()) {
    co_return absl::NotFoundError("no reading of " + place.name());
  }
  co_return found->second;
}

Task<absl::Status> WeatherService::Follow(
    braid::rpc::ServerContext&, v1::FollowRequest,
    braid::rpc::Sink<v1::Reading> replies) {
  co_await OrReturn(replies.Send({}));
  auto reader = newest_.Subscribe();
  co_await reader.Next();  // what was there before
  for (;;) {
    auto [newest, stopping] =
        co_await braid::AnyOf(reader.Next(), braid::StopRequested());
    if (newest.has_value() && newest->has_value()) {
      co_await OrReturn(replies.Send(***newest));
    } else {
      co_return absl::OkStatus();
    }
  }
}

}  // namespace weather
