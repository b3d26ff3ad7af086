// Worker threads, mailboxes and signals where the system has no thread left,
// memory is short and deadlines pass: what FailEverywhere finds in them.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "braid/core/core.h"
#include "braid/os/signals.h"
#include "braid/testing/fail_everywhere.h"
#include "braid/thread/mailbox.h"
#include "braid/thread/to_thread.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(Failure, OfAFunctionOnAThread) {
  int called = 0;
  const int things = FailEverywhere(
      [&]() -> Task<absl::Status> {
        called = 0;
        const std::string text(100, 'x');
        auto size = co_await OrReturn(
            ToThread([&called, text]() -> absl::StatusOr<size_t> {
              ++called;
              return text.size();
            }));
        EXPECT_EQ(size, 100u);
        co_return absl::OkStatus();
      },
      [&](const absl::Status& status) {
        if (status.ok()) EXPECT_EQ(called, 1);
      });
  EXPECT_GT(things, 3);
}

TEST(Failure, OfAMailbox) {
  const int things = FailEverywhere([]() -> Task<absl::Status> {
    auto [sender, receiver] = MakeMailbox<std::string>(1);
    co_return co_await WithTaskGroup(
        [&, &from = receiver](TaskGroup& group) -> Task<absl::Status> {
          group.Start("sender",
                      [to = std::move(sender)]() mutable -> Task<absl::Status> {
                        for (int i = 0; i < 3; ++i) {
                          co_await OrReturn(to.Send(std::string(100, 'x')));
                        }
                        co_return absl::OkStatus();
                      });
          for (;;) {
            auto item = co_await OrReturn(FailAfter(1s, from.Receive()));
            if (!item.has_value()) break;
          }
          co_return co_await group.Join();
        });
  });
  EXPECT_GT(things, 5);
}

TEST(Failure, OfSignals) {
  const int things = FailEverywhere([]() -> Task<absl::Status> {
    SignalStream signals =
        co_await OrReturn(SignalStream::Open({SIGTERM, SIGINT}));
    auto signal = co_await MoveOnAfter(1s, signals.Next());
    EXPECT_FALSE(signal.has_value());
    co_return absl::OkStatus();
  });
  EXPECT_GT(things, 3);
}

}  // namespace
}  // namespace braid
