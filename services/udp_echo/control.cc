#include "services/udp_echo/control.h"

#include <array>
#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "braid/backend/socket_address.h"
#include "braid/core/any_of.h"
#include "braid/core/or_return.h"
#include "braid/core/sleep.h"
#include "braid/core/stop_request.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/util/time_util.h"
#include "services/udp_echo/echo_service.h"

namespace braid::udp_echo {
namespace {

using google::protobuf::util::TimeUtil;
using namespace std::chrono_literals;

constexpr Duration kShortestInterval = 100ms;
constexpr Duration kLongestInterval = 1h;
// As config.proto.
constexpr double kHighestRate = 1e9;
constexpr uint32_t kLargestBurst = 1'000'000'000;

echo::v1::Limits ToProto(RateLimit limit) {
  echo::v1::Limits limits;
  limits.set_rate(limit.rate);
  limits.set_burst(limit.burst);
  return limits;
}

std::string AddressOf(const IpKey& key) {
  std::array<uint8_t, 16> bytes;
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(key.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<uint8_t>(key.low >> (56 - 8 * i));
  }
  return SocketAddress::V6(bytes, 0).Unmapped().HostString();
}

}  // namespace

echo::v1::StatsReply EchoControlImpl::Stats() const {
  const EchoCounts counts = service_.counts();
  echo::v1::StatsReply reply;
  *reply.mutable_uptime() =
      TimeUtil::NanosecondsToDuration((Now() - service_.started()).count());
  reply.set_received_datagrams(counts.received);
  reply.set_received_bytes(counts.received_bytes);
  reply.set_echoed_datagrams(counts.echoed);
  reply.set_echoed_bytes(counts.echoed_bytes);
  for (size_t i = 0; i < kDropReasons; ++i) {
    (*reply.mutable_dropped_datagrams())[std::string(
        DropReasonName(static_cast<DropReason>(i)))] = counts.dropped[i];
  }
  reply.set_kernel_dropped_datagrams(counts.kernel_dropped);
  reply.set_receive_errors(counts.receive_errors);
  reply.set_prefixes_in_use(counts.prefixes_in_use);
  reply.set_max_prefixes(service_.max_prefixes());
  *reply.mutable_limits() = ToProto(service_.limit());
  return reply;
}

Task<absl::StatusOr<echo::v1::StatsReply>> EchoControlImpl::GetStats(
    rpc::ServerContext&, echo::v1::StatsRequest) {
  co_return Stats();
}

Task<absl::Status> EchoControlImpl::WatchStats(
    rpc::ServerContext&, echo::v1::WatchRequest request,
    rpc::Sink<echo::v1::StatsReply> replies) {
  Duration interval = 1s;
  if (request.has_interval()) {
    // Seconds first: nanoseconds overflow after 292 years, either way.
    const int64_t seconds = request.interval().seconds();
    const bool near = seconds >= 0 && seconds <= 3600;
    interval =
        near ? Duration(TimeUtil::DurationToNanoseconds(request.interval()))
             : Duration::zero();
    if (interval < kShortestInterval || interval > kLongestInterval) {
      co_return absl::InvalidArgumentError(
          absl::StrCat("interval=", request.interval().ShortDebugString(),
                       ": must be from 0.1 s to 1 h"));
    }
  }
  for (;;) {
    co_await OrReturn(replies.Send(Stats()));
    auto [slept, stopping] =
        co_await AnyOf(SleepFor(interval), StopRequested());
    if (stopping) break;
  }
  co_return co_await replies.Send(Stats());
}

Task<absl::StatusOr<echo::v1::TopTalkersReply>> EchoControlImpl::GetTopTalkers(
    rpc::ServerContext&, echo::v1::TopTalkersRequest request) {
  echo::v1::TopTalkersReply reply;
  for (const TopTalkers::Talker& talker :
       co_await service_.Top(request.limit() == 0 ? 10 : request.limit())) {
    echo::v1::TopTalkersReply::Talker& to = *reply.add_talkers();
    to.set_address(AddressOf(talker.address));
    to.set_datagrams(talker.datagrams);
    to.set_overestimate(talker.overestimate);
    to.set_bytes(talker.bytes);
  }
  co_return reply;
}

Task<absl::StatusOr<echo::v1::Limits>> EchoControlImpl::SetLimits(
    rpc::ServerContext& call, echo::v1::SetLimitsRequest request) {
  RateLimit limit = service_.limit();
  if (request.has_rate()) limit.rate = request.rate();
  if (request.has_burst()) limit.burst = request.burst();
  // Not the other way round, for NaN.
  if (!(limit.rate >= 0 && limit.rate <= kHighestRate)) {
    co_return absl::InvalidArgumentError(absl::StrCat(
        "rate=", limit.rate, ": must be from 0 to ", kHighestRate));
  }
  if (limit.burst < 1 || limit.burst > kLargestBurst) {
    co_return absl::InvalidArgumentError(absl::StrCat(
        "burst=", limit.burst, ": must be from 1 to ", kLargestBurst));
  }
  service_.SetLimit(limit);
  context_.log().Info(
      {{"rate", limit.rate}, {"burst", limit.burst}, {"by", call.peer()}},
      "limits set");
  co_return ToProto(limit);
}

Task<absl::StatusOr<echo::v1::DrainReply>> EchoControlImpl::Drain(
    rpc::ServerContext& call, echo::v1::DrainRequest) {
  context_.RequestStop(absl::StrCat("Drain, by ", call.peer()));
  co_return echo::v1::DrainReply();
}

}  // namespace braid::udp_echo
