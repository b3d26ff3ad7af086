// A client of the echo service that Braid brings: its .proto lies in another
// repository than the program.
#include <gtest/gtest.h>

#include <chrono>

#include "absl/status/statusor.h"
#include "braid/braid.h"
#include "braid/echo/v1/echo_control.braid.h"
#include "braid/rpc/client.h"

namespace {

using namespace braid;
using namespace std::chrono_literals;

TEST(EchoClientTest, SaysThatNobodyIsThere) {
  auto backend = MakeBackend("auto");
  ASSERT_TRUE(backend.ok()) << backend.status();
  const absl::Status status = braid::Run(**backend, []() -> Task<absl::Status> {
    echo::v1::EchoControl::Client client(
        rpc::Channel::To("unix:/nowhere/at/all"));
    auto stats = co_await FailAfter(10s, client.GetStats({}));
    EXPECT_TRUE(absl::IsUnavailable(stats.status())) << stats.status();
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
