// What the ends of a channel share: the buffer, and who waits on either side.
//
// The rules that hold between any two calls:
//   - tasks wait to receive only while the buffer is empty and nobody waits to
//     send;
//   - tasks wait to send only while the buffer is full (it always is if its
//     capacity is 0);
//   - a task that waits does so on an end that is open, so the state outlives
//     it. Once it is out of the queue its operation doesn't touch the state.

#ifndef BRAID_SYNC_DETAIL_CHANNEL_STATE_H_
#define BRAID_SYNC_DETAIL_CHANNEL_STATE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "braid/core/check.h"
#include "braid/sync/detail/ring.h"
#include "braid/sync/detail/wait_queue.h"

namespace braid {

// A buffer without limit.
inline constexpr size_t kUnbounded = SIZE_MAX;

// A channel as it is now. All zero for an end that is closed.
struct ChannelStatistics {
  size_t buffer_used = 0;
  size_t peak_buffer_used = 0;
  size_t capacity = 0;  // kUnbounded: no limit
  size_t open_senders = 0;
  size_t open_receivers = 0;
  size_t tasks_waiting_to_send = 0;
  size_t tasks_waiting_to_receive = 0;
};

namespace detail {

// How far an attempt to send or to receive has come.
enum class Transfer : uint8_t {
  kWaiting,
  kDone,        // the item is where it should be
  kEnd,         // no more items will come
  kClosed,      // this end is closed
  kBroken,      // nobody is left to receive
  kUnprepared,  // not tried: see ChannelState::Prepare
};

// A task that waits on one end of a channel.
class ChannelWaiter : public WaitOperation {
 public:
  // It is out of the queue, and this is what became of it.
  void Finish(Transfer transfer) {
    transfer_ = transfer;
    Complete();
  }
  uint64_t end() const { return end_; }

 protected:
  ~ChannelWaiter() = default;

  uint64_t end_ = 0;  // the id of the end it waits on
  Transfer transfer_ = Transfer::kWaiting;
};

// One that waits to send `*item`.
template <typename T>
class SendWaiter : public ChannelWaiter {
 public:
  T& item() { return *item_; }

 protected:
  ~SendWaiter() = default;
  T* item_ = nullptr;
};

// One that waits to receive.
template <typename T>
class ReceiveWaiter : public ChannelWaiter {
 public:
  void Put(T&& item) { std::construct_at(&item_, std::move(item)); }

 protected:
  ReceiveWaiter() {}  // NOLINT(modernize-use-equals-default): the union
  ~ReceiveWaiter() {
    if (transfer_ == Transfer::kDone) std::destroy_at(&item_);
  }
  union {
    T item_;  // there once transfer_ is kDone
  };
};

template <typename T>
class ChannelState {
 public:
  explicit ChannelState(size_t capacity)
      : ring_(capacity == kUnbounded ? 0 : capacity),
        capacity_(capacity),
        room_(capacity == kUnbounded ? 0 : capacity) {}

  // The two transfers. They call nothing, so that a coroutine which awaits one
  // saves no registers for it; what needs a call is left to Prepare(), which
  // the caller has called just before if `kPrepared`.

  // Moves the item out if it can be sent now: kDone, kBroken, kWaiting,
  // kUnprepared.
  template <bool kPrepared>
  [[gnu::always_inline]] Transfer Send(T& item) {
    if (!kPrepared && !Prepared()) [[unlikely]] {
      return Transfer::kUnprepared;
    }
    if (!receivers_.empty()) {
      if (!kPrepared && receivers_.FrontMayBeDue())
        return Transfer::kUnprepared;
      auto& receiver = static_cast<ReceiveWaiter<T>&>(receivers_.PopFront());
      receiver.Put(std::move(item));
      receiver.Finish(Transfer::kDone);
      return Transfer::kDone;
    }
    if (open_receivers_ == 0) [[unlikely]] {
      return Transfer::kBroken;
    }
    if (ring_.size() == room_) {
      return capacity_ == kUnbounded ? Transfer::kUnprepared
                                     : Transfer::kWaiting;
    }
    Buffer(item);
    return Transfer::kDone;
  }

  // Puts an item into `place` if there is one now: kDone, kEnd, kWaiting,
  // kUnprepared.
  template <bool kPrepared, typename Place>
  [[gnu::always_inline]] Transfer Receive(Place& place) {
    if (!kPrepared && !Prepared()) [[unlikely]] {
      return Transfer::kUnprepared;
    }
    if (!kPrepared && !senders_.empty() && senders_.FrontMayBeDue()) {
      return Transfer::kUnprepared;
    }
    if (!ring_.empty()) {
      place.Put(ring_.Pop());
      if (!senders_.empty()) {
        auto& sender = static_cast<SendWaiter<T>&>(senders_.PopFront());
        Buffer(sender.item());
        sender.Finish(Transfer::kDone);
      }
      return Transfer::kDone;
    }
    if (!senders_.empty()) {
      auto& sender = static_cast<SendWaiter<T>&>(senders_.PopFront());
      place.Put(std::move(sender.item()));
      sender.Finish(Transfer::kDone);
      return Transfer::kDone;
    }
    return open_senders_ == 0 ? Transfer::kEnd : Transfer::kWaiting;
  }

  // Sees to it that the first in each queue may be served, and that there is
  // room in a buffer without limit.
  void Prepare() {
    home_.CheckHere();
    receivers_.DropDue();
    senders_.DropDue();
    if (capacity_ == kUnbounded && ring_.size() == room_) room_ = ring_.Grow();
  }
  // Prepare() for an await.
  void Enter() {
    home_.Enter();
    Prepare();
  }

  void WaitToSend(SendWaiter<T>& waiter) { waiter.WaitIn(senders_); }
  void WaitToReceive(ReceiveWaiter<T>& waiter) { waiter.WaitIn(receivers_); }

  // The ends are told apart by numbers. The state is gone with the last.
  uint64_t OpenSender() {
    ++open_senders_;
    return ++last_end_;
  }
  uint64_t OpenReceiver() {
    ++open_receivers_;
    return ++last_end_;
  }
  void CloseSender(uint64_t end) {
    home_.CheckHere();
    FinishAllOn(senders_, end, Transfer::kClosed);
    if (--open_senders_ > 0) return;
    FinishAll(receivers_, Transfer::kEnd);
    DeleteIfUnused();
  }
  void CloseReceiver(uint64_t end) {
    home_.CheckHere();
    FinishAllOn(receivers_, end, Transfer::kClosed);
    if (--open_receivers_ > 0) return;
    FinishAll(senders_, Transfer::kBroken);
    // Nobody will take what is in the buffer. Its destructors may close ends of
    // this channel, and the last of these must not be that of the state.
    ++open_senders_;
    while (!ring_.empty()) ring_.Pop();
    --open_senders_;
    DeleteIfUnused();
  }

  ChannelStatistics statistics() const {
    return {ring_.size(),      peak_,           capacity_,
            open_senders_,     open_receivers_, senders_.Count(),
            receivers_.Count()};
  }

 private:
  ~ChannelState() = default;

  bool Prepared() const { return home_.here(); }
  void Buffer(T& item) {
    ring_.Push(std::move(item));
    peak_ = std::max(peak_, ring_.size());
  }
  static void FinishAll(WaitQueue& queue, Transfer transfer) {
    for (queue.DropDue(); !queue.empty(); queue.DropDue()) {
      static_cast<ChannelWaiter&>(queue.PopFront()).Finish(transfer);
    }
  }
  static void FinishAllOn(WaitQueue& queue, uint64_t end, Transfer transfer) {
    for (WaitOperation* waiter = queue.front(); waiter != nullptr;) {
      WaitOperation* next = queue.Next(waiter);
      auto* on_end = static_cast<ChannelWaiter*>(waiter);
      if (on_end->end() == end) {
        queue.Remove(*waiter);
        on_end->Finish(transfer);
      }
      waiter = next;
    }
  }
  void DeleteIfUnused() {
    if (open_senders_ + open_receivers_ == 0) delete this;
  }

  Ring<T> ring_;
  const size_t capacity_;
  size_t room_;  // what fits into the ring
  size_t peak_ = 0;
  WaitQueue receivers_;
  WaitQueue senders_;
  size_t open_senders_ = 0;
  size_t open_receivers_ = 0;
  uint64_t last_end_ = 0;
  Home home_;
};

}  // namespace detail
}  // namespace braid

#endif  // BRAID_SYNC_DETAIL_CHANNEL_STATE_H_
