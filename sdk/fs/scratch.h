// Scratch: a directory for one test, which goes with all that is in it; of the
// machine that runs the test, simulated or not.
//
// For: tests of files. Not for use outside of a task.

#ifndef BRAID_FS_SCRATCH_H_
#define BRAID_FS_SCRATCH_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "braid/backend/sim/simulation.h"

namespace braid {

class Scratch {
 public:
  Scratch() : sim_(SimHost::CurrentOrNull()) {
    if (sim_ != nullptr) {
      path_ = "/tmp/" + std::to_string(sim_->disk().List("/tmp").size());
      sim_->disk().PutDirectory(path_);
    } else {
      std::string pattern = testing::TempDir() + "/braid_fs_XXXXXX";
      path_ = ::mkdtemp(pattern.data());
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (sim_ != nullptr) return;
    // lint: allow(io): the directory is the test's, which plays the world
    std::filesystem::remove_all(path_);
  }

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

  // What a stranger finds in it, sorted: "name=content", "directory/".
  std::vector<std::string> Seen() const {
    std::vector<std::string> seen;
    if (sim_ != nullptr) {
      for (const std::string& name : sim_->disk().List(path_)) {
        const auto content = sim_->disk().Get(*this / name);
        seen.push_back(name + (content.has_value() ? "=" + *content : "/"));
      }
    } else {
      // lint: allow(io): the test looks from outside
      for (const auto& entry : std::filesystem::directory_iterator(path_)) {
        std::string text = entry.path().filename().string();
        if (entry.is_directory()) {
          text += "/";
        } else {
          // lint: allow(io): the same
          std::ifstream in(entry.path(), std::ios::binary);
          text += "=" + std::string(std::istreambuf_iterator<char>(in), {});
        }
        seen.push_back(std::move(text));
      }
    }
    std::ranges::sort(seen);
    return seen;
  }

 private:
  SimHost* sim_;
  std::string path_;
};

}  // namespace braid

#endif  // BRAID_FS_SCRATCH_H_
