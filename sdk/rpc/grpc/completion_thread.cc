#include "braid/rpc/grpc/completion_thread.h"

#include <grpc/support/time.h>

#include <utility>

#include "braid/backend/signal_mask.h"

namespace braid::rpc::detail {
namespace {

// So many events are handed over at the latest, whatever else has completed.
constexpr int kBatch = 64;

}  // namespace

CompletionThread::CompletionThread(braid::detail::Loop& loop,
                                   std::unique_ptr<grpc::CompletionQueue> queue,
                                   Event* on_end)
    : queue_(std::move(queue)), inbox_(loop) {
  const braid::detail::AllSignalsBlocked blocked;
  // lint: allow(thread): see the header
  thread_ = std::thread([this, on_end] { Run(on_end); });
}

void CompletionThread::Run(Event* on_end) {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    Event* newest = nullptr;
    Event* oldest = nullptr;
    int left = kBatch;
    do {
      auto* event = static_cast<Event*>(tag);
      if (event->on_thread_(*event, ok)) {
        event->next_ = newest;
        newest = event;
        if (oldest == nullptr) oldest = event;
      }
    } while (--left > 0 &&
             queue_->AsyncNext(&tag, &ok, gpr_time_0(GPR_CLOCK_MONOTONIC)) ==
                 grpc::CompletionQueue::GOT_EVENT);
    if (newest != nullptr) {
      inbox_.Put(newest, oldest);
      // Where both threads share a core, the loop has its turn now: what it
      // answers to the whole batch is then taken in one go, too, instead of
      // waking this thread for each answer. On a core of its own it goes on.
      std::this_thread::yield();
    }
  }
  if (on_end != nullptr) {
    on_end->next_ = nullptr;
    inbox_.Put(on_end, on_end);
  }
}

void CompletionThread::Inbox::Put(Event* newest, Event* oldest) {
  Event* head = newest_.load(std::memory_order_relaxed);
  do {
    oldest->next_ = head;
  } while (!newest_.compare_exchange_weak(
      head, newest, std::memory_order_acq_rel, std::memory_order_relaxed));
  // Whoever finds it empty posts it; Drain empties it after it was taken out.
  if (head == nullptr) loop_.Post(this);
}

void CompletionThread::Inbox::Drain() {
  Event* event = newest_.exchange(nullptr, std::memory_order_acq_rel);
  Event* oldest = nullptr;
  while (event != nullptr) {
    Event* next = event->next_;
    event->next_ = oldest;
    oldest = event;
    event = next;
  }
  while (oldest != nullptr) {
    Event* next = oldest->next_;
    oldest->on_loop_(*oldest);
    oldest = next;
  }
}

}  // namespace braid::rpc::detail
