// Fuzzes the configuration: the first line of the input is a flag, the second
// another, the rest is the file.
//
//   flags="--config=asan --copt=-fsanitize=fuzzer-no-link"
//   bazel build $flags //sdk/service:config_fuzz
//   bazel-bin/sdk/service/config_fuzz -max_len=1024

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "braid/core/check.h"
#include "braid/service/config.h"
#include "sdk/service/config_test.pb.h"

namespace {

using braid::detail::Check;
using braid::service::CommandLine;
using braid::service::ConfigFile;
using braid::service::ConfigSchema;
using braid::service::Diff;
using braid::service::test::Config;

void CheckError(const absl::Status& status) {
  Check(status.message().find('\n') == absl::string_view::npos,
        "an error has more than one line");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ConfigSchema& schema =
      *new ConfigSchema(Config::default_instance());
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto line = [&] {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string text(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return text;
  };
  const std::vector<std::string> args = {"--name=x", line(), line()};
  const absl::StatusOr<CommandLine> command_line =
      schema.ParseCommandLine(args, /*allow_arguments=*/true);
  if (!command_line.ok()) {
    CheckError(command_line.status());
    return 0;
  }
  const auto config = braid::service::MakeConfig<Config>(
      schema, *command_line, ConfigFile{"fuzz", std::string(rest)});
  if (!config.ok()) {
    CheckError(config.status());
    return 0;
  }
  Check(config->limits().rate() >= 0.5 && config->limits().burst() >= 1,
        "a limit is not kept");
  Check(Diff(*config, *config).empty(), "a configuration differs from itself");
  Diff(*config, Config::default_instance());
  return 0;
}
