// Mailbox: a channel from other loops and threads to one loop.
//
//   auto [sender, receiver] = MakeMailbox<Job>(64);
//   // Anywhere, with a copy of the sender:
//   co_await OrReturn(sender.Send(Job(...)));
//   // On the loop that works:
//   while (std::optional<Job> job = co_await OrReturn(receiver.Receive())) {
//     ...
//   }
//
// For: shards that work for each other, and threads that hand work to a loop,
// with back-pressure. Within one loop, Channel is faster. It holds up to
// `capacity` items (at least 1).
//
// Rules, as for Channel:
//   - Items arrive in the order in which they were sent; tasks that wait, on
//     either side, are served in the order in which they began to wait.
//   - What completed has happened: a Receive that was handed an item gives it,
//     whatever is cancelled meanwhile. What was stopped has not: the item that
//     was to be sent is where it was (see Send). So none is lost and none comes
//     twice.
//   - When the last sender closes, receivers get what is there and then the end
//     of the stream. When the receiver closes, what is there is dropped, and
//     sending gives BrokenError.
//
// A loop that ends doesn't close what lives on: items wait for a receiver that
// nobody reads, and senders for room, until the receiver is destroyed.
//
// Cost: a lock of a mutex, held for a move of an item, and nothing is
// allocated. A waiting receiver is woken once for all that was sent until its
// loop looks.
//
// Threads: T is moved, and destroyed, on those of both sides.

#ifndef BRAID_THREAD_MAILBOX_H_
#define BRAID_THREAD_MAILBOX_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "braid/core/operation.h"
#include "braid/thread/detail/mailbox_state.h"

namespace braid {

template <typename T>
struct Mailbox;
template <typename T>
Mailbox<T> MakeMailbox(size_t capacity);

// Copies are senders of their own. Each may be used, moved, closed and
// destroyed on any thread, by one at a time.
template <typename T>
class MailboxSender {
 public:
  // Closed.
  MailboxSender() = default;
  MailboxSender(const MailboxSender& other) : state_(other.state_) {
    if (state_ != nullptr) state_->OpenSender();
  }
  MailboxSender(MailboxSender&& other) noexcept = default;
  MailboxSender& operator=(MailboxSender other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~MailboxSender() { Close(); }

  // Completes when the item is in the mailbox. BrokenError if the receiver is
  // closed, ClosedError if this sender is. A sender may be closed while a task
  // waits in it: the wait goes on.
  //
  // An rvalue is moved from only when it is sent: on an error, and if the
  // operation is stopped, it is as it was, where it was. It must outlive the
  // await; a temporary does, in the full expression that awaits it. An lvalue
  // is copied at once. Threads: any loop's.
  auto Send(T&& item ABSL_ATTRIBUTE_LIFETIME_BOUND) {
    if constexpr (kCopyIsMove) {
      return Operation<SendCopy, State, T>(state_, item);
    } else {
      return Operation<SendFrom, State, T*>(state_, &item);
    }
  }
  auto Send(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    return Operation<SendCopy, State, T>(state_, item);
  }

  // Send where it can complete at once, else WouldBlockError (IsWouldBlock).
  // The item is moved from only if it is sent. Threads: any.
  absl::Status TrySend(T&& item) {
    const detail::Transfer transfer = state_ == nullptr
                                          ? detail::Transfer::kClosed
                                          : state_->Send(item, nullptr);
    return detail::MailboxSendStatus(transfer);
  }
  absl::Status TrySend(const T& item)
    requires std::is_copy_constructible_v<T>
  {
    return TrySend(T(item));
  }

  // Idempotent.
  void Close() {
    if (state_ != nullptr) state_->CloseSender();
    state_ = nullptr;
  }
  // Also if it was moved from.
  bool closed() const { return state_ == nullptr; }

 private:
  friend Mailbox<T> MakeMailbox<T>(size_t capacity);
  using State = std::shared_ptr<detail::MailboxState<T>>;

  // Nothing can be lost of these, and nothing can dangle.
  static constexpr bool kCopyIsMove =
      std::is_trivially_copyable_v<T> && sizeof(T) <= 2 * sizeof(void*);

  class SendOp : public detail::MailboxSendWaiter<T> {
   public:
    // It gets into the line at once: room may come while it looks. What says
    // that it came waits for the loop's next turn.
    bool Try() {
      const detail::Transfer transfer = state_ == nullptr
                                            ? detail::Transfer::kClosed
                                            : state_->Send(*this->item_, this);
      // In the line, it is whoever serves it that says what became of it.
      if (transfer == detail::Transfer::kWaiting) return false;
      this->transfer_ = transfer;
      return true;
    }
    void Suspend() {}
    void Cancel() noexcept override {
      if (state_->StopSending(*this)) this->Stop();
    }
    absl::Status TakeResult() noexcept {
      return detail::MailboxSendStatus(this->transfer_);
    }

   protected:
    explicit SendOp(State state) : state_(std::move(state)) {}
    ~SendOp() = default;

   private:
    const State state_;
  };
  class SendFrom final : public SendOp {
   public:
    SendFrom(State state, T* item) : SendOp(std::move(state)) {
      this->item_ = item;
    }
  };
  class SendCopy final : public SendOp {
   public:
    SendCopy(State state, T item)
        : SendOp(std::move(state)), copy_(std::move(item)) {
      this->item_ = &copy_;
    }

   private:
    T copy_;
  };

  explicit MailboxSender(State state) : state_(std::move(state)) {}

  State state_;
};

// Belongs to the loop that receives first (checked), and closes with its
// destructor: there, or where no task waits on it. It may be moved, closed or
// destroyed while tasks wait on it.
template <typename T>
class MailboxReceiver {
 public:
  // Closed.
  MailboxReceiver() = default;
  MailboxReceiver(MailboxReceiver&& other) noexcept = default;
  MailboxReceiver& operator=(MailboxReceiver&& other) noexcept {
    if (this != &other) {
      Close();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~MailboxReceiver() { Close(); }

  // Completes with the next item, or with nothing at the end of the stream:
  // every sender is closed and the mailbox empty. ClosedError if this receiver
  // is closed, or is while it waits. Stopped: no item was taken.
  auto Receive() { return Operation<ReceiveOp, State>(state_); }

  // Receive where it can complete at once, else WouldBlockError (IsWouldBlock).
  // Doesn't look for cancellation.
  absl::StatusOr<std::optional<T>> TryReceive() {
    std::optional<T> item;
    const detail::Transfer transfer = state_ == nullptr
                                          ? detail::Transfer::kClosed
                                          : state_->Receive(item, nullptr);
    return Result(transfer, std::move(item));
  }

  // Tasks that wait on it get ClosedError, those in its senders BrokenError.
  // Idempotent. Resumes nothing inline: may be called from any destructor.
  void Close() {
    if (state_ != nullptr) state_->CloseReceiver();
    state_ = nullptr;
  }
  // Also if it was moved from.
  bool closed() const { return state_ == nullptr; }

 private:
  friend Mailbox<T> MakeMailbox<T>(size_t capacity);
  using State = std::shared_ptr<detail::MailboxState<T>>;

  class ReceiveOp final : public detail::MailboxReceiveWaiter<T> {
   public:
    explicit ReceiveOp(State state) : state_(std::move(state)) {}
    bool Try() {
      this->transfer_ = state_ == nullptr ? detail::Transfer::kClosed
                                          : state_->Receive(this->item_, this);
      return this->transfer_ != detail::Transfer::kWaiting;
    }
    void Suspend() {}
    void Cancel() noexcept override {
      state_->StopReceiving(*this);
      this->Stop();
    }
    absl::StatusOr<std::optional<T>> TakeResult() noexcept {
      return Result(this->transfer_, std::move(this->item_));
    }

   private:
    const State state_;
  };

  static absl::StatusOr<std::optional<T>> Result(detail::Transfer transfer,
                                                 std::optional<T> item) {
    if (transfer == detail::Transfer::kDone ||
        transfer == detail::Transfer::kEnd) {
      return absl::StatusOr<std::optional<T>>(std::move(item));
    }
    return detail::MailboxReceiveError(transfer);
  }

  explicit MailboxReceiver(State state) : state_(std::move(state)) {}

  State state_;
};

// Both ends of a new mailbox.
template <typename T>
struct Mailbox {
  MailboxSender<T> sender;
  MailboxReceiver<T> receiver;
};

// Makes a mailbox that holds up to `capacity` items, at least 1 (checked).
// Threads: any.
template <typename T>
Mailbox<T> MakeMailbox(size_t capacity) {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "an item whose move can throw could be lost on its way; send "
                "a std::unique_ptr to it");
  detail::Check(capacity > 0 && capacity != kUnbounded,
                "a mailbox has room for one item at least, and a limit");
  auto state = std::make_shared<detail::MailboxState<T>>(capacity);
  return {MailboxSender<T>(state), MailboxReceiver<T>(state)};
}

}  // namespace braid

#endif  // BRAID_THREAD_MAILBOX_H_
