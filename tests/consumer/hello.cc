// A small program on the SDK alone: what it tries is what hello_test looks for.

#include <chrono>
#include <cstdio>
#include <optional>
#include <tuple>

#include "absl/status/status.h"
#include "braid/braid.h"

using namespace std::chrono_literals;

namespace {

braid::Task<int> Double(int n) {
  co_await braid::SleepFor(1ms);
  co_return 2 * n;
}

braid::Task<absl::Status> Main() {
  const auto [forty, two] = co_await braid::AllOf(Double(20), Double(1));
  if (forty + two != 42) co_return absl::InternalError("AllOf is wrong");

  const std::optional<int> late =
      co_await braid::MoveOnAfter(1ms, []() -> braid::Task<int> {
        co_await braid::SleepForever();
        co_return 1;
      });
  if (late.has_value()) co_return absl::InternalError("MoveOnAfter is wrong");

  std::puts("hello: ok");
  co_return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) { return braid::RunMain(argc, argv, Main); }
