#include "tests/bench/file_work.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "tests/bench/benches.h"
#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

constexpr size_t kPage = 4096;

std::string Folder() {
  const char* folder = getenv("TMPDIR");
  return folder != nullptr ? folder : "/tmp";
}

// Appends `block` so many times, in as few calls as can be: counting runs of
// any number of operations that fit into one call count none of them.
bool Fill(int fd, std::span<std::byte> block, uint64_t times) {
  constexpr uint64_t kMostParts = 1024;  // IOV_MAX
  std::vector<iovec> parts(std::min(times, kMostParts),
                           {block.data(), block.size()});
  for (const uint64_t count : Batches(times, kMostParts)) {
    const ssize_t written = writev(fd, parts.data(), static_cast<int>(count));
    if (written != static_cast<ssize_t>(count * block.size())) return false;
  }
  return true;
}

}  // namespace

void FileWork::Free::operator()(std::byte* memory) const { free(memory); }

FileWork::FileWork(uint64_t block, uint64_t ops, bool filled)
    : block_(block),
      blocks_(std::clamp<uint64_t>(ops, 1, kFileBytes / block)),
      path_(Folder() + "/braid_bench_XXXXXX"),
      buffer_(static_cast<std::byte*>(aligned_alloc(kPage, block))) {
  std::memset(buffer_.get(), 'x', block);
  const int fd = mkstemp(path_.data());
  if (fd < 0) Die("mkstemp " + path_, errno);
  if (filled && !Fill(fd, buffer(), blocks_)) {
    unlink(path_.c_str());
    Die("write " + path_, errno);
  }
  close(fd);
}

FileWork::~FileWork() { unlink(path_.c_str()); }

}  // namespace braid::bench
