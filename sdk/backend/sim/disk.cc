#include "braid/backend/sim/disk.h"

#include <fcntl.h>
#include <string.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "braid/backend/byte_view.h"
#include "braid/backend/sim/sim_file.h"
#include "braid/backend/sim/world.h"
#include "braid/core/check.h"

namespace braid {
namespace {

using detail::FileTree;
using detail::SimFile;

SimFile& FileOf(const FileOperation& operation) {
  return static_cast<SimFile&>(*operation.descriptor());
}

bool IsAtOrBelow(std::string_view path, std::string_view top) {
  return top == "/" || (path.starts_with(top) &&
                        (path.size() == top.size() || path[top.size()] == '/'));
}

// Of a normal path: the directory that its last part is a name in.
std::string_view DirectoryOf(std::string_view path) {
  return path.substr(0, std::max<size_t>(path.rfind('/'), 1));
}

const char* NameOf(FileCode code) {
  switch (code) {
    case FileCode::kOpen:
      return "open";
    case FileCode::kRead:
      return "read";
    case FileCode::kWrite:
      return "write";
    case FileCode::kSync:
      return "sync";
    case FileCode::kInfo:
      return "look at";
    case FileCode::kResize:
      return "resize";
    case FileCode::kRename:
      return "rename";
    case FileCode::kRemove:
      return "remove";
    case FileCode::kMakeDirectory:
      return "make directory";
    case FileCode::kListDirectory:
      return "list";
  }
  return "";
}

DiskFault Normalized(DiskFault fault) {
  if (!fault.path.empty()) fault.path = FileTree::Normal(fault.path);
  return fault;
}

// What an operation is about: one path, or, of a rename, two.
struct Paths {
  std::string first;
  std::string second = {};
};

Paths PathsOf(const FileOperation& operation) {
  if (operation.descriptor() != nullptr)
    return {.first = FileOf(operation).opened_as};
  const auto normal = [](const std::string& path) {
    return FileTree::Normal(path);
  };
  switch (operation.code()) {
    case FileCode::kOpen:
      return {normal(static_cast<const OpenFileOperation&>(operation).path)};
    case FileCode::kInfo:
      return {normal(static_cast<const FileInfoOperation&>(operation).path)};
    case FileCode::kRename: {
      const auto& rename = static_cast<const RenameOperation&>(operation);
      return {normal(rename.from), normal(rename.to)};
    }
    case FileCode::kRemove:
      return {normal(static_cast<const RemoveOperation&>(operation).path)};
    case FileCode::kMakeDirectory:
      return {
          normal(static_cast<const MakeDirectoryOperation&>(operation).path)};
    case FileCode::kListDirectory:
      return {
          normal(static_cast<const ListDirectoryOperation&>(operation).path)};
    case FileCode::kRead:
    case FileCode::kWrite:
    case FileCode::kSync:
    case FileCode::kResize:
      break;
  }
  return {};
}

}  // namespace

SimDisk::SimDisk(detail::Machine& machine, const SimDiskOptions& options,
                 uint64_t seed)
    : machine_(machine),
      options_(options),
      random_(seed),
      tree_(options.capacity, machine.WallNow()) {
  detail::Check(options.latency >= Duration::zero() &&
                    options.sync_latency >= Duration::zero(),
                "the latencies of a disk are not negative");
}

void SimDisk::Add(DiskFault fault) {
  rules_.Add({.fault = Normalized(std::move(fault))});
}

ScopedFault SimDisk::Inject(DiskFault fault) {
  return rules_.Inject({.fault = Normalized(std::move(fault))});
}

void SimDisk::SetCapacity(uint64_t bytes) { tree_.set_capacity(bytes); }

void SimDisk::PutDirectory(std::string_view path) {
  const std::string normal = FileTree::Normal(path);
  for (size_t end = 0; end != std::string::npos;) {
    end = normal.find('/', end + 1);
    const std::string_view above =
        std::string_view(normal).substr(0, std::min(end, normal.size()));
    FileInfo info;
    if (tree_.Info(above, info) == 0 && info.kind == FileKind::kDirectory)
      continue;
    detail::Check(tree_.MakeDirectory(above, 0777, machine_.WallNow()) == 0,
                  "a directory can't be put on a simulated disk: there is a "
                  "file in its place");
    tree_.SyncNamesOf(DirectoryOf(above));
  }
}

void SimDisk::Put(std::string_view path, std::string_view content) {
  const std::string normal = FileTree::Normal(path);
  PutDirectory(DirectoryOf(normal));
  FileTree::Id file = 0;
  const int error = tree_.Open(normal, O_WRONLY | O_CREAT | O_TRUNC, 0644,
                               machine_.WallNow(), file);
  detail::Check(error == 0,
                "a file can't be put on a simulated disk: there is a directory "
                "in its place");
  size_t done = 0;
  detail::Check(
      tree_.Write(file, 0, ByteView(content), machine_.WallNow(), done) == 0,
      "a file doesn't fit on a simulated disk");
  tree_.Sync(file);
  tree_.Close(file);
  tree_.SyncNamesOf(DirectoryOf(normal));
}

std::optional<std::string> SimDisk::Get(std::string_view path) const {
  FileInfo info;
  if (tree_.Info(path, info) != 0 || info.kind != FileKind::kRegular)
    return std::nullopt;
  std::string content(info.size, '\0');
  tree_.Read(info.inode, 0, std::as_writable_bytes(std::span(content)));
  return content;
}

std::vector<std::string> SimDisk::List(std::string_view path) const {
  std::vector<DirectoryEntry> entries;
  tree_.List(path, entries);
  std::vector<std::string> names;
  names.reserve(entries.size());
  for (DirectoryEntry& entry : entries) names.push_back(std::move(entry.name));
  return names;
}

DiskFault SimDisk::FaultOf(const FileOperation& operation) {
  if (rules_.empty()) return {};
  const Paths paths = PathsOf(operation);
  for (Rule& rule : rules_) {
    const DiskFault& fault = rule.fault;
    if (fault.only.has_value() && *fault.only != operation.code()) continue;
    if (!fault.path.empty() && !IsAtOrBelow(paths.first, fault.path) &&
        (paths.second.empty() || !IsAtOrBelow(paths.second, fault.path))) {
      continue;
    }
    const uint64_t number = rule.seen++;
    if (number < fault.after) continue;
    if (fault.count != 0 && number - fault.after >= fault.count) continue;
    return fault;
  }
  return {};
}

void SimDisk::Submit(FileOperation& operation) {
  requests_.push_back({.operation = &operation});
  Queue(std::prev(requests_.end()));
}

void SimDisk::Queue(Requests::iterator request) {
  request->fault = FaultOf(*request->operation);
  const DiskFault& fault = request->fault;
  Duration takes = options_.latency + random_.Upto(options_.jitter) +
                   fault.delay + random_.Upto(fault.jitter);
  if (request->operation->code() == FileCode::kSync)
    takes += options_.sync_latency + random_.Upto(options_.sync_jitter);
  const Duration before = random_.Upto(takes);
  request->rest = takes - before;
  request->next = machine_.world().events().Add(
      machine_.world().now() + before, [this, request] { Begin(request); });
}

void SimDisk::Begin(Requests::iterator request) {
  FileOperation& operation = *request->operation;
  request->begun = true;
  ++stats_.requests;
  size_t bytes = 0;
  bool more = false;
  operation.error = request->fault.error;
  if (operation.error == 0) {
    operation.error = Do(operation, request->fault, bytes, more);
  } else {
    ++stats_.failed;
    Fail(operation);
  }
  if (machine_.world().tracing()) Trace(operation, bytes);
  Time done = machine_.world().now();
  if (options_.bytes_per_second > 0 && bytes > 0) {
    free_at_ = std::max(free_at_, done) +
               Duration(static_cast<int64_t>(
                   1e9 * static_cast<double>(bytes) /
                   static_cast<double>(options_.bytes_per_second)));
    done = free_at_;
  }
  request->next = machine_.world().events().Add(
      done + request->rest, [this, request, more] {
        if (more) return Queue(request);
        FileOperation& ended = *request->operation;
        requests_.erase(request);
        ended.Complete();
      });
}

void SimDisk::Cancel(FileOperation& operation) noexcept {
  const auto request =
      std::ranges::find(requests_, &operation, &Request::operation);
  detail::Check(
      request != requests_.end(),
      "an operation on a simulated disk is cancelled that isn't under "
      "way; this is a bug in Braid");
  if (request->begun && !detail::Loop::Current().abandoned())
    return operation.RemainCancellable();
  machine_.world().events().Remove(request->next);
  requests_.erase(request);
  operation.Stop();
}

int SimDisk::Do(FileOperation& operation, const DiskFault& fault, size_t& bytes,
                bool& more) {
  const FileTree::WallTime now = machine_.WallNow();
  switch (operation.code()) {
    case FileCode::kOpen: {
      auto& open = static_cast<OpenFileOperation&>(operation);
      FileTree::Id file = 0;
      const int error =
          tree_.Open(open.path, open.flags, open.permissions, now, file);
      if (error != 0) return error;
      open.opened =
          IoHandle(new SimFile(operation.backend(), *this, file, open.flags,
                               FileTree::Normal(open.path)));
      return 0;
    }
    case FileCode::kRead:
      return Read(static_cast<ReadFileOperation&>(operation), fault, bytes,
                  more);
    case FileCode::kWrite:
      return Write(static_cast<WriteFileOperation&>(operation), fault, bytes,
                   more);
    case FileCode::kSync:
      tree_.Sync(FileOf(operation).id);
      ++stats_.syncs;
      return 0;
    case FileCode::kInfo: {
      auto& look = static_cast<FileInfoOperation&>(operation);
      if (look.descriptor() == nullptr) return tree_.Info(look.path, look.info);
      look.info = tree_.InfoOf(FileOf(operation).id);
      return 0;
    }
    case FileCode::kResize: {
      const SimFile& file = FileOf(operation);
      if ((file.flags & O_ACCMODE) == O_RDONLY) return EINVAL;
      return tree_.Resize(
          file.id, static_cast<ResizeFileOperation&>(operation).size, now);
    }
    case FileCode::kRename: {
      auto& rename = static_cast<RenameOperation&>(operation);
      return tree_.Rename(rename.from, rename.to);
    }
    case FileCode::kRemove: {
      auto& remove = static_cast<RemoveOperation&>(operation);
      return tree_.Remove(remove.path, remove.directory);
    }
    case FileCode::kMakeDirectory: {
      auto& make = static_cast<MakeDirectoryOperation&>(operation);
      return tree_.MakeDirectory(make.path, make.permissions, now);
    }
    case FileCode::kListDirectory: {
      auto& list = static_cast<ListDirectoryOperation&>(operation);
      return tree_.List(list.path, list.entries);
    }
  }
  return ENOSYS;
}

void SimDisk::Fail(FileOperation& operation) {
  if (operation.code() == FileCode::kSync) {
    tree_.FailSync(FileOf(operation).id, random_);
  } else if (operation.code() == FileCode::kRead &&
             static_cast<ReadFileOperation&>(operation).done > 0) {
    // What came before an error is given; the next read meets it.
    operation.error = 0;
  }
}

size_t SimDisk::Part(size_t left, const DiskFault& fault) {
  if (left < 2 || !random_.Chance(fault.short_transfer)) return left;
  return 1 + random_.Below(left - 1);
}

int SimDisk::Read(ReadFileOperation& operation, const DiskFault& fault,
                  size_t& bytes, bool& more) {
  const SimFile& file = FileOf(operation);
  if ((file.flags & O_ACCMODE) == O_WRONLY) return EBADF;
  const std::span<std::byte> rest = operation.buffer.subspan(operation.done);
  const size_t part = Part(rest.size(), fault);
  bytes =
      tree_.Read(file.id, operation.offset + operation.done, rest.first(part));
  operation.done += bytes;
  stats_.bytes_read += bytes;
  more = bytes > 0 && operation.done < operation.buffer.size();
  return 0;
}

int SimDisk::Write(WriteFileOperation& operation, const DiskFault& fault,
                   size_t& bytes, bool& more) {
  const SimFile& file = FileOf(operation);
  if ((file.flags & O_ACCMODE) == O_RDONLY) return EBADF;
  const std::span<const std::byte> rest =
      operation.data.subspan(operation.done);
  const uint64_t at = (file.flags & O_APPEND) != 0
                          ? tree_.SizeOf(file.id)
                          : operation.offset + operation.done;
  const int error =
      tree_.Write(file.id, at, rest.first(Part(rest.size(), fault)),
                  machine_.WallNow(), bytes);
  operation.done += bytes;
  stats_.bytes_written += bytes;
  more = error == 0 && operation.done < operation.data.size();
  return error;
}

void SimDisk::Trace(const FileOperation& operation, size_t bytes) const {
  const Paths paths = PathsOf(operation);
  std::string text = std::string(NameOf(operation.code())) + " " + paths.first;
  if (!paths.second.empty()) text += " to " + paths.second;
  const bool moves = operation.code() == FileCode::kRead ||
                     operation.code() == FileCode::kWrite;
  if (moves) text += ", " + std::to_string(bytes) + " bytes";
  if (operation.error != 0)
    text += std::string(": ") + strerrorname_np(operation.error);
  machine_.Trace(text);
}

}  // namespace braid
