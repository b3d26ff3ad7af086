#include "services/ctl/schema_client.h"

#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "braid/core/or_return.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/reflection/v1/reflection.braid.h"
#include "grpc/reflection/v1alpha/reflection.braid.h"

namespace braid::ctl {
namespace {

using google::protobuf::FileDescriptorProto;

// The versions differ by nothing but their package.
struct V1 {
  using Client = grpc::reflection::v1::ServerReflection::Client;
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Client = grpc::reflection::v1alpha::ServerReflection::Client;
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
};

absl::Status NoAnswer() {
  return absl::InternalError(
      "the server ended the reflection call without an answer");
}

template <typename Version, typename Stream>
Task<absl::StatusOr<typename Version::Response>> Ask(
    Stream& stream, const typename Version::Request& request) {
  // If the call is over, Receive says why.
  (co_await stream.Send(request)).IgnoreError();
  std::optional<typename Version::Response> response =
      co_await OrReturn(stream.Receive());
  if (!response.has_value()) co_return NoAnswer();
  if (response->has_error_response()) {
    const auto& error = response->error_response();
    if (error.error_code() == 0) {
      co_return absl::InternalError(
          "the server answered with an error that is none");
    }
    co_return absl::Status(static_cast<absl::StatusCode>(error.error_code()),
                           error.error_message());
  }
  co_return *std::move(response);
}

template <typename Version>
Task<absl::StatusOr<std::vector<std::string>>> ListWith(rpc::Channel channel) {
  auto stream = typename Version::Client(channel).ServerReflectionInfo();
  typename Version::Request request;
  request.set_list_services("*");
  const typename Version::Response response =
      co_await OrReturn(Ask<Version>(stream, request));
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service())
    names.push_back(service.name());
  co_return names;
}

// The file that defines `symbol`, and those it needs, those first that others
// need.
template <typename Version>
Task<absl::StatusOr<std::vector<FileDescriptorProto>>> FetchWith(
    rpc::Channel channel, std::string symbol) {
  auto stream = typename Version::Client(channel).ServerReflectionInfo();
  std::vector<FileDescriptorProto> files;
  std::set<std::string> known;
  std::deque<std::string> wanted;
  typename Version::Request request;
  request.set_file_containing_symbol(symbol);
  for (;;) {
    const typename Version::Response response =
        co_await OrReturn(Ask<Version>(stream, request));
    // A server sends a file once on a stream, and may send what it needs along
    // with it.
    for (const std::string& bytes :
         response.file_descriptor_response().file_descriptor_proto()) {
      FileDescriptorProto file;
      if (!file.ParseFromString(bytes))
        co_return absl::InternalError(
            "the server sent a descriptor that can't be read");
      if (!known.insert(file.name()).second) continue;
      for (const std::string& dependency : file.dependency())
        wanted.push_back(dependency);
      files.push_back(std::move(file));
    }
    while (!wanted.empty() && known.contains(wanted.front()))
      wanted.pop_front();
    if (wanted.empty()) co_return files;
    request.set_file_by_filename(wanted.front());
    wanted.pop_front();
  }
}

}  // namespace

Task<absl::StatusOr<std::vector<std::string>>> SchemaClient::ListServices() {
  auto names = co_await ListWith<V1>(channel_);
  if (absl::IsUnimplemented(names.status()))
    names = co_await ListWith<V1Alpha>(channel_);
  co_return names;
}

Task<absl::Status> SchemaClient::Fetch(std::string symbol) {
  if (pool_.FindFileContainingSymbol(symbol) != nullptr)
    co_return absl::OkStatus();
  auto files = co_await FetchWith<V1>(channel_, symbol);
  if (absl::IsUnimplemented(files.status()))
    files = co_await FetchWith<V1Alpha>(channel_, symbol);
  if (!files.ok()) co_return files.status();
  for (const FileDescriptorProto& file : *files) {
    FileDescriptorProto there;
    if (!database_.FindFileByName(file.name(), &there)) database_.Add(file);
  }
  if (pool_.FindFileContainingSymbol(symbol) == nullptr) {
    co_return absl::InternalError(absl::StrCat("the server's description of ",
                                               symbol, " is not complete"));
  }
  co_return absl::OkStatus();
}

}  // namespace braid::ctl
