#include "braid/service/main.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "braid/backend/backend.h"
#include "braid/backend/make_backend.h"
#include "braid/backend/socket_address.h"
#include "braid/core/cancel_scope.h"
#include "braid/core/detail/loop.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/status.h"
#include "braid/core/stop_request.h"
#include "braid/core/task_group.h"
#include "braid/core/task_tree.h"
#include "braid/metrics/exposition.h"
#include "braid/metrics/runtime.h"
#include "braid/net/tcp.h"
#include "braid/os/signals.h"
#include "braid/rpc/server.h"
#include "braid/service/config.h"
#include "braid/service/detail/process.h"
#include "braid/service/http_endpoints.h"
#include "braid/service/library_log.h"
#include "braid/service/options.pb.h"
#include "braid/service/rpc_metrics.h"
#include "braid/service/sd_notify.h"
#include "braid/sync/mutex.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"

namespace braid::service::detail {
namespace {

namespace pb = google::protobuf;

constexpr int kFailed = 1;
constexpr int kWrongUse = 2;
constexpr int kSignalled = 128;  // and the signal's number, as shells count
constexpr std::string_view kOptionsField = "service";

Duration ToDuration(const pb::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) +
         std::chrono::nanoseconds(duration.nanos());
}

// One line for a person; what failed is in the message already.
int Complain(Process& process, const std::string& name,
             const absl::Status& status, int code) {
  process.Complain(absl::StrCat(name, ": ", std::string(status.message())));
  return code;
}

const Options& OptionsOf(const pb::Message& config) {
  const pb::FieldDescriptor* field = config.GetDescriptor()->FindFieldByName(
      {kOptionsField.data(), kOptionsField.size()});
  return static_cast<const Options&>(
      config.GetReflection()->GetMessage(config, field));
}

// What the schema of the options can't say.
absl::Status ValidateOptions(const Options& options) {
  constexpr std::string_view kAddress =
      "an IP address and a port, such as 127.0.0.1:9100 or [::]:9100";
  if (const std::string& http = options.http_listen();
      !http.empty() && !SocketAddress::Parse(http).ok()) {
    return InvalidField("service.http_listen", http,
                        absl::StrCat(std::string(kAddress), ", or empty"));
  }
  if (const std::string& rpc = options.rpc_listen();
      !rpc.empty() && !(rpc.starts_with("unix:") && rpc.size() > 5) &&
      !SocketAddress::Parse(rpc).ok()) {
    return InvalidField(
        "service.rpc_listen", rpc,
        absl::StrCat(std::string(kAddress), ", or unix:/path, or empty"));
  }
  return absl::OkStatus();
}

// Where configurations come from: the same each time it is asked but for the
// file.
class Configuration {
 public:
  Configuration(const AnyDefinition& definition, Host& host, Process& process)
      : definition_(definition),
        host_(host),
        process_(process),
        schema_(*definition.defaults) {
    const absl::Status status = schema_.Check();
    braid::detail::Check(status.ok(), status.ToString().c_str());
    const pb::FieldDescriptor* field =
        definition.defaults->GetDescriptor()->FindFieldByName(
            {kOptionsField.data(), kOptionsField.size()});
    braid::detail::Check(
        field != nullptr && field->message_type() == Options::descriptor(),
        "a service's configuration has a field `braid.service.Options "
        "service`");
  }

  const ConfigSchema& schema() const { return schema_; }

  absl::StatusOr<std::unique_ptr<pb::Message>> Load(const CommandLine& line,
                                                    bool reload) const {
    std::optional<ConfigFile> file;
    if (line.config_file.has_value()) {
      absl::StatusOr<ConfigFile> read =
          process_.ReadConfig(*line.config_file, reload);
      if (!read.ok()) return read.status();
      file = *std::move(read);
    }
    const ConfigEnvironment environment = {
        absl::AsciiStrToUpper(definition_.name),
        [this](const std::string& name) { return host_.Environment(name); }};
    auto config = schema_.Make(line, file, environment);
    if (!config.ok()) return config;
    if (absl::Status status = ValidateOptions(OptionsOf(**config));
        !status.ok())
      return status;
    if (definition_.validate != nullptr) {
      if (absl::Status status = definition_.validate(**config); !status.ok())
        return status;
    }
    return config;
  }

 private:
  const AnyDefinition& definition_;
  Host& host_;
  Process& process_;
  ConfigSchema schema_;
};

// "limits" stands for "limits.rate", too.
bool IsReloadable(const AnyDefinition& definition, std::string_view path) {
  if (path == "service.log.level") return true;
  return std::ranges::any_of(
      definition.reloadable, [path](std::string_view field) {
        return path == field || (path.starts_with(field) &&
                                 path.substr(field.size()).starts_with('.'));
      });
}

// Sets the field at `path` of `to` to what it is in `from`.
void CopyField(const pb::Message& from, pb::Message& to,
               std::string_view path) {
  const pb::Message* source = &from;
  pb::Message* target = &to;
  for (;;) {
    const size_t dot = path.find('.');
    const pb::FieldDescriptor* field = source->GetDescriptor()->FindFieldByName(
        std::string(path.substr(0, dot)));
    if (dot == path.npos) {
      target->GetReflection()->ClearField(target, field);
      // Merging a message that has only this field set is copying it.
      std::unique_ptr<pb::Message> only(source->New());
      only->CopyFrom(*source);
      std::vector<const pb::FieldDescriptor*> set;
      only->GetReflection()->ListFields(*only, &set);
      for (const pb::FieldDescriptor* other : set) {
        if (other != field)
          only->GetReflection()->ClearField(only.get(), other);
      }
      target->MergeFrom(*only);
      return;
    }
    source = &source->GetReflection()->GetMessage(*source, field);
    target = target->GetReflection()->MutableMessage(target, field);
    path.remove_prefix(dot + 1);
  }
}

// Where a group is found while this lives.
class Announced {
 public:
  Announced(TaskGroup*& place, TaskGroup& group) : place_(place) {
    place_ = &group;
  }
  Announced(const Announced&) = delete;
  Announced& operator=(const Announced&) = delete;
  ~Announced() { place_ = nullptr; }

 private:
  TaskGroup*& place_;
};

// The running service. Its run() is the whole of what happens on the loop.
class Life final : public Context {
 public:
  Life(const AnyDefinition& definition, const Configuration& configuration,
       const CommandLine& line, std::unique_ptr<pb::Message> config, Host& host,
       const Logger& log, Process& process)
      : definition_(definition),
        configuration_(configuration),
        line_(line),
        config_(std::move(config)),
        own_log_(log),
        process_(process),
        sink_(process.log()),
        notifier_(process.MakeNotifier(host)),
        rpc_metrics_(own_registry_),
        http_({.on_exception = [this](std::string_view path,
                                      std::string_view what) {
          own_log_.Error({{"page", path}, {"exception", what}},
                         "a page could not be made");
        }}) {
    host_ = &host;
    registry_ = &own_registry_;
    log_ = &own_log_;
  }

  Task<absl::Status> Run();
  // Not 0: that is what it ended with.
  int exit_code() const { return exit_code_; }

  void AddRpc(rpc::Service& service) override {
    braid::detail::Check(
        service_ == nullptr,
        "AddRpc is for the constructor of a service; it has been made already");
    rpc_services_.push_back(&service);
  }

  void SetReady(bool ready) override {
    service_ready_ = ready;
    UpdateReady();
  }

  void RequestStop(std::string_view reason) override;

 private:
  const Options& options() const { return OptionsOf(*config_); }
  bool ready() const { return serving_ && service_ready_ && !stopping_; }

  absl::Status AddMetrics();
  void AddPages();
  absl::Status Open();
  Task<absl::Status> FollowSignals();
  Task<absl::Status> ServeAll();
  Task<absl::Status> ServeService(Ready<void> started);
  Task<absl::Status> ServeRpc();
  Task<void> Drain();
  void StartDraining() {
    group_->Start("drain", [this]() -> Task<void> { co_await Drain(); });
  }
  void UpdateReady();
  void Reload();
  void ExitNow(int signal);
  // The service manager may be gone; that is for the log.
  void Told(const absl::Status& status) {
    if (!status.ok())
      own_log_.Warning("the service manager was not told: {}",
                       std::string(status.message()));
  }

  const AnyDefinition& definition_;
  const Configuration& configuration_;
  const CommandLine& line_;
  std::unique_ptr<pb::Message> config_;
  Logger own_log_;
  Process& process_;
  const std::shared_ptr<LogSink> sink_;
  metrics::Registry own_registry_;
  Notifier notifier_;
  RpcMetrics rpc_metrics_;
  std::optional<metrics::LoopMetrics> loop_metrics_;
  std::vector<metrics::Callback> callbacks_;
  std::optional<metrics::CounterFamily> reloads_;

  std::vector<rpc::Service*> rpc_services_;
  std::unique_ptr<Service> service_;
  std::optional<rpc::Server> rpc_server_;
  std::optional<SignalStream> signals_;
  std::optional<TcpListener> http_listener_;
  // Those that take long to make are made one at a time: so many clients that
  // ask for them, without end, get one turn of the loop among its other tasks,
  // not one each.
  Mutex costly_page_;
  HttpEndpoints http_;

  CancelScope service_scope_;  // cancelled when the drain limit passes
  // Each while its body runs, however that ends.
  TaskGroup* group_ = nullptr;  // of all that is here
  TaskGroup* service_group_ = nullptr;
  TaskGroup* rpc_group_ = nullptr;
  bool serving_ = false;
  bool service_ready_ = true;
  bool was_ready_ = false;
  bool stopping_ = false;
  bool stop_requested_ = false;
  int exit_code_ = 0;
};

absl::Status Life::AddMetrics() {
  if (absl::Status s = process_.AddMetrics(own_registry_); !s.ok()) return s;
  absl::StatusOr<metrics::LoopMetrics> loop =
      metrics::LoopMetrics::Add(own_registry_, "main");
  if (!loop.ok()) return loop.status();
  loop_metrics_.emplace(*std::move(loop));
  if (absl::Status s = metrics::AddBuildInfo(own_registry_, definition_.build);
      !s.ok())
    return s;
  callbacks_.push_back(*own_registry_.AddGaugeCallback(
      {.name = "braid_service_ready",
       .help = "1 if the service says that it can be used, else 0."},
      {}, [this] { return ready() ? 1 : 0; }));
  for (LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning,
                         LogLevel::kError}) {
    callbacks_.push_back(*own_registry_.AddCounterCallback(
        {.name = "braid_log_lines_total",
         .help = "Lines written to the log, by level.",
         .labels = {"level"}},
        {std::string(LogLevelName(level))}, [this, level] {
          return static_cast<double>(
              own_log_.stats().lines[static_cast<size_t>(level)]);
        }));
  }
  callbacks_.push_back(*own_registry_.AddCounterCallback(
      {.name = "braid_log_lost_lines_total",
       .help = "Lines that the log's destination did not take."},
      {}, [this] { return static_cast<double>(sink_->dropped()); }));
  reloads_.emplace(*own_registry_.AddCounterFamily(
      {.name = "braid_service_config_reloads_total",
       .help = "Reloads of the configuration, by result.",
       .labels = {"result"}}));
  for (const char* result : {"ok", "refused", "failed"}) reloads_->With(result);
  return absl::OkStatus();
}

void Life::AddPages() {
  http_.Add("/metrics", "What Prometheus scrapes.",
            [this](HttpRequest request) -> Task<HttpResponse> {
              const Mutex::Guard alone = co_await costly_page_.Lock();
              loop_metrics_->Update();
              const metrics::Format format =
                  metrics::NegotiateFormat(request.Header("Accept"));
              metrics::Exposition exposition(own_registry_, format);
              HttpResponse response = {
                  .content_type = std::string(metrics::ContentType(format))};
              while (exposition.AppendNext(response.body))
                co_await Checkpoint();
              for (const std::string& problem : exposition.problems())
                own_log_.Warning("left out of the metrics: {}", problem);
              co_return response;
            });
  http_.Add("/healthz", "200 as long as the service's loop turns.",
            [](HttpRequest) -> Task<HttpResponse> {
              co_return HttpResponse{.body = "ok\n"};
            });
  http_.Add("/readyz", "200 if the service can be used, else 503.",
            [this](HttpRequest) -> Task<HttpResponse> {
              if (ready()) co_return HttpResponse{.body = "ready\n"};
              co_return HttpResponse{
                  .status = 503,
                  .body = stopping_ ? "not ready: stopping\n" : "not ready\n"};
            });
  http_.Add("/tasks", "The tree of live tasks: name, state, where each waits.",
            [this](HttpRequest) -> Task<HttpResponse> {
              const Mutex::Guard alone = co_await costly_page_.Lock();
              co_return HttpResponse{.body = FormatTasks(LiveTasks())};
            });
}

absl::Status Life::Open() {
  absl::StatusOr<SignalStream> signals =
      SignalStream::Open({SIGTERM, SIGINT, SIGHUP});
  if (!signals.ok()) return signals.status();
  signals_.emplace(*std::move(signals));

  if (const std::string& address = options().http_listen(); !address.empty()) {
    absl::StatusOr<TcpListener> listener = TcpListener::Bind(address);
    if (!listener.ok()) {
      return absl::Status(
          listener.status().code(),
          absl::StrCat("--service.http_listen: ",
                       std::string(listener.status().message())));
    }
    http_listener_.emplace(*std::move(listener));
    own_log_.Info({{"endpoint", "http"},
                   {"address", http_listener_->local_address().ToString()}},
                  "listening");
  }
  if (const std::string& address = options().rpc_listen(); !address.empty()) {
    rpc::ServerOptions server;
    server.listen = {address};
    server.lame_duck = ToDuration(options().lame_duck());
    server.drain_limit = ToDuration(options().drain_limit());
    server.observer = &rpc_metrics_;
    rpc_server_.emplace(std::move(server));
    for (rpc::Service* service : rpc_services_)
      rpc_server_->AddService(*service);
    if (absl::Status status = rpc_server_->Listen(); !status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat("--service.rpc_listen: ",
                                       std::string(status.message())));
    }
    const std::string host = address.substr(0, address.rfind(':'));
    own_log_.Info(
        {{"endpoint", "rpc"},
         {"address", rpc_server_->port() != 0
                         ? absl::StrCat(host, ":", rpc_server_->port())
                         : address}},
        "listening");
  }
  return absl::OkStatus();
}

void Life::UpdateReady() {
  const bool now = ready();
  if (rpc_server_.has_value() && serving_ && !stopping_)
    rpc_server_->health().Set("", now);
  if (now == was_ready_) return;
  was_ready_ = now;
  if (now) {
    own_log_.Info("ready");
    Told(notifier_.Ready("ready"));
  } else if (!stopping_) {
    own_log_.Warning("not ready");
    Told(notifier_.Send("STATUS=not ready"));
  }
}

void Life::Reload() {
  own_log_.Info("reloading the configuration");
  Told(notifier_.Reloading(Now()));
  const auto end = [&](const char* result) {
    reloads_->With(result).Increment();
    Told(notifier_.Ready(ready() ? "ready" : "not ready"));
  };
  auto loaded = configuration_.Load(line_, /*reload=*/true);
  if (!loaded.ok()) {
    own_log_.Error({{"error", std::string(loaded.status().message())}},
                   "configuration not reloaded");
    return end("failed");
  }
  std::unique_ptr<pb::Message> next(config_->New());
  next->CopyFrom(*config_);
  bool refused = false;
  std::vector<ConfigChange> taken;
  for (const ConfigChange& change : Diff(*config_, **loaded)) {
    if (IsReloadable(definition_, change.path)) {
      CopyField(**loaded, *next, change.path);
      taken.push_back(change);
    } else {
      refused = true;
      own_log_.Warning({{"field", change.path},
                        {"before", change.before},
                        {"after", change.after}},
                       "configuration changed where only a restart helps");
    }
  }
  // What was refused may have made what is left one that the service doesn't
  // allow.
  absl::Status status = definition_.validate != nullptr
                            ? definition_.validate(*next)
                            : absl::OkStatus();
  if (status.ok() && !taken.empty()) status = service_->Reload(*next);
  if (!status.ok()) {
    own_log_.Error({{"error", std::string(status.message())}},
                   "configuration not reloaded");
    return end("failed");
  }
  config_ = std::move(next);
  if (absl::StatusOr<LogLevel> level = ParseLogLevel(options().log().level());
      level.ok())
    own_log_.SetLevel(*level);
  for (const ConfigChange& change : taken) {
    own_log_.Info({{"field", change.path},
                   {"before", change.before},
                   {"after", change.after}},
                  "configuration changed");
  }
  own_log_.Info({{"fields", taken.size()}}, "configuration reloaded");
  end(refused ? "refused" : "ok");
}

void Life::ExitNow(int signal) {
  own_log_.Error({{"signal", signal}},
                 "a second signal: exiting without finishing");
  process_.Exit(kSignalled + signal);
  exit_code_ = kSignalled + signal;
  if (group_ != nullptr) group_->Cancel("a second signal");
}

// Lame duck, then the graceful stop; the drain limit runs from there.
Task<void> Life::Drain() {
  // RPC has a lame duck of its own, of the same length.
  if (rpc_group_ != nullptr) rpc_group_->RequestStop();
  co_await SleepFor(ToDuration(options().lame_duck()));
  stop_requested_ = true;
  if (service_group_ != nullptr) service_group_->RequestStop();
  service_scope_.SetDeadline(Now() + ToDuration(options().drain_limit()));
}

void Life::RequestStop(std::string_view reason) {
  if (stopping_) return;
  stopping_ = true;
  own_log_.Info({{"reason", reason}}, "stopping");
  UpdateReady();
  Told(notifier_.Stopping(reason));
  // A service may ask for it while it is made, or when all has ended.
  if (group_ != nullptr) StartDraining();
}

Task<absl::Status> Life::FollowSignals() {
  // The first may come while the service is ending for another reason.
  for (bool signalled = false;;) {
    const int signal = co_await OrReturn(signals_->Next());
    if (signal == SIGHUP) {
      if (!stopping_) Reload();
      continue;
    }
    if (signalled) {
      ExitNow(signal);
      co_return absl::OkStatus();
    }
    signalled = true;
    RequestStop(signal == SIGTERM ? "SIGTERM" : "SIGINT");
  }
}

Task<absl::Status> Life::ServeService(Ready<void> started) {
  const std::optional<absl::Status> served = co_await service_scope_.Run(
      WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
        const Announced announced(service_group_, group);
        if (stop_requested_) group.RequestStop();
        co_return co_await service_->Serve(std::move(started));
      }));
  if (served.has_value()) co_return *served;
  co_return absl::DeadlineExceededError(
      "the drain limit passed; what was not finished is lost "
      "(--service.drain_limit)");
}

Task<absl::Status> Life::ServeRpc() {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    const Announced announced(rpc_group_, group);
    if (stopping_) group.RequestStop();
    co_return co_await rpc_server_->Serve();
  });
}

// The service, and RPC as long as it is there.
Task<absl::Status> Life::ServeAll() {
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    const absl::Status started = co_await group.StartAndWait(
        "service", [this](Ready<void> ready) -> Task<absl::Status> {
          absl::Status status = co_await ServeService(std::move(ready));
          // By itself or not, that was it: RPC finishes what it has.
          if (status.ok()) RequestStop("the service has ended");
          co_return status;
        });
    if (!started.ok()) {
      // Stopped before it was ready, and ended well.
      if (stopping_ && absl::IsFailedPrecondition(started) &&
          !IsClosed(started))
        co_return absl::OkStatus();
      co_return started;
    }
    serving_ = true;
    if (rpc_server_.has_value())
      group.Start("rpc", [this]() -> Task<absl::Status> {
        co_return co_await ServeRpc();
      });
    // RPC says that everything is serving when it begins.
    co_await Checkpoint();
    UpdateReady();
    co_return co_await group.Join();
  });
}

Task<absl::Status> Life::Run() {
  co_await OrReturn(AddMetrics());
  AddPages();
  service_ = definition_.make(*this, *config_);
  co_await OrReturn(Open());
  co_return co_await WithTaskGroup([&](TaskGroup& group) -> Task<absl::Status> {
    const Announced announced(group_, group);
    if (stopping_) StartDraining();
    group.Start("signals", [this]() -> Task<absl::Status> {
      co_return co_await FollowSignals();
    });
    if (http_listener_.has_value()) {
      group.Start("http", [this]() -> Task<absl::Status> {
        co_return co_await http_.Serve(*http_listener_);
      });
    }
    absl::Status status = co_await ServeAll();
    group.Cancel("the service has ended");
    co_return status;
  });
}

// What is known before there is a loop, or without one.
struct Beginning {
  CommandLine line;
  std::unique_ptr<pb::Message> config;
};

// What --version prints: the name, and what is known of the build.
std::string VersionLine(const AnyDefinition& definition) {
  std::string line = definition.name;
  if (!definition.build.version.empty())
    absl::StrAppend(&line, " ", definition.build.version);
  if (!definition.build.revision.empty())
    absl::StrAppend(&line, " ", definition.build.revision);
  return line + "\n";
}

// The configuration; or the exit code, where that is all.
std::variant<Beginning, int> Begin(const std::vector<std::string>& args,
                                   const AnyDefinition& definition,
                                   const Configuration& configuration,
                                   Process& process) {
  absl::StatusOr<CommandLine> line =
      configuration.schema().ParseCommandLine(args);
  if (!line.ok())
    return Complain(process, definition.name, line.status(), kWrongUse);
  if (line->help || line->version) {
    const std::string text =
        line->help
            ? configuration.schema().Help(definition.name, definition.summary)
            : VersionLine(definition);
    return process.Say(text) ? 0 : kFailed;
  }
  auto config = configuration.Load(*line, /*reload=*/false);
  if (!config.ok())
    return Complain(process, definition.name, config.status(), kWrongUse);
  return Beginning{*std::move(line), *std::move(config)};
}

Logger MakeLog(const AnyDefinition& definition, const Options& options,
               std::shared_ptr<Host> host, Process& process) {
  return Logger(
      {.service = definition.name,
       .level = ParseLogLevel(options.log().level()).value_or(LogLevel::kInfo),
       .format = options.log().format() == "json" ? LogFormat::kJson
                                                  : LogFormat::kText,
       .clock = [host = std::move(host)] { return host->WallNow(); },
       .trace_id = {},
       .spdlog_sinks = {}},
      process.log());
}

// Where an exception can be caught, so that the log still says what it was.
absl::Status StatusOfException() {
  try {
    throw;
  } catch (const std::exception& exception) {
    return absl::InternalError(absl::StrCat("exception: ", exception.what()));
  } catch (...) {
    return absl::InternalError("an exception of unknown type");
  }
}

// The exit code.
int End(const absl::Status& status, const Logger& log) {
  if (status.ok()) {
    log.Info("stopped");
    return 0;
  }
  for (const absl::Status& other : SuppressedErrors(status)) {
    log.Error(
        {{"error", other.ToString(absl::StatusToStringMode::kWithNoExtraData)}},
        "also failed");
  }
  log.Error(
      {{"error", status.ToString(absl::StatusToStringMode::kWithNoExtraData)}},
      "failed");
  return kFailed;
}

}  // namespace

int Main(int argc, char** argv, const AnyDefinition& definition) {
  // A write to a pipe whose reader has gone is an error, wherever in the
  // process it happens, not its end. A SIGHUP asks for the configuration to be
  // read, which it is going to be: until there is a loop to do it again, and
  // once there is none any more, there is nothing to do.
  // lint: allow(io): main's own business
  ::signal(SIGPIPE, SIG_IGN);
  // lint: allow(io): as above
  ::signal(SIGHUP, SIG_IGN);
  const std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  const std::unique_ptr<Process> own = MakeOwnProcess();
  Process& process = *own;
  const std::shared_ptr<Host> host = MakeRealHost();
  const Configuration configuration(definition, *host, process);
  auto begun = Begin(args, definition, configuration, process);
  if (const int* code = std::get_if<int>(&begun)) return *code;
  auto& beginning = std::get<Beginning>(begun);
  const Options options = OptionsOf(*beginning.config);
  absl::StatusOr<std::unique_ptr<Backend>> backend =
      MakeBackend(options.backend());
  if (!backend.ok()) {
    return Complain(
        process, definition.name,
        absl::Status(backend.status().code(),
                     absl::StrCat("service.backend=", options.backend(), ": ",
                                  std::string(backend.status().message()))),
        absl::IsInvalidArgument(backend.status()) ? kWrongUse : kFailed);
  }
  const Logger log = MakeLog(definition, options, host, process);
  const LibraryLog libraries(log);
  absl::Status status;
  try {
    status = braid::Run(**backend,
                        [&]() -> Task<absl::Status> {
                          // In the loop, as what it owns has to go before the
                          // loop does.
                          Life life(definition, configuration, beginning.line,
                                    std::move(beginning.config),
                                    (*backend)->host(), log, process);
                          co_return co_await life.Run();
                        },
                        {.shuffle_seed = {},
                         .cleanup_limit = ToDuration(options.drain_limit())});
  } catch (...) {
    status = StatusOfException();
  }
  return End(status, log);
}

Task<int> Run(std::vector<std::string> args, const AnyDefinition& definition,
              std::shared_ptr<LogSink> sink) {
  const std::unique_ptr<Process> shared = MakeSharedProcess(std::move(sink));
  Process& process = *shared;
  const std::shared_ptr<Host> host = CurrentBackend().shared_host();
  const Configuration configuration(definition, *host, process);
  auto begun = Begin(args, definition, configuration, process);
  if (const int* code = std::get_if<int>(&begun)) co_return *code;
  auto& beginning = std::get<Beginning>(begun);
  const Logger log =
      MakeLog(definition, OptionsOf(*beginning.config), host, process);
  absl::Status status;
  int code = 0;
  try {
    Life life(definition, configuration, beginning.line,
              std::move(beginning.config), *host, log, process);
    status = co_await life.Run();
    code = life.exit_code();
  } catch (...) {
    status = StatusOfException();
  }
  co_return code != 0 ? code : End(status, log);
}

}  // namespace braid::service::detail
