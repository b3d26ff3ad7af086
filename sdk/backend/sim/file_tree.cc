#include "braid/backend/sim/file_tree.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ranges>
#include <utility>

#include "braid/core/check.h"

namespace braid::detail {
namespace {

constexpr FileTree::Id kRoot = 1;
constexpr size_t kLongestName = 255;   // NAME_MAX
constexpr size_t kLongestPath = 4095;  // PATH_MAX
constexpr uint32_t kUmask = 022;
// Fewer inodes than this aren't worth a sweep.
constexpr size_t kFew = 64;

// What stands between the slashes.
std::vector<std::string_view> PartsOf(std::string_view path) {
  std::vector<std::string_view> parts;
  for (const auto part : std::views::split(path, '/')) {
    const std::string_view text(part.begin(), part.end());
    if (!text.empty()) parts.push_back(text);
  }
  return parts;
}

std::string_view WithoutSlashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

bool IsDots(std::string_view part) { return part == "." || part == ".."; }

}  // namespace

FileTree::FileTree(uint64_t capacity, WallTime now) : capacity_(capacity) {
  const Id root = Make(FileKind::kDirectory, 0777, now);
  Check(root == kRoot, "the first inode is not the root");
  inodes_.at(kRoot).names = 1;
  Check(MakeDirectory("/tmp", 0777, now) == 0, "a new disk has no room");
  SyncNames(kRoot);
}

std::string FileTree::Normal(std::string_view path) {
  std::vector<std::string_view> kept;
  for (const std::string_view part : PartsOf(path)) {
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (part != ".") {
      kept.push_back(part);
    }
  }
  std::string normal;
  for (const std::string_view part : kept) normal.append("/").append(part);
  return normal.empty() ? "/" : normal;
}

FileTree::Place FileTree::Find(std::string_view path) const {
  Place place;
  place.found = kRoot;
  if (path.empty()) place.error = ENOENT;
  if (path.size() > kLongestPath) place.error = ENAMETOOLONG;
  const std::vector<std::string_view> parts = PartsOf(path);
  for (const std::string_view part : parts) {
    if (place.error != 0) break;
    if (place.found == 0) {
      place.error = ENOENT;
    } else if (!IsDirectory(place.found)) {
      place.error = ENOTDIR;
    } else if (part.size() > kLongestName) {
      place.error = ENAMETOOLONG;
    } else if (part == "..") {
      if (!place.above.empty()) {
        place.found = place.above.back();
        place.above.pop_back();
      }
    } else if (part != ".") {
      place.above.push_back(place.found);
      place.name = part;
      const auto& entries = inodes_.at(place.found).entries;
      const auto entry = entries.find(part);
      place.found = entry == entries.end() ? 0 : entry->second;
    }
  }
  if (!place.above.empty()) place.directory = place.above.back();
  place.dots = parts.empty() || IsDots(parts.back());
  if (place.error == 0 && path.ends_with('/') && place.found != 0 &&
      !IsDirectory(place.found)) {
    place.error = ENOTDIR;
  }
  return place;
}

FileTree::Id FileTree::Make(FileKind kind, uint32_t permissions, WallTime now) {
  Inode& inode = inodes_[++last_];
  inode.kind = kind;
  inode.permissions = permissions & ~kUmask;
  inode.modified = now;
  return last_;
}

int FileTree::Open(std::string_view path, int flags, uint32_t permissions,
                   WallTime now, Id& file) {
  const bool create = (flags & O_CREAT) != 0;
  // What is made this way is no directory.
  const std::string_view name = WithoutSlashes(path);
  const Place place = Find(create ? name : path);
  if (place.error != 0) return place.error;
  if (create && name != path && !place.dots) return EISDIR;
  const bool directory = (flags & O_DIRECTORY) != 0;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  file = place.found;
  if (file == 0) {
    if (!create) return ENOENT;
    file = Make(FileKind::kRegular, permissions, now);
    Do({{place.directory, place.name, file}});
  } else {
    if (create && (flags & O_EXCL) != 0) return EEXIST;
    if (IsDirectory(file)) {
      if (!directory || writes) return EISDIR;
    } else if (directory) {
      return ENOTDIR;
    } else if ((flags & O_TRUNC) != 0 && writes) {
      Resize(file, 0, now);
    }
  }
  ++inodes_.at(file).opens;
  return 0;
}

void FileTree::Close(Id file) {
  --inodes_.at(file).opens;
  Drop(file);
}

void FileTree::Drop(Id id) {
  const Inode& inode = inodes_.at(id);
  if (inode.names == 0 && inode.opens == 0) used_blocks_ -= inode.blocks.size();
}

size_t FileTree::Read(Id file, uint64_t offset,
                      std::span<std::byte> buffer) const {
  const Inode& inode = inodes_.at(file);
  if (offset >= inode.size) return 0;
  const size_t size = std::min<uint64_t>(buffer.size(), inode.size - offset);
  for (size_t done = 0; done < size;) {
    const uint64_t at = offset + done;
    const size_t within = at % kBlock;
    const size_t count = std::min(size - done, kBlock - within);
    const auto block = inode.blocks.find(at / kBlock);
    if (block == inode.blocks.end()) {
      std::memset(&buffer[done], 0, count);
    } else {
      std::memcpy(&buffer[done], &block->second[within], count);
    }
    done += count;
  }
  return size;
}

void FileTree::Changing(Inode& inode, uint64_t index, const Block* before) {
  const auto [change, first] = inode.changed.try_emplace(index);
  if (first && before != nullptr) change->second.bytes = *before;
  change->second.given_up = false;
}

FileTree::Block* FileTree::BlockFor(Inode& inode, uint64_t index) {
  auto block = inode.blocks.find(index);
  if (block == inode.blocks.end()) {
    if (capacity_ != 0 && (used_blocks_ + 1) * kBlock > capacity_)
      return nullptr;
    ++used_blocks_;
    Changing(inode, index, nullptr);
    block = inode.blocks.emplace(index, Block(kBlock, '\0')).first;
  } else {
    Changing(inode, index, &block->second);
  }
  return &block->second;
}

int FileTree::Write(Id file, uint64_t offset, std::span<const std::byte> data,
                    WallTime now, size_t& done) {
  Inode& inode = inodes_.at(file);
  done = 0;
  while (done < data.size()) {
    const uint64_t at = offset + done;
    const size_t within = at % kBlock;
    const size_t count = std::min(data.size() - done, kBlock - within);
    Block* block = BlockFor(inode, at / kBlock);
    if (block == nullptr) return ENOSPC;
    std::memcpy(&(*block)[within], &data[done], count);
    done += count;
    inode.size = std::max(inode.size, at + count);
    inode.modified = now;
  }
  return 0;
}

int FileTree::Resize(Id file, uint64_t size, WallTime now) {
  Inode& inode = inodes_.at(file);
  if (size < inode.size) Cut(inode, size);
  inode.size = size;
  inode.modified = now;
  return 0;
}

// What is beyond the end reads as zeros when the file grows again.
void FileTree::Cut(Inode& inode, uint64_t size) {
  inode.least_size = std::min(inode.least_size, size);
  uint64_t first = size / kBlock;
  if (const size_t within = size % kBlock; within != 0) {
    const auto block = inode.blocks.find(first);
    if (block != inode.blocks.end()) {
      Changing(inode, first, &block->second);
      std::ranges::fill(block->second.begin() + static_cast<ptrdiff_t>(within),
                        block->second.end(), '\0');
    }
    ++first;
  }
  for (auto block = inode.blocks.lower_bound(first);
       block != inode.blocks.end();) {
    Changing(inode, block->first, &block->second);
    block = inode.blocks.erase(block);
    --used_blocks_;
  }
}

FileInfo FileTree::InfoOf(Id file) const {
  const Inode& inode = inodes_.at(file);
  FileInfo info;
  info.kind = inode.kind;
  info.size = inode.size;
  info.permissions = inode.permissions;
  info.modified = inode.modified;
  info.device = 1;
  info.inode = file;
  info.links = inode.names;
  if (inode.kind == FileKind::kDirectory && inode.names > 0) {
    // "." in itself, and ".." in those that are in it.
    ++info.links;
    for (const auto& [name, id] : inode.entries)
      info.links += IsDirectory(id) ? 1 : 0;
  }
  return info;
}

int FileTree::Info(std::string_view path, FileInfo& info) const {
  const Place place = Find(path);
  if (place.error != 0) return place.error;
  if (place.found == 0) return ENOENT;
  info = InfoOf(place.found);
  return 0;
}

// In the order in which Linux finds fault (do_renameat2, vfs_rename).
int FileTree::Rename(std::string_view from_path, std::string_view to_path) {
  const Place from = Find(WithoutSlashes(from_path));
  const Place to = Find(WithoutSlashes(to_path));
  if (from.error != 0) return from.error;
  if (to.error != 0) return to.error;
  if (from.dots || to.dots) return EBUSY;
  if (from.found == 0) return ENOENT;
  const bool directory = IsDirectory(from.found);
  if (!directory && (from_path.ends_with('/') || to_path.ends_with('/')))
    return ENOTDIR;
  if (std::ranges::find(to.above, from.found) != to.above.end()) return EINVAL;
  if (to.found != 0) {
    if (std::ranges::find(from.above, to.found) != from.above.end())
      return ENOTEMPTY;
    if (from.found == to.found) return 0;
    if (directory != IsDirectory(to.found)) return directory ? ENOTDIR : EISDIR;
    if (!inodes_.at(to.found).entries.empty()) return ENOTEMPTY;
  }
  Do({{from.directory, from.name, 0}, {to.directory, to.name, from.found}});
  return 0;
}

int FileTree::Remove(std::string_view path, bool directory) {
  const Place place = Find(path);
  if (place.error != 0) return place.error;
  if (place.found == 0) return ENOENT;
  if (!directory) {
    if (IsDirectory(place.found)) return EISDIR;
  } else {
    if (!IsDirectory(place.found)) return ENOTDIR;
    if (place.found == kRoot) return EBUSY;
    if (place.dots)
      return WithoutSlashes(path).ends_with("..") ? ENOTEMPTY : EINVAL;
    if (!inodes_.at(place.found).entries.empty()) return ENOTEMPTY;
  }
  Do({{place.directory, place.name, 0}});
  return 0;
}

int FileTree::MakeDirectory(std::string_view path, uint32_t permissions,
                            WallTime now) {
  // Whatever is there is in the way, slash or no slash.
  const Place place = Find(WithoutSlashes(path));
  if (place.error != 0) return place.error;
  if (place.found != 0) return EEXIST;
  const Id made = Make(FileKind::kDirectory, permissions, now);
  Do({{place.directory, place.name, made}});
  return 0;
}

int FileTree::List(std::string_view path,
                   std::vector<DirectoryEntry>& entries) const {
  const Place place = Find(path);
  if (place.error != 0) return place.error;
  if (place.found == 0) return ENOENT;
  if (!IsDirectory(place.found)) return ENOTDIR;
  for (const auto& [name, id] : inodes_.at(place.found).entries)
    entries.push_back({name, inodes_.at(id).kind});
  return 0;
}

void FileTree::Do(Change change) {
  std::vector<Id> renamed_or_gone;
  for (const Naming& naming : change) {
    auto& entries = inodes_.at(naming.directory).entries;
    if (const auto entry = entries.find(naming.name); entry != entries.end()) {
      --inodes_.at(entry->second).names;
      renamed_or_gone.push_back(entry->second);
      entries.erase(entry);
    }
    if (naming.to == 0) continue;
    entries.emplace(naming.name, naming.to);
    ++inodes_.at(naming.to).names;
  }
  for (const Id id : renamed_or_gone) Drop(id);
  changes_.push_back(std::move(change));
  SweepIfMany();
}

void FileTree::Apply(const Change& change) {
  for (const Naming& naming : change) {
    auto& entries = inodes_.at(naming.directory).entries_on_disk;
    entries.erase(naming.name);
    if (naming.to != 0) entries.emplace(naming.name, naming.to);
  }
}

void FileTree::SyncNames(Id directory) {
  // A change stands on earlier ones to the directories it touches: those come
  // along, so that the order of names in each stays what it was.
  std::set<Id> synced = {directory};
  std::vector<bool> taken(changes_.size());
  for (size_t i = changes_.size(); i-- > 0;) {
    const Change& change = changes_[i];
    taken[i] = std::ranges::any_of(change, [&](const Naming& naming) {
      return synced.contains(naming.directory);
    });
    if (!taken[i]) continue;
    for (const Naming& naming : change) synced.insert(naming.directory);
  }
  std::vector<Change> left;
  for (size_t i = 0; i < changes_.size(); ++i) {
    if (taken[i]) {
      Apply(changes_[i]);
    } else {
      left.push_back(std::move(changes_[i]));
    }
  }
  changes_ = std::move(left);
  SweepIfMany();
}

void FileTree::Sync(Id file) {
  Inode& inode = inodes_.at(file);
  if (inode.kind == FileKind::kDirectory) return SyncNames(file);
  std::erase_if(inode.changed,
                [](const auto& block) { return !block.second.given_up; });
  inode.size_on_disk = inode.least_size = inode.size;
}

void FileTree::SyncNamesOf(std::string_view directory) {
  const Place place = Find(directory);
  if (place.found != 0 && IsDirectory(place.found)) SyncNames(place.found);
}

void FileTree::FailSync(Id file, SimRandom& random) {
  Inode& inode = inodes_.at(file);
  for (auto block = inode.changed.begin(); block != inode.changed.end();) {
    if (random.Chance(0.5)) {
      block = inode.changed.erase(block);
    } else {
      block->second.given_up = true;
      ++block;
    }
  }
}

void FileTree::Crash(SimRandom& random) {
  const size_t kept = random.Below(changes_.size() + 1);
  for (size_t i = 0; i < kept; ++i) Apply(changes_[i]);
  changes_.clear();
  for (auto& [id, inode] : inodes_) {
    Check(inode.opens == 0, "a file is open after its program has ended");
    inode.entries = inode.entries_on_disk;
    inode.names = 0;
  }
  Sweep();
  inodes_.at(kRoot).names = 1;
  for (auto& [id, inode] : inodes_) {
    for (const auto& [name, in_it] : inode.entries) ++inodes_.at(in_it).names;
    SettleBytes(inode, random);
  }
  used_blocks_ = 0;
  for (const auto& [id, inode] : inodes_) used_blocks_ += inode.blocks.size();
}

void FileTree::SettleBytes(Inode& inode, SimRandom& random) {
  uint64_t size = inode.size;
  if (inode.size_on_disk != size || inode.least_size != size) {
    switch (random.Below(4)) {
      case 0:
        size = inode.size_on_disk;
        break;
      case 1:
        size = inode.least_size;
        break;
      case 2:
        size = inode.least_size + random.Below(size - inode.least_size + 1);
        break;
      default:
        break;
    }
  }
  enum Which : uint8_t { kOld, kNew, kEither };
  // Often a file was written back as a whole, or not at all.
  const uint64_t whole = random.Below(4);
  for (auto& [index, before] : inode.changed) {
    uint64_t which = whole < kEither ? whole : random.Below(3);
    Block settled = before.bytes.value_or(Block(kBlock, '\0'));
    const auto now = inode.blocks.find(index);
    if (now == inode.blocks.end()) which = kOld;
    for (size_t at = 0; at < kBlock; at += kSector) {
      if (index * kBlock + at >= inode.size) break;  // was cut off
      if (which == kNew || (which == kEither && random.Chance(0.5)))
        settled.replace(at, kSector, now->second, at, kSector);
    }
    inode.blocks.insert_or_assign(index, std::move(settled));
  }
  Cut(inode, size);
  inode.changed.clear();
  inode.size = inode.size_on_disk = inode.least_size = size;
}

void FileTree::Sweep() {
  std::set<Id> reached;
  std::vector<Id> to_look_at = {kRoot};
  for (const auto& [id, inode] : inodes_) {
    if (inode.opens > 0) to_look_at.push_back(id);
  }
  for (const Change& change : changes_) {
    for (const Naming& naming : change) {
      to_look_at.push_back(naming.directory);
      if (naming.to != 0) to_look_at.push_back(naming.to);
    }
  }
  while (!to_look_at.empty()) {
    const Id id = to_look_at.back();
    to_look_at.pop_back();
    if (!reached.insert(id).second) continue;
    const Inode& inode = inodes_.at(id);
    for (const auto* entries : {&inode.entries, &inode.entries_on_disk}) {
      for (const auto& [name, in_it] : *entries) to_look_at.push_back(in_it);
    }
  }
  std::erase_if(inodes_, [&](const auto& inode) {
    return !reached.contains(inode.first);
  });
  swept_ = inodes_.size();
}

void FileTree::SweepIfMany() {
  if (inodes_.size() > 2 * swept_ + kFew) Sweep();
}

}  // namespace braid::detail
