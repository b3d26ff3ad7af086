// The subject `raw_uring` of the file benches: one read or write at a time, and
// one system call to submit it and to wait for it.
#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

#include "tests/bench/file_work.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

void Blocks(Run& run, uint64_t block, bool writes) {
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
  TransferBlocks(run, block, writes,
                 [&](int fd, std::span<std::byte> buffer, uint64_t offset) {
                   io_uring_sqe* entry = io_uring_get_sqe(&ring);
                   const auto size = static_cast<unsigned>(buffer.size());
                   if (writes) {
                     io_uring_prep_write(entry, fd, buffer.data(), size,
                                         offset);
                   } else {
                     io_uring_prep_read(entry, fd, buffer.data(), size, offset);
                   }
                   const int submitted = io_uring_submit_and_wait(&ring, 1);
                   if (submitted < 0) Die("io_uring_enter", -submitted);
                   io_uring_cqe* completion = nullptr;
                   if (io_uring_peek_cqe(&ring, &completion) != 0)
                     Die("completion", "none");
                   const int done = completion->res;
                   io_uring_cqe_seen(&ring, completion);
                   return done;
                 });
}

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) {
  using braid::bench::Blocks;
  return braid::bench::SubjectMain(argc, argv,
                                   braid::bench::kFileBenches<Blocks>);
}
