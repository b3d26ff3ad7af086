// RpcMetrics: rate, errors and duration of each RPC, under the names that
// dashboards know (go-grpc-middleware's):
//
//   grpc_server_started_total{grpc_type, grpc_service, grpc_method}
//   grpc_server_handled_total{grpc_type, grpc_service, grpc_method, grpc_code}
//   grpc_server_handling_seconds{grpc_type, grpc_service, grpc_method}
//   grpc_server_msg_received_total{grpc_type, grpc_service, grpc_method}
//   grpc_server_msg_sent_total{grpc_type, grpc_service, grpc_method}
//   grpc_server_rejected_total
//
// All series of a method exist, as 0, from when its service is added. Threads:
// the server's loop.

#ifndef BRAID_SERVICE_RPC_METRICS_H_
#define BRAID_SERVICE_RPC_METRICS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>

#include "braid/metrics/registry.h"
#include "braid/rpc/observer.h"

namespace braid::service {

class RpcMetrics final : public rpc::RpcObserver {
 public:
  // The registry outlives it.
  explicit RpcMetrics(metrics::Registry& registry);
  ~RpcMetrics() override;

  rpc::MethodObserver& ForMethod(const rpc::Method& method) override;
  void Rejected(uint64_t calls) override { rejected_.Increment(calls); }

 private:
  class Observer;

  metrics::CounterFamily started_;
  metrics::CounterFamily handled_;
  metrics::HistogramFamily seconds_;
  metrics::CounterFamily received_;
  metrics::CounterFamily sent_;
  metrics::Counter rejected_;
  std::map<std::string_view, std::unique_ptr<Observer>> methods_;  // by path
};

}  // namespace braid::service

#endif  // BRAID_SERVICE_RPC_METRICS_H_
