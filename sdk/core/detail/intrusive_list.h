// A doubly linked list whose nodes are the elements themselves: no allocation,
// O(1) removal of a known element.
//
// For: wait queues. An element is in at most one list, and leaves it before it
// is destroyed (checked).

#ifndef BRAID_CORE_DETAIL_INTRUSIVE_LIST_H_
#define BRAID_CORE_DETAIL_INTRUSIVE_LIST_H_

#include <cstddef>

#include "braid/core/check.h"

namespace braid::detail {

class IntrusiveListNode {
 public:
  IntrusiveListNode() = default;
  IntrusiveListNode(const IntrusiveListNode&) = delete;
  IntrusiveListNode& operator=(const IntrusiveListNode&) = delete;
  ~IntrusiveListNode() {
    Check(!linked(), "an element is destroyed while a list holds it");
  }

  bool linked() const { return next_ != nullptr; }

 private:
  template <typename T>
  friend class IntrusiveList;

  IntrusiveListNode* prev_ = nullptr;
  IntrusiveListNode* next_ = nullptr;
};

template <typename T>
class IntrusiveList {
 public:
  IntrusiveList() { end_.prev_ = end_.next_ = &end_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    Check(empty(),
          "a wait queue is destroyed while tasks wait in it; end the tasks "
          "first");
    end_.prev_ = end_.next_ = nullptr;
  }

  bool empty() const { return end_.next_ == &end_; }
  T* front() { return empty() ? nullptr : static_cast<T*>(end_.next_); }
  // The element after `element`, nullptr at the end.
  T* Next(T* element) {
    IntrusiveListNode* next = static_cast<IntrusiveListNode*>(element)->next_;
    return next == &end_ ? nullptr : static_cast<T*>(next);
  }

  void PushBack(T& element) { InsertBefore(end_, element); }
  void PushFront(T& element) { InsertBefore(*end_.next_, element); }

  T* PopFront() {
    T* element = front();
    if (element != nullptr) Remove(*element);
    return element;
  }

  void Remove(T& element) {
    IntrusiveListNode& node = element;
    node.prev_->next_ = node.next_;
    node.next_->prev_ = node.prev_;
    node.prev_ = node.next_ = nullptr;
  }

  // Linear.
  size_t Count() const {
    size_t n = 0;
    for (const IntrusiveListNode* node = end_.next_; node != &end_;
         node = node->next_)
      ++n;
    return n;
  }

 private:
  static void InsertBefore(IntrusiveListNode& at, IntrusiveListNode& node) {
    Check(!node.linked(), "an element is put in two lists");
    node.prev_ = at.prev_;
    node.next_ = &at;
    at.prev_->next_ = &node;
    at.prev_ = &node;
  }

  IntrusiveListNode end_;
};

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_INTRUSIVE_LIST_H_
