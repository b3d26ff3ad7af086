// Where one writer counts: one cell for each pair of a series and a handle.
//
// A cell is written by one thread with relaxed loads and stores, which compile
// to plain moves, and read by any thread that scrapes. Nothing here locks, and
// no read-modify-write instruction is used. Each cell has its own cache line,
// so that two loops never share one.

#ifndef BRAID_METRICS_DETAIL_CELL_H_
#define BRAID_METRICS_DETAIL_CELL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace braid::metrics {

// What a histogram remembers of one observation, so that a dashboard can go
// from a bucket to a trace.
struct Exemplar {
  // The W3C trace id, high and low half; it is shown as the label trace_id with
  // 32 hexadecimal digits.
  uint64_t trace_id_high = 0;
  uint64_t trace_id_low = 0;
  // When it happened, in seconds since 1970 by the host's wall clock; 0: not
  // known.
  double unix_seconds = 0;
};

namespace detail {

inline constexpr size_t kCacheLine = 64;

class FamilyState;
struct Series;

// One exemplar under a sequence lock: odd while it is being written.
class ExemplarSlot {
 public:
  void Store(double value, const Exemplar& exemplar) {
    const uint64_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    // Who sees one of these stores sees the odd number before it.
    value_.store(value, std::memory_order_release);
    high_.store(exemplar.trace_id_high, std::memory_order_release);
    low_.store(exemplar.trace_id_low, std::memory_order_release);
    time_.store(exemplar.unix_seconds, std::memory_order_release);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  // Empty if there is none yet, or it is being written just now.
  std::optional<std::pair<double, Exemplar>> Load() const {
    const uint64_t sequence = sequence_.load(std::memory_order_acquire);
    if (sequence == 0 || sequence % 2 != 0) return std::nullopt;
    const double value = value_.load(std::memory_order_acquire);
    const Exemplar exemplar = {high_.load(std::memory_order_acquire),
                               low_.load(std::memory_order_acquire),
                               time_.load(std::memory_order_acquire)};
    if (sequence_.load(std::memory_order_relaxed) != sequence)
      return std::nullopt;
    return std::pair(value, exemplar);
  }

 private:
  std::atomic<uint64_t> sequence_ = 0;
  std::atomic<double> value_ = 0;
  std::atomic<uint64_t> high_ = 0;
  std::atomic<uint64_t> low_ = 0;
  std::atomic<double> time_ = 0;
};

struct alignas(kCacheLine) Cell {
  // A counter's whole increments.
  std::atomic<uint64_t> whole = 0;
  // A counter's other increments, a gauge's value, a histogram's sum.
  std::atomic<double> real = 0;
  std::atomic<const void*> writer = nullptr;

  // Of a histogram. Upper bounds in ascending order, filled up with +Inf to a
  // multiple of kBoundsAtOnce; belongs to the family.
  const double* bounds = nullptr;
  size_t bound_count = 0;  // with the filling
  std::atomic<uint64_t>* buckets =
      nullptr;  // not cumulative; one more than bounds
  std::atomic<ExemplarSlot*> exemplars =
      nullptr;  // one for each bucket, made when first needed

  void CheckWriter(const FamilyState& family) {
#ifndef NDEBUG
    const void* thread = __builtin_thread_pointer();
    if (writer.load(std::memory_order_relaxed) != thread) [[unlikely]] {
      BindWriter(thread, family);
    }
#else
    static_cast<void>(family);
#endif
  }

 private:
  void BindWriter(const void* thread, const FamilyState& family);
};
static_assert(sizeof(Cell) == kCacheLine);

inline constexpr size_t kBoundsAtOnce = 8;

template <typename T>
void AddRelaxed(std::atomic<T>& to, T amount) {
  to.store(to.load(std::memory_order_relaxed) + amount,
           std::memory_order_relaxed);
}

// A cell for as long as a handle lives; then the family takes over what was
// counted.
class Lease {
 public:
  Lease(std::shared_ptr<FamilyState> family, Series* series, Cell* cell)
      : cell_(cell), series_(series), family_(std::move(family)) {}
  Lease(Lease&& other) noexcept
      : cell_(std::exchange(other.cell_, nullptr)),
        series_(other.series_),
        family_(std::move(other.family_)) {
    // A moved handle may have gone to another thread.
    if (cell_ != nullptr)
      cell_->writer.store(nullptr, std::memory_order_relaxed);
  }
  Lease& operator=(Lease&& other) noexcept {
    Lease moved(std::move(other));
    std::swap(cell_, moved.cell_);
    std::swap(series_, moved.series_);
    std::swap(family_, moved.family_);
    return *this;
  }
  ~Lease() {
    if (cell_ != nullptr) End();
  }

  // The cell, for its one writer.
  Cell& ToWrite() const {
    cell_->CheckWriter(*family_);
    return *cell_;
  }
  // Gives the cell back and, if no other handle uses the series, removes it
  // from the family.
  void Forget() &&;

 private:
  void End() noexcept;

  Cell* cell_;
  Series* series_;
  std::shared_ptr<FamilyState> family_;
};

}  // namespace detail
}  // namespace braid::metrics

#endif  // BRAID_METRICS_DETAIL_CELL_H_
