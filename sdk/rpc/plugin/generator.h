// The protoc plugin: from the services of a .proto file to coroutines.
//
// For `x.proto` it writes `x.braid.h` and `x.braid.cc`, beside protobuf's
// x.pb.h. For each service Foo there is a class Foo with a class
// `Foo::Service` to implement it and a class `Foo::Client` to call it. The
// code is thin: all that moves is in sdk/rpc.

#ifndef BRAID_RPC_PLUGIN_GENERATOR_H_
#define BRAID_RPC_PLUGIN_GENERATOR_H_

#include <google/protobuf/compiler/code_generator.h>

#include <cstdint>
#include <string>

namespace braid::rpc {

class Generator final : public google::protobuf::compiler::CodeGenerator {
 public:
  // No parameter is known. Fails for a service that C++ has no class for, such
  // as one with a method named Service or Client.
  bool Generate(const google::protobuf::FileDescriptor* file,
                const std::string& parameter,
                google::protobuf::compiler::GeneratorContext* context,
                std::string* error) const override;

  uint64_t GetSupportedFeatures() const override {
    return FEATURE_PROTO3_OPTIONAL;
  }
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_PLUGIN_GENERATOR_H_
