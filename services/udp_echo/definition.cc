#include "services/udp_echo/definition.h"

#include <memory>

#include "services/udp_echo/echo_service.h"

namespace braid::udp_echo {

service::Definition<Config> MakeDefinition() {
  service::Definition<Config> definition;
  definition.name = "udp_echo";
  definition.summary =
      "Sends every UDP datagram back to where it came from (RFC 862), unless "
      "that would do harm.";
  definition.validate = Validate;
  definition.make = [](service::Context& context, const Config& config) {
    return std::make_unique<EchoService>(context, config);
  };
  definition.reloadable = {"limits.rate", "limits.burst"};
  definition.build.version = "0.1.0";
  return definition;
}

}  // namespace braid::udp_echo
