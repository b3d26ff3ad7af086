#include "braid/service/library_log.h"

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/wrappers.pb.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace braid::service {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Lines final : public LogSink {
 public:
  void Write(LogLevel /*level*/, std::string_view line) noexcept override {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(line);
  }
  std::vector<std::string> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

struct Fixture {
  // What grpc_init does, where a program doesn't say otherwise.
  Fixture() { gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR); }

  const std::shared_ptr<Lines> lines = std::make_shared<Lines>();
  const Logger log{LogOptions{.service = "shop"}, lines};
};

// A client that sent a string which isn't UTF-8 made protobuf write to standard
// error, on the loop: with a full pipe there, the service stood still for ever.
TEST(LibraryLogTest, WhatProtobufSaysOfARequestIsALine) {
  Fixture shop;
  LibraryLog libraries(shop.log);
  testing::internal::CaptureStderr();
  google::protobuf::StringValue request;
  EXPECT_FALSE(request.ParseFromString("\x0a\x02\xff\xfe"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), IsEmpty());
  EXPECT_THAT(shop.lines->Take(),
              ElementsAre(AllOf(HasSubstr("level=warning service=shop"),
                                HasSubstr("invalid UTF-8"),
                                HasSubstr("library=protobuf"))));
}

TEST(LibraryLogTest, SoIsWhatGrpcSays) {
  Fixture shop;
  LibraryLog libraries(shop.log);
  testing::internal::CaptureStderr();
  std::thread([] {
    gpr_log(GPR_ERROR, "Failed accept4: %s", "Too many open files");
  }).join();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), IsEmpty());
  EXPECT_THAT(shop.lines->Take(),
              ElementsAre(AllOf(
                  HasSubstr("msg=\"Failed accept4: Too many open files\""),
                  HasSubstr("library=grpc"))));
}

TEST(LibraryLogTest, TheLastOneMadeIsInForceUntilItGoes) {
  Fixture outer;
  Fixture inner;
  {
    LibraryLog first(outer.log);
    {
      LibraryLog second(inner.log);
      gpr_log(GPR_ERROR, "to the inner");
    }
    gpr_log(GPR_ERROR, "to the outer");
  }
  gpr_log(GPR_ERROR, "to nobody");
  EXPECT_THAT(inner.lines->Take(), SizeIs(1));
  EXPECT_THAT(outer.lines->Take(),
              ElementsAre(HasSubstr("msg=\"to the outer\"")));
}

}  // namespace
}  // namespace braid::service
