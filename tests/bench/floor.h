// The least that a C++20 coroutine runtime can do: recycled frames, an
// intrusive run queue, a counter to join on. It is what Braid's own cost is
// compared with. Not for anything else: no cancellation, no errors, no timers,
// no threads. Channels are in floor_channel.h.
#ifndef BRAID_TESTS_BENCH_FLOOR_H_
#define BRAID_TESTS_BENCH_FLOOR_H_

#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

namespace braid::bench::floor {

struct Promise {
  struct Frame {
    Frame* next;
  };
  static constexpr size_t kStep = 64;
  static inline Frame* free_frames[32];

  static void* operator new(size_t size) {
    Frame*& head = free_frames[size / kStep];
    return head ? std::exchange(head, head->next)
                : std::malloc((size / kStep + 1) * kStep);
  }
  static void operator delete(void* frame, size_t size) {
    Frame*& head = free_frames[size / kStep];
    head = new (frame) Frame{head};
  }
  static std::suspend_always initial_suspend() noexcept { return {}; }
  [[noreturn]] static void unhandled_exception() noexcept { std::abort(); }
};

struct Node {
  Node* next = nullptr;
  std::coroutine_handle<> coroutine;
};

struct RunQueue {
  Node* head = nullptr;
  Node** tail = &head;

  void Push(Node* node) {
    node->next = nullptr;
    *tail = node;
    tail = &node->next;
  }
  void Run() {
    while (Node* node = head) {
      head = node->next;
      if (head == nullptr) tail = &head;
      node->coroutine.resume();
    }
  }
};
inline RunQueue run_queue;

// A coroutine that is called and gives an int.
struct [[nodiscard]] Task {
  struct promise_type : Promise {
    int value;
    std::coroutine_handle<> caller;

    struct Return : std::suspend_always {
      std::coroutine_handle<> await_suspend(
          std::coroutine_handle<promise_type> self) noexcept {
        return self.promise().caller;
      }
    };
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    Return final_suspend() noexcept { return {}; }
    void return_value(int result) { value = result; }
  };

  explicit Task(std::coroutine_handle<promise_type> self) : self(self) {}
  Task(const Task&) = delete;
  ~Task() { self.destroy(); }
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) {
    self.promise().caller = caller;
    return self;
  }
  int await_resume() { return self.promise().value; }

  std::coroutine_handle<promise_type> self;
};

struct Group;

// A coroutine that a group starts.
struct Job {
  struct promise_type : Promise {
    Node node;
    Group* group;

    struct End : std::suspend_always {
      inline void await_suspend(
          std::coroutine_handle<promise_type> self) noexcept;
    };
    Job get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    End final_suspend() noexcept { return {}; }
    void return_void() {}
  };

  std::coroutine_handle<promise_type> self;
};

// `co_await group` waits for every job that it started.
struct Group : Node {
  size_t running = 0;

  void Start(Job job) {
    ++running;
    job.self.promise().group = this;
    job.self.promise().node.coroutine = job.self;
    run_queue.Push(&job.self.promise().node);
  }
  bool await_ready() { return running == 0; }
  void await_suspend(std::coroutine_handle<> parent) { coroutine = parent; }
  void await_resume() {}
};

void Job::promise_type::End::await_suspend(
    std::coroutine_handle<promise_type> self) noexcept {
  Group* group = self.promise().group;
  self.destroy();
  if (--group->running == 0 && group->coroutine) run_queue.Push(group);
}

struct Yield : Node {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> self) {
    coroutine = self;
    run_queue.Push(this);
  }
  void await_resume() {}
};

// For ever.
struct Park : Node {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> self) { coroutine = self; }
  void await_resume() {}
};

}  // namespace braid::bench::floor

#endif  // BRAID_TESTS_BENCH_FLOOR_H_
