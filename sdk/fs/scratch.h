// Scratch: a directory for one test, which goes with all that is in it.
//
// For: tests of files on the backends of the operating system.

#ifndef BRAID_FS_SCRATCH_H_
#define BRAID_FS_SCRATCH_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace braid {

class Scratch {
 public:
  Scratch() {
    std::string pattern = testing::TempDir() + "/braid_fs_XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  // lint: allow(io): the directory is the test's, which plays the outside world
  ~Scratch() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

}  // namespace braid

#endif  // BRAID_FS_SCRATCH_H_
