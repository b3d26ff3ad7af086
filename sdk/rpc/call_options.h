// CallOptions: what one call wants beside its request.
//
//   absl::StatusOr<Reply> reply = co_await client.Query(
//       query, CallOptions().Timeout(2s).Add("request-id", id));

#ifndef BRAID_RPC_CALL_OPTIONS_H_
#define BRAID_RPC_CALL_OPTIONS_H_

#include <string_view>
#include <utility>

#include "braid/core/time.h"
#include "braid/rpc/metadata.h"

namespace braid::rpc {

// What came back beside the reply.
struct CallInfo {
  Metadata headers;
  Metadata trailers;
};

class CallOptions {
 public:
  CallOptions() = default;

  // A limit of the call's own: it ends DEADLINE_EXCEEDED then, as a result. The
  // deadline of the enclosing scopes holds all the same, travels with the call,
  // and stops it as scopes do. Counted from where the call begins.
  CallOptions&& Timeout(Delay timeout) && {
    timeout_ = timeout;
    return std::move(*this);
  }
  CallOptions&& Add(std::string_view key, std::string_view value) && {
    metadata_.Add(key, value);
    return std::move(*this);
  }
  // Waits for a connection instead of failing with UNAVAILABLE while there is
  // none. Give the call a deadline then.
  CallOptions&& WaitForReady(bool wait = true) && {
    wait_for_ready_ = wait;
    return std::move(*this);
  }
  // `info` is filled when the call has ended, and must live until then.
  CallOptions&& Into(CallInfo* info) && {
    info_ = info;
    return std::move(*this);
  }

  Delay timeout() const { return timeout_; }
  Metadata& metadata() { return metadata_; }
  bool wait_for_ready() const { return wait_for_ready_; }
  CallInfo* info() const { return info_; }

 private:
  Delay timeout_ = kForever;
  Metadata metadata_;
  bool wait_for_ready_ = false;
  CallInfo* info_ = nullptr;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_CALL_OPTIONS_H_
