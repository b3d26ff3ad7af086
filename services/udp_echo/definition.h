// The UDP echo service as service::Main and service::Run take it.

#ifndef BRAID_SERVICES_UDP_ECHO_DEFINITION_H_
#define BRAID_SERVICES_UDP_ECHO_DEFINITION_H_

#include "braid/service/main.h"
#include "services/udp_echo/config.pb.h"

namespace braid::udp_echo {

service::Definition<Config> MakeDefinition();

}  // namespace braid::udp_echo

#endif  // BRAID_SERVICES_UDP_ECHO_DEFINITION_H_
