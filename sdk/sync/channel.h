// Channel: hands items from tasks that send to tasks that receive.
//
//   Task<absl::Status> Produce(Sender<Job> out) {
//     while (...) co_await OrReturn(out.Send(NextJob()));
//     co_return absl::OkStatus();  // `out` is closed here
//   }
//
//   auto [sender, receiver] = MakeChannel<Job>(64);
//   group.Start("producer", Produce, std::move(sender));
//   // Until every sender is closed:
//   while (std::optional<Job> job = co_await OrReturn(receiver.Receive())) {
//     ...
//   }
//
// For: passing work and results between tasks, with back-pressure. A channel
// holds up to `capacity` items; with 0 a send completes when a task takes the
// item; kUnbounded never makes a sender wait, and no limit is on its memory.
// Each item goes to one receiver. Where only the latest value counts, use
// Watch. Not for: threads; a channel belongs to the thread of the loop that
// awaits it first (checked), and may be built and filled where no loop runs.
//
// Rules:
//   - Items arrive in the order in which they were sent; tasks that wait, on
//     either side, are served in the order in which they began to wait.
//   - An item is never handed to a task with a pending cancellation.
//   - What completed has happened: a Receive that was handed an item gives it,
//     whatever is cancelled meanwhile. What was stopped has not: the item that
//     was to be sent is where it was (see Send).
//   - Each side has one or more ends, made by Clone(). When the last sender
//     closes, receivers get what is in the buffer and then the end of the
//     stream. When the last receiver closes, the buffer is dropped, and sending
//     gives BrokenError. Tasks that wait on an end that is closed get
//     ClosedError; so does its later use.
//
// Cost: the buffer is allocated once (without limit: as it grows), an operation
// allocates nothing.

#ifndef BRAID_SYNC_CHANNEL_H_
#define BRAID_SYNC_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/operation.h"
#include "braid/sync/detail/channel_state.h"

namespace braid {
namespace detail {

absl::Status SendError(Transfer transfer);
absl::Status ReceiveError(Transfer transfer);

// What a sender and a receiver have in common. `Side` is one of them.
template <typename Side, typename T>
class ChannelEnd {
 public:
  // Closed.
  ChannelEnd() = default;
  ChannelEnd(ChannelEnd&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)), id_(other.id_) {}
  ChannelEnd& operator=(ChannelEnd&& other) noexcept {
    if (this != &other) {
      Close();
      state_ = std::exchange(other.state_, nullptr);
      id_ = other.id_;
    }
    return *this;
  }

  // Another end on the same side; closed if this one is.
  Side Clone() const { return state_ == nullptr ? Side() : Side::Open(state_); }

  // Tasks that wait on this end get ClosedError, and so does its later use.
  // Idempotent. Resumes nothing inline: may be called from any destructor.
  void Close() {
    if (state_ != nullptr) Side::CloseIn(*std::exchange(state_, nullptr), id_);
  }
  // Also if it was moved from.
  bool closed() const { return state_ == nullptr; }

  // Linear in the number of waiting tasks.
  ChannelStats stats() const {
    return state_ == nullptr ? ChannelStats() : state_->stats();
  }

 protected:
  ChannelEnd(ChannelState<T>* state, uint64_t id) : state_(state), id_(id) {}
  ~ChannelEnd() { Close(); }

  ChannelState<T>* state_ = nullptr;
  uint64_t id_ = 0;
};

}  // namespace detail

template <typename T>
struct Channel;
template <typename T>
Channel<T> MakeChannel(size_t capacity);

// The end of a channel that sends. Closed by its destructor. It may be moved,
// closed or destroyed while tasks wait on it.
template <typename T>
class Sender : public detail::ChannelEnd<Sender<T>, T> {
 public:
  Sender() = default;

  // Completes when the item is in the buffer or with a receiver. BrokenError if
  // no receiver is left, ClosedError if this end is closed.
  //
  // An rvalue is moved from only when it is sent: on an error, and if the
  // operation is stopped, it is as it was, where it was. So a send that may be
  // given up loses nothing:
  //
  //   if (!co_await MoveOnAfter(1s, sender.Send(std::move(item)))) {
  //     Park(std::move(item));
  //   }
  //
  // It must outlive the await; a temporary does, in the full expression that
  // awaits it. An lvalue is copied at once.
  auto Send(T&& item ABSL_ATTRIBUTE_LIFETIME_BOUND) {
    if constexpr (kCopyIsMove) {
      return Operation<SendCopy, Sender*, T>(this, item);
    } else {
      return Operation<SendFrom, Sender*, T*>(this, &item);
    }
  }
  auto Send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    return Operation<SendCopy, Sender*, T>(this, item);
  }

  // Send where it can complete at once, else WouldBlockError (IsWouldBlock).
  // Doesn't look for cancellation. The item is moved from only if it is sent.
  absl::Status TrySend(T&& item) {
    if (this->state_ == nullptr) return Result(detail::Transfer::kClosed);
    return Result(this->state_->template Send<false>(item));
  }
  absl::Status TrySend(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    return TrySend(T(item));
  }

 private:
  friend class detail::ChannelEnd<Sender, T>;
  friend Channel<T> MakeChannel<T>(size_t capacity);

  // Nothing can be lost of these, and nothing can dangle.
  static constexpr bool kCopyIsMove =
      std::is_trivially_copyable_v<T> && sizeof(T) <= 2 * sizeof(void*);

  class SendOp : public detail::SendWaiter<T> {
   public:
    [[gnu::always_inline]] bool Try() {
      detail::ChannelState<T>* state = sender_->state_;
      if (state == nullptr) [[unlikely]] {
        this->transfer_ = detail::Transfer::kClosed;
        return true;
      }
      this->transfer_ = state->template Send<true>(*this->item_);
      return this->transfer_ != detail::Transfer::kWaiting;
    }
    void Suspend() {
      this->end_ = sender_->id_;
      sender_->state_->WaitToSend(*this);
    }
    absl::Status TakeResult() noexcept { return Result(this->transfer_); }
    bool Failed() const noexcept {
      return this->transfer_ != detail::Transfer::kDone;
    }
    void TakeValue() noexcept {}

   protected:
    explicit SendOp(Sender* sender) : sender_(sender) {}
    ~SendOp() = default;

   private:
    Sender* sender_;
  };
  class SendFrom final : public SendOp {
   public:
    SendFrom(Sender* sender, T* item) : SendOp(sender) { this->item_ = item; }
  };
  class SendCopy final : public SendOp {
   public:
    SendCopy(Sender* sender, T item) : SendOp(sender), copy_(std::move(item)) {
      this->item_ = &copy_;
    }

   private:
    T copy_;
  };

  static absl::Status Result(detail::Transfer transfer) {
    if (transfer == detail::Transfer::kDone) [[likely]] {
      return absl::OkStatus();
    }
    return detail::SendError(transfer);
  }

  static Sender Open(detail::ChannelState<T>* state) {
    return Sender(state, state->OpenSender());
  }
  static void CloseIn(detail::ChannelState<T>& state, uint64_t id) {
    state.CloseSender(id);
  }

  using detail::ChannelEnd<Sender, T>::ChannelEnd;
};

// The end of a channel that receives. Closed by its destructor. It may be
// moved, closed or destroyed while tasks wait on it.
template <typename T>
class Receiver : public detail::ChannelEnd<Receiver<T>, T> {
 public:
  Receiver() = default;

  // Completes with the next item, or with nothing at the end of the stream:
  // every sender is closed and the buffer empty. ClosedError if this end is
  // closed. Stopped: no item was taken.
  auto Receive() { return Operation<ReceiveOp, Receiver*>(this); }

  // Receive where it can complete at once, else WouldBlockError (IsWouldBlock).
  // Doesn't look for cancellation.
  absl::StatusOr<std::optional<T>> TryReceive() {
    if (this->state_ == nullptr) {
      return detail::ReceiveError(detail::Transfer::kClosed);
    }
    Place place;
    const detail::Transfer transfer =
        this->state_->template Receive<false>(place);
    if (transfer == detail::Transfer::kDone ||
        transfer == detail::Transfer::kEnd) {
      return std::move(place.item);
    }
    return detail::ReceiveError(transfer);
  }

 private:
  friend class detail::ChannelEnd<Receiver, T>;
  friend Channel<T> MakeChannel<T>(size_t capacity);

  struct Place {
    void Put(T&& received) { item = std::move(received); }
    std::optional<T> item;
  };

  class ReceiveOp final : public detail::ReceiveWaiter<T> {
   public:
    explicit ReceiveOp(Receiver* receiver) : receiver_(receiver) {}
    [[gnu::always_inline]] bool Try() {
      detail::ChannelState<T>* state = receiver_->state_;
      if (state == nullptr) [[unlikely]] {
        this->transfer_ = detail::Transfer::kClosed;
        return true;
      }
      this->transfer_ = state->template Receive<true>(*this);
      return this->transfer_ != detail::Transfer::kWaiting;
    }
    void Suspend() {
      this->end_ = receiver_->id_;
      receiver_->state_->WaitToReceive(*this);
    }
    absl::StatusOr<std::optional<T>> TakeResult() noexcept {
      if (this->transfer_ == detail::Transfer::kDone) [[likely]] {
        return absl::StatusOr<std::optional<T>>(absl::in_place,
                                                std::move(this->item_));
      }
      if (this->transfer_ == detail::Transfer::kEnd) return std::nullopt;
      return detail::ReceiveError(this->transfer_);
    }
    bool Failed() const noexcept {
      return this->transfer_ != detail::Transfer::kDone &&
             this->transfer_ != detail::Transfer::kEnd;
    }
    std::optional<T> TakeValue() noexcept {
      if (this->transfer_ == detail::Transfer::kEnd) return std::nullopt;
      return std::optional<T>(std::move(this->item_));
    }

   private:
    Receiver* receiver_;
  };

  static Receiver Open(detail::ChannelState<T>* state) {
    return Receiver(state, state->OpenReceiver());
  }
  static void CloseIn(detail::ChannelState<T>& state, uint64_t id) {
    state.CloseReceiver(id);
  }

  using detail::ChannelEnd<Receiver, T>::ChannelEnd;
};

// Both ends of a new channel.
template <typename T>
struct Channel {
  Sender<T> sender;
  Receiver<T> receiver;
};

// Makes a channel that holds up to `capacity` items; 0 and kUnbounded as above.
template <typename T>
Channel<T> MakeChannel(size_t capacity) {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "an item whose move can throw could be lost on its way; send "
                "a std::unique_ptr to it");
  auto* state = new detail::ChannelState<T>(capacity);
  return {Sender<T>::Open(state), Receiver<T>::Open(state)};
}

}  // namespace braid

#endif  // BRAID_SYNC_CHANNEL_H_
