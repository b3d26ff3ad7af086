#include "braid/backend/file_workers.h"

#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

#include "braid/backend/file_calls.h"
#include "braid/backend/host.h"
#include "braid/core/detail/loop.h"

namespace braid::detail {

// One operation on its way through a thread. The operation outlives it, unless
// it was withdrawn before the thread took it up.
class FileJob final : public HostJob, private InboxNode {
 public:
  FileJob(FileWorkers& workers, FileOperation& operation)
      : HostJob("braid-file"),
        InboxNode(&Arrived),
        workers_(workers),
        operation_(operation),
        loop_(Loop::Current()) {}

  // On the loop. True: no thread will take it up.
  bool Withdraw() noexcept { return Take(); }

  bool Begin() noexcept override { return Take(); }
  void Run() noexcept override {
    CallFile(operation_);
    // Whoever sees the result knows that this has left the loop alone.
    const std::lock_guard lock(posting_);
    loop_.Post(this);
  }

 private:
  // Who comes first decides what becomes of it.
  bool Take() noexcept {
    return !taken_.exchange(true, std::memory_order_acq_rel);
  }

  static void Arrived(InboxNode& node) {
    auto& self = static_cast<FileJob&>(node);
    {
      const std::lock_guard lock(self.posting_);
    }
    self.workers_.Ended(self.operation_);
  }

  FileWorkers& workers_;
  FileOperation& operation_;
  Loop& loop_;
  std::atomic<bool> taken_ = false;
  std::mutex posting_;
};

bool FileWorkers::Submit(FileOperation& operation) {
  if (with_threads_ < kAtOnce && queued_.empty() && Begin(operation))
    return false;
  if (with_threads_ == 0) {
    // No thread is to be had, and none of ours will come free.
    operation.error = EAGAIN;
    return true;
  }
  queued_.PushBack(operation);
  return false;
}

void FileWorkers::Cancel(FileOperation& operation) noexcept {
  if (operation.job == nullptr) {
    queued_.Remove(operation);
    operation.Stop();
  } else if (operation.job->Withdraw()) {
    operation.job = nullptr;
    --with_threads_;
    operation.Stop();
    BeginNext();
  }
}

bool FileWorkers::Begin(FileOperation& operation) {
  operation.job = std::make_shared<FileJob>(*this, operation);
  if (operation.backend().host().StartJob(operation.job).ok()) {
    ++with_threads_;
    return true;
  }
  operation.job = nullptr;
  return false;
}

void FileWorkers::Ended(FileOperation& operation) {
  --with_threads_;
  const std::shared_ptr<FileJob> job = std::move(operation.job);
  if (operation.code() == FileCode::kOpen)
    static_cast<OpenFileOperation&>(operation).Adopt();
  operation.Complete();
  BeginNext();
}

void FileWorkers::BeginNext() {
  while (with_threads_ < kAtOnce && !queued_.empty()) {
    FileOperation& next = *queued_.PopFront();
    if (Begin(next)) continue;
    if (with_threads_ > 0) {
      queued_.PushFront(next);
      return;
    }
    next.error = EAGAIN;
    next.Complete();
  }
}

}  // namespace braid::detail
