// Calls of every shape: what crosses, and what comes back.
#include <stdexcept>

#include "absl/strings/cord.h"
#include "braid/rpc/testing/rpc_test_world.h"

namespace braid::rpc {
namespace {

class EchoService final : public Testing::Service {
 public:
  Task<absl::StatusOr<Reply>> Unary(ServerContext& context,
                                    Request request) override {
    Reply reply;
    if (request.command() == "error") {
      const std::string bytes = request.SerializeAsString();
      absl::Status status = absl::NotFoundError("no \"\u00fcber\"\n thing");
      status.SetPayload("type.googleapis.com/braid.rpc.test.v1.Request",
                        absl::Cord(absl::string_view(bytes)));
      // Means something in this process only.
      co_return WithSuppressed(status, {ClosedError("mine")});
    }
    if (request.command() == "broken") co_return BrokenError("my database");
    if (request.command() == "long") {
      co_return absl::InternalError(std::string(100'000, 'x'));
    }
    if (request.command() == "throw") throw std::runtime_error("a secret");
    if (request.command() == "metadata") {
      context.headers().Add("x-header", "one");
      for (std::string_view value : context.metadata().GetAll("x-twice")) {
        context.trailers().Add("x-back", value);
      }
      context.trailers().Add(
          "x-bytes-bin", context.metadata().Get("x-bytes-bin").value_or(""));
      reply.set_text(context.peer());
    } else if (request.command() == "bad header") {
      context.headers().Add("x header", "one");
    } else if (request.command() == "bad trailer") {
      context.trailers().Add("x-value", "new\nline");
    } else if (request.command() == "big") {
      reply.set_text(std::string(request.number(), 'b'));
    } else {
      reply.set_text(request.text());
      reply.set_number(request.number());
    }
    co_return reply;
  }

  Task<absl::StatusOr<Reply>> Upload(ServerContext&,
                                     Source<Request> requests) override {
    Reply reply;
    while (auto request = co_await OrReturn(requests.Receive())) {
      if (request->command() == "error") {
        co_return absl::DataLossError("enough");
      }
      reply.set_number(reply.number() + request->number());
      reply.set_text(reply.text() + request->text());
    }
    co_return reply;
  }

  Task<absl::Status> Download(ServerContext& context, Request request,
                              Sink<Reply> replies) override {
    context.headers().Add("x-header", "first");
    if (request.command() == "headers") {
      absl::Status sent = context.SendHeaders();
      EXPECT_TRUE(sent.ok());
      co_await SleepFor(20ms);
    }
    for (int i = 0; i < request.number(); ++i) {
      Reply reply;
      reply.set_number(i);
      reply.set_text(request.text());
      co_await OrReturn(replies.Send(reply));
    }
    context.trailers().Add("x-trailer", "last");
    if (request.command() == "error") co_return absl::AbortedError("after all");
    co_return absl::OkStatus();
  }

  Task<absl::Status> Talk(ServerContext&, Source<Request> requests,
                          Sink<Reply> replies) override {
    Reply reply;
    reply.set_text("hello");
    co_await OrReturn(replies.Send(reply));
    while (auto request = co_await OrReturn(requests.Receive())) {
      reply.set_text(request->text());
      co_await OrReturn(replies.Send(reply));
    }
    reply.set_text("bye");
    co_return co_await replies.Send(reply);
  }
};

class CallTest : public testing::TestWithParam<Carrier> {
 protected:
  template <typename Body>
  void Run(Body body, const ServerOptions& options = {},
           const ChannelOptions& channel_options = {}) {
    RunWorld(
        GetParam(), [] { return std::make_unique<EchoService>(); }, body,
        options, channel_options);
  }
};

INSTANTIATE_TEST_SUITE_P(, CallTest, EveryCarrier(),
                         testing::PrintToStringParamName());

TEST_P(CallTest, OneRequestOneReply) {
  Run([](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    for (int i = 0; i < 20; ++i) {
      Reply reply =
          co_await OrReturn(client.Unary(MakeRequest("echo", "text", i)));
      EXPECT_EQ(reply.text(), "text");
      EXPECT_EQ(reply.number(), i);
    }
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, ManyAtOnce) {
  Run([](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    int replies = 0;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 200; ++i) {
            group.Start("call", [&, i]() -> Task<absl::Status> {
              Reply reply =
                  co_await OrReturn(client.Unary(MakeRequest("echo", "", i)));
              EXPECT_EQ(reply.number(), i);
              ++replies;
              co_return absl::OkStatus();
            });
          }
          co_return co_await group.Join();
        }));
    EXPECT_EQ(replies, 200);
    EXPECT_EQ(world.server().stats().accepted, 200u);
    EXPECT_EQ(world.server().stats().active, 0u);
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, EmptyAndLargeMessages) {
  Run([](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    Reply empty = co_await OrReturn(client.Unary(Request()));
    EXPECT_EQ(empty.ByteSizeLong(), 0u);
    // Above what is copied, and more than one frame of HTTP/2.
    const std::string large(1'000'000, 'l');
    Reply reply = co_await OrReturn(client.Unary(MakeRequest("echo", large)));
    EXPECT_EQ(reply.text(), large);
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, ManyRequestsOneReply) {
  Run([](World& world) -> Task<absl::Status> {
    auto upload = world.client().Upload();
    for (int i = 1; i <= 100; ++i) {
      co_await OrReturn(upload.Send(MakeRequest("add", i % 50 ? "" : "x", i)));
    }
    Reply reply = co_await OrReturn(upload.Finish());
    EXPECT_EQ(reply.number(), 5050);
    EXPECT_EQ(reply.text(), "xx");
    absl::Status late = co_await upload.Send(MakeRequest("add"));
    EXPECT_TRUE(IsClosed(late)) << late;
    absl::StatusOr<Reply> twice = co_await upload.Finish();
    EXPECT_EQ(twice.status().code(), absl::StatusCode::kFailedPrecondition);

    auto none = world.client().Upload();
    Reply zero = co_await OrReturn(none.Finish());
    EXPECT_EQ(zero.number(), 0);
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, AnUploadThatIsRefused) {
  Run([](World& world) -> Task<absl::Status> {
    auto upload = world.client().Upload();
    co_await OrReturn(upload.Send(MakeRequest("error")));
    // The server has no interest in what follows; Send says why, at some point.
    absl::Status status;
    for (int i = 0; i < 1000 && status.ok(); ++i) {
      status = co_await upload.Send(MakeRequest("add", "", 1));
      co_await SleepFor(1ms);
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    absl::StatusOr<Reply> reply = co_await upload.Finish();
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(reply.status().message(), "enough");
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, OneRequestManyReplies) {
  Run([](World& world) -> Task<absl::Status> {
    auto download = world.client().Download(MakeRequest("", "t", 50));
    int n = 0;
    while (auto reply = co_await OrReturn(download.Receive())) {
      EXPECT_EQ(reply->number(), n++);
      EXPECT_EQ(reply->text(), "t");
    }
    EXPECT_EQ(n, 50);
    EXPECT_EQ(download.headers().Get("x-header"), "first");
    EXPECT_EQ(download.trailers().Get("x-trailer"), "last");
    // The end stays the end.
    auto again = co_await OrReturn(download.Receive());
    EXPECT_FALSE(again.has_value());

    auto none = world.client().Download(MakeRequest("", "", 0));
    auto nothing = co_await OrReturn(none.Receive());
    EXPECT_FALSE(nothing.has_value());
    co_return absl::OkStatus();
  });
}

// A status that came while replies had not been read yet stands behind them.
TEST_P(CallTest, RepliesBeforeAnErrorAreGiven) {
  Run([](World& world) -> Task<absl::Status> {
    auto download = world.client().Download(MakeRequest("error", "t", 2));
    co_await world.Settle();
    for (int i = 0; i < 2; ++i) {
      auto reply = co_await OrReturn(download.Receive());
      EXPECT_TRUE(reply.has_value());
      co_await world.Settle();
    }
    for (int i = 0; i < 2; ++i) {
      auto end = co_await download.Receive();
      EXPECT_EQ(end.status().code(), absl::StatusCode::kAborted);
      EXPECT_EQ(end.status().message(), "after all");
    }
    EXPECT_EQ(download.trailers().Get("x-trailer"), "last");
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, HeadersMayComeFirst) {
  Run([](World& world) -> Task<absl::Status> {
    auto download = world.client().Download(MakeRequest("headers", "", 1));
    auto early = co_await MoveOnAfter(10ms, download.Receive());
    if (world.on_virtual_time()) {
      EXPECT_FALSE(early.has_value());
      EXPECT_EQ(download.headers().Get("x-header"), "first");
    }
    auto reply = early.has_value()
                     ? std::move(early)
                     : co_await MoveOnAfter(10s, download.Receive());
    EXPECT_TRUE(reply.has_value() && reply->ok() && (*reply)->has_value());
    EXPECT_EQ(download.headers().Get("x-header"), "first");
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, BothWays) {
  Run([](World& world) -> Task<absl::Status> {
    auto talk = world.client().Talk();
    // The server speaks before it is spoken to.
    auto hello = co_await OrReturn(talk.Receive());
    EXPECT_EQ(hello->text(), "hello");
    for (int i = 0; i < 20; ++i) {
      co_await OrReturn(talk.Send(MakeRequest("", std::to_string(i))));
      auto reply = co_await OrReturn(talk.Receive());
      EXPECT_EQ(reply->text(), std::to_string(i));
    }
    co_await OrReturn(talk.CloseSend());
    co_await OrReturn(talk.CloseSend());
    absl::Status late = co_await talk.Send(MakeRequest(""));
    EXPECT_TRUE(IsClosed(late)) << late;
    auto bye = co_await OrReturn(talk.Receive());
    EXPECT_EQ(bye->text(), "bye");
    auto end = co_await OrReturn(talk.Receive());
    EXPECT_FALSE(end.has_value());
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, SendingAndReceivingAtOnce) {
  Run([](World& world) -> Task<absl::Status> {
    auto talk = world.client().Talk();
    constexpr int kMessages = 500;
    auto send = [&]() -> Task<absl::Status> {
      for (int i = 0; i < kMessages; ++i) {
        co_await OrReturn(talk.Send(MakeRequest("", std::to_string(i))));
      }
      co_return co_await talk.CloseSend();
    };
    auto receive = [&]() -> Task<absl::StatusOr<int>> {
      int n = 0;
      while (auto reply = co_await OrReturn(talk.Receive())) ++n;
      co_return n;
    };
    auto both = co_await AllOf(send, receive);
    EXPECT_TRUE(both.ok()) << both.status();
    EXPECT_EQ(std::get<1>(*both), kMessages + 2);
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, AnErrorCrossesWhole) {
  Run([](World& world) -> Task<absl::Status> {
    const Request request = MakeRequest("error", "detail");
    absl::StatusOr<Reply> reply = co_await world.client().Unary(request);
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(reply.status().message(), "no \"\u00fcber\"\n thing");
    auto payload = reply.status().GetPayload(
        "type.googleapis.com/braid.rpc.test.v1.Request");
    EXPECT_TRUE(payload.has_value());
    EXPECT_EQ(std::string(payload.value_or(absl::Cord())),
              request.SerializeAsString());
    if (!world.in_memory()) {
      EXPECT_TRUE(SuppressedErrors(reply.status()).empty());
      // The server's connection to something broke; the client's did not.
      reply = co_await world.client().Unary(MakeRequest("broken"));
      EXPECT_EQ(reply.status().code(), absl::StatusCode::kUnavailable);
      EXPECT_FALSE(IsBroken(reply.status()));
    }
    co_return absl::OkStatus();
  });
}

// Trailers have a limit, and a message above it would become another error.
TEST_P(CallTest, ALongErrorIsCut) {
  Run([](World& world) -> Task<absl::Status> {
    absl::StatusOr<Reply> reply =
        co_await world.client().Unary(MakeRequest("long"));
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(reply.status().message().substr(0, 5), "xxxxx");
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, AnExceptionIsInternalAndSaysNoMore) {
  Run([](World& world) -> Task<absl::Status> {
    absl::StatusOr<Reply> reply =
        co_await world.client().Unary(MakeRequest("throw"));
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(reply.status().message().find("secret"), absl::string_view::npos)
        << reply.status();
    // The server goes on.
    co_await OrReturn(world.client().Unary(MakeRequest("echo")));
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, WhatIsNotThereIsUnimplemented) {
  Run([](World& world) -> Task<absl::Status> {
    absl::StatusOr<Reply> reply =
        co_await world.client().Forgotten(MakeRequest(""));
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kUnimplemented);
    for (const char* path :
         {"/braid.rpc.test.v1.Testing/Never", "/no.such.Service/Unary"}) {
      static constexpr MethodKind kKinds[] = {MethodKind::kUnary,
                                              MethodKind::kServerStreaming};
      for (MethodKind kind : kKinds) {
        const Method method(path, kind);
        absl::Status status;
        if (kind == MethodKind::kUnary) {
          reply = co_await detail::CallUnary<Reply>(world.channel(), method,
                                                    Request(), CallOptions());
          status = reply.status();
        } else {
          ClientReader<Reply> reader(detail::CallWith(
              world.channel(), method, Request(), CallOptions()));
          auto message = co_await reader.Receive();
          status = message.status();
        }
        EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
        EXPECT_NE(status.message().find(path), absl::string_view::npos)
            << status;
      }
    }
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, MetadataBothWays) {
  Run([](World& world) -> Task<absl::Status> {
    CallInfo info;
    const std::string bytes("\0\xff\n", 3);
    Reply reply = co_await OrReturn(world.client().Unary(
        MakeRequest("metadata"), CallOptions()
                                     .Add("X-Twice", "a")
                                     .Add("x-twice", "b")
                                     .Add("x-bytes-bin", bytes)
                                     .Into(&info)));
    EXPECT_EQ(info.headers.Get("x-header"), "one");
    EXPECT_EQ(info.trailers.GetAll("x-back"),
              (std::vector<std::string_view>{"a", "b"}));
    EXPECT_EQ(info.trailers.Get("x-bytes-bin"), bytes);
    EXPECT_EQ(reply.text().substr(0, 4), world.in_memory() ? "memo" : "ipv4");
    for (const Metadata::Entry& entry : info.trailers) {
      EXPECT_FALSE(entry.key.starts_with("grpc-")) << entry.key;
    }
    co_return absl::OkStatus();
  });
}

// gRPC ends the program where an entry can't be sent.
TEST_P(CallTest, BadMetadataIsAnError) {
  Run([](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    for (const Metadata::Entry& bad :
         {Metadata::Entry("x y", ""), Metadata::Entry("", "v"),
          Metadata::Entry("x-v", "new\nline"), Metadata::Entry("grpc-x", "v"),
          Metadata::Entry("te", "v")}) {
      absl::StatusOr<Reply> reply = co_await client.Unary(
          MakeRequest("echo"), CallOptions().Add(bad.key, bad.value));
      EXPECT_EQ(reply.status().code(), absl::StatusCode::kInvalidArgument)
          << bad.key;
      auto download = client.Download(MakeRequest(""),
                                      CallOptions().Add(bad.key, bad.value));
      auto message = co_await download.Receive();
      EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument);
    }
    EXPECT_EQ(world.server().stats().accepted, 0u);
    // What a handler adds is the server's mistake.
    for (const char* command : {"bad header", "bad trailer"}) {
      absl::StatusOr<Reply> reply = co_await client.Unary(MakeRequest(command));
      EXPECT_EQ(reply.status().code(), absl::StatusCode::kInternal) << command;
    }
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, MessagesHaveALimit) {
  ServerOptions options;
  options.max_request_bytes = 10'000;
  ChannelOptions channel;
  channel.max_reply_bytes = 20'000;
  Run(
      [](World& world) -> Task<absl::Status> {
        Testing::Client client = world.client();
        co_await OrReturn(
            client.Unary(MakeRequest("echo", std::string(9'900, 'x'))));
        absl::StatusOr<Reply> reply = co_await client.Unary(
            MakeRequest("echo", std::string(10'100, 'x')));
        EXPECT_EQ(reply.status().code(), absl::StatusCode::kResourceExhausted)
            << reply.status();
        co_await OrReturn(client.Unary(MakeRequest("big", "", 19'900)));
        reply = co_await client.Unary(MakeRequest("big", "", 20'100));
        EXPECT_EQ(reply.status().code(), absl::StatusCode::kResourceExhausted)
            << reply.status();

        auto upload = client.Upload();
        co_await OrReturn(
            upload.Send(MakeRequest("add", std::string(10'100, 'x'))));
        reply = co_await upload.Finish();
        EXPECT_EQ(reply.status().code(), absl::StatusCode::kResourceExhausted)
            << reply.status();
        // Nothing of that is left over.
        bool none = co_await world.Until(
            [&] { return world.server().stats().active == 0; });
        EXPECT_TRUE(none);
        co_await OrReturn(client.Unary(MakeRequest("echo")));
        co_return absl::OkStatus();
      },
      options, channel);
}

// What isn't a message of the method's type.
TEST_P(CallTest, NonsenseIsInternal) {
  Run([](World& world) -> Task<absl::Status> {
    static constexpr Method kMethod("/braid.rpc.test.v1.Testing/Unary",
                                    MethodKind::kUnary);
    absl::StatusOr<Reply> reply =
        co_await UnaryCall<Reply>(world.channel().state(), &kMethod,
                                  std::string("\xff\xff"), CallOptions());
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kInternal);
    EXPECT_NE(reply.status().message().find("braid.rpc.test.v1.Request"),
              absl::string_view::npos)
        << reply.status();
    // A client that ends without its one request.
    static constexpr Method kStreaming("/braid.rpc.test.v1.Testing/Unary",
                                       MethodKind::kClientStreaming);
    ClientWriter<Request, Reply> none(
        detail::CallStreaming(world.channel(), kStreaming, CallOptions()));
    reply = co_await none.Finish();
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kInternal)
        << reply.status();
    co_return absl::OkStatus();
  });
}

TEST_P(CallTest, OneTaskReceivesAtATime) {
  Run([](World& world) -> Task<absl::Status> {
    auto talk = world.client().Talk();
    auto hello = co_await OrReturn(talk.Receive());
    EXPECT_EQ(hello->text(), "hello");
    auto [first, second] = co_await AnyOf(talk.Receive(), talk.Receive());
    EXPECT_NE(first.has_value(), second.has_value());
    auto& busy = first.has_value() ? *first : *second;
    EXPECT_TRUE(IsBusy(busy.status())) << busy.status();
    co_await OrReturn(talk.Send(MakeRequest("", "still here")));
    auto reply = co_await OrReturn(talk.Receive());
    EXPECT_EQ(reply->text(), "still here");
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid::rpc
