// A server for clients in other languages: serves Testing on 127.0.0.1 until
// SIGTERM, then drains. Prints its port.
#include <signal.h>

#include <cstdio>

#include "absl/strings/cord.h"
#include "braid/backend/run_main.h"
#include "braid/core/core.h"
#include "braid/os/signals.h"
#include "braid/rpc/server.h"
#include "sdk/rpc/testing/test_service.braid.h"

namespace braid::rpc {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using test::v1::Reply;
using test::v1::Request;
using test::v1::Testing;

class TestService final : public Testing::Service {
 public:
  Task<absl::StatusOr<Reply>> Unary(ServerContext& context,
                                    Request request) override {
    Reply reply;
    reply.set_number(request.number());
    if (request.command() == "error") {
      const std::string detail = request.SerializeAsString();
      absl::Status status = absl::NotFoundError("no such thing");
      status.SetPayload("type.googleapis.com/braid.rpc.test.v1.Request",
                        absl::Cord(absl::string_view(detail)));
      co_return status;
    }
    if (request.command() == "hang") {
      Gone gone(&cancelled_);
      co_await SleepForever();
    }
    if (request.command() == "cancelled") {
      reply.set_number(cancelled_);
    } else if (request.command() == "deadline") {
      const Time deadline = CurrentDeadline();
      reply.set_number(
          deadline == kNever
              ? -1
              : std::chrono::duration_cast<std::chrono::milliseconds>(deadline -
                                                                      Now())
                    .count());
    } else if (request.command() == "metadata") {
      context.headers().Add("x-header", "first");
      for (std::string_view value : context.metadata().GetAll("x-twice")) {
        context.trailers().Add("x-back", value);
      }
      context.trailers().Add(
          "x-bytes-bin", context.metadata().Get("x-bytes-bin").value_or(""));
    } else if (request.command() == "big") {
      reply.set_text(std::string(request.number(), 'b'));
    } else {
      reply.set_text(request.text());
    }
    co_return reply;
  }

  Task<absl::StatusOr<Reply>> Upload(ServerContext&,
                                     Source<Request> requests) override {
    Reply reply;
    while (auto request = co_await OrReturn(requests.Receive())) {
      reply.set_number(reply.number() + request->number());
    }
    co_return reply;
  }

  Task<absl::Status> Download(ServerContext&, Request request,
                              Sink<Reply> replies) override {
    Gone gone(&cancelled_);
    for (int i = 0; request.number() == 0 || i < request.number(); ++i) {
      Reply reply;
      reply.set_number(i);
      co_await OrReturn(replies.Send(reply));
      if (request.number() == 0) co_await SleepFor(5ms);
    }
    gone.Dismiss();
    co_return absl::OkStatus();
  }

  Task<absl::Status> Talk(ServerContext&, Source<Request> requests,
                          Sink<Reply> replies) override {
    while (auto request = co_await OrReturn(requests.Receive())) {
      Reply reply;
      reply.set_text(request->text());
      co_await OrReturn(replies.Send(reply));
    }
    co_return absl::OkStatus();
  }

 private:
  // Counts handlers that end before their time.
  class Gone {
   public:
    explicit Gone(int* count) : count_(count) {}
    Gone(const Gone&) = delete;
    Gone& operator=(const Gone&) = delete;
    ~Gone() {
      if (count_ != nullptr) ++*count_;
    }
    void Dismiss() { count_ = nullptr; }

   private:
    int* count_;
  };

  int cancelled_ = 0;
};

// Not in the coroutine: g++ 12 has no room for lists there.
ServerOptions Options() {
  ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.lame_duck = 300ms;
  options.drain_limit = 300ms;
  return options;
}

Task<absl::Status> Main() {
  SignalStream signals = co_await OrReturn(SignalStream::Open({SIGTERM}));
  TestService service;
  Server server(Options());
  server.AddService(service);
  co_await OrReturn(server.Listen());
  std::printf("%d\n", server.port());
  std::fflush(stdout);
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    group.Start("serve", &Server::Serve, &server);
    co_await OrReturn(signals.Next());
    group.RequestStop();
    co_return co_await group.Join();
  });
}

}  // namespace
}  // namespace braid::rpc

int main(int argc, char** argv) {
  return braid::RunMain(argc, argv, braid::rpc::Main);
}
