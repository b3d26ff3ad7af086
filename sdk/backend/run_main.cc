#include "braid/backend/run_main.h"

#include <cstdio>
#include <string_view>

namespace braid::detail {

absl::StatusOr<CommandLine> ParseCommandLine(int argc, char** argv,
                                             bool takes_arguments) {
  constexpr std::string_view kFlag = "--backend";
  CommandLine line;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--backend=")) {
      line.backend = argument.substr(kFlag.size() + 1);
    } else if (argument == kFlag) {
      if (++i == argc)
        return absl::InvalidArgumentError(
            "--backend has no value; write --backend=NAME");
      line.backend = argv[i];
    } else if (argument == "--" && takes_arguments) {
      for (++i; i < argc; ++i) line.others.emplace_back(argv[i]);
    } else if (takes_arguments) {
      line.others.emplace_back(argument);
    } else {
      return absl::InvalidArgumentError(
          "'" + std::string(argument) +
          "' is not understood; the one flag is --backend=NAME");
    }
  }
  return line;
}

int Report(const char* program, const absl::Status& status, int code) {
  if (status.ok()) return 0;
  std::string_view name = program;
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  const std::string text =
      status.ToString(absl::StatusToStringMode::kWithNoExtraData);
  std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(name.size()), name.data(),
               text.c_str());
  return code;
}

}  // namespace braid::detail
