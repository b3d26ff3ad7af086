// ToThread and mailboxes under cancellation: no function runs that was given
// up, no result, item or token is lost.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/asio/asio_backend.h"
#include "braid/backend/every_backend.h"
#include "braid/backend/wrapped_host.h"
#include "braid/core/core.h"
#include "braid/net/cancellation_cases.h"
#include "braid/testing/cancel_everywhere.h"
#include "braid/thread/mailbox.h"
#include "braid/thread/sharded.h"
#include "braid/thread/to_thread.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Mailboxes, by the table that sockets are tested by.

class MailboxReceive final : public CancellationCase {
 public:
  Task<absl::Status> Open() override { co_return absl::OkStatus(); }
  Task<absl::Status> Wait() override {
    EXPECT_EQ(co_await OrReturn(mailbox_.receiver.Receive()), completed);
    ++completed;
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    co_return co_await mailbox_.sender.Send(released++);
  }

 private:
  Mailbox<int> mailbox_ = MakeMailbox<int>(8);
};

// The sending side, of a mailbox that is full at first: each Release makes room
// for one.
class MailboxSend final : public CancellationCase {
 public:
  Task<absl::Status> Open() override {
    for (int i = -kCapacity; i < 0; ++i)
      co_await OrReturn(mailbox_.sender.Send(std::make_unique<int>(i)));
    co_return absl::OkStatus();
  }
  Task<absl::Status> Wait() override {
    if (item_ == nullptr) item_ = std::make_unique<int>(completed);
    co_await OrReturn(mailbox_.sender.Send(std::move(item_)));
    EXPECT_EQ(item_, nullptr);
    ++completed;
    co_return absl::OkStatus();
  }
  Task<absl::Status> Release() override {
    const std::unique_ptr<int> item =
        *co_await OrReturn(mailbox_.receiver.TryReceive());
    EXPECT_EQ(*item, released++ - kCapacity);
    co_return absl::OkStatus();
  }

 private:
  static constexpr int kCapacity = 16;
  Mailbox<std::unique_ptr<int>> mailbox_ =
      MakeMailbox<std::unique_ptr<int>>(kCapacity);
  std::unique_ptr<int> item_;  // stays here if it isn't sent
};

INSTANTIATE_TEST_SUITE_P(
    Thread, IoCancellationTest,
    testing::Values(CancellationParam{"MailboxReceive",
                                      MakeCase<MailboxReceive>},
                    CancellationParam{"MailboxSend", MakeCase<MailboxSend>}),
    NameOf);

// Loops that send and one that receives, all of little patience.
TEST(MailboxCancellationTest, ARaceBetweenLoopsLosesNothing) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    constexpr int kShards = 3;
    constexpr int kEach = 300;
    auto [sender, receiver] = MakeMailbox<std::pair<int, int>>(2);
    std::atomic<int> stopped_sending = 0;
    int stopped_receiving = 0;
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("shards",
                      [&stopped_sending,
                       sender = std::move(sender)]() -> Task<absl::Status> {
                        co_return co_await RunSharded(
                            kShards, [&](Shard shard) -> Task<absl::Status> {
                              MailboxSender<std::pair<int, int>> mine = sender;
                              for (int i = 0, tries = 0; i < kEach; ++tries) {
                                auto sent = co_await MoveOnAfter(
                                    std::chrono::microseconds(tries % 20),
                                    mine.Send(std::pair(shard.index, i)));
                                if (sent.has_value()) {
                                  co_await OrReturn(*sent);
                                  ++i;
                                } else {
                                  ++stopped_sending;
                                  co_await SleepFor(5us);
                                }
                              }
                              co_return absl::OkStatus();
                            });
                      });
          std::vector<int> next(kShards, 0);
          for (int i = 0;; ++i) {
            auto received = co_await MoveOnAfter(
                std::chrono::microseconds(i % 30), receiver.Receive());
            if (!received.has_value()) {
              ++stopped_receiving;
              if (i % 16 == 0) co_await SleepFor(20us);
              continue;
            }
            const std::optional<std::pair<int, int>> item =
                co_await OrReturn(*std::move(received));
            if (!item.has_value()) break;
            EXPECT_EQ(item->second, next[item->first]++);
          }
          EXPECT_EQ(next, std::vector<int>(kShards, kEach));
          co_return co_await group.Join();
        }));
    EXPECT_GT(stopped_receiving, 0) << "or this tests nothing";
    EXPECT_GT(stopped_sending.load(), 0) << "or this tests nothing";
    co_return absl::OkStatus();
  });
}

// A machine whose worker threads are the test: it begins and runs what was
// handed over, when it likes, also on the loop's own thread.
class HeldJobs final : public WrappedHost {
 public:
  absl::Status StartJob(std::shared_ptr<HostJob> job) override {
    if (begin_at_once) EXPECT_TRUE(job->Begin());
    jobs.push_back(std::move(job));
    return absl::OkStatus();
  }

  std::vector<std::shared_ptr<HostJob>> jobs;
  bool begin_at_once = false;
};

// Counts how many of it there are.
class Counted {
 public:
  explicit Counted(int* count) : count_(count) { ++*count_; }
  Counted(Counted&& other) noexcept
      : count_(std::exchange(other.count_, nullptr)) {}
  Counted& operator=(Counted&&) = delete;
  ~Counted() {
    if (count_ != nullptr) --*count_;
  }

 private:
  int* count_;
};

// Runs `test(host, group)` on such a machine, with abandon_on_cancel and
// without.
template <typename F>
void OnHeldJobs(F test) {
  for (const bool abandon : {false, true}) {
    SCOPED_TRACE(abandon ? "abandoned" : "not abandoned");
    auto host = std::make_shared<HeldJobs>();
    absl::StatusOr<std::unique_ptr<Backend>> backend = MakeAsioBackend(host);
    ASSERT_TRUE(backend.ok());
    const absl::Status status =
        braid::Run(**backend, [&]() -> Task<absl::Status> {
          co_return co_await WithTaskGroup(
              [&](TaskGroup& group) -> Task<absl::Status> {
                co_await test(*host, group, abandon);
                co_await SleepFor(1us);  // what was posted has been looked at
                EXPECT_EQ(DefaultThreadLimiter().borrowed(), 0u);
                co_return co_await group.Join();
              });
        });
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(ToThreadCancellationTest, BeforeStart) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    for (const bool abandon : {false, true}) {
      int alive = 0;
      bool ran = false;
      CancelScope scope;
      scope.Cancel();
      EXPECT_FALSE(co_await scope.Run(
          ToThread([&ran, counted = Counted(&alive)] { ran = true; },
                   {.abandon_on_cancel = abandon})));
      EXPECT_EQ(alive, 0);
      EXPECT_FALSE(ran);
      EXPECT_EQ(DefaultThreadLimiter().borrowed(), 0u);
    }
    co_return absl::OkStatus();
  });
}

TEST(ToThreadCancellationTest, WhileItWaitsForAToken) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    CapacityLimiter limiter(1);
    std::optional<CapacityLimiter::Token> token = limiter.TryAcquire();
    for (const bool abandon : {false, true}) {
      bool ran = false;
      EXPECT_FALSE(co_await MoveOnAfter(
          1ms, ToThread([&ran] { ran = true; },
                        {.abandon_on_cancel = abandon, .limiter = &limiter})));
      EXPECT_FALSE(ran);
      EXPECT_EQ(limiter.stats().tasks_waiting, 0u);
    }
    token.reset();
    EXPECT_EQ(limiter.borrowed(), 0u);
    EXPECT_EQ(co_await ToThread([] { return 1; }, {.limiter = &limiter}), 1);
    co_return absl::OkStatus();
  });
}

TEST(ToThreadCancellationTest, WhileItWaitsForAThread) {
  OnHeldJobs([](HeldJobs& host, TaskGroup& group, bool abandon) -> Task<void> {
    int alive = 0;
    auto task = group.Start("job", [&]() -> Task<void> {
      co_await ToThread(
          [counted = Counted(&alive)] { ADD_FAILURE() << "it ran"; },
          {.abandon_on_cancel = abandon});
    });
    co_await UntilWaiting("job");
    EXPECT_EQ(host.jobs.size(), 1u);
    EXPECT_EQ(alive, 1);
    task.Cancel();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_EQ(alive, 0) << "the function goes at once";
    EXPECT_EQ(DefaultThreadLimiter().borrowed(), 0u);
    EXPECT_FALSE(host.jobs[0]->Begin());
  });
}

TEST(ToThreadCancellationTest, WhileItRuns) {
  OnHeldJobs([](HeldJobs& host, TaskGroup& group, bool abandon) -> Task<void> {
    int functions = 0;
    int results = 0;
    bool asked_to_stop = false;
    bool went_on = false;
    auto task = group.Start("job", [&]() -> Task<void> {
      std::optional<Counted> result;
      result.emplace(co_await ToThread(
          [&, counted = Counted(&functions)](std::stop_token stop) {
            asked_to_stop = stop.stop_requested();
            return Counted(&results);
          },
          {.abandon_on_cancel = abandon}));
      EXPECT_EQ(results, 1);
      EXPECT_EQ(functions, 0);
      went_on = true;
      co_await Checkpoint();
      ADD_FAILURE() << "the next checkpoint stops";
    });
    co_await UntilWaiting("job");
    EXPECT_TRUE(host.jobs[0]->Begin());
    task.Cancel();
    task.Cancel();
    if (abandon) {
      EXPECT_TRUE((co_await task.Join()).stopped());
    } else {
      co_await Checkpoint();
      EXPECT_FALSE(task.done());
    }
    EXPECT_EQ(functions, 1);
    EXPECT_EQ(DefaultThreadLimiter().borrowed(), 1u) << "as long as it runs";
    host.jobs[0]->Run();
    EXPECT_TRUE(asked_to_stop);
    EXPECT_TRUE((co_await task.Join()).stopped());
    co_await Checkpoint();
    EXPECT_EQ(went_on, !abandon);
    EXPECT_EQ(functions, 0);
    EXPECT_EQ(results, 0);
  });
}

TEST(ToThreadCancellationTest, BetweenCompletionAndResumption) {
  OnHeldJobs([](HeldJobs& host, TaskGroup& group, bool abandon) -> Task<void> {
    int value = 0;
    auto task = group.Start("job", [&]() -> Task<void> {
      value =
          co_await ToThread([] { return 7; }, {.abandon_on_cancel = abandon});
      co_await Checkpoint();
      ADD_FAILURE() << "the next checkpoint stops";
    });
    co_await UntilWaiting("job");
    EXPECT_TRUE(host.jobs[0]->Begin());
    host.jobs[0]->Run();
    task.Cancel();  // the loop has not looked yet
    task.Cancel();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_EQ(value, 7);
  });
}

TEST(ToThreadCancellationTest, ByTwoScopes) {
  OnHeldJobs([](HeldJobs& host, TaskGroup& group, bool abandon) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    int values = 0;
    auto task = group.Start("job", [&]() -> Task<void> {
      (void)co_await outer.Run([&]() -> Task<void> {
        std::optional<int> value = co_await inner.Run(
            ToThread([] { return 1; }, {.abandon_on_cancel = abandon}));
        // It completed, though both are cancelled.
        values += value.value_or(0);
        co_await Checkpoint();
        ADD_FAILURE() << "the outer one is cancelled too";
      });
    });
    co_await UntilWaiting("job");
    EXPECT_TRUE(host.jobs[0]->Begin());
    inner.Cancel();
    outer.Cancel();
    inner.Cancel();
    co_await Checkpoint();
    host.jobs[0]->Run();
    EXPECT_TRUE((co_await task.Join()).ok());
    EXPECT_EQ(values, abandon ? 0 : 1);
    co_await Checkpoint();
  });
}

TEST(ToThreadCancellationTest, InCleanUp) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    bool ran = false;
    auto clean_up = [&]() -> Task<void> {
      co_await ToThread([&] { ran = true; });
    };
    EXPECT_FALSE(co_await MoveOnAfter(1ms, Finally(SleepForever(), clean_up)));
    EXPECT_TRUE(ran) << "clean-up is shielded";
    co_return absl::OkStatus();
  });
}

TEST(ToThreadCancellationTest, InCleanUpThatTakesTooLong) {
  OnHeldJobs([](HeldJobs& host, TaskGroup& group, bool abandon) -> Task<void> {
    host.begin_at_once = true;
    bool ran = false;
    auto task = group.Start("cleaner", [&]() -> Task<void> {
      co_await Finally(
          SleepForever(),
          [&]() -> Task<void> {
            co_await ToThread([&ran] { ran = true; },
                              {.abandon_on_cancel = abandon});
          },
          1ms);
    });
    co_await UntilWaiting("cleaner");
    task.Cancel();
    while (host.jobs.empty()) co_await SleepFor(100us);
    if (abandon) EXPECT_TRUE((co_await task.Join()).stopped());
    if (!abandon) co_await SleepFor(2ms);
    EXPECT_EQ(task.done(), abandon);
    host.jobs[0]->Run();
    EXPECT_TRUE((co_await task.Join()).stopped());
    EXPECT_TRUE(ran);
    co_await Checkpoint();
  });
}

// A function that waits for its token on a real thread gives up when it is
// asked to.
TEST(ToThreadCancellationTest, AFunctionHearsThatItMayGiveUp) {
  RunOnRealBackends("a thread that waits", []() -> Task<absl::Status> {
    for (const bool callback : {false, true}) {
      CancelScope scope;
      auto gave_up = co_await scope.Run(ToThread(
          [callback, &scope, portal = Portal::Current()](std::stop_token stop) {
            EXPECT_FALSE(stop.stop_requested());
            EXPECT_TRUE(portal.Post([&scope] { scope.Cancel(); }));
            if (callback) {
              std::promise<void> asked;
              const std::stop_callback tell(stop, [&] { asked.set_value(); });
              asked.get_future().wait();
            }
            while (!stop.stop_requested()) std::this_thread::yield();
            return true;
          }));
      // A single operation is atomic: its value is delivered.
      EXPECT_EQ(gave_up, true);
    }
    co_return absl::OkStatus();
  });
}

// In the simulation cancels come before, while and after it runs.
TEST(ToThreadCancellationTest, EveryTimeOfACancel) {
  int stopped = 0;
  int completed = 0;
  int gave_up = 0;
  int abandoned = 0;
  for (int us = 0; us < 1100; us += 7) {
    RunOnBackend("sim", [&, us]() -> Task<absl::Status> {
      int alive = 0;
      for (const bool abandon : {false, true}) {
        bool ran = false;
        auto result = co_await MoveOnAfter(
            std::chrono::microseconds(us),
            ToThread(
                [&ran, &gave_up,
                 counted = Counted(&alive)](std::stop_token stop) {
                  ran = true;
                  if (stop.stop_requested()) ++gave_up;
                  return 1;
                },
                {.abandon_on_cancel = abandon}));
        if (!abandon) EXPECT_EQ(ran, result.has_value());
        ++(result.has_value() ? completed : stopped);
        co_await SleepFor(2ms);
        if (!result.has_value() && ran) ++abandoned;
        EXPECT_EQ(alive, 0);
        EXPECT_EQ(DefaultThreadLimiter().borrowed(), 0u);
      }
      co_return absl::OkStatus();
    });
  }
  EXPECT_GT(stopped, 0);
  EXPECT_GT(completed, 0);
  EXPECT_GT(gave_up, 0);
  EXPECT_GT(abandoned, 0);
}

TEST(ToThreadCancellationTest, Everywhere) {
  for (const bool abandon : {false, true}) {
    int alive = 0;
    const int places = CancelEverywhere(
        [&]() -> Task<absl::Status> {
          CapacityLimiter limiter(1);
          co_return co_await WithTaskGroup(
              [&](TaskGroup& group) -> Task<absl::Status> {
                auto [ask, questions] = MakeMailbox<Counted>(1);
                for (int i = 0; i < 3; ++i) {
                  group.Start("asks",
                              [&alive, &limiter, abandon,
                               ask = ask]() mutable -> Task<void> {
                                Counted item = co_await ToThread(
                                    [&alive] { return Counted(&alive); },
                                    {.abandon_on_cancel = abandon,
                                     .limiter = &limiter});
                                (void)co_await ask.Send(std::move(item));
                              });
                }
                ask.Close();
                int received = 0;
                while (auto item = co_await OrReturn(questions.Receive()))
                  ++received;
                EXPECT_EQ(received, 3);
                co_return co_await group.Join();
              });
        },
        [&] { EXPECT_EQ(alive, 0); });
    EXPECT_GT(places, 10);
  }
}

// Run doesn't wait for an abandoned function, and what that does afterwards
// touches nothing that is gone.
TEST(ToThreadAbandonedTest, TheLoopEndsBeforeIt) {
  for (const char* name : {"asio", "uring"}) {
    if (!detail::HasBackend(name)) continue;
    std::promise<void> may_end;
    auto may_end_future = may_end.get_future().share();
    std::promise<bool> refused;
    auto result_gone = std::make_shared<std::promise<void>>();
    {
      absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend(name);
      ASSERT_TRUE(backend.ok());
      const absl::Status status =
          braid::Run(**backend, [&]() -> Task<absl::Status> {
            CapacityLimiter limiter(1);
            for (const bool own : {false, true}) {
              std::promise<void> runs;
              auto began = runs.get_future();
              auto function = [&refused, may_end_future, own, result_gone,
                               portal = Portal::Current(),
                               runs = std::move(runs)]() mutable {
                runs.set_value();
                may_end_future.wait();
                if (!own) {
                  refused.set_value(IsClosed(portal.Call([] {})) &&
                                    !portal.Post([] {}));
                }
                return own ? std::shared_ptr<void>(nullptr,
                                                   [result_gone](void*) {
                                                     result_gone->set_value();
                                                   })
                           : nullptr;
              };
              CancelScope scope;
              auto [done, cancelled] = co_await AllOf(
                  scope.Run(ToThread(std::move(function),
                                     {.abandon_on_cancel = true,
                                      .limiter = own ? &limiter : nullptr})),
                  [&]() -> Task<bool> {
                    while (began.wait_for(0s) != std::future_status::ready)
                      co_await SleepFor(100us);
                    scope.Cancel();
                    co_return true;
                  });
              EXPECT_FALSE(done.has_value());
            }
            EXPECT_EQ(limiter.borrowed(), 1u);
            EXPECT_EQ(DefaultThreadLimiter().borrowed(), 1u);
            co_return absl::OkStatus();
          });
      EXPECT_TRUE(status.ok()) << status;
    }
    may_end.set_value();
    EXPECT_TRUE(refused.get_future().get());
    result_gone->get_future().wait();
  }
}

// It ends in the same moment as the loop, in whatever order.
TEST(ToThreadAbandonedTest, ARaceWithTheEndOfTheLoop) {
  for (int round = 0; round < 300; ++round) {
    auto ended = std::make_shared<std::promise<void>>();
    auto wait = ended->get_future();
    {
      absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("asio");
      ASSERT_TRUE(backend.ok());
      const absl::Status status =
          braid::Run(**backend, [&]() -> Task<absl::Status> {
            CancelScope scope;
            co_await AllOf(scope.Run(ToThread(
                               [&scope, portal = Portal::Current(), ended] {
                                 portal.Post([&] { scope.Cancel(); });
                                 ended->set_value();
                               },
                               {.abandon_on_cancel = true})),
                           SleepFor(0s));
            co_return absl::OkStatus();
          });
      EXPECT_TRUE(status.ok()) << status;
    }
    wait.wait();
  }
}

}  // namespace
}  // namespace braid
