// The real ProcessReader. Raw I/O, but /proc is memory: reading it does not
// wait.

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "braid/metrics/detail/text.h"
#include "braid/metrics/process.h"

namespace braid::metrics {
namespace {

absl::Status Failed(const char* what, const std::string& path, int error) {
  return absl::UnavailableError(
      braid::detail::Concat(what, " ", path, ": ", std::strerror(error)));
}

class Reader final : public ProcessReader {
 public:
  absl::StatusOr<std::string> Read(std::string_view path_view) override {
    const std::string path(path_view);
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Failed("open", path, errno);
    std::string text;
    std::array<char, 4096> buffer;
    ssize_t count = 0;
    while ((count = read(fd, buffer.data(), buffer.size())) > 0 ||
           (count < 0 && errno == EINTR)) {
      if (count > 0) text.append(buffer.data(), static_cast<size_t>(count));
    }
    const int error = errno;
    close(fd);
    if (count < 0) return Failed("read", path, error);
    return text;
  }

  absl::StatusOr<size_t> CountEntries(std::string_view path_view) override {
    const std::string path(path_view);
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()),
                                                        &closedir);
    if (directory == nullptr) return Failed("open", path, errno);
    size_t count = 0;
    errno = 0;
    while (const dirent* entry = readdir(directory.get())) {
      if (std::string_view(entry->d_name) != "." &&
          std::string_view(entry->d_name) != "..")
        ++count;
    }
    if (errno != 0) return Failed("read", path, errno);
    // The one that this reads with is open no longer when the answer is used.
    return count - (path == "/proc/self/fd" ? 1 : 0);
  }

  std::optional<size_t> HeapBytes() override {
    const struct mallinfo2 info = mallinfo2();
    const size_t bytes = info.arena + info.hblkhd;
    // Another allocator than the C library's says nothing.
    return bytes == 0 ? std::nullopt : std::optional(bytes);
  }
};

}  // namespace

std::unique_ptr<ProcessReader> RealProcessReader() {
  return std::make_unique<Reader>();
}

}  // namespace braid::metrics
