#include "tests/bench/file_work.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/bench/subject.h"

namespace braid::bench {
namespace {

constexpr size_t kPage = 4096;

std::string Folder() {
  const char* folder = getenv("TMPDIR");
  return folder != nullptr ? folder : "/tmp";
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
  for (uint64_t i = 0; filled && i < blocks_; ++i) {
    const ssize_t written = write(fd, buffer_.get(), block);
    if (written != static_cast<ssize_t>(block)) {
      unlink(path_.c_str());
      Die("write " + path_, errno);
    }
  }
  close(fd);
}

FileWork::~FileWork() { unlink(path_.c_str()); }

}  // namespace braid::bench
