#include "braid/backend/run_main.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "braid/core/core.h"

namespace braid {
namespace {

struct Ended {
  int code;
  std::string printed;
};

template <typename Main>
Ended RunWith(std::vector<std::string> arguments, Main main) {
  arguments.insert(arguments.begin(), "/usr/bin/program");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  testing::internal::CaptureStderr();
  const int code = RunMain(static_cast<int>(argv.size()), argv.data(), main);
  return {code, testing::internal::GetCapturedStderr()};
}

Task<absl::Status> Succeed() { co_return absl::OkStatus(); }
Task<absl::Status> Fail() {
  co_return absl::NotFoundError("the thing is not there");
}

TEST(RunMain, GivesTheExitCode) {
  EXPECT_EQ(RunWith({}, Succeed).code, 0);
  EXPECT_EQ(RunWith({"--backend=asio"}, Succeed).code, 0);
  EXPECT_EQ(RunWith({"--backend", "auto"}, Succeed).code, 0);
  const Ended failed = RunWith({}, Fail);
  EXPECT_EQ(failed.code, 1);
  EXPECT_EQ(failed.printed, "program: NOT_FOUND: the thing is not there\n");
}

TEST(RunMain, RefusesAWrongCommandLine) {
  const Ended unknown = RunWith({"--backend=epoll"}, Succeed);
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.printed.find("'epoll'"), std::string::npos)
      << unknown.printed;
  EXPECT_NE(unknown.printed.find("asio, uring, sim, auto"), std::string::npos)
      << unknown.printed;
  const Ended extra = RunWith({"--verbose"}, Succeed);
  EXPECT_EQ(extra.code, 2);
  EXPECT_NE(extra.printed.find("'--verbose'"), std::string::npos)
      << extra.printed;
  EXPECT_EQ(RunWith({"--backend"}, Succeed).code, 2);
  EXPECT_EQ(RunWith({"--backend="}, Succeed).code, 2);
}

TEST(RunMain, HandsOverTheOtherArguments) {
  std::vector<std::string> got;
  const auto main =
      [&](std::vector<std::string> arguments) -> Task<absl::Status> {
    got = std::move(arguments);
    co_return absl::OkStatus();
  };
  EXPECT_EQ(
      RunWith({"one", "--backend=asio", "--two", "--", "--backend=three"}, main)
          .code,
      0);
  EXPECT_EQ(got, (std::vector<std::string>{"one", "--two", "--backend=three"}));
}

TEST(RunMain, RunsOnTheBackendItWasTold) {
  EXPECT_EQ(RunWith({"--backend=asio"},
                    []() -> Task<absl::Status> {
                      EXPECT_EQ(CurrentBackend().name(), "asio");
                      co_return absl::OkStatus();
                    })
                .code,
            0);
}

}  // namespace
}  // namespace braid
