// The generated code compiles, with every shape of method overridden, and says
// what the .proto says.
#include <gtest/gtest.h>

#include <type_traits>

#include "sdk/rpc/plugin/testdata/golden.braid.h"

namespace braid::rpc {
namespace {

using golden::v1::Library;
using golden::v1::Nothing;
using golden::v1::Outer;
using golden::v1::Outer_Inner;
using google::protobuf::Empty;

class LibraryImpl final : public Library::Service {
  Task<absl::StatusOr<Outer_Inner>> Find(ServerContext&, Outer) override {
    co_return Outer_Inner();
  }
  Task<absl::StatusOr<Empty>> Put(ServerContext&,
                                  Source<Outer_Inner>) override {
    co_return Empty();
  }
  Task<absl::Status> List(ServerContext&, Empty, Sink<Outer>) override {
    co_return absl::OkStatus();
  }
  Task<absl::Status> Talk(ServerContext&, Source<Outer>, Sink<Outer>) override {
    co_return absl::OkStatus();
  }
  Task<absl::StatusOr<Empty>> delete_(ServerContext&, Outer) override {
    co_return Empty();
  }
};

TEST(GoldenTest, SaysWhatTheProtoSays) {
  LibraryImpl library;
  Service& service = library;
  EXPECT_EQ(service.name(), "braid.rpc.golden.v1.Library");
  EXPECT_EQ(Library::kName, service.name());
  ASSERT_EQ(service.methods().size(), 5u);
  const Method& list = service.methods()[2].method();
  EXPECT_EQ(list.path(), "/braid.rpc.golden.v1.Library/List");
  EXPECT_EQ(list.service(), "braid.rpc.golden.v1.Library");
  EXPECT_EQ(list.name(), "List");
  const MethodKind kinds[] = {MethodKind::kUnary, MethodKind::kClientStreaming,
                              MethodKind::kServerStreaming,
                              MethodKind::kBidiStreaming, MethodKind::kUnary};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(service.methods()[i].method().kind(), kinds[i]);
  }
  // The name on the wire is not C++'s.
  EXPECT_EQ(service.methods()[4].method().name(), "delete");

  Nothing::Service nothing;
  EXPECT_TRUE(static_cast<Service&>(nothing).methods().empty());

  static_assert(
      std::is_same_v<decltype(std::declval<Library::Client>().Find(Outer())),
                     UnaryCall<Outer_Inner>>);
  static_assert(std::is_same_v<decltype(std::declval<Library::Client>().Put()),
                               ClientWriter<Outer_Inner, Empty>>);
  static_assert(
      std::is_same_v<decltype(std::declval<Library::Client>().List(Empty())),
                     ClientReader<Outer>>);
  static_assert(std::is_same_v<decltype(std::declval<Library::Client>().Talk()),
                               ClientStream<Outer, Outer>>);
}

}  // namespace
}  // namespace braid::rpc
