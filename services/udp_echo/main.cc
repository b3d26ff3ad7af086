// The program: a UDP echo service.

#include "braid/service/main.h"

#include <memory>

#include "services/udp_echo/config.pb.h"
#include "services/udp_echo/echo_service.h"

int main(int argc, char** argv) {
  using braid::udp_echo::Config;
  braid::service::Definition<Config> definition;
  definition.name = "udp_echo";
  definition.summary =
      "Sends every UDP datagram back to where it came from (RFC 862), unless "
      "that would do harm.";
  definition.validate = braid::udp_echo::Validate;
  definition.make = [](braid::service::Context& context, const Config& config) {
    return std::make_unique<braid::udp_echo::EchoService>(context, config);
  };
  definition.reloadable = {"limits.rate", "limits.burst"};
  definition.build.version = "0.1.0";
  return braid::service::Main(argc, argv, definition);
}
