// The collectors that come with the SDK: build, process, runtime.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/metrics/build_info.h"
#include "braid/metrics/exposition.h"
#include "braid/metrics/process.h"
#include "braid/metrics/promtool.h"
#include "braid/metrics/registry.h"
#include "braid/metrics/runtime.h"
#include "braid/testing/virtual_time.h"

namespace braid::metrics {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Metrics without labels, by name, without those of the registry itself.
std::map<std::string, double> Read(const Registry& registry) {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    if (family.name.starts_with("braid_metrics_")) continue;
    for (const auto& metric : family.metric)
      values[family.name] = metric.counter.value + metric.gauge.value;
  }
  return values;
}

// A /proc that a test writes.
class FakeReader final : public ProcessReader {
 public:
  absl::StatusOr<std::string> Read(std::string_view path) override {
    ++reads;
    const auto found = files.find(std::string(path));
    if (found == files.end()) return absl::NotFoundError("no such file");
    return found->second;
  }
  absl::StatusOr<size_t> CountEntries(std::string_view path) override {
    EXPECT_EQ(path, "/proc/self/fd");
    if (!descriptors.has_value())
      return absl::NotFoundError("no such directory");
    return *descriptors;
  }
  std::optional<size_t> HeapBytes() override { return heap; }

  std::map<std::string, std::string> files;
  std::optional<size_t> descriptors;
  std::optional<size_t> heap;
  int reads = 0;
};

constexpr const char* kStat =
    "4242 (we) ird (name) S 1 2 3 0 -1 4194304 900 0 1 0 150 50 0 0 20 0 7 0 "
    "300000 123456789 1000 18446744073709551615 1 1 0";
constexpr const char* kLimits =
    "Limit                     Soft Limit           Hard Limit           Units "
    "    \n"
    "Max open files            1024                 1048576              files "
    "    \n"
    "Max address space         unlimited            unlimited            bytes "
    "    \n";

TEST(ProcessMetricsTest, ComeFromProc) {
  Registry registry;
  auto owned = std::make_unique<FakeReader>();
  FakeReader& reader = *owned;
  reader.files = {{"/proc/self/stat", kStat},
                  {"/proc/self/limits", kLimits},
                  {"/proc/stat", "cpu 1 2\nbtime 1700000000\n"}};
  reader.descriptors = 9;
  reader.heap = 4096;
  ASSERT_TRUE(AddProcessMetrics(registry, std::move(owned)).ok());
  EXPECT_EQ(reader.reads, 0);  // nothing before a scrape
  // 100 ticks a second and pages of 4 KiB are what Linux has on x86 and ARM
  // servers.
  EXPECT_THAT(
      Read(registry),
      UnorderedElementsAre(
          Pair("process_cpu_seconds_total", 2), Pair("process_threads", 7),
          Pair("process_start_time_seconds", 1700003000),
          Pair("process_virtual_memory_bytes", 123456789),
          Pair("process_resident_memory_bytes", 4096000),
          Pair("process_max_fds", 1024), Pair("process_open_fds", 9),
          Pair("process_heap_bytes", 4096)));
  // The start doesn't move when the wall clock is corrected; a limit that is
  // there is shown.
  reader.files["/proc/stat"] = "btime 1700000009\n";
  reader.files["/proc/self/limits"] =
      "Max address space         1000000             unlimited            "
      "bytes     \n";
  EXPECT_EQ(Read(registry)["process_start_time_seconds"], 1700003000);
  EXPECT_EQ(Read(registry)["process_virtual_memory_max_bytes"], 1000000);
}

TEST(ProcessMetricsTest, WhatCannotBeReadIsLeftOut) {
  for (const char* stat :
       {"", "1 (x", "1 (x)",
        "1 (x) S a b c d e f g h i j k l m n o p q r s t u v w"}) {
    Registry registry;
    auto reader = std::make_unique<FakeReader>();
    reader->files = {{"/proc/self/stat", stat},
                     {"/proc/self/limits", "Max open files"},
                     {"/proc/stat", "btime x"}};
    ASSERT_TRUE(AddProcessMetrics(registry, std::move(reader)).ok());
    EXPECT_THAT(Read(registry), IsEmpty()) << stat;
  }
  Registry registry;
  ASSERT_TRUE(AddProcessMetrics(registry, std::make_unique<FakeReader>()).ok());
  EXPECT_THAT(Read(registry), IsEmpty());
  EXPECT_THAT(AddProcessMetrics(registry, nullptr).ToString(),
              HasSubstr("null"));
}

TEST(ProcessMetricsTest, OfThisProcess) {
  Registry registry;
  ASSERT_TRUE(AddProcessMetrics(registry, RealProcessReader()).ok());
  auto values = Read(registry);
  EXPECT_GT(values["process_resident_memory_bytes"], 1e6);
  EXPECT_LT(values["process_resident_memory_bytes"],
            values["process_virtual_memory_bytes"]);
  EXPECT_GE(values["process_cpu_seconds_total"], 0);
  EXPECT_GE(values["process_threads"], 1);
  EXPECT_GE(values["process_open_fds"], 1);
  EXPECT_GT(values["process_max_fds"], values["process_open_fds"]);
  EXPECT_GT(values["process_start_time_seconds"], 1.6e9);
}

TEST(BuildInfoTest, IsOneWithLabels) {
  Registry registry;
  ASSERT_TRUE(
      AddBuildInfo(registry, {.version = "1.2.3", .revision = "abc\"def"})
          .ok());
  const std::string text = Expose(registry, Format::kText);
  EXPECT_THAT(text,
              HasSubstr(",revision=\"abc\\\"def\",version=\"1.2.3\"} 1\n"));
#ifdef __clang__
  EXPECT_THAT(text, HasSubstr("braid_build_info{compiler=\"clang 1"));
#endif
}

TEST(LoopMetricsTest, ShowWhatTheLoopDid) {
  Registry registry;
  VirtualTime time;
  const absl::Status status = braid::Run(time, [&]() -> Task<absl::Status> {
    std::optional<LoopMetrics> loop(*LoopMetrics::Add(registry, "main"));
    co_return co_await WithTaskGroup([&](TaskGroup& group)
                                         -> Task<absl::Status> {
      for (int i = 0; i < 3; ++i) {
        group.Start("sleeper", []() -> Task<void> { co_await SleepForever(); });
      }
      co_await SleepFor(std::chrono::seconds(1));
      const auto shown = [&] { return Expose(registry, Format::kText); };
      EXPECT_THAT(shown(), HasSubstr("braid_loop_tasks{loop=\"main\"} 1\n"));
      loop->Update();
      const std::string text = shown();
      EXPECT_THAT(text, HasSubstr("braid_loop_tasks{loop=\"main\"} 4\n"));
      EXPECT_THAT(
          text, HasSubstr("braid_loop_tasks_started_total{loop=\"main\"} 4\n"));
      EXPECT_THAT(
          text, HasSubstr("braid_loop_timers_fired_total{loop=\"main\"} 1\n"));
      // By itself, too.
      group.Start("keep", &LoopMetrics::Keep, &*loop);
      co_await SleepFor(std::chrono::milliseconds(1500));
      EXPECT_THAT(shown(), HasSubstr("braid_loop_tasks{loop=\"main\"} 5\n"));
      group.Cancel("done");
      const absl::Status joined = co_await group.Join();
      // The loop's series go with it.
      loop.reset();
      EXPECT_THAT(shown(), Not(HasSubstr("loop=\"main\"")));
      co_return joined;
    });
  });
  EXPECT_TRUE(status.ok()) << status;
}

// Loops on threads of their own were not seen at all. Each writes its cells
// while another thread scrapes: this is for ThreadSanitizer.
TEST(LoopMetricsTest, LoopsOnOtherThreadsAreToldApart) {
  Registry registry;
  std::atomic<int> running = 2;
  std::atomic<bool> stop = false;
  const auto shard = [&](const char* name) {
    VirtualTime time;
    const absl::Status status = braid::Run(time, [&]() -> Task<absl::Status> {
      const LoopMetrics added = *LoopMetrics::Add(registry, name);
      LoopMetrics loop = *LoopMetrics::Add(registry, name + std::string("-b"));
      --running;
      while (!stop) {
        loop.Update();
        co_await Checkpoint();
      }
      co_return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
  };
  std::thread one(shard, "shard-1");
  std::thread two(shard, "shard-2");
  while (running > 0) std::this_thread::yield();
  std::string text;
  for (int i = 0; i < 100; ++i) text = Expose(registry, Format::kText);
  stop = true;
  one.join();
  two.join();
  for (const char* loop : {"shard-1", "shard-1-b", "shard-2", "shard-2-b"}) {
    EXPECT_THAT(text, HasSubstr("braid_loop_tasks{loop=\"" + std::string(loop) +
                                "\"} 1\n"));
  }
}

TEST(CollectorsTest, PromtoolAccepts) {
  Registry registry;
  ASSERT_TRUE(
      AddBuildInfo(registry, {.version = "1.2.3", .revision = "abc"}).ok());
  ASSERT_TRUE(AddProcessMetrics(registry, RealProcessReader()).ok());
  VirtualTime time;
  std::string text;
  const absl::Status status = braid::Run(time, [&]() -> Task<absl::Status> {
    const LoopMetrics loop = *LoopMetrics::Add(registry, "main");
    text = Expose(registry, Format::kText);
    co_return absl::OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status;
  const auto complaints = PromtoolComplaints(text);
  if (!complaints.has_value())
    GTEST_SKIP() << "promtool is not installed: NOT CHECKED";
  EXPECT_EQ(*complaints, "");
}

}  // namespace
}  // namespace braid::metrics
