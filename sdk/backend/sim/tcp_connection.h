// One end of a TCP connection in a simulated kernel. Not for programs.
//
// RFC 9293 as an application can see it: handshake, sliding windows, orderly
// and abortive ends, TIME_WAIT, retransmission (RFC 6298, with Linux' limits),
// fast retransmission after three duplicate acknowledgements. Left out, as
// nobody above could tell: congestion control, delayed and selective
// acknowledgements, options other than the segment size. Sequence numbers have
// 64 bits and never repeat, so old segments are always told from new ones.

#ifndef BRAID_BACKEND_SIM_TCP_CONNECTION_H_
#define BRAID_BACKEND_SIM_TCP_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "braid/backend/sim/event_queue.h"
#include "braid/backend/sim/packet.h"
#include "braid/backend/sim/socket_user.h"
#include "braid/backend/socket_address.h"
#include "braid/core/time.h"

namespace braid::detail {

class Kernel;
struct SimSocket;

// Bytes in order, added at the end and taken from the front.
class ByteQueue {
 public:
  size_t size() const { return bytes_.size() - taken_; }
  bool empty() const { return size() == 0; }
  std::string_view view() const {
    return std::string_view(bytes_).substr(taken_);
  }
  void Append(std::string_view more) { bytes_.append(more); }
  void Drop(size_t count) {
    taken_ += count;
    // Moves what is left only when that is less than what goes.
    if (taken_ * 2 < bytes_.size()) return;
    bytes_.erase(0, taken_);
    taken_ = 0;
  }
  void Clear() {
    bytes_.clear();
    taken_ = 0;
  }

 private:
  std::string bytes_;
  size_t taken_ = 0;
};

class TcpConnection : public std::enable_shared_from_this<TcpConnection> {
 public:
  struct Options {
    bool v6 = false;  // addresses are shown in their IPv6 form
    bool no_delay = true;
    // Its port may be listened on.
    bool reuse_address = false;
    size_t receive_capacity = 0;
    size_t send_capacity = 0;
    size_t mss = 0;
  };
  enum class State : uint8_t {
    kSynSent,
    kSynReceived,
    kOpen,  // and what follows, until both directions have ended
    kTimeWait,
    kGone,  // the kernel has forgotten it
  };

  TcpConnection(Kernel& kernel, const SocketAddress& local,
                const SocketAddress& peer, const Options& options);
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;
  ~TcpConnection();

  const SocketAddress& local() const { return local_; }
  const SocketAddress& peer() const { return peer_; }
  const Options& options() const { return options_; }
  State state() const { return state_; }
  uint64_t received_until() const { return received_; }

  void set_user(SocketUser* user) { user_ = user; }
  // Until it is accepted.
  void set_listener(SimSocket* listener) { listener_ = listener; }

  // Begins.
  void Connect();
  void Answer(const Packet& syn);

  // From the network.
  void Receive(const Packet& packet);
  void Unreachable(int error);

  // For its user. What it died of, an errno; 0 while it lives.
  int error() const { return error_; }
  // Bytes, the end or an error are there.
  bool readable() const { return !in_.empty() || peer_ended_ || error_ != 0; }
  // Bytes that are there come before an error. 0: none are.
  size_t Read(std::span<std::byte> buffer);
  bool peer_ended() const { return peer_ended_; }
  // How much was taken.
  size_t Write(std::string_view bytes);
  void EndWriting();
  bool ended_writing() const { return end_wanted_; }

  // The user goes: ends it in good order if nothing is left unread, with a
  // reset otherwise.
  void Close();
  // Ends it with a reset.
  void Abort();
  // Something on the way resets it, for both sides.
  void Reset();
  // The kernel goes: nothing more happens.
  void Vanish();

 private:
  // What was written and isn't acknowledged begins at unacked_, the first
  // number that was not sent yet is next_.
  uint64_t written_until() const { return out_begin_ + out_.size(); }
  uint64_t room() const;
  bool in_flight() const { return unacked_ < next_; }

  Packet Make(uint8_t flags, uint64_t seq) const;
  void Transmit(Packet packet);
  void SendAck();
  void SendSyn();
  // Sends what the peer has room for, and at least an acknowledgement if
  // `must_answer`.
  void Output(bool must_answer);
  void RetransmitFirst();

  void ReceiveInSynSent(const Packet& packet);
  bool EnterOpen();  // false: the listener has no room
  void TakeAck(const Packet& packet);
  // True: it has to be answered.
  bool TakePayload(const Packet& packet);
  void TakeEnd();
  void Fail(int error);
  void AfterProgress();

  void ArmTimer();
  void OnTimer();
  void Notify(IoDirection direction);

  Kernel& kernel_;
  const SocketAddress local_;
  const SocketAddress peer_;
  Options options_;
  State state_ = State::kSynSent;
  SocketUser* user_ = nullptr;
  SimSocket* listener_ = nullptr;
  bool closed_ = false;  // by its user, who is gone
  int error_ = 0;

  // Sending.
  uint64_t first_;  // of the SYN
  uint64_t unacked_;
  uint64_t next_;
  uint64_t limit_ = 0;  // where the peer's window ends
  uint64_t window_seq_ = 0;
  uint64_t window_ack_ = 0;
  ByteQueue out_;
  uint64_t out_begin_;
  bool end_wanted_ = false;
  bool end_sent_ = false;
  bool end_acked_ = false;
  bool we_ended_first_ = false;
  int duplicate_acks_ = 0;
  uint64_t recover_ = 0;  // what was sent when a loss was noticed

  // Receiving.
  uint64_t received_ = 0;  // up to here, in order
  uint64_t advertised_ = 0;
  ByteQueue in_;
  std::map<uint64_t, std::string> early_;
  std::optional<uint64_t> end_at_;
  bool peer_ended_ = false;

  // Time.
  EventQueue::Id timer_;
  Duration timeout_ = std::chrono::seconds(1);
  Duration base_timeout_ = std::chrono::seconds(1);
  Duration smoothed_{};
  Duration variation_{};
  std::optional<uint64_t> timed_;  // the number whose acknowledgement is timed
  Time timed_at_{};
  int retries_ = 0;
};

}  // namespace braid::detail

#endif  // BRAID_BACKEND_SIM_TCP_CONNECTION_H_
