// Children of this process: how they end, and what is cancelled loses nothing.

#include "braid/os/child_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string_view>

#include "braid/backend/every_backend.h"
#include "braid/core/core.h"
#include "braid/core/status.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr char kWhy[] = "the simulation has no processes";

// A child that ends with the code that it is told, or when it is killed.
class Child {
 public:
  Child() {
    EXPECT_EQ(::pipe2(pipe_.data(), O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ != 0) return;
    unsigned char code = 0;
    ::close(pipe_[1]);
    _exit(::read(pipe_[0], &code, 1) == 1 ? code : 99);
  }
  ~Child() {
    ::close(pipe_[0]);
    ::close(pipe_[1]);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);  // for watches that let it run
  }

  pid_t pid() const { return pid_; }
  void End(unsigned char code) { EXPECT_EQ(::write(pipe_[1], &code, 1), 1); }
  void Kill(int signal) { EXPECT_EQ(::kill(pid_, signal), 0); }
  // Whether the system still remembers it.
  bool exists() const { return ::kill(pid_, 0) == 0; }

 private:
  std::array<int, 2> pipe_;
  pid_t pid_;
};

TEST(ChildWatch, SaysHowAChildEnded) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    Child good;
    Child bad;
    Child killed;
    ChildWatch good_watch = co_await OrReturn(ChildWatch::Open(good.pid()));
    ChildWatch bad_watch = co_await OrReturn(ChildWatch::Open(bad.pid()));
    ChildWatch killed_watch = co_await OrReturn(ChildWatch::Open(killed.pid()));
    good.End(0);
    const ExitStatus ended = co_await OrReturn(good_watch.Exited());
    EXPECT_TRUE(ended.success());
    bad.End(3);
    const ExitStatus failed = co_await OrReturn(bad_watch.Exited());
    EXPECT_EQ(failed, ExitStatus{.code = 3});
    EXPECT_EQ(failed.ToString(), "exit code 3");
    killed.Kill(SIGKILL);
    const ExitStatus by_signal = co_await OrReturn(killed_watch.Exited());
    EXPECT_EQ(by_signal, ExitStatus{.signal = SIGKILL});
    EXPECT_FALSE(by_signal.success());
    EXPECT_EQ(by_signal.ToString(), "killed by SIGKILL");
    co_return absl::OkStatus();
  });
}

TEST(ChildWatch, WaitsUntilItHasEndedAndSaysSoAgain) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    Child child;
    std::optional<ChildWatch> watch =
        co_await OrReturn(ChildWatch::Open(child.pid()));
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<absl::Status> {
            const ExitStatus status = co_await OrReturn(watch->Exited());
            EXPECT_EQ(status.code, 7);
            co_return absl::OkStatus();
          });
          co_await UntilWaiting("waiter");
          const absl::Status busy = (co_await watch->Exited()).status();
          EXPECT_TRUE(IsBusy(busy)) << busy;
          child.End(7);
          co_return co_await group.Join();
        }));
    EXPECT_TRUE(child.exists()) << "its id is kept";
    const ExitStatus again = co_await OrReturn(watch->Exited());
    EXPECT_EQ(again.code, 7);
    watch.reset();
    EXPECT_FALSE(child.exists()) << "no zombie stays";
    co_return absl::OkStatus();
  });
}

TEST(ChildWatch, SeveralAreWatchedAtATime) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    std::array<Child, 8> children;
    int sum = 0;
    co_await OrReturn(WithTaskGroup([&](TaskGroup& group) -> Task<void> {
      for (Child& child : children) {
        group.Start("waiter", [&]() -> Task<absl::Status> {
          ChildWatch watch = co_await OrReturn(ChildWatch::Open(child.pid()));
          sum += (co_await OrReturn(watch.Exited())).code;
          co_return absl::OkStatus();
        });
      }
      co_await UntilWaiting("waiter");
      for (size_t i = children.size(); i-- > 0;)
        children.at(i).End(static_cast<unsigned char>(1 << i));
      EXPECT_TRUE((co_await group.Join()).ok());
    }));
    EXPECT_EQ(sum, 255);
    co_return absl::OkStatus();
  });
}

TEST(ChildWatch, WhatIsNoChildIsRefused) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    for (const pid_t pid : {0, -1}) {
      const absl::Status status = ChildWatch::Open(pid).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    }
    const absl::Status own = ChildWatch::Open(::getpid()).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(own)) << own;
    EXPECT_NE(own.message().find("isn't a child"), std::string_view::npos);
    pid_t gone = 0;
    {
      Child child;
      gone = child.pid();
      child.End(0);
    }
    const absl::Status none = ChildWatch::Open(gone).status();
    EXPECT_TRUE(absl::IsNotFound(none)) << none;
    co_return absl::OkStatus();
  });
}

// Another took the child's end away.
TEST(ChildWatch, AnEndThatAnotherHasTakenIsAnError) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    Child child;
    ChildWatch watch = co_await OrReturn(ChildWatch::Open(child.pid()));
    child.End(0);
    EXPECT_EQ(::waitpid(child.pid(), nullptr, 0), child.pid());
    const absl::Status status = (co_await watch.Exited()).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    co_return absl::OkStatus();
  });
}

TEST(ChildWatch, GoingItTellsWhoWaits) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    Child child;
    std::optional<ChildWatch> watch =
        co_await OrReturn(ChildWatch::Open(child.pid()));
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("waiter", [&]() -> Task<void> {
            const absl::Status status = (co_await watch->Exited()).status();
            EXPECT_TRUE(IsClosed(status)) << status;
          });
          co_await UntilWaiting("waiter");
          watch.reset();
          co_return co_await group.Join();
        }));
    EXPECT_TRUE(child.exists()) << "it runs on";
    child.End(0);
    co_return absl::OkStatus();
  });
}

// The watch goes between the child's end and its hearer's turn.
TEST(ChildWatch, AnEndThatIsOnItsWayIsDelivered) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    Child child;
    std::optional<ChildWatch> watch =
        co_await OrReturn(ChildWatch::Open(child.pid()));
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          bool heard = false;
          group.Start("waiter", [&]() -> Task<void> {
            heard = (co_await watch->Exited()).ok();
          });
          co_await UntilWaiting("waiter");
          child.End(0);
          // Ready, and not resumed; unless its turn came first.
          for (bool waits = true; waits;) {
            waits = false;
            for (const TaskInfo& task : LiveTasks()) {
              waits = waits || (task.name == "waiter" &&
                                task.state == TaskInfo::State::kWaiting);
            }
            if (waits) co_await Checkpoint();
          }
          watch.reset();
          co_await OrReturn(group.Join());
          EXPECT_TRUE(heard);
          co_return absl::OkStatus();
        });
  });
}

TEST(ChildWatchCancellation, NothingIsLost) {
  RunOnRealBackends(kWhy, []() -> Task<absl::Status> {
    Child child;
    ChildWatch watch = co_await OrReturn(ChildWatch::Open(child.pid()));
    CancelScope before;
    before.Cancel();
    EXPECT_FALSE((co_await before.Run(watch.Exited())).has_value());
    EXPECT_FALSE((co_await MoveOnAfter(1ms, watch.Exited())).has_value());
    co_await OrReturn(
        WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto task = group.Start("waiter", [&]() -> Task<absl::Status> {
            co_return (co_await watch.Exited()).status();
          });
          co_await UntilWaiting("waiter");
          child.End(5);
          task.Cancel();
          task.Cancel();
          (void)co_await task.Join();
          co_return absl::OkStatus();
        }));
    const auto cleaned = co_await MoveOnAfter(
        0ms, Finally(SleepForever(), [&]() -> Task<absl::Status> {
          const ExitStatus status = co_await OrReturn(watch.Exited());
          EXPECT_EQ(status.code, 5);
          co_return absl::OkStatus();
        }));
    EXPECT_FALSE(cleaned.has_value());
    co_return absl::OkStatus();
  });
}

TEST(ChildWatch, ASimulationHasNoProcesses) {
  RunOnBackend("sim", []() -> Task<absl::Status> {
    const absl::Status status = ChildWatch::Open(::getpid()).status();
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    co_return absl::OkStatus();
  });
}

}  // namespace
}  // namespace braid
