// The loop: turns and their budget, what other threads hand in, large
// cancellations in small portions, and shields and scopes that come and go
// meanwhile.

#include "braid/core/detail/loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/loop_local.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/gate.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

// Virtual time that looks at the loop after every turn.
class WatchedTime final : public Driver {
 public:
  void Run(detail::Loop& loop) override {
    while (!loop.finished()) {
      const LoopStats before = loop.stats();
      const bool more = loop.Turn();
      const LoopStats after = loop.stats();
      most_switches = std::max(most_switches, after.switches - before.switches);
      most_cancels = std::max(
          most_cancels, after.cancels_delivered - before.cancels_delivered);
      most_timers =
          std::max(most_timers, after.timers_fired - before.timers_fired);
      ++turns;
      if (after_turn) after_turn(loop);
      if (more || loop.finished()) continue;
      ASSERT_NE(loop.next_deadline(), kNever) << "deadlock";
      now_ = std::max(now_, loop.next_deadline());
    }
  }
  Time Now() override { return now_; }
  void Wake() noexcept override {}

  // The most that one turn did.
  uint64_t most_switches = 0;
  uint64_t most_cancels = 0;
  uint64_t most_timers = 0;
  uint64_t turns = 0;
  std::function<void(detail::Loop&)> after_turn;

 private:
  Time now_{1h};
};

// Blocks its thread until it is woken or a deadline has come.
class BlockingDriver final : public Driver {
 public:
  void Run(detail::Loop& loop) override {
    while (!loop.finished()) {
      if (loop.Turn() || loop.finished()) continue;
      std::unique_lock lock(mutex_);
      if (loop.next_deadline() == kNever) {
        condition_.wait(lock, [&] { return woken_; });
      } else {
        condition_.wait_for(lock, loop.next_deadline() - Now(),
                            [&] { return woken_; });
      }
      woken_ = false;
    }
  }
  Time Now() override {
    return Time(std::chrono::steady_clock::now().time_since_epoch());
  }
  void Wake() noexcept override {
    std::lock_guard lock(mutex_);
    woken_ = true;
    ++wakes_;
    condition_.notify_one();
  }
  int wakes() {
    std::lock_guard lock(mutex_);
    return wakes_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool woken_ = false;
  int wakes_ = 0;
};

// Fairness

// I/O is polled at a bounded interval whatever the ready queue holds.
TEST(Loop, ATurnDoesABoundedAmountOfWork) {
  WatchedTime time;
  EXPECT_TRUE(braid::Run(time, []() -> Task<absl::Status> {
                co_return co_await WithTaskGroup(
                    [](TaskGroup& group) -> Task<void> {
                      for (int i = 0; i < 10'000; ++i) {
                        group.Start("yields", []() -> Task<void> {
                          for (int i = 0; i < 10; ++i) co_await Checkpoint();
                        });
                      }
                      co_return;
                    });
              }).ok());
  EXPECT_EQ(time.most_switches,
            static_cast<uint64_t>(detail::Loop::kTurnBudget));
  EXPECT_GE(time.turns, 100'000u / 256);
}

// Ready operations count, so that a turn of busy tasks isn't 64 times as long.
TEST(Loop, ReadyOperationsCountAgainstTheBudget) {
  WatchedTime time;
  uint64_t operations = 0;
  uint64_t most = 0;
  time.after_turn = [&, last = uint64_t{0}](detail::Loop&) mutable {
    most = std::max(most, operations - last);
    last = operations;
  };
  EXPECT_TRUE(braid::Run(time, [&]() -> Task<absl::Status> {
                co_return co_await WithTaskGroup(
                    [&](TaskGroup& group) -> Task<void> {
                      for (int i = 0; i < 100; ++i) {
                        group.Start(
                            "busy",
                            [](uint64_t* operations) -> Task<void> {
                              Gate gate;
                              gate.Open();
                              for (int i = 0; i < 1000; ++i) {
                                co_await gate.Wait();
                                ++*operations;
                              }
                            },
                            &operations);
                      }
                      co_return;
                    });
              }).ok());
  EXPECT_EQ(operations, 100'000u);
  EXPECT_LE(most, static_cast<uint64_t>(detail::Loop::kTurnBudget) + 64);
}

TEST(Loop, ManyTimersOfOneInstantAreSpreadOverTurns) {
  WatchedTime time;
  EXPECT_TRUE(
      braid::Run(time, []() -> Task<absl::Status> {
        co_return co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
          for (int i = 0; i < 10'000; ++i) {
            group.Start("sleeps",
                        []() -> Task<void> { co_await SleepFor(1s); });
          }
          co_return;
        });
      }).ok());
  EXPECT_LE(time.most_timers, detail::Loop::kCancelChunk);
}

// A cancellation in portions

Task<void> Forever() { co_await SleepForever(); }

// Each of many deadlines of one instant cancels a group.
TEST(Loop, ManyCancellationsInOneInstantAreSpreadOverTurns) {
  WatchedTime time;
  EXPECT_TRUE(braid::Run(time, []() -> Task<absl::Status> {
                co_return co_await WithTaskGroup(
                    [](TaskGroup& group) -> Task<void> {
                      for (int i = 0; i < 300; ++i) {
                        group.Start("group", []() -> Task<absl::Status> {
                          co_return co_await WithTaskGroup(
                              [](TaskGroup& group) -> Task<void> {
                                group.SetDeadline(Now() + 1s);
                                for (int i = 0; i < 300; ++i)
                                  group.Start("task", Forever);
                                co_await SleepForever();
                              });
                        });
                      }
                      co_return;
                    });
              }).ok());
  EXPECT_LE(time.most_cancels, 2 * detail::Loop::kCancelChunk);
}

TEST(Loop, TheLoopKeepsTurningWhileALargeCancelSpreads) {
  constexpr int kTasks = 100'000;
  WatchedTime time;
  uint64_t other_turns = 0;
  bool spreading = false;
  time.after_turn = [&](detail::Loop& loop) {
    // A stand-in for I/O: it is looked at after every turn.
    if (spreading && loop.stats().tasks_alive > 100) ++other_turns;
  };
  uint64_t other_switches = 0;
  EXPECT_TRUE(
      braid::Run(time, [&]() -> Task<absl::Status> {
        bool over = false;
        co_return co_await WithTaskGroup([&](TaskGroup& outer) -> Task<void> {
          outer.Start(
              "other work",
              [](bool* over, uint64_t* switches) -> Task<void> {
                co_await SleepFor(1s);
                while (!*over) {
                  co_await Checkpoint();
                  ++*switches;
                }
              },
              &over, &other_switches);
          (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
            for (int i = 0; i < kTasks; ++i) group.Start("task", Forever);
            co_await SleepFor(1s);
            spreading = true;
            group.Cancel();
          })).IgnoreError();
          over = true;
        });
      }).ok());
  EXPECT_LE(time.most_cancels, 2 * detail::Loop::kCancelChunk);
  EXPECT_LE(time.most_switches,
            static_cast<uint64_t>(detail::Loop::kTurnBudget));
  EXPECT_GE(other_turns, static_cast<uint64_t>(kTasks / 256));
  EXPECT_GE(other_switches, 2u);  // and other tasks get their turn
}

// While a large cancellation is on its way, every task knows whether it is due,
// though its mark may not have come yet.
TEST(Loop, WhatALargeCancelHasNotReachedIsDueAllTheSame) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    int began = 0;
    int passed = 0;
    CancelScope scope;
    auto status = co_await WithTaskGroup([&](TaskGroup& outer) -> Task<void> {
      (void)outer;
      co_await scope.Run([&]() -> Task<absl::Status> {
        co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          for (int i = 0; i < 5000; ++i) {
            group.Start(
                "ready",
                [](int* began, int* passed) -> Task<void> {
                  ++*began;
                  co_await Checkpoint();
                  ++*passed;
                },
                &began, &passed);
          }
          scope.Cancel();
          // Started behind the spreading cancel.
          group.Start(
              "late",
              [](int* began, int* passed) -> Task<void> {
                ++*began;
                EXPECT_TRUE(CancelPending());
                EXPECT_EQ(CurrentDeadline(), kAlways);
                co_await Checkpoint();
                ++*passed;
              },
              &began, &passed);
          co_return;
        });
      });
    });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(began, 5001);
    EXPECT_EQ(passed, 0);
  });
}

// A wide tree under a cancel that takes several turns, and something that is
// done to it in between. `Meddle(group, i)` runs in the turn after the cancel.
struct Wide {
  static constexpr int kTasks = 10'000;
};

// A task cancels each of many groups.
TEST(Loop, ATurnThatCancelsMuchEndsSoon) {
  WatchedTime time;
  EXPECT_TRUE(braid::Run(time, []() -> Task<absl::Status> {
                co_return co_await WithTaskGroup(
                    [](TaskGroup& group) -> Task<void> {
                      for (int i = 0; i < 300; ++i) {
                        group.Start("group", []() -> Task<absl::Status> {
                          co_return co_await WithTaskGroup(
                              [](TaskGroup& group) -> Task<void> {
                                for (int i = 0; i < 300; ++i)
                                  group.Start("task", Forever);
                                co_await SleepFor(1s);
                                group.Cancel();
                              });
                        });
                      }
                      co_return;
                    });
              }).ok());
  EXPECT_LE(time.most_cancels, 3 * detail::Loop::kCancelChunk);
}

TEST(Loop, ACancelInsideWhileALargeOneSpreads) {
  RunInEveryOrder([](VirtualTime& time) -> Task<void> {
    CancelScope outer;
    CancelScope inner;
    int inner_value = 0;
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        for (int i = 0; i < Wide::kTasks / 2; ++i) group.Start("a", Forever);
        group.Start(
            "inner",
            [](CancelScope* inner, int* value) -> Task<void> {
              const bool completed =
                  co_await inner->Run([]() -> Task<absl::Status> {
                    co_return co_await WithTaskGroup(
                        [](TaskGroup& group) -> Task<void> {
                          for (int i = 0; i < Wide::kTasks / 2; ++i) {
                            group.Start("b", Forever);
                          }
                          co_return;
                        });
                  }) != std::nullopt;
              *value = completed ? 1 : 2;
            },
            &inner, &inner_value);
        group.Start(
            "canceller",
            [](CancelScope* outer, CancelScope* inner) -> Task<void> {
              co_await SleepFor(1s);
              outer->Cancel("outer");
              co_await Shield(Checkpoint());
              inner->Cancel("inner");
              inner->Cancel("inner again");
            },
            &outer, &inner);
        co_return;
      })).IgnoreError();
      ADD_FAILURE() << "resumed";
    }));
    EXPECT_EQ(inner_value, 0);  // the outer scope takes all of it
    EXPECT_EQ(time.elapsed(), 1s);
    const LoopStats stats = detail::Loop::Current().stats();
    EXPECT_EQ(stats.tasks_alive, 1u);
  });
}

// What is under a shield is not stopped, wherever the spreading cancel is when
// the shield comes. Story: its cursor was inside, and went on marking.
void ShieldAfterTurns(int turns, bool cleared_before) {
  SCOPED_TRACE("after turns: " + std::to_string(turns));
  WatchedTime time;
  CancelScope outer;
  CancelScope shielded;
  int survived = 0;
  int marked = 0;
  int turns_left = -1;
  time.after_turn = [&](detail::Loop&) {
    if (turns_left >= 0 && turns_left-- == 0) shielded.SetShield(true);
  };
  shielded.SetShield(cleared_before);
  auto task = [](int* survived, int* marked) -> Task<void> {
    co_await SleepFor(2s);
    if (CancelPending()) ++*marked;
    co_await SleepFor(1s);
    ++*survived;
  };
  const absl::Status status = braid::Run(time, [&]() -> Task<void> {
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        group.Start("canceller", [&]() -> Task<void> {
          co_await SleepFor(1s);
          outer.Cancel();
          if (cleared_before) shielded.SetShield(false);
          turns_left = turns;
        });
        (void)co_await shielded.Run([&]() -> Task<absl::Status> {
          co_return co_await WithTaskGroup([&](TaskGroup& inner) -> Task<void> {
            for (int i = 0; i < Wide::kTasks; ++i) {
              inner.Start("task", task, &survived, &marked);
            }
            co_return;
          });
        });
      })).IgnoreError();
      co_await Checkpoint();
    }));
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(marked, 0);
  // At least those that it had not reached.
  const int chunk = static_cast<int>(detail::Loop::kCancelChunk);
  EXPECT_GE(survived, Wide::kTasks - (turns + 2) * chunk);
  EXPECT_LT(survived, Wide::kTasks);
}

TEST(Loop, AShieldSetWhileALargeCancelSpreadsInside) {
  for (int turns : {0, 1, 2, 5, 9}) ShieldAfterTurns(turns, false);
}

// The same for a stop that began where a shield was cleared: set again, it
// covers what has not stopped yet.
TEST(Loop, AShieldClearedAndSetAgainWhileItsStopSpreads) {
  for (int turns : {0, 1, 2, 5, 9}) ShieldAfterTurns(turns, true);
}

// And a shield inside of it that is cleared meanwhile lets all of it stop.
TEST(Loop, AShieldClearedWhileALargeCancelSpreads) {
  for (int yields : {0, 1, 5, 12}) {
    SCOPED_TRACE(yields);
    RunInOrder([&](VirtualTime& time) -> Task<void> {
      CancelScope outer;
      CancelScope shielded;
      shielded.SetShield(true);
      int survived = 0;
      EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
        (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
          group.Start(
              "canceller",
              [](CancelScope* outer, CancelScope* shielded,
                 int yields) -> Task<void> {
                co_await Shield([&]() -> Task<void> {
                  co_await SleepFor(1s);
                  outer->Cancel();
                  for (int i = 0; i < yields; ++i) co_await Checkpoint();
                  shielded->SetShield(false);
                });
              },
              &outer, &shielded, yields);
          for (int i = 0; i < Wide::kTasks / 2; ++i) group.Start("a", Forever);
          co_await shielded.Run([&]() -> Task<absl::Status> {
            co_return co_await WithTaskGroup(
                [&](TaskGroup& inner) -> Task<void> {
                  for (int i = 0; i < Wide::kTasks / 2; ++i) {
                    inner.Start(
                        "b",
                        [](int* survived) -> Task<void> {
                          co_await SleepFor(5s);
                          ++*survived;
                        },
                        &survived);
                  }
                  co_return;
                });
          });
        })).IgnoreError();
      }));
      EXPECT_EQ(survived, 0);
      EXPECT_EQ(time.elapsed(), 1s);
    });
  }
}

// Scopes are left and entered, tasks end and start, under a cancel on its way.
TEST(Loop, ScopesComeAndGoWhileALargeCancelSpreads) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    CancelScope outer;
    int entered = 0;
    int stopped_in_time = 0;
    EXPECT_FALSE(co_await outer.Run([&]() -> Task<void> {
      (co_await WithTaskGroup([&](TaskGroup& group) -> Task<void> {
        for (int i = 0; i < Wide::kTasks; ++i) {
          group.Start(
              "task",
              [](TaskGroup* group, int i, int* entered,
                 int* stopped) -> Task<void> {
                struct Counts {
                  explicit Counts(int* stopped) : stopped(stopped) {}
                  ~Counts() { ++*stopped; }
                  int* stopped;
                } counts(stopped);
                (void)co_await MoveOnAfter(5s, SleepFor(1s));
                // The cancel comes now. Some are behind shields and go on for a
                // while, entering and leaving scopes.
                if (i % 3 == 0) {
                  co_await Shield([&]() -> Task<void> {
                    for (int n = 0; n < 3; ++n) {
                      EXPECT_FALSE(co_await MoveOnAfter(0s, SleepForever()));
                      EXPECT_TRUE(co_await MoveOnAfter(1s, Checkpoint()));
                      ++*entered;
                    }
                  });
                  group->Start(
                      "more",
                      [](int* entered) -> Task<void> {
                        EXPECT_TRUE(CancelPending());
                        co_await MoveOnAfter(1s, SleepForever());
                        *entered += 1'000'000;
                      },
                      entered);
                }
                co_await MoveOnAfter(1h, Forever());
                *entered += 1'000'000;
              },
              &group, i, &entered, &stopped_in_time);
        }
        co_await SleepFor(1s);
        outer.Cancel();
        co_await SleepForever();
      })).IgnoreError();
    }));
    // Tasks that had passed their sleep went through their scopes, the others
    // were stopped before; all of them ended, and nobody went on.
    EXPECT_EQ(stopped_in_time, Wide::kTasks);
    EXPECT_LT(entered, 1'000'000);
    EXPECT_EQ(detail::Loop::Current().stats().tasks_alive, 1u);
    EXPECT_EQ(detail::Loop::Current().stats().timers, 0u);
  });
}

// Random trees, cancels, shields and deadlines, against a simple model: due is
// what was cancelled, or has a due parent and no shield.
TEST(Loop, RandomTreesAgreeWithTheDefinition) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    RunInOrder([&](VirtualTime&) -> Task<void> {
      detail::Loop& loop = detail::Loop::Current();
      uint64_t state = seed * 0x9E3779B97F4A7C15u;
      auto random = [&](uint64_t below) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state % below;
      };
      struct Node {
        std::unique_ptr<detail::Scope> scope;
        Node* parent = nullptr;
        int children = 0;
        bool cancelled = false;
        bool shield = false;
        bool Due() const {
          if (cancelled) return true;
          return !shield && parent != nullptr && parent->Due();
        }
      };
      std::vector<std::unique_ptr<Node>> nodes;
      auto add = [&](Node* parent) {
        auto node = std::make_unique<Node>();
        node->scope = std::make_unique<detail::Scope>();
        node->parent = parent;
        if (parent != nullptr) ++parent->children;
        node->scope->Link(
            loop,
            parent != nullptr ? parent->scope.get() : loop.CurrentTask().scope,
            nullptr);
        nodes.push_back(std::move(node));
      };
      add(nullptr);
      // Wide enough that a cancel of the first node takes several turns.
      for (int i = 0; i < 3000; ++i) {
        add(nodes[random(10) == 0
                      ? random(nodes.size())
                      : nodes.size() - 1 -
                            random(std::min<uint64_t>(nodes.size(), 5))]
                .get());
      }
      auto check = [&] {
        for (const auto& node : nodes) {
          if (node->scope->due() != node->Due()) return false;
        }
        return true;
      };
      EXPECT_TRUE(check());
      for (int step = 0; step < 60; ++step) {
        Node& node = *nodes[random(random(3) == 0 ? 20 : nodes.size())];
        switch (random(6)) {
          case 0:
            if (random(3) == 0) {
              node.cancelled = true;
              node.scope->Cancel(CancelCause::Source::kExplicit, "test");
            }
            break;
          case 1:
          case 2:
            node.shield = !node.shield;
            node.scope->SetShield(node.shield);
            break;
          case 3:
            add(&node);
            break;
          case 4: {  // a leaf goes
            const auto leaf = std::find_if(
                nodes.begin() + static_cast<ptrdiff_t>(random(nodes.size())),
                nodes.end(),
                [](const auto& node) { return node->children == 0; });
            if (leaf == nodes.end() || nodes.size() < 100) break;
            (*leaf)->scope->Unlink();
            if ((*leaf)->parent != nullptr) --(*leaf)->parent->children;
            nodes.erase(leaf);
            break;
          }
          case 5:
            co_await Checkpoint();
            break;
        }
        if (!check()) {
          ADD_FAILURE() << "at step " << step;
          break;
        }
      }
      // Once all of it has spread, the flags alone say so: what a driver waits
      // for is that nothing is left to spread.
      for (int i = 0; i < 50; ++i) co_await Checkpoint();
      EXPECT_TRUE(check());
      while (!nodes.empty()) {
        nodes.back()->scope->Unlink();
        nodes.pop_back();
        // Children were added after their parents, but erasing keeps that.
      }
    });
    if (HasFailure()) return;
  }
}

// Other threads

TEST(LoopThreads, PostsOfOneThreadArriveInOrderAndNoneIsLost) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  struct Node : detail::InboxNode {
    Node() : InboxNode(&Ran) {}
    static void Ran(InboxNode& node) {
      auto& self = static_cast<Node&>(node);
      EXPECT_EQ(self.i, (*self.next_of)[self.thread]++);
      EXPECT_EQ(detail::Loop::CurrentOrNull(), self.loop);
      if (--*self.left == 0) self.gate->Open();
    }
    detail::Loop* loop = nullptr;
    std::vector<int>* next_of = nullptr;
    int* left = nullptr;
    Gate* gate = nullptr;
    int thread = 0;
    int i = 0;
  };
  BlockingDriver driver;
  std::vector<std::thread> threads;
  std::vector<std::vector<Node>> nodes(kThreads);
  for (auto& of_thread : nodes) of_thread = std::vector<Node>(kPosts);
  LoopStats stats;
  EXPECT_TRUE(braid::Run(driver, [&]() -> Task<void> {
                Gate gate;
                std::vector<int> next_of(kThreads);
                int left = kThreads * kPosts;
                for (int t = 0; t < kThreads; ++t) {
                  for (int i = 0; i < kPosts; ++i) {
                    Node& node = nodes[t][i];
                    node.loop = &detail::Loop::Current();
                    node.next_of = &next_of;
                    node.left = &left;
                    node.gate = &gate;
                    node.thread = t;
                    node.i = i;
                  }
                  threads.emplace_back([&, t] {
                    for (Node& node : nodes[t]) node.loop->Post(&node);
                  });
                }
                co_await gate.Wait();
                EXPECT_EQ(left, 0);
                stats = detail::Loop::Current().stats();
                for (std::thread& thread : threads) thread.join();
              }).ok());
  EXPECT_EQ(stats.posts, static_cast<uint64_t>(kThreads * kPosts));
  EXPECT_GE(driver.wakes(), 1);
  EXPECT_LE(driver.wakes(), kThreads * kPosts);
}

// The last post may end the program while the poster is still inside of Post.
TEST(LoopThreads, APostMayEndTheLoop) {
  for (int round = 0; round < 300; ++round) {
    struct Node : detail::InboxNode {
      Node() : InboxNode(&Ran) {}
      static void Ran(InboxNode& node) {
        static_cast<Node&>(node).gate->Open();
      }
      Gate* gate = nullptr;
    };
    BlockingDriver driver;
    Node node;
    std::thread poster;
    EXPECT_TRUE(braid::Run(driver, [&]() -> Task<void> {
                  Gate gate;
                  node.gate = &gate;
                  detail::Loop* loop = &detail::Loop::Current();
                  poster = std::thread([loop, &node] { loop->Post(&node); });
                  // Awake already, so that it doesn't wait for the wake-up.
                  while (gate.waits() == 0) {
                    if (!co_await MoveOnAfter(100us, gate.Wait())) gate.Close();
                  }
                  co_await gate.Wait();
                }).ok());
    poster.join();
  }
}

// A wake-up between the last look at the inbox and the wait is not lost: each
// round trip waits for the other side.
TEST(LoopThreads, RoundTripsBetweenTwoLoops) {
  constexpr int kTrips = 2000;
  struct Side {
    struct Node : detail::InboxNode {
      explicit Node(Side* side) : InboxNode(&Ran), side(side) {}
      static void Ran(InboxNode& node) {
        static_cast<Node&>(node).side->gate->Open();
      }
      Side* side;
    };
    std::atomic<detail::Loop*> loop = nullptr;
    Gate* gate = nullptr;
    Node node{this};
    BlockingDriver driver;
  };
  Side sides[2];
  std::atomic<int> ready = 0;
  std::atomic<int> done = 0;
  auto run = [&](int me) {
    Side& mine = sides[me];
    Side& other = sides[1 - me];
    EXPECT_TRUE(braid::Run(mine.driver, [&]() -> Task<void> {
                  Gate gate;
                  mine.gate = &gate;
                  mine.loop = &detail::Loop::Current();
                  ++ready;
                  while (ready < 2) std::this_thread::yield();
                  detail::Loop* to = other.loop;
                  for (int i = 0; i < kTrips; ++i) {
                    if (me == 0 || i > 0) to->Post(&other.node);
                    co_await gate.Wait();
                    gate.Close();
                  }
                  if (me == 1) to->Post(&other.node);
                  // Nobody goes while the other may still post to it.
                  ++done;
                  while (done < 2) {
                    std::this_thread::yield();
                    co_await Checkpoint();
                  }
                }).ok());
  };
  std::thread thread([&] { run(1); });
  run(0);
  thread.join();
}

TEST(Loop, HoldKeepsItRunning) {
  struct Holder : detail::InboxNode {
    Holder() : InboxNode(&Ran) {}
    static void Ran(InboxNode& node) {
      static_cast<Holder&>(node).loop->Release();
      static_cast<Holder&>(node).ran = true;
    }
    detail::Loop* loop = nullptr;
    bool ran = false;
  };
  BlockingDriver driver;
  Holder holder;
  std::thread thread;
  EXPECT_TRUE(braid::Run(driver, [&]() -> Task<void> {
                holder.loop = &detail::Loop::Current();
                holder.loop->Hold();
                thread = std::thread([&] {
                  std::this_thread::yield();
                  holder.loop->Post(&holder);
                });
                co_return;
              }).ok());
  EXPECT_TRUE(holder.ran);  // the loop waited for it
  thread.join();
}

// Counters

TEST(Loop, Stats) {
  RunInOrder([](VirtualTime&) -> Task<void> {
    const LoopStats before = detail::Loop::Current().stats();
    EXPECT_EQ(before.tasks_started, 1u);
    EXPECT_EQ(before.tasks_alive, 1u);
    auto status = co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 10; ++i) {
        group.Start("sleeps", []() -> Task<void> { co_await SleepFor(1s); });
      }
      EXPECT_EQ(detail::Loop::Current().stats().ready, 10u);
      EXPECT_EQ(detail::Loop::Current().stats().tasks_alive, 11u);
      co_await Checkpoint();
      EXPECT_EQ(detail::Loop::Current().stats().timers, 10u);
      EXPECT_EQ(detail::Loop::Current().stats().ready, 0u);
    });
    EXPECT_TRUE(status.ok());
    const LoopStats after = detail::Loop::Current().stats();
    EXPECT_EQ(after.tasks_started, 11u);
    EXPECT_EQ(after.tasks_alive, 1u);
    EXPECT_EQ(after.timers, 0u);
    EXPECT_EQ(after.timers_fired - before.timers_fired, 10u);
    EXPECT_GT(after.turns, before.turns);
    EXPECT_EQ(after.cancels_delivered, 0u);
  });
}

// Misuse from another thread

TEST(LoopDeathTest, AScopeFromAnotherThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (int what = 0; what < 3; ++what) {
    EXPECT_DEATH(RunInOrder([&](VirtualTime&) -> Task<void> {
                   CancelScope scope;
                   co_await scope.Run([&]() -> Task<void> {
                     std::thread([&] {
                       if (what == 0) scope.Cancel();
                       if (what == 1) scope.SetDeadline(Time(1s));
                       if (what == 2) scope.SetShield(true);
                     }).join();
                     co_return;
                   });
                 }),
                 "another thread; hand ");
  }
}

TEST(LoopDeathTest, AnAwaitInACallback) {
  EXPECT_DEATH(RunInOrder([](VirtualTime&) -> Task<void> {
                 struct Node : detail::InboxNode {
                   Node() : InboxNode(&Ran) {}
                   static void Ran(InboxNode&) { (void)CancelPending(); }
                 } node;
                 detail::Loop::Current().Post(&node);
                 co_await SleepFor(1s);
               }),
               "no task runs here; call this from a task's own code, not from "
               "a callback");
}

// LoopLocal

TEST(LoopLocal, OnePerLoopDestroyedInReverseAfterTheLastTask) {
  static std::vector<std::string>* trace = nullptr;
  struct A {
    A() { trace->push_back("A"); }
    ~A() { trace->push_back("~A"); }
    int value = 0;
  };
  struct B {
    B() { trace->push_back("B"); }
    ~B() { trace->push_back("~B"); }
  };
  static constexpr LoopLocal<A> kA;
  static constexpr LoopLocal<B> kB;
  for (int i = 0; i < 2; ++i) {
    std::vector<std::string> now;
    trace = &now;
    RunInOrder([](VirtualTime&) -> Task<void> {
      EXPECT_EQ(kA.Get().value, 0);
      kA.Get().value = 5;
      kB.Get();
      co_await Checkpoint();
      EXPECT_EQ(kA.Get().value, 5);
      trace->push_back("task ends");
    });
    EXPECT_THAT(now, testing::ElementsAre("A", "B", "task ends", "~B", "~A"));
  }
}

}  // namespace
}  // namespace braid
