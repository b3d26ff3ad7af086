// The streams of a call, as handlers see them: what comes in, what goes out.
//
//   Task<absl::Status> WatchStats(rpc::ServerContext&, WatchRequest request,
//                                 rpc::Sink<StatsReply> replies) override {
//     for (;;) {
//       co_await OrReturn(replies.Send(Snapshot()));
//       co_await SleepFor(1s);
//     }
//   }
//
// Both are small handles, copied freely; they are good until the handler has
// ended, in every task that it starts. Threads: the loop's. What a client holds
// is in client.h.

#ifndef BRAID_RPC_STREAM_H_
#define BRAID_RPC_STREAM_H_

#include "braid/rpc/detail/message_flow.h"

namespace braid::rpc {

// The replies of a method that streams them.
template <typename Message>
class Sink {
 public:
  explicit Sink(detail::MessageFlow* flow) : flow_(flow) {}

  // Gives `message` to the call. Completes when it has been taken, which is
  // when the message before it has been passed on: a client that reads slowly
  // holds up the sender. co_await gives absl::Status: an error if the call is
  // over. Stopped: the message was not sent. Several tasks may send; they take
  // turns.
  auto Send(const Message& message) {
    return detail::Sending(flow_, detail::Serialize(message));
  }

 private:
  detail::MessageFlow* flow_;
};

// The requests of a method that takes a stream of them.
template <typename Message>
class Source {
 public:
  explicit Source(detail::MessageFlow* flow) : flow_(flow) {}

  // The next message; nullopt when the client has sent its last one. co_await
  // gives absl::StatusOr<std::optional<Message>>: INTERNAL if it can't be
  // parsed. A client that goes away cancels the handler; that doesn't look like
  // an end. Cancelled at any time; no message is lost. One task at a time
  // (IsBusy).
  auto Receive() { return detail::Receiving<Message>(flow_); }

 private:
  detail::MessageFlow* flow_;
};

}  // namespace braid::rpc

#endif  // BRAID_RPC_STREAM_H_
