#include "braid/metrics/promtool.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "braid/core/check.h"

namespace braid::metrics {
namespace {

// Exit code of a shell command, and all it printed. `text` is its standard
// input.
struct Result {
  int code = -1;
  std::string output;
};

Result RunShell(const std::string& command, std::string_view text) {
  const char* directory = getenv("TEST_TMPDIR");
  std::string path = std::string(directory != nullptr ? directory : "/tmp") +
                     "/exposition-XXXXXX";
  const int fd = mkstemp(path.data());
  braid::detail::Check(fd >= 0, "no temporary file could be made for the test");
  close(fd);
  std::ofstream(path, std::ios::binary) << text;
  FILE* pipe =
      popen(("{ " + command + "; } 2>&1 < '" + path + "'").c_str(), "r");
  braid::detail::Check(pipe != nullptr,
                       "no shell could be started for the test");
  Result result;
  std::array<char, 4096> buffer;
  for (size_t count;
       (count = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    result.output.append(buffer.data(), count);
  const int status = pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  unlink(path.c_str());
  return result;
}

std::optional<std::string> Complaints(const std::string& is_there,
                                      const std::string& command,
                                      std::string_view text) {
  if (RunShell(is_there, "").code != 0) return std::nullopt;
  const Result result = RunShell(command, text);
  if (result.code == 0 && result.output.empty()) return "";
  return "exit code " + std::to_string(result.code) + ": " + result.output;
}

}  // namespace

std::optional<std::string> PromtoolComplaints(std::string_view text) {
  return Complaints("command -v promtool", "promtool check metrics", text);
}

std::optional<std::string> OpenMetricsComplaints(std::string_view text) {
  const std::string parser = "prometheus_client.openmetrics.parser";
  return Complaints(
      "python3 -c 'import " + parser + "'",
      "python3 -c 'import sys; from " + parser +
          " import text_string_to_metric_families as parse; "
          "list(parse(sys.stdin.buffer.read().decode()))' | tail -n 1",
      text);
}

}  // namespace braid::metrics
