#include "services/udp_echo/loop_guard.h"

namespace braid::udp_echo {

std::span<const LoopProneService> LoopProneServices() {
  static constexpr LoopProneService kServices[] = {
      {7, "echo", "answers every datagram (RFC 862)"},
      {11, "systat", "answers every datagram (RFC 866)"},
      {13, "daytime", "answers every datagram (RFC 867)"},
      {17, "qotd", "answers every datagram (RFC 865)"},
      {19, "chargen",
       "answers every datagram, with more than it got (RFC 864)"},
      {37, "time", "answers every datagram (RFC 868)"},
      {53, "domain",
       "some servers answer an error with an error (CVE-2024-2169)"},
      {69, "tftp",
       "some servers answer an error with an error (CVE-2024-2169)"},
      {123, "ntp",
       "some servers answer an error with an error (CVE-2009-3563)"},
      {862, "twamp-test", "a reflector answers every datagram (RFC 8762)"},
  };
  return kServices;
}

LoopGuard::LoopGuard(std::span<const uint16_t> own_ports,
                     std::span<const uint16_t> more_ports) {
  loop_prone_.set(0);
  for (const LoopProneService& service : LoopProneServices())
    loop_prone_.set(service.port);
  for (uint16_t port : more_ports) loop_prone_.set(port);
  for (uint16_t port : own_ports) own_.set(port);
}

}  // namespace braid::udp_echo
