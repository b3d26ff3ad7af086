// Reflection: lets clients that have no .proto ask what a server serves.
//
// For: Server, which serves it as grpc.reflection.v1 and as v1alpha, which
// older clients speak. Descriptors are those linked into the program.

#ifndef BRAID_RPC_REFLECTION_H_
#define BRAID_RPC_REFLECTION_H_

#include <memory>
#include <string>
#include <vector>

#include "braid/rpc/service.h"

namespace braid::rpc {

// One service per version of the protocol. `names` are the services that are
// listed, besides themselves.
std::vector<std::unique_ptr<Service>> MakeReflection(
    std::vector<std::string> names);

}  // namespace braid::rpc

#endif  // BRAID_RPC_REFLECTION_H_
