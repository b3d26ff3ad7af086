#include "braid/backend/sim/packet.h"

#include <algorithm>

namespace braid::detail {

std::string Packet::Describe() const {
  const std::string ends = from.ToString() + " > " + to.ToString();
  switch (kind) {
    case Kind::kUdp:
      return "udp " + ends + " " + std::to_string(payload.size()) + " bytes";
    case Kind::kUnreachable:
      return "unreachable " + ends + " errno " + std::to_string(error);
    case Kind::kTcp:
      break;
  }
  std::string text = "tcp " + ends + " ";
  if (Has(kSyn)) text += 'S';
  if (Has(kFin)) text += 'F';
  if (Has(kRst)) text += 'R';
  if (Has(kAck)) text += '.';
  text += " seq " + std::to_string(seq % kNumbersPerConnection);
  if (Has(kAck)) text += " ack " + std::to_string(ack % kNumbersPerConnection);
  text += " win " + std::to_string(window);
  if (!payload.empty()) text += " " + std::to_string(payload.size()) + " bytes";
  return text;
}

AddressKey KeyOf(const SocketAddress& address) {
  AddressKey key = {};
  key[0] = static_cast<uint8_t>(address.port() >> 8);
  key[1] = static_cast<uint8_t>(address.port() & 0xff);
  key[2] = address.is_v4() ? 4 : 6;
  std::ranges::copy(address.bytes(), key.begin() + 3);
  return key;
}

SocketAddress Mapped(const SocketAddress& address) {
  if (!address.is_v4()) return address;
  std::array<uint8_t, 16> bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
  std::ranges::copy(address.bytes(), bytes.begin() + 12);
  return SocketAddress::V6(bytes, address.port());
}

}  // namespace braid::detail
