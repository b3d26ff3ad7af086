// EchoControlImpl: braid.echo.v1.EchoControl, the gRPC control of the echo
// service.

#ifndef BRAID_SERVICES_UDP_ECHO_CONTROL_H_
#define BRAID_SERVICES_UDP_ECHO_CONTROL_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/task.h"
#include "braid/echo/v1/echo_control.braid.h"
#include "braid/rpc/server_context.h"
#include "braid/rpc/stream.h"
#include "braid/service/main.h"

namespace braid::udp_echo {

class EchoService;

class EchoControlImpl final : public braid::echo::v1::EchoControl::Service {
 public:
  // Both outlive it.
  EchoControlImpl(service::Context& context, EchoService& service)
      : context_(context), service_(service) {}

  Task<absl::StatusOr<echo::v1::StatsReply>> GetStats(
      rpc::ServerContext& call, echo::v1::StatsRequest request) override;
  Task<absl::Status> WatchStats(
      rpc::ServerContext& call, echo::v1::WatchRequest request,
      rpc::Sink<echo::v1::StatsReply> replies) override;
  Task<absl::StatusOr<echo::v1::TopTalkersReply>> GetTopTalkers(
      rpc::ServerContext& call, echo::v1::TopTalkersRequest request) override;
  Task<absl::StatusOr<echo::v1::Limits>> SetLimits(
      rpc::ServerContext& call, echo::v1::SetLimitsRequest request) override;
  Task<absl::StatusOr<echo::v1::DrainReply>> Drain(
      rpc::ServerContext& call, echo::v1::DrainRequest request) override;

 private:
  echo::v1::StatsReply Stats() const;

  service::Context& context_;
  EchoService& service_;
};

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_CONTROL_H_
