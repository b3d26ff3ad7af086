// A service's configuration: one protobuf message, filled from a file, the
// environment and flags, and checked.
//
//   ConfigSchema schema(EchoConfig::default_instance());
//   // --listen=127.0.0.1:7 --limits.rate=100 --config=echo.conf
//   absl::StatusOr<CommandLine> line = schema.ParseCommandLine(args);
//   if (line->help) print(schema.Help("udp_echo", "Answers datagrams."));
//   ConfigFile file = {*line->config_file, text};  // what the caller has read
//   absl::StatusOr<EchoConfig> config =
//       MakeConfig<EchoConfig>(schema, *line, file);
//
// The schema is the message's own: each field carries help, default and limits
// (flag.proto). What sets a field, the stronger first: a flag, the environment,
// the file, the caller's defaults, the schema's default.
//
// Flags are named after fields: `--listen=ADDRESS`, `--limits.rate=10` for a
// field of a message; `--name VALUE` is the same; dashes and underscores are
// the same. `--verbose` and `--noverbose` for a bool. A repeated field takes
// its flag several times, and its first flag replaces what the file says.
// Durations are written 1.5s, sizes 64KiB, enums by their short names. A
// message that is repeated or optional takes protobuf text format:
// `--upstreams='address: "a" weight: 2'`.
//
// The file is protobuf text format. Messages in it exist with their defaults
// even where nothing mentions them, except those declared `optional` or in a
// oneof: they are there if something sets them.
//
// Errors are INVALID_ARGUMENT with one line that says where, the value, and
// what is allowed:
//
//   --limits.rate=0: must be a whole number from 1 to 1000000
//   echo.conf:3:9: limits.rate=0: must be a whole number from 1 to 1000000
//
// Pure: no I/O, nothing global; the same arguments give the same result.
// Threads: const members may be called from any.

#ifndef BRAID_SERVICE_CONFIG_H_
#define BRAID_SERVICE_CONFIG_H_

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace braid::service {

// What stands behind the program's name, taken apart.
struct CommandLine {
  bool help = false;                       // --help, -h
  bool version = false;                    // --version
  std::optional<std::string> config_file;  // --config=FILE
  // Flags of the schema in the order they came: the field's path, and the text
  // of the value.
  std::vector<std::pair<std::string, std::string>> flags;
  // What is no flag; empty unless it was asked for.
  std::vector<std::string> arguments;
};

struct ConfigFile {
  std::string name;  // for messages
  std::string text;
};

// Looks up environment variables. The field limits.rate has the variable
// PREFIX_LIMITS_RATE; a repeated field takes a list with commas.
struct ConfigEnvironment {
  std::string prefix;  // "UDP_ECHO"
  std::function<std::optional<std::string>(const std::string& name)> lookup;
};

class ConfigSchema {
 public:
  // For configurations of the type of `defaults`. What is set in it comes
  // before the schema's defaults. It is copied.
  explicit ConfigSchema(const google::protobuf::Message& defaults);
  ConfigSchema(const ConfigSchema&) = delete;
  ConfigSchema& operator=(const ConfigSchema&) = delete;
  ~ConfigSchema();

  // FAILED_PRECONDITION if the schema itself is wrong: a field without help, a
  // default that breaks its own limits, names that collide with --help. The
  // other members are for schemas that are right; a test of each service should
  // call this.
  absl::Status Check() const;

  // Takes arguments apart, without the program's name. Looks at names only, not
  // at values. `--` ends the flags. Arguments that are no flags are an error
  // unless `allow_arguments`.
  absl::StatusOr<CommandLine> ParseCommandLine(
      std::span<const std::string> args, bool allow_arguments = false) const;

  // The whole configuration, a message of the type of `defaults`. To reload,
  // call it again with the same command line.
  absl::StatusOr<std::unique_ptr<google::protobuf::Message>> Make(
      const CommandLine& command_line,
      const std::optional<ConfigFile>& file = std::nullopt,
      const ConfigEnvironment& environment = {}) const;

  // What --help prints: lines of at most 80 columns where words allow it.
  std::string Help(std::string_view program, std::string_view summary) const;

 private:
  struct State;

  std::unique_ptr<State> state_;
};

// The same for a type: the result is the type's, and `validate` has the last
// word. For what the schema can't say: fields that depend on each other. Its
// errors should come from InvalidField.
template <typename Config>
absl::StatusOr<Config> MakeConfig(
    const ConfigSchema& schema, const CommandLine& command_line,
    const std::optional<ConfigFile>& file = std::nullopt,
    const ConfigEnvironment& environment = {},
    const std::function<absl::Status(const Config&)>& validate = nullptr) {
  auto made = schema.Make(command_line, file, environment);
  if (!made.ok()) return made.status();
  Config config = std::move(static_cast<Config&>(**made));
  if (validate != nullptr) {
    if (absl::Status status = validate(config); !status.ok()) return status;
  }
  return config;
}

// INVALID_ARGUMENT "path=value: must be allowed", in one line whatever the
// value is.
absl::Status InvalidField(std::string_view path, std::string_view value,
                          std::string_view allowed);

// A field that two configurations differ in.
struct ConfigChange {
  std::string path;  // "limits.rate"
  // As a flag would be written; "(unset)" for a message that isn't there,
  // "(secret)" for what must not be printed. A list in brackets.
  std::string before;
  std::string after;
};

// The fields in which `after` differs from `before`, in the order of the
// schema. A repeated field is one field. Both are of one type.
std::vector<ConfigChange> Diff(const google::protobuf::Message& before,
                               const google::protobuf::Message& after);

}  // namespace braid::service

#endif  // BRAID_SERVICE_CONFIG_H_
