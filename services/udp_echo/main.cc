// The program: a UDP echo service.

#include "braid/service/main.h"

#include "services/udp_echo/definition.h"

int main(int argc, char** argv) {
  return braid::service::Main(argc, argv, braid::udp_echo::MakeDefinition());
}
