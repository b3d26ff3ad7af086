#include "braid/backend/sim/faults.h"

#include <cerrno>

#include "braid/backend/file_operation.h"

namespace braid::detail {
namespace {

SimCall CallOf(const IoOperation& operation) {
  const bool connected = !operation.descriptor().peer.empty();
  switch (operation.code()) {
    case IoCode::kReceive:
    case IoCode::kReceiveChunk:
      return {"receive", ECONNRESET};
    case IoCode::kSend:
      return {"send", ECONNRESET};
    case IoCode::kShutdown:
      return {"end the sending side", ECONNRESET};
    case IoCode::kReceiveFrom:
    case IoCode::kReceiveBatch:
      return {"receive a datagram", connected ? ECONNREFUSED : ENOMEM};
    case IoCode::kSendTo:
    case IoCode::kSendBatch:
      return {"send a datagram", ENOBUFS};
    case IoCode::kAccept:
      return {"accept", EMFILE};
    case IoCode::kConnect:  // Kernel::ConnectTcp asks
    case IoCode::kPoll:
      return {};
  }
  return {};
}

SimCall CallOf(const FileOperation& operation) {
  switch (operation.code()) {
    case FileCode::kOpen:
      return {"open a file", EMFILE};
    case FileCode::kRead:
      return {"read", EIO};
    case FileCode::kWrite:
      return {"write", ENOSPC};
    case FileCode::kSync:
      return {"sync", EIO};
    case FileCode::kInfo:
      return {"look at a file", EIO};
    case FileCode::kResize:
      return {"resize", ENOSPC};
    case FileCode::kRename:
      return {"rename", ENOSPC};
    case FileCode::kRemove:
      return {"remove", EIO};
    case FileCode::kMakeDirectory:
      return {"make a directory", ENOSPC};
    case FileCode::kListDirectory:
      return {"list a directory", EIO};
  }
  return {};
}

}  // namespace

constinit SimFaults* sim_faults = nullptr;

int FaultOf(const IoOperation& operation) {
  if (sim_faults == nullptr) return 0;
  const SimCall call = CallOf(operation);
  if (call.error == 0) return 0;
  return FaultOf(call, [&] { return operation.descriptor().Describe(); });
}

int FaultOf(const FileOperation& operation) {
  if (sim_faults == nullptr) return 0;
  return FaultOf(CallOf(operation), [&]() -> std::string {
    const Descriptor* descriptor = operation.descriptor();
    return descriptor != nullptr ? descriptor->Describe() : "a path";
  });
}

}  // namespace braid::detail
