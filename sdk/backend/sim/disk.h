// SimDisk: the disk of one host of a simulation: what survives a crash, and the
// faults that a test injects.
//
//   SimHost& host = sim.AddHost("db", {.disk = {.capacity = 64 << 20}});
//   host.disk().Put("/etc/db.conf", "limit: 3");  // as an installer would
//   host.disk().Add({.path = "/log", .only = FileCode::kSync,
//                    .after = 3, .count = 1, .error = EIO});  // the 4th
//   ...
//   host.Restart();  // what was synced is there, and some of what was not
//
// A program sees its own writes at once. Crash leaves what was synced, and of
// what was not, whatever the seed says: all, nothing, single sectors of 512
// bytes, a size in between, names up to some moment. File::Sync syncs a file,
// but not its name; SyncDirectory syncs names. A signal that ends a program
// loses nothing that was written.
//
// Every request takes its time: it waits, and can be cancelled; then it has
// happened, and can't; a while later the program hears of it. Programs of one
// host share its disk; it is empty at first but for "/tmp", and survives every
// crash.
//
// Not for: permissions (they are kept, and nobody is refused), links, devices.
//
// Threads: the simulation's.

#ifndef BRAID_BACKEND_SIM_DISK_H_
#define BRAID_BACKEND_SIM_DISK_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "braid/backend/file_operation.h"
#include "braid/backend/sim/event_queue.h"
#include "braid/backend/sim/fault_rules.h"
#include "braid/backend/sim/file_tree.h"
#include "braid/backend/sim/random.h"
#include "braid/backend/sim/scoped_fault.h"
#include "braid/core/time.h"

namespace braid {

namespace detail {
class Machine;
class SimBackend;
class SimFile;
}  // namespace detail

struct SimDiskOptions {
  // How long a request takes: `latency`, and up to `jitter` more; a sync that
  // much on top.
  Duration latency = std::chrono::microseconds(20);
  Duration jitter = std::chrono::microseconds(180);
  Duration sync_latency = std::chrono::milliseconds(1);
  Duration sync_jitter = std::chrono::milliseconds(4);
  // Of bytes that are read and written, one request after the other; 0: no
  // limit.
  uint64_t bytes_per_second = 0;
  // In bytes, of which a file takes whole blocks of 4096; 0: no limit. What
  // doesn't fit is ENOSPC.
  uint64_t capacity = 0;
};

// What goes wrong, for which requests. A value: nothing happens before a disk
// is given it.
struct DiskFault {
  // About this file, or what is below this directory; empty: all. By the name
  // that a file had when it was opened.
  std::string path = {};
  // What a File or a path is asked for; a large read or write may be several
  // requests (see short_transfer).
  std::optional<FileCode> only = std::nullopt;
  // Lets that many requests pass, and then hits that many; 0: all that come.
  uint64_t after = 0;
  uint64_t count = 0;

  // An errno that it fails with, without having happened. After a sync that
  // failed, some of what it was for is never written, though the next sync is
  // fine (fsync(2)).
  int error = 0;
  // The probability that a read or write does part of what is left, and the
  // rest in a request of its own, with others in between.
  double short_transfer = 0;
  // Added to the latency: `delay`, and up to `jitter` more.
  Duration delay = {};
  Duration jitter = {};
};

// Since the simulation began.
struct SimDiskStats {
  uint64_t requests = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t syncs = 0;   // that went well
  uint64_t failed = 0;  // by a fault
};

class SimDisk {
 public:
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  // The fault is in force from now on: for good, or as long as the result
  // lives. The newest that matches a request decides about it alone; one that
  // lets it pass, or has hit as often as it should, doesn't match.
  void Add(DiskFault fault);
  ScopedFault Inject(DiskFault fault);
  // As SimDiskOptions::capacity, from now on. What is there stays.
  void SetCapacity(uint64_t bytes);

  // From outside, in no time: makes `content` what is in the file, and the
  // directories above it; all of that is synced. A path that can't be is a
  // failed check.
  void Put(std::string_view path, std::string_view content);
  void PutDirectory(std::string_view path);
  // What a program would read now; nullopt: there is no such file.
  std::optional<std::string> Get(std::string_view path) const;
  // The names in a directory, sorted; none where there is no such directory.
  std::vector<std::string> List(std::string_view path) const;
  // Bytes that files take up.
  uint64_t used() const { return tree_.used(); }

  const SimDiskStats& stats() const { return stats_; }

 private:
  friend class detail::Machine;
  friend class detail::SimBackend;
  friend class detail::SimFile;

  struct Rule {
    DiskFault fault;
    uint64_t seen = 0;  // requests that it was about
  };
  // An operation on its way.
  struct Request {
    FileOperation* operation;
    DiskFault fault = {};
    // What happens to it next: it begins, or it is told of.
    detail::EventQueue::Id next = {};
    Duration rest = {};  // from the one to the other
    bool begun = false;  // it can't be stopped
  };
  using Requests = std::list<Request>;

  SimDisk(detail::Machine& machine, const SimDiskOptions& options,
          uint64_t seed);

  // As Backend::SubmitFile and CancelFile.
  void Submit(FileOperation& operation);
  void Cancel(FileOperation& operation) noexcept;
  // The power fails. No program runs.
  void Crash() { tree_.Crash(random_); }

  void Queue(Requests::iterator request);
  void Begin(Requests::iterator request);
  // Does it, or part of it; then there is more to do. Gives an errno.
  int Do(FileOperation& operation, const DiskFault& fault, size_t& bytes,
         bool& more);
  int Read(ReadFileOperation& operation, const DiskFault& fault, size_t& bytes,
           bool& more);
  int Write(WriteFileOperation& operation, const DiskFault& fault,
            size_t& bytes, bool& more);
  // A fault has hit it.
  void Fail(FileOperation& operation);
  // How much of `left` bytes one request does.
  size_t Part(size_t left, const DiskFault& fault);
  // What is wrong with a request for it; it is counted.
  DiskFault FaultOf(const FileOperation& operation);
  void Trace(const FileOperation& operation, size_t bytes) const;

  detail::Machine& machine_;
  const SimDiskOptions options_;
  SimRandom random_;
  detail::FileTree tree_;
  Requests requests_;
  detail::FaultRules<Rule> rules_;
  Time free_at_ = kAlways;  // of its bandwidth
  SimDiskStats stats_;
};

}  // namespace braid

#endif  // BRAID_BACKEND_SIM_DISK_H_
