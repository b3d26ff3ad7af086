// What the ends of a mailbox share. Not for programs.
//
// The rules that hold whenever the lock is free:
//   - tasks wait to send only while the buffer is full: whoever makes room
//     takes the first one's item, on the receiver's thread;
//   - a task that waits keeps its loop alive, so whoever finds it here, under
//     the lock, may post to that loop; and what is posted takes the lock before
//     it lets the task go on, so whoever posts is done with the loop by then;
//   - tasks that wait to receive are served by their own loop only, which is
//     told once that there is something, and then serves all it can.

#ifndef BRAID_THREAD_DETAIL_MAILBOX_STATE_H_
#define BRAID_THREAD_DETAIL_MAILBOX_STATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "braid/core/check.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/detail/loop.h"
#include "braid/core/operation.h"
#include "braid/sync/detail/channel_state.h"
#include "braid/sync/detail/ring.h"

namespace braid::detail {

absl::Status MailboxSendStatus(Transfer transfer);
absl::Status MailboxReceiveError(Transfer transfer);

// A task that waits on one side of a mailbox.
class MailboxWaiter : public OperationBase, public IntrusiveListNode {
 public:
  using OperationBase::Complete;
  using OperationBase::Stop;

 protected:
  MailboxWaiter() = default;
  ~MailboxWaiter() = default;

  Transfer transfer_ = Transfer::kWaiting;

  template <typename T>
  friend class MailboxState;
};

template <typename T>
class MailboxState;

// One that waits to send `*item_`; another thread takes it.
template <typename T>
class MailboxSendWaiter : public MailboxWaiter, private InboxNode {
 protected:
  MailboxSendWaiter() : InboxNode(&Arrived) {}
  ~MailboxSendWaiter() = default;

  T* item_ = nullptr;

 private:
  friend class MailboxState<T>;

  static void Arrived(InboxNode& node) {
    auto& self = static_cast<MailboxSendWaiter&>(node);
    // Whoever posted this has left the loop alone once the lock is free.
    {
      const std::lock_guard lock(self.state_->mutex_);
    }
    self.Complete();
  }

  MailboxState<T>* state_ = nullptr;
  Loop* loop_ = nullptr;
};

// One that waits to receive.
template <typename T>
class MailboxReceiveWaiter : public MailboxWaiter {
 protected:
  ~MailboxReceiveWaiter() = default;

  std::optional<T> item_;

 private:
  friend class MailboxState<T>;
};

template <typename T>
class MailboxState final : public std::enable_shared_from_this<MailboxState<T>>,
                           private InboxNode {
 public:
  using SendWaiter = MailboxSendWaiter<T>;
  using ReceiveWaiter = MailboxReceiveWaiter<T>;

  explicit MailboxState(size_t capacity)
      : InboxNode(&Arrived), capacity_(capacity), ring_(capacity) {}

  void OpenSender() {
    const std::lock_guard lock(mutex_);
    ++senders_;
  }
  void CloseSender() {
    const std::lock_guard lock(mutex_);
    if (--senders_ == 0) WakeReceiver();
  }

  // Moves the item out if there is room: kDone, kBroken, kWaiting. A `waiter`
  // is then in the line for room.
  Transfer Send(T& item, SendWaiter* waiter) {
    const std::lock_guard lock(mutex_);
    if (closed_) return Transfer::kBroken;
    if (ring_.size() < capacity_) {
      ring_.Push(std::move(item));
      WakeReceiver();
      return Transfer::kDone;
    }
    if (waiter != nullptr) {
      waiter->state_ = this;
      waiter->loop_ = &Loop::Current();
      sending_.PushBack(*waiter);
    }
    return Transfer::kWaiting;
  }
  // True: it is out of the line; false: it was served.
  bool StopSending(SendWaiter& waiter) noexcept {
    const std::lock_guard lock(mutex_);
    if (!waiter.linked()) return false;
    sending_.Remove(waiter);
    return true;
  }

  // On the receiving loop.

  // Puts an item into `item` if there is one: kDone, kEnd, kClosed, kWaiting. A
  // `waiter` is then in the line for one.
  Transfer Receive(std::optional<T>& item, ReceiveWaiter* waiter) {
    CheckHome();
    const std::lock_guard lock(mutex_);
    if (closed_) return Transfer::kClosed;
    // Those who came before are served first, soon.
    if (waiting_ == 0) {
      const Transfer transfer = Take(item);
      if (transfer != Transfer::kWaiting) return transfer;
    }
    if (waiter != nullptr) {
      receiving_.PushBack(*waiter);
      ++waiting_;
    }
    return Transfer::kWaiting;
  }
  void StopReceiving(ReceiveWaiter& waiter) noexcept {
    const std::lock_guard lock(mutex_);
    --waiting_;
    receiving_.Remove(waiter);
  }
  void CloseReceiver() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      while (SendWaiter* waiter = sending_.PopFront())
        Finish(*waiter, Transfer::kBroken);
      Check(waiting_ == 0 || home_->OnItsThread(),
            "a MailboxReceiver is closed on another thread than that of the "
            "tasks that wait on it");
      for (; waiting_ > 0; --waiting_)
        FinishHere(*receiving_.PopFront(), Transfer::kClosed);
    }
    // Nobody will take what is there. Its destructors may well close ends of
    // this mailbox.
    for (;;) {
      std::optional<T> dropped;
      const std::lock_guard lock(mutex_);
      if (ring_.empty()) return;
      dropped.emplace(ring_.Pop());
    }
  }

 private:
  friend class MailboxSendWaiter<T>;

  void CheckHome() {
    Loop& loop = Loop::Current();
    if (home_ == nullptr) {
      const std::lock_guard lock(mutex_);
      home_ = &loop;
    }
    Check(home_ == &loop,
          "a MailboxReceiver is used on another loop than the one that "
          "received first; give each loop a mailbox of its own");
  }

  // With mutex_ held, from here on.

  // The next item, and room for who waits for that: kDone, kEnd, kWaiting.
  Transfer Take(std::optional<T>& item) {
    if (ring_.empty())
      return senders_ == 0 ? Transfer::kEnd : Transfer::kWaiting;
    item.emplace(ring_.Pop());
    if (SendWaiter* waiter = sending_.PopFront(); waiter != nullptr) {
      ring_.Push(std::move(*waiter->item_));
      Finish(*waiter, Transfer::kDone);
    }
    return Transfer::kDone;
  }
  // It is out of the line.
  static void Finish(SendWaiter& waiter, Transfer transfer) {
    waiter.transfer_ = transfer;
    waiter.loop_->Post(&waiter);
  }
  static void FinishHere(ReceiveWaiter& waiter, Transfer transfer) {
    waiter.transfer_ = transfer;
    waiter.Complete();
  }
  void WakeReceiver() {
    if (waiting_ == 0 || told_) return;
    told_ = true;
    self_ = this->shared_from_this();
    home_->Post(this);
  }

  // On the receiving loop, which was told.
  static void Arrived(InboxNode& node) {
    auto& state = static_cast<MailboxState&>(node);
    std::shared_ptr<MailboxState> self;  // goes after the lock
    const std::lock_guard lock(state.mutex_);
    self = std::move(state.self_);
    state.told_ = false;
    state.ServeReceivers();
  }
  void ServeReceivers() {
    while (ReceiveWaiter* waiter = receiving_.front()) {
      if (!waiter->task()->due()) {
        const Transfer transfer = Take(waiter->item_);
        if (transfer == Transfer::kWaiting) return;
        receiving_.Remove(*waiter);
        FinishHere(*waiter, transfer);
      } else {
        receiving_.Remove(*waiter);
        waiter->Stop();
      }
      --waiting_;
    }
  }

  const size_t capacity_;
  Loop* home_ = nullptr;  // written under mutex_, once, by the receiving loop
  std::mutex mutex_;
  Ring<T> ring_;
  IntrusiveList<SendWaiter> sending_;
  size_t senders_ = 1;
  bool closed_ = false;
  size_t waiting_ = 0;  // in receiving_
  bool told_ = false;   // the receiving loop, which hasn't looked yet
  std::shared_ptr<MailboxState> self_;  // while it is told

  IntrusiveList<ReceiveWaiter> receiving_;
};

}  // namespace braid::detail

#endif  // BRAID_THREAD_DETAIL_MAILBOX_STATE_H_
