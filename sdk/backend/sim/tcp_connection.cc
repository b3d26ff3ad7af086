#include "braid/backend/sim/tcp_connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "braid/backend/sim/kernel.h"

namespace braid::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Of Linux (tcp(7), include/net/tcp.h).
constexpr Duration kLeastTimeout = milliseconds(200);
constexpr Duration kMostTimeout = seconds(120);
constexpr int kSynRetries = 6;               // tcp_syn_retries: 127 s in all
constexpr int kSynAckRetries = 5;            // tcp_synack_retries
constexpr int kRetries = 15;                 // tcp_retries2: about 15 minutes
constexpr int kOrphanRetries = 8;            // tcp_orphan_retries
constexpr Duration kFinWait = seconds(60);   // tcp_fin_timeout
constexpr Duration kTimeWait = seconds(60);  // TCP_TIMEWAIT_LEN
constexpr int kDuplicateAcks = 3;            // RFC 5681, 3.2

}  // namespace

TcpConnection::TcpConnection(Kernel& kernel, const SocketAddress& local,
                             const SocketAddress& peer, const Options& options)
    : kernel_(kernel),
      local_(local),
      peer_(peer),
      options_(options),
      first_(kernel.NextSequence()),
      unacked_(first_),
      next_(first_ + 1),
      out_begin_(first_ + 1) {}

TcpConnection::~TcpConnection() { kernel_.events().Remove(timer_); }

uint64_t TcpConnection::room() const {
  return options_.receive_capacity -
         std::min(options_.receive_capacity, in_.size());
}

Packet TcpConnection::Make(uint8_t flags, uint64_t seq) const {
  Packet packet;
  packet.kind = Packet::Kind::kTcp;
  packet.from = local_;
  packet.to = peer_;
  packet.flags = flags;
  packet.seq = seq;
  if (packet.Has(Packet::kAck)) packet.ack = received_;
  return packet;
}

void TcpConnection::Transmit(Packet packet) {
  if (packet.Has(Packet::kAck)) {
    // A window is never taken back.
    advertised_ = std::max(advertised_, received_ + room());
    packet.window = advertised_ - received_;
  }
  kernel_.Transmit(std::move(packet));
}

void TcpConnection::SendAck() { Transmit(Make(Packet::kAck, next_)); }

void TcpConnection::SendSyn() {
  Packet syn = Make(
      state_ == State::kSynSent ? Packet::kSyn : Packet::kSyn | Packet::kAck,
      first_);
  syn.window = options_.receive_capacity;
  syn.mss = options_.mss;
  Transmit(std::move(syn));
}

void TcpConnection::Connect() {
  state_ = State::kSynSent;
  timed_ = next_;
  timed_at_ = kernel_.now();
  SendSyn();
  ArmTimer();
}

void TcpConnection::Answer(const Packet& syn) {
  state_ = State::kSynReceived;
  received_ = syn.seq + 1;
  options_.mss = std::min(options_.mss, syn.mss);
  limit_ = unacked_ + 1 + syn.window;
  SendSyn();
  ArmTimer();
}

void TcpConnection::Receive(const Packet& packet) {
  const auto self = shared_from_this();
  if (state_ == State::kGone) return;
  if (state_ == State::kSynSent) return ReceiveInSynSent(packet);

  if (packet.Has(Packet::kRst)) {
    if (packet.seq == received_) {
      if (state_ == State::kSynReceived || state_ == State::kTimeWait)
        return Vanish();
      // A peer that had ended its side already: EPIPE, as Linux has it.
      return Fail(peer_ended_ ? EPIPE : ECONNRESET);
    }
    // Maybe it has overtaken bytes: asked again, its sender gives the number
    // that it needs (RFC 5961, 3.2).
    if (packet.seq > received_ && packet.seq <= advertised_) SendAck();
    return;
  }
  if (packet.Has(Packet::kSyn)) {
    if (state_ == State::kSynReceived) {
      SendSyn();
    } else {
      SendAck();
    }
    return;
  }
  if (!packet.Has(Packet::kAck)) return;
  if (packet.ack > next_) {
    if (state_ == State::kOpen) SendAck();
    return;
  }
  if (state_ == State::kSynReceived) {
    if (packet.ack <= first_) return;
    if (!EnterOpen()) return;  // it will be told again
  }
  if (state_ == State::kTimeWait) {
    if (!packet.payload.empty() || packet.Has(Packet::kFin)) SendAck();
    return;
  }
  TakeAck(packet);
  const bool must_answer = TakePayload(packet);
  if (state_ != State::kOpen) return;
  Output(must_answer);
  AfterProgress();
}

void TcpConnection::ReceiveInSynSent(const Packet& packet) {
  const bool ours = packet.Has(Packet::kAck) && packet.ack == next_;
  if (packet.Has(Packet::kRst)) {
    if (ours) Fail(ECONNREFUSED);
    return;
  }
  if (!ours || !packet.Has(Packet::kSyn)) return;
  state_ = State::kOpen;
  received_ = packet.seq + 1;
  options_.mss = std::min(options_.mss, packet.mss);
  TakeAck(packet);
  Output(/*must_answer=*/true);
  Notify(IoDirection::kOut);
}

bool TcpConnection::EnterOpen() {
  if (listener_ == nullptr || !kernel_.Accepts(*listener_)) return false;
  state_ = State::kOpen;
  SimSocket* listener = std::exchange(listener_, nullptr);
  kernel_.Established(*listener, shared_from_this());
  return true;
}

void TcpConnection::TakeAck(const Packet& packet) {
  const uint64_t old_limit = limit_;
  const bool newer = packet.seq > window_seq_ ||
                     (packet.seq == window_seq_ && packet.ack >= window_ack_);
  if (newer) {
    window_seq_ = packet.seq;
    window_ack_ = packet.ack;
    limit_ = std::max(limit_, packet.ack + packet.window);
  }
  if (packet.ack > unacked_) {
    if (timed_.has_value() && packet.ack >= *timed_) {
      const Duration sample = kernel_.now() - timed_at_;
      if (smoothed_ == Duration::zero()) {
        smoothed_ = sample;
        variation_ = sample / 2;
      } else {
        const Duration difference =
            sample > smoothed_ ? sample - smoothed_ : smoothed_ - sample;
        variation_ = (3 * variation_ + difference) / 4;
        smoothed_ = (7 * smoothed_ + sample) / 8;
      }
      base_timeout_ = std::clamp<Duration>(smoothed_ + 4 * variation_,
                                           kLeastTimeout, kMostTimeout);
      timed_.reset();
    }
    unacked_ = packet.ack;
    duplicate_acks_ = 0;
    retries_ = 0;
    timeout_ = base_timeout_;
    const uint64_t bytes_until = std::min(unacked_, written_until());
    if (bytes_until > out_begin_) {
      out_.Drop(bytes_until - out_begin_);
      out_begin_ = bytes_until;
    }
    end_acked_ = end_sent_ && unacked_ == next_;
    // More than one was lost: the next hole.
    if (unacked_ < recover_ && in_flight()) RetransmitFirst();
    kernel_.events().Remove(timer_);
    Notify(IoDirection::kOut);
  } else if (packet.ack == unacked_ && packet.payload.empty() && in_flight() &&
             limit_ == old_limit && !packet.Has(Packet::kFin)) {
    if (++duplicate_acks_ == kDuplicateAcks && unacked_ >= recover_) {
      recover_ = next_;
      RetransmitFirst();
    }
  } else if (limit_ != old_limit) {
    retries_ = 0;
    timeout_ = base_timeout_;
    kernel_.events().Remove(timer_);
  } else if (!in_flight()) {
    retries_ = 0;  // a peer without room that answers is there
  }
}

bool TcpConnection::TakePayload(const Packet& packet) {
  const bool has_end = packet.Has(Packet::kFin);
  if (packet.payload.empty() && !has_end) {
    // A probe of something that was there already.
    return packet.seq < received_;
  }
  uint64_t seq = packet.seq;
  std::string_view payload = packet.payload;
  if (has_end) end_at_ = seq + payload.size();
  if (closed_ && seq + payload.size() > received_) {
    // Nobody is there to take it (RFC 9293, 3.6.1).
    Abort();
    return false;
  }
  const uint64_t window_end = std::max(advertised_, received_);
  if (seq < received_) {
    const uint64_t known = std::min<uint64_t>(received_ - seq, payload.size());
    payload.remove_prefix(known);
    seq += known;
  }
  if (seq + payload.size() > window_end) {
    if (seq >= window_end && !payload.empty()) return true;
    payload = payload.substr(0, window_end - std::min(seq, window_end));
  }
  if (!payload.empty()) {
    if (seq == received_) {
      in_.Append(payload);
      received_ += payload.size();
    } else {
      early_.try_emplace(seq, payload);
    }
  }
  bool news = seq <= received_ && !payload.empty();
  while (!early_.empty() && early_.begin()->first <= received_) {
    const auto piece = early_.extract(early_.begin());
    const uint64_t known = received_ - piece.key();
    if (known >= piece.mapped().size()) continue;
    in_.Append(std::string_view(piece.mapped()).substr(known));
    received_ = piece.key() + piece.mapped().size();
    news = true;
  }
  if (end_at_.has_value() && received_ == *end_at_ && !peer_ended_) {
    TakeEnd();
    news = true;
  }
  if (news) Notify(IoDirection::kIn);
  return true;
}

void TcpConnection::TakeEnd() {
  peer_ended_ = true;
  ++received_;
  we_ended_first_ = end_sent_;
}

void TcpConnection::Output(bool must_answer) {
  if (state_ != State::kOpen) return;
  bool sent = false;
  for (;;) {
    const uint64_t left = written_until() - std::min(next_, written_until());
    if (left > 0) {
      const uint64_t window = limit_ > next_ ? limit_ - next_ : 0;
      const uint64_t count = std::min({uint64_t{options_.mss}, left, window});
      if (count == 0) break;
      // Nagle: a small piece waits while another is under way (RFC 9293,
      // 3.7.4).
      if (!options_.no_delay && count < options_.mss && in_flight() &&
          !end_wanted_)
        break;
      const bool last = count == left && end_wanted_;
      Packet packet =
          Make(last ? Packet::kAck | Packet::kFin : Packet::kAck, next_);
      packet.payload = out_.view().substr(next_ - out_begin_, count);
      next_ += count + (last ? 1 : 0);
      end_sent_ = end_sent_ || last;
      if (!timed_.has_value()) {
        timed_ = next_;
        timed_at_ = kernel_.now();
      }
      Transmit(std::move(packet));
      sent = true;
      continue;
    }
    if (!end_wanted_ || end_sent_) break;
    end_sent_ = true;
    Transmit(Make(Packet::kAck | Packet::kFin, next_++));
    sent = true;
  }
  if (must_answer && !sent) SendAck();
  ArmTimer();
}

void TcpConnection::RetransmitFirst() {
  timed_.reset();  // whose answer it would be can't be told (RFC 6298, 3)
  const uint64_t sent_bytes_until = end_sent_ ? next_ - 1 : next_;
  const uint64_t left =
      sent_bytes_until > unacked_ ? sent_bytes_until - unacked_ : 0;
  const uint64_t count = std::min<uint64_t>(options_.mss, left);
  const bool last = end_sent_ && count == left;
  Packet packet =
      Make(last ? Packet::kAck | Packet::kFin : Packet::kAck, unacked_);
  if (count > 0)
    packet.payload = out_.view().substr(unacked_ - out_begin_, count);
  Transmit(std::move(packet));
}

// Both sides have ended, or nobody is left to hear the other.
void TcpConnection::AfterProgress() {
  if (state_ != State::kOpen || !end_acked_) return;
  if (peer_ended_) {
    if (!we_ended_first_) return Vanish();
    state_ = State::kTimeWait;
    kernel_.events().Remove(timer_);
    timer_ = kernel_.events().Add(
        kernel_.now() + kTimeWait, [this] { Vanish(); },
        EventQueue::Kind::kBackground);
  } else if (closed_ && timer_ == EventQueue::Id()) {
    timer_ = kernel_.events().Add(
        kernel_.now() + kFinWait, [this] { Vanish(); },
        EventQueue::Kind::kBackground);
  }
}

void TcpConnection::ArmTimer() {
  const bool needed = state_ == State::kSynSent ||
                      state_ == State::kSynReceived || in_flight() ||
                      written_until() > next_;
  if (!needed) return kernel_.events().Remove(timer_);
  if (timer_ != EventQueue::Id()) return;
  // Nothing is lost on the way to oneself: asking whether there is room then
  // changes nothing.
  const bool useless = !in_flight() && kernel_.Owns(peer_);
  timer_ = kernel_.events().Add(
      kernel_.now() + timeout_,
      [this] {
        const std::shared_ptr<Kernel> kernel = kernel_.shared_from_this();
        timer_ = EventQueue::Id();
        OnTimer();
        kernel->Flush();
      },
      useless ? EventQueue::Kind::kBackground : EventQueue::Kind::kForeground);
}

void TcpConnection::OnTimer() {
  const auto self = shared_from_this();
  const int limit = state_ == State::kSynSent       ? kSynRetries
                    : state_ == State::kSynReceived ? kSynAckRetries
                    : closed_                       ? kOrphanRetries
                                                    : kRetries;
  if (++retries_ > limit) {
    if (state_ == State::kSynReceived || closed_) return Vanish();
    return Fail(ETIMEDOUT);
  }
  timeout_ = std::min(timeout_ * 2, kMostTimeout);
  if (state_ == State::kSynSent || state_ == State::kSynReceived) {
    timed_.reset();
    SendSyn();
  } else if (in_flight()) {
    recover_ = next_;
    RetransmitFirst();
  } else {
    // The peer has no room: asks whether it has by now. A number that it has
    // seen makes it answer.
    Transmit(Make(Packet::kAck, unacked_ - 1));
  }
  ArmTimer();
}

void TcpConnection::Unreachable(int error) {
  // Of an open connection it is no more than a hint (RFC 1122, 4.2.3.9).
  if (state_ == State::kSynSent) Fail(error);
}

size_t TcpConnection::Read(std::span<std::byte> buffer) {
  const size_t count = std::min(buffer.size(), in_.size());
  if (count == 0) return 0;
  std::memcpy(buffer.data(), in_.view().data(), count);
  in_.Drop(count);
  // Says so when there is room for a worthwhile amount more (RFC 9293,
  // 3.8.6.2.2).
  if (state_ == State::kOpen && !peer_ended_ &&
      received_ + room() >=
          advertised_ + std::min<uint64_t>(2 * options_.mss,
                                           options_.receive_capacity / 2)) {
    SendAck();
  }
  return count;
}

size_t TcpConnection::Write(std::string_view bytes) {
  const size_t free =
      options_.send_capacity - std::min(options_.send_capacity, out_.size());
  const size_t count = std::min(free, bytes.size());
  if (count == 0) return 0;
  out_.Append(bytes.substr(0, count));
  Output(/*must_answer=*/false);
  return count;
}

void TcpConnection::EndWriting() {
  if (end_wanted_) return;
  end_wanted_ = true;
  Output(/*must_answer=*/false);
}

void TcpConnection::Close() {
  const auto self = shared_from_this();
  user_ = nullptr;
  closed_ = true;
  switch (state_) {
    case State::kSynSent:
      return Vanish();
    case State::kSynReceived:
    case State::kOpen:
      if (!in_.empty()) return Abort();
      EndWriting();
      return AfterProgress();
    case State::kTimeWait:
    case State::kGone:
      return;
  }
}

void TcpConnection::Abort() {
  if (state_ != State::kGone && state_ != State::kTimeWait)
    Transmit(Make(Packet::kRst | Packet::kAck, next_));
  Vanish();
}

void TcpConnection::Reset() {
  if (state_ != State::kOpen) return;
  const auto self = shared_from_this();
  Transmit(Make(Packet::kRst | Packet::kAck, next_));
  Fail(ECONNRESET);
}

void TcpConnection::Fail(int error) {
  error_ = error;
  out_.Clear();  // and what was received stays
  out_begin_ = next_;
  Vanish();
  Notify(IoDirection::kIn);
  Notify(IoDirection::kOut);
}

void TcpConnection::Vanish() {
  const auto self = shared_from_this();
  state_ = State::kGone;
  kernel_.events().Remove(timer_);
  if (SimSocket* listener = std::exchange(listener_, nullptr))
    kernel_.Forget(*listener, *this);
  kernel_.Forget(*this);
}

void TcpConnection::Notify(IoDirection direction) {
  if (user_ != nullptr) user_->OnReady(direction);
}

}  // namespace braid::detail
