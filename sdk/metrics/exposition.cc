#include "braid/metrics/exposition.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "braid/metrics/detail/family_state.h"
#include "braid/metrics/detail/registry_state.h"
#include "braid/metrics/detail/text_format.h"

namespace braid::metrics {
namespace {

// Series in one part. At some 100 ns each a part takes the loop for about 10
// us.
constexpr size_t kSeriesInPart = 100;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// The text up to `separator`, which is taken off `rest`.
std::string_view Next(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view piece = Trim(rest.substr(0, end));
  rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
  return piece;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

prometheus::MetricType TypeOf(Kind kind) {
  switch (kind) {
    case Kind::kCounter:
      return prometheus::MetricType::Counter;
    case Kind::kGauge:
      return prometheus::MetricType::Gauge;
    case Kind::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

}  // namespace

std::string_view ContentType(Format format) {
  switch (format) {
    case Format::kText:
      return "text/plain; version=0.0.4; charset=utf-8";
    case Format::kOpenMetrics:
      return "application/openmetrics-text; version=1.0.0; charset=utf-8";
  }
  return "";
}

Format NegotiateFormat(std::string_view accept) {
  Format best = Format::kText;
  double best_weight = 0;
  while (!accept.empty()) {
    std::string_view range = Next(accept, ',');
    const std::string_view type = Next(range, ';');
    std::string_view version;
    double weight = 1;
    while (!range.empty()) {
      std::string_view parameter = Next(range, ';');
      const std::string_view name = Next(parameter, '=');
      const std::string_view value = Trim(parameter);
      if (EqualsIgnoringCase(name, "q")) {
        const auto read =
            std::from_chars(value.data(), value.data() + value.size(), weight);
        if (read.ec != std::errc() || read.ptr != value.data() + value.size() ||
            !(weight >= 0 && weight <= 1))
          weight = 0;
      } else if (EqualsIgnoringCase(name, "version")) {
        version = value;
      }
    }
    if (weight <= best_weight) continue;
    if (EqualsIgnoringCase(type, "application/openmetrics-text") &&
        (version.empty() || version == "1.0.0")) {
      best = Format::kOpenMetrics;
    } else if ((EqualsIgnoringCase(type, "text/plain") &&
                (version.empty() || version == "0.0.4")) ||
               type == "text/*" || type == "*/*") {
      best = Format::kText;
    } else {
      continue;
    }
    best_weight = weight;
  }
  return best;
}

struct Exposition::State {
  Format format;
  detail::Scrape scrape;
  std::map<std::string, detail::ScrapedFamily>::iterator family = {};
  // How far it is.
  bool begun = false;
  std::optional<std::string> last_key =
      {};                  // of a family of the registry's own
  size_t next_metric = 0;  // of another
};

Exposition::Exposition(const Registry& registry, Format format)
    : state_(new State{.format = format,
                       .scrape = registry.state_->BeginScrape()}) {
  state_->family = state_->scrape.families.begin();
}
Exposition::Exposition(Exposition&&) noexcept = default;
Exposition& Exposition::operator=(Exposition&&) noexcept = default;
Exposition::~Exposition() = default;

const std::vector<std::string>& Exposition::problems() const {
  return state_->scrape.problems;
}

bool Exposition::AppendNext(std::string& out) {
  State& state = *state_;
  detail::TextFormat text(state.format, out);
  auto& families = state.scrape.families;
  size_t left = kSeriesInPart;
  while (left > 0 && state.family != families.end()) {
    const auto& [name, family] = *state.family;
    if (!state.begun) {
      const bool total_is_free = !families.contains(
          name.substr(0, name.size() - std::min<size_t>(name.size(), 6)));
      if (family.own != nullptr) {
        text.Head(name, family.own->definition().help,
                  TypeOf(family.own->kind()), total_is_free);
      } else {
        text.Head(name, family.other.help, family.other.type, total_is_free);
      }
      state.begun = true;
      --left;
    }
    bool ended = false;
    if (family.own != nullptr) {
      const std::optional<std::string> before =
          std::exchange(state.last_key, std::nullopt);
      const size_t limit = std::max<size_t>(left, 1);
      state.last_key = family.own->Read(
          before.has_value() ? &*before : nullptr, limit,
          [&](std::string_view key, const detail::Totals& totals) {
            text.Write(*family.own, key, totals);
          });
      ended = !state.last_key.has_value();
      left = ended ? left - std::min<size_t>(left, 1) : 0;
    } else {
      const auto& metrics = family.other.metric;
      for (; left > 0 && state.next_metric < metrics.size(); --left)
        text.Write(family.other, metrics[state.next_metric++]);
      ended = state.next_metric == metrics.size();
    }
    if (!ended) break;
    state.begun = false;
    state.last_key.reset();
    state.next_metric = 0;
    ++state.family;
  }
  if (state.family != families.end()) return true;
  text.End();
  return false;
}

std::string Expose(const Registry& registry, Format format) {
  Exposition exposition(registry, format);
  std::string text;
  while (exposition.AppendNext(text)) {
  }
  return text;
}

}  // namespace braid::metrics
