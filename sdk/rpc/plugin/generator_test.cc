// What the plugin refuses.
#include "braid/rpc/plugin/generator.h"

#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

namespace braid::rpc {
namespace {

using google::protobuf::io::StringOutputStream;
using google::protobuf::io::ZeroCopyOutputStream;

class Files final : public google::protobuf::compiler::GeneratorContext {
 public:
  ZeroCopyOutputStream* Open(const std::string& name) override {
    return new StringOutputStream(&files[name]);
  }
  std::map<std::string, std::string> files;
};

// The error, empty if there was none.
std::string Generate(const std::string& proto, const std::string& parameter,
                     Files& files) {
  google::protobuf::io::ArrayInputStream stream(proto.data(),
                                                static_cast<int>(proto.size()));
  google::protobuf::io::Tokenizer tokenizer(&stream, nullptr);
  google::protobuf::FileDescriptorProto file;
  EXPECT_TRUE(google::protobuf::compiler::Parser().Parse(&tokenizer, &file));
  file.set_name("a/b-c.d.proto");
  google::protobuf::DescriptorPool pool;
  const google::protobuf::FileDescriptor* descriptor = pool.BuildFile(file);
  EXPECT_NE(descriptor, nullptr);
  std::string error;
  EXPECT_EQ(Generator().Generate(descriptor, parameter, &files, &error),
            error.empty());
  return error;
}

TEST(GeneratorTest, RefusesNamesItNeedsItself) {
  Files files;
  EXPECT_NE(Generate("syntax = 'proto3'; message M {}"
                     "service S { rpc Client(M) returns (M); }",
                     "", files)
                .find("S: a method can't be named Client"),
            std::string::npos);
  EXPECT_NE(
      Generate("syntax = 'proto3'; message M {} service Service {}", "", files),
      "");
  EXPECT_TRUE(files.files.empty());
}

TEST(GeneratorTest, KnowsNoParameters) {
  Files files;
  EXPECT_NE(Generate("syntax = 'proto3';", "fast", files).find("\"fast\""),
            std::string::npos);
}

TEST(GeneratorTest, WorksWithoutPackageOrServices) {
  Files files;
  EXPECT_EQ(Generate("syntax = 'proto3'; message M {}"
                     "service S { rpc Get(M) returns (M); }",
                     "", files),
            "");
  const std::string& header = files.files.at("a/b-c.d.braid.h");
  EXPECT_NE(header.find("#ifndef A_B_C_D_BRAID_H_"), std::string::npos);
  EXPECT_NE(header.find("UnaryCall<::M> Get("), std::string::npos);
  EXPECT_EQ(header.find("namespace"), std::string::npos);

  Files empty;
  EXPECT_EQ(Generate("syntax = 'proto3'; package p;", "", empty), "");
  EXPECT_EQ(empty.files.size(), 2u);
}

}  // namespace
}  // namespace braid::rpc
