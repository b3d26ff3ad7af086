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

// A ring of nodes, and a pointer to the first of them: an empty list is a null
// pointer, which costs nothing to make.
template <typename T>
class IntrusiveList {
 public:
  IntrusiveList() = default;
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    Check(empty(),
          "a wait queue is destroyed while tasks wait in it; end the tasks "
          "first: the body of a task group that owns what its tasks use ends "
          "with co_return co_await group.Join()");
  }

  bool empty() const { return first_ == nullptr; }
  T* front() { return static_cast<T*>(first_); }
  // The element after `element`, nullptr at the end.
  T* Next(T* element) {
    IntrusiveListNode* next = static_cast<IntrusiveListNode*>(element)->next_;
    return next == first_ ? nullptr : static_cast<T*>(next);
  }

  void PushBack(T& element) {
    IntrusiveListNode& node = element;
    Check(!node.linked(), "an element is put in two lists");
    if (first_ == nullptr) {
      first_ = node.prev_ = node.next_ = &node;
      return;
    }
    node.prev_ = first_->prev_;
    node.next_ = first_;
    first_->prev_->next_ = &node;
    first_->prev_ = &node;
  }
  void PushFront(T& element) {
    PushBack(element);
    first_ = &element;
  }

  T* PopFront() {
    T* element = front();
    if (element != nullptr) Remove(*element);
    return element;
  }

  void Remove(T& element) {
    IntrusiveListNode& node = element;
    if (first_ == &node) first_ = node.next_ == &node ? nullptr : node.next_;
    node.prev_->next_ = node.next_;
    node.next_->prev_ = node.prev_;
    node.prev_ = node.next_ = nullptr;
  }

  // Linear.
  size_t Count() const {
    size_t n = 0;
    if (const IntrusiveListNode* node = first_; node != nullptr) {
      do {
        ++n;
        node = node->next_;
      } while (node != first_);
    }
    return n;
  }

 private:
  IntrusiveListNode* first_ = nullptr;
};

}  // namespace braid::detail

#endif  // BRAID_CORE_DETAIL_INTRUSIVE_LIST_H_
