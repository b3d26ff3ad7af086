#include "braid/rpc/health.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "braid/core/any_of.h"
#include "braid/core/or_return.h"
#include "braid/core/stop_request.h"
#include "braid/sync/watch.h"
#include "grpc/health/v1/health.braid.h"

namespace braid::rpc {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class Health::Impl final : public grpc::health::v1::Health::Service {
 public:
  void Set(std::string_view service, bool serving) {
    if (draining_) return;
    auto [entry, added] = serving_.emplace(service, serving);
    if (!added && entry->second == serving) return;
    entry->second = serving;
    changed_.Set(0);
  }

  void Drain() {
    if (draining_) return;
    draining_ = true;
    for (auto& [service, serving] : serving_) serving = false;
    changed_.Set(0);
  }

  // Empty for a service that isn't known.
  std::optional<bool> Get(std::string_view service) const {
    const auto entry = serving_.find(service);
    if (entry == serving_.end()) return std::nullopt;
    return entry->second;
  }

 private:
  static HealthCheckResponse Response(std::optional<bool> serving) {
    HealthCheckResponse response;
    response.set_status(!serving.has_value()
                            ? HealthCheckResponse::SERVICE_UNKNOWN
                        : *serving ? HealthCheckResponse::SERVING
                                   : HealthCheckResponse::NOT_SERVING);
    return response;
  }

  Task<absl::StatusOr<HealthCheckResponse>> Check(
      ServerContext&, HealthCheckRequest request) override {
    const std::optional<bool> serving = Get(request.service());
    if (!serving.has_value()) {
      co_return absl::NotFoundError(
          absl::StrCat("this server has no service ", request.service()));
    }
    co_return Response(serving);
  }

  Task<absl::Status> Watch(ServerContext&, HealthCheckRequest request,
                           Sink<HealthCheckResponse> replies) override {
    braid::Watch<int>::Reader changes = changed_.Subscribe();
    co_await changes.Next();
    std::optional<bool> sent = Get(request.service());
    co_await OrReturn(replies.Send(Response(sent)));
    for (;;) {
      auto [changed, stopping] =
          co_await AnyOf(changes.Next(), StopRequested());
      if (const auto now = Get(request.service()); now != sent) {
        sent = now;
        co_await OrReturn(replies.Send(Response(now)));
      }
      // The protocol has clients ask again, elsewhere, whatever the status; OK
      // keeps an orderly end out of error rates.
      if (stopping) co_return absl::OkStatus();
    }
  }

  std::map<std::string, bool, std::less<>> serving_;
  braid::Watch<int> changed_{0};
  bool draining_ = false;
};

Health::Health() : impl_(std::make_unique<Impl>()) {}
Health::~Health() = default;

void Health::Set(std::string_view service, bool serving) {
  impl_->Set(service, serving);
}

bool Health::serving(std::string_view service) const {
  return impl_->Get(service).value_or(false);
}

void Health::Drain() { impl_->Drain(); }

Service& Health::service() { return *impl_; }

}  // namespace braid::rpc
