#include "braid/rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "braid/core/any_of.h"
#include "braid/core/or_return.h"
#include "braid/core/stop_request.h"
#include "grpc/reflection/v1/reflection.braid.h"
#include "grpc/reflection/v1alpha/reflection.braid.h"

namespace braid::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;

// The versions differ by nothing but their package.
struct V1 {
  using Base = grpc::reflection::v1::ServerReflection;
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
};
struct V1Alpha {
  using Base = grpc::reflection::v1alpha::ServerReflection;
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
};

template <typename Version>
class Reflection final : public Version::Base::Service {
 public:
  explicit Reflection(std::vector<std::string> names)
      : names_(std::move(names)) {}

 private:
  using Request = typename Version::Request;
  using Response = typename Version::Response;
  // What a stream has sent already, by name.
  using Sent = std::set<std::string>;

  Task<absl::Status> ServerReflectionInfo(ServerContext&,
                                          Source<Request> requests,
                                          Sink<Response> replies) override {
    Sent sent;
    for (;;) {
      auto [request, stopping] =
          co_await AnyOf(requests.Receive(), StopRequested());
      if (!request.has_value()) co_return absl::OkStatus();
      if (!request->ok()) co_return request->status();
      if (!(*request)->has_value()) co_return absl::OkStatus();
      co_await OrReturn(replies.Send(Answer(***request, sent)));
    }
  }

  Response Answer(const Request& request, Sent& sent) const {
    const DescriptorPool& pool = *DescriptorPool::generated_pool();
    Response response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    switch (request.message_request_case()) {
      case Request::kListServices:
        for (const std::string& name : names_) {
          response.mutable_list_services_response()->add_service()->set_name(
              name);
        }
        break;
      case Request::kFileByFilename:
        AddFile(pool.FindFileByName(request.file_by_filename()),
                request.file_by_filename(), response, sent);
        break;
      case Request::kFileContainingSymbol:
        AddFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                request.file_containing_symbol(), response, sent);
        break;
      case Request::kFileContainingExtension: {
        const auto& wanted = request.file_containing_extension();
        const Descriptor* type =
            pool.FindMessageTypeByName(wanted.containing_type());
        const FieldDescriptor* extension =
            type == nullptr
                ? nullptr
                : pool.FindExtensionByNumber(type, wanted.extension_number());
        AddFile(extension == nullptr ? nullptr : extension->file(),
                absl::StrCat("extension ", wanted.extension_number(), " of ",
                             wanted.containing_type()),
                response, sent);
        break;
      }
      case Request::kAllExtensionNumbersOfType:
        AddExtensions(pool, request.all_extension_numbers_of_type(), response);
        break;
      default:
        SetError(absl::StatusCode::kInvalidArgument,
                 "the request asks for nothing that is known here", response);
    }
    return response;
  }

  static void SetError(absl::StatusCode code, std::string message,
                       Response& response) {
    auto& error = *response.mutable_error_response();
    error.set_error_code(static_cast<int>(code));
    error.set_error_message(std::move(message));
  }

  // The file and what it imports, except what the client has been sent.
  static void AddFile(const FileDescriptor* file, const std::string& name,
                      Response& response, Sent& sent) {
    if (file == nullptr) {
      SetError(absl::StatusCode::kNotFound,
               absl::StrCat("this server knows no ", name), response);
      return;
    }
    auto& files = *response.mutable_file_descriptor_response();
    std::vector<const FileDescriptor*> left = {file};
    // What was asked for is sent even if it was sent before.
    sent.erase(file->name());
    while (!left.empty()) {
      const FileDescriptor* next = left.back();
      left.pop_back();
      if (!sent.insert(next->name()).second) continue;
      FileDescriptorProto proto;
      next->CopyTo(&proto);
      files.add_file_descriptor_proto(proto.SerializeAsString());
      for (int i = next->dependency_count() - 1; i >= 0; --i) {
        left.push_back(next->dependency(i));
      }
    }
  }

  static void AddExtensions(const DescriptorPool& pool, const std::string& name,
                            Response& response) {
    const Descriptor* type = pool.FindMessageTypeByName(name);
    if (type == nullptr) {
      SetError(absl::StatusCode::kNotFound,
               absl::StrCat("this server knows no message ", name), response);
      return;
    }
    std::vector<const FieldDescriptor*> extensions;
    pool.FindAllExtensions(type, &extensions);
    auto& numbers = *response.mutable_all_extension_numbers_response();
    numbers.set_base_type_name(name);
    for (const FieldDescriptor* extension : extensions) {
      numbers.add_extension_number(extension->number());
    }
  }

  const std::vector<std::string> names_;
};

}  // namespace

std::vector<std::unique_ptr<Service>> MakeReflection(
    std::vector<std::string> names) {
  names.emplace_back(V1::Base::kName);
  names.emplace_back(V1Alpha::Base::kName);
  std::vector<std::unique_ptr<Service>> services;
  services.push_back(std::make_unique<Reflection<V1>>(names));
  services.push_back(std::make_unique<Reflection<V1Alpha>>(std::move(names)));
  return services;
}

}  // namespace braid::rpc
