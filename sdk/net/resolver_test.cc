#include "braid/net/resolver.h"

#include <gtest/gtest.h>

#include <chrono>

#include "braid/backend/asio/asio_backend.h"
#include "braid/backend/every_backend.h"
#include "braid/backend/wrapped_host.h"
#include "braid/core/core.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// A machine whose name server answers when the test says so.
class SlowHost final : public WrappedHost {
 public:
  void Lookup(std::string name, std::string service, LookupDone done) override {
    asked.push_back(name + " " + service);
    pending.push_back(std::move(done));
  }

  std::vector<std::string> asked;
  std::vector<LookupDone> pending;
};

template <typename B>
void RunOnSlowHost(B body) {
  auto host = std::make_shared<SlowHost>();
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeAsioBackend(host);
  ASSERT_TRUE(backend.ok());
  const absl::Status status = ::braid::Run(
      **backend,
      [&]() -> Task<absl::Status> { co_return co_await body(*host); });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(Resolve, FindsThisMachine) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    const std::vector<SocketAddress> addresses =
        co_await OrReturn(Resolve("localhost", "80"));
    EXPECT_FALSE(addresses.empty());
    for (const SocketAddress& address : addresses) {
      EXPECT_TRUE(address.is_loopback()) << address.ToString();
      EXPECT_EQ(address.port(), 80);
    }
    co_return absl::OkStatus();
  });
}

TEST(Resolve, NumbersNeedNobody) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    EXPECT_EQ((co_await OrReturn(Resolve("1.2.3.4", "80"))).front().ToString(),
              "1.2.3.4:80");
    EXPECT_EQ((co_await OrReturn(Resolve("::1", ""))).front().ToString(),
              "[::1]:0");
    EXPECT_TRUE(host.asked.empty());
    co_return absl::OkStatus();
  });
}

TEST(Resolve, RefusesWhatIsNoName) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    EXPECT_EQ((co_await Resolve("", "80")).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ((co_await Resolve(std::string("a\0b", 3), "80")).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(host.asked.empty());
    co_return absl::OkStatus();
  });
}

TEST(Resolve, GivesWhatTheHostSays) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("found", []() -> Task<absl::Status> {
            EXPECT_EQ((co_await OrReturn(Resolve("a.test", "https"))).size(),
                      2u);
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("found");
          group.Start("not found", []() -> Task<void> {
            EXPECT_TRUE(
                absl::IsNotFound((co_await Resolve("b.test", "1")).status()));
          });
          co_await UntilWaiting("not found");
          EXPECT_EQ(host.asked,
                    (std::vector<std::string>{"a.test https", "b.test 1"}));
          host.pending[1](absl::NotFoundError("no"));
          host.pending[0](std::vector<SocketAddress>{
              SocketAddress::LoopbackV6(443), SocketAddress::LoopbackV4(443)});
          co_return co_await group.Join();
        });
  });
}

TEST(Resolve, ACancelledQuestionIsAbandoned) {
  RunOnSlowHost([](SlowHost& host) -> Task<absl::Status> {
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE((co_await before.Run(Resolve("a.test", "1"))).has_value());
    EXPECT_TRUE(host.asked.empty());
    EXPECT_FALSE(
        (co_await MoveOnAfter(1ms, Resolve("a.test", "1"))).has_value());
    host.pending[0](absl::NotFoundError("nobody listens"));
    // One that the host forgets, and one whose answer comes with the cancel.
    CancelScope scope;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("forgotten", []() -> Task<void> {
            EXPECT_TRUE(
                absl::IsCancelled((co_await Resolve("a.test", "1")).status()));
          });
          co_await UntilWaiting("forgotten");
          group.Start("answered", [&]() -> Task<void> {
            EXPECT_TRUE(
                (co_await scope.Run(Resolve("a.test", "1"))).has_value());
          });
          co_await UntilWaiting("answered");
          host.pending[2](absl::NotFoundError("x"));
          scope.Cancel();
          host.pending.clear();
          co_return co_await group.Join();
        });
  });
}

}  // namespace
}  // namespace braid
