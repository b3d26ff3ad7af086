// A family as the registry keeps it: its definition, and its series with the
// cells that their handles write to.
//
// The lock is taken when a handle or a series comes or goes and while a scrape
// reads a few series, never to count.

#ifndef BRAID_METRICS_DETAIL_FAMILY_STATE_H_
#define BRAID_METRICS_DETAIL_FAMILY_STATE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "braid/metrics/definition.h"
#include "braid/metrics/detail/cell.h"

namespace braid::metrics::detail {

// The longest label value in bytes.
inline constexpr size_t kLongestValue = 1024;
inline constexpr std::string_view kOverflow = "overflow";

using CallbackFunction = std::function<double()>;

// One value of a series, at the time of a scrape.
struct Totals {
  uint64_t whole = 0;
  double real = 0;
  std::vector<uint64_t> buckets;  // not cumulative
  std::vector<std::optional<std::pair<double, Exemplar>>> exemplars;
  bool absent = false;  // a callback had no value

  void Add(const Cell& cell);
};

struct CellDeleter {
  void operator()(Cell* cell) const;
};

struct Series {
  std::string_view key;
  absl::InlinedVector<std::unique_ptr<Cell, CellDeleter>, 1>
      cells;  // one for each handle
  std::list<CallbackFunction> callbacks;
  // What handles that are gone have counted. Made when the first one goes.
  std::unique_ptr<Totals> retired;
};

class FamilyState : public std::enable_shared_from_this<FamilyState> {
 public:
  // `bounds` are ascending and finite.
  FamilyState(Kind kind, Definition definition, std::vector<double> bounds);

  Kind kind() const { return kind_; }
  const Definition& definition() const { return definition_; }
  std::span<const double> bounds() const {
    return std::span(padded_bounds_).first(bound_count_);
  }
  // le="..." for each bound and +Inf.
  const std::vector<std::string>& bound_labels() const { return bound_labels_; }

  // What identifies a series: its values, cleaned, each followed by a byte that
  // is in no UTF-8 text.
  void AppendKey(std::span<const std::string_view> values,
                 std::string& key) const;
  static std::vector<std::string_view> SplitKey(std::string_view key);

  // A new cell in the series `key`, or nothing if that would be a series too
  // many.
  std::optional<Lease> TryAttach(std::string_view key);
  // A new cell in the overflow series.
  Lease AttachOverflow();
  void CountOverflow() { overflowed_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t overflowed() const {
    return overflowed_.load(std::memory_order_relaxed);
  }

  // Adds a callback to the series `key`; nothing if that would be a series too
  // many.
  struct CallbackPlace {
    Series* series;
    std::list<CallbackFunction>::iterator callback;
  };
  std::optional<CallbackPlace> TryAddCallback(std::string_view key,
                                              CallbackFunction callback);
  // Waits for a call that is under way on another thread.
  void RemoveCallback(const CallbackPlace& place);

  // Gives the cell back; what it counted stays, a gauge's value doesn't.
  void Retire(Series* series, Cell* cell);
  // Gives the cell back, and the series too if nobody else uses it.
  void Forget(Series* series, Cell* cell);

  // Reads up to `limit` series in the order of their keys, beginning behind
  // `after` (at the first if it is null), and calls `read` for each with the
  // lock held. Returns the key of the last one if there may be more.
  std::optional<std::string> Read(
      const std::string* after, size_t limit,
      const std::function<void(std::string_view key, const Totals& totals)>&
          read);

  // Callbacks that threw since the family was made.
  uint64_t failed_callbacks() const {
    return failed_callbacks_.load(std::memory_order_relaxed);
  }

 private:
  std::unique_ptr<Cell, CellDeleter> MakeCell() const;
  // Null if it would be a series too many.
  Series* FindOrAdd(std::string_view key);
  std::unique_ptr<Cell, CellDeleter> Take(Series* series, Cell* cell);
  // Adds what the cell counted to what stays.
  void Keep(Series& series, const Cell& cell) const;
  void EraseIfUnused(Series* series);
  void Sum(const Series& series, Totals& totals);

  const Kind kind_;
  const Definition definition_;
  std::vector<double> padded_bounds_;
  size_t bound_count_;
  std::vector<std::string> bound_labels_;
  std::string overflow_key_;

  std::mutex mutex_;
  std::map<std::string, Series, std::less<>> series_;
  std::atomic<uint64_t> overflowed_ = 0;
  std::atomic<uint64_t> failed_callbacks_ = 0;
};

}  // namespace braid::metrics::detail

#endif  // BRAID_METRICS_DETAIL_FAMILY_STATE_H_
