#include "braid/thread/portal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "braid/backend/make_backend.h"
#include "braid/core/core.h"
#include "braid/core/loop_local.h"

namespace braid {
namespace {

using std::chrono_literals::operator""s;

std::unique_ptr<Backend> NewBackend() {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("asio");
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

TEST(PortalTest, RunsOnTheLoopsThreadInTheOrderOfThePosts) {
  std::unique_ptr<Backend> backend = NewBackend();
  std::vector<int> seen;
  std::thread::id ran_on;
  absl::Status status = braid::Run(*backend, [&]() -> Task<absl::Status> {
    CancelScope done;
    std::thread poster([&, portal = Portal::Current()] {
      for (int i = 0; i < 1000; ++i) {
        EXPECT_TRUE(portal.Post([&seen, i] { seen.push_back(i); }));
      }
      EXPECT_TRUE(portal.Post([&] {
        ran_on = std::this_thread::get_id();
        done.Cancel();
      }));
    });
    co_await done.Run(SleepForever());
    poster.join();
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[i], i);
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(PortalTest, RefusesOnceTheLoopHasEnded) {
  std::unique_ptr<Backend> backend = NewBackend();
  std::optional<Portal> portal;
  absl::Status status = braid::Run(*backend, [&]() -> Task<void> {
    portal.emplace(Portal::Current());
    co_return;
  });
  EXPECT_TRUE(status.ok()) << status;
  auto destroyed = std::make_shared<int>();
  EXPECT_FALSE(portal->Post([destroyed] { FAIL() << "called"; }));
  EXPECT_EQ(destroyed.use_count(), 1) << "the function was kept";
}

struct PostsAtItsEnd {
  std::optional<Portal> portal;
  bool* ran = nullptr;
  bool* accepted = nullptr;
  ~PostsAtItsEnd() {
    if (portal) *accepted = portal->Post([ran = ran] { *ran = true; });
  }
};
constexpr LoopLocal<PostsAtItsEnd> older;
constexpr LoopLocal<PostsAtItsEnd> newer;

// The last that is accepted is what comes right before the door shuts, when all
// tasks have ended long since: it was lost once.
TEST(PortalTest, RunsWhatItAcceptsAfterTheLastTask) {
  std::unique_ptr<Backend> backend = NewBackend();
  bool accepted_before = false, ran_before = false;
  bool accepted_after = true, ran_after = false;
  absl::Status status = braid::Run(*backend, [&]() -> Task<void> {
    older.Get();
    const Portal portal = Portal::Current();
    newer.Get().portal = portal;  // it goes first
    newer.Get().ran = &ran_before;
    newer.Get().accepted = &accepted_before;
    older.Get().portal = portal;
    older.Get().ran = &ran_after;
    older.Get().accepted = &accepted_after;
    co_return;
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(accepted_before);
  EXPECT_TRUE(ran_before);
  EXPECT_FALSE(accepted_after);
  EXPECT_FALSE(ran_after);
}

// A thread that posts while the loop ends gets a clear answer, and what was
// accepted has run.
TEST(PortalTest, WhatWasAcceptedRunsEvenIfTheLoopIsEnding) {
  for (int round = 0; round < 200; ++round) {
    std::unique_ptr<Backend> backend = NewBackend();
    std::atomic<int> accepted = 0;
    std::atomic<int> ran = 0;
    std::thread poster;
    absl::Status status = braid::Run(*backend, [&]() -> Task<void> {
      poster = std::thread([&, portal = Portal::Current()] {
        while (portal.Post([&] { ++ran; })) ++accepted;
      });
      co_await Checkpoint();
    });
    poster.join();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(accepted.load(), ran.load());
  }
}

// Cancelling is something a posted function may do: it runs between tasks.
TEST(PortalTest, APostedFunctionMayCancelTheProgram) {
  std::unique_ptr<Backend> backend = NewBackend();
  std::thread poster;
  absl::Status status = braid::Run(*backend, [&]() -> Task<void> {
    poster = std::thread([portal = Portal::Current()] {
      portal.Post([] { detail::Loop::Current().CancelRoot("enough"); });
    });
    co_await SleepForever();
  });
  poster.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST(PortalTest, CallGivesWhatTheFunctionGives) {
  std::unique_ptr<Backend> backend = NewBackend();
  const std::thread::id here = std::this_thread::get_id();
  absl::Status status = braid::Run(*backend, [&]() -> Task<absl::Status> {
    CancelScope done;
    std::thread caller([&, portal = Portal::Current()] {
      bool posted = false;
      EXPECT_TRUE(portal.Post([&] { posted = true; }));
      EXPECT_EQ(*portal.Call([&] { return posted ? 7 : 0; }), 7);
      EXPECT_EQ(*portal.Call([] { return std::this_thread::get_id(); }), here);
      EXPECT_EQ(**portal.Call([] { return std::make_unique<int>(3); }), 3);
      EXPECT_TRUE(portal.Call([] {}).ok());
      EXPECT_TRUE(absl::IsNotFound(
          portal.Call([] { return absl::NotFoundError(""); })));
      EXPECT_EQ(*portal.Call([]() -> absl::StatusOr<int> { return 1; }), 1);
      EXPECT_THROW(
          (void)portal.Call([]() -> int { throw std::runtime_error("x"); }),
          std::runtime_error);
      EXPECT_TRUE(portal.Call([&] { done.Cancel(); }).ok());
    });
    co_await done.Run(SleepForever());
    caller.join();
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

// A thread that calls while the loop ends gets an answer all the same.
TEST(PortalTest, CallSaysThatTheLoopHasEnded) {
  for (int round = 0; round < 200; ++round) {
    std::unique_ptr<Backend> backend = NewBackend();
    std::thread caller;
    std::atomic<int> ran = 0;
    int succeeded = 0;
    absl::Status status = braid::Run(*backend, [&]() -> Task<void> {
      caller = std::thread([&, portal = Portal::Current()] {
        for (;;) {
          const absl::Status called = portal.Call([&] { ++ran; });
          if (!called.ok()) {
            EXPECT_TRUE(IsClosed(called)) << called;
            break;
          }
          ++succeeded;
        }
      });
      co_await Checkpoint();
    });
    caller.join();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(ran.load(), succeeded);
  }
}

TEST(PortalDeathTest, CallIsRefusedWhereALoopRuns) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto call = [](const Portal& portal) -> Task<void> {
    (void)portal.Call([] {});
    co_return;
  };
  // On the loop's own thread, in a task and in a function that was posted.
  EXPECT_DEATH(
      {
        std::unique_ptr<Backend> backend = NewBackend();
        (void)braid::Run(*backend, [&]() -> Task<void> {
          co_await call(Portal::Current());
        });
      },
      "itself runs a loop");
  EXPECT_DEATH(
      {
        std::unique_ptr<Backend> backend = NewBackend();
        (void)braid::Run(*backend, [&]() -> Task<void> {
          const Portal portal = Portal::Current();
          portal.Post([portal] { (void)portal.Call([] {}); });
          co_await SleepForever();
        });
      },
      "itself runs a loop");
}

// It went through the loop's turn, and the program ended for a reason that
// wasn't one: tasks were alive on the loop.
TEST(PortalDeathTest, AnExceptionOfAPostedFunctionSaysWhatItWas) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        std::unique_ptr<Backend> backend = NewBackend();
        (void)braid::Run(*backend, [&]() -> Task<void> {
          Portal::Current().Post([] { throw std::runtime_error("no luck"); });
          co_await SleepForever();
        });
      },
      "handed to Portal::Post .* no luck");
}

}  // namespace
}  // namespace braid
