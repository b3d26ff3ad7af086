#include "braid/backend/host.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <future>
#include <set>
#include <thread>
#include <vector>

namespace braid {
namespace {

Host::LookupResult Lookup(Host& host, const std::string& name,
                          const std::string& service) {
  std::promise<Host::LookupResult> result;
  host.Lookup(name, service, [&](Host::LookupResult found) {
    result.set_value(std::move(found));
  });
  return result.get_future().get();
}

TEST(RealHost, TellsTheTime) {
  const auto host = MakeRealHost();
  const auto before = std::chrono::system_clock::now();
  const auto now = host->WallNow();
  EXPECT_LE(before, now);
  EXPECT_LE(now, std::chrono::system_clock::now());
}

TEST(RealHost, GivesRandomBytes) {
  const auto host = MakeRealHost();
  std::set<uint64_t> numbers;
  for (int i = 0; i < 100; ++i) numbers.insert(host->Random());
  EXPECT_EQ(numbers.size(), 100u);
  // More than the kernel gives without being interruptible.
  std::vector<std::byte> many(1000);
  host->Randomize(many);
  EXPECT_NE(many, std::vector<std::byte>(1000));
  host->Randomize({});
}

TEST(RealHost, KnowsTheEnvironment) {
  const auto host = MakeRealHost();
  ::setenv("BRAID_HOST_TEST", "value", 1);
  EXPECT_EQ(host->Environment("BRAID_HOST_TEST"), "value");
  ::setenv("BRAID_HOST_TEST", "", 1);
  EXPECT_EQ(host->Environment("BRAID_HOST_TEST"), "");
  ::unsetenv("BRAID_HOST_TEST");
  EXPECT_EQ(host->Environment("BRAID_HOST_TEST"), std::nullopt);
}

TEST(RealHost, LooksUpNames) {
  const auto host = MakeRealHost();
  const Host::LookupResult local = Lookup(*host, "localhost", "80");
  ASSERT_TRUE(local.ok()) << local.status();
  ASSERT_FALSE(local->empty());
  for (const SocketAddress& address : *local) {
    EXPECT_TRUE(address.is_loopback()) << address.ToString();
    EXPECT_EQ(address.port(), 80);
  }
  const Host::LookupResult numeric = Lookup(*host, "192.0.2.7", "");
  ASSERT_TRUE(numeric.ok()) << numeric.status();
  EXPECT_EQ(numeric->front().ToString(), "192.0.2.7:0");
}

TEST(RealHost, SaysWhatItCouldNotFind) {
  const auto host = MakeRealHost();
  // .invalid is never anybody's (RFC 6761). Without a name server it may be
  // that none answers.
  const absl::Status name = Lookup(*host, "nobody.invalid", "80").status();
  EXPECT_TRUE(absl::IsNotFound(name) || absl::IsUnavailable(name)) << name;
  EXPECT_NE(name.message().find("nobody.invalid"), std::string::npos) << name;
  const absl::Status service =
      Lookup(*host, "localhost", "no such service").status();
  EXPECT_EQ(service.code(), absl::StatusCode::kInvalidArgument) << service;
}

TEST(RealHost, ManyLookUpsAtOnceAllEnd) {
  const auto host = MakeRealHost();
  constexpr int kLookups = 100;
  std::vector<std::promise<void>> ended(kLookups);
  for (std::promise<void>& one : ended) {
    host->Lookup("127.0.0.1", "1", [&](const Host::LookupResult& result) {
      EXPECT_TRUE(result.ok());
      one.set_value();
    });
  }
  for (std::promise<void>& one : ended) one.get_future().wait();
}

}  // namespace
}  // namespace braid
