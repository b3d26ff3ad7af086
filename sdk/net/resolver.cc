#include "braid/net/resolver.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "braid/backend/backend.h"
#include "braid/backend/from_callback.h"
#include "braid/backend/host.h"

namespace braid {
namespace {

std::optional<uint16_t> NumericPort(const std::string& service) {
  uint16_t port = 0;
  if (service.empty()) return port;
  const char* end = service.data() + service.size();
  const auto [stop, error] = std::from_chars(service.data(), end, port);
  if (error != std::errc() || stop != end) return std::nullopt;
  return port;
}

}  // namespace

Task<absl::StatusOr<std::vector<SocketAddress>>> Resolve(std::string host,
                                                         std::string service) {
  if (host.empty())
    co_return absl::InvalidArgumentError("look up a host: its name is empty");
  if (host.find('\0') != std::string::npos ||
      service.find('\0') != std::string::npos) {
    co_return absl::InvalidArgumentError(
        "look up a host: there is a zero byte in the name of it or its "
        "service");
  }
  if (const std::optional<uint16_t> port = NumericPort(service);
      port.has_value()) {
    if (absl::StatusOr<SocketAddress> address =
            SocketAddress::ParseHost(host, *port);
        address.ok()) {
      co_return std::vector<SocketAddress>{*address};
    }
  }
  co_return co_await FromCallback<Host::LookupResult>(
      [&](Callback<Host::LookupResult> done) {
        CurrentBackend().host().Lookup(std::move(host), std::move(service),
                                       std::move(done));
      });
}

}  // namespace braid
