// SchemaClient: what a server says about its services, by gRPC's server
// reflection.
//
// Speaks grpc.reflection.v1, and v1alpha to servers that know only that. The
// descriptors are the server's own, in a pool of their own: nothing of them is
// compiled in, and two programs of different versions don't clash.
//
// Threads: the loop's.

#ifndef BRAID_SERVICES_CTL_SCHEMA_CLIENT_H_
#define BRAID_SERVICES_CTL_SCHEMA_CLIENT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/task.h"
#include "braid/rpc/client.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor_database.h"

namespace braid::ctl {

class SchemaClient {
 public:
  explicit SchemaClient(rpc::Channel channel)
      : channel_(std::move(channel)), pool_(&database_) {}
  SchemaClient(const SchemaClient&) = delete;
  SchemaClient& operator=(const SchemaClient&) = delete;

  // The names of the server's services, in its order.
  Task<absl::StatusOr<std::vector<std::string>>> ListServices();

  // Fetches the file that defines `symbol`, and those it needs: pool() knows
  // them then. NOT_FOUND if the server doesn't know the symbol.
  Task<absl::Status> Fetch(std::string symbol);

  // What was fetched. Lives as long as this.
  const google::protobuf::DescriptorPool& pool() const { return pool_; }

 private:
  rpc::Channel channel_;
  google::protobuf::SimpleDescriptorDatabase database_;
  google::protobuf::DescriptorPool pool_;
};

}  // namespace braid::ctl

#endif  // BRAID_SERVICES_CTL_SCHEMA_CLIENT_H_
