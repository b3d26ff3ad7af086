// The subject `raw_file`: pread and pwrite in a loop.
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/bench/file_work.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

void Blocks(Run& run, uint64_t block, bool writes) {
  TransferBlocks(
      run, block, writes,
      [writes](int fd, std::span<std::byte> buffer, uint64_t offset) {
        const auto at = static_cast<off_t>(offset);
        const ssize_t done = writes
                                 ? pwrite(fd, buffer.data(), buffer.size(), at)
                                 : pread(fd, buffer.data(), buffer.size(), at);
        return done < 0 ? ssize_t{-errno} : done;
      });
}

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  using braid::bench::Blocks;
  return braid::bench::SubjectMain(argc, argv,
                                   braid::bench::kFileBenches<Blocks>);
}
