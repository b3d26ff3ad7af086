// Deadlines and cancellation: both directions, at every point.
#include "braid/rpc/testing/rpc_test_world.h"

namespace braid::rpc {
namespace {

// What happened to handlers, seen from outside.
struct Log {
  int started = 0;
  int running = 0;  // between their first and last line
  int cleaned_up = 0;
  Time deadline = kNever;  // of the last handler's scope
  Time now = kNever;       // when that was
};

// Counts a handler as running for as long as its frame exists.
class Running {
 public:
  explicit Running(Log* log) : log_(log) {
    ++log->started;
    ++log->running;
    log->deadline = CurrentDeadline();
    log->now = Now();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() { --log_->running; }

 private:
  Log* log_;
};

class SlowService final : public Testing::Service {
 public:
  explicit SlowService(Log* log) : log_(log) {}

  Task<absl::StatusOr<Reply>> Unary(ServerContext& context,
                                    Request request) override {
    Running running(log_);
    Reply reply;
    if (request.command() == "sleep") {
      co_await SleepFor(std::chrono::milliseconds(request.number()));
    } else if (request.command() == "hang") {
      co_await SleepForever();
    } else if (request.command() == "fail late") {
      co_return absl::DeadlineExceededError("something else took too long");
    } else if (request.command() == "clean up") {
      co_return co_await Finally(
          [&]() -> Task<absl::StatusOr<Reply>> {
            co_await SleepForever();
            co_return Reply();
          },
          [&]() -> Task<void> {
            co_await SleepFor(20ms);
            ++log_->cleaned_up;
          });
    } else if (request.command() == "children") {
      co_return co_await WithTaskGroup(
          [&](TaskGroup& group) -> Task<absl::StatusOr<Reply>> {
            for (int i = 0; i < 3; ++i) {
              group.Start("child", [&]() -> Task<void> {
                Running child(log_);
                co_await SleepForever();
              });
            }
            co_await OrReturn(group.Join());
            co_return Reply();
          });
    } else if (request.command() == "shield") {
      co_await Shield(SleepFor(200ms));
      reply.set_text("late");
    }
    reply.set_number(context.deadline() == kNever ? 0 : 1);
    co_return reply;
  }

  Task<absl::StatusOr<Reply>> Upload(ServerContext&,
                                     Source<Request> requests) override {
    Running running(log_);
    Reply reply;
    while (auto request = co_await OrReturn(requests.Receive())) {
      reply.set_number(reply.number() + 1);
    }
    ++log_->cleaned_up;  // the client said that this was all
    co_return reply;
  }

  Task<absl::Status> Download(ServerContext&, Request request,
                              Sink<Reply> replies) override {
    Running running(log_);
    for (int64_t i = 0;; ++i) {
      Reply reply;
      reply.set_number(i);
      reply.set_text(request.text());
      if (request.command() == "patient") {
        // Gives up on a message now and then; it is not sent then.
        auto sent = co_await MoveOnAfter(1ms, replies.Send(reply));
        if (!sent.has_value()) --i;
        if (i == 99) co_return absl::OkStatus();
        continue;
      }
      co_await OrReturn(replies.Send(reply));
      if (request.number() > 0 && i + 1 == request.number()) {
        co_await SleepForever();
      }
    }
  }

  Task<absl::Status> Talk(ServerContext&, Source<Request> requests,
                          Sink<Reply> replies) override {
    Running running(log_);
    while (auto request = co_await OrReturn(requests.Receive())) {
      co_await SleepFor(std::chrono::milliseconds(request->number()));
      Reply reply;
      reply.set_text(request->text());
      co_await OrReturn(replies.Send(reply));
    }
    co_return absl::OkStatus();
  }

 private:
  Log* log_;
};

class CancellationTest : public testing::TestWithParam<Carrier> {
 protected:
  template <typename Body>
  void Run(Body body, const ServerOptions& options = {}) {
    RunWorld(
        GetParam(),
        [this] {
          log_ = Log();
          return std::make_unique<SlowService>(&log_);
        },
        body, options);
    EXPECT_EQ(log_.running, 0);
  }

  Log log_;
};

INSTANTIATE_TEST_SUITE_P(, CancellationTest, EveryCarrier(),
                         testing::PrintToStringParamName());

// --- Deadlines ---

TEST_P(CancellationTest, TheScopesDeadlineIsTheCalls) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    Reply reply = co_await OrReturn(client.Unary(MakeRequest("")));
    EXPECT_EQ(reply.number(), 0);
    EXPECT_EQ(log_.deadline, kNever);

    const Time deadline = Now() + 10s;
    reply = co_await OrReturn(FailAt(deadline, client.Unary(MakeRequest(""))));
    EXPECT_EQ(reply.number(), 1);
    if (world.on_virtual_time()) {
      EXPECT_EQ(log_.deadline, deadline);
    } else {
      EXPECT_GT(log_.deadline, log_.now + 5s);
      EXPECT_LT(log_.deadline, deadline + 1s);
    }
    // The nearest of all counts, the call's own included. gRPC sends about
    // three digits of what is left, rounded up.
    const Duration kTenSeconds = world.on_virtual_time() ? 10s : 10'200ms;
    reply = co_await OrReturn(FailAfter(
        100s, client.Unary(MakeRequest(""), CallOptions().Timeout(10s))));
    EXPECT_LE(log_.deadline, log_.now + kTenSeconds);
    reply = co_await OrReturn(FailAfter(
        10s, client.Unary(MakeRequest(""), CallOptions().Timeout(100s))));
    EXPECT_LE(log_.deadline, log_.now + kTenSeconds);
    // A shield hides what is outside.
    absl::StatusOr<Reply> shielded =
        co_await FailAfter(10s, Shield(client.Unary(MakeRequest(""))));
    EXPECT_TRUE(shielded.ok());
    EXPECT_EQ(log_.deadline, kNever);
    co_return absl::OkStatus();
  });
}

// A deadline set at the edge bounds every hop behind it.
TEST_P(CancellationTest, ADeadlineCrossesHops) {
  class Hop final : public Testing::Service {
   public:
    explicit Hop(std::optional<Testing::Client>* next) : next_(next) {}
    Task<absl::StatusOr<Reply>> Unary(ServerContext&,
                                      Request request) override {
      if (request.number() == 0) {
        Reply reply;
        reply.set_number((CurrentDeadline() - Now()).count());
        co_return reply;
      }
      request.set_number(request.number() - 1);
      co_return co_await (*next_)->Unary(request);
    }

   private:
    std::optional<Testing::Client>* next_;
  };
  std::optional<Testing::Client> next;
  RunWorld(
      GetParam(), [&] { return std::make_unique<Hop>(&next); },
      [&](World& world) -> Task<absl::Status> {
        next = world.client();
        Reply reply = co_await OrReturn(
            FailAfter(10s, next->Unary(MakeRequest("", "", 3))));
        EXPECT_GT(reply.number(), Duration(5s).count());
        EXPECT_LT(reply.number(), Duration(11s).count());
        next.reset();
        co_return absl::OkStatus();
      });
}

TEST_P(CancellationTest, AScopeThatFiresStopsBothSides) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    const Time start = Now();
    auto reply = co_await MoveOnAfter(30ms, client.Unary(MakeRequest("hang")));
    EXPECT_FALSE(reply.has_value());
    if (world.on_virtual_time()) EXPECT_EQ(Now() - start, 30ms);
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    EXPECT_EQ(log_.started, 1);
    co_return absl::OkStatus();
  });
}

// The call's own clock and the scope's run out together, again and again: it
// must be the scope that the caller hears of, every time.
TEST_P(CancellationTest, TheScopeWinsAgainstItsOwnDeadline) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    for (int i = 0; i < 100; ++i) {
      const Duration limit = std::chrono::microseconds(500 + 17 * i);
      auto reply =
          co_await MoveOnAfter(limit, client.Unary(MakeRequest("hang")));
      EXPECT_FALSE(reply.has_value()) << reply->status();

      auto stream = co_await MoveOnAfter(
          limit, [&]() -> Task<absl::StatusOr<std::optional<Reply>>> {
            auto talk = client.Talk();
            co_return co_await talk.Receive();
          });
      EXPECT_FALSE(stream.has_value()) << stream->status();
    }
    co_return absl::OkStatus();
  });
}

TEST_P(CancellationTest, ACallsOwnTimeoutIsAResult) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    const Time start = Now();
    auto reply = co_await MoveOnAfter(
        10s, client.Unary(MakeRequest("hang"), CallOptions().Timeout(30ms)));
    EXPECT_TRUE(reply.has_value());
    EXPECT_EQ(reply->status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_GE(Now() - start, 30ms);
    if (world.on_virtual_time()) EXPECT_EQ(Now() - start, 30ms);

    auto download =
        client.Download(MakeRequest("", "", 1), CallOptions().Timeout(50ms));
    auto first = co_await OrReturn(download.Receive());
    EXPECT_TRUE(first.has_value());
    auto end = co_await download.Receive();
    EXPECT_EQ(end.status().code(), absl::StatusCode::kDeadlineExceeded);
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    co_return absl::OkStatus();
  });
}

// What a server says long before the deadline is its answer, not the scope's.
TEST_P(CancellationTest, AnEarlyDeadlineExceededIsAResult) {
  Run([&](World& world) -> Task<absl::Status> {
    const Time start = Now();
    auto reply = co_await MoveOnAfter(
        10s, world.client().Unary(MakeRequest("fail late")));
    EXPECT_TRUE(reply.has_value());
    EXPECT_EQ(reply->status().message(), "something else took too long");
    EXPECT_LT(Now() - start, 5s);
    co_return absl::OkStatus();
  });
}

// The scope's deadline moved after the call had begun with it.
TEST_P(CancellationTest, ADeadlineThatMovedAway) {
  Run([&](World& world) -> Task<absl::Status> {
    CancelScope scope(Now() + 30ms);
    std::optional<absl::StatusOr<Reply>> reply =
        co_await scope.Run([&]() -> Task<absl::StatusOr<Reply>> {
          co_return co_await WithTaskGroup(
              [&](TaskGroup& group) -> Task<absl::StatusOr<Reply>> {
                group.Start("mover", [&]() -> Task<void> {
                  co_await SleepFor(5ms);
                  scope.SetDeadline(Now() + 10s);
                });
                co_return co_await world.client().Unary(MakeRequest("hang"));
              });
        });
    EXPECT_TRUE(reply.has_value());
    EXPECT_EQ(reply->status().code(), absl::StatusCode::kDeadlineExceeded);
    co_return absl::OkStatus();
  });
}

// --- Cancellation by the client ---

TEST_P(CancellationTest, BeforeTheStart) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    CancelScope scope;
    scope.Cancel();
    auto reply = co_await scope.Run(client.Unary(MakeRequest("")));
    EXPECT_FALSE(reply.has_value());
    co_await world.Settle();
    EXPECT_EQ(log_.started, 0);
    EXPECT_EQ(world.server().stats().accepted, 0u);

    // A stream begins where it is made; its first receive is stopped.
    CancelScope second;
    second.Cancel();
    auto stream = co_await second.Run(
        [&]() -> Task<absl::StatusOr<std::optional<Reply>>> {
          auto download = client.Download(MakeRequest(""));
          co_return co_await download.Receive();
        });
    EXPECT_FALSE(stream.has_value());
    co_await world.Settle();
    EXPECT_EQ(log_.running, 0);
    co_return absl::OkStatus();
  });
}

TEST_P(CancellationTest, WhileItWaits) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    CancelScope scope;
    auto call = scope.Run(client.Unary(MakeRequest("hang")));
    auto cancel = [&]() -> Task<void> {
      bool started = co_await world.Until([&] { return log_.running == 1; });
      EXPECT_TRUE(started);
      scope.Cancel("enough");
      scope.Cancel("twice");
    };
    auto [reply, done] = co_await AllOf(std::move(call), cancel);
    EXPECT_FALSE(reply.has_value());
    EXPECT_TRUE(scope.caught());
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    co_return absl::OkStatus();
  });
}

// Cancelled in the same moment in which the reply is there: the reply or a
// stop, and never anything else.
TEST_P(CancellationTest, AtCompletion) {
  int replies = 0;
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    for (int i = 0; i < 200; ++i) {
      CancelScope scope;
      auto cancel = [&]() -> Task<void> {
        if (world.on_virtual_time()) {
          // The reply takes its way in some turns of the loop.
          for (int n = 0; n < 20 * i; ++n) co_await Checkpoint();
        } else {
          co_await SleepFor(std::chrono::microseconds(10 * i));
        }
        scope.Cancel();
      };
      auto [reply, done] =
          co_await AllOf(scope.Run(client.Unary(MakeRequest("echo"))), cancel);
      if (reply.has_value()) {
        EXPECT_TRUE(reply->ok()) << reply->status();
        ++replies;
      }
    }
    bool none = co_await world.Until(
        [&] { return world.server().stats().active == 0; });
    EXPECT_TRUE(none);
    co_return absl::OkStatus();
  });
  EXPECT_GT(replies, 0);
}

TEST_P(CancellationTest, CallsInCleanUp) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    std::optional<absl::StatusOr<Reply>> last;
    auto outcome = co_await MoveOnAfter(
        10ms, Finally(SleepForever(), [&]() -> Task<void> {
          last = co_await client.Unary(MakeRequest("sleep", "", 20));
        }));
    EXPECT_FALSE(outcome);
    EXPECT_TRUE(last.has_value() && last->ok());
    // And one that is itself stopped, by the clean-up's limit.
    last.reset();
    outcome = co_await MoveOnAfter(
        10ms, Finally(
                  SleepForever(),
                  [&]() -> Task<void> {
                    last = co_await client.Unary(MakeRequest("hang"));
                  },
                  30ms));
    EXPECT_FALSE(last.has_value());
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    co_return absl::OkStatus();
  });
}

// Makes a call and cancels it once its handler runs: on a slow machine that
// took longer than any time that was given to it.
Task<absl::Status> CancelOnceItRuns(World& world, const Log& log,
                                    std::string command) {
  Testing::Client client = world.client();
  const int before = log.started;
  auto [reply, runs] =
      co_await AnyOf(client.Unary(MakeRequest(std::move(command))),
                     world.Until([&] { return log.started > before; }));
  EXPECT_FALSE(reply.has_value());
  EXPECT_TRUE(runs.value_or(false));
  co_return absl::OkStatus();
}

// The answer goes out after the handler and all it started have ended.
TEST_P(CancellationTest, AHandlersCleanUpIsWaitedFor) {
  Run([&](World& world) -> Task<absl::Status> {
    co_await OrReturn(CancelOnceItRuns(world, log_, "clean up"));
    bool started = co_await world.Until([&] { return log_.cleaned_up == 1; });
    EXPECT_TRUE(started);
    co_await OrReturn(CancelOnceItRuns(world, log_, "children"));
    bool stopped = co_await world.Until([&] {
      return log_.running == 0 && world.server().stats().active == 0;
    });
    EXPECT_TRUE(stopped);
    co_return absl::OkStatus();
  });
}

// A handler that can't stop at once may go on; nobody waits for it but the
// server.
TEST_P(CancellationTest, AShieldedHandlerEndsItsWork) {
  Run([&](World& world) -> Task<absl::Status> {
    co_await OrReturn(CancelOnceItRuns(world, log_, "shield"));
    EXPECT_EQ(log_.running, 1);
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    co_return absl::OkStatus();
  });
}

// --- Streams ---

TEST_P(CancellationTest, AStoppedReceiveLosesNothing) {
  Run([&](World& world) -> Task<absl::Status> {
    auto talk = world.client().Talk();
    int stopped = 0;
    for (int i = 0; i < 20; ++i) {
      co_await OrReturn(talk.Send(MakeRequest("", std::to_string(i), 7)));
      for (;;) {
        auto reply = co_await MoveOnAfter(3ms, talk.Receive());
        if (reply.has_value()) {
          EXPECT_TRUE(reply->ok());
          EXPECT_EQ((**reply)->text(), std::to_string(i));
          break;
        }
        ++stopped;
      }
    }
    EXPECT_GE(stopped, 20);
    co_return absl::OkStatus();
  });
}

// Nothing of what was stopped before it began has happened: the server sees the
// messages around it, and the end where it was said.
TEST_P(CancellationTest, AStreamsOperationsBeforeTheyStart) {
  Run([&](World& world) -> Task<absl::Status> {
    const auto stopped = [](auto operation) -> Task<bool> {
      CancelScope scope;
      scope.Cancel();
      auto result = co_await scope.Run(std::move(operation));
      co_return !result.has_value();
    };
    auto talk = world.client().Talk();
    EXPECT_TRUE(co_await stopped(talk.Send(MakeRequest("", "never"))));
    co_await OrReturn(talk.Send(MakeRequest("", "first")));
    EXPECT_TRUE(co_await stopped(talk.Receive()));
    EXPECT_TRUE(co_await stopped(talk.CloseSend()));
    co_await OrReturn(talk.Send(MakeRequest("", "second")));
    for (const char* text : {"first", "second"}) {
      auto reply = co_await OrReturn(talk.Receive());
      EXPECT_TRUE(reply.has_value() && reply->text() == text);
    }
    co_await OrReturn(talk.CloseSend());
    EXPECT_EQ(co_await OrReturn(talk.Receive()), std::nullopt);

    auto upload = world.client().Upload();
    co_await OrReturn(upload.Send(MakeRequest("")));
    EXPECT_TRUE(co_await stopped(upload.Finish()));
    co_await OrReturn(upload.Send(MakeRequest("")));
    Reply reply = co_await OrReturn(upload.Finish());
    EXPECT_EQ(reply.number(), 2);
    co_return absl::OkStatus();
  });
}

// Cancelled in about the moment in which a message has been taken or is there:
// each arrives once, in order, whoever came first.
TEST_P(CancellationTest, AStreamsOperationsAtCompletion) {
  int completed = 0;
  Run([&](World& world) -> Task<absl::Status> {
    const auto race = [&](int i, auto operation) -> Task<bool> {
      CancelScope scope;
      auto cancel = [&]() -> Task<void> {
        for (int n = 0; n < i; ++n) co_await Checkpoint();
        scope.Cancel();
      };
      auto [result, done] =
          co_await AllOf(scope.Run(std::move(operation)), cancel);
      co_return result.has_value();
    };
    auto talk = world.client().Talk();
    std::vector<std::string> sent;
    for (int i = 0; i < 200; ++i) {
      const std::string text = std::to_string(i);
      if (co_await race(i % 20, talk.Send(MakeRequest("", text)))) {
        sent.push_back(text);
      }
    }
    EXPECT_FALSE(sent.empty());
    std::vector<std::string> received;
    const auto receive = [&]() -> Task<absl::Status> {
      auto reply = co_await OrReturn(talk.Receive());
      EXPECT_TRUE(reply.has_value());
      if (reply.has_value()) received.push_back(reply->text());
      co_return absl::OkStatus();
    };
    for (int i = 0; received.size() < sent.size(); ++i) {
      const size_t before = received.size();
      const bool has = co_await race(i % 20, receive());
      EXPECT_EQ(received.size(), before + (has ? 1 : 0));
      completed += has;
      if (!has) co_await world.Settle();
    }
    EXPECT_EQ(received, sent);
    co_await OrReturn(talk.CloseSend());
    EXPECT_EQ(co_await OrReturn(talk.Receive()), std::nullopt);
    co_return absl::OkStatus();
  });
  EXPECT_GT(completed, 0);
}

// The writer is held up, tries with a limit, and never sends a message twice or
// leaves one out.
TEST_P(CancellationTest, AStoppedSendHasSentNothing) {
  Run([&](World& world) -> Task<absl::Status> {
    const std::string text(world.in_memory() ? 1 : 100'000, 'x');
    auto download = world.client().Download(MakeRequest("patient", text));
    int64_t next = 0;
    while (auto reply = co_await OrReturn(download.Receive())) {
      EXPECT_EQ(reply->number(), next++);
      co_await SleepFor(3ms);
    }
    EXPECT_EQ(next, 100);
    co_return absl::OkStatus();
  });
}

TEST_P(CancellationTest, ASlowReaderHoldsTheWriterUp) {
  Run([&](World& world) -> Task<absl::Status> {
    auto download =
        world.client().Download(MakeRequest("", std::string(100'000, 'x')));
    auto first = co_await OrReturn(download.Receive());
    EXPECT_TRUE(first.has_value());
    co_await world.Settle();
    // It would have sent for ever; the call goes with the handle.
    co_return absl::OkStatus();
  });
}

TEST_P(CancellationTest, DroppingAStreamCancelsIt) {
  Run([&](World& world) -> Task<absl::Status> {
    Testing::Client client = world.client();
    {
      auto download = client.Download(MakeRequest("", "", 1));
      auto first = co_await OrReturn(download.Receive());
      EXPECT_TRUE(first.has_value());
    }
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    {
      // Before anything has happened at all.
      auto talk = client.Talk();
      auto upload = client.Upload();
    }
    co_await world.Settle();
    stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    co_return absl::OkStatus();
  });
}

TEST_P(CancellationTest, AStreamsCancelEndsIt) {
  Run([&](World& world) -> Task<absl::Status> {
    auto download = world.client().Download(MakeRequest("", "", 1));
    auto first = co_await OrReturn(download.Receive());
    EXPECT_TRUE(first.has_value());
    download.Cancel();
    download.Cancel();
    auto end = co_await download.Receive();
    EXPECT_EQ(end.status().code(), absl::StatusCode::kCancelled);
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    co_return absl::OkStatus();
  });
}

// A client that goes away in the middle of its messages must not look like one
// that has sent them all.
TEST_P(CancellationTest, ATornUploadIsNoEnd) {
  Run([&](World& world) -> Task<absl::Status> {
    for (int i = 0; i < 10; ++i) {
      auto upload = world.client().Upload();
      co_await OrReturn(upload.Send(MakeRequest("")));
      bool started =
          co_await world.Until([&] { return log_.started == i + 1; });
      EXPECT_TRUE(started);
    }
    bool stopped = co_await world.Until([&] { return log_.running == 0; });
    EXPECT_TRUE(stopped);
    EXPECT_EQ(log_.cleaned_up, 0);
    co_return absl::OkStatus();
  });
}

// --- Many ---

TEST_P(CancellationTest, TenThousandCancelledCallsLeaveNothing) {
  constexpr int kCalls = 10'000;
  constexpr int kAtOnce = 500;
  ServerOptions options;
  options.max_concurrent_calls = size_t{2} * kAtOnce;
  Run(
      [&](World& world) -> Task<absl::Status> {
        Testing::Client client = world.client();
        // The server takes connections by now.
        co_await OrReturn(client.Unary(MakeRequest("")));
        const size_t tasks = detail::Loop::Current().stats().tasks_alive;
        int stopped = 0;
        for (int done = 0; done < kCalls; done += kAtOnce) {
          co_await OrReturn(
              WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
                for (int i = 0; i < kAtOnce; ++i) {
                  group.Start("call", [&, i]() -> Task<void> {
                    auto reply = co_await MoveOnAfter(
                        std::chrono::microseconds(37 * (i % 100)),
                        client.Unary(MakeRequest("hang")));
                    if (!reply.has_value()) ++stopped;
                  });
                }
                co_return co_await group.Join();
              }));
          bool none = co_await world.Until(
              [&] { return world.server().stats().active == 0; });
          EXPECT_TRUE(none);
          if (testing::Test::HasFailure()) break;
        }
        EXPECT_EQ(stopped, kCalls);
        // Those that the client gave up first may still be on their way.
        absl::StatusOr<Reply> after = absl::UnknownError("not called");
        for (int i = 0; i < 1000 && !after.ok(); ++i) {
          co_await SleepFor(5ms);
          after = co_await client.Unary(MakeRequest(""));
        }
        EXPECT_TRUE(after.ok()) << after.status();
        bool none = co_await world.Until([&] {
          return world.server().stats().active == 0 &&
                 (!world.in_memory() || world.calls() == 0);
        });
        EXPECT_TRUE(none);
        EXPECT_EQ(detail::Loop::Current().stats().tasks_alive, tasks);
        co_return absl::OkStatus();
      },
      options);
}

}  // namespace
}  // namespace braid::rpc
