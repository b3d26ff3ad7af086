// A server's life: listening, limits, draining in steps; and what it says of
// itself to observers and by the protocols of health and reflection.
#include "braid/rpc/server.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <unistd.h>

#include <map>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "braid/rpc/testing/rpc_test_world.h"
#include "grpc/health/v1/health.braid.h"
#include "grpc/reflection/v1/reflection.braid.h"
#include "grpc/reflection/v1alpha/reflection.braid.h"

namespace braid::rpc {
namespace {

using ::testing::TestWithParam;
using Health1 = grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class WorkService final : public Testing::Service {
 public:
  Task<absl::StatusOr<Reply>> Unary(ServerContext&, Request request) override {
    Reply reply;
    if (request.command() == "sleep") {
      co_await SleepFor(std::chrono::milliseconds(request.number()));
    } else if (request.command() == "hang") {
      co_await SleepForever();
    } else if (request.command() == "polite") {
      co_await StopRequested();
      reply.set_text("asked to stop");
    } else if (request.command() == "throw") {
      throw std::runtime_error("a secret");
    } else if (request.command() == "error") {
      co_return absl::NotFoundError("no");
    }
    co_return reply;
  }

  Task<absl::Status> Download(ServerContext&, Request request,
                              Sink<Reply> replies) override {
    for (int64_t i = 0; request.number() == 0 || i < request.number(); ++i) {
      Reply reply;
      reply.set_text(request.text());
      co_await OrReturn(replies.Send(reply));
    }
    co_return absl::OkStatus();
  }

  Task<absl::StatusOr<Reply>> Upload(ServerContext&,
                                     Source<Request> requests) override {
    while (auto request = co_await OrReturn(requests.Receive())) {
    }
    co_return Reply();
  }
};

class ServerTest : public TestWithParam<Carrier> {
 protected:
  template <typename Body>
  void Run(Body body, const ServerOptions& options = {},
           const ChannelOptions& channel_options = {}) {
    RunWorld(
        GetParam(), [] { return std::make_unique<WorkService>(); }, body,
        options, channel_options);
  }
};

INSTANTIATE_TEST_SUITE_P(, ServerTest, EveryCarrier(),
                         testing::PrintToStringParamName());

HealthCheckRequest HealthOf(std::string service) {
  HealthCheckRequest request;
  request.set_service(std::move(service));
  return request;
}

// --- The end ---

TEST_P(ServerTest, DrainsInSteps) {
  ServerOptions options;
  options.lame_duck = 100ms;
  options.drain_limit = 100ms;
  Run(
      [](World& world) -> Task<absl::Status> {
        Testing::Client client = world.client();
        Health1::Client health(world.channel());
        HealthCheckResponse before =
            co_await OrReturn(health.Check(HealthOf("")));
        EXPECT_EQ(before.status(), HealthCheckResponse::SERVING);

        std::vector<std::string> ended;
        co_await OrReturn(
            WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
              auto call = [&](std::string command) -> Task<void> {
                absl::StatusOr<Reply> reply =
                    co_await client.Unary(MakeRequest(command));
                ended.push_back(absl::StrCat(
                    command, ": ",
                    absl::StatusCodeToString(reply.status().code()), " ",
                    reply.ok() ? reply->text() : ""));
              };
              group.Start("polite", call, std::string("polite"));
              group.Start("hang", call, std::string("hang"));
              co_await world.Settle();
              const Time start = Now();
              world.RequestStop();

              // 1, 2: not healthy, and serving as before.
              co_await SleepFor(50ms);
              HealthCheckResponse now =
                  co_await OrReturn(health.Check(HealthOf("")));
              EXPECT_EQ(now.status(), HealthCheckResponse::NOT_SERVING);
              Reply served = co_await OrReturn(client.Unary(MakeRequest("")));
              EXPECT_TRUE(ended.empty());
              EXPECT_TRUE(world.serving());

              // 3: handlers are asked to stop; nobody new comes in.
              co_await SleepUntil(start + 150ms);
              EXPECT_EQ(ended,
                        std::vector<std::string>{"polite: OK asked to stop"});
              absl::StatusOr<Reply> refused =
                  co_await client.Unary(MakeRequest(""));
              EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable)
                  << refused.status();
              EXPECT_TRUE(world.serving());

              // 4, 5: the rest is cancelled.
              bool over =
                  co_await world.Until([&] { return !world.serving(); });
              EXPECT_TRUE(over);
              EXPECT_GE(Now() - start, 200ms);
              EXPECT_LT(Now() - start, 1200ms);
              co_await OrReturn(group.Join());
              EXPECT_EQ(ended.back(), "hang: UNAVAILABLE ");
              co_return absl::OkStatus();
            }));
        co_return absl::OkStatus();
      },
      options);
}

TEST_P(ServerTest, AnIdleServerDrainsAtOnce) {
  Run([](World& world) -> Task<absl::Status> {
    co_await OrReturn(world.client().Unary(MakeRequest("")));
    const Time start = Now();
    world.RequestStop();
    bool over = co_await world.Until([&] { return !world.serving(); });
    EXPECT_TRUE(over);
    EXPECT_LT(Now() - start, 500ms);
    co_return absl::OkStatus();
  });
}

TEST_P(ServerTest, ACancelledServerCancelsItsCalls) {
  Run([](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          for (const char* command : {"hang", "polite"}) {
            group.Start("call", [&, command]() -> Task<void> {
              absl::StatusOr<Reply> reply =
                  co_await client.Unary(MakeRequest(command));
              EXPECT_EQ(reply.status().code(), absl::StatusCode::kUnavailable)
                  << reply.status();
            });
          }
          // One whose message is on its way to a client that doesn't read.
          auto download =
              client.Download(MakeRequest("", std::string(500'000, 'x')));
          auto first = co_await OrReturn(download.Receive());
          EXPECT_TRUE(first.has_value());
          co_await world.Settle();
          EXPECT_EQ(world.server().stats().active, 3u);
          world.CancelServer();
          bool over = co_await world.Until([&] { return !world.serving(); });
          EXPECT_TRUE(over);
          EXPECT_EQ(world.server().stats().active, 0u);
          co_return co_await group.Join();
        }));
    co_return absl::OkStatus();
  });
}

// Answers that are on their way are not waited for without end.
TEST_P(ServerTest, AClientThatReadsNothingHoldsNobodyUp) {
  ServerOptions options;
  options.drain_limit = 50ms;
  Run(
      [](World& world) -> Task<absl::Status> {
        auto download = world.client().Download(
            MakeRequest("", std::string(1'000'000, 'x'), 1));
        co_await world.Settle();
        world.RequestStop();
        bool over = co_await world.Until([&] { return !world.serving(); });
        EXPECT_TRUE(over);
        co_return absl::OkStatus();
      },
      options);
}

// --- Limits ---

TEST_P(ServerTest, TurnsAwayWhatIsTooMuch) {
  ServerOptions options;
  options.max_concurrent_calls = 3;
  Run(
      [](World& world) -> Task<absl::Status> {
        Testing::Client client = world.client();
        co_await OrReturn(
            WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
              for (int i = 0; i < 3; ++i) {
                group.Start("call", [&]() -> Task<void> {
                  auto reply = co_await MoveOnAfter(
                      200ms, client.Unary(MakeRequest("hang")));
                  EXPECT_FALSE(reply.has_value());
                });
              }
              bool full = co_await world.Until(
                  [&] { return world.server().stats().active == 3; });
              EXPECT_TRUE(full);
              for (int i = 0; i < 5; ++i) {
                absl::StatusOr<Reply> reply =
                    co_await client.Unary(MakeRequest(""));
                EXPECT_EQ(reply.status().code(),
                          absl::StatusCode::kResourceExhausted)
                    << reply.status();
              }
              // gRPC's thread answers a call that is turned away, and the loop
              // hears of it afterwards: the answer may be here before.
              const bool counted = co_await world.Until(
                  [&] { return world.server().stats().rejected >= 5; });
              EXPECT_TRUE(counted);
              EXPECT_EQ(world.server().stats().rejected, 5u);
              EXPECT_EQ(world.server().stats().accepted, 3u);
              co_return co_await group.Join();
            }));
        bool room = co_await world.Until(
            [&] { return world.server().stats().active == 0; });
        EXPECT_TRUE(room);
        co_await OrReturn(client.Unary(MakeRequest("")));
        co_return absl::OkStatus();
      },
      options);
}

// --- Listening (gRPC only) ---

template <typename Body>
void RunOnBackend(Body body) {
  auto backend = MakeBackend("asio");
  ASSERT_TRUE(backend.ok()) << backend.status();
  absl::Status status = braid::Run(**backend, body);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(ListenTest, APortThatIsTakenIsNamed) {
  RunOnBackend([]() -> Task<absl::Status> {
    ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    Server first(options);
    co_await OrReturn(first.Listen());
    const std::string taken = absl::StrCat("127.0.0.1:", first.port());
    options.listen = {"127.0.0.1:0", taken};
    Server second(options);
    absl::Status status = second.Listen();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(status.message().find(taken), absl::string_view::npos) << status;
    // Two may share it if both say so.
    options.listen = {"127.0.0.1:0"};
    options.reuse_port = true;
    Server third(options);
    co_await OrReturn(third.Listen());
    options.listen = {absl::StrCat("127.0.0.1:", third.port())};
    Server fourth(options);
    co_await OrReturn(fourth.Listen());
    co_return absl::OkStatus();
  });
}

TEST(ListenTest, WrongAddresses) {
  RunOnBackend([]() -> Task<absl::Status> {
    ServerOptions options;
    Server none(options);
    absl::Status status = none.Listen();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    options.listen = {"nonsense:port"};
    Server nonsense(options);
    status = nonsense.Listen();
    EXPECT_NE(status.message().find("nonsense:port"), absl::string_view::npos)
        << status;
    absl::Status served = co_await nonsense.Serve();
    EXPECT_FALSE(served.ok());
    // gRPC takes a name without a port for one at port 443.
    for (const std::string without :
         {"localhost", "127.0.0.1", "::1", "[::1]", ""}) {
      options.listen = {"127.0.0.1:0", without};
      status = Server(options).Listen();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << without;
      EXPECT_NE(status.message().find("no port"), absl::string_view::npos)
          << status;
    }
    options.listen = {"localhost:0"};
    Server named(options);
    co_await OrReturn(named.Listen());
    EXPECT_GT(named.port(), 0);
    co_return absl::OkStatus();
  });
}

TEST(ListenTest, SeveralAddressesAndAUnixSocket) {
  RunOnBackend([]() -> Task<absl::Status> {
    const std::string path =
        absl::StrCat("unix:/tmp/braid_rpc_server_test.", getpid());
    ServerOptions options;
    options.listen = {"127.0.0.1:0", path, "127.0.0.1:0"};
    Server server(options);
    WorkService service;
    server.AddService(service);
    co_await OrReturn(server.Listen());
    EXPECT_EQ(server.port(1), 0);
    EXPECT_NE(server.port(0), server.port(2));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("serve", &Server::Serve, &server);
          for (const std::string& target :
               {absl::StrCat("127.0.0.1:", server.port(0)), path,
                absl::StrCat("127.0.0.1:", server.port(2))}) {
            Testing::Client client(Channel::To(target));
            co_await OrReturn(client.Unary(
                MakeRequest(""), CallOptions().WaitForReady().Timeout(10s)));
          }
          group.RequestStop();
          co_return co_await group.Join();
        });
  });
}

// Calls that come between Listen and Serve wait.
TEST(ListenTest, CallsWaitForServe) {
  RunOnBackend([]() -> Task<absl::Status> {
    ServerOptions options;
    options.listen = {"127.0.0.1:0"};
    Server server(options);
    WorkService service;
    server.AddService(service);
    co_await OrReturn(server.Listen());
    Testing::Client client(
        Channel::To(absl::StrCat("127.0.0.1:", server.port())));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          auto handle = group.Start("call", [&]() -> Task<absl::Status> {
            Reply reply = co_await OrReturn(client.Unary(MakeRequest("")));
            co_return absl::OkStatus();
          });
          co_await SleepFor(50ms);
          EXPECT_FALSE(handle.done());
          group.Start("serve", &Server::Serve, &server);
          Outcome<void> outcome = co_await handle.Join();
          EXPECT_TRUE(outcome.ok());
          group.RequestStop();
          co_return co_await group.Join();
        });
  });
}

TEST(ListenTest, NobodyThere) {
  RunOnBackend([]() -> Task<absl::Status> {
    std::string target;
    {
      ServerOptions options;
      options.listen = {"127.0.0.1:0"};
      Server server(options);
      co_await OrReturn(server.Listen());
      target = absl::StrCat("127.0.0.1:", server.port());
    }
    Testing::Client client(Channel::To(target));
    absl::StatusOr<Reply> reply = co_await client.Unary(MakeRequest(""));
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kUnavailable);
    // Waits for a server that doesn't come, until its scope ends.
    auto waited = co_await MoveOnAfter(
        50ms, client.Unary(MakeRequest(""), CallOptions().WaitForReady()));
    EXPECT_FALSE(waited.has_value());
    Testing::Client lost(Channel::To("no.such.host.invalid:1"));
    reply = co_await lost.Unary(MakeRequest(""), CallOptions().Timeout(5s));
    EXPECT_FALSE(reply.ok());
    co_return absl::OkStatus();
  });
}

// --- Observers ---

class Recorder final : public RpcObserver {
 public:
  struct Counts final : MethodObserver {
    void Started() override { ++started; }
    void MessageReceived() override { ++received; }
    void MessageSent() override { ++sent; }
    void Handled(absl::StatusCode code, Duration duration) override {
      ++handled[code];
      longest = std::max(longest, duration);
    }
    void HandlerThrew(const std::exception_ptr& exception) override {
      try {
        std::rethrow_exception(exception);
      } catch (const std::exception& e) {
        threw = e.what();
      }
    }
    int started = 0;
    int received = 0;
    int sent = 0;
    std::map<absl::StatusCode, int> handled;
    Duration longest{};
    std::string threw;
  };

  MethodObserver& ForMethod(const Method& method) override {
    return methods[std::string(method.path())];
  }
  void Rejected(uint64_t calls) override { rejected += calls; }

  Counts& Of(std::string_view name) {
    return methods[absl::StrCat("/braid.rpc.test.v1.Testing/",
                                absl::string_view(name.data(), name.size()))];
  }

  std::map<std::string, Counts> methods;
  uint64_t rejected = 0;
};

TEST_P(ServerTest, TellsObservers) {
  Recorder server;
  Recorder client_side;
  ServerOptions options;
  options.observer = &server;
  ChannelOptions channel;
  channel.observer = &client_side;
  Run(
      [&](World& world) -> Task<absl::Status> {
        using enum absl::StatusCode;
        // Each run starts from nothing; counts stay where they were.
        for (auto* recorder : {&server, &client_side}) {
          for (auto& [path, counts] : recorder->methods) {
            counts = Recorder::Counts();
          }
        }
        Testing::Client client = world.client();
        // Every method has its series before the first call.
        EXPECT_EQ(client_side.methods.size(), 5u);
        EXPECT_TRUE(server.methods.contains("/grpc.health.v1.Health/Check"));
        EXPECT_TRUE(server.methods.contains("/unknown/unknown"));
        EXPECT_EQ(server.methods.size(), 5u + 2u + 2u + 1u);

        for (const char* command : {"", "", "error", "throw", "sleep"}) {
          absl::StatusOr<Reply> reply =
              co_await client.Unary(MakeRequest(command, "", 20));
          reply.status().IgnoreError();
        }
        auto stopped =
            co_await MoveOnAfter(20ms, client.Unary(MakeRequest("hang")));
        EXPECT_FALSE(stopped.has_value());
        auto download = client.Download(MakeRequest("", "", 7));
        while (auto reply = co_await OrReturn(download.Receive())) {
        }
        auto upload = client.Upload();
        for (int i = 0; i < 4; ++i) {
          co_await OrReturn(upload.Send(MakeRequest("")));
        }
        co_await OrReturn(upload.Finish());
        const Method unknown("/a.B/C", MethodKind::kUnary);
        absl::StatusOr<Reply> reply = co_await detail::CallUnary<Reply>(
            world.channel(), unknown, Request(), CallOptions());
        EXPECT_FALSE(reply.ok());
        bool idle = co_await world.Until(
            [&] { return world.server().stats().active == 0; });
        EXPECT_TRUE(idle);

        for (auto* recorder : {&server, &client_side}) {
          const Recorder::Counts& unary = recorder->Of("Unary");
          EXPECT_EQ(unary.started, 6);
          EXPECT_EQ(unary.handled.at(kOk), 3);
          EXPECT_EQ(unary.handled.at(kNotFound), 1);
          EXPECT_EQ(unary.handled.at(kInternal), 1);
          EXPECT_GE(unary.longest, 20ms);
          EXPECT_LT(unary.longest, 5s);
        }
        EXPECT_EQ(client_side.Of("Unary").handled.at(kDeadlineExceeded), 1);
        EXPECT_EQ(server.Of("Unary").received, 6);
        EXPECT_EQ(server.Of("Unary").sent, 3);
        EXPECT_EQ(server.Of("Unary").threw, "a secret");
        EXPECT_EQ(client_side.Of("Unary").sent, 6);
        EXPECT_EQ(client_side.Of("Unary").received, 3);
        EXPECT_EQ(server.Of("Download").sent, 7);
        EXPECT_EQ(client_side.Of("Download").received, 7);
        EXPECT_EQ(server.Of("Upload").received, 4);
        EXPECT_EQ(client_side.Of("Upload").sent, 4);
        EXPECT_EQ(client_side.Of("Upload").received, 1);
        EXPECT_EQ(
            server.methods.at("/unknown/unknown").handled.at(kUnimplemented),
            1);
        client_side.methods.erase("/a.B/C");
        co_return absl::OkStatus();
      },
      options, channel);
}

// --- Health ---

TEST_P(ServerTest, SaysHowItIs) {
  Run([](World& world) -> Task<absl::Status> {
    Health1::Client health(world.channel());
    const std::string name(Testing::kName);
    for (const std::string& service : {std::string(), name}) {
      HealthCheckResponse response =
          co_await OrReturn(health.Check(HealthOf(service)));
      EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
    }
    absl::StatusOr<HealthCheckResponse> none =
        co_await health.Check(HealthOf("no.such.Service"));
    EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);

    auto watch = health.Watch(HealthOf(name));
    auto unknown = health.Watch(HealthOf("later.Service"));
    auto next = [](ClientReader<HealthCheckResponse>& reader)
        -> Task<absl::StatusOr<HealthCheckResponse::ServingStatus>> {
      auto response = co_await OrReturn(reader.Receive());
      if (!response.has_value()) co_return absl::OutOfRangeError("end");
      co_return response->status();
    };
    auto status = co_await OrReturn(next(watch));
    EXPECT_EQ(status, HealthCheckResponse::SERVING);
    status = co_await OrReturn(next(unknown));
    EXPECT_EQ(status, HealthCheckResponse::SERVICE_UNKNOWN);

    world.server().health().Set(name, false);
    status = co_await OrReturn(next(watch));
    EXPECT_EQ(status, HealthCheckResponse::NOT_SERVING);
    world.server().health().Set("later.Service", true);
    status = co_await OrReturn(next(unknown));
    EXPECT_EQ(status, HealthCheckResponse::SERVING);
    // No news, no message.
    auto nothing = co_await MoveOnAfter(20ms, watch.Receive());
    EXPECT_FALSE(nothing.has_value());
    HealthCheckResponse now = co_await OrReturn(health.Check(HealthOf(name)));
    EXPECT_EQ(now.status(), HealthCheckResponse::NOT_SERVING);

    // At the end everybody hears of it, and watches end in order.
    world.RequestStop();
    status = co_await OrReturn(next(unknown));
    EXPECT_EQ(status, HealthCheckResponse::NOT_SERVING);
    for (auto* reader : {&watch, &unknown}) {
      auto end = co_await reader->Receive();
      EXPECT_TRUE(end.ok() && !end->has_value()) << end.status();
    }
    EXPECT_FALSE(world.server().health().serving(""));
    world.server().health().Set("", true);
    EXPECT_FALSE(world.server().health().serving(""));
    co_return absl::OkStatus();
  });
}

// --- Reflection ---

template <typename Client, typename AskType, typename AnswerType>
struct Version {
  using Ask = AskType;
  using Answer = AnswerType;
  static Client Make(const Channel& channel) { return Client(channel); }
};
using V1 = Version<grpc::reflection::v1::ServerReflection::Client,
                   grpc::reflection::v1::ServerReflectionRequest,
                   grpc::reflection::v1::ServerReflectionResponse>;
using V1Alpha = Version<grpc::reflection::v1alpha::ServerReflection::Client,
                        grpc::reflection::v1alpha::ServerReflectionRequest,
                        grpc::reflection::v1alpha::ServerReflectionResponse>;

template <typename V>
Task<absl::Status> CheckReflection(World& world) {
  auto client = V::Make(world.channel());
  auto stream = client.ServerReflectionInfo();
  auto ask =
      [&](typename V::Ask request) -> Task<absl::StatusOr<typename V::Answer>> {
    co_await OrReturn(stream.Send(request));
    auto answer = co_await OrReturn(stream.Receive());
    if (!answer.has_value()) co_return absl::OutOfRangeError("end");
    co_return *std::move(answer);
  };
  typename V::Ask list;
  list.set_list_services("");
  typename V::Answer answer = co_await OrReturn(ask(list));
  std::vector<std::string> names;
  for (const auto& service : answer.list_services_response().service()) {
    names.push_back(service.name());
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{
                       "braid.rpc.test.v1.Testing", "grpc.health.v1.Health",
                       "grpc.reflection.v1.ServerReflection",
                       "grpc.reflection.v1alpha.ServerReflection"}));

  // What a client needs to build messages from it.
  typename V::Ask symbol;
  symbol.set_file_containing_symbol("braid.rpc.test.v1.Testing.Unary");
  answer = co_await OrReturn(ask(symbol));
  google::protobuf::DescriptorPool pool;
  EXPECT_EQ(answer.file_descriptor_response().file_descriptor_proto_size(), 1);
  for (const auto& bytes :
       answer.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    EXPECT_TRUE(file.ParseFromString(bytes));
    EXPECT_NE(pool.BuildFile(file), nullptr);
  }
  EXPECT_NE(pool.FindMethodByName("braid.rpc.test.v1.Testing.Download"),
            nullptr);

  // With what it imports; the same again for who asks again.
  for (int i = 0; i < 2; ++i) {
    typename V::Ask file;
    file.set_file_by_filename("sdk/rpc/detail/status_details.proto");
    answer = co_await OrReturn(ask(file));
    EXPECT_EQ(answer.file_descriptor_response().file_descriptor_proto_size(),
              i == 0 ? 2 : 1);
  }

  for (const char* wrong : {"no.such.Thing", ""}) {
    typename V::Ask request;
    request.set_file_containing_symbol(wrong);
    answer = co_await OrReturn(ask(request));
    EXPECT_EQ(answer.error_response().error_code(), 5) << wrong;
  }
  typename V::Ask nothing;
  answer = co_await OrReturn(ask(nothing));
  EXPECT_EQ(answer.error_response().error_code(), 3);
  typename V::Ask extensions;
  extensions.set_all_extension_numbers_of_type("google.protobuf.FieldOptions");
  answer = co_await OrReturn(ask(extensions));
  EXPECT_EQ(answer.all_extension_numbers_response().base_type_name(),
            "google.protobuf.FieldOptions");
  co_await OrReturn(stream.CloseSend());
  auto end = co_await OrReturn(stream.Receive());
  EXPECT_FALSE(end.has_value());
  co_return absl::OkStatus();
}

TEST_P(ServerTest, SaysWhatItServes) {
  Run([](World& world) -> Task<absl::Status> {
    co_await OrReturn(CheckReflection<V1>(world));
    co_await OrReturn(CheckReflection<V1Alpha>(world));
    // An open stream doesn't hold the server up.
    grpc::reflection::v1::ServerReflection::Client client(world.channel());
    auto stream = client.ServerReflectionInfo();
    co_await world.Settle();
    const Time start = Now();
    world.RequestStop();
    auto end = co_await stream.Receive();
    EXPECT_TRUE(end.ok() && !end->has_value()) << end.status();
    EXPECT_LT(Now() - start, 5s);
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid::rpc
