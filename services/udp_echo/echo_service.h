// EchoService: the UDP echo service (RFC 862) as service::Main runs it.
//
// Serves each address of the configuration on one or several loops. With one,
// that is the loop of Main; with more, the others have threads of their own,
// share the addresses by SO_REUSEPORT, and share nothing else.
//
// Threads: the loop of Main.

#ifndef BRAID_SERVICES_UDP_ECHO_ECHO_SERVICE_H_
#define BRAID_SERVICES_UDP_ECHO_ECHO_SERVICE_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/socket_address.h"
#include "braid/core/ready.h"
#include "braid/core/task.h"
#include "braid/core/time.h"
#include "braid/metrics/registry.h"
#include "braid/net/udp.h"
#include "braid/service/main.h"
#include "braid/sync/event.h"
#include "braid/thread/portal.h"
#include "services/udp_echo/config.pb.h"
#include "services/udp_echo/control.h"
#include "services/udp_echo/echo_shard.h"

namespace braid::udp_echo {

// What the schema can't say.
absl::Status Validate(const Config& config);

class EchoService final : public service::Service {
 public:
  EchoService(service::Context& context, const Config& config);
  ~EchoService() override;

  Task<absl::Status> Serve(Ready<void> ready) override;
  absl::Status Reload(const google::protobuf::Message& config) override;

  // Of all shards.
  EchoCounts counts() const;
  // The `limit` most talkative addresses over all shards, the first first. Asks
  // the other loops; cancelled at any time.
  Task<std::vector<TopTalkers::Talker>> Top(size_t limit);
  RateLimit limit() const { return limit_; }
  // Takes effect on each shard from its next batch on.
  void SetLimit(RateLimit limit);
  size_t shard_count() const { return config_.shards(); }
  size_t max_prefixes() const { return config_.limits().max_prefixes(); }
  Time started() const { return started_; }

 private:
  struct Shard {
    std::unique_ptr<EchoShard> echo;
    // Of its loop; none for the first, which is on this one, and for others
    // that are not there yet.
    std::optional<Portal> portal;
  };

  absl::StatusOr<UdpSocket> Bind(const SocketAddress& address) const;
  Task<absl::StatusOr<std::vector<UdpSocket>>> BindAll();
  Task<absl::Status> ServeShard(EchoShard& shard,
                                std::vector<UdpSocket>& sockets);
  Task<absl::Status> ServeOtherShard(int index);
  Task<absl::Status> ServeOtherShards();
  void AddMetrics();

  service::Context& context_;
  const Config config_;
  EchoControlImpl control_;
  RateLimit limit_;
  Time started_ = kNever;
  std::vector<SocketAddress> addresses_;  // in use, ports included
  std::vector<Shard> shards_;
  std::optional<Portal> portal_;  // of the loop of Main
  std::optional<Event> others_ready_;
  size_t others_waiting_ = 0;
  std::vector<metrics::Callback> callbacks_;
};

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_ECHO_SERVICE_H_
