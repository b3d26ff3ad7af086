// An open file of a simulated machine. Not for programs.

#ifndef BRAID_BACKEND_SIM_SIM_FILE_H_
#define BRAID_BACKEND_SIM_SIM_FILE_H_

#include <string>
#include <utility>

#include "braid/backend/backend.h"
#include "braid/backend/sim/disk.h"
#include "braid/backend/sim/file_tree.h"

namespace braid::detail {

class SimFile final : public Descriptor {
 public:
  SimFile(Backend& backend, SimDisk& disk, FileTree::Id id, int flags,
          std::string opened_as)
      : Descriptor(backend, IoKind::kFile),
        id(id),
        flags(flags),
        opened_as(std::move(opened_as)),
        disk_(disk) {}

  // The system has it back.
  void Close() {
    disk_.tree_.Close(id);
    MarkReleased();
  }

  const FileTree::Id id;
  const int flags;
  const std::string opened_as;

 private:
  SimDisk& disk_;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_SIM_FILE_H_
