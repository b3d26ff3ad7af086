// A thread that waits for a gRPC completion queue, and hands what has completed
// to a loop.
//
// gRPC can't be driven by another loop, so somebody has to wait for it. This
// thread does nothing else: it takes all that has completed, decides what needs
// the loop at all, and hands that over in one go, so that the loop is woken
// once for a burst, not once for each event. It touches no task.
//
// Why not gRPC's callback API: there each event comes on a thread of gRPC's
// own, which can't be joined, so nobody could say when the last one is through;
// an event can't be held back for the next; and the end of each call takes
// another hop through gRPC's executor.

#ifndef BRAID_RPC_GRPC_COMPLETION_THREAD_H_
#define BRAID_RPC_GRPC_COMPLETION_THREAD_H_

#include <grpcpp/completion_queue.h>

#include <atomic>
#include <memory>
#include <thread>

#include "braid/core/detail/loop.h"

namespace braid::rpc::detail {

class CompletionThread {
 public:
  // An operation that gRPC has been given; its address is the tag. What it is
  // part of keeps it until it has come back.
  class Event {
   public:
    // On the thread, when the operation has completed; `ok` as gRPC says it.
    // True: `on_loop` follows there. False: it is over, and may be gone.
    using OnThread = bool (*)(Event& event, bool ok);
    using OnLoop = void (*)(Event& event);

    Event(OnThread on_thread, OnLoop on_loop)
        : on_thread_(on_thread), on_loop_(on_loop) {}
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void* tag() { return this; }

   private:
    friend class CompletionThread;
    OnThread on_thread_;
    OnLoop on_loop_;
    Event* next_ = nullptr;
  };

  // `on_end`, which may be nullptr, comes on the loop once the queue is shut
  // down and its last event through.
  CompletionThread(braid::detail::Loop& loop,
                   std::unique_ptr<grpc::CompletionQueue> queue,
                   Event* on_end = nullptr);
  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;
  // Waits for the thread: Shutdown was called, and all events have come.
  ~CompletionThread() { thread_.join(); }

  grpc::CompletionQueue* queue() { return queue_.get(); }

  // From any thread, once. No operation may begin on the queue afterwards.
  void Shutdown() { queue_->Shutdown(); }

 private:
  // Events that are ready for the loop, newest first, and how they get there.
  class Inbox final : public braid::detail::InboxNode {
   public:
    explicit Inbox(braid::detail::Loop& loop)
        : InboxNode([](InboxNode& node) { static_cast<Inbox&>(node).Drain(); }),
          loop_(loop) {}

    // `newest` to `oldest` are linked.
    void Put(Event* newest, Event* oldest);

   private:
    void Drain();

    braid::detail::Loop& loop_;
    std::atomic<Event*> newest_ = nullptr;
  };

  void Run(Event* on_end);

  std::unique_ptr<grpc::CompletionQueue> queue_;
  Inbox inbox_;
  std::thread thread_;  // lint: allow(thread): gRPC has no other way to wait
};

}  // namespace braid::rpc::detail

#endif  // BRAID_RPC_GRPC_COMPLETION_THREAD_H_
