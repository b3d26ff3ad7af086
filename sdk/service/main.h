// Main: the life of a service; everything in its main() that isn't what it is
// for.
//
//   class Shop final : public service::Service {
//    public:
//     Shop(service::Context& context, const ShopConfig& config);
//     Task<absl::Status> Serve(Ready<void> ready) override;
//   };
//
//   int main(int argc, char** argv) {
//     service::Definition<ShopConfig> definition;
//     definition.name = "shop";
//     definition.summary = "Sells things.";
//     definition.make = [](service::Context& context, const ShopConfig& c) {
//       return std::make_unique<Shop>(context, c);
//     };
//     return service::Main(argc, argv, definition);
//   }
//
// In this order:
//   - The configuration: one protobuf message, filled from a file, the
//     environment and flags, and checked (config.h). It has a field `service`
//     of type braid.service.Options, what every service can be told
//     (options.proto).
//   - Logs, with what protobuf and gRPC have to say (library_log.h); SIGPIPE is
//     ignored, so that a log that nobody reads ends nothing; metrics of the
//     process, the loop, the build and each RPC; the ports of the HTTP and RPC
//     endpoints. HTTP: /metrics, /healthz (200 as long as the loop turns),
//     /readyz (200 or 503), /tasks (the tree of live tasks). RPC: health,
//     reflection, and what the service adds.
//   - Serve. Once it says that it is ready, so do /readyz, gRPC health and
//     sd_notify(3).
//   - SIGTERM or SIGINT: no longer ready; after `lame_duck`, the graceful stop:
//     Serve and RPCs finish what they have within `drain_limit`, then they are
//     cancelled. A second signal ends the process at once.
//   - SIGHUP: the configuration is read again. Fields that the definition names
//     as reloadable take effect, others are refused by name, an error leaves
//     everything as it was; all of it is logged.
//
// Exit codes:
//   0      ended in good order: drained after a signal, or Serve returned OK
//   1      failed at run time: a port is taken, Serve returned an error, the
//          drain limit passed; the log says why
//   2      wrong flags or configuration; one line on standard error says which
//   128+n  ended by signal n while it was draining after another
//
// Run is the same life as a task of a program that goes on: mostly of a host in
// a simulation, several of which fit into one process.
//
// Nothing here is global: what a service needs hangs off its Context. Threads:
// Main's.

#ifndef BRAID_SERVICE_MAIN_H_
#define BRAID_SERVICE_MAIN_H_

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/host.h"
#include "braid/core/ready.h"
#include "braid/core/task.h"
#include "braid/metrics/build_info.h"
#include "braid/metrics/registry.h"
#include "braid/service/log.h"
#include "google/protobuf/message.h"

namespace braid::rpc {
class Service;
}  // namespace braid::rpc

namespace braid::service {

// What Main gives to a service. Lives as long as it.
class Context {
 public:
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Host& host() const { return *host_; }
  metrics::Registry& registry() const { return *registry_; }
  const Logger& log() const { return *log_; }

  // Serves `service` on the RPC endpoint, from when Serve is ready. In the
  // constructor of the service only (checked); it must outlive the Service, or
  // be part of it.
  virtual void AddRpc(rpc::Service& service) = 0;

  // Says on /readyz, over gRPC health and in the log that the service can't be
  // used for now, or can again. Until Serve is ready, and while draining, it is
  // not ready whatever is said here.
  virtual void SetReady(bool ready) = 0;

  // Ends the service in good order, as SIGTERM does. Idempotent.
  virtual void RequestStop(std::string_view reason) = 0;

 protected:
  Context() = default;
  ~Context() = default;

  Host* host_ = nullptr;
  metrics::Registry* registry_ = nullptr;
  const Logger* log_ = nullptr;
};

// What a service is. Made, called and destroyed on the loop.
class Service {
 public:
  virtual ~Service() = default;

  // The service's work. Says ready once it can be used, and ends when it has
  // finished what it had after a graceful stop was requested (StopRequested());
  // cancelled if that takes too long. An error ends the process with 1.
  virtual Task<absl::Status> Serve(Ready<void> ready) = 0;

  // The configuration has changed, in reloadable fields only; `config` is of
  // the definition's type. An error leaves the old one in force. Called between
  // two awaits of Serve.
  virtual absl::Status Reload(const google::protobuf::Message& /*config*/) {
    return absl::OkStatus();
  }
};

template <std::derived_from<google::protobuf::Message> Config>
struct Definition {
  // Of the program, "shop": on every line of the log, in --help, and, in
  // capitals, before its environment variables (SHOP_LIMITS_RATE). Letters,
  // digits and underscores.
  std::string name;
  std::string summary;  // one sentence, for --help
  // What fields have that nobody sets, before the schema's defaults.
  Config defaults;
  // Checks what the schema can't say. Errors should come from InvalidField
  // (config.h).
  std::function<absl::Status(const Config&)> validate;
  std::function<std::unique_ptr<Service>(Context&, const Config&)> make;
  // Fields that SIGHUP may change: "limits" stands for all in it.
  // service.log.level always may.
  std::vector<std::string> reloadable;
  metrics::BuildInfo build;  // for --version and braid_build_info
};

namespace detail {

struct AnyDefinition {
  std::string name;
  std::string summary;
  const google::protobuf::Message* defaults;
  std::function<absl::Status(const google::protobuf::Message&)> validate;
  std::function<std::unique_ptr<Service>(Context&,
                                         const google::protobuf::Message&)>
      make;
  std::vector<std::string> reloadable;
  metrics::BuildInfo build;
};

// Refers to `definition`.
template <typename Config>
AnyDefinition Erase(const Definition<Config>& definition) {
  AnyDefinition any = {
      definition.name,       definition.summary, &definition.defaults, {}, {},
      definition.reloadable, definition.build};
  if (definition.validate != nullptr) {
    any.validate = [&](const google::protobuf::Message& config) {
      return definition.validate(static_cast<const Config&>(config));
    };
  }
  any.make = [&](Context& context, const google::protobuf::Message& config) {
    return definition.make(context, static_cast<const Config&>(config));
  };
  return any;
}

int Main(int argc, char** argv, const AnyDefinition& definition);
Task<int> Run(std::vector<std::string> args, const AnyDefinition& definition,
              std::shared_ptr<LogSink> sink);

}  // namespace detail

// Blocks until the service has ended; gives the exit code.
template <typename Config>
int Main(int argc, char** argv, const Definition<Config>& definition) {
  return detail::Main(argc, argv, detail::Erase(definition));
}

// The same without a process of its own: a life of the service on the loop it
// is called on, from `args` (flags, without the program's name) to the exit
// code. Its signals, environment, clock, sockets and --config file are those of
// the loop's host. What belongs to a process is left out: process_* metrics,
// sd_notify, what libraries log, the choice of a backend. Log lines, --help and
// complaints go to `log`; without one, in a simulation to its trace, elsewhere
// nowhere. A second signal cancels the service, and the code is 128 + n.
// Cancelled: the service is, at once.
template <typename Config>
Task<int> Run(std::vector<std::string> args, Definition<Config> definition,
              std::shared_ptr<LogSink> log = nullptr) {
  const detail::AnyDefinition any = detail::Erase(definition);
  co_return co_await detail::Run(std::move(args), any, std::move(log));
}

}  // namespace braid::service

#endif  // BRAID_SERVICE_MAIN_H_
