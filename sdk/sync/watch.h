// Watch<T>: the latest value of something, and tasks that follow it.
//
//   Watch<Limits> limits(initial);
//   // A task that follows:
//   Watch<Limits>::Reader reader = limits.Subscribe();
//   while (std::optional<Limits> now = co_await reader.Next()) Apply(*now);
//   // Whoever changes it:
//   limits.Set(updated);
//
// For: configuration, progress, state: where only the newest value matters. A
// reader that is slow skips values and never holds up the writer. Not for:
// events of which each counts; that is a channel.
//
// Setting a value makes it a new one, also if it is equal to the old. Readers
// get copies: use Watch<std::shared_ptr<const T>> where copying is expensive.
// It may be built and set where no loop runs; it belongs to the thread of the
// loop that awaits it first (checked).

#ifndef BRAID_SYNC_WATCH_H_
#define BRAID_SYNC_WATCH_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "braid/core/check.h"
#include "braid/core/operation.h"
#include "braid/core/task.h"
#include "braid/sync/detail/wait_queue.h"

namespace braid {

template <std::copyable T>
class Watch {
  struct State;
  class NextOp;

 public:
  // Follows the watch: remembers which value it has seen. Copies follow from
  // the same point on, each for itself. May outlive the watch.
  class Reader {
   public:
    Reader(const Reader& other) : Reader(other.state_) { seen_ = other.seen_; }
    Reader(Reader&& other) noexcept
        : state_(std::exchange(other.state_, nullptr)), seen_(other.seen_) {}
    Reader& operator=(Reader other) noexcept {
      std::swap(state_, other.state_);
      std::swap(seen_, other.seen_);
      return *this;
    }
    ~Reader() {
      if (state_ != nullptr) state_->Unref();
    }

    // The latest value this reader hasn't seen, once there is one: the first
    // time at once. Empty at the end: the watch is closed or gone and its last
    // value seen. Cancelled at any time; the value is not seen then. The reader
    // outlives the await and stays where it is.
    auto Next() { return Operation<NextOp, Reader*>(this); }

    // The latest value, seen or not, if `predicate` holds for it, else the
    // first later one for which it does; empty at the end. Values that were
    // replaced before this task had its turn are not looked at. Doesn't wait,
    // and is no checkpoint, if the latest will do. Cancelled as Next.
    template <std::predicate<const T&> Predicate>
    Task<std::optional<T>> WaitFor(Predicate predicate) {
      std::optional<T> value = Get();
      while (value.has_value() && !predicate(*value)) value = co_await Next();
      if (value.has_value()) seen_ = state_->version;
      co_return value;
    }

    // The latest value, seen or not.
    const T& Get() const { return state_->value; }
    // Whether there is one it hasn't seen.
    bool changed() const { return seen_ != state_->version; }

   private:
    friend class Watch;
    explicit Reader(State* state) : state_(state) { ++state->references; }

    State* state_;
    uint64_t seen_ = 0;
  };

  struct Stats {
    uint64_t values = 0;  // including the initial one
    size_t readers = 0;
    size_t tasks_waiting = 0;
    bool closed = false;
  };

  explicit Watch(T initial) : state_(new State(std::move(initial))) {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  // Closes it.
  ~Watch() {
    Close();
    state_->Unref();
  }

  // Makes `value` the latest and wakes every reader that waits for it. Resumes
  // nothing inline. On a closed watch: a failed check.
  void Set(T value) {
    CheckOpen();
    state_->value = std::move(value);
    state_->Changed();
  }

  // Changes the latest value in place, by `change(value)`, and makes it a new
  // one. If `change` throws, it isn't.
  template <std::invocable<T&> Change>
  void Update(Change&& change) {
    CheckOpen();
    std::forward<Change>(change)(state_->value);
    state_->Changed();
  }

  // The latest value; the reference holds until it changes.
  const T& Get() const { return state_->value; }

  // There will be no more values: readers get the last one, if they haven't
  // seen it, and then the end. Idempotent. May be called from any destructor.
  void Close() { state_->Close(); }
  bool closed() const { return state_->closed; }

  // A reader that has seen nothing yet.
  Reader Subscribe() { return Reader(state_); }

  // Linear in the number of waiting tasks.
  Stats stats() const {
    return {state_->version, state_->references - 1, state_->waiters.Count(),
            state_->closed};
  }

 private:
  // Shared by the watch and its readers; goes with the last of them.
  struct State {
    explicit State(T initial) : value(std::move(initial)) {}

    void Unref() {
      if (--references == 0) delete this;
    }
    void Changed() {
      ++version;
      WakeAll(/*ended=*/false);
    }
    void Close() {
      home.CheckHere();
      closed = true;
      WakeAll(/*ended=*/true);
    }
    void WakeAll(bool ended) {
      while (!waiters.empty()) {
        static_cast<NextOp&>(waiters.PopFront()).Wake(ended);
      }
    }

    T value;
    uint64_t version = 1;
    size_t references = 1;
    detail::WaitQueue waiters;
    detail::Home home;
    bool closed = false;
  };

  class NextOp final : public detail::WaitOperation {
   public:
    explicit NextOp(Reader* reader) : reader_(reader) {}
    bool Try() {
      detail::Check(reader_->state_ != nullptr,
                    "a reader of a watch is used after it was moved from");
      State& state = *reader_->state_;
      state.home.Enter();
      if (reader_->changed()) return true;
      ended_ = state.closed;
      return ended_;
    }
    void Suspend() { WaitIn(reader_->state_->waiters); }
    std::optional<T> TakeResult() {
      if (ended_) return std::nullopt;
      std::optional<T> value(reader_->state_->value);
      reader_->seen_ = reader_->state_->version;
      return value;
    }
    void Wake(bool ended) {
      ended_ = ended;
      Complete();
    }

   private:
    Reader* reader_;
    bool ended_ = false;
  };

  void CheckOpen() const {
    state_->home.CheckHere();
    detail::Check(!state_->closed,
                  "a closed watch is given a value; close it after the last");
  }

  State* state_;
};

}  // namespace braid

#endif  // BRAID_SYNC_WATCH_H_
