#include "braid/rpc/plugin/generator.h"

#include <google/protobuf/compiler/cpp/names.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace braid::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::SourceLocation;
using google::protobuf::compiler::StripProto;
using google::protobuf::compiler::cpp::QualifiedClassName;
using google::protobuf::io::Printer;

using Variables = std::map<std::string, std::string>;

// Words of C++20 that a .proto may use as names of services and methods. As
// protobuf does with fields, an underscore is put behind them.
constexpr std::string_view kKeywords[] = {
    "alignas",       "alignof",     "and",
    "and_eq",        "asm",         "auto",
    "bitand",        "bitor",       "bool",
    "break",         "case",        "catch",
    "char",          "char16_t",    "char32_t",
    "char8_t",       "class",       "co_await",
    "co_return",     "co_yield",    "compl",
    "concept",       "const",       "const_cast",
    "consteval",     "constexpr",   "constinit",
    "continue",      "decltype",    "default",
    "delete",        "do",          "double",
    "dynamic_cast",  "else",        "enum",
    "explicit",      "export",      "extern",
    "false",         "float",       "for",
    "friend",        "goto",        "if",
    "inline",        "int",         "long",
    "mutable",       "namespace",   "new",
    "noexcept",      "not",         "not_eq",
    "nullptr",       "operator",    "or",
    "or_eq",         "private",     "protected",
    "public",        "register",    "reinterpret_cast",
    "requires",      "return",      "short",
    "signed",        "sizeof",      "static",
    "static_assert", "static_cast", "struct",
    "switch",        "template",    "this",
    "thread_local",  "throw",       "true",
    "try",           "typedef",     "typeid",
    "typename",      "union",       "unsigned",
    "using",         "virtual",     "void",
    "volatile",      "wchar_t",     "while",
    "xor",           "xor_eq",
};

std::string CppName(const std::string& name) {
  const bool keyword = std::find(std::begin(kKeywords), std::end(kKeywords),
                                 name) != std::end(kKeywords);
  return keyword ? name + "_" : name;
}

// As protobuf's own generator writes it: a package can't have a word of C++.
std::string Namespace(const FileDescriptor& file) {
  return absl::StrReplaceAll(file.package(), {{".", "::"}});
}

// What stands above a service or method in the .proto, as lines of comment.
template <typename D>
std::string Comment(const D& descriptor, std::string_view indent) {
  SourceLocation location;
  if (!descriptor.GetSourceLocation(&location)) return "";
  std::string text = location.leading_comments;
  if (text.empty()) return "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string comment;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    absl::StrAppend(&comment, absl::string_view(indent.data(), indent.size()),
                    "//", line.empty() || line.front() == ' ' ? "" : " ",
                    absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return comment;
}

std::string Kind(const MethodDescriptor& method) {
  if (method.client_streaming()) {
    return method.server_streaming() ? "BidiStreaming" : "ClientStreaming";
  }
  return method.server_streaming() ? "ServerStreaming" : "Unary";
}

Variables VariablesOf(const MethodDescriptor& method) {
  Variables v;
  v["method"] = CppName(method.name());
  v["path"] =
      absl::StrCat("/", method.service()->full_name(), "/", method.name());
  v["constant"] =
      absl::StrCat("k", method.service()->name(), "_", method.name());
  v["service"] = CppName(method.service()->name());
  v["kind"] = Kind(method);
  v["request"] = QualifiedClassName(method.input_type());
  v["reply"] = QualifiedClassName(method.output_type());
  v["comment"] = Comment(method, "    ");

  // What the service's function takes beside the context, and gives.
  v["arguments"] =
      method.client_streaming()
          ? absl::StrCat("::braid::rpc::Source<", v["request"], "> requests")
          : absl::StrCat(v["request"], " request");
  if (method.server_streaming()) {
    absl::StrAppend(&v["arguments"], ", ::braid::rpc::Sink<", v["reply"],
                    "> replies");
    v["result"] = "::absl::Status";
  } else {
    v["result"] = absl::StrCat("::absl::StatusOr<", v["reply"], ">");
  }
  // The same without names.
  v["types"] = absl::StrReplaceAll(
      v["arguments"], {{" requests", ""}, {" request", ""}, {" replies", ""}});

  // What the client's function gives.
  const std::string both = absl::StrCat(v["request"], ", ", v["reply"]);
  const std::map<std::string, std::string> calls = {
      {"Unary", absl::StrCat("UnaryCall<", v["reply"], ">")},
      {"ClientStreaming", absl::StrCat("ClientWriter<", both, ">")},
      {"ServerStreaming", absl::StrCat("ClientReader<", v["reply"], ">")},
      {"BidiStreaming", absl::StrCat("ClientStream<", both, ">")},
  };
  v["call"] = "::braid::rpc::" + calls.at(v["kind"]);
  v["request_parameter"] =
      method.client_streaming()
          ? ""
          : absl::StrCat("const ", v["request"], "& request,\n        ");
  return v;
}

void PrintServiceClass(const ServiceDescriptor& service, Printer& out) {
  out.Print(
      "$comment$"
      "class $service$ final {\n"
      " public:\n"
      "  $service$() = delete;\n"
      "\n"
      "  static constexpr ::std::string_view kName = \"$full_name$\";\n"
      "\n"
      "  // Override what is served; the rest answers UNIMPLEMENTED.\n"
      "  class Service : public ::braid::rpc::Service {\n"
      "   public:\n"
      "    Service();\n",
      "service", CppName(service.name()), "full_name", service.full_name(),
      "comment", Comment(service, ""));
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print(VariablesOf(*service.method(i)),
              "\n"
              "$comment$"
              "    virtual ::braid::Task<$result$> $method$(\n"
              "        ::braid::rpc::ServerContext& context,\n"
              "        $arguments$);\n");
  }
  out.Print(
      "  };\n"
      "\n"
      "  // Calls the service over a channel. Copies share that.\n"
      "  class Client {\n"
      "   public:\n"
      "    explicit Client(::braid::rpc::Channel channel);\n");
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print(VariablesOf(*service.method(i)),
              "\n"
              "$comment$"
              "    $call$ $method$(\n"
              "        $request_parameter$"
              "::braid::rpc::CallOptions options = {}) const;\n");
  }
  out.Print(
      "\n"
      "   private:\n"
      "    ::braid::rpc::Channel channel_;\n"
      "  };\n"
      "};\n");
}

void PrintServiceCode(const ServiceDescriptor& service, Printer& out) {
  const std::string name = CppName(service.name());
  out.Print("namespace {\n\n");
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print(VariablesOf(*service.method(i)),
              "constexpr ::braid::rpc::Method $constant$(\n"
              "    \"$path$\", ::braid::rpc::MethodKind::k$kind$);\n");
  }
  if (service.method_count() > 0) {
    out.Print(
        "\n"
        "constexpr ::braid::rpc::Service::Entry k$service$Methods[] = {\n",
        "service", service.name());
    for (int i = 0; i < service.method_count(); ++i) {
      out.Print(VariablesOf(*service.method(i)),
                "    {&$constant$,\n"
                "     &::braid::rpc::detail::Handle$kind$<\n"
                "         $service$::Service, &$service$::Service::$method$,\n"
                "         $request$, $reply$>},\n");
    }
    out.Print("};\n\n");
  }
  out.Print("}  // namespace\n\n");

  out.Print(
      "$service$::Service::Service()\n"
      "    : ::braid::rpc::Service(kName, $methods$) {}\n",
      "service", name, "methods",
      service.method_count() > 0 ? absl::StrCat("k", service.name(), "Methods")
                                 : "{}");
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print(VariablesOf(*service.method(i)),
              "\n"
              "::braid::Task<$result$> $service$::Service::$method$(\n"
              "    ::braid::rpc::ServerContext& context,\n"
              "    $types$) {\n"
              "  co_return ::braid::rpc::detail::Unimplemented(context);\n"
              "}\n");
  }

  out.Print(
      "\n"
      "$service$::Client::Client(::braid::rpc::Channel channel)\n"
      "    : channel_(::std::move(channel)) {\n"
      "  ::braid::rpc::detail::Announce(channel_, {",
      "service", name);
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print("$comma$&$constant$", "comma", i > 0 ? ", " : "", "constant",
              VariablesOf(*service.method(i))["constant"]);
  }
  out.Print("});\n}\n");
  for (int i = 0; i < service.method_count(); ++i) {
    const MethodDescriptor& method = *service.method(i);
    Variables v = VariablesOf(method);
    out.Print(v,
              "\n"
              "$call$ $service$::Client::$method$(\n"
              "    $request_parameter$"
              "::braid::rpc::CallOptions options) const {\n");
    if (v["kind"] == "Unary") {
      out.Print(v,
                "  return ::braid::rpc::detail::CallUnary<$reply$>(\n"
                "      channel_, $constant$, request, "
                "::std::move(options));\n");
    } else if (method.client_streaming()) {
      out.Print(v,
                "  return $call$(\n"
                "      ::braid::rpc::detail::CallStreaming(\n"
                "          channel_, $constant$, ::std::move(options)));\n");
    } else {
      out.Print(v,
                "  return $call$(\n"
                "      ::braid::rpc::detail::CallWith(\n"
                "          channel_, $constant$, request, "
                "::std::move(options)));\n");
    }
    out.Print("}\n");
  }
}

// Names that the generated class has a use for itself.
std::string Clash(const ServiceDescriptor& service) {
  for (int i = 0; i < service.method_count(); ++i) {
    const std::string& name = service.method(i)->name();
    if (name == "Service" || name == "Client") return name;
  }
  return "";
}

}  // namespace

bool Generator::Generate(const FileDescriptor* file,
                         const std::string& parameter,
                         google::protobuf::compiler::GeneratorContext* context,
                         std::string* error) const {
  if (!parameter.empty()) {
    *error = "unknown parameter \"" + parameter + "\"; there are none";
    return false;
  }
  for (int i = 0; i < file->service_count(); ++i) {
    const ServiceDescriptor& service = *file->service(i);
    if (const std::string name = Clash(service); !name.empty()) {
      *error = absl::StrCat(service.full_name(), ": a method can't be named ",
                            name, ", which is a class in the generated code");
      return false;
    }
    if (service.name() == "Service" || service.name() == "Client") {
      *error = absl::StrCat(service.full_name(),
                            ": a service can't be named Service or Client, "
                            "which are classes inside the generated one");
      return false;
    }
  }

  const std::string base = StripProto(file->name());
  const std::string guard = absl::AsciiStrToUpper(absl::StrReplaceAll(
                                base, {{"/", "_"}, {".", "_"}, {"-", "_"}})) +
                            "_BRAID_H_";
  const std::string space = Namespace(*file);
  const std::string open =
      space.empty() ? "" : absl::StrCat("namespace ", space, " {\n");
  const std::string close =
      space.empty() ? "" : absl::StrCat("}  // namespace ", space, "\n");

  const std::unique_ptr<google::protobuf::io::ZeroCopyOutputStream>
      header_stream(context->Open(base + ".braid.h"));
  Printer header(header_stream.get(), '$');
  header.Print(
      "// Written by protoc-gen-braid from $file$. Not to be edited.\n"
      "#ifndef $guard$\n"
      "#define $guard$\n"
      "\n"
      "#include <string_view>\n"
      "\n"
      "#include \"$base$.pb.h\"\n"
      "#include \"braid/rpc/client.h\"\n"
      "#include \"braid/rpc/service.h\"\n"
      "\n"
      "$open$",
      "file", file->name(), "guard", guard, "base", base, "open", open);
  for (int i = 0; i < file->service_count(); ++i) {
    header.Print("\n");
    PrintServiceClass(*file->service(i), header);
  }
  header.Print("\n$close$\n#endif  // $guard$\n", "close", close, "guard",
               guard);

  const std::unique_ptr<google::protobuf::io::ZeroCopyOutputStream> code_stream(
      context->Open(base + ".braid.cc"));
  Printer code(code_stream.get(), '$');
  code.Print(
      "// Written by protoc-gen-braid from $file$. Not to be edited.\n"
      "#include \"$base$.braid.h\"\n"
      "\n"
      "#include <utility>\n"
      "\n"
      "$open$",
      "file", file->name(), "base", base, "open", open);
  for (int i = 0; i < file->service_count(); ++i) {
    code.Print("\n");
    PrintServiceCode(*file->service(i), code);
  }
  code.Print("\n$close$", "close", close);
  return true;
}

}  // namespace braid::rpc
