// The simulated disk: what survives a crash and what doesn't, how long things
// take, and faults.

#include "braid/backend/sim/disk.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "braid/backend/sim/simulation.h"
#include "braid/core/core.h"
#include "braid/core/status.h"
#include "braid/fs/file.h"
#include "braid/fs/filesystem.h"
#include "braid/testing/cancel_everywhere.h"
#include "braid/testing/explore_seeds.h"

namespace braid {
namespace {

using namespace std::chrono_literals;

constexpr FileOptions kNew = {.write = true, .create = true};

// Runs the program on a host and pulls the plug when it has ended; gives what
// the host's disk has then of `path`.
template <typename B>
std::optional<std::string> AfterACrash(uint64_t seed, std::string_view path,
                                       B body) {
  Simulation sim({.seed = seed});
  SimHost& host = sim.AddHost("host");
  host.Run(std::move(body));
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  host.Crash();
  return host.disk().Get(path);
}

// ------------------------------------------------------------ what survives

TEST(SimDisk, WhatWasSyncedSurvives) {
  ExploreSeeds(50, [](uint64_t seed) {
    const auto content = AfterACrash(seed, "/a", []() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      co_await OrReturn(file.Write("hello"));
      co_await OrReturn(file.SyncData());
      co_return co_await SyncDirectory("/");
    });
    EXPECT_EQ(content, "hello");
  });
}

TEST(SimDisk, OfWhatWasNotSyncedAnythingMayBeLost) {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    const auto content = AfterACrash(seed, "/a", []() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      co_await OrReturn(file.Write("hello"));
      co_return co_await SyncDirectory("/");
    });
    ASSERT_TRUE(content.has_value()) << "its name was synced";
    seen.insert(*content);
  }
  EXPECT_TRUE(seen.contains("")) << "a file without a byte";
  EXPECT_TRUE(seen.contains("hello"));
  EXPECT_TRUE(seen.contains(std::string(5, '\0'))) << "a size without bytes";
}

TEST(SimDisk, ASyncOfAFileDoesNotSyncItsName) {
  std::set<bool> seen;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const auto content = AfterACrash(seed, "/a", []() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      co_await OrReturn(file.Write("hello"));
      co_return co_await file.Sync();
    });
    seen.insert(content.has_value());
    if (content.has_value()) EXPECT_EQ(*content, "hello");
  }
  EXPECT_EQ(seen.size(), 2u) << "by the seed, it is there or not";
}

// Two sectors of a block, old and new, in any mixture; nothing else.
TEST(SimDisk, ABlockIsTornBetweenSectors) {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    const auto content = AfterACrash(seed, "/a", []() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      const std::string old(1024, 'o');
      const std::string fresh(1024, 'n');
      co_await OrReturn(file.Write(old));
      co_await OrReturn(file.Sync());
      co_await OrReturn(SyncDirectory("/"));
      co_return co_await file.WriteAt(0, fresh);
    });
    ASSERT_TRUE(content.has_value());
    ASSERT_EQ(content->size(), 1024u);
    for (const size_t sector : {0u, 512u}) {
      const char first = (*content)[sector];
      EXPECT_TRUE(first == 'o' || first == 'n');
      EXPECT_EQ(content->substr(sector, 512), std::string(512, first))
          << "a sector is written as a whole";
    }
    seen.insert({(*content)[0], (*content)[512]});
  }
  EXPECT_EQ(seen, (std::set<std::string>{"oo", "on", "no", "nn"}));
}

TEST(SimDisk, NamesSurviveInTheOrderInWhichTheyChanged) {
  std::set<std::vector<std::string>> seen;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.Run([]() -> Task<absl::Status> {
      co_await OrReturn(MakeDirectory("/d"));
      co_await OrReturn(SyncDirectory("/"));
      co_await OrReturn(MakeDirectory("/d/a"));
      co_await OrReturn(MakeDirectory("/d/b"));
      co_await OrReturn(Rename("/d/a", "/d/c"));
      co_return co_await RemoveDirectory("/d/b");
    });
    ASSERT_TRUE(sim.RunUntilIdle().ok());
    host.Crash();
    seen.insert(host.disk().List("/d"));
  }
  EXPECT_EQ(seen, (std::set<std::vector<std::string>>{
                      {}, {"a"}, {"a", "b"}, {"b", "c"}, {"c"}}));
}

// Moved from one directory to another, it is never in both nor in neither.
TEST(SimDisk, ARenameSurvivesAsAWhole) {
  ExploreSeeds(100, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Put("/from/a", "x");
    host.disk().PutDirectory("/to");
    host.Run([seed]() -> Task<absl::Status> {
      co_await OrReturn(Rename("/from/a", "/to/a"));
      co_return co_await SyncDirectory(seed % 2 == 0 ? "/from" : "/to");
    });
    ASSERT_TRUE(sim.RunUntilIdle().ok());
    host.Crash();
    EXPECT_EQ(host.disk().Get("/to/a"), "x");
    EXPECT_EQ(host.disk().Get("/from/a"), std::nullopt);
  });
}

// A file that was written and renamed without a sync may be empty: the mistake
// that simulations are there to find.
TEST(SimDisk, ARenameWithoutASyncCanLoseTheContent) {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Put("/a", "old");
    host.Run([]() -> Task<absl::Status> {
      co_return co_await ReplaceFile("/a", "new", {.durable = false});
    });
    ASSERT_TRUE(sim.RunUntilIdle().ok());
    host.Crash();
    seen.insert(host.disk().Get("/a").value_or("none"));
  }
  EXPECT_TRUE(seen.contains("old"));
  EXPECT_TRUE(seen.contains("new"));
  EXPECT_TRUE(seen.contains(""));
  EXPECT_FALSE(seen.contains("none"));
}

// At whatever moment the power fails.
TEST(SimDisk, AReplacedFileIsTheOldOrTheNew) {
  std::map<std::string, int> seen;
  ExploreSeeds(300, [&](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Put("/d/a", "old");
    bool completed = false;
    host.Run([&]() -> Task<absl::Status> {
      co_await OrReturn(ReplaceFile("/d/a", "new"));
      completed = true;
      co_return absl::OkStatus();
    });
    ASSERT_TRUE(sim.RunFor(Duration(100us) * static_cast<int>(seed)).ok());
    host.Crash();
    const std::string content = host.disk().Get("/d/a").value_or("none");
    EXPECT_TRUE(content == "new" || (content == "old" && !completed))
        << content << (completed ? ", completed" : "");
    ++seen[content + (completed ? ", completed" : "")];
  });
  EXPECT_EQ(seen.size(), 3u) << "some were too early, some in time, some late";
}

TEST(SimDisk, ARestartedProgramFindsWhatSurvived) {
  ExploreSeeds(20, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    std::vector<std::string> read;
    host.Run([&]() -> Task<absl::Status> {
      absl::StatusOr<std::string> before = co_await ReadWholeFile("count");
      if (!before.ok() && !absl::IsNotFound(before.status()))
        co_return before.status();
      read.push_back(before.value_or("0"));
      co_await OrReturn(
          ReplaceFile("count", std::to_string(std::stoi(read.back()) + 1)));
      co_await SleepForever();
      co_return absl::OkStatus();
    });
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(sim.RunFor(1s).ok());
      host.Restart();
    }
    EXPECT_EQ(read, (std::vector<std::string>{"0", "1", "2", "3", "4"}))
        << sim.trace();
  });
}

TEST(SimDisk, ASignalLosesNothing) {
  ExploreSeeds(20, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.Run([]() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      co_await OrReturn(file.Write("hello"));
      co_await SleepForever();
      co_return absl::OkStatus();
    });
    ASSERT_TRUE(sim.RunFor(1s).ok());
    host.Signal(SIGKILL);
    ASSERT_TRUE(sim.RunFor(1s).ok());
    EXPECT_FALSE(host.running());
    EXPECT_EQ(host.disk().Get("/a"), "hello");
  });
}

TEST(SimDisk, ACrashTakesWhatIsUnderWay) {
  ExploreSeeds(200, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Add({.short_transfer = 0.5});
    host.Run([]() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      const std::string data(10'000, 'x');
      for (;;) {
        co_await OrReturn(file.Write(data));
        co_await OrReturn(file.Sync());
        co_await OrReturn(GetFileInfo("/a"));
        co_await OrReturn(Rename("/a", "/b"));
        co_await OrReturn(Rename("/b", "/a"));
      }
    });
    ASSERT_TRUE(sim.RunFor(Duration(37us) * static_cast<int>(seed)).ok());
    host.Restart();
    ASSERT_TRUE(sim.RunFor(1ms).ok());
    host.Signal(SIGKILL);
    ASSERT_TRUE(sim.RunFor(1ms).ok());
  });
}

// A directory that was moved into what it had been above: as long as neither is
// synced, each is in the other, in memory or on the disk.
TEST(SimDisk, DirectoriesMayTradePlaces) {
  ExploreSeeds(50, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Put("/a/b/file", "x");
    host.Run([]() -> Task<absl::Status> {
      co_await OrReturn(Rename("/a/b", "/b"));
      co_return co_await Rename("/a", "/b/a");
    });
    ASSERT_TRUE(sim.RunUntilIdle().ok());
    EXPECT_EQ(host.disk().Get("/b/file"), "x");
    host.Crash();
    const std::string top = host.disk().List("/").front();
    EXPECT_EQ(
        host.disk()
            .Get(top == "a" && host.disk().List("/").size() == 2 ? "/a/b/file"
                                                                 : "/b/file")
            .value_or(""),
        "x");
  });
}

// ------------------------------------------------------------------- faults

TEST(SimDisk, TheNthRequestFails) {
  Simulation sim;
  SimHost& host = sim.AddHost("host");
  host.disk().Add({.path = "/log",
                   .only = FileCode::kWrite,
                   .after = 2,
                   .count = 1,
                   .error = EIO});
  host.Run([]() -> Task<absl::Status> {
    File log = co_await OrReturn(File::Open("/log", kNew));
    File other = co_await OrReturn(File::Open("/other", kNew));
    for (int i = 1; i <= 4; ++i) {
      EXPECT_TRUE((co_await other.Write("x")).ok());
      const absl::Status status = co_await log.Write("x");
      EXPECT_EQ(status.ok(), i != 3) << i << ": " << status;
      if (!status.ok())
        EXPECT_TRUE(absl::StrContains(status.message(), "write '/log'"))
            << status;
    }
    EXPECT_EQ(log.position(), 3u);
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
  EXPECT_EQ(host.disk().stats().failed, 1u);
}

TEST(SimDisk, AFaultIsAboutWhatIsBelowADirectory) {
  Simulation sim;
  SimHost& host = sim.AddHost("host");
  host.disk().PutDirectory("/data/deep");
  host.disk().PutDirectory("/database");
  host.Run([&]() -> Task<absl::Status> {
    {
      const ScopedFault broken =
          host.disk().Inject({.path = "/data/", .error = EIO});
      for (const auto& [path, fails] :
           {std::pair<std::string, bool>("/data/deep/a", true),
            {"/database/a", false},
            {"/data/../database/b", false},
            {"/database/../data/b", true}}) {
        EXPECT_NE((co_await File::Open(path, kNew)).ok(), fails) << path;
      }
      EXPECT_FALSE((co_await Rename("/database/a", "/data/a")).ok());
      EXPECT_FALSE((co_await ListDirectory("/data")).ok());
    }
    co_return co_await Rename("/database/a", "/data/a");
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
}

TEST(SimDisk, AFullDiskTakesWhatFits) {
  Simulation sim;
  SimHost& host =
      sim.AddHost("host", {.disk = {.capacity = uint64_t{3} * 4096}});
  host.Run([&]() -> Task<absl::Status> {
    File file = co_await OrReturn(File::Open("/a", kNew));
    const std::string data(20'000, 'x');
    absl::Status status = co_await file.Write(data);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_TRUE(
        absl::StrContains(status.message(), "after 12288 of 20000 bytes"))
        << status;
    EXPECT_EQ(file.position(), 12'288u);
    EXPECT_TRUE((co_await file.WriteAt(0, "in place")).ok());
    // What nobody can reach any more makes room, once nobody has it open.
    co_await OrReturn(RemoveFile("/a"));
    File other = co_await OrReturn(File::Open("/b", kNew));
    status = co_await other.Write("x");
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    co_await file.Close();
    EXPECT_EQ(host.disk().used(), 0u);
    co_await OrReturn(other.Write("x"));
    co_await OrReturn(other.Resize(1 << 20));
    EXPECT_EQ(host.disk().used(), 4096u) << "what was never written is free";
    co_await OrReturn(other.Resize(0));
    EXPECT_EQ(host.disk().used(), 0u);
    host.disk().SetCapacity(0);
    co_return co_await other.Write(data);
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
}

// The pages count as written then, and the next sync is about others.
TEST(SimDisk, ASyncThatFailedLosesDataForGood) {
  std::set<bool> lost;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Put("/a", "old");
    host.disk().Add({.only = FileCode::kSync, .count = 1, .error = EIO});
    host.Run([]() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", {.write = true}));
      co_await OrReturn(file.Write("new"));
      EXPECT_FALSE((co_await file.Sync()).ok());
      co_return co_await file.Sync();
    });
    ASSERT_TRUE(sim.RunUntilIdle().ok());
    EXPECT_EQ(host.disk().Get("/a"), "new") << "it is seen until the crash";
    host.Crash();
    lost.insert(host.disk().Get("/a") != "new");
  }
  EXPECT_EQ(lost.size(), 2u);
}

TEST(SimDisk, WrittenAgainItIsSynced) {
  ExploreSeeds(50, [](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Put("/a", "old");
    host.disk().Add({.only = FileCode::kSync, .count = 1, .error = EIO});
    host.Run([]() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", {.write = true}));
      do {
        co_await OrReturn(file.WriteAt(0, "new"));
      } while (!(co_await file.Sync()).ok());
      co_return absl::OkStatus();
    });
    ASSERT_TRUE(sim.RunUntilIdle().ok());
    host.Crash();
    EXPECT_EQ(host.disk().Get("/a"), "new");
  });
}

// One that takes several requests is whole for who awaits it, and isn't for
// others who look meanwhile.
TEST(SimDisk, ShortTransfersAreGoneOnWith) {
  std::set<std::string> between;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Put("/a", "aaaaaaaa");
    host.disk().Add({.short_transfer = 0.7});
    host.Run([&]() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", {.write = true}));
      std::array<char, 8> buffer;
      const auto read = [&]() -> Task<absl::Status> {
        const size_t size = co_await OrReturn(file.ReadAt(0, buffer));
        EXPECT_EQ(size, 8u);
        between.insert(std::string(buffer.data(), size));
        co_return absl::OkStatus();
      };
      co_await OrReturn(AllOf(file.Write("bbbbbbbb"), read()));
      EXPECT_EQ(file.position(), 8u);
      EXPECT_EQ(host.disk().Get("/a"), "bbbbbbbb");
      co_return absl::OkStatus();
    });
    const absl::Status status = sim.RunUntilIdle();
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_TRUE(between.contains("aaaaaaaa"));
  EXPECT_TRUE(between.contains("bbbbbbbb"));
  EXPECT_GT(between.size(), 2u) << "some saw a part of it";
}

TEST(SimDisk, AFaultHalfWaySaysHowMuchWasWritten) {
  Simulation sim;
  SimHost& host = sim.AddHost("host");
  host.disk().Add({.only = FileCode::kWrite, .short_transfer = 1});
  host.disk().Add(
      {.only = FileCode::kWrite, .after = 1, .count = 1, .error = EIO});
  host.Run([&]() -> Task<absl::Status> {
    File file = co_await OrReturn(File::Open("/a", kNew));
    const std::string data(1000, 'x');
    const absl::Status status = co_await file.Write(data);
    const std::string done = std::to_string(file.position());
    EXPECT_GT(file.position(), 0u);
    EXPECT_LT(file.position(), 1000u);
    EXPECT_TRUE(
        absl::StrContains(status.message(), "after " + done + " of 1000 bytes"))
        << status;
    EXPECT_EQ(host.disk().Get("/a")->size(), file.position());
    co_return absl::OkStatus();
  });
  EXPECT_TRUE(sim.RunUntilIdle().ok());
}

// --------------------------------------------------------------------- time

constexpr SimDiskOptions kExact = {
    .latency = 1ms, .jitter = {}, .sync_latency = 10ms, .sync_jitter = {}};

TEST(SimDisk, ARequestTakesAsLongAsItWasTold) {
  Simulation sim;
  SimHost& host = sim.AddHost("host", {.disk = kExact});
  host.Run([&]() -> Task<absl::Status> {
    File file = co_await OrReturn(File::Open("/a", kNew));
    EXPECT_EQ(sim.elapsed(), 1ms);
    co_await OrReturn(file.Write("x"));
    EXPECT_EQ(sim.elapsed(), 2ms);
    co_await OrReturn(file.Sync());
    EXPECT_EQ(sim.elapsed(), 13ms);
    const ScopedFault slow = host.disk().Inject({.delay = 5s});
    co_await OrReturn(file.Write("x"));
    EXPECT_EQ(sim.elapsed(), 5014ms);
    co_return absl::OkStatus();
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
}

TEST(SimDisk, BytesTakeTheirTime) {
  Simulation sim;
  SimDiskOptions options = kExact;
  options.bytes_per_second = 1'000'000;
  SimHost& host = sim.AddHost("host", {.disk = options});
  host.Run([&]() -> Task<absl::Status> {
    File a = co_await OrReturn(File::Open("/a", kNew));
    File b = co_await OrReturn(File::Open("/b", kNew));
    const std::string data(1'000'000, 'x');
    const Time start = Now();
    co_await OrReturn(AllOf(a.Write(data), b.Write(data)));
    EXPECT_GE(Now() - start, 2s);
    EXPECT_LT(Now() - start, 2s + 2ms);
    co_return absl::OkStatus();
  });
  const absl::Status status = sim.RunUntilIdle();
  EXPECT_TRUE(status.ok()) << status;
}

// ------------------------------------------------------------- cancellation

// It happened and is told of, or it didn't and isn't, by when the cancel came.
TEST(SimDisk, AnOperationIsStoppedUntilItHasHappened) {
  std::set<bool> seen;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host", {.disk = kExact});
    host.Run([&]() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      const auto status = co_await MoveOnAfter(500us, file.Write("x"));
      seen.insert(status.has_value());
      EXPECT_EQ(host.disk().Get("/a"), status.has_value() ? "x" : "");
      EXPECT_EQ(sim.elapsed(), status.has_value() ? 2ms : 1500us);
      co_return absl::OkStatus();
    });
    const absl::Status status = sim.RunUntilIdle();
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(SimDisk, EveryPlaceOfAReplacementMayBeCancelled) {
  std::optional<std::string> content;
  bool completed = false;
  const int places = CancelEverywhere(
      [&]() -> Task<absl::Status> {
        SimHost& host = *SimHost::CurrentOrNull();
        content.reset();
        completed = false;
        host.disk().Put("/a", "old");
        co_return co_await Finally(
            [&]() -> Task<absl::Status> {
              co_await OrReturn(ReplaceFile("/a", "new"));
              completed = true;
              co_return absl::OkStatus();
            },
            [&]() -> Task<absl::Status> {
              content = host.disk().Get("/a");
              co_return absl::OkStatus();
            });
      },
      [&] {
        if (!content.has_value()) return;  // stopped before it began
        EXPECT_TRUE(content == "new" || (!completed && content == "old"))
            << *content;
      });
  EXPECT_GT(places, 5);
}

// --------------------------------------------------------------- repetition

TEST(SimDisk, TheSameSeedGivesTheSameRun) {
  const auto run = [](uint64_t seed) {
    Simulation sim({.seed = seed});
    SimHost& host = sim.AddHost("host");
    host.disk().Add({.short_transfer = 0.3, .jitter = 1ms});
    host.Run([]() -> Task<absl::Status> {
      File file = co_await OrReturn(File::Open("/a", kNew));
      const std::string data(5000, 'x');
      for (int i = 0; i < 10; ++i) {
        (void)co_await MoveOnAfter(500us, file.Write(data));
        (void)co_await MoveOnAfter(1ms, file.Sync());
      }
      co_return absl::OkStatus();
    });
    EXPECT_TRUE(sim.RunFor(20ms).ok());
    host.Restart();
    EXPECT_TRUE(sim.RunUntilIdle().ok());
    return std::pair(sim.trace(), host.disk().Get("/a"));
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) EXPECT_EQ(run(seed), run(seed));
  EXPECT_NE(run(1), run(2));
  EXPECT_TRUE(absl::StrContains(run(1).first, "host write /a, "));
}

}  // namespace
}  // namespace braid
