#include "braid/rpc/grpc/convert.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "braid/rpc/detail/wire_status.h"

namespace braid::rpc::detail {
namespace {

// From here on an allocation is cheaper than a copy.
constexpr size_t kLarge = 16 << 10;

gpr_timespec GrpcNow() {
  // lint: allow(clock): gRPC's deadlines are points of its own clock
  return gpr_now(GPR_CLOCK_MONOTONIC);
}

}  // namespace

grpc::ByteBuffer ToByteBuffer(std::string message) {
  if (message.size() < kLarge) {
    const grpc::Slice slice(message.data(), message.size());
    return grpc::ByteBuffer(&slice, 1);
  }
  auto* kept = new std::string(std::move(message));
  const grpc::Slice slice(
      kept->data(), kept->size(),
      [](void* p) { delete static_cast<std::string*>(p); }, kept);
  return grpc::ByteBuffer(&slice, 1);
}

std::string FromByteBuffer(const grpc::ByteBuffer& buffer) {
  std::string message;
  grpc::Slice only;
  if (buffer.TrySingleSlice(&only).ok()) {
    message.assign(reinterpret_cast<const char*>(only.begin()), only.size());
    return message;
  }
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return message;
  message.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) {
    message.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return message;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      StatusMessage(status), StatusDetailBytes(status));
}

absl::Status FromGrpc(const grpc::Status& status) {
  return MakeStatus(status.error_code(), status.error_message(),
                    status.error_details());
}

Metadata FromGrpc(
    const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  Metadata result;
  for (const auto& [key, value] : metadata) {
    if (key.starts_with("grpc-")) continue;
    result.Add({key.data(), key.size()}, {value.data(), value.size()});
  }
  return result;
}

gpr_timespec ToGrpcDeadline(Time deadline, const braid::detail::Loop& loop) {
  if (deadline == kNever) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  const Time now = loop.Now();
  const Duration left = deadline > now ? deadline - now : Duration::zero();
  return gpr_time_add(GrpcNow(),
                      gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
}

Time FromGrpcDeadline(gpr_timespec deadline, const braid::detail::Loop& loop) {
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
    return kNever;
  }
  const gpr_timespec left = gpr_time_sub(
      gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC), GrpcNow());
  constexpr int64_t kYears = 100LL * 365 * 24 * 3600;
  if (left.tv_sec > kYears) return kNever;
  return braid::detail::Add(
      loop.Now(), std::chrono::seconds(left.tv_sec) + Duration(left.tv_nsec));
}

}  // namespace braid::rpc::detail
