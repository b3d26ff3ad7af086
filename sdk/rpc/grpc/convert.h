// Between gRPC's types and the seam's.

#ifndef BRAID_RPC_GRPC_CONVERT_H_
#define BRAID_RPC_GRPC_CONVERT_H_

#include <grpc/support/time.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/string_ref.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "braid/core/detail/loop.h"
#include "braid/core/time.h"
#include "braid/rpc/metadata.h"

namespace braid::rpc::detail {

// Small messages are copied, large ones handed over.
grpc::ByteBuffer ToByteBuffer(std::string message);
std::string FromByteBuffer(const grpc::ByteBuffer& buffer);

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

// Without what belongs to the protocol ("grpc-...").
Metadata FromGrpc(
    const std::multimap<grpc::string_ref, grpc::string_ref>& metadata);

// Deadlines are points of two clocks: a loop's and gRPC's monotonic one.
gpr_timespec ToGrpcDeadline(Time deadline, const braid::detail::Loop& loop);
Time FromGrpcDeadline(gpr_timespec deadline, const braid::detail::Loop& loop);

}  // namespace braid::rpc::detail

#endif  // BRAID_RPC_GRPC_CONVERT_H_
