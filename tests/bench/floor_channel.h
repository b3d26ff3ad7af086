// Channels on the floor's runtime (floor.h): one sender, one receiver, no
// closing. Not for anything else.
#ifndef BRAID_TESTS_BENCH_FLOOR_CHANNEL_H_
#define BRAID_TESTS_BENCH_FLOOR_CHANNEL_H_

#include <coroutine>
#include <cstddef>
#include <utility>
#include <vector>

#include "tests/bench/floor.h"

namespace braid::bench::floor {

// An item goes straight to whoever waits for it, else into the buffer.
class Channel {
  struct Side : Node {
    Channel& channel;
    int item;

    Side(Channel& channel, int item) : channel(channel), item(item) {}
  };

 public:
  explicit Channel(size_t capacity) : buffer_(capacity) {}

  struct [[nodiscard]] Send : Side {
    using Side::Side;
    bool await_ready() {
      if (channel.receiver_) {
        channel.receiver_->item = item;
        run_queue.Push(std::exchange(channel.receiver_, nullptr));
      } else if (channel.used_ < channel.buffer_.size()) {
        channel.Append(item);
      } else {
        return false;
      }
      return true;
    }
    void await_suspend(std::coroutine_handle<> self) {
      coroutine = self;
      channel.sender_ = this;
    }
    void await_resume() {}
  };

  struct [[nodiscard]] Receive : Side {
    explicit Receive(Channel& channel) : Side(channel, 0) {}
    bool await_ready() {
      if (channel.used_ > 0) {
        item = channel.buffer_[channel.first_];
        channel.first_ = channel.first_ + 1 == channel.buffer_.size()
                             ? 0
                             : channel.first_ + 1;
        --channel.used_;
        if (channel.sender_) channel.Append(channel.sender_->item);
      } else if (channel.sender_) {
        item = channel.sender_->item;
      } else {
        return false;
      }
      if (channel.sender_)
        run_queue.Push(std::exchange(channel.sender_, nullptr));
      return true;
    }
    void await_suspend(std::coroutine_handle<> self) {
      coroutine = self;
      channel.receiver_ = this;
    }
    int await_resume() { return item; }
  };

 private:
  void Append(int item) {
    size_t last = first_ + used_++;
    buffer_[last < buffer_.size() ? last : last - buffer_.size()] = item;
  }

  std::vector<int> buffer_;
  size_t first_ = 0;
  size_t used_ = 0;
  Side* sender_ = nullptr;
  Side* receiver_ = nullptr;
};

}  // namespace braid::bench::floor

#endif  // BRAID_TESTS_BENCH_FLOOR_CHANNEL_H_
