// The subject `raw_file`: pread and pwrite in a loop.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "tests/bench/benches.h"
#include "tests/bench/file_work.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

template <uint64_t block, bool writes>
void Blocks(Run& run) {
  const FileWork work(block, run.ops(), /*filled=*/!writes);
  const int fd = open(work.path().c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) Die("open", errno);
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) {
    const auto offset = static_cast<off_t>(work.OffsetOf(i));
    const ssize_t done = writes
                             ? pwrite(fd, work.buffer().data(), block, offset)
                             : pread(fd, work.buffer().data(), block, offset);
    if (done != static_cast<ssize_t>(block)) Die("transfer", errno);
    ++counted;
  }
  run.Stop();
  close(fd);
  run.Done(counted);
}

constexpr Bench kBenches[] = {{"file_read_64k", Blocks<64 << 10, false>},
                              {"file_read_1m", Blocks<1 << 20, false>},
                              {"file_write_64k", Blocks<64 << 10, true>},
                              {"file_write_1m", Blocks<1 << 20, true>}};

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  return braid::bench::SubjectMain(argc, argv, braid::bench::kBenches);
}
