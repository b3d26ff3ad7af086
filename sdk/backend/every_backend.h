// Runs a test body on every backend of this machine, and in several orders of
// ready tasks.
//
//   TEST(Udp, AnEmptyDatagramIsADatagram) {
//     RunOnEveryBackend([]() -> Task<absl::Status> { ... });
//   }
//
// Anything but OK fails the test; so does a descriptor that is still open
// afterwards.

#ifndef BRAID_BACKEND_EVERY_BACKEND_H_
#define BRAID_BACKEND_EVERY_BACKEND_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/backend/backend.h"
#include "braid/backend/make_backend.h"
#include "braid/core/run.h"
#include "braid/core/sleep.h"
#include "braid/core/task.h"
#include "braid/core/task_tree.h"

namespace braid {

// Descriptors that this process has open.
inline size_t OpenDescriptors() {
  const std::filesystem::directory_iterator directory("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(directory), end(directory)));
}

template <typename B>
void RunOnBackend(std::string_view name, B body, LoopOptions options = {}) {
  const size_t before = OpenDescriptors();
  {
    absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend(name);
    ASSERT_TRUE(backend.ok()) << backend.status();
    const absl::Status status = Run(
        **backend,
        [&]() -> Task<detail::BodyResult<B>> { co_return co_await body(); },
        options);
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(OpenDescriptors(), before) << "descriptors are left open";
}

namespace detail {

// Whether this machine allows that backend at all. One that it should have, and
// that doesn't work, fails the test.
inline bool HasBackend(std::string_view name) {
  if (name != "uring") return true;
  static const bool allowed = [] {
    const absl::Status status = MakeBackend("uring").status();
    return !absl::IsPermissionDenied(status) && !absl::IsUnimplemented(status);
  }();
  return allowed;
}

template <typename B>
void RunOnBackends(std::initializer_list<const char*> names, B body) {
  for (const char* name : names) {
    if (!HasBackend(name)) {
      testing::Test::RecordProperty("left_out", name);
      continue;
    }
    for (uint64_t seed = 0; seed <= 4; ++seed) {
      SCOPED_TRACE(std::string("backend ") + name + ", shuffle_seed " +
                   std::to_string(seed));
      LoopOptions options;
      if (seed != 0) options.shuffle_seed = seed;
      RunOnBackend(name, body, options);
      if (testing::Test::HasFailure()) return;  // one is enough to look at
    }
  }
}

}  // namespace detail

template <typename B>
void RunOnEveryBackend(B body) {
  detail::RunOnBackends({"asio", "uring", "sim"}, body);
}

// For the few tests that are about what only a real system has; `why` says what
// that is.
template <typename B>
void RunOnRealBackends(const char* why, B body) {
  SCOPED_TRACE(why);
  detail::RunOnBackends({"asio", "uring"}, body);
}

// Completes when every task of that name waits for something; a task that does
// not exist fails the test.
inline Task<void> UntilWaiting(std::string_view name) {
  for (;;) {
    bool found = false;
    bool waiting = true;
    for (const TaskInfo& task : LiveTasks()) {
      if (task.name != name) continue;
      found = true;
      waiting = waiting && task.state == TaskInfo::State::kWaiting;
    }
    if (!found) {
      ADD_FAILURE() << "there is no task '" << name << "'";
      co_return;
    }
    if (waiting) co_return;
    co_await Checkpoint();
  }
}

}  // namespace braid

#endif  // BRAID_BACKEND_EVERY_BACKEND_H_
