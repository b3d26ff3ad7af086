#include "braid/metrics/detail/family_state.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "braid/core/check.h"
#include "braid/metrics/detail/text.h"

namespace braid::metrics::detail {
namespace {

// Ends each value in a key. It is in no UTF-8 text.
constexpr char kEnd = '\xFF';

}  // namespace

void Cell::BindWriter(const void* thread, const FamilyState& family) {
  if (writer.load(std::memory_order_relaxed) != nullptr) {
    const std::string message =
        braid::detail::Concat("the metric ", family.definition().name,
                              " is written by two threads through one handle; "
                              "give each loop a handle of its own");
    braid::detail::Check(false, message.c_str());
  }
  writer.store(thread, std::memory_order_relaxed);
}

void CellDeleter::operator()(Cell* cell) const {
  delete[] cell->exemplars.load(std::memory_order_relaxed);
  if (cell->buckets != nullptr)
    ::operator delete[](cell->buckets, std::align_val_t(kCacheLine));
  delete cell;
}

void Lease::Forget() && {
  family_->Forget(series_, std::exchange(cell_, nullptr));
}

void Lease::End() noexcept { family_->Retire(series_, cell_); }

void Totals::Add(const Cell& cell) {
  whole += cell.whole.load(std::memory_order_relaxed);
  real += cell.real.load(std::memory_order_relaxed);
  for (size_t i = 0; i < buckets.size(); ++i)
    buckets[i] += cell.buckets[i].load(std::memory_order_relaxed);
  const ExemplarSlot* slots = cell.exemplars.load(std::memory_order_acquire);
  if (slots == nullptr) return;
  exemplars.resize(buckets.size());
  for (size_t i = 0; i < buckets.size(); ++i) {
    const auto exemplar = slots[i].Load();
    if (exemplar.has_value() &&
        (!exemplars[i].has_value() ||
         exemplar->second.unix_seconds >= exemplars[i]->second.unix_seconds)) {
      exemplars[i] = exemplar;
    }
  }
}

FamilyState::FamilyState(Kind kind, Definition definition,
                         std::vector<double> bounds)
    : kind_(kind),
      definition_(std::move(definition)),
      padded_bounds_(std::move(bounds)),
      bound_count_(padded_bounds_.size()) {
  for (double bound : padded_bounds_) {
    std::string& label = bound_labels_.emplace_back("le=\"");
    braid::detail::AppendCanonicalDouble(label, bound);
    label += '"';
  }
  bound_labels_.emplace_back("le=\"+Inf\"");
  padded_bounds_.resize(
      (bound_count_ + kBoundsAtOnce - 1) / kBoundsAtOnce * kBoundsAtOnce,
      std::numeric_limits<double>::infinity());
  AppendKey(std::vector<std::string_view>(definition_.labels.size(), kOverflow),
            overflow_key_);
}

void FamilyState::AppendKey(std::span<const std::string_view> values,
                            std::string& key) const {
  if (values.size() != definition_.labels.size()) {
    const std::string message = braid::detail::Concat(
        "the metric ", definition_.name, " has ",
        std::to_string(definition_.labels.size()), " labels and was given ",
        std::to_string(values.size()),
        " values; give one for each label of its definition");
    braid::detail::Check(false, message.c_str());
  }
  for (std::string_view value : values) {
    braid::detail::AppendUtf8(key, value, kLongestValue);
    key += kEnd;
  }
}

std::vector<std::string_view> FamilyState::SplitKey(std::string_view key) {
  std::vector<std::string_view> values;
  for (size_t end; (end = key.find(kEnd)) != std::string_view::npos;
       key.remove_prefix(end + 1)) {
    values.push_back(key.substr(0, end));
  }
  return values;
}

std::unique_ptr<Cell, CellDeleter> FamilyState::MakeCell() const {
  std::unique_ptr<Cell, CellDeleter> cell(new Cell);
  if (kind_ == Kind::kHistogram) {
    cell->bounds = padded_bounds_.data();
    cell->bound_count = padded_bounds_.size();
    // Whole cache lines, for the same reason as the cell.
    constexpr size_t kPerLine = kCacheLine / sizeof(std::atomic<uint64_t>);
    const size_t count =
        (bound_count_ + 1 + kPerLine - 1) / kPerLine * kPerLine;
    cell->buckets =
        new (std::align_val_t(kCacheLine)) std::atomic<uint64_t>[count]();
  }
  return cell;
}

Series* FamilyState::FindOrAdd(std::string_view key) {
  if (auto found = series_.find(key); found != series_.end())
    return &found->second;
  if (key != overflow_key_) {
    const size_t beyond = series_.contains(overflow_key_) ? 1 : 0;
    if (series_.size() - beyond >= definition_.max_series) return nullptr;
  }
  auto& [kept_key, series] = *series_.try_emplace(std::string(key)).first;
  series.key = kept_key;
  return &series;
}

std::optional<Lease> FamilyState::TryAttach(std::string_view key) {
  std::unique_ptr<Cell, CellDeleter> cell = MakeCell();
  const std::lock_guard lock(mutex_);
  Series* series = FindOrAdd(key);
  if (series == nullptr) return std::nullopt;
  Cell* raw = series->cells.emplace_back(std::move(cell)).get();
  return Lease(shared_from_this(), series, raw);
}

Lease FamilyState::AttachOverflow() { return *TryAttach(overflow_key_); }

std::optional<FamilyState::CallbackPlace> FamilyState::TryAddCallback(
    std::string_view key, CallbackFunction callback) {
  const std::lock_guard lock(mutex_);
  Series* series = FindOrAdd(key);
  if (series == nullptr) return std::nullopt;
  series->callbacks.push_back(std::move(callback));
  return CallbackPlace{series, std::prev(series->callbacks.end())};
}

void FamilyState::RemoveCallback(const CallbackPlace& place) {
  std::list<CallbackFunction>
      gone;  // destroyed without the lock: it may hold anything
  const std::lock_guard lock(mutex_);
  gone.splice(gone.end(), place.series->callbacks, place.callback);
  EraseIfUnused(place.series);
}

std::unique_ptr<Cell, CellDeleter> FamilyState::Take(Series* series,
                                                     Cell* cell) {
  auto& cells = series->cells;
  const auto place =
      std::find_if(cells.begin(), cells.end(),
                   [&](const auto& held) { return held.get() == cell; });
  braid::detail::Check(place != cells.end(),
                       "a metric's cell is not in its series; a handle was "
                       "used after it was destroyed");
  std::unique_ptr<Cell, CellDeleter> taken = std::move(*place);
  cells.erase(place);
  return taken;
}

void FamilyState::Keep(Series& series, const Cell& cell) const {
  if (kind_ == Kind::kGauge) return;
  if (series.retired == nullptr) {
    series.retired = std::make_unique<Totals>();
    if (kind_ == Kind::kHistogram)
      series.retired->buckets.resize(bound_count_ + 1);
  }
  series.retired->Add(cell);
}

void FamilyState::EraseIfUnused(Series* series) {
  if (!series->cells.empty() || !series->callbacks.empty() ||
      series->retired != nullptr)
    return;
  series_.erase(series_.find(series->key));
}

void FamilyState::Retire(Series* series, Cell* cell) {
  const std::lock_guard lock(mutex_);
  const std::unique_ptr<Cell, CellDeleter> taken = Take(series, cell);
  Keep(*series, *taken);
  EraseIfUnused(series);
}

void FamilyState::Forget(Series* series, Cell* cell) {
  const std::lock_guard lock(mutex_);
  const std::unique_ptr<Cell, CellDeleter> taken = Take(series, cell);
  if (series->cells.empty()) {
    series->retired = nullptr;
  } else {
    Keep(*series, *taken);  // others still count here: the sum must not fall
  }
  EraseIfUnused(series);
}

void FamilyState::Sum(const Series& series, Totals& totals) {
  totals.whole = 0;
  totals.real = 0;
  totals.absent = false;
  totals.buckets.assign(kind_ == Kind::kHistogram ? bound_count_ + 1 : 0, 0);
  totals.exemplars.clear();
  for (const auto& cell : series.cells) totals.Add(*cell);
  if (series.retired != nullptr) {
    totals.whole += series.retired->whole;
    totals.real += series.retired->real;
    for (size_t i = 0; i < totals.buckets.size(); ++i)
      totals.buckets[i] += series.retired->buckets[i];
  }
  if (series.callbacks.empty()) return;
  bool any = !series.cells.empty() || series.retired != nullptr;
  for (const CallbackFunction& callback : series.callbacks) {
    double value = std::numeric_limits<double>::quiet_NaN();
    try {
      value = callback();
    } catch (...) {
      failed_callbacks_.fetch_add(1, std::memory_order_relaxed);
    }
    if (std::isnan(value)) continue;
    totals.real += value;
    any = true;
  }
  totals.absent = !any;
}

std::optional<std::string> FamilyState::Read(
    const std::string* after, size_t limit,
    const std::function<void(std::string_view key, const Totals& totals)>&
        read) {
  Totals totals;
  const std::lock_guard lock(mutex_);
  auto at = after == nullptr ? series_.begin() : series_.upper_bound(*after);
  for (size_t i = 0; i < limit; ++i, ++at) {
    if (at == series_.end()) return std::nullopt;
    Sum(at->second, totals);
    if (!totals.absent) read(at->first, totals);
  }
  return at == series_.end() ? std::nullopt
                             : std::optional(std::prev(at)->first);
}

}  // namespace braid::metrics::detail
