// Channel and the calls made through it.
//
//   rpc::Channel channel = rpc::Channel::To("127.0.0.1:7008");
//   EchoControl::Client client(channel);
//   absl::StatusOr<StatsReply> stats = co_await client.GetStats(request);
//
//   rpc::ClientReader<StatsReply> updates = client.WatchStats(watch);
//   while (auto update = co_await OrReturn(updates.Receive())) Show(*update);
//
// Deadlines and cancellation cross to the server: the deadline of the enclosing
// scope is the call's, and cancelling the scope cancels the call. A unary call
// is one operation: stopped means that no reply came (the server may have done
// the work all the same); a reply that came in time is given, whatever was
// cancelled meanwhile. A stream begins where it is made, not where it is first
// awaited; destroying its handle cancels the call.
//
// Errors are what the server answered, or the transport's own: UNAVAILABLE (no
// connection), RESOURCE_EXHAUSTED (a message above the limit), INTERNAL (a
// message that can't be parsed).
//
// Threads: a channel and everything made from it belong to the loop they are
// used on.

#ifndef BRAID_RPC_CLIENT_H_
#define BRAID_RPC_CLIENT_H_

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/or_return.h"
#include "braid/core/task.h"
#include "braid/rpc/call_options.h"
#include "braid/rpc/detail/client_call.h"
#include "braid/rpc/method.h"

namespace braid::rpc {

// How a client proves who it is, and whom it trusts. PEM text.
struct ClientTls {
  // Certificates that a server's must lead to; empty: those of the system.
  std::string trusted_certificates;
  // For mutual TLS; both or neither.
  std::string private_key;
  std::string certificate_chain;
  // The name that the server's certificate has to be for, if it isn't the
  // target's.
  std::string server_name;
};

struct ChannelOptions {
  // Without it, nothing is encrypted.
  std::optional<ClientTls> tls;
  // Larger replies end their call with RESOURCE_EXHAUSTED.
  size_t max_reply_bytes = 4 << 20;
  // Sends a probe on a connection with calls that has been silent for so long,
  // and drops it when no answer comes within 20 s. Servers refuse probes that
  // come more often than they allow (gRPC's default: every 5 minutes).
  Delay keepalive = kForever;
  RpcObserver* observer = nullptr;
};

// A way to a server. Copies share it. Connects when first used, and again when
// the connection is lost.
class Channel {
 public:
  // `target` is what gRPC calls a name: "host:port", "unix:/path",
  // "dns:///host:port". A name that can't be resolved or reached makes calls
  // fail, not this. On a loop of a simulation the way is over its network, for
  // that loop only.
  static Channel To(const std::string& target,
                    const ChannelOptions& options = {});

  explicit Channel(std::shared_ptr<ClientTransport> transport,
                   RpcObserver* observer = nullptr)
      : state_(std::make_shared<detail::ChannelState>(std::move(transport),
                                                      observer)) {}

  // Whether it has a connection to the server now. For saying, after a call
  // has failed, which of the two it was: a DEADLINE_EXCEEDED without one means
  // that nobody was reached.
  bool connected() const { return state_->transport().connected(); }

  // For generated code.
  const std::shared_ptr<detail::ChannelState>& state() const { return state_; }

 private:
  std::shared_ptr<detail::ChannelState> state_;
};

// A call with one request and one reply: co_await gives absl::StatusOr<Reply>.
template <typename Reply>
using UnaryCall =
    Operation<detail::UnaryMessageOp<Reply>,
              std::shared_ptr<detail::ChannelState>, const Method*,
              absl::StatusOr<std::string>, CallOptions>;

// What every call with a stream can be asked.
class StreamHandle {
 public:
  explicit StreamHandle(std::unique_ptr<detail::StreamingCall> call)
      : call_(std::move(call)) {}

  // Asks for an early end; Receive and Finish give CANCELLED then, unless the
  // call was over. May be called from any destructor.
  void Cancel() { call_->Cancel(); }

  // What came before the first reply; empty until something has come.
  const Metadata& headers() const { return call_->headers(); }
  // What came with the status; empty until the end.
  const Metadata& trailers() const { return call_->trailers(); }

 protected:
  ~StreamHandle() = default;
  StreamHandle(StreamHandle&&) = default;
  StreamHandle& operator=(StreamHandle&&) = default;

  std::unique_ptr<detail::StreamingCall> call_;
};

// A call that gets a stream of replies.
template <typename Reply>
class ClientReader : public StreamHandle {
 public:
  using StreamHandle::StreamHandle;

  // The next reply; nullopt when the server has ended the call with OK.
  // co_await gives absl::StatusOr<std::optional<Reply>>: what the server ended
  // it with otherwise. Cancelled at any time; no reply is lost, the next
  // Receive gets it. One task at a time (IsBusy). The handle outlives the await
  // and stays where it is.
  auto Receive() { return detail::Receiving<Reply>(&call_->flow()); }
};

// A call that sends a stream of requests and gets one reply.
template <typename Request, typename Reply>
class ClientWriter : public StreamHandle {
 public:
  using StreamHandle::StreamHandle;

  // Gives `message` to the call. Completes when it has been taken, which is
  // when the one before has been passed on. co_await gives absl::Status: the
  // call's error if it is over. Stopped: the message was not sent.
  auto Send(const Request& message) {
    return detail::Sending(&call_->flow(), detail::Serialize(message));
  }

  // Says that there are no more requests, and waits for the reply. Stopped:
  // may be called again. Once it gave a reply, FAILED_PRECONDITION. The handle
  // outlives the await and stays where it is.
  Task<absl::StatusOr<Reply>> Finish() {
    absl::Status closed = co_await detail::HalfClosing(&call_->flow());
    // An error of the call comes with the reply.
    closed.IgnoreError();
    absl::StatusOr<std::optional<Reply>> reply =
        co_await detail::Receiving<Reply>(&call_->flow());
    if (!reply.ok()) co_return std::move(reply).status();
    if (!reply->has_value()) {
      co_return absl::FailedPreconditionError(
          "the reply of a call is taken twice");
    }
    co_return **std::move(reply);
  }
};

// A call with a stream both ways. Sending and receiving may go on at the same
// time, in different tasks.
template <typename Request, typename Reply>
class ClientStream : public StreamHandle {
 public:
  using StreamHandle::StreamHandle;

  // As ClientWriter's.
  auto Send(const Request& message) {
    return detail::Sending(&call_->flow(), detail::Serialize(message));
  }
  // Says that there are no more requests; replies may still come. Idempotent.
  auto CloseSend() { return detail::HalfClosing(&call_->flow()); }
  // As ClientReader's.
  auto Receive() { return detail::Receiving<Reply>(&call_->flow()); }
};

namespace detail {

// What generated clients call.

// So that the series of all methods exist from the start.
inline void Announce(const Channel& channel,
                     std::initializer_list<const Method*> methods) {
  for (const Method* method : methods) channel.state()->ObserverOf(*method);
}

template <typename Reply, typename Request>
UnaryCall<Reply> CallUnary(const Channel& channel, const Method& method,
                           const Request& request, CallOptions options) {
  return UnaryCall<Reply>(channel.state(), &method, Serialize(request),
                          std::move(options));
}

// A call that begins with its only request.
template <typename Request>
std::unique_ptr<StreamingCall> CallWith(const Channel& channel,
                                        const Method& method,
                                        const Request& request,
                                        CallOptions options) {
  return std::make_unique<StreamingCall>(
      channel.state(), &method, Serialize(request), std::move(options));
}

// A call that sends a stream.
inline std::unique_ptr<StreamingCall> CallStreaming(const Channel& channel,
                                                    const Method& method,
                                                    CallOptions options) {
  return std::make_unique<StreamingCall>(channel.state(), &method, std::nullopt,
                                         std::move(options));
}

}  // namespace detail
}  // namespace braid::rpc

#endif  // BRAID_RPC_CLIENT_H_
