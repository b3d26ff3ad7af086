// Load for grpc_unary_64: one channel, kGrpcInFlight calls outstanding, one
// completion queue that one thread serves.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/benches.h"
#include "tests/bench/echo.grpc.pb.h"
#include "tests/bench/load.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

class Call {
 public:
  Call(v1::Echo::Stub& stub, grpc::CompletionQueue& queue)
      : stub_(stub), queue_(queue) {
    request_.set_payload(std::string(kPayload, 'x'));
  }

  void Start() {
    context_.emplace();
    reader_ = stub_.AsyncEcho(&*context_, request_, &queue_);
    reader_->Finish(&reply_, &status_, this);
  }

  void Check() const {
    if (!status_.ok()) Die("a call failed", status_.error_message());
    if (reply_.payload() != request_.payload())
      Die("an answer", "is not what was sent");
  }

 private:
  v1::Echo::Stub& stub_;
  grpc::CompletionQueue& queue_;
  v1::EchoMessage request_;
  v1::EchoMessage reply_;
  grpc::Status status_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::EchoMessage>> reader_;
};

void Generate(const LoadOptions& options) {
  std::string target = "127.0.0.1:" + std::to_string(options.port);
  auto stub = v1::Echo::NewStub(
      grpc::CreateChannel(target, grpc::InsecureChannelCredentials()));
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Call>> calls(kGrpcInFlight);
  uint64_t sent = 0;
  uint64_t answered = 0;
  Window window(options, Window::ServerThreads::kMany);
  for (auto& call : calls) call = std::make_unique<Call>(*stub, queue);
  auto start = [&](Call* call) {
    if (!window.MaySend(sent)) return;
    ++sent;
    call->Start();
  };
  void* tag = nullptr;
  bool ok = false;
  while (!window.Over(answered)) {
    if (sent == answered)
      std::ranges::for_each(calls, start, &std::unique_ptr<Call>::get);
    if (!queue.Next(&tag, &ok)) Die("the completion queue", "was shut down");
    auto* call = static_cast<Call*>(tag);
    call->Check();
    ++answered;
    if (!window.bursts()) start(call);
  }
  window.Print(/*resent=*/0);
}

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  braid::bench::Generate(braid::bench::ParseLoad(argc, argv));
  std::fflush(stdout);
  std::_Exit(0);  // calls are still in flight
}
