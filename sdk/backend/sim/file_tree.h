// FileTree: the files of one simulated machine, as its programs see them, and
// as a power failure would leave them.
//
// What programs see is kept in memory, like a kernel's page cache. What is on
// the disk is what was synced, and by chance some of what was not:
//   - Of a file's bytes, blocks that were written since may be on the disk,
//     or not, or the sectors of both; a size that changed may be the old, the
//     new, or one in between.
//   - Names change in order: those changes up to some moment are on the disk,
//     none of those after it. Each (a rename, too) is there as a whole.
//   - Syncing a file doesn't sync its name. Syncing a directory syncs what was
//     done to its names, and what that stands on.
// POSIX (fsync, rename) promises no more; the file systems of Linux keep the
// order of names.
//
// For: the simulated disk (disk.h), which knows about time and faults. Not for
// programs. Every function that can fail gives an errno, 0 if it went well, and
// the one that Linux gives. There are no links, permissions are kept but nobody
// is refused, and relative paths begin at "/".

#ifndef BRAID_BACKEND_SIM_FILE_TREE_H_
#define BRAID_BACKEND_SIM_FILE_TREE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "braid/backend/file_operation.h"
#include "braid/backend/host.h"
#include "braid/backend/sim/random.h"

namespace braid::detail {

class FileTree {
 public:
  using Id = uint64_t;  // of a file or a directory; an inode's number
  using WallTime = Host::WallTime;

  static constexpr size_t kBlock = 4096;  // what is written back as one
  static constexpr size_t kSector = 512;  // what the disk writes as one

  // Has "/" and "/tmp". `capacity` bytes of blocks fit in; 0: any number.
  FileTree(uint64_t capacity, WallTime now);
  FileTree(const FileTree&) = delete;
  FileTree& operator=(const FileTree&) = delete;

  // Without "." and "..", absolute.
  static std::string Normal(std::string_view path);

  // As open(2); `file` is there until Close, whatever becomes of its name.
  int Open(std::string_view path, int flags, uint32_t permissions, WallTime now,
           Id& file);
  void Close(Id file);

  // Up to the end of the file.
  size_t Read(Id file, uint64_t offset, std::span<std::byte> buffer) const;
  // ENOSPC where `done` is less than all.
  int Write(Id file, uint64_t offset, std::span<const std::byte> data,
            WallTime now, size_t& done);
  int Resize(Id file, uint64_t size, WallTime now);
  uint64_t SizeOf(Id file) const { return inodes_.at(file).size; }
  bool IsDirectory(Id file) const {
    return inodes_.at(file).kind == FileKind::kDirectory;
  }
  FileInfo InfoOf(Id file) const;
  int Info(std::string_view path, FileInfo& info) const;

  int Rename(std::string_view from, std::string_view to);
  int Remove(std::string_view path, bool directory);
  int MakeDirectory(std::string_view path, uint32_t permissions, WallTime now);
  int List(std::string_view path, std::vector<DirectoryEntry>& entries) const;

  // A file's bytes and size, or a directory's names, are on the disk now.
  void Sync(Id file);
  // An attempt that failed: some of what was written is on the disk; the rest
  // is taken for it, and won't be tried again (fsync(2), fsyncgate).
  void FailSync(Id file, SimRandom& random);
  void SyncNamesOf(std::string_view directory);
  // The power fails: what is on the disk is all there is. Nothing is open.
  void Crash(SimRandom& random);

  uint64_t used() const { return used_blocks_ * kBlock; }
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }

 private:
  using Block = std::string;  // of kBlock bytes

  // What the disk has of a block that was changed.
  struct OnDisk {
    std::optional<Block> bytes;  // nullopt: zeros
    bool given_up = false;       // a sync has failed, and none will write it
  };

  struct Inode {
    FileKind kind = FileKind::kRegular;
    uint32_t permissions = 0;
    WallTime modified;
    uint32_t names = 0;
    uint32_t opens = 0;

    // A file. Blocks that aren't there are zeros.
    uint64_t size = 0;
    std::map<uint64_t, Block> blocks;
    // Blocks that were changed since they were synced, the size on the disk,
    // and the least that the size has been since.
    std::map<uint64_t, OnDisk> changed;
    uint64_t size_on_disk = 0;
    uint64_t least_size = 0;

    // A directory.
    std::map<std::string, Id, std::less<>> entries;
    std::map<std::string, Id, std::less<>> entries_on_disk;
  };

  // A name that was set, or, with 0, removed.
  struct Naming {
    Id directory;
    std::string name;
    Id to;
  };
  // What happens to names as a whole.
  using Change = std::vector<Naming>;

  // Where a path leads.
  struct Place {
    int error = 0;
    Id directory = 0;  // that has the last part as a name; 0: it is "/"
    std::string name;
    Id found = 0;                // 0: there is none
    bool dots = false;           // ends in "." or ".."
    std::vector<Id> above = {};  // the directories on the way, "/" first
  };

  Place Find(std::string_view path) const;
  Id Make(FileKind kind, uint32_t permissions, WallTime now);
  void Do(Change change);
  void Drop(Id id);  // that neither has a name nor is open
  void Apply(const Change& change);
  void SyncNames(Id directory);
  // `before` is the block as it is now; nullptr: it is zeros.
  static void Changing(Inode& inode, uint64_t index, const Block* before);
  // The block to change; nullptr: there is no room for it.
  Block* BlockFor(Inode& inode, uint64_t index);
  void Cut(Inode& inode, uint64_t size);
  void SettleBytes(Inode& inode, SimRandom& random);
  void Sweep();  // forgets what nothing leads to
  void SweepIfMany();

  uint64_t capacity_;
  uint64_t used_blocks_ = 0;  // of files that have a name or are open
  std::map<Id, Inode> inodes_;
  Id last_ = 0;
  std::vector<Change> changes_;  // that aren't on the disk, oldest first
  size_t swept_ = 0;             // how many were left last time
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_FILE_TREE_H_
