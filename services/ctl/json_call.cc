#include "services/ctl/json_call.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "braid/core/or_return.h"
#include "braid/core/with_background.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/type_resolver.h"
#include "google/protobuf/util/type_resolver_util.h"

namespace braid::ctl {
namespace {

namespace pb = google::protobuf;

// Of a request that is none.
constexpr size_t kShown = 200;

constexpr char kTypePrefix[] = "type.googleapis.com";

// Any message on its way through typed code: what a message doesn't know it
// keeps, and Empty knows nothing.
using AnyMessage = pb::Empty;

std::string TypeUrl(const pb::Descriptor* type) {
  return absl::StrCat(kTypePrefix, "/", type->full_name());
}

absl::StatusOr<AnyMessage> FromJson(pb::util::TypeResolver& resolver,
                                    const pb::Descriptor* type,
                                    const std::string& json) {
  std::string bytes;
  const auto status =
      pb::util::JsonToBinaryString(&resolver, TypeUrl(type), json, &bytes);
  AnyMessage message;
  if (!status.ok() || !message.ParseFromString(bytes)) {
    const std::string why =
        absl::StrReplaceAll(std::string(status.message()), {{"\n", " "}});
    return absl::InvalidArgumentError(absl::StrCat(
        "'", json.substr(0, kShown), json.size() > kShown ? "..." : "",
        "' is no JSON of ", type->full_name(), ": ", why));
  }
  return message;
}

absl::StatusOr<std::string> ToJson(pb::util::TypeResolver& resolver,
                                   const pb::Descriptor* type,
                                   const AnyMessage& message) {
  pb::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = pb::util::BinaryToJsonString(
      &resolver, TypeUrl(type), message.SerializeAsString(), &json, options);
  if (status.ok()) return json;
  return absl::InternalError(absl::StrCat("a reply is no ", type->full_name(),
                                          ": ", std::string(status.message())));
}

rpc::MethodKind KindOf(const pb::MethodDescriptor* method) {
  if (method->client_streaming()) {
    return method->server_streaming() ? rpc::MethodKind::kBidiStreaming
                                      : rpc::MethodKind::kClientStreaming;
  }
  return method->server_streaming() ? rpc::MethodKind::kServerStreaming
                                    : rpc::MethodKind::kUnary;
}

}  // namespace

Task<absl::Status> CallWithJson(
    rpc::Channel channel, const pb::MethodDescriptor* descriptor,
    std::vector<std::string> requests, rpc::CallOptions options,
    std::function<absl::Status(std::string_view json)> on_reply) {
  const std::unique_ptr<pb::util::TypeResolver> resolver(
      pb::util::NewTypeResolverForDescriptorPool(kTypePrefix,
                                                 descriptor->file()->pool()));
  std::vector<AnyMessage> messages;
  for (const std::string& json : requests) {
    messages.push_back(
        co_await OrReturn(FromJson(*resolver, descriptor->input_type(), json)));
  }
  if (!descriptor->client_streaming() && messages.size() != 1) {
    co_return absl::InvalidArgumentError(
        absl::StrCat(descriptor->full_name(), " takes exactly one request"));
  }

  const std::string path = absl::StrCat("/", descriptor->service()->full_name(),
                                        "/", descriptor->name());
  const rpc::Method method(path, KindOf(descriptor));
  const auto tell = [&](const AnyMessage& reply) -> absl::Status {
    absl::StatusOr<std::string> json =
        ToJson(*resolver, descriptor->output_type(), reply);
    return json.ok() ? on_reply(*json) : json.status();
  };
  const auto receive_all = [&](auto& stream) -> Task<absl::Status> {
    while (std::optional<AnyMessage> reply =
               co_await OrReturn(stream.Receive()))
      co_await OrReturn(tell(*reply));
    co_return absl::OkStatus();
  };
  switch (method.kind()) {
    case rpc::MethodKind::kUnary: {
      const AnyMessage reply =
          co_await OrReturn(rpc::detail::CallUnary<AnyMessage>(
              channel, method, messages.front(), std::move(options)));
      co_return tell(reply);
    }
    case rpc::MethodKind::kServerStreaming: {
      rpc::ClientReader<AnyMessage> stream(rpc::detail::CallWith(
          channel, method, messages.front(), std::move(options)));
      co_return co_await receive_all(stream);
    }
    case rpc::MethodKind::kClientStreaming:
    case rpc::MethodKind::kBidiStreaming: {
      rpc::ClientStream<AnyMessage, AnyMessage> stream(
          rpc::detail::CallStreaming(channel, method, std::move(options)));
      const auto send_all = [&]() -> Task<absl::Status> {
        for (const AnyMessage& message : messages) {
          // If the call is over, receiving says why.
          if (!(co_await stream.Send(message)).ok()) co_return absl::OkStatus();
        }
        (co_await stream.CloseSend()).IgnoreError();
        co_return absl::OkStatus();
      };
      const auto receive = [&]() -> Task<absl::Status> {
        co_return co_await receive_all(stream);
      };
      co_return co_await WithBackground(send_all, receive);
    }
  }
  co_return absl::InternalError("a kind of method that doesn't exist");
}

}  // namespace braid::ctl
