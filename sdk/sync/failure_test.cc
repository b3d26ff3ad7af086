// Channels, locks and their like where memory is short and deadlines pass: what
// FailEverywhere finds in them.

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "braid/core/core.h"
#include "braid/sync/channel.h"
#include "braid/sync/mutex.h"
#include "braid/sync/semaphore.h"
#include "braid/sync/watch.h"
#include "braid/testing/fail_everywhere.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Each item is with a receiver, in the channel or still with its sender.
void NoneIsLost(size_t capacity) {
  std::vector<std::string> received;
  size_t begun = 0, kept = 0;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        received.clear();
        received.reserve(20);
        begun = kept = 0;
        auto [sender, receiver] = MakeChannel<std::string>(capacity);
        co_return co_await WithTaskGroup(
            [&, &from = receiver](TaskGroup& group) -> Task<absl::Status> {
              group.Start(
                  "sender",
                  [&, to = std::move(sender)]() mutable -> Task<absl::Status> {
                    for (int i = 0; i < 5; ++i) {
                      std::string item(100, static_cast<char>('a' + i));
                      ++begun;
                      auto sent =
                          co_await MoveOnAfter(1s, to.Send(std::move(item)));
                      if (!sent.has_value() || !sent->ok()) {
                        EXPECT_EQ(item.size(), 100u);
                        ++kept;
                      }
                    }
                    co_return absl::OkStatus();
                  });
              for (;;) {
                auto item = co_await MoveOnAfter(2s, from.Receive());
                if (!item.has_value()) continue;
                if (!item->ok()) co_return item->status();
                if (!(*item)->has_value()) break;
                received.push_back(std::move(***item));
              }
              co_return co_await group.Join();
            });
      },
      [&](const absl::Status& status) {
        if (status.ok()) EXPECT_EQ(received.size() + kept, begun);
      });
}

TEST(Failure, OfARendezvous) { NoneIsLost(0); }
TEST(Failure, OfABufferedChannel) { NoneIsLost(2); }
TEST(Failure, OfAnUnboundedChannel) { NoneIsLost(kUnbounded); }

TEST(Failure, OfLocks) {
  FailEverywhere([]() -> Task<absl::Status> {
    Mutex mutex;
    Semaphore semaphore(1);
    Watch<std::string> watch(std::string(100, 'a'));
    Watch<std::string>::Reader reader = watch.Subscribe();
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 3; ++i) {
            group.Start("contender", [&]() -> Task<void> {
              (void)co_await MoveOnAfter(1s, [&]() -> Task<void> {
                auto lock = co_await mutex.Lock();
                co_await SleepFor(1ms);
              });
              auto permit = co_await semaphore.Acquire();
              co_await SleepFor(1ms);
            });
          }
          (void)co_await MoveOnAfter(1s, reader.Next());
          watch.Set(std::string(200, 'b'));
          (void)co_await MoveOnAfter(1s, reader.Next());
          co_return co_await group.Join();
        });
  });
}

}  // namespace
}  // namespace braid
