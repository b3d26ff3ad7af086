// What the file benches have in common: a file of the right size, and a buffer.
#ifndef BRAID_TESTS_BENCH_FILE_WORK_H_
#define BRAID_TESTS_BENCH_FILE_WORK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tests/bench/benches.h"

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

}  // namespace braid::bench

#endif  // BRAID_TESTS_BENCH_FILE_WORK_H_
