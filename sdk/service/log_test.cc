#include "braid/service/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/ostream_sink.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_group.h"
#include "braid/testing/virtual_time.h"

namespace braid::service {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// 2026-03-01 12:34:56.000789 UTC.
constexpr std::chrono::system_clock::time_point kNow =
    std::chrono::sys_days(std::chrono::year(2026) / 3 / 1) +
    std::chrono::hours(12) + std::chrono::minutes(34) +
    std::chrono::seconds(56) + std::chrono::microseconds(789);

class Lines final : public LogSink {
 public:
  void Write(LogLevel level, std::string_view line) noexcept override {
    const std::lock_guard lock(mutex);
    if (full) {
      ++lost;
      return;
    }
    lines.emplace_back(line);
    levels.push_back(level);
  }
  uint64_t dropped() const noexcept override { return lost; }

  std::mutex mutex;
  std::vector<std::string> lines;
  std::vector<LogLevel> levels;
  bool full = false;
  uint64_t lost = 0;
};

class LogTest : public ::testing::Test {
 protected:
  Logger Make(LogOptions options = {}) {
    options.service = "test";
    options.clock = [this] { return now_; };
    return Logger(std::move(options), lines_);
  }
  const std::string& Last() const { return lines_->lines.back(); }

  std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
  std::chrono::system_clock::time_point now_ = kNow;
};

TEST_F(LogTest, Text) {
  const Logger log = Make();
  log.Info("listening on {}:{}", "127.0.0.1", 7);
  EXPECT_EQ(Last(),
            "time=2026-03-01T12:34:56.000789Z level=info service=test "
            "msg=\"listening on 127.0.0.1:7\"");
  log.Warning({{"peer", "a b"}, {"bytes", 12}, {"ratio", 0.5}, {"ok", true}},
              "short");
  EXPECT_EQ(Last(),
            "time=2026-03-01T12:34:56.000789Z level=warning service=test "
            "msg=short peer=\"a b\" bytes=12 ratio=0.5 ok=true");
  log.Error("failed");
  EXPECT_THAT(Last(), HasSubstr(" level=error "));
  EXPECT_THAT(lines_->levels, ElementsAre(LogLevel::kInfo, LogLevel::kWarning,
                                          LogLevel::kError));
}

TEST_F(LogTest, Json) {
  const Logger log = Make({.format = LogFormat::kJson});
  log.Info({{"peer", "a\"b"},
            {"bytes", uint64_t{18446744073709551615u}},
            {"delta", int64_t{-5}},
            {"nan", std::nan("")},
            {"ok", false},
            {"took", std::chrono::milliseconds(1500)}},
           "hello {}", 1);
  EXPECT_EQ(Last(),
            "{\"time\":\"2026-03-01T12:34:56.000789Z\",\"level\":\"info\","
            "\"service\":\"test\",\"msg\":\"hello 1\","
            "\"peer\":\"a\\\"b\",\"bytes\":18446744073709551615,\"delta\":-5,"
            "\"nan\":\"NaN\",\"ok\":false,\"took\":1.5}");
}

// Nothing in a value can end a line, forge another one, or make it invalid.
TEST_F(LogTest, NastyValuesStayInTheirPlace) {
  const std::string nasty =
      std::string("a\nlevel=error\r\t\x1b[31m\"\\\0=", 24) + "\xFF\xC3\xA9\x7F";
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const Logger log = Make({.format = format});
    log.Info(
        {{"k", nasty}, {"level", "x"}, {"bad key\n", 1}, {"", 2}, {"msg", 3}},
        "{}", nasty);
    for (char c : Last())
      EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) << Last();
    const std::string escaped =
        "a\\nlevel=error\\r\\t\\u001b[31m\\\"\\\\\\u0000="
        "\xEF\xBF\xBD\xC3\xA9\\u007f";
    if (format == LogFormat::kText) {
      EXPECT_THAT(Last(), HasSubstr(" msg=\"" + escaped + "\" k=\"" + escaped +
                                    "\" level_=x bad_key_=1 _=2 msg_=3"));
    } else {
      EXPECT_THAT(
          Last(),
          HasSubstr("\"k\":\"" + escaped +
                    "\",\"level_\":\"x\",\"bad_key_\":1,\"_\":2,\"msg_\":3}"));
    }
  }
}

TEST_F(LogTest, LongValuesAreCut) {
  const Logger log = Make();
  log.Info({{std::string(100000, 'k'), std::string(100000, 'v')}}, "{}",
           std::string(100000, 'm'));
  EXPECT_LT(Last().size(), 20000u);
  EXPECT_THAT(Last(), HasSubstr("mmm... kkk"));
}

TEST_F(LogTest, LevelsAreSetForAllCopies) {
  const Logger log = Make();
  const Logger copy = log.With({{"component", "x"}});
  log.Debug("no");
  EXPECT_THAT(lines_->lines, IsEmpty());
  log.SetLevel(LogLevel::kDebug);
  copy.Debug("yes");
  EXPECT_THAT(lines_->lines, SizeIs(1));
  copy.SetLevel(LogLevel::kOff);
  log.Error("no");
  EXPECT_THAT(lines_->lines, SizeIs(1));
  EXPECT_EQ(log.level(), LogLevel::kOff);
  log.SetLevel(LogLevel::kError);
  log.Log(LogLevel::kWarning, {}, "no");
  log.Log(LogLevel::kError, {}, "yes");
  log.Log(LogLevel::kOff, {}, "never");
  EXPECT_THAT(lines_->lines, SizeIs(2));
}

// What is off costs nothing: its arguments aren't formatted.
struct Unformattable {};
}  // namespace
}  // namespace braid::service

template <>
struct fmt::formatter<braid::service::Unformattable> {
  constexpr auto parse(fmt::format_parse_context& context) {
    return context.begin();
  }
  auto format(const braid::service::Unformattable&,
              fmt::format_context& context) const -> decltype(context.out()) {
    throw std::runtime_error("can't be\nformatted");
  }
};

namespace braid::service {
namespace {

TEST_F(LogTest, FormattingThatFailsIsLoggedAnyway) {
  const Logger log = Make();
  log.Debug("{}", Unformattable());
  EXPECT_THAT(lines_->lines, IsEmpty());
  log.Info("value {}", Unformattable());
  EXPECT_THAT(
      Last(),
      HasSubstr("msg=\"value {} (not formatted: can't be\\nformatted)\""));
  log.Info("{:{}}", "x", -1);  // a negative width
  EXPECT_THAT(Last(), HasSubstr("not formatted"));
}

TEST_F(LogTest, WithAddsFields) {
  const Logger log = Make();
  const Logger rpc =
      log.With({{"component", "rpc"}, {"shard", 3}}).With({{"call", 7}});
  rpc.Info({{"peer", "x"}}, "hello");
  EXPECT_THAT(Last(),
              HasSubstr("msg=hello component=rpc shard=3 call=7 peer=x"));
  log.Info("hello");
  EXPECT_THAT(Last(), Not(HasSubstr("component")));
}

TEST_F(LogTest, TaskAndTrace) {
  const Logger log = Make({.trace_id = [] {
    return std::string("0123456789abcdef0123456789abcdef");
  }});
  VirtualTime time;
  const absl::Status status = braid::Run(time, [&]() -> Task<absl::Status> {
    co_return co_await WithTaskGroup(
        [&](TaskGroup& group) -> Task<absl::Status> {
          group.Start("the listener", [&log]() -> Task<void> {
            log.Info("hello");
            co_return;
          });
          co_return co_await group.Join();
        });
  });
  EXPECT_TRUE(status.ok());
  EXPECT_THAT(Last(),
              HasSubstr("service=test task=\"the listener\" task_id=2 "
                        "trace_id=0123456789abcdef0123456789abcdef msg"));
  log.Info("outside");
  EXPECT_THAT(Last(), Not(HasSubstr("task")));
}

TEST_F(LogTest, RepeatsAreThinnedOut) {
  const Logger log = Make({.repeat_limit = 3});
  for (int i = 0; i < 10; ++i) log.Info("dropped {}", i);
  EXPECT_THAT(lines_->lines, SizeIs(3));
  log.Warning("dropped {}", 0);  // another level
  log.Info("something else");    // another message
  EXPECT_THAT(lines_->lines, SizeIs(5));
  now_ += std::chrono::milliseconds(999);
  log.Info("dropped {}", 11);
  EXPECT_THAT(lines_->lines, SizeIs(5));
  now_ += std::chrono::milliseconds(1);
  log.Info("dropped {}", 12);
  EXPECT_THAT(Last(), HasSubstr("msg=\"dropped 12\" repeats_left_out=8"));
  log.Info("dropped {}", 13);
  EXPECT_THAT(Last(), Not(HasSubstr("repeats_left_out")));
  EXPECT_EQ(log.stats().thinned_out, 8u);
  now_ -= std::chrono::hours(1);  // the wall clock was set back
  for (int i = 0; i < 10; ++i) log.Info("dropped {}", i);
  EXPECT_THAT(lines_->lines, SizeIs(10));
}

TEST_F(LogTest, NoLimitOnRepeats) {
  const Logger log = Make({.repeat_limit = 0});
  for (int i = 0; i < 1000; ++i) log.Info("x");
  EXPECT_THAT(lines_->lines, SizeIs(1000));
}

TEST_F(LogTest, WithoutAClock) {
  const Logger log(LogOptions{.service = "test"}, lines_);
  for (int i = 0; i < 100; ++i) log.Info("x");
  EXPECT_EQ(Last(), "level=info service=test msg=x");
  EXPECT_THAT(lines_->lines, SizeIs(100));
}

TEST_F(LogTest, LostLinesAreReported) {
  const Logger log = Make();
  log.Info("a");
  lines_->full = true;
  log.Info("b");
  log.Info("c");
  lines_->full = false;
  log.Info("d");
  EXPECT_THAT(Last(), HasSubstr("msg=d log_lines_lost=2"));
  log.Info("e");
  EXPECT_THAT(Last(), Not(HasSubstr("log_lines_lost")));
  EXPECT_EQ(log.stats().dropped, 2u);
  EXPECT_THAT(log.stats().lines, ElementsAre(0, 5, 0, 0));
}

TEST_F(LogTest, SinksOfSpdlog) {
  std::ostringstream out;
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(out);
  class Throwing final : public spdlog::sinks::base_sink<std::mutex> {
    void sink_it_(const spdlog::details::log_msg&) override {
      throw std::runtime_error("no");
    }
    void flush_() override {}
  };
  const Logger log =
      Make({.spdlog_sinks = {std::make_shared<Throwing>(), sink}});
  log.Info("hello");
  EXPECT_EQ(
      out.str(),
      "time=2026-03-01T12:34:56.000789Z level=info service=test msg=hello\n");
  EXPECT_THAT(lines_->lines, SizeIs(1));
  EXPECT_EQ(log.stats().sink_errors, 1u);
  const Logger without_own(LogOptions{.spdlog_sinks = {sink}}, nullptr);
  without_own.Info("x");
  EXPECT_THAT(out.str(), HasSubstr("level=info msg=x\n"));
}

TEST_F(LogTest, Threads) {
  const Logger log = Make({.repeat_limit = 0});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([log, t] {
      for (int i = 0; i < 500; ++i) log.Info({{"thread", t}}, "line {}", i);
      log.SetLevel(LogLevel::kDebug);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(lines_->lines, SizeIs(2000));
}

TEST(LogLevelTest, Names) {
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError,
        LogLevel::kOff}) {
    EXPECT_EQ(*ParseLogLevel(LogLevelName(level)), level);
  }
  EXPECT_EQ(ParseLogLevel("loud\n").status().message(),
            "\"loud\\n\" is no log level; it must be one of debug, info, "
            "warning, error, off");
}

}  // namespace
}  // namespace braid::service
