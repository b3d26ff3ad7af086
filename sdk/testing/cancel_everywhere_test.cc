#include "braid/testing/cancel_everywhere.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>

#include "braid/core/core.h"
#include "braid/net/tcp.h"
#include "braid/sync/mutex.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(CancelEverywhere, CancelsAtEveryPlaceInTurn) {
  int begun = 0;
  int ended = 0;
  std::array<int, 4> reached = {};
  const int places = CancelEverywhere([&]() -> Task<void> {
    ++begun;
    for (int& count : reached) {
      co_await SleepFor(1s);
      ++count;
    }
    ++ended;
  });
  EXPECT_EQ(begun, places + 1);
  EXPECT_EQ(ended, 1);
  // Each sleep is a place: the first is survived by all but those that were
  // cancelled before its end.
  for (size_t i = 0; i + 1 < reached.size(); ++i)
    EXPECT_GT(reached[i], reached[i + 1]);
  EXPECT_EQ(reached.back(), 1);
}

TEST(CancelEverywhere, CallsAfterEachRun) {
  int calls = 0;
  const int places = CancelEverywhere(
      []() -> Task<absl::Status> {
        co_await SleepFor(1s);
        co_return absl::OkStatus();
      },
      [&] { ++calls; });
  EXPECT_EQ(calls, places + 1);
}

// In a process of its own, whose test may fail: whether it did, and how many
// runs there were.
[[noreturn]] void ExitWith(int runs) {
  std::exit(testing::Test::HasFailure() ? runs : 100);
}

int broken_invariant = 0;
int BreakIt() {
  return CancelEverywhere(
      []() -> Task<void> {
        broken_invariant = 1;  // no destructor puts it right
        co_await SleepFor(1s);
        broken_invariant = 0;
      },
      [] { EXPECT_EQ(broken_invariant, 0); });
}
TEST(CancelEverywhereDeathTest, FindsWhatACancelBreaks) {
  EXPECT_EXIT(ExitWith(BreakIt()), testing::ExitedWithCode(0), "");
}

int Fail() {
  return CancelEverywhere([]() -> Task<absl::Status> {
    co_return co_await Finally(
        SleepFor(1s), [](const Outcome<void>& outcome) -> Task<absl::Status> {
          if (outcome.stopped()) co_return absl::DataLossError("half of it");
          co_return absl::OkStatus();
        });
  });
}
TEST(CancelEverywhereDeathTest, AnErrorThatACancelBringsFailsTheTest) {
  EXPECT_EXIT(ExitWith(Fail()), testing::ExitedWithCode(0), "");
}

TEST(CancelEverywhereDeathTest, ATaskThatDoesNotStopIsFound) {
  EXPECT_DEATH(CancelEverywhere([]() -> Task<void> {
                 co_await SleepFor(1s);
                 co_await Shield(SleepForever());
               }),
               "doesn't stop when cancelled");
}

// The example of a program: a request and its answer over TCP, beside a lock.
TEST(CancelEverywhere, ARealBody) {
  const int places = CancelEverywhere([]() -> Task<absl::Status> {
    TcpListener listener = co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
    Mutex mutex;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("server", [&]() -> Task<absl::Status> {
            TcpStream stream = co_await OrReturn(listener.Accept());
            Chunk chunk = co_await OrReturn(stream.ReceiveChunk());
            co_return co_await stream.Send(chunk);
          });
          for (int i = 0; i < 2; ++i) {
            group.Start("contender", [&]() -> Task<void> {
              auto lock = co_await mutex.Lock();
              co_await SleepFor(1ms);
            });
          }
          TcpStream stream =
              co_await OrReturn(TcpStream::Connect(listener.local_address()));
          co_await OrReturn(stream.Send("x"));
          std::array<char, 1> buffer;
          co_await OrReturn(stream.Receive(buffer));
          co_return co_await group.Join();
        });
  });
  EXPECT_GT(places, 5);
}

}  // namespace
}  // namespace braid
