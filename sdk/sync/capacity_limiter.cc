#include "braid/sync/capacity_limiter.h"

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "braid/core/check.h"

namespace braid {

// Everybody who has a token or waits for one.
struct CapacityLimiter::Borrowers {
  static constexpr uint64_t kWaiting = 0;
  static constexpr size_t kMostSpare = 16;

  Borrowers() { spare.reserve(kMostSpare); }

  // Changes nothing where it throws, as Abseil's tables don't promise.
  void Put(const Borrower& borrower, uint64_t place) {
    const auto found = places.find(borrower);
    if (found != places.end()) {
      found->second = place;
    } else if (spare.empty()) {
      places.emplace(borrower, place);
    } else {
      spare.back().key() = borrower;
      spare.back().mapped() = place;
      if (places.insert(std::move(spare.back())).inserted) spare.pop_back();
    }
  }
  void Erase(const Borrower& borrower) noexcept {
    auto node = places.extract(borrower);
    if (!node.empty() && spare.size() < kMostSpare)
      spare.push_back(std::move(node));
  }

  // With the place in the order in which tokens were given.
  using Places = std::unordered_map<Borrower, uint64_t, absl::Hash<Borrower>>;
  Places places;
  std::vector<Places::node_type> spare;  // for those who come next
  uint64_t last_place = kWaiting;
};

CapacityLimiter::CapacityLimiter(size_t total)
    : total_(total), borrowers_(std::make_unique<Borrowers>()) {}

CapacityLimiter::~CapacityLimiter() {
  while (LastingToken* lasting = lasting_.PopFront()) {
    lasting->token_.limiter_ = nullptr;
    --borrowed_;
  }
  detail::Check(borrowed_ == 0,
                "a capacity limiter is destroyed while tokens are borrowed; "
                "let it outlive them");
}

std::optional<CapacityLimiter::Token> CapacityLimiter::TryAcquire() {
  return TryAcquireFor({detail::Loop::Current().CurrentTask().id, nullptr});
}

std::optional<CapacityLimiter::Token> CapacityLimiter::TryAcquireOnBehalfOf(
    const void* borrower) {
  detail::Check(borrower != nullptr, kNoBorrower);
  return TryAcquireFor({0, borrower});
}

std::optional<CapacityLimiter::Token> CapacityLimiter::TryAcquireFor(
    Borrower borrower) {
  home_.CheckHere();
  if (!TryTake(borrower)) return std::nullopt;
  return Token(this, borrower);
}

bool CapacityLimiter::TryTake(Borrower borrower) {
  detail::Check(!borrowers_->places.contains(borrower),
                "a borrower acquires a second token of a capacity limiter; "
                "release the first, or acquire on behalf of another object");
  if (borrowed_ >= total_) return false;
  Lend(borrower);
  return true;
}

void CapacityLimiter::Return(Borrower borrower) {
  home_.CheckHere();
  borrowers_->Erase(borrower);
  --borrowed_;
  HandOut();
}

void CapacityLimiter::SetTotal(size_t total) {
  home_.CheckHere();
  total_ = total;
  HandOut();
}

void CapacityLimiter::HandOut() {
  while (borrowed_ < total_ && !waiters_.empty()) {
    auto& waiter = static_cast<AcquireOp&>(waiters_.PopFront());
    if (waiter.task()->due()) {
      borrowers_->Erase(waiter.borrower_);
      waiter.Stop();
    } else {
      Lend(waiter.borrower_);
      waiter.token_ = Token(this, waiter.borrower_);
      waiter.Complete();
    }
  }
}

void CapacityLimiter::Lend(Borrower borrower) {
  borrowers_->Put(borrower, borrowers_->last_place + 1);
  ++borrowers_->last_place;
  ++borrowed_;
}

ptrdiff_t CapacityLimiter::available() const {
  if (total_ < borrowed_) return -static_cast<ptrdiff_t>(borrowed_ - total_);
  return static_cast<ptrdiff_t>(
      std::min<size_t>(total_ - borrowed_, PTRDIFF_MAX));
}

CapacityLimiter::Stats CapacityLimiter::stats() const {
  // Sorted afterwards, because the map has no order of its own.
  std::vector<std::pair<uint64_t, Borrower>> holders;
  for (const auto& [borrower, place] : borrowers_->places) {
    if (place != Borrowers::kWaiting) holders.emplace_back(place, borrower);
  }
  std::sort(holders.begin(), holders.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  Stats stats{total_, borrowed_, {}, waiters_.Count()};
  for (const auto& [place, borrower] : holders) {
    stats.borrowers.push_back(borrower);
  }
  return stats;
}

bool CapacityLimiter::AcquireOp::Try() {
  limiter_->home_.Enter();
  borrower_ = object_ != nullptr
                  ? Borrower{0, object_}
                  : Borrower{detail::Loop::Current().CurrentTask().id, nullptr};
  if (!limiter_->TryTake(borrower_)) return false;
  token_ = Token(limiter_, borrower_);
  return true;
}

void CapacityLimiter::AcquireOp::Suspend() {
  limiter_->borrowers_->Put(borrower_, Borrowers::kWaiting);
  WaitIn(limiter_->waiters_);
}

void CapacityLimiter::AcquireOp::Cancel() noexcept {
  limiter_->borrowers_->Erase(borrower_);
  WaitOperation::Cancel();
}

}  // namespace braid
