// The subject `raw_callback`: gRPC's callback API and nothing else.
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <string>

#include "tests/bench/echo.grpc.pb.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

class EchoService final : public v1::Echo::CallbackService {
 public:
  explicit EchoService(uint64_t ops) : ops_(ops) {}

  using v1::Echo::CallbackService::Echo;  // the synchronous form stays visible
  grpc::ServerUnaryReactor* Echo(grpc::CallbackServerContext* context,
                                 const v1::EchoMessage* request,
                                 v1::EchoMessage* reply) override {
    reply->set_payload(request->payload());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    if (served_.fetch_add(1) + 1 == ops_) served_.notify_one();
    return reactor;
  }

  // For ever with 0.
  void WaitUntilServed() {
    for (uint64_t seen = served_.load(); ops_ == 0 || seen < ops_;
         seen = served_.load())
      served_.wait(seen);
  }
  uint64_t served() const { return served_.load(); }

 private:
  uint64_t ops_;
  std::atomic<uint64_t> served_ = 0;
};

void GrpcUnary(Run& run) {
  EchoService service(run.ops());
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(run.port()),
                           grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) Die("gRPC server", "could not listen");
  run.Listening(port);
  service.WaitUntilServed();
  server->Shutdown();  // waits for answers that are on their way
  run.Done(service.served());
}

constexpr Bench kBenches[] = {{"grpc_unary_64", GrpcUnary}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
