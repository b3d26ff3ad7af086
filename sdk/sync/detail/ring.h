// A queue in one block of memory: the buffer of a channel.
//
// Not for: general use. It never shrinks, and grows only when it is told to.

#ifndef BRAID_SYNC_DETAIL_RING_H_
#define BRAID_SYNC_DETAIL_RING_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace braid::detail {

template <typename T>
class Ring {
 public:
  // Room for `capacity` elements at least, allocated now.
  explicit Ring(size_t capacity) {
    if (capacity == 0) return;
    const size_t room = RoomFor(capacity);
    slots_ = std::allocator<T>().allocate(room);
    mask_ = room - 1;
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    while (!empty()) Pop();
    Deallocate();
  }

  bool empty() const { return first_ == last_; }
  size_t size() const { return last_ - first_; }

  // There must be room.
  void Push(T&& element) {
    std::construct_at(slots_ + (last_ & mask_), std::move(element));
    ++last_;
  }
  // It must not be empty.
  T Pop() {
    T* slot = slots_ + (first_++ & mask_);
    T element = std::move(*slot);
    std::destroy_at(slot);
    return element;
  }

  // Makes room for more; returns for how many in all.
  size_t Grow() {
    const size_t size = this->size();
    const size_t room = std::max<size_t>(16, RoomFor(size + 1));
    T* slots = std::allocator<T>().allocate(room);
    for (size_t i = 0; i < size; ++i) std::construct_at(slots + i, Pop());
    Deallocate();
    slots_ = slots;
    mask_ = room - 1;
    first_ = 0;
    last_ = size;
    return room;
  }

 private:
  // A power of two; more than there can be is left for the allocator to refuse.
  static size_t RoomFor(size_t n) {
    return std::bit_ceil(std::min(n, SIZE_MAX / 2));
  }
  void Deallocate() {
    if (slots_ != nullptr) std::allocator<T>().deallocate(slots_, mask_ + 1);
  }

  T* slots_ = nullptr;
  size_t mask_ = 0;
  // Count up for ever; the slot is the low bits.
  size_t first_ = 0;
  size_t last_ = 0;
};

}  // namespace braid::detail

#endif  // BRAID_SYNC_DETAIL_RING_H_
