#include "braid/backend/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <type_traits>

namespace braid {
namespace {

absl::Status NotAnAddress(std::string_view text, std::string_view why) {
  std::string message = "'";
  message.append(text).append("' is not a socket address: ").append(why);
  message +=
      "; write 1.2.3.4:80, [::1]:80, or [fe80::1%2]:80 with the number of an "
      "interface";
  return absl::InvalidArgumentError(message);
}

// A whole decimal number without sign, at most `limit`.
std::optional<uint32_t> ParseDecimal(std::string_view text, uint32_t limit) {
  uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || stop != end || value > limit) {
    return std::nullopt;
  }
  return value;
}

constexpr uint8_t kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};

}  // namespace

static_assert(std::is_trivially_copyable_v<SocketAddress>);
static_assert(sizeof(sockaddr_in) == 16 && sizeof(sockaddr_in6) == 28 &&
              AF_INET == 2 && AF_INET6 == 10);
static_assert(SocketAddress::kCapacity == sizeof(sockaddr_in6) &&
              alignof(SocketAddress) >= alignof(sockaddr_in6));

absl::StatusOr<SocketAddress> SocketAddress::Parse(std::string_view text) {
  std::string_view host;
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) {
      return NotAnAddress(text, "the closing ']' is missing");
    }
    host = text.substr(1, close - 1);
    port = text.substr(close + 1);
    if (!port.starts_with(':')) return NotAnAddress(text, "it has no port");
    port.remove_prefix(1);
    if (host.find(':') == std::string_view::npos) {
      return NotAnAddress(text, "brackets are for IPv6");
    }
  } else {
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
      return NotAnAddress(text, "it has no port");
    }
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (host.find(':') != std::string_view::npos) {
      return NotAnAddress(text, "an IPv6 address stands in brackets");
    }
  }
  const std::optional<uint32_t> number = ParseDecimal(port, 65535);
  if (!number.has_value()) {
    return NotAnAddress(text, "the port is not a number from 0 to 65535");
  }
  absl::StatusOr<SocketAddress> address =
      ParseHost(host, static_cast<uint16_t>(*number));
  if (!address.ok()) {
    return NotAnAddress(text, "the host is not a numeric IP address");
  }
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::ParseHost(std::string_view host,
                                                       uint16_t port) {
  uint8_t bytes[16];
  uint32_t scope = 0;
  std::string_view digits = host;
  if (const size_t percent = host.find('%');
      percent != std::string_view::npos) {
    const auto number = ParseDecimal(host.substr(percent + 1), UINT32_MAX);
    if (!number.has_value()) {
      return NotAnAddress(host, "the scope is not the number of an interface");
    }
    scope = *number;
    digits = host.substr(0, percent);
  }
  const std::string text(digits);  // inet_pton wants an end
  if (text.size() == digits.size() && text.find('\0') == std::string::npos) {
    if (digits.size() == host.size() &&
        inet_pton(AF_INET, text.c_str(), bytes) == 1) {
      return V4(std::span<const uint8_t, 4>(bytes, 4), port);
    }
    if (inet_pton(AF_INET6, text.c_str(), bytes) == 1) {
      return V6(bytes, port, scope);
    }
  }
  return NotAnAddress(host, "the host is not a numeric IP address");
}

SocketAddress SocketAddress::V4(std::span<const uint8_t, 4> bytes,
                                uint16_t port) {
  sockaddr_in in = {};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
  SocketAddress address;
  std::memcpy(address.raw_.data(), &in, sizeof in);
  return address;
}

SocketAddress SocketAddress::V6(std::span<const uint8_t, 16> bytes,
                                uint16_t port, uint32_t scope) {
  sockaddr_in6 in = {};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
  in.sin6_scope_id = scope;
  SocketAddress address;
  std::memcpy(address.raw_.data(), &in, sizeof in);
  return address;
}

SocketAddress SocketAddress::Any(uint16_t port) {
  return V6(std::array<uint8_t, 16>(), port);
}

SocketAddress SocketAddress::AnyV4(uint16_t port) {
  return V4(std::array<uint8_t, 4>(), port);
}

SocketAddress SocketAddress::LoopbackV4(uint16_t port) {
  return V4(std::array<uint8_t, 4>{127, 0, 0, 1}, port);
}

SocketAddress SocketAddress::LoopbackV6(uint16_t port) {
  return V6(
      std::array<uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
      port);
}

bool SocketAddress::is_v4_mapped() const {
  return is_v6() && std::memcmp(bytes().data(), kMappedPrefix, 12) == 0;
}

SocketAddress SocketAddress::Unmapped() const {
  if (!is_v4_mapped()) return *this;
  return V4(bytes().subspan<12, 4>(), port());
}

bool SocketAddress::is_any() const {
  const SocketAddress address = Unmapped();
  return !empty() && std::ranges::all_of(address.bytes(), [](uint8_t byte) {
    return byte == 0;
  });
}

bool SocketAddress::is_loopback() const {
  const SocketAddress address = Unmapped();
  return address.is_v4() ? address.bytes()[0] == 127
                         : address == LoopbackV6(port());
}

bool SocketAddress::is_multicast() const {
  const SocketAddress address = Unmapped();
  return address.is_v4()   ? (address.bytes()[0] & 0xf0) == 0xe0
         : address.is_v6() ? address.bytes()[0] == 0xff
                           : false;
}

// Both forms have their port at the same place.
uint16_t SocketAddress::port() const {
  return static_cast<uint16_t>(raw_[2] << 8 | raw_[3]);
}

SocketAddress SocketAddress::WithPort(uint16_t port) const {
  SocketAddress address = *this;
  address.raw_[2] = static_cast<unsigned char>(port >> 8);
  address.raw_[3] = static_cast<unsigned char>(port & 0xff);
  return address;
}

uint32_t SocketAddress::scope() const {
  if (!is_v6()) return 0;
  uint32_t scope = 0;
  std::memcpy(&scope, raw_.data() + offsetof(sockaddr_in6, sin6_scope_id),
              sizeof scope);
  return scope;
}

std::span<const uint8_t> SocketAddress::bytes() const {
  if (is_v4()) return {raw_.data() + offsetof(sockaddr_in, sin_addr), 4};
  if (is_v6()) return {raw_.data() + offsetof(sockaddr_in6, sin6_addr), 16};
  return {};
}

std::string SocketAddress::HostString() const {
  if (empty()) return "(no address)";
  char text[INET6_ADDRSTRLEN];
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes().data(), text, sizeof text);
  std::string host = text;
  if (scope() != 0) host += "%" + std::to_string(scope());
  return host;
}

std::string SocketAddress::ToString() const {
  if (empty()) return HostString();
  const std::string host = HostString();
  return (is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(port());
}

}  // namespace braid
