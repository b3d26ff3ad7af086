#include "braid/backend/backend.h"

#include <cerrno>

#include "braid/backend/file_operation.h"
#include "braid/backend/file_workers.h"
#include "braid/backend/host.h"
#include "braid/backend/io_operation.h"

namespace braid {

Descriptor::Descriptor(Backend& backend, IoKind kind)
    : backend_(&backend), kind_(kind) {
  ++backend.descriptors_;
}

Descriptor::~Descriptor() {
  detail::Check(waiting[0] == nullptr && waiting[1] == nullptr,
                "a descriptor goes while an operation waits on it; this is a "
                "bug in the backend");
  --backend_->descriptors_;
}

void Descriptor::RefuseWaiting() {
  for (IoOperation*& place : waiting) {
    IoOperation* operation = std::exchange(place, nullptr);
    if (operation == nullptr) continue;
    operation->error = EBADF;
    operation->Complete();
  }
}

void Descriptor::MarkReleased() {
  released_ = true;
  while (CloseOperation* waiter = close_waiters_.PopFront()) waiter->Complete();
}

std::string Descriptor::Describe() const {
  switch (kind_) {
    case IoKind::kUdp:
      return peer.empty() ? "UDP socket " + local.ToString()
                          : "UDP socket to " + peer.ToString();
    case IoKind::kTcpListener:
      return "TCP listener " + local.ToString();
    case IoKind::kTcpStream:
      return "TCP connection with " + peer.ToString();
    case IoKind::kPollable:
      return "file descriptor";
    case IoKind::kFile:
      return "'" + path + "'";
  }
  return "";
}

Chunk::Chunk(Descriptor& descriptor, std::unique_ptr<std::byte[]> memory,
             size_t size)
    : descriptor_(&descriptor), memory_(std::move(memory)), size_(size) {
  descriptor_->AddRef();
  ++descriptor_->lent_chunks;
}

Chunk::~Chunk() {
  if (descriptor_ == nullptr) return;
  Backend& backend = descriptor_->backend();
  backend.chunks().Return(std::move(memory_));
  --descriptor_->lent_chunks;
  backend.Replenish(*descriptor_);
  descriptor_->DropRef();
}

Backend::Backend(std::shared_ptr<Host> host) : host_(std::move(host)) {}

Backend::~Backend() {
  detail::Check(descriptors_ == 0,
                "a backend is destroyed before a socket or batch that uses it; "
                "destroy those first");
}

bool Backend::SubmitFile(FileOperation& operation) {
  if (file_workers_ == nullptr)
    file_workers_ = std::make_unique<detail::FileWorkers>();
  return file_workers_->Submit(operation);
}

void Backend::CancelFile(FileOperation& operation) noexcept {
  file_workers_->Cancel(operation);
}

Backend& CurrentBackend() {
  auto* backend = dynamic_cast<Backend*>(&detail::Loop::Current().driver());
  detail::Check(backend != nullptr,
                "the loop of this thread does no I/O (it is driven by "
                "VirtualTime); run on a backend, as from MakeBackend");
  return *backend;
}

bool IoOperation::Try() {
  Backend& backend = descriptor_->backend();
  detail::Check(
      static_cast<Driver*>(&backend) == &detail::Loop::Current().driver(),
      "a socket is used on another loop than the one it was made on; make it "
      "there");
  return backend.Submit(*this);
}

void IoOperation::Cancel() noexcept { descriptor_->backend().Cancel(*this); }

bool FileOperation::Try() {
  detail::Check(
      static_cast<Driver*>(backend_) == &detail::Loop::Current().driver(),
      "a file is used on another loop than the one it was opened on; open it "
      "there");
  if (Descriptor* file = descriptor(); file != nullptr) {
    if (file->closed) {
      error = EBADF;
      return true;
    }
    ++file->file_operations_;
    fd = backend_->NativeHandle(*file);
  }
  if (!backend_->SubmitFile(*this)) return false;
  LeaveFile();
  return true;
}

void FileOperation::Cancel() noexcept { backend_->CancelFile(*this); }

void FileOperation::Complete() {
  LeaveFile();
  OperationBase::Complete();
}

void FileOperation::Stop() {
  LeaveFile();
  OperationBase::Stop();
}

void FileOperation::LeaveFile() {
  Descriptor* file = descriptor();
  if (file != nullptr && --file->file_operations_ == 0 && file->closed)
    file->Release();
}

void OpenFileOperation::Adopt() {
  if (error != 0) return;
  absl::StatusOr<IoHandle> adopted = backend().Adopt(fd, IoKind::kFile);
  detail::Check(adopted.ok(), "a file that was just opened can't be adopted");
  opened = *std::move(adopted);
}

absl::Status IoOperation::Error(std::string_view doing) const noexcept {
  return Error([&] { return std::string(doing); });
}

absl::Status IoOperation::Error(
    absl::FunctionRef<std::string()> doing) const noexcept {
  return ErrnoStatus(
      error, [&] { return doing() + " on " + descriptor_->Describe(); });
}

void IoOperation::Withdraw() noexcept {
  descriptor_->waiting[static_cast<int>(direction_)] = nullptr;
  if (code_ == IoCode::kSend) static_cast<SendOperation*>(this)->LeaveRest();
  Stop();
}

void CloseOperation::Suspend() { descriptor_->close_waiters_.PushBack(*this); }

void CloseOperation::Cancel() noexcept {
  descriptor_->close_waiters_.Remove(*this);
  Stop();
}

}  // namespace braid
