// The subjects `braid/...` of the gRPC benches: Braid's RPC server on the
// backend that --backend names. A program of its own, so that the others don't
// link gRPC.
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/braid.h"
#include "braid/rpc/server.h"
#include "tests/bench/benches.h"
#include "tests/bench/echo.braid.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

void DieIfFailed(std::string_view what, const absl::Status& status) {
  if (!status.ok()) Die(what, status.ToString());
}

class EchoService final : public v1::Echo::Service {
 public:
  EchoService(uint64_t ops, TaskGroup& group) : ops_(ops), group_(group) {}

  Task<absl::StatusOr<v1::EchoMessage>> Echo(rpc::ServerContext&,
                                             v1::EchoMessage request) override {
    v1::EchoMessage reply;
    reply.set_payload(request.payload());
    // The server answers what it has, this call too, and ends.
    if (++counted == ops_) group_.RequestStop();
    co_return reply;
  }

 private:
  uint64_t ops_;
  TaskGroup& group_;
};

Task<absl::Status> GrpcUnary(Run& run) {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    EchoService service(run.ops(), group);
    rpc::ServerOptions options;
    options.listen = {"127.0.0.1:" + std::to_string(run.port())};
    rpc::Server server(std::move(options));
    server.AddService(service);
    co_await OrReturn(server.Listen());
    run.Listening(server.port());
    co_return co_await server.Serve();
  });
}

void Serve(Run& run) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend(run.backend());
  DieIfFailed(run.backend(), backend.status());
  DieIfFailed("rpc::Server", braid::Run(**backend, GrpcUnary(run)));
  run.Done(counted);
}

constexpr Bench kBenches[] = {{"grpc_unary_64", Serve}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
