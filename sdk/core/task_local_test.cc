// TaskLocal: who sees which value, and that every way out puts the old one
// back.

#include "braid/core/task_local.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/core/timeout.h"
#include "braid/testing/every_order.h"
#include "braid/testing/virtual_time.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr TaskLocal<std::string> kName;
constexpr TaskLocal<int> kNumber;

std::string Name() { return kName.Get() == nullptr ? "none" : *kName.Get(); }

TEST(TaskLocal, IsSeenInsideAndNowhereElse) {
  EXPECT_EQ(Name(), "none");  // and outside of any loop
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    EXPECT_EQ(Name(), "none");
    const int result = co_await kName.With("a", []() -> Task<int> {
      EXPECT_EQ(Name(), "a");
      co_await SleepFor(1s);
      EXPECT_EQ(Name(), "a");
      co_return 4;
    });
    EXPECT_EQ(result, 4);
    EXPECT_EQ(Name(), "none");
  });
}

TEST(TaskLocal, AnInnerValueHidesAnOuterOne) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    co_await kName.With("outer", []() -> Task<void> {
      co_await kNumber.With(7, []() -> Task<void> {
        co_await kName.With("inner", []() -> Task<void> {
          EXPECT_EQ(Name(), "inner");
          EXPECT_EQ(*kNumber.Get(), 7);
          co_return;
        });
        EXPECT_EQ(Name(), "outer");
      });
      EXPECT_EQ(kNumber.Get(), nullptr);
      EXPECT_EQ(Name(), "outer");
    });
  });
}

// Story: the inner description was made before the outer value was set, and hid
// it.
TEST(TaskLocal, DescriptionsNestDirectly) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    co_await kName.With("name", kNumber.With(7, []() -> Task<void> {
      EXPECT_EQ(Name(), "name");
      EXPECT_NE(kNumber.Get(), nullptr);
      co_await Checkpoint();
      EXPECT_EQ(Name(), "name");
    }));
    // And one made elsewhere sees the values of where it is awaited.
    auto made_outside = kNumber.With(8, []() -> Task<void> {
      EXPECT_EQ(Name(), "name");
      EXPECT_EQ(*kNumber.Get(), 8);
      co_return;
    });
    co_await kName.With("name", std::move(made_outside));
    auto dropped = kName.With("dropped", Checkpoint());
    (void)dropped;
  });
}

TEST(TaskLocal, APlainCallableSeesItToo) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    std::string seen;
    co_await kName.With("plain", [&] {
      seen = Name();
      return SleepFor(1s);
    });
    EXPECT_EQ(seen, "plain");
  });
}

// A started task keeps what its starter saw at that moment.
TEST(TaskLocal, IsInheritedAtStart) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    std::vector<std::string> seen(4);
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          auto look = [](std::string* seen) -> Task<void> {
            *seen = Name();
            co_await SleepFor(1s);
            EXPECT_EQ(*seen, Name());
            // Its own changes don't flow back.
            co_await kName.With("own", SleepFor(1s));
            EXPECT_EQ(*seen, Name());
          };
          group.Start("before", look, seen.data());
          co_await kName.With("a", [&]() -> Task<void> {
            group.Start("in a", look, &seen[1]);
            // A task that a task starts inherits from that one.
            group.Start(
                "starter",
                [](TaskGroup* group, decltype(look) look,
                   std::string* seen) -> Task<void> {
                  co_await kName.With("b", [&]() -> Task<void> {
                    group->Start("in b", look, seen);
                    co_return;
                  });
                },
                &group, look, &seen[2]);
            co_return;
          });
          group.Start("after", look, &seen[3]);
          co_return co_await group.Join();
        });
    EXPECT_TRUE(status.ok());
    EXPECT_THAT(seen, testing::ElementsAre("none", "a", "b", "none"));
  });
}

TEST(TaskLocal, EveryWayOutPutsTheOldValueBack) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    co_await kName.With("old", []() -> Task<void> {
      // Stopped.
      EXPECT_FALSE(co_await MoveOnAfter(
          1s, kName.With("new", kName.With("newer", SleepForever()))));
      // An exception from a coroutine, and from a callable that is none.
      EXPECT_EQ(Name(), "old");
      for (bool at_once : {false, true}) {
        bool caught = false;
        try {
          if (at_once) {
            co_await kName.With("new", [] {
              if (Name() == "new") throw std::runtime_error("boom");
              return SleepFor(1s);
            });
          } else {
            co_await kName.With("new", []() -> Task<void> {
              co_await SleepFor(1s);
              throw std::runtime_error("boom");
            });
          }
        } catch (const std::runtime_error&) {
          caught = true;
        }
        EXPECT_TRUE(caught);
        EXPECT_EQ(Name(), "old");
      }
      // OrReturn inside.
      absl::Status status =
          co_await kName.With("new", []() -> Task<absl::Status> {
            co_await OrReturn(absl::AbortedError("out"));
            co_return absl::OkStatus();
          });
      EXPECT_EQ(status, absl::AbortedError("out"));
      EXPECT_EQ(Name(), "old");
      // A group whose body is stopped and whose frame stays for a while.
      EXPECT_FALSE(co_await MoveOnAfter(1s, []() -> Task<void> {
        (void)co_await WithTaskGroup([](TaskGroup& group) -> Task<void> {
          co_await kName.With("new", [&]() -> Task<void> {
            group.Start("child", []() -> Task<void> {
              co_await Shield(SleepFor(2s));
              EXPECT_EQ(Name(), "new");
              co_await Checkpoint();
            });
            co_await SleepForever();
          });
        });
      }));
      EXPECT_EQ(Name(), "old");
    });
  });
}

TEST(TaskLocal, AValueGoesWithItsLastUser) {
  RunInEveryOrder([](VirtualTime&) -> Task<void> {
    static constexpr TaskLocal<std::shared_ptr<int>> kShared;
    auto value = std::make_shared<int>(1);
    auto status =
        co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
          co_await kShared.With(value, [&]() -> Task<void> {
            EXPECT_EQ(value.use_count(), 2);
            group.Start("child", []() -> Task<void> {
              co_await SleepFor(1s);
              EXPECT_EQ(**kShared.Get(), 1);
            });
            co_return;
          });
          EXPECT_EQ(value.use_count(), 2);  // the child's
          absl::Status joined = co_await group.Join();
          EXPECT_EQ(value.use_count(), 1);
          co_return joined;
        });
    EXPECT_TRUE(status.ok());
  });
}

// Long lists are released without recursion.
TEST(TaskLocal, AHundredThousandNestedValues) {
  struct Nest {
    static Task<int> At(int depth) {
      if (depth == 0) co_return *kNumber.Get();
      co_return co_await kNumber.With(depth, At(depth - 1));
    }
  };
  RunInOrder([](VirtualTime&) -> Task<void> {
    EXPECT_EQ(co_await Nest::At(100'000), 1);
    EXPECT_EQ(kNumber.Get(), nullptr);
  });
}

}  // namespace
}  // namespace braid
