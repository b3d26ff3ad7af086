// One end of a connection that carries calls between simulated hosts.
//
// For: RPC in a simulation, where gRPC can't be: it has threads, clocks and
// sockets of its own. The bytes here go through the simulated kernel's TCP, so
// they are delayed, held up by windows, and cut off with the connection, as
// gRPC's are. Not for anything else: it is not HTTP/2, and nothing outside of a
// simulation speaks it.
//
// A connection carries many calls. Each side begins with a hello. What follows
// are frames of a header, the payload's length (4 bytes, big-endian), the type
// (1 byte) and the call's number (4 bytes), and the payload. A message is one
// frame. Flow control is each call's own: a side may send messages as long as
// it has credit, kWindow bytes at first; a message takes its size and the
// header's of it, even if that is more than what is left, and the other side
// gives it back when the message has been read.
//
// It has no task: it works when the kernel says that there is something to do,
// in the loop's inbox, and is closed by its destructor.

#ifndef BRAID_RPC_SIM_LINK_H_
#define BRAID_RPC_SIM_LINK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "braid/backend/sim/kernel.h"
#include "braid/backend/sim/socket_user.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/loop.h"
#include "braid/rpc/metadata.h"
#include "google/protobuf/repeated_field.h"
#include "sdk/rpc/sim/frames.pb.h"

namespace braid::rpc::detail {

// Calls a function on the loop, soon, once for any number of requests. Goes at
// any time.
class Soon {
 public:
  explicit Soon(absl::AnyInvocable<void()> run)
      : loop_(braid::detail::Loop::Current()), run_(std::move(run)) {}
  Soon(const Soon&) = delete;
  Soon& operator=(const Soon&) = delete;
  ~Soon() { Forget(); }

  void Schedule();
  // Takes the request back.
  void Forget();

 private:
  struct Node;

  braid::detail::Loop& loop_;
  absl::AnyInvocable<void()> run_;
  Node* node_ = nullptr;
};

// Hears of the loop's end, when it may not use the loop any more.
class LoopBound : public braid::detail::IntrusiveListNode {
 public:
  LoopBound(const LoopBound&) = delete;
  LoopBound& operator=(const LoopBound&) = delete;
  virtual void LoopEnds() = 0;

 protected:
  LoopBound();
  ~LoopBound();

 private:
  friend class LoopBounds;
  class LoopBounds* all_;
};

enum class FrameType : uint8_t {
  kHello,
  kBegin,      // a call: Begin
  kMessage,    // both ways
  kHalfClose,  // the client's last message has been sent
  kCancel,     // by the client
  kHeaders,    // of the server: Headers
  kEnd,        // by the server: End
  kCredit,     // 4 bytes: how much more may be sent
  kGoAway,     // the server takes no more calls on this connection
  kPing,
  kPong,
};

inline constexpr int64_t kWindow = 65'536;
inline constexpr size_t kFrameHeader = 9;

class Link : private braid::detail::SocketUser {
 public:
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void Send(FrameType type, uint32_t call, std::string_view payload = {});
  void Send(FrameType type, uint32_t call,
            const google::protobuf::MessageLite& payload);
  void SendCredit(uint32_t call, int64_t bytes);
  // Whether messages may be sent: the connection is not far behind.
  bool roomy() const { return out_.size() < kRoom; }
  // Everything has been given to the kernel.
  bool flushed() const { return out_.empty(); }
  const SocketAddress& peer() const { return peer_; }

 protected:
  // `socket` is connected, or connects. `max_message`: larger ones are
  // OnTooLarge. Nothing happens before Work is called or scheduled.
  Link(std::shared_ptr<braid::detail::Kernel> kernel,
       std::shared_ptr<braid::detail::SimSocket> socket, size_t max_message);
  ~Link();

  void Schedule() { soon_.Schedule(); }

  // The other side is one of these.
  virtual void OnHello() = 0;
  // False: that breaks the rules, and the connection with them.
  virtual bool OnFrame(FrameType type, uint32_t call, std::string payload) = 0;
  // A message, or a call's metadata, that was larger than the limit; it has
  // been thrown away.
  virtual void OnTooLarge(FrameType type, uint32_t call, size_t size) = 0;
  // After each piece of work: what waits for room may be sent.
  virtual void OnWorked() = 0;
  // The connection is gone. The last event; may destroy this.
  virtual void OnLost(std::string_view why) = 0;

 private:
  static constexpr size_t kRoom = 65'536;

  void OnReady(IoDirection) override { Schedule(); }
  void Work();
  // Why the connection is over; empty: it isn't.
  std::string Receive();
  std::string Parse();
  void Write();

  const std::shared_ptr<braid::detail::Kernel> kernel_;
  const std::shared_ptr<braid::detail::SimSocket> socket_;
  const size_t max_message_;
  SocketAddress peer_;
  Soon soon_;
  bool greeted_ = false;  // by the other side
  braid::detail::ByteQueue in_;
  size_t skip_ = 0;  // of a payload that is too large
  braid::detail::ByteQueue out_;
};

// Between the seam's types and the frames'.

using Entries = google::protobuf::RepeatedPtrField<sim::Entry>;
Metadata FromEntries(const Entries& entries);
void ToEntries(const Metadata& metadata, Entries& entries);
sim::End ToEnd(const absl::Status& status, const Metadata& trailers);
// The bytes of credit in a payload; -1 if it is none.
int64_t CreditIn(std::string_view payload);
// What a message takes of the credit.
inline int64_t CostOf(std::string_view message) {
  return static_cast<int64_t>(message.size() + kFrameHeader);
}

// The messages of a call that have come and were not read, and the credit that
// the other side has.
class Inflow {
 public:
  bool empty() const { return messages_.empty(); }
  bool has_credit() const { return granted_ > 0; }
  void Push(std::string message) {
    granted_ -= CostOf(message);
    messages_.push_back(std::move(message));
  }
  void Clear() { messages_.clear(); }
  // The first one. Credit for what was read goes back over `link`, now and
  // then; nullptr: no more will come.
  std::string Pop(Link* link, uint32_t call);

 private:
  std::deque<std::string> messages_;
  int64_t granted_ = kWindow;
  int64_t read_ = 0;  // since credit was given
};

}  // namespace braid::rpc::detail

#endif  // BRAID_RPC_SIM_LINK_H_
