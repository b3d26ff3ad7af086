#include "braid/service/rpc_metrics.h"

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "braid/metrics/buckets.h"

namespace braid::service {
namespace {

// As the label grpc_code has them, by number.
constexpr std::array<std::string_view, 17> kCodes = {
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
};

std::string_view TypeName(rpc::MethodKind kind) {
  switch (kind) {
    case rpc::MethodKind::kUnary:
      return "unary";
    case rpc::MethodKind::kClientStreaming:
      return "client_stream";
    case rpc::MethodKind::kServerStreaming:
      return "server_stream";
    case rpc::MethodKind::kBidiStreaming:
      return "bidi_stream";
  }
  return "unary";
}

metrics::Definition OfMethod(const char* name, const char* help) {
  return {.name = name,
          .help = help,
          .labels = {"grpc_type", "grpc_service", "grpc_method"}};
}

}  // namespace

class RpcMetrics::Observer final : public rpc::MethodObserver {
 public:
  Observer(RpcMetrics& all, const rpc::Method& method)
      : started_(all.started_.With(TypeName(method.kind()), method.service(),
                                   method.name())),
        received_(all.received_.With(TypeName(method.kind()), method.service(),
                                     method.name())),
        sent_(all.sent_.With(TypeName(method.kind()), method.service(),
                             method.name())),
        seconds_(all.seconds_.With(TypeName(method.kind()), method.service(),
                                   method.name())) {
    for (size_t i = 0; i < kCodes.size(); ++i) {
      handled_[i] = &all.handled_.With(
          TypeName(method.kind()), method.service(), method.name(), kCodes[i]);
    }
  }

  void Started() override { started_.Increment(); }
  void MessageReceived() override { received_.Increment(); }
  void MessageSent() override { sent_.Increment(); }
  void Handled(absl::StatusCode code, Duration duration) override {
    const auto index = static_cast<size_t>(code);
    handled_[index < kCodes.size()
                 ? index
                 : static_cast<size_t>(absl::StatusCode::kUnknown)]
        ->Increment();
    seconds_.Observe(std::chrono::duration<double>(duration).count());
  }

 private:
  metrics::Counter& started_;
  metrics::Counter& received_;
  metrics::Counter& sent_;
  metrics::Histogram& seconds_;
  std::array<metrics::Counter*, kCodes.size()> handled_;
};

RpcMetrics::RpcMetrics(metrics::Registry& registry)
    : started_(*registry.AddCounterFamily(OfMethod(
          "grpc_server_started_total", "RPCs started on the server."))),
      handled_(*registry.AddCounterFamily(
          {.name = "grpc_server_handled_total",
           .help = "RPCs completed on the server, whatever the outcome.",
           .labels = {"grpc_type", "grpc_service", "grpc_method", "grpc_code"},
           .max_series = 10'000})),
      seconds_(*registry.AddHistogramFamily(
          OfMethod("grpc_server_handling_seconds",
                   "From an RPC's arrival to the end of its handler."),
          metrics::LatencyBuckets())),
      received_(*registry.AddCounterFamily(
          OfMethod("grpc_server_msg_received_total",
                   "Messages of RPCs received on the server."))),
      sent_(*registry.AddCounterFamily(
          OfMethod("grpc_server_msg_sent_total",
                   "Messages of RPCs sent by the server."))),
      rejected_(*registry.AddCounter(
          {.name = "grpc_server_rejected_total",
           .help = "RPCs turned away by the limit of concurrent calls."})) {}

RpcMetrics::~RpcMetrics() = default;

rpc::MethodObserver& RpcMetrics::ForMethod(const rpc::Method& method) {
  std::unique_ptr<Observer>& observer = methods_[method.path()];
  if (observer == nullptr) observer = std::make_unique<Observer>(*this, method);
  return *observer;
}

}  // namespace braid::service
