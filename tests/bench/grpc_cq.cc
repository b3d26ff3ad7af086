// The subject `raw_cq`: gRPC's asynchronous API, one completion queue and one
// thread that serves it, and nothing else.
#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/benches.h"
#include "tests/bench/echo.grpc.pb.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

// Asks for a call, answers it, and does the same again.
class Call {
 public:
  Call(v1::Echo::AsyncService& service, grpc::ServerCompletionQueue& queue)
      : service_(service), queue_(queue) {
    Request();
  }

  void Request() {
    finishing_ = false;
    context_.emplace();
    responder_.emplace(&*context_);
    service_.RequestEcho(&*context_, &request_, &*responder_, &queue_, &queue_,
                         this);
  }

  // True when a call has ended.
  bool Step() {
    if (finishing_) return true;
    finishing_ = true;
    reply_.set_payload(request_.payload());
    responder_->Finish(reply_, grpc::Status::OK, this);
    return false;
  }

 private:
  v1::Echo::AsyncService& service_;
  grpc::ServerCompletionQueue& queue_;
  bool finishing_ = false;
  v1::EchoMessage request_;
  v1::EchoMessage reply_;
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncResponseWriter<v1::EchoMessage>> responder_;
};

void GrpcUnary(Run& run) {
  v1::Echo::AsyncService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(run.port()),
                           grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  std::unique_ptr<grpc::ServerCompletionQueue> queue =
      builder.AddCompletionQueue();
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) Die("gRPC server", "could not listen");
  run.Listening(port);

  std::vector<std::unique_ptr<Call>> calls(size_t{2} * kGrpcInFlight);
  for (auto& call : calls) call = std::make_unique<Call>(service, *queue);
  void* tag = nullptr;
  bool ok = false;
  while ((run.ops() == 0 || counted < run.ops()) && queue->Next(&tag, &ok)) {
    auto* call = static_cast<Call*>(tag);
    if (!call->Step()) continue;
    ++counted;
    call->Request();
  }
  server->Shutdown();
  queue->Shutdown();
  while (queue->Next(&tag, &ok)) {
  }
  run.Done(counted);
}

constexpr Bench kBenches[] = {{"grpc_unary_64", GrpcUnary}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
