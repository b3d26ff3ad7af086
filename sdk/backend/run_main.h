// RunMain: the main() of a small program.
//
//   Task<absl::Status> Main() { ... }
//   int main(int argc, char** argv) { return RunMain(argc, argv, Main); }
//
// Takes --backend=NAME (default: auto; see make_backend.h) off the command
// line, runs `main` on that backend, and gives the exit code: 0, or 1 after an
// error, which is printed to standard error, or 2 after a wrong command line.
// `main` returns Task<absl::Status>. One that takes a std::vector<std::string>
// gets the other arguments, without the program's name; for one that takes
// nothing, there must not be any. An exception that leaves `main` leaves
// RunMain. Programs with configuration, logs and metrics use service::Main
// instead.

#ifndef BRAID_BACKEND_RUN_MAIN_H_
#define BRAID_BACKEND_RUN_MAIN_H_

#include <concepts>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/make_backend.h"
#include "braid/core/run.h"
#include "braid/core/task.h"

namespace braid {
namespace detail {

struct CommandLine {
  std::string backend = "auto";
  std::vector<std::string> others;
};

absl::StatusOr<CommandLine> ParseCommandLine(int argc, char** argv,
                                             bool takes_arguments);

// Prints "PROGRAM: STATUS" and gives `code`; nothing and 0 for OK.
int Report(const char* program, const absl::Status& status, int code);

}  // namespace detail

template <typename Main>
  requires std::same_as<std::invoke_result_t<Main&>, Task<absl::Status>> ||
           std::same_as<std::invoke_result_t<Main&, std::vector<std::string>>,
                        Task<absl::Status>>
int RunMain(int argc, char** argv, Main main) {
  constexpr bool kTakesArguments =
      std::invocable<Main&, std::vector<std::string>>;
  const char* program = argc > 0 ? argv[0] : "";
  absl::StatusOr<detail::CommandLine> line =
      detail::ParseCommandLine(argc, argv, kTakesArguments);
  if (!line.ok()) return detail::Report(program, line.status(), 2);
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend(line->backend);
  if (!backend.ok())
    return detail::Report(program, backend.status(),
                          absl::IsInvalidArgument(backend.status()) ? 2 : 1);
  absl::Status status = Run(**backend, [&]() -> Task<absl::Status> {
    if constexpr (kTakesArguments) {
      co_return co_await main(std::move(line->others));
    } else {
      co_return co_await main();
    }
  });
  return detail::Report(program, status, 1);
}

}  // namespace braid

#endif  // BRAID_BACKEND_RUN_MAIN_H_
