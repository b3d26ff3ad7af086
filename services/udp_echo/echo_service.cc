#include "services/udp_echo/echo_service.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "braid/core/or_return.h"
#include "braid/core/sleep.h"
#include "braid/core/task_group.h"
#include "braid/core/with_background.h"
#include "braid/metrics/runtime.h"
#include "braid/service/config.h"
#include "braid/thread/sharded.h"

namespace braid::udp_echo {
namespace {

using namespace std::chrono_literals;

constexpr Duration kRefreshEvery = 1s;
constexpr int kRefreshesPerFade = 60;
// Over all shards: 1 GiB of tables.
constexpr uint64_t kMostPrefixes = uint64_t{1} << 26;

RateLimit LimitOf(const Config& config) {
  return {.rate = config.limits().rate(), .burst = config.limits().burst()};
}

void Refresh(EchoShard& shard, const std::vector<UdpSocket>& sockets) {
  uint64_t dropped = 0;
  for (const UdpSocket& socket : sockets) dropped += socket.Info().kernel_drops;
  shard.Refresh(dropped, Now());
}

// What a shard does now and then, beside serving.
Task<void> Housekeep(EchoShard& shard, const std::vector<UdpSocket>& sockets) {
  for (int i = 1;; ++i) {
    co_await SleepFor(kRefreshEvery);
    Refresh(shard, sockets);
    if (i % kRefreshesPerFade == 0) shard.Fade();
  }
}

Task<absl::Status> ServeSockets(EchoShard& shard,
                                std::vector<UdpSocket>& sockets) {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    for (UdpSocket& socket : sockets) {
      group.Start(absl::StrCat("echo ", socket.local_address().ToString()),
                  [&shard, &socket]() -> Task<absl::Status> {
                    co_return co_await shard.Serve(socket);
                  });
    }
    co_return co_await group.Join();
  });
}

}  // namespace

absl::Status Validate(const Config& config) {
  if (config.listen().empty()) {
    return service::InvalidField("listen", "",
                                 "at least one IP address and port");
  }
  std::map<std::string, bool> seen;
  for (const std::string& listen : config.listen()) {
    const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(listen);
    if (!address.ok()) {
      return service::InvalidField(
          "listen", listen,
          "an IP address and a port, such as 127.0.0.1:7007 or [::]:7");
    }
    if (address->port() != 0 &&
        !seen.emplace(address->ToString(), true).second) {
      return service::InvalidField("listen", listen, "given once");
    }
  }
  // Each shard has a table of its own.
  const uint64_t most = kMostPrefixes / std::bit_ceil(config.shards());
  if (config.limits().max_prefixes() > most) {
    return service::InvalidField(
        "limits.max_prefixes", absl::StrCat(config.limits().max_prefixes()),
        absl::StrCat("at most ", most, " with ", config.shards(),
                     " shards: all tables together may take 1 GiB"));
  }
  return absl::OkStatus();
}

EchoService::EchoService(service::Context& context, const Config& config)
    : context_(context),
      config_(config),
      control_(context, *this),
      limit_(LimitOf(config)) {
  context.AddRpc(control_);
}

EchoService::~EchoService() = default;

absl::StatusOr<UdpSocket> EchoService::Bind(
    const SocketAddress& address) const {
  UdpOptions options;
  options.reuse_port = config_.shards() > 1;
  options.receive_buffer = static_cast<int>(config_.receive_buffer_bytes());
  options.batch_size = config_.batch();
  options.batch_datagram_size = config_.max_datagram_bytes();
  options.offload = config_.offload();
  return UdpSocket::Bind(address, options);
}

Task<absl::StatusOr<std::vector<UdpSocket>>> EchoService::BindAll() {
  std::vector<UdpSocket> sockets;
  for (const std::string& listen : config_.listen()) {
    SocketAddress address = co_await OrReturn(SocketAddress::Parse(listen));
    if (config_.shards() > 1) {
      // With SO_REUSEPORT an address that another process of this user shares
      // would look free.
      UdpSocket probe = co_await OrReturn(UdpSocket::Bind(address));
      address = probe.local_address();
      co_await probe.Close();
    }
    UdpSocket socket = co_await OrReturn(Bind(address));
    if (const SocketInfo info = socket.Info();
        config_.receive_buffer_bytes() > 0 &&
        info.receive_buffer <
            static_cast<int>(config_.receive_buffer_bytes())) {
      context_.log().Warning({{"asked_bytes", config_.receive_buffer_bytes()},
                              {"got_bytes", info.receive_buffer}},
                             "the receive buffer is smaller than asked for; "
                             "raise net.core.rmem_max");
    }
    addresses_.push_back(socket.local_address());
    sockets.push_back(std::move(socket));
  }
  co_return sockets;
}

void EchoService::AddMetrics() {
  metrics::Registry& registry = context_.registry();
  const auto counter = [&](const char* name, const char* help,
                           uint64_t EchoCounts::* field) {
    callbacks_.push_back(*registry.AddCounterCallback(
        {.name = name, .help = help}, {},
        [this, field] { return static_cast<double>(counts().*field); }));
  };
  counter("braid_echo_datagrams_received_total", "Datagrams received.",
          &EchoCounts::received);
  counter("braid_echo_received_bytes_total",
          "Payload of the datagrams received.", &EchoCounts::received_bytes);
  counter("braid_echo_datagrams_echoed_total", "Datagrams sent back.",
          &EchoCounts::echoed);
  counter("braid_echo_echoed_bytes_total",
          "Payload of the datagrams sent back.", &EchoCounts::echoed_bytes);
  counter("braid_echo_datagrams_kernel_dropped_total",
          "Datagrams that the kernel dropped before they were received, mostly "
          "for want of room in the receive buffer.",
          &EchoCounts::kernel_dropped);
  counter("braid_echo_receive_errors_total", "Calls to receive that failed.",
          &EchoCounts::receive_errors);
  for (size_t i = 0; i < kDropReasons; ++i) {
    callbacks_.push_back(*registry.AddCounterCallback(
        {.name = "braid_echo_datagrams_dropped_total",
         .help = "Datagrams received and not sent back, by reason.",
         .labels = {"reason"}},
        {std::string(DropReasonName(static_cast<DropReason>(i)))},
        [this, i] { return static_cast<double>(counts().dropped[i]); }));
  }
  callbacks_.push_back(*registry.AddGaugeCallback(
      {.name = "braid_echo_rate_limited_prefixes",
       .help = "Source prefixes with less than their whole burst left."},
      {}, [this] { return static_cast<double>(counts().prefixes_in_use); }));
  callbacks_.push_back(*registry.AddGaugeCallback(
      {.name = "braid_echo_rate_limit_max_prefixes",
       .help = "Source prefixes that can be told apart."},
      {}, [this] {
        size_t capacity = 0;
        for (const Shard& shard : shards_)
          capacity += shard.echo->limiter().capacity();
        return static_cast<double>(capacity);
      }));
}

Task<absl::Status> EchoService::ServeShard(EchoShard& shard,
                                           std::vector<UdpSocket>& sockets) {
  absl::Status status = co_await WithBackground(Housekeep(shard, sockets),
                                                ServeSockets(shard, sockets));
  Refresh(shard, sockets);
  co_return status;
}

// On the thread of that shard.
Task<absl::Status> EchoService::ServeOtherShard(int index) {
  std::vector<UdpSocket> sockets;
  for (const SocketAddress& address : addresses_)
    sockets.push_back(co_await OrReturn(Bind(address)));
  portal_->Post([this, index, portal = Portal::Current()] {
    Shard& shard = shards_[static_cast<size_t>(index)];
    shard.portal = portal;
    // The limit may have changed since the shard was made.
    portal.Post(
        [echo = shard.echo.get(), limit = limit_] { echo->SetLimit(limit); });
    if (--others_waiting_ == 0) others_ready_->Set();
  });
  metrics::LoopMetrics loop = *metrics::LoopMetrics::Add(
      context_.registry(), absl::StrCat("shard-", index));
  co_return co_await WithBackground(
      loop.Keep(),
      ServeShard(*shards_[static_cast<size_t>(index)].echo, sockets));
}

Task<absl::Status> EchoService::ServeOtherShards() {
  co_return co_await RunSharded(
      static_cast<int>(config_.shards()) - 1,
      [this](braid::Shard shard) -> Task<absl::Status> {
        co_return co_await ServeOtherShard(shard.index + 1);
      });
}

Task<absl::Status> EchoService::Serve(Ready<void> ready) {
  std::vector<UdpSocket> sockets = co_await OrReturn(co_await BindAll());
  EchoShard::Options options;
  for (const SocketAddress& address : addresses_)
    options.own_ports.push_back(address.port());
  for (const uint32_t port : config_.loop_prone_port()) {
    options.loop_prone_ports.push_back(static_cast<uint16_t>(port));
  }
  options.limit = limit_;
  options.max_prefixes = config_.limits().max_prefixes();
  options.max_talkers = config_.max_talkers();
  options.hash_key = {context_.host().Random(), context_.host().Random()};
  for (uint32_t i = 0; i < config_.shards(); ++i) {
    shards_.push_back(
        {std::make_unique<EchoShard>(options, context_.registry()),
         std::nullopt});
  }
  AddMetrics();
  portal_ = Portal::Current();
  others_ready_.emplace();
  others_waiting_ = config_.shards() - 1;

  absl::Status status =
      co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
        if (config_.shards() > 1) {
          group.Start("shards", [this]() -> Task<absl::Status> {
            co_return co_await ServeOtherShards();
          });
          co_await others_ready_->Wait();
        }
        group.Start("shard", [&]() -> Task<absl::Status> {
          co_return co_await ServeShard(*shards_[0].echo, sockets);
        });
        for (const SocketAddress& address : addresses_) {
          context_.log().Info(
              {{"endpoint", "echo"}, {"address", address.ToString()}},
              "listening");
        }
        started_ = Now();
        ready.Set();
        co_return co_await group.Join();
      });
  const EchoCounts counts = this->counts();
  context_.log().Info({{"received", counts.received},
                       {"echoed", counts.echoed},
                       {"dropped", counts.dropped_total()},
                       {"kernel_dropped", counts.kernel_dropped}},
                      "echoing has ended");
  co_return status;
}

EchoCounts EchoService::counts() const {
  EchoCounts sum;
  for (const Shard& shard : shards_) sum += shard.echo->counts();
  return sum;
}

void EchoService::SetLimit(RateLimit limit) {
  limit_ = limit;
  for (Shard& shard : shards_) {
    EchoShard* echo = shard.echo.get();
    if (shard.portal.has_value()) {
      shard.portal->Post([echo, limit] { echo->SetLimit(limit); });
    } else if (&shard == &shards_.front()) {
      echo->SetLimit(limit);
    }  // Otherwise its thread has just begun, and is told when it is there.
  }
}

absl::Status EchoService::Reload(const google::protobuf::Message& config) {
  SetLimit(LimitOf(static_cast<const Config&>(config)));
  return absl::OkStatus();
}

Task<std::vector<TopTalkers::Talker>> EchoService::Top(size_t limit) {
  // Kept alive by the answers that are under way, as this may be cancelled
  // before they come.
  struct Question {
    std::vector<TopTalkers::Talker> talkers;
    size_t waiting = 0;
    Event answered;
  };
  const auto question = std::make_shared<Question>();
  for (const Shard& shard : shards_) {
    const EchoShard* echo = shard.echo.get();
    if (!shard.portal.has_value()) {
      question->talkers = echo->talkers().Top(echo->talkers().capacity());
      continue;
    }
    const bool asked = shard.portal->Post([echo, question, home = *portal_] {
      home.Post([question,
                 talkers = echo->talkers().Top(echo->talkers().capacity())] {
        question->talkers.insert(question->talkers.end(), talkers.begin(),
                                 talkers.end());
        if (--question->waiting == 0) question->answered.Set();
      });
    });
    if (asked) ++question->waiting;
  }
  if (question->waiting > 0) co_await question->answered.Wait();

  std::vector<TopTalkers::Talker>& all = question->talkers;
  const auto address = [](const TopTalkers::Talker& talker) {
    return std::pair(talker.address.high, talker.address.low);
  };
  std::ranges::sort(all, {}, address);
  std::vector<TopTalkers::Talker> merged;
  for (const TopTalkers::Talker& talker : all) {
    if (merged.empty() || merged.back().address != talker.address) {
      merged.push_back(talker);
      continue;
    }
    merged.back().datagrams += talker.datagrams;
    merged.back().overestimate += talker.overestimate;
    merged.back().bytes += talker.bytes;
  }
  std::ranges::sort(
      merged, [&](const TopTalkers::Talker& a, const TopTalkers::Talker& b) {
        return a.datagrams != b.datagrams ? a.datagrams > b.datagrams
                                          : address(a) < address(b);
      });
  merged.resize(std::min(limit, merged.size()));
  co_return merged;
}

}  // namespace braid::udp_echo
