// How tests of the RPC layer run one body on each transport: in memory and on
// the simulated network, on virtual time, in several orders of ready tasks; and
// through gRPC on loopback.

#ifndef BRAID_RPC_TESTING_RPC_TEST_WORLD_H_
#define BRAID_RPC_TESTING_RPC_TEST_WORLD_H_

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "braid/backend/make_backend.h"
#include "braid/core/core.h"
#include "braid/rpc/client.h"
#include "braid/rpc/server.h"
#include "braid/rpc/testing/memory_transport.h"
#include "braid/testing/virtual_time.h"
#include "sdk/rpc/testing/test_service.braid.h"

namespace braid::rpc {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using test::v1::Reply;
using test::v1::Request;
using test::v1::Testing;

enum class Carrier { kMemory, kSim, kGrpc };

inline std::ostream& operator<<(std::ostream& out, Carrier carrier) {
  return out << (carrier == Carrier::kMemory ? "Memory"
                 : carrier == Carrier::kSim  ? "Sim"
                                             : "Grpc");
}

inline auto EveryCarrier() {
  return testing::Values(Carrier::kMemory, Carrier::kSim, Carrier::kGrpc);
}

inline Request MakeRequest(std::string command, std::string text = "",
                           int64_t number = 0) {
  Request request;
  request.set_command(std::move(command));
  request.set_text(std::move(text));
  request.set_number(number);
  return request;
}

// A server that serves, and a channel to it.
class World {
 public:
  World(Carrier carrier, ServerOptions options, ChannelOptions channel_options)
      : carrier_(carrier), channel_options_(std::move(channel_options)) {
    if (carrier == Carrier::kMemory) {
      MemoryTransportOptions memory;
      memory.max_request_bytes = options.max_request_bytes;
      memory.max_reply_bytes = channel_options_.max_reply_bytes;
      memory.max_concurrent_calls = options.max_concurrent_calls;
      memory_ = std::make_unique<MemoryTransport>(memory);
      options.transport = memory_->server();
    } else {
      options.listen = {"127.0.0.1:0"};
    }
    server_ = std::make_unique<Server>(std::move(options));
  }

  absl::Status Listen(Service& service) {
    server_->AddService(service);
    absl::Status status = server_->Listen();
    if (!status.ok()) return status;
    channel_.emplace(
        memory_ != nullptr
            ? Channel(memory_->client(), channel_options_.observer)
            : Channel::To("127.0.0.1:" + std::to_string(server_->port()),
                          channel_options_));
    return status;
  }

  bool in_memory() const { return carrier_ == Carrier::kMemory; }
  bool on_virtual_time() const { return carrier_ != Carrier::kGrpc; }
  Server& server() { return *server_; }
  const Channel& channel() { return *channel_; }
  Testing::Client client() { return Testing::Client(*channel_); }
  // Ends Serve, in order.
  void RequestStop() { group_->RequestStop(); }
  // Ends it at once.
  void CancelServer() { serving_->Cancel("the test says so"); }
  bool serving() const { return !serving_->done(); }
  // Calls that the transport still knows; only in memory.
  size_t calls() const { return memory_->calls(); }

  // Lets everything happen that can happen now. On real time, a while.
  Task<void> Settle() { co_await SleepFor(on_virtual_time() ? 1ms : 50ms); }

  // Waits until `condition()`, which is about to come true.
  template <typename Condition>
  Task<bool> Until(Condition condition) {
    for (int i = 0; i < 2000; ++i) {
      if (condition()) co_return true;
      co_await SleepFor(5ms);
    }
    co_return false;
  }

  template <typename Body>
  Task<absl::Status> Run(Body* body) {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group_ = &group;
          serving_.emplace(
              group.Start("server", &Server::Serve, server_.get()));
          co_await OrReturn((*body)(*this));
          group.RequestStop();
          co_return co_await group.Join();
        });
  }

 private:
  Carrier carrier_;
  ChannelOptions channel_options_;
  std::unique_ptr<MemoryTransport> memory_;
  std::unique_ptr<Server> server_;
  std::optional<Channel> channel_;
  TaskGroup* group_ = nullptr;
  std::optional<TaskHandle<void>> serving_;
};

// Runs `body(world)`, a Task<absl::Status>, while `make_service()` is served.
template <typename MakeService, typename Body>
void RunWorld(Carrier carrier, MakeService make_service, Body body,
              const ServerOptions& options = {},
              const ChannelOptions& channel_options = {}) {
  auto once = [&](Driver& driver, LoopOptions loop_options) {
    auto service = make_service();
    absl::Status status = braid::Run(
        driver,
        [&]() -> Task<absl::Status> {
          World world(carrier, options, channel_options);
          co_await OrReturn(world.Listen(*service));
          co_return co_await world.Run(&body);
        },
        loop_options);
    EXPECT_TRUE(status.ok()) << status;
  };
  if (carrier == Carrier::kGrpc) {
    auto backend = MakeBackend("asio");
    ASSERT_TRUE(backend.ok()) << backend.status();
    once(**backend, {});
    return;
  }
  auto on_virtual_time = [&](LoopOptions loop_options) {
    if (carrier == Carrier::kMemory) {
      VirtualTime time;
      once(time, loop_options);
    } else {
      auto backend = MakeBackend("sim");
      ASSERT_TRUE(backend.ok()) << backend.status();
      once(**backend, loop_options);
    }
  };
  on_virtual_time({});
  // The network takes its time, though nobody sees it.
  const uint64_t seeds = carrier == Carrier::kMemory ? 8 : 4;
  for (uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure();
       ++seed) {
    SCOPED_TRACE("shuffle_seed = " + std::to_string(seed));
    on_virtual_time({.shuffle_seed = seed});
  }
}

}  // namespace braid::rpc

#endif  // BRAID_RPC_TESTING_RPC_TEST_WORLD_H_
