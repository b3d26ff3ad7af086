// protoc-gen-braid: see generator.h.
//
//   protoc --plugin=protoc-gen-braid=... --braid_out=DIR x.proto
#include <google/protobuf/compiler/plugin.h>

#include "braid/rpc/plugin/generator.h"

int main(int argc, char** argv) {
  const braid::rpc::Generator generator;
  return google::protobuf::compiler::PluginMain(argc, argv, &generator);
}
