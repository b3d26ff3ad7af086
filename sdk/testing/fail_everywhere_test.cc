#include "braid/testing/fail_everywhere.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "braid/backend/file_operation.h"
#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/net/resolver.h"
#include "braid/net/tcp.h"
#include "braid/net/udp.h"
#include "braid/sync/channel.h"
#include "braid/sync/event.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr FailOptions kAllocations = {.calls = false, .deadlines = false};
constexpr FailOptions kCalls = {.allocations = false, .deadlines = false};
// For those that count what is repeated where a run leaves memory behind.
constexpr FailOptions kCallsOnce = {
    .allocations = false, .deadlines = false, .leaks = false};
constexpr FailOptions kDeadlines = {.allocations = false, .calls = false};

TEST(FailEverywhere, FailsEachAllocationInTurn) {
  int exhausted = 0;
  std::array<int, 3> reached = {};
  const int things = FailEverywhere(
      [&]() -> Task<void> {
        for (int& count : reached) {
          const auto number = std::make_unique<int>(1);
          count += *number;
          co_await SleepFor(1s);
        }
      },
      [&](const absl::Status& status) {
        if (absl::IsResourceExhausted(status)) ++exhausted;
      },
      kAllocations);
  EXPECT_EQ(exhausted, things);
  // The last two stand behind one allocation of the body more each.
  EXPECT_EQ(reached[1], reached[2] + 1);
}

TEST(FailEverywhere, FailsEachCallInTurn) {
  std::map<absl::StatusCode, int> ends;
  const int things = FailEverywhere(
      []() -> Task<absl::Status> {
        (void)co_await OrReturn(Resolve("localhost", "7"));
        UdpSocket server = co_await OrReturn(UdpSocket::Bind("127.0.0.1:7"));
        UdpSocket client = co_await OrReturn(UdpSocket::Connect("127.0.0.1:7"));
        co_await OrReturn(client.Send("x"));
        DatagramBuffer buffer;
        Datagram d = co_await OrReturn(server.Receive(buffer));
        co_await OrReturn(server.Reply(d, d.data));
        (void)co_await OrReturn(client.Receive(buffer));
        co_return absl::OkStatus();
      },
      [&](const absl::Status& status) { ++ends[status.code()]; }, kCallsOnce);
  EXPECT_EQ(things, 7);
  EXPECT_EQ(ends[absl::StatusCode::kUnavailable], 2);  // name, refused
  EXPECT_EQ(ends[absl::StatusCode::kResourceExhausted], 5);
}

// What breaks a connection breaks it for both of its ends.
TEST(FailEverywhere, ResetsConnections) {
  int broken_here = 0, broken_there = 0, refused = 0;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
        auto near = co_await TcpStream::Connect(listener.local_address());
        if (!near.ok()) {
          ++refused;
          co_return near.status();
        }
        TcpStream far = co_await OrReturn(listener.Accept());
        const absl::Status sent = co_await near->Send("x");
        if (sent.ok()) co_return absl::OkStatus();
        EXPECT_TRUE(IsBroken(sent)) << sent;
        ++broken_here;
        std::array<char, 10> buffer;
        const auto received = co_await far.Receive(buffer);
        if (IsBroken(received.status())) ++broken_there;
        co_return sent;
      },
      nullptr, kCalls);
  EXPECT_EQ(broken_here, 1);
  EXPECT_EQ(broken_there, 1);
  EXPECT_EQ(refused, 2);  // no descriptor, no listener
}

class MakeDirectory final : public MakeDirectoryOperation {
 public:
  MakeDirectory() : MakeDirectoryOperation("x", 0755) {}
  int TakeResult() const { return error; }
};

TEST(FailEverywhere, FailsFileOperations) {
  std::vector<int> errors;
  const int things = FailEverywhere(
      [&]() -> Task<void> {
        errors.push_back(co_await Operation<MakeDirectory>());
      },
      nullptr, kCalls);
  EXPECT_EQ(things, 1);
  EXPECT_EQ(std::ranges::count(errors, ENOSPC), 1);
}

TEST(FailEverywhere, FailsEachDeadlineInTurn) {
  int first = 0, second = 0, ready = 0;
  const int things = FailEverywhere(
      [&]() -> Task<void> {
        if (!co_await MoveOnAfter(1h, SleepFor(1s))) ++first;
        // Nobody waits under this one.
        const bool in_time =
            co_await MoveOnAfter(1h, []() -> Task<void> { co_return; });
        if (!in_time) ++ready;
        CancelScope scope(Now() + 1h);
        if (!co_await scope.Run(SleepFor(1s))) {
          ++second;
          EXPECT_EQ(scope.cause()->source, CancelCause::Source::kDeadline);
        }
        co_await SleepFor(1s);
      },
      nullptr, kDeadlines);
  EXPECT_EQ(things, 2);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
  EXPECT_EQ(ready, 0);
}

TEST(FailEverywhere, AFunctionThatRunsASimulation) {
  int refused = 0;
  const int things = FailEverywhere(
      [&] {
        Simulation sim;
        SimHost& server = sim.AddHost("server", {.serves = true});
        server.Run([]() -> Task<absl::Status> {
          UdpSocket socket = co_await OrReturn(UdpSocket::Bind("0.0.0.0:7"));
          DatagramBuffer buffer;
          for (;;) {
            Datagram d = co_await OrReturn(socket.Receive(buffer));
            co_await OrReturn(socket.Reply(d, d.data));
          }
        });
        sim.AddHost("client").Run([&]() -> Task<absl::Status> {
          UdpSocket socket =
              co_await OrReturn(UdpSocket::Connect(server.address(7)));
          DatagramBuffer buffer;
          for (int i = 0; i < 3; ++i) {
            (void)co_await socket.Send("x");
            auto answer = co_await MoveOnAfter(1s, socket.Receive(buffer));
            if (answer.has_value() && answer->ok()) co_return absl::OkStatus();
          }
          co_return absl::DeadlineExceededError("no answer");
        });
        return sim.RunUntilIdle();
      },
      [&](const absl::Status& status) {
        if (!status.ok()) ++refused;
      });
  EXPECT_GT(things, 10);
  EXPECT_GT(refused, 3);
}

// What finds something, in a process of its own: says what on standard error,
// and exits with 0.

[[noreturn]] void Finds(void (*run)()) {
  run();
  const testing::TestResult& result =
      *testing::UnitTest::GetInstance()->current_test_info()->result();
  for (int i = 0; i < result.total_part_count(); ++i)
    std::fprintf(stderr, "%s\n", result.GetTestPartResult(i).message());
  // Not by exit: a socket that was found open has no backend any more.
  std::fflush(stderr);
  ::_exit(testing::Test::HasFailure() ? 0 : 100);
}

// A stream that is put where nobody closes it if its first send fails.
void LeakASocket() {
  auto& pool = *new std::vector<TcpStream>;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
        TcpStream stream =
            co_await OrReturn(TcpStream::Connect(listener.local_address()));
        absl::Status sent = co_await stream.Send("hello");
        if (!sent.ok()) pool.push_back(std::move(stream));
        co_return sent;
      },
      nullptr, kCalls);
}
TEST(FailEverywhereDeathTest, FindsASocketThatStaysOpen) {
  EXPECT_EXIT(Finds(LeakASocket), testing::ExitedWithCode(0),
              "1 sockets are still open.*"
              "call 4 fails: --braid_fail=call:4 or BRAID_FAIL=call:4 runs "
              "that alone\nsend: TCP connection with 127.0.0.1:.*: Connection "
              "reset by peer");
}

void SwallowAnError() {
  std::string there;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        there.clear();
        TcpListener listener =
            co_await OrReturn(TcpListener::Bind("127.0.0.1:0"));
        TcpStream stream =
            co_await OrReturn(TcpStream::Connect(listener.local_address()));
        TcpStream peer = co_await OrReturn(listener.Accept());
        (void)co_await stream.Send("hello");  // nobody looks
        (void)co_await stream.SendEof();
        std::array<char, 10> buffer;
        const auto size = co_await peer.Receive(buffer);
        if (size.ok()) there.assign(buffer.data(), *size);
        co_return absl::OkStatus();
      },
      [&](const absl::Status& status) {
        if (status.ok()) EXPECT_EQ(there, "hello");
      },
      kCalls);
}
TEST(FailEverywhereDeathTest, FindsAnErrorThatNobodyHearsOf) {
  EXPECT_EXIT(Finds(SwallowAnError), testing::ExitedWithCode(0),
              "\"hello\".*call 5 fails");
}

// Takes an item, and has no memory to keep it.
void LoseAnItem() {
  int sent = 0, kept = 0;
  FailEverywhere(
      [&]() -> Task<absl::Status> {
        sent = kept = 0;
        auto [sender, receiver] = MakeChannel<int>(4);
        for (; sent < 4; ++sent) co_await OrReturn(sender.Send(sent));
        sender.Close();
        std::vector<int> items;
        for (;;) {
          try {
            auto item = co_await OrReturn(receiver.Receive());
            if (!item.has_value()) break;
            items.push_back(*item);
            ++kept;
          } catch (const std::bad_alloc&) {
            // Goes on with the next.
          }
        }
        co_return absl::OkStatus();
      },
      [&](const absl::Status& status) {
        if (status.ok()) EXPECT_EQ(kept, sent);
      },
      kAllocations);
}
TEST(FailEverywhereDeathTest, FindsAnItemThatIsLostForLackOfMemory) {
  EXPECT_EXIT(Finds(LoseAnItem), testing::ExitedWithCode(0),
              "allocation [0-9]+ fails: .*\n4 bytes\n  by .*LoseAnItem");
}

// Waits for an answer that nobody gives any more.
void DeadlockAfterATimeout() {
  FailEverywhere(
      []() -> Task<void> {
        Event answered;
        if (co_await MoveOnAfter(10s, SleepFor(1s))) answered.Set();
        co_await answered.Wait();
      },
      nullptr, kDeadlines);
}
TEST(FailEverywhereDeathTest, FindsADeadlockAfterATimeout) {
  EXPECT_EXIT(Finds(DeadlockAfterATimeout), testing::ExitedWithCode(0),
              "deadlock: every task waits.*main  waiting.*"
              "deadline 1 fails.*\nof task 'main', which waits at "
              ".*fail_everywhere_test.cc:");
}

void LeakMemory() {
  static std::vector<int*> kept(100);
  kept.clear();
  FailEverywhere(
      []() -> Task<absl::Status> {
        kept.push_back(new int(1));
        absl::Status made = UdpSocket::Bind("127.0.0.1:7").status();
        if (made.ok()) {
          delete kept.back();
          kept.pop_back();
        }
        co_return made;
      },
      nullptr, kCalls);
}
TEST(FailEverywhereDeathTest, FindsMemoryThatIsLeftBehind) {
  EXPECT_EXIT(Finds(LeakMemory), testing::ExitedWithCode(0),
              "1 allocations are left behind by a run in which call 1 fails");
}

void GoOnForEver() {
  FailEverywhere(
      []() -> Task<void> {
        while (!co_await MoveOnAfter(1s, SleepFor(1ms))) {
          for (;;) co_await Checkpoint();
        }
      },
      nullptr, kDeadlines);
}
TEST(FailEverywhereDeathTest, FindsWhatGoesOnForEver) {
  EXPECT_EXIT(Finds(GoOnForEver), testing::ExitedWithCode(0),
              "it goes on for ever, and was stopped.*deadline 1 fails");
}

std::unique_ptr<int> made;  // seen from outside, so that it is made
struct Throws {
  ~Throws() { made = std::make_unique<int>(1); }
};
void Crash() {
  FailEverywhere(
      []() -> Task<void> {
        Throws throws;
        co_await SleepFor(1s);
      },
      nullptr, kAllocations);
}
TEST(FailEverywhereDeathTest, SaysWhereTheProgramEnds) {
  EXPECT_DEATH(
      Crash(),
      "FailEverywhere: the program ends where allocation [0-9]+ fails: "
      "--braid_fail=.*by .*Crash");
}

void FailAlways() {
  FailEverywhere(
      []() -> Task<absl::Status> { co_return absl::DataLossError("as ever"); });
}
TEST(FailEverywhereDeathTest, WhereNothingFailsItHasToSucceed) {
  EXPECT_EXIT(Finds(FailAlways), testing::ExitedWithCode(0),
              "as ever.*nothing fails");
}

// What the person who runs the test asks for.
// lint: allow(environment): what the test is about, before any thread
void Ask(const char* place) { ::setenv("BRAID_FAIL", place, 1); }
// lint: allow(environment): as above
void AskNoMore() { ::unsetenv("BRAID_FAIL"); }

TEST(FailEverywhere, OneThingAlone) {
  Ask("call:2");
  int runs = 0, failures = 0;
  FailEverywhere(
      []() -> Task<absl::Status> {
        UdpSocket one = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
        UdpSocket two = co_await OrReturn(UdpSocket::Bind("127.0.0.1:0"));
        co_return absl::OkStatus();
      },
      [&](const absl::Status& status) {
        ++runs;
        if (!status.ok()) ++failures;
      },
      kCallsOnce);
  AskNoMore();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(failures, 1);
}

TEST(FailEverywhereDeathTest, AThingThatThereIsNotIsRefused) {
  Ask("calls:2");
  EXPECT_DEATH(FailEverywhere([]() -> Task<void> { co_return; }),
               "allocation:N, call:N or deadline:N");
  AskNoMore();
}

}  // namespace
}  // namespace braid
