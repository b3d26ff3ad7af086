// RPC between simulated hosts: what becomes of calls when hosts and networks
// fail. What calls do when all is well is in ../call_test.cc and its like,
// which run on this transport, too.

#include <signal.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/net/tcp.h"
#include "braid/rpc/client.h"
#include "braid/rpc/server.h"
#include "braid/testing/explore_seeds.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sdk/rpc/testing/test_service.braid.h"

namespace braid::rpc {
namespace {

using namespace std::chrono_literals;
using test::v1::Reply;
using test::v1::Request;
using test::v1::Testing;
using ::testing::HasSubstr;

constexpr char kTarget[] = "server:700";

// A service whose handlers use it until they are gone.
class Slow final : public Testing::Service {
 public:
  explicit Slow(int* ended) : ended_(ended) {}
  ~Slow() override { EXPECT_EQ(running_, 0) << "a handler outlived it"; }

  Task<absl::StatusOr<Reply>> Unary(ServerContext& context,
                                    Request request) override {
    const Running running(*this);
    Reply reply;
    if (request.command() == "hang") co_await SleepForever();
    if (request.command() == "slow") co_await SleepFor(10s);
    if (request.command() == "big") reply.set_text(std::string(100'000, 'b'));
    if (request.command() == "trailers")
      context.trailers().Add("x-much", std::string(20'000, 'x'));
    if (request.command() == "peer") {
      reply.set_text(context.peer());
    } else if (request.command().empty()) {
      reply.set_text(request.text());
    }
    co_return reply;
  }

  Task<absl::Status> Download(ServerContext&, Request request,
                              Sink<Reply> replies) override {
    const Running running(*this);
    Reply reply;
    reply.set_text(request.text());
    for (int i = 0; request.number() == 0 || i < request.number(); ++i) {
      reply.set_number(i);
      co_await OrReturn(replies.Send(reply));
      sent = i + 1;
    }
    co_return absl::OkStatus();
  }

  int sent = 0;

 private:
  class Running {
   public:
    explicit Running(Slow& service) : service_(service) { ++service_.running_; }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() {
      --service_.running_;
      ++*service_.ended_;
    }

   private:
    Slow& service_;
  };

  int* ended_;
  int running_ = 0;
};

struct Counts {
  int ended = 0;  // handlers
  int sent = 0;   // by Download
};

Task<absl::Status> Serve(Counts* counts, ServerOptions options) {
  Slow slow(&counts->ended);
  options.listen = {"0.0.0.0:700"};
  Server server(std::move(options));
  server.AddService(slow);
  struct Note {
    ~Note() { counts->sent = slow.sent; }
    Slow& slow;
    Counts* counts;
  } const note{slow, counts};
  co_return co_await server.Serve();
}

Request Ask(std::string command, std::string text = "", int number = 0) {
  Request request;
  request.set_command(std::move(command));
  request.set_text(std::move(text));
  request.set_number(number);
  return request;
}

class SimTransportTest : public ::testing::Test {
 protected:
  SimTransportTest() : SimTransportTest(SimulationOptions()) {}
  explicit SimTransportTest(const SimulationOptions& options) : sim(options) {}

  void RunServer(ServerOptions options = {}) {
    server.Run(Serve, &counts, options);
  }
  // Runs `body` on the client's host to its end.
  template <typename Body>
  void RunClient(Body body) {
    client.Run(std::move(body));
    const absl::Status status = sim.RunUntil([&] { return client.ended(); });
    EXPECT_TRUE(status.ok()) << status;
  }

  Counts counts;
  Simulation sim;
  SimHost& server = sim.AddHost("server", {.serves = true});
  SimHost& client = sim.AddHost("client", {.serves = true});
};

TEST_F(SimTransportTest, ACallTakesTwoWays) {
  RunServer();
  RunClient([]() -> Task<absl::Status> {
    Testing::Client testing(Channel::To(kTarget));
    Reply reply = co_await OrReturn(testing.Unary(Ask("", "hello")));
    EXPECT_EQ(reply.text(), "hello");
    // Connected: there and back.
    const Time start = Now();
    reply = co_await OrReturn(testing.Unary(Ask("peer")));
    EXPECT_THAT(reply.text(), HasSubstr("ipv4:10.0.0.2:"));
    EXPECT_GE(Now() - start, 100us);
    EXPECT_LT(Now() - start, 10ms);
    // Addresses will do, and gRPC's ways to write a target.
    for (const char* target :
         {"10.0.0.1:700", "ipv4:10.0.0.1:700", "dns:///server:700"}) {
      Testing::Client other(Channel::To(target));
      co_await OrReturn(other.Unary(Ask("")));
    }
    co_return absl::OkStatus();
  });
}

TEST_F(SimTransportTest, NobodyListens) {
  server.Run([]() -> Task<void> { co_await SleepForever(); });
  RunClient([]() -> Task<absl::Status> {
    Channel channel = Channel::To(kTarget);
    Testing::Client testing(channel);
    auto reply = co_await testing.Unary(Ask(""));
    EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
    EXPECT_THAT(reply.status().message(), HasSubstr("refused"));
    EXPECT_THAT(reply.status().message(), HasSubstr(kTarget));
    EXPECT_FALSE(channel.connected());
    // Nobody asks again so soon.
    const Time start = Now();
    reply = co_await testing.Unary(Ask(""));
    EXPECT_TRUE(absl::IsUnavailable(reply.status()));
    EXPECT_EQ(Now(), start);
    // One that waits does so until its limit.
    reply = co_await testing.Unary(Ask(""),
                                   CallOptions().WaitForReady().Timeout(10s));
    EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status())) << reply.status();
    EXPECT_EQ(Now() - start, 10s);
    for (const char* wrong : {"nobody:700", "server", "unix:/run/x", ""}) {
      Testing::Client other(Channel::To(wrong));
      reply = co_await other.Unary(Ask(""));
      EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
    }
    ChannelOptions tls;
    tls.tls.emplace();
    Testing::Client secret(Channel::To(kTarget, tls));
    reply = co_await secret.Unary(Ask(""));
    EXPECT_TRUE(absl::IsUnimplemented(reply.status())) << reply.status();
    co_return absl::OkStatus();
  });
}

TEST_F(SimTransportTest, WaitsUntilTheServerIsThere) {
  sim.After(5s, [&] { RunServer(); });
  RunClient([]() -> Task<absl::Status> {
    Channel channel = Channel::To(kTarget);
    Testing::Client testing(channel);
    const Time start = Now();
    co_await OrReturn(testing.Unary(Ask(""), CallOptions().WaitForReady()));
    EXPECT_GE(Now() - start, 5s);
    // By then it asked every few seconds: 1, 1.6, 2.56 s, a fifth more or less.
    EXPECT_LT(Now() - start, 9s);
    EXPECT_TRUE(channel.connected());
    co_return absl::OkStatus();
  });
}

TEST_F(SimTransportTest, AServerThatCrashesAndComesBack) {
  RunServer();
  sim.After(1s, [&] { server.Crash(); });
  sim.After(3s, [&] { server.Restart(); });
  RunClient([]() -> Task<absl::Status> {
    ChannelOptions options;
    options.keepalive = 10s;
    Channel channel = Channel::To(kTarget, options);
    Testing::Client testing(channel);
    // It says nothing for ever; a ping finds the new kernel, which knows of no
    // such connection.
    const Time start = Now();
    auto reply = co_await testing.Unary(Ask("hang"));
    EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
    EXPECT_THAT(reply.status().message(), HasSubstr("lost"));
    EXPECT_GE(Now() - start, 10s);
    EXPECT_LT(Now() - start, 11s);
    EXPECT_FALSE(channel.connected());
    // The next finds the server.
    co_await OrReturn(testing.Unary(Ask("")));
    co_return absl::OkStatus();
  });
  EXPECT_EQ(counts.ended, 2) << "the crash destroyed the first handler";
}

TEST_F(SimTransportTest, KeepaliveEndsCallsToAHostThatIsGone) {
  RunServer();
  sim.After(1s, [&] { server.Crash(); });
  RunClient([]() -> Task<absl::Status> {
    ChannelOptions options;
    options.keepalive = 10s;
    Testing::Client testing(Channel::To(kTarget, options));
    const Time start = Now();
    auto reply = co_await testing.Unary(Ask("hang"));
    EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
    EXPECT_THAT(reply.status().message(), HasSubstr("ping"));
    EXPECT_GE(Now() - start, 30s);
    EXPECT_LT(Now() - start, 31s);
    // And it doesn't end one that is only slow.
    co_return absl::OkStatus();
  });
}

TEST_F(SimTransportTest, KeepaliveLetsSlowCallsBe) {
  RunServer();
  RunClient([]() -> Task<absl::Status> {
    ChannelOptions options;
    options.keepalive = 1s;
    Testing::Client testing(Channel::To(kTarget, options));
    co_await OrReturn(testing.Unary(Ask("slow")));
    co_return absl::OkStatus();
  });
}

TEST_F(SimTransportTest, AClientThatGoesCancelsItsCalls) {
  RunServer();
  client.Run([]() -> Task<absl::Status> {
    Testing::Client testing(Channel::To(kTarget));
    co_return (co_await testing.Unary(Ask("hang"))).status();
  });
  EXPECT_TRUE(sim.RunFor(1s).ok());
  EXPECT_EQ(counts.ended, 0);
  client.Signal(SIGKILL);  // its kernel closes the connection
  EXPECT_TRUE(sim.RunFor(1s).ok());
  EXPECT_EQ(counts.ended, 1);
}

TEST_F(SimTransportTest, APartitionIsSilence) {
  RunServer();
  std::optional<ScopedFault> cut;
  sim.After(1s, [&] {
    cut.emplace(sim.network().Inject(Partition({"client"}, {"server"})));
  });
  sim.After(20s, [&] { cut.reset(); });
  RunClient([]() -> Task<absl::Status> {
    Testing::Client testing(Channel::To(kTarget));
    co_await OrReturn(testing.Unary(Ask("")));
    co_await SleepFor(2s);
    // Nothing comes through, and the deadline is the client's own.
    auto reply = co_await testing.Unary(Ask(""), CallOptions().Timeout(3s));
    EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status())) << reply.status();
    // TCP goes on where it was once it is over.
    co_await OrReturn(testing.Unary(Ask("")));
    co_return absl::OkStatus();
  });
}

TEST_F(SimTransportTest, ASlowReaderHoldsTheWriterUp) {
  RunServer();
  RunClient([]() -> Task<absl::Status> {
    Testing::Client testing(Channel::To(kTarget));
    auto download = testing.Download(Ask("", std::string(1000, 'x'), 10'000));
    auto first = co_await OrReturn(download.Receive());
    EXPECT_TRUE(first.has_value());
    co_await SleepFor(1min);
    // Other calls are not held up by that.
    co_await OrReturn(testing.Unary(Ask("big")));
    co_return absl::OkStatus();
  });
  server.Signal(SIGKILL);
  // A window of 64 KiB, and what is on its way out of the handler.
  EXPECT_GE(counts.sent, 60);
  EXPECT_LE(counts.sent, 70);
}

TEST_F(SimTransportTest, AStreamIsWholeOnABadNetwork) {
  ExploreSeeds(20, [](uint64_t seed) {
    Counts counts;
    Simulation sim({.seed = seed,
                    .link = {.latency = 1ms,
                             .jitter = 5ms,
                             .loss = 0.05,
                             .duplicate = 0.05,
                             .reorder = 0.2}});
    sim.AddHost("server", {.serves = true})
        .Run(Serve, &counts, ServerOptions());
    sim.AddHost("client").Run([]() -> Task<absl::Status> {
      Testing::Client testing(Channel::To(kTarget));
      auto download = testing.Download(Ask("", std::string(5000, 'x'), 100));
      int next = 0;
      while (auto reply = co_await OrReturn(download.Receive())) {
        EXPECT_EQ(reply->number(), next++);
        EXPECT_EQ(reply->text().size(), 5000u);
      }
      EXPECT_EQ(next, 100);
      co_return absl::OkStatus();
    });
    const absl::Status status = sim.RunUntilIdle();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(counts.ended, 1);
  });
}

TEST_F(SimTransportTest, OthersOnThePortAreSentAway) {
  RunServer();
  RunClient([]() -> Task<absl::Status> {
    for (const std::string& noise :
         {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
          std::string(100'000, '\xff'), std::string(100, '\0')}) {
      TcpStream stream =
          co_await OrReturn(TcpStream::Connect(std::string("10.0.0.1:700")));
      (co_await stream.Send(noise)).IgnoreError();
      std::array<char, 1000> buffer;
      absl::StatusOr<size_t> size = 1;
      while (size.ok() && *size > 0) size = co_await stream.Receive(buffer);
    }
    // A hello alone, and then nonsense.
    for (const std::string& nonsense :
         {std::string(9, '\x09'), std::string("\0\0\0\0\1\0\0\0\0", 9),
          std::string("\0\0\0\2\1\0\0\0\1\xff\xff", 11),
          std::string("\0\0\0\0\6\0\0\0\7", 9)}) {
      TcpStream stream =
          co_await OrReturn(TcpStream::Connect(std::string("10.0.0.1:700")));
      std::array<char, 1000> buffer;
      const size_t hello = co_await OrReturn(stream.Receive(buffer));
      co_await OrReturn(stream.Send(std::string(buffer.data(), hello)));
      co_await OrReturn(stream.Send(nonsense));
      absl::StatusOr<size_t> size = 1;
      while (size.ok() && *size > 0) {
        auto received = co_await MoveOnAfter(1min, stream.Receive(buffer));
        EXPECT_TRUE(received.has_value()) << "it was not sent away";
        if (!received.has_value()) break;
        size = *received;
      }
    }
    Testing::Client testing(Channel::To(kTarget));
    co_await OrReturn(testing.Unary(Ask("")));
    co_return absl::OkStatus();
  });
}

TEST_F(SimTransportTest, AServerThatSpeaksSomethingElse) {
  server.Run([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("0.0.0.0:700"));
    for (;;) {
      TcpStream stream = co_await OrReturn(listener.Accept());
      (co_await stream.Send(std::string("SSH-2.0-OpenSSH_9\r\n")))
          .IgnoreError();
      co_await SleepFor(1s);
    }
  });
  RunClient([]() -> Task<absl::Status> {
    Testing::Client testing(Channel::To("10.0.0.1:700"));
    auto reply = co_await testing.Unary(Ask(""));
    EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
    EXPECT_THAT(reply.status().message(), HasSubstr("something else"));
    co_return absl::OkStatus();
  });
}

// A server that takes connections, and is no more than that: its process is
// paused.
TEST_F(SimTransportTest, APausedServer) {
  RunServer();
  EXPECT_TRUE(sim.RunFor(1s).ok());
  server.Pause();
  RunClient([]() -> Task<absl::Status> {
    Channel channel = Channel::To("10.0.0.1:700");
    Testing::Client testing(channel);
    auto reply = co_await testing.Unary(Ask(""), CallOptions().Timeout(5s));
    EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status())) << reply.status();
    EXPECT_FALSE(channel.connected());
    // An attempt is given up after 20 s.
    reply = co_await testing.Unary(Ask(""));
    EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
    EXPECT_THAT(reply.status().message(), HasSubstr("20 s"));
    co_return absl::OkStatus();
  });
}

// A channel may go later than the loop it is from.
TEST_F(SimTransportTest, AChannelThatOutlivesItsLoop) {
  RunServer();
  std::optional<Channel> kept;
  RunClient([&]() -> Task<absl::Status> {
    kept.emplace(Channel::To(kTarget));
    Testing::Client testing(*kept);
    co_return (co_await testing.Unary(Ask(""))).status();
  });
  EXPECT_FALSE(kept->connected());
  kept.reset();
  EXPECT_TRUE(sim.RunFor(1s).ok());
}

TEST_F(SimTransportTest, MetadataHasALimit) {
  RunServer();
  RunClient([]() -> Task<absl::Status> {
    Testing::Client testing(Channel::To(kTarget));
    auto reply = co_await testing.Unary(
        Ask(""), CallOptions().Add("x-much", std::string(20'000, 'x')));
    EXPECT_TRUE(absl::IsResourceExhausted(reply.status())) << reply.status();
    // The connection carries on.
    co_await OrReturn(testing.Unary(Ask("")));
    reply = co_await testing.Unary(Ask("trailers"));
    EXPECT_TRUE(absl::IsResourceExhausted(reply.status())) << reply.status();
    co_await OrReturn(testing.Unary(Ask("")));
    co_return absl::OkStatus();
  });
}

// Wherever the power goes, everything goes: see ~Slow.
TEST_F(SimTransportTest, CrashesAtAnyTime) {
  int ended = 0;
  ExploreSeeds(40, [&](uint64_t seed) {
    Counts counts;
    Simulation sim({.seed = seed, .link = {.latency = 1ms, .jitter = 3ms}});
    SimHost& server = sim.AddHost("server", {.serves = true});
    SimHost& client = sim.AddHost("client", {.serves = true});
    server.Run(Serve, &counts, ServerOptions());
    client.Run([]() -> Task<absl::Status> {
      Testing::Client testing(Channel::To(kTarget));
      for (;;) {
        co_await MoveOnAfter(
            50ms, WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
              for (const char* command : {"", "hang", "slow", "big"}) {
                group.Start("call", [&, command]() -> Task<void> {
                  (co_await testing.Unary(Ask(command))).IgnoreError();
                });
              }
              auto download = testing.Download(Ask("", std::string(5000, 'x')));
              while ((co_await download.Receive()).ok()) {
              }
              co_return co_await group.Join();
            }));
        co_await SleepFor(1ms);
      }
    });
    const Duration at = std::chrono::microseconds(seed * 1237 % 150'000);
    SimHost& victim = seed % 2 == 0 ? server : client;
    sim.After(at, [&] { victim.Crash(); });
    sim.After(at + 20ms, [&] { victim.Restart(); });
    EXPECT_TRUE(sim.RunFor(300ms).ok());
    ended += counts.ended;
  });
  EXPECT_GT(ended, 40);
}

}  // namespace
}  // namespace braid::rpc
