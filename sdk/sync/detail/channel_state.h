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
struct ChannelStats {
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
  kDone,    // the item is where it should be
  kEnd,     // no more items will come
  kClosed,  // this end is closed
  kBroken,  // nobody is left to receive
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

  // The two transfers. What is most often so is inline, and calls nothing, so
  // that a coroutine which awaits one saves no registers for it.

  // Moves the item out if it can be sent now: kDone, kBroken, kWaiting. Of an
  // await if `kAwaited`.
  template <bool kAwaited>
  [[gnu::always_inline]] Transfer Send(T& item) {
    if (home_.here() && receivers_.empty() && ring_.size() < room_) [[likely]] {
      Buffer(item);
      return Transfer::kDone;
    }
    return SendSlow(item, kAwaited);
  }

  // Puts an item into `place` if there is one now: kDone, kEnd, kWaiting.
  template <bool kAwaited, typename Place>
  [[gnu::always_inline]] Transfer Receive(Place& place) {
    if (home_.here() && senders_.empty() && !ring_.empty()) [[likely]] {
      place.Put(ring_.Pop());
      return Transfer::kDone;
    }
    return ReceiveSlow(place, kAwaited);
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
    room_ = 0;  // nothing may be put in it any more
    // Nobody will take what is in the buffer. Its destructors may send to this
    // channel, and close ends of it: the last of these must not be that of the
    // state.
    ++open_senders_;
    while (!ring_.empty()) ring_.Pop();
    --open_senders_;
    DeleteIfUnused();
  }

  ChannelStats stats() const {
    return {ring_.size(),      peak_,           capacity_,
            open_senders_,     open_receivers_, senders_.Count(),
            receivers_.Count()};
  }

 private:
  ~ChannelState() = default;

  [[gnu::noinline]] Transfer SendSlow(T& item, bool awaited) {
    Enter(awaited);
    if (WaitOperation* waiter = receivers_.PopLive(); waiter != nullptr) {
      auto& receiver = static_cast<ReceiveWaiter<T>&>(*waiter);
      receiver.Put(std::move(item));
      receiver.Finish(Transfer::kDone);
      return Transfer::kDone;
    }
    if (open_receivers_ == 0) return Transfer::kBroken;
    if (ring_.size() == room_) {
      if (capacity_ != kUnbounded) return Transfer::kWaiting;
      room_ = ring_.Grow();
    }
    Buffer(item);
    return Transfer::kDone;
  }
  template <typename Place>
  [[gnu::noinline]] Transfer ReceiveSlow(Place& place, bool awaited) {
    Enter(awaited);
    WaitOperation* waiter = senders_.PopLive();
    if (ring_.empty() && waiter == nullptr) {
      return open_senders_ == 0 ? Transfer::kEnd : Transfer::kWaiting;
    }
    auto* sender = static_cast<SendWaiter<T>*>(waiter);
    if (ring_.empty()) {
      place.Put(std::move(sender->item()));
    } else {
      place.Put(ring_.Pop());
      if (sender != nullptr) Buffer(sender->item());
    }
    if (sender != nullptr) sender->Finish(Transfer::kDone);
    return Transfer::kDone;
  }
  void Enter(bool awaited) {
    if (awaited) {
      home_.Enter();
    } else {
      home_.CheckHere();
    }
  }
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
