// The subject `raw_uring` of the file benches: one read or write at a time, and
// one system call to submit it and to wait for it.
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/bench/benches.h"
#include "tests/bench/file_work.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

template <unsigned block, bool writes>
void Blocks(Run& run) {
  io_uring ring;
  const int error = -io_uring_queue_init(
      8, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
  if (error != 0) {
    std::fprintf(stderr,
                 "raw_uring: io_uring_setup: %s: not permitted or too old a "
                 "kernel here\n",
                 std::strerror(error));
    std::_Exit(kNotAvailable);
  }
  const FileWork work(block, run.ops(), /*filled=*/!writes);
  const int fd = open(work.path().c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) Die("open", errno);
  run.Start();
  for (uint64_t i = 0; i < run.ops(); ++i) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    if (writes) {
      io_uring_prep_write(entry, fd, work.buffer().data(), block,
                          work.OffsetOf(i));
    } else {
      io_uring_prep_read(entry, fd, work.buffer().data(), block,
                         work.OffsetOf(i));
    }
    const int submitted = io_uring_submit_and_wait(&ring, 1);
    if (submitted < 0) Die("io_uring_enter", -submitted);
    io_uring_cqe* completion = nullptr;
    if (io_uring_peek_cqe(&ring, &completion) != 0) Die("completion", "none");
    if (completion->res != static_cast<int>(block))
      Die("transfer", -completion->res);
    io_uring_cqe_seen(&ring, completion);
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
