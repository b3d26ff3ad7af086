#include "braid/os/signals.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "braid/backend/backend.h"
#include "braid/backend/host.h"
#include "braid/core/check.h"
#include "braid/core/detail/loop.h"
#include "braid/core/loop_local.h"
#include "braid/core/status.h"

namespace braid {
namespace {

// Signals are posted to the loop as long as a stream is open.
struct OpenStreams {
  size_t count = 0;
  ~OpenStreams() {
    detail::Check(count == 0,
                  "a SignalStream is still open when its loop ends; destroy "
                  "it, or Close it, in a task");
  }
};

constexpr LoopLocal<OpenStreams> open_streams;

}  // namespace

// Lives until the stream is closed, no operation is left, and the loop's inbox
// has let go of it.
class SignalStream::State final : private SignalListener,
                                  private detail::InboxNode {
 public:
  State(detail::Loop& loop, std::shared_ptr<Host> host)
      : InboxNode(&Arrived), loop_(loop), host_(std::move(host)) {}

  absl::Status Listen(std::span<const int> signals) {
    OpenStreams& open = open_streams.Get();  // may throw, as long as it may
    absl::Status status = host_->Listen(*this, signals);
    if (status.ok()) ++open.count;
    return status;
  }

  void AddRef() { ++references_; }
  void DropRef() {
    if (--references_ == 0) delete this;
  }

  // The next signal in turn, 0 if none has come.
  int Take() {
    const uint64_t pending = pending_.load(std::memory_order_acquire);
    if (pending == 0) return 0;
    // Those above the one that was read last, then the others.
    const uint64_t above = last_ >= 64 ? 0 : pending & (~uint64_t{0} << last_);
    last_ = std::countr_zero(above != 0 ? above : pending) + 1;
    pending_.fetch_and(~Bit(last_), std::memory_order_acq_rel);
    return last_;
  }

  void Close() noexcept {
    if (closed_) return;
    closed_ = true;
    host_->StopListening(*this);
    --open_streams.Get().count;
    std::array<int, 64> unread;  // no allocation in a destructor
    size_t count = 0;
    while (int signal = Take()) unread.at(count++) = signal;
    // What was posted comes to us yet: the loop must not end before.
    if (posted_.load(std::memory_order_acquire)) {
      loop_.Hold();
      AddRef();
    }
    if (NextOp* waiter = std::exchange(waiter_, nullptr)) {
      waiter->error_ = ClosedError("wait for a signal: the stream is closed");
      waiter->Complete();
    }
    host_->Redeliver(std::span(unread).first(count));
  }

  bool closed() const { return closed_; }

  NextOp* waiter_ = nullptr;

 private:
  static uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }

  // In a signal handler. Everything here is lock-free, and Post makes at most a
  // write to an eventfd.
  void OnSignal(int signal) noexcept override {
    pending_.fetch_or(Bit(signal), std::memory_order_acq_rel);
    if (!posted_.exchange(true, std::memory_order_acq_rel)) loop_.Post(this);
  }

  static void Arrived(detail::InboxNode& node) {
    auto& self = static_cast<State&>(node);
    self.posted_.exchange(false, std::memory_order_acq_rel);
    if (self.closed_) {
      self.loop_.Release();
      self.DropRef();
      return;
    }
    if (self.waiter_ == nullptr) return;
    if (int signal = self.Take()) {
      NextOp* waiter = std::exchange(self.waiter_, nullptr);
      waiter->signal_ = signal;
      waiter->Complete();
    }
  }

  detail::Loop& loop_;
  std::shared_ptr<Host> host_;
  std::atomic<uint64_t> pending_ = 0;
  std::atomic<bool> posted_ = false;
  static_assert(std::atomic<uint64_t>::is_always_lock_free &&
                std::atomic<bool>::is_always_lock_free);
  int last_ = 0;
  bool closed_ = false;
  uint32_t references_ = 1;
};

absl::StatusOr<SignalStream> SignalStream::Open(const SignalSet& signals) {
  struct Drop {
    void operator()(State* state) const { state->DropRef(); }
  };
  std::unique_ptr<State, Drop> state(
      new State(detail::Loop::Current(), CurrentBackend().shared_host()));
  if (absl::Status status = state->Listen(signals.span()); !status.ok())
    return status;
  return SignalStream(state.release());
}

SignalStream::SignalStream(SignalStream&& other) noexcept
    : state_(std::exchange(other.state_, nullptr)) {}

SignalStream& SignalStream::operator=(SignalStream&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

SignalStream::~SignalStream() {
  if (state_ == nullptr) return;
  state_->Close();
  state_->DropRef();
}

void SignalStream::Close() noexcept { Use()->Close(); }

SignalStream::State* SignalStream::Use() const {
  detail::Check(state_ != nullptr,
                "a SignalStream is used after it was moved from");
  return state_;
}

SignalStream::NextOp::NextOp(State* state) : state_(state) { state_->AddRef(); }

SignalStream::NextOp::~NextOp() { state_->DropRef(); }

bool SignalStream::NextOp::Try() {
  if (state_->closed()) {
    error_ = ClosedError("wait for a signal: the stream is closed");
    return true;
  }
  if (state_->waiter_ != nullptr) {
    error_ = BusyError(
        "wait for a signal: another task is already waiting on this stream");
    return true;
  }
  signal_ = state_->Take();
  return signal_ != 0;
}

void SignalStream::NextOp::Suspend() { state_->waiter_ = this; }

void SignalStream::NextOp::Cancel() noexcept {
  state_->waiter_ = nullptr;
  Stop();
}

absl::StatusOr<int> SignalStream::NextOp::TakeResult() noexcept {
  if (!error_.ok()) return error_;
  return signal_;
}

}  // namespace braid
