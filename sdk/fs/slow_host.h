// SlowHost: a machine whose threads a test holds back, runs by hand, or denies.
//
//   host.hold = true;
//   ...                // an operation waits for its thread
//   host.LetGo();      // and gets it
//
// For: tests of operations that worker threads do. Threads: one.

#ifndef BRAID_FS_SLOW_HOST_H_
#define BRAID_FS_SLOW_HOST_H_

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "braid/backend/asio/asio_backend.h"
#include "braid/backend/wrapped_host.h"
#include "braid/core/core.h"

namespace braid {

class SlowHost final : public WrappedHost {
 public:
  absl::Status StartJob(std::shared_ptr<HostJob> job) override {
    if (refuse) return absl::ResourceExhaustedError("no thread");
    if (!hold) return WrappedHost::StartJob(std::move(job));
    held.push_back(std::move(job));
    return absl::OkStatus();
  }
  // Threads for those that were held back, and for all that come.
  void LetGo() {
    hold = false;
    for (std::shared_ptr<HostJob>& job : std::exchange(held, {}))
      EXPECT_TRUE(WrappedHost::StartJob(std::move(job)).ok());
  }
  // Runs those that were held back, here and now; their loop hears of it later.
  void RunHeld() {
    for (const std::shared_ptr<HostJob>& job : std::exchange(held, {})) {
      if (job->Begin()) job->Run();
    }
  }

  bool refuse = false;
  bool hold = false;
  std::vector<std::shared_ptr<HostJob>> held;
};

// Runs `body(host)` on a backend that leaves files to threads.
template <typename B>
void RunOnSlowHost(B body) {
  const auto host = std::make_shared<SlowHost>();
  const auto backend = MakeAsioBackend(host);
  ASSERT_TRUE(backend.ok()) << backend.status();
  const absl::Status status = Run(**backend, [&]() -> Task<absl::Status> {
    co_return co_await body(*host);
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace braid

#endif  // BRAID_FS_SLOW_HOST_H_
