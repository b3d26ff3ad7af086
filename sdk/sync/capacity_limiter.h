// CapacityLimiter: so many borrowers at a time, and how many may change.
//
//   CapacityLimiter lookups(40);
//   CapacityLimiter::Token token = co_await lookups.Acquire();
//   ...                                        // the token goes back after it
//   lookups.SetTotal(80);                      // from elsewhere, at any time
//
// For: limits that an operator turns while the program runs, and shows: it
// knows who has the tokens. Each borrower has one token at most; that is the
// task, or an object for which a task acquires it. A second one is a failed
// check, because with every token taken that way nobody could go on. Where
// nobody asks who holds what, Semaphore is smaller and faster.
//
// Rules: tokens go out in the order in which they were asked for. One that
// comes back goes to the next in line at once, so nobody can take it in
// between, and never to a task with a pending cancellation.
//
// It may be built where no loop runs; it belongs to the thread of the loop that
// awaits it first, and outlives its tokens and waiters (both checked), but for
// a LastingToken.

#ifndef BRAID_SYNC_CAPACITY_LIMITER_H_
#define BRAID_SYNC_CAPACITY_LIMITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "braid/core/check.h"
#include "braid/core/detail/intrusive_list.h"
#include "braid/core/operation.h"
#include "braid/sync/detail/wait_queue.h"

namespace braid {

class CapacityLimiter {
 public:
  // No limit.
  static constexpr size_t kUnlimited = SIZE_MAX;

  // Who has a token, or waits for one: a task or an object, the other is empty.
  struct Borrower {
    uint64_t task = 0;  // TaskInfo::id
    const void* object = nullptr;

    friend bool operator==(const Borrower&, const Borrower&) = default;
    template <typename H>
    friend H AbslHashValue(H hash, const Borrower& borrower) {
      return H::combine(std::move(hash), borrower.task, borrower.object);
    }
  };

  struct Stats {
    size_t total = 0;
    size_t borrowed = 0;
    std::vector<Borrower> borrowers;  // in the order in which they got theirs
    size_t tasks_waiting = 0;
  };

  // One token, given back when this is destroyed, also where that happens
  // because its task was stopped; resumes nothing inline. It stays its
  // borrower's if it is moved into another task.
  class [[nodiscard("the token is given back at once")]] Token {
   public:
    // Holds nothing.
    Token() = default;
    Token(Token&& other) noexcept
        : limiter_(std::exchange(other.limiter_, nullptr)),
          borrower_(other.borrower_) {}
    Token& operator=(Token&& other) noexcept {
      if (this != &other) {
        Release();
        limiter_ = std::exchange(other.limiter_, nullptr);
        borrower_ = other.borrower_;
      }
      return *this;
    }
    ~Token() { Release(); }

    // Gives it back early. Nothing happens if it holds nothing.
    void Release() {
      if (limiter_ != nullptr) {
        std::exchange(limiter_, nullptr)->Return(borrower_);
      }
    }
    // Whether it holds a token.
    explicit operator bool() const { return limiter_ != nullptr; }

   private:
    friend class CapacityLimiter;
    Token(CapacityLimiter* limiter, Borrower borrower)
        : limiter_(limiter), borrower_(borrower) {}

    CapacityLimiter* limiter_ = nullptr;
    Borrower borrower_;
  };

  // A token that its limiter needn't outlive, for work that can be neither
  // stopped nor waited for. It goes on the limiter's thread.
  class LastingToken : private detail::IntrusiveListNode {
   public:
    explicit LastingToken(Token token) : token_(std::move(token)) {
      if (token_) token_.limiter_->lasting_.PushBack(*this);
    }
    ~LastingToken() {
      if (token_) token_.limiter_->lasting_.Remove(*this);
    }

   private:
    friend class CapacityLimiter;
    friend class detail::IntrusiveList<LastingToken>;

    Token token_;
  };

  // A total of 0 makes everybody wait until it is raised.
  explicit CapacityLimiter(size_t total);
  CapacityLimiter(const CapacityLimiter&) = delete;
  CapacityLimiter& operator=(const CapacityLimiter&) = delete;
  ~CapacityLimiter();

  // Completes with a token of the calling task, or of `borrower`, once there is
  // one. Cancelled while it waits: it leaves the queue and no token is used up.
  auto Acquire() {
    return Operation<AcquireOp, CapacityLimiter*, const void*>(this, nullptr);
  }
  auto AcquireOnBehalfOf(const void* borrower) {
    detail::Check(borrower != nullptr, kNoBorrower);
    return Operation<AcquireOp, CapacityLimiter*, const void*>(this, borrower);
  }

  // A token if one is free. Doesn't look for cancellation.
  [[nodiscard]] std::optional<Token> TryAcquire();
  [[nodiscard]] std::optional<Token> TryAcquireOnBehalfOf(const void* borrower);

  // Changes how many tokens there are. More of them go to those who wait, at
  // once; fewer take none away from who has one.
  void SetTotal(size_t total);
  size_t total() const { return total_; }

  size_t borrowed() const { return borrowed_; }
  // Negative if the total was lowered below what is borrowed.
  ptrdiff_t available() const;

  // Takes time and memory for every borrower and waiting task.
  Stats stats() const;

 private:
  static constexpr char kNoBorrower[] =
      "a token is acquired on behalf of nullptr; pass the object's address";
  struct Borrowers;

  class AcquireOp final : public detail::WaitOperation {
   public:
    AcquireOp(CapacityLimiter* limiter, const void* object)
        : limiter_(limiter), object_(object) {}
    bool Try();
    void Suspend();
    void Cancel() noexcept override;
    Token TakeResult() noexcept { return std::move(token_); }

   private:
    friend class CapacityLimiter;
    CapacityLimiter* limiter_;
    const void* object_;
    Borrower borrower_;
    Token token_;  // goes back where a crash comes before it is taken
  };

  std::optional<Token> TryAcquireFor(Borrower borrower);
  // Enters the borrower if a token is free.
  bool TryTake(Borrower borrower);
  void Return(Borrower borrower);
  void Lend(Borrower borrower);
  // Hands what is free to those who wait.
  void HandOut();

  size_t total_;
  size_t borrowed_ = 0;
  std::unique_ptr<Borrowers> borrowers_;
  detail::WaitQueue waiters_;
  detail::IntrusiveList<LastingToken> lasting_;
  detail::Home home_;
};

}  // namespace braid

#endif  // BRAID_SYNC_CAPACITY_LIMITER_H_
