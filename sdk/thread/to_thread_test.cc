// What ToThread gives, and where its function goes. Cancellation is in
// cancellation_test.cc.

#include "braid/thread/to_thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/asio/asio_backend.h"
#include "braid/backend/every_backend.h"
#include "braid/backend/sim/simulation.h"
#include "braid/backend/wrapped_host.h"
#include "braid/core/core.h"
#include "braid/testing/explore_seeds.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

TEST(ToThreadTest, GivesWhatTheFunctionGives) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    EXPECT_EQ(co_await ToThread([] { return 7; }), 7);
    bool called = false;
    co_await ToThread([&] { called = true; });
    EXPECT_TRUE(called);
    EXPECT_TRUE(absl::IsNotFound(
        co_await ToThread([] { return absl::NotFoundError("no such row"); })));
    const std::string text = co_await OrReturn(
        ToThread([]() -> absl::StatusOr<std::string> { return "text"; }));
    EXPECT_EQ(text, "text");
    const std::unique_ptr<int> movable =
        co_await ToThread([] { return std::make_unique<int>(3); });
    EXPECT_EQ(*movable, 3);
    int number = 1;
    int& reference = co_await ToThread([&number]() -> int& { return number; });
    EXPECT_EQ(&reference, &number);
    // Called once, as an rvalue.
    EXPECT_EQ(co_await ToThread([p = std::make_unique<int>(4)]() mutable {
                return std::move(p);
              }) != nullptr,
              true);
    co_return absl::OkStatus();
  });
}

TEST(ToThreadTest, AnExceptionIsRethrownByTheAwait) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    for (int i = 0; i < 3; ++i) {
      bool caught = false;
      try {
        co_await ToThread([]() -> int { throw std::runtime_error("broken"); });
      } catch (const std::runtime_error& error) {
        caught = std::string(error.what()) == "broken";
      }
      EXPECT_TRUE(caught);
    }
    co_return absl::OkStatus();
  });
}

// A function that throws when it is moved for the `left`-th time: on its way
// into a coroutine's frame, which was read after it was freed.
struct ThrowsWhenMoved {
  explicit ThrowsWhenMoved(int left) : left(left) {}
  ThrowsWhenMoved(ThrowsWhenMoved&& other) : left(other.left - 1) {
    if (left == 0) throw std::runtime_error("moved");
  }
  int operator()() const { return left; }
  int left;
};

TEST(ToThreadTest, AFunctionThatCantBeMovedIsAnException) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    int thrown = 0;
    for (int moves = 1;; ++moves) {
      try {
        EXPECT_GT(co_await ToThread(ThrowsWhenMoved(moves)), 0);
        break;
      } catch (const std::runtime_error&) {
        ++thrown;
      }
    }
    EXPECT_GT(thrown, 0);
    co_return absl::OkStatus();
  });
}

TEST(ToThreadTest, RunsOnAnotherThreadWhereNoLoopIs) {
  RunOnRealBackends("threads", []() -> Task<absl::Status> {
    const std::thread::id id =
        co_await ToThread([] { return std::this_thread::get_id(); });
    EXPECT_NE(id, std::this_thread::get_id());
    co_return absl::OkStatus();
  });
  RunOnEveryBackend([]() -> Task<absl::Status> {
    EXPECT_TRUE(co_await ToThread(
        [] { return detail::Loop::CurrentOrNull() == nullptr; }));
    EXPECT_NE(detail::Loop::CurrentOrNull(), nullptr);
    co_return absl::OkStatus();
  });
}

TEST(ToThreadTest, TwoRunAtTheSameTime) {
  RunOnRealBackends("threads that wait for each other",
                    []() -> Task<absl::Status> {
                      std::promise<void> a;
                      std::promise<void> b;
                      co_await AllOf(ToThread([&] {
                                       a.set_value();
                                       b.get_future().wait();
                                     }),
                                     ToThread([&] {
                                       b.set_value();
                                       a.get_future().wait();
                                     }));
                      co_return absl::OkStatus();
                    });
}

TEST(ToThreadTest, IsALegOfEveryCombinator) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    auto [one, two] =
        co_await AllOf(ToThread([] { return 1; }), ToThread([] { return 2; }));
    EXPECT_EQ(one + two, 3);
    EXPECT_EQ(co_await MoveOnAfter(1h, ToThread([] { return 3; })), 3);
    EXPECT_EQ(co_await OrReturn(FailAfter(1h, ToThread([] { return 4; }))), 4);
    auto [five, slept] =
        co_await AnyOf(ToThread([] { return 5; }), SleepFor(1h));
    EXPECT_EQ(five, 5);
    EXPECT_FALSE(slept);
    EXPECT_EQ(co_await OrReturn(
                  FirstOk(ToThread([]() -> absl::StatusOr<int> {
                            return absl::NotFoundError("");
                          }),
                          ToThread([]() -> absl::StatusOr<int> { return 6; }))),
              6);
    co_return absl::OkStatus();
  });
}

// Says where it was destroyed.
class Captured {
 public:
  explicit Captured(std::thread::id* destroyed_on)
      : destroyed_on_(destroyed_on) {}
  Captured(Captured&& other) noexcept
      : destroyed_on_(std::exchange(other.destroyed_on_, nullptr)) {}
  Captured& operator=(Captured&&) = delete;
  ~Captured() {
    if (destroyed_on_ != nullptr) *destroyed_on_ = std::this_thread::get_id();
  }

 private:
  std::thread::id* destroyed_on_;
};

TEST(ToThreadTest, TheFunctionIsDestroyedOnTheLoop) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    const std::thread::id here = std::this_thread::get_id();
    std::thread::id destroyed_on;
    co_await ToThread([captured = Captured(&destroyed_on)] {});
    EXPECT_EQ(destroyed_on, here);
    destroyed_on = {};
    CancelScope scope;
    scope.Cancel();
    EXPECT_FALSE(
        co_await scope.Run(ToThread([captured = Captured(&destroyed_on)] {})));
    EXPECT_EQ(destroyed_on, here);
    co_return absl::OkStatus();
  });
}

TEST(ToThreadTest, TheLimiterSaysHowManyRun) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    CapacityLimiter limiter(2);
    std::atomic<int> running = 0;
    std::atomic<int> most = 0;
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          for (int i = 0; i < 20; ++i) {
            group.Start("job", [&]() -> Task<void> {
              co_await ToThread(
                  [&] {
                    const int now = ++running;
                    int seen = most.load();
                    while (seen < now && !most.compare_exchange_weak(seen, now))
                      continue;
                    --running;
                  },
                  {.limiter = &limiter});
            });
          }
          co_await OrReturn(group.Join());
          EXPECT_LE(most.load(), 2);
          EXPECT_EQ(limiter.borrowed(), 0u);
          co_return absl::OkStatus();
        });
  });
}

TEST(ToThreadTest, TheDefaultLimiterIsTheLoops) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    EXPECT_EQ(DefaultThreadLimiter().total(), 40u);
    DefaultThreadLimiter().SetTotal(0);
    EXPECT_FALSE((co_await MoveOnAfter(1ms, ToThread([] {}))));
    DefaultThreadLimiter().SetTotal(1);
    co_await ToThread([] {});
    EXPECT_EQ(DefaultThreadLimiter().borrowed(), 0u);
    co_return absl::OkStatus();
  });
}

TEST(ToThreadTest, TheThreadBearsTheNameAndBlocksSignals) {
  RunOnRealBackends("threads", []() -> Task<absl::Status> {
    const std::string name = co_await ToThread(
        [] {
          char buffer[16] = {};
          ::pthread_getname_np(::pthread_self(), buffer, sizeof buffer);
          return std::string(buffer);
        },
        {.name = "resize"});
    EXPECT_EQ(name, "resize");
    const bool blocked = co_await ToThread([] {
      sigset_t mask;
      ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
      return ::sigismember(&mask, SIGTERM) == 1;
    });
    EXPECT_TRUE(blocked);
    co_return absl::OkStatus();
  });
}

// A machine that is out of threads.
class NoThreads final : public WrappedHost {
 public:
  absl::Status StartJob(std::shared_ptr<HostJob>) override {
    return absl::ResourceExhaustedError("there are no more threads");
  }
};

TEST(ToThreadTest, WithoutAThreadItFails) {
  absl::StatusOr<std::unique_ptr<Backend>> backend =
      MakeAsioBackend(std::make_shared<NoThreads>());
  ASSERT_TRUE(backend.ok());
  const absl::Status status = braid::Run(**backend, []() -> Task<absl::Status> {
    bool caught = false;
    try {
      co_await ToThread([] { ADD_FAILURE() << "it ran"; });
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "there are no more threads";
    }
    EXPECT_TRUE(caught);
    EXPECT_EQ(DefaultThreadLimiter().borrowed(), 0u);
    co_return (co_await ToThread([]() -> absl::StatusOr<int> {
      return 1;
    })).status();
  });
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST(ToThreadTest, AFunctionCallsTheLoopThroughAPortal) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    int state = 0;
    const std::thread::id here = std::this_thread::get_id();
    co_await OrReturn(
        ToThread([&, portal = Portal::Current()]() -> absl::Status {
          EXPECT_TRUE(portal.Post([&] { state = 1; }));
          const absl::StatusOr<int> seen = portal.Call([&] {
            EXPECT_EQ(std::this_thread::get_id(), here);
            EXPECT_NE(detail::Loop::CurrentOrNull(), nullptr);
            return state++;
          });
          EXPECT_EQ(*seen, 1) << "what was posted goes first";
          EXPECT_TRUE(portal.Call([&] { ++state; }).ok());
          EXPECT_TRUE(absl::IsNotFound(
              portal.Call([] { return absl::NotFoundError(""); })));
          EXPECT_THROW((void)portal.Call([] { throw std::logic_error(""); }),
                       std::logic_error);
          return absl::OkStatus();
        }));
    EXPECT_EQ(state, 3);
    co_return absl::OkStatus();
  });
}

// A function may wait, by a Call, until a task is under way.
TEST(ToThreadTest, ACallWakesTasks) {
  RunOnEveryBackend([]() -> Task<absl::Status> {
    CancelScope scope;
    auto ended =
        co_await OrReturn(AllOf(ToThread([&scope, portal = Portal::Current()] {
                                  return portal.Call([&] { scope.Cancel(); });
                                }),
                                scope.Run(SleepForever())));
    EXPECT_FALSE(std::get<1>(ended));
    co_return absl::OkStatus();
  });
}

TEST(ToThreadSimTest, TimesAreTheSeeds) {
  ExploreSeeds(20, [](uint64_t seed) {
    std::vector<std::string> runs;
    for (int run = 0; run < 2; ++run) {
      std::string order;
      Simulation sim({.seed = seed});
      sim.AddHost("host").Run([&]() -> Task<absl::Status> {
        co_return co_await WithTaskGroup(
            [&](TaskGroup& group) -> Task<absl::Status> {
              for (char name = 'a'; name < 'k'; ++name) {
                group.Start("job", [&order, name]() -> Task<void> {
                  co_await ToThread([&order, name] { order += name; });
                });
              }
              co_return co_await group.Join();
            });
      });
      EXPECT_TRUE(sim.RunUntilIdle().ok());
      EXPECT_EQ(order.size(), 10u);
      EXPECT_GT(sim.elapsed(), Duration(0));
      EXPECT_LE(sim.elapsed(), 1ms + 50us);
      runs.push_back(order + std::to_string(sim.fingerprint()));
    }
    EXPECT_EQ(runs[0], runs[1]);
  });
}

TEST(ToThreadSimTest, OrdersDiffer) {
  std::set<std::string> orders;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::string order;
    Simulation sim({.seed = seed});
    sim.AddHost("host").Run([&]() -> Task<void> {
      co_await AllOf(ToThread([&] { order += 'a'; }),
                     ToThread([&] { order += 'b'; }));
    });
    EXPECT_TRUE(sim.RunUntilIdle().ok());
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 2u);
}

// The power goes: so do threads, before or while they run.
TEST(ToThreadSimTest, ACrashTakesThreadsWithIt) {
  for (const bool abandon : {false, true}) {
    for (const Duration after : {1us, 20us, 40us, 60us, 500us}) {
      Simulation sim({.seed = 3});
      bool ran = false;
      bool destroyed = false;
      struct SetAtEnd {
        bool* flag;
        explicit SetAtEnd(bool* its_flag) : flag(its_flag) {}
        SetAtEnd(SetAtEnd&& other) noexcept
            : flag(std::exchange(other.flag, nullptr)) {}
        ~SetAtEnd() {
          if (flag != nullptr) *flag = true;
        }
      };
      SimHost& host = sim.AddHost("host", {.longest_job = 1h});
      host.Run([&, abandon]() -> Task<void> {
        co_await ToThread([&, at_end = SetAtEnd(&destroyed)] { ran = true; },
                          {.abandon_on_cancel = abandon});
      });
      sim.After(after, [&] { host.Crash(); });
      EXPECT_TRUE(sim.RunFor(2h).ok());
      EXPECT_FALSE(ran);
      EXPECT_TRUE(destroyed);
    }
  }
}

// What a function captured may refer to the frames that await it, which go
// next: the machine that crashes destroys it first, as a cancel does, whether
// its thread had taken it up or not.
TEST(ToThreadSimTest, ACrashDestroysTheFunctionBeforeWhatItRefersTo) {
  for (const Duration after : {1us, 60us, 500us}) {
    for (const bool by_crash : {true, false}) {
      std::vector<std::string> destroyed;
      struct Says {
        std::vector<std::string>* list;
        std::string what;
        Says(std::vector<std::string>* its_list, std::string its_what)
            : list(its_list), what(std::move(its_what)) {}
        Says(Says&& other) noexcept
            : list(std::exchange(other.list, nullptr)),
              what(std::move(other.what)) {}
        ~Says() {
          if (list != nullptr) list->push_back(what);
        }
      };
      {
        Simulation sim({.seed = 3});
        SimHost& host = sim.AddHost("host", {.longest_job = 1h});
        host.Run([&]() -> Task<void> {
          const Says local(&destroyed, "local");
          co_await ToThread([captured = Says(&destroyed, "captured")] {
            ADD_FAILURE() << "it ran";
          });
        });
        if (by_crash) sim.After(after, [&] { host.Crash(); });
        // Else the simulation ends, which crashes it.
        EXPECT_TRUE(sim.RunFor(after + 1us).ok());
      }
      EXPECT_EQ(destroyed, (std::vector<std::string>{"captured", "local"}))
          << after.count();
    }
  }
}

// A stopped process runs on none of its threads, whether they had taken
// something up or not, and goes on with it afterwards.
TEST(ToThreadSimTest, APausedHostRunsNoThreads) {
  for (const Duration after : {Duration(1us), Duration(60us), Duration(1min)}) {
    Simulation sim({.seed = 3});
    bool ran = false;
    SimHost& host = sim.AddHost("host", {.longest_job = 1h});
    host.Run([&]() -> Task<void> {
      co_await ToThread([&, portal = Portal::Current()] {
        EXPECT_TRUE(portal.Call([&] { ran = true; }).ok());
      });
    });
    sim.After(after, [&] { host.Pause(); });
    EXPECT_TRUE(sim.RunFor(2h).ok());
    EXPECT_FALSE(ran);
    host.Resume();
    EXPECT_TRUE(sim.RunUntilIdle().ok());
    EXPECT_TRUE(ran);
  }
}

// A process that is killed while it is stopped leaves nothing to its successor.
TEST(ToThreadSimTest, APausedHostMayCrash) {
  Simulation sim({.seed = 3});
  int ran = 0;
  SimHost& host = sim.AddHost("host", {.longest_job = 1h});
  host.Run([&]() -> Task<void> { co_await ToThread([&] { ++ran; }); });
  sim.After(1min, [&] { host.Pause(); });
  EXPECT_TRUE(sim.RunFor(2h).ok());
  host.Restart();
  EXPECT_TRUE(sim.RunUntilIdle(10h).ok());
  EXPECT_EQ(ran, 1);
}

// It goes also if it refused to be cancelled before.
TEST(ToThreadSimTest, ACrashTakesThreadsWhoseAwaitIsCancelled) {
  Simulation sim({.seed = 3});
  SimHost& host = sim.AddHost("host", {.longest_job = 1h});
  host.Run([&]() -> Task<void> {
    co_await MoveOnAfter(1min, ToThread([] { ADD_FAILURE() << "it ran"; }));
    ADD_FAILURE() << "it came to an end";
  });
  sim.After(2min, [&] { host.Crash(); });
  EXPECT_TRUE(sim.RunFor(2h).ok());
}

// A function that crashes its own host comes to its end.
TEST(ToThreadSimTest, AFunctionMayCrashItsHost) {
  Simulation sim;
  SimHost& host = sim.AddHost("host");
  bool ran = false;
  host.Run([&]() -> Task<void> {
    co_await ToThread([&, portal = Portal::Current()] {
      EXPECT_TRUE(portal.Call([&] { host.Crash(); }).ok());
      EXPECT_TRUE(portal.Call([] {}).ok()) << "it takes effect afterwards";
      ran = true;
    });
    ADD_FAILURE() << "its machine has crashed";
  });
  EXPECT_TRUE(sim.RunFor(1s).ok());
  EXPECT_TRUE(ran);
  EXPECT_FALSE(host.up());
}

}  // namespace
}  // namespace braid
