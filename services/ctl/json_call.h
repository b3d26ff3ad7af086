// CallWithJson: calls any method with requests and replies as JSON, by what a
// SchemaClient knows.
//
// JSON is protobuf's mapping of it
// (https://protobuf.dev/programming-guides/proto3/#json). Unknown fields of a
// request are an error; the fields of a reply are all printed, set or not.

#ifndef BRAID_SERVICES_CTL_JSON_CALL_H_
#define BRAID_SERVICES_CTL_JSON_CALL_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/task.h"
#include "braid/rpc/call_options.h"
#include "braid/rpc/client.h"
#include "google/protobuf/descriptor.h"

namespace braid::ctl {

// Calls `method` with `requests`: exactly one, unless the method takes a
// stream. Gives each reply to `on_reply` as it comes, whose error ends the
// call, and at the end the call's status; INVALID_ARGUMENT before it begins if
// a request is none. `method` belongs to a pool that outlives the call.
Task<absl::Status> CallWithJson(
    rpc::Channel channel, const google::protobuf::MethodDescriptor* method,
    std::vector<std::string> requests, rpc::CallOptions options,
    std::function<absl::Status(std::string_view json)> on_reply);

}  // namespace braid::ctl

#endif  // BRAID_SERVICES_CTL_JSON_CALL_H_
