// What the file benches have in common: a file of the right size, and a buffer.
#ifndef BRAID_TESTS_BENCH_FILE_WORK_H_
#define BRAID_TESTS_BENCH_FILE_WORK_H_

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tests/bench/benches.h"
#include "tests/bench/subject.h"

namespace braid::bench {

// A new file in TMPDIR, or /tmp, which goes with this.
class FileWork {
 public:
  // For `ops` blocks of `block` bytes. `filled`: the file has them, in the page
  // cache. A failure ends the program.
  FileWork(uint64_t block, uint64_t ops, bool filled);
  FileWork(const FileWork&) = delete;
  FileWork& operator=(const FileWork&) = delete;
  ~FileWork();

  const std::string& path() const { return path_; }
  // Aligned to pages, as the kernel copies fastest.
  std::span<std::byte> buffer() const { return {buffer_.get(), block_}; }
  // Where the block is for the operation `i`: one after the other, and from the
  // beginning again when the file has kFileBytes.
  uint64_t OffsetOf(uint64_t i) const { return i % blocks_ * block_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };

  const uint64_t block_;
  const uint64_t blocks_;
  std::string path_;
  std::unique_ptr<std::byte[], Free> buffer_;
};

// What a raw subject does: `transfer(fd, buffer, offset)` for each block, which
// gives the bytes that it moved, or -errno.
template <typename F>
void TransferBlocks(Run& run, uint64_t block, bool writes, F transfer) {
  const FileWork work(block, run.ops(), /*filled=*/!writes);
  const int fd = open(work.path().c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) Die("open " + work.path(), errno);
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) {
    const auto done = transfer(fd, work.buffer(), work.OffsetOf(i));
    if (done < 0) Die("transfer", static_cast<int>(-done));
    if (static_cast<uint64_t>(done) != block) Die("transfer", "not all");
    ++counted;
  }
  run.Stop();
  close(fd);
  run.Done(counted);
}

// The benches of a raw subject, each `body(run, block, writes)`.
template <void (*body)(Run&, uint64_t block, bool writes)>
inline constexpr Bench kFileBenches[] = {
    {"file_read_64k", [](Run& run) { body(run, 64 << 10, false); }},
    {"file_read_1m", [](Run& run) { body(run, 1 << 20, false); }},
    {"file_write_64k", [](Run& run) { body(run, 64 << 10, true); }},
    {"file_write_1m", [](Run& run) { body(run, 1 << 20, true); }}};

}  // namespace braid::bench

#endif  // BRAID_TESTS_BENCH_FILE_WORK_H_
