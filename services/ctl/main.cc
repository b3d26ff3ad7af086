// braidctl: looks at running services and tells them what to do.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "braid/backend/make_backend.h"
#include "braid/core/or_return.h"
#include "braid/core/run.h"
#include "braid/core/task.h"
#include "braid/core/timeout.h"
#include "braid/echo/v1/echo_control.braid.h"
#include "braid/net/tcp.h"
#include "braid/rpc/client.h"
#include "braid/service/config.h"
#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/util/time_util.h"
#include "grpc/health/v1/health.braid.h"
#include "services/ctl/flags.pb.h"
#include "services/ctl/json_call.h"
#include "services/ctl/schema_client.h"

namespace braid::ctl {
namespace {

using google::protobuf::util::TimeUtil;

// Those of grpc-health-probe.
enum ExitCode : int {
  kOk = 0,
  kBadFlags = 1,
  kConnectFailed = 2,
  kRpcFailed = 3,
  kNotServing = 4
};

constexpr std::string_view kSummary =
    "Looks at running services and tells them what to do.\n"
    "\n"
    "Commands:\n"
    "  health [SERVICE]           is it serving? (gRPC health)\n"
    "  list [SERVICE]             its services, or the methods of one\n"
    "  describe NAME              a service, method, message or enum as it "
    "stands in its .proto\n"
    "  call METHOD [REQUEST]...   calls package.Service/Method with JSON ({} "
    "if there is none; - reads it from\n"
    "                             standard input); several for a method that "
    "takes a stream. Replies are JSON lines\n"
    "  echo stats                 what a UDP echo service has counted\n"
    "  echo watch                 the same as rates, a line each --interval, "
    "until interrupted\n"
    "  echo top                   the addresses that send the most to it at "
    "present\n"
    "  tasks                      the tree of a service's live tasks\n"
    "\n"
    "Exit codes: 0 it worked; 1 wrong flags or command; 2 no connection: "
    "refused, lost, or none within --timeout; 3 the call failed, took too "
    "long, or its outcome can't be written; 4 not serving.";

// Longer trees of tasks are something else than what a service answers.
constexpr size_t kLargestPage = 64 << 20;

void Print(std::string_view text) { std::cout << text; }
void PrintLine(std::string_view line) { std::cout << line << std::endl; }
// Of what was printed.
absl::Status Printed() {
  if (std::cout.flush()) return absl::OkStatus();
  return absl::DataLossError("standard output can't be written");
}

class Commands {
 public:
  Commands(const Flags& flags, std::vector<std::string> words)
      : flags_(flags),
        words_(std::move(words)),
        channel_(rpc::Channel::To(flags.rpc())) {}

  // The exit code.
  Task<int> Run() {
    absl::Status status = co_await Dispatch();
    if (status.ok()) status = Printed();
    if (usage_) {
      Complain(status);
      co_return kBadFlags;
    }
    if (status.ok()) co_return not_serving_ ? kNotServing : kOk;
    Complain(status);
    // Whatever the error is called: a limit that passed before there was a
    // connection is no connection, and a server may well answer UNAVAILABLE.
    const bool no_answer =
        absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
    co_return no_answer && !connected() ? kConnectFailed : kRpcFailed;
  }

 private:
  // In one line, whatever a server has put into it.
  static void Complain(const absl::Status& status) {
    std::string text =
        status.ToString(absl::StatusToStringMode::kWithNoExtraData);
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
    std::fprintf(stderr, "braidctl: %s\n", text.c_str());
  }

  absl::Status Usage(std::string_view what) {
    usage_ = true;
    return absl::InvalidArgumentError(absl::StrCat(
        std::string(what), "; braidctl --help lists the commands"));
  }

  Duration timeout() const {
    return std::chrono::nanoseconds(
        TimeUtil::DurationToNanoseconds(flags_.timeout()));
  }

  // Of the endpoint that the command is for.
  bool connected() const {
    return words_[0] == "tasks" ? http_connected_ : channel_.connected();
  }

  Task<absl::Status> Dispatch() {
    const size_t count = words_.size();
    if (count == 0) co_return Usage("there is no command");
    const std::string& command = words_[0];
    if (command == "health" && count <= 2)
      co_return co_await FailAfter(timeout(), Health());
    if (command == "list" && count <= 2)
      co_return co_await FailAfter(timeout(), List());
    if (command == "describe" && count == 2)
      co_return co_await FailAfter(timeout(), Describe());
    if (command == "call" && count >= 2) co_return co_await Call();
    if (command == "tasks" && count == 1)
      co_return co_await FailAfter(timeout(), Tasks());
    if (command == "echo" && count == 2) {
      if (words_[1] == "stats")
        co_return co_await FailAfter(timeout(), EchoStats());
      if (words_[1] == "watch") co_return co_await EchoWatch();
      if (words_[1] == "top")
        co_return co_await FailAfter(timeout(), EchoTop());
    }
    co_return Usage(
        absl::StrCat("'", absl::StrJoin(words_, " "),
                     "' is no command, or has too many or too few arguments"));
  }

  Task<absl::Status> Health() {
    grpc::health::v1::HealthCheckRequest request;
    if (words_.size() == 2) request.set_service(words_[1]);
    const grpc::health::v1::HealthCheckResponse reply = co_await OrReturn(
        grpc::health::v1::Health::Client(channel_).Check(request));
    PrintLine(grpc::health::v1::HealthCheckResponse::ServingStatus_Name(
        reply.status()));
    not_serving_ =
        reply.status() != grpc::health::v1::HealthCheckResponse::SERVING;
    co_return absl::OkStatus();
  }

  Task<absl::Status> List() {
    SchemaClient schema(channel_);
    if (words_.size() == 1) {
      for (const std::string& name : co_await OrReturn(schema.ListServices()))
        PrintLine(name);
      co_return absl::OkStatus();
    }
    co_await OrReturn(schema.Fetch(words_[1]));
    const auto* service = schema.pool().FindServiceByName(words_[1]);
    if (service == nullptr)
      co_return absl::NotFoundError(
          absl::StrCat(words_[1], " is not a service"));
    for (int i = 0; i < service->method_count(); ++i) {
      PrintLine(
          absl::StrCat(service->full_name(), "/", service->method(i)->name()));
    }
    co_return absl::OkStatus();
  }

  Task<absl::Status> Describe() {
    // Methods may be written as they are called.
    std::string name = words_[1];
    if (const size_t slash = name.find('/'); slash != name.npos)
      name[slash] = '.';
    SchemaClient schema(channel_);
    co_await OrReturn(schema.Fetch(name));
    const auto& pool = schema.pool();
    if (const auto* service = pool.FindServiceByName(name)) {
      Print(service->DebugString());
    } else if (const auto* method = pool.FindMethodByName(name)) {
      Print(method->DebugString());
      Print(method->input_type()->DebugString());
      Print(method->output_type()->DebugString());
    } else if (const auto* message = pool.FindMessageTypeByName(name)) {
      Print(message->DebugString());
    } else if (const auto* type = pool.FindEnumTypeByName(name)) {
      Print(type->DebugString());
    } else {
      co_return absl::NotFoundError(
          absl::StrCat(name, " is no service, method, message or enum"));
    }
    co_return absl::OkStatus();
  }

  Task<absl::Status> Call() {
    std::string name(absl::StripPrefix(words_[1], "/"));
    const size_t slash = name.find('/');
    if (slash != name.npos) name[slash] = '.';
    SchemaClient schema(channel_);
    co_await OrReturn(FailAfter(timeout(), schema.Fetch(name)));
    const auto* method = schema.pool().FindMethodByName(name);
    if (method == nullptr)
      co_return absl::NotFoundError(absl::StrCat(name, " is not a method"));
    std::vector<std::string> requests(words_.begin() + 2, words_.end());
    if (requests.empty() && !method->client_streaming())
      requests.emplace_back("{}");
    for (std::string& request : requests) {
      if (request == "-")
        request.assign(std::istreambuf_iterator<char>(std::cin), {});
    }
    rpc::CallOptions options;
    if (!method->server_streaming())
      options = std::move(options).Timeout(timeout());
    absl::Status status =
        co_await CallWithJson(channel_, method, requests, std::move(options),
                              [](std::string_view json) {
                                PrintLine(json);
                                return Printed();
                              });
    co_return status;
  }

  Task<absl::Status> EchoStats() {
    const echo::v1::StatsReply stats =
        co_await OrReturn(echo::v1::EchoControl::Client(channel_).GetStats(
            echo::v1::StatsRequest()));
    const auto row = [](std::string_view what, uint64_t datagrams,
                        std::optional<uint64_t> bytes = std::nullopt) {
      PrintLine(
          absl::StrFormat("%-34s %14u", std::string(what), datagrams) +
          (bytes.has_value() ? absl::StrFormat(" %16u bytes", *bytes) : ""));
    };
    PrintLine(absl::StrFormat(
        "%-34s %14.1f s", "up for",
        static_cast<double>(TimeUtil::DurationToMilliseconds(stats.uptime())) /
            1e3));
    row("received", stats.received_datagrams(), stats.received_bytes());
    row("echoed", stats.echoed_datagrams(), stats.echoed_bytes());
    for (const auto& [reason, count] :
         std::map<std::string, uint64_t>(stats.dropped_datagrams().begin(),
                                         stats.dropped_datagrams().end())) {
      row("dropped, " + reason, count);
    }
    row("dropped by the kernel", stats.kernel_dropped_datagrams());
    row("receive errors", stats.receive_errors());
    row("prefixes in use", stats.prefixes_in_use());
    row("prefixes at most", stats.max_prefixes());
    PrintLine(
        absl::StrFormat("%-34s %14s", "limit per prefix",
                        stats.limits().rate() == 0
                            ? "none"
                            : absl::StrFormat("%g/s", stats.limits().rate())));
    row("burst", stats.limits().burst());
    co_return absl::OkStatus();
  }

  Task<absl::Status> EchoWatch() {
    echo::v1::WatchRequest request;
    *request.mutable_interval() = flags_.interval();
    auto updates = echo::v1::EchoControl::Client(channel_).WatchStats(request);
    std::optional<echo::v1::StatsReply> before;
    PrintLine(
        "  received/s     echoed/s    dropped/s     kernel/s         MB/s");
    co_await OrReturn(Printed());
    // The first comes at once, from a server that is one.
    for (std::optional<echo::v1::StatsReply> now =
             co_await OrReturn(FailAfter(timeout(), updates.Receive()));
         now.has_value(); now = co_await OrReturn(updates.Receive())) {
      if (before.has_value()) {
        const auto between =
            TimeUtil::DurationToNanoseconds(now->uptime() - before->uptime());
        const double seconds =
            between > 0 ? static_cast<double>(between) / 1e9 : 1;
        const auto rate = [&](uint64_t a, uint64_t b) {
          return static_cast<double>(b - a) / seconds;
        };
        uint64_t dropped = 0;
        for (const auto& [reason, count] : now->dropped_datagrams())
          dropped += count;
        uint64_t dropped_before = 0;
        for (const auto& [reason, count] : before->dropped_datagrams())
          dropped_before += count;
        PrintLine(absl::StrFormat(
            "%12.0f %12.0f %12.0f %12.0f %12.2f",
            rate(before->received_datagrams(), now->received_datagrams()),
            rate(before->echoed_datagrams(), now->echoed_datagrams()),
            rate(dropped_before, dropped),
            rate(before->kernel_dropped_datagrams(),
                 now->kernel_dropped_datagrams()),
            rate(before->echoed_bytes(), now->echoed_bytes()) / 1e6));
        co_await OrReturn(Printed());
      }
      before = std::move(now);
    }
    co_return absl::OkStatus();
  }

  Task<absl::Status> EchoTop() {
    echo::v1::TopTalkersRequest request;
    request.set_limit(flags_.limit());
    const echo::v1::TopTalkersReply reply = co_await OrReturn(
        echo::v1::EchoControl::Client(channel_).GetTopTalkers(request));
    PrintLine("   datagrams  may be less by            bytes  address");
    for (const auto& talker : reply.talkers()) {
      PrintLine(absl::StrFormat("%12u %15u %16u  %s", talker.datagrams(),
                                talker.overestimate(), talker.bytes(),
                                talker.address()));
    }
    co_return absl::OkStatus();
  }

  Task<absl::Status> Tasks() {
    const SocketAddress address =
        co_await OrReturn(SocketAddress::Parse(flags_.http()));
    TcpStream stream = co_await OrReturn(TcpStream::Connect(address));
    http_connected_ = true;
    co_await OrReturn(stream.Send(absl::StrCat(
        "GET /tasks HTTP/1.0\r\nHost: ", flags_.http(), "\r\n\r\n")));
    std::string answer;
    std::array<char, 4096> buffer;
    while (const size_t size = co_await OrReturn(stream.Receive(buffer))) {
      answer.append(buffer.data(), size);
      if (answer.size() > kLargestPage) {
        co_return absl::ResourceExhaustedError(absl::StrCat(
            flags_.http(), " sends more than ", kLargestPage, " bytes"));
      }
    }
    const size_t body = answer.find("\r\n\r\n");
    const std::string_view line =
        std::string_view(answer).substr(0, answer.find('\r'));
    if (body == answer.npos || !line.starts_with("HTTP/1.") ||
        line.find(" 200 ") == line.npos) {
      co_return absl::UnknownError(
          absl::StrCat(flags_.http(), " answered: ", std::string(line)));
    }
    const std::string_view page = std::string_view(answer).substr(body + 4);
    constexpr std::string_view kLength = "\r\nContent-Length: ";
    if (const size_t length = answer.substr(0, body).find(kLength);
        length != answer.npos &&
        std::atoll(answer.c_str() + length + kLength.size()) !=
            static_cast<int64_t>(page.size())) {
      co_return absl::DataLossError(
          absl::StrCat(flags_.http(), " broke off after ", page.size(),
                       " bytes of the page"));
    }
    Print(page);
    co_return absl::OkStatus();
  }

  const Flags& flags_;
  const std::vector<std::string> words_;
  rpc::Channel channel_;
  bool usage_ = false;
  bool not_serving_ = false;
  bool http_connected_ = false;
};

int Main(int argc, char** argv) {
  const service::ConfigSchema schema(Flags::default_instance());
  const std::vector<std::string> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  const auto bad = [](const absl::Status& status) {
    std::fprintf(stderr, "braidctl: %s\n",
                 std::string(status.message()).c_str());
    return kBadFlags;
  };
  const absl::StatusOr<service::CommandLine> line =
      schema.ParseCommandLine(args, /*allow_arguments=*/true);
  if (!line.ok()) return bad(line.status());
  if (line->help) {
    Print(schema.Help("braidctl", kSummary));
    return Printed().ok() ? kOk : kRpcFailed;
  }
  const absl::StatusOr<Flags> flags = service::MakeConfig<Flags>(schema, *line);
  if (!flags.ok()) return bad(flags.status());
  if (flags->rpc().empty()) {
    return bad(service::InvalidField("--rpc", "", "host:port"));
  }
  if (!SocketAddress::Parse(flags->http()).ok()) {
    return bad(service::InvalidField(
        "--http", flags->http(),
        "an IP address and a port, such as 127.0.0.1:9100"));
  }
  // What a server sends may be wrong in many ways; what came of it is said
  // here.
  google::protobuf::SetLogHandler(nullptr);
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend();
  if (!backend.ok()) return bad(backend.status());
  int code = kRpcFailed;
  const absl::Status status =
      braid::Run(**backend, [&]() -> Task<absl::Status> {
        Commands commands(*flags, line->arguments);
        code = co_await commands.Run();
        co_return absl::OkStatus();
      });
  return status.ok() ? code : bad(status);
}

}  // namespace
}  // namespace braid::ctl

int main(int argc, char** argv) { return braid::ctl::Main(argc, argv); }
