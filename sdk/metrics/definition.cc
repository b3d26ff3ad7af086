#include "braid/metrics/definition.h"

#include <algorithm>
#include <array>
#include <string>

#include "braid/metrics/detail/text.h"

namespace braid::metrics {
namespace {

using braid::detail::Concat;
using braid::detail::OneLine;

constexpr std::array kBaseUnits = {
    "seconds", "bytes",  "ratio",   "celsius", "kelvin", "meters", "metres",
    "grams",   "joules", "amperes", "volts",   "hertz",  "moles"};

// A unit that isn't a base unit, and the one to use instead.
struct OtherUnit {
  std::string_view word;
  std::string_view base;
};

constexpr std::array kOtherUnits = {
    OtherUnit{"ns", "seconds"},
    OtherUnit{"us", "seconds"},
    OtherUnit{"ms", "seconds"},
    OtherUnit{"s", "seconds"},
    OtherUnit{"sec", "seconds"},
    OtherUnit{"secs", "seconds"},
    OtherUnit{"minute", "seconds"},
    OtherUnit{"minutes", "seconds"},
    OtherUnit{"hour", "seconds"},
    OtherUnit{"hours", "seconds"},
    OtherUnit{"day", "seconds"},
    OtherUnit{"days", "seconds"},
    OtherUnit{"week", "seconds"},
    OtherUnit{"weeks", "seconds"},
    OtherUnit{"b", "bytes"},
    OtherUnit{"kb", "bytes"},
    OtherUnit{"mb", "bytes"},
    OtherUnit{"gb", "bytes"},
    OtherUnit{"tb", "bytes"},
    OtherUnit{"pb", "bytes"},
    OtherUnit{"bits", "bytes"},
    OtherUnit{"m", "meters"},
    OtherUnit{"h", "seconds"},
    OtherUnit{"d", "seconds"},
    OtherUnit{"percent", "ratio"},
    OtherUnit{"kelvins", "kelvin"},
    OtherUnit{"fahrenheit", "celsius"},
    OtherUnit{"rankine", "celsius"},
    OtherUnit{"inches", "meters"},
    OtherUnit{"yards", "meters"},
    OtherUnit{"miles", "meters"},
    OtherUnit{"pounds", "grams"},
    OtherUnit{"ounces", "grams"},
    OtherUnit{"calories", "joules"},
};

constexpr std::array kUnitPrefixes = {"pico", "nano", "micro", "milli", "centi",
                                      "deci", "deca", "hecto", "kilo",  "kibi",
                                      "mega", "mebi", "mibi",  "giga",  "gibi",
                                      "tera", "tebi", "peta",  "pebi"};

constexpr std::array kReservedSuffixes = {"_bucket", "_count", "_sum",
                                          "_created"};

// The base unit to use instead of the unit that `word` is, empty if it is none
// or a base unit itself.
std::string_view BaseUnitFor(std::string_view word) {
  for (const OtherUnit& other : kOtherUnits) {
    if (word == other.word) return other.base;
  }
  for (std::string_view base : kBaseUnits) {
    if (!word.ends_with(base)) continue;
    const std::string_view prefix = word.substr(0, word.size() - base.size());
    if (std::find(kUnitPrefixes.begin(), kUnitPrefixes.end(), prefix) !=
        kUnitPrefixes.end())
      return base;
  }
  return "";
}

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }

bool IsSnakeCase(std::string_view name) {
  return !name.empty() && IsLower(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return IsLower(c) || (c >= '0' && c <= '9') || c == '_';
         });
}

std::string Quote(std::string_view name) {
  return Concat("\"", OneLine(name), "\"");
}

std::string_view WithoutTotal(std::string_view name) {
  if (name.ends_with("_total")) name.remove_suffix(6);
  return name;
}

std::vector<std::string_view> Words(std::string_view name) {
  std::vector<std::string_view> words;
  for (size_t underscore;
       (underscore = name.find('_')) != std::string_view::npos;
       name.remove_prefix(underscore + 1)) {
    words.push_back(name.substr(0, underscore));
  }
  words.push_back(name);
  return words;
}

// What is wrong with the name, empty if nothing.
std::string NameProblem(Kind kind, std::string_view name) {
  if (!IsSnakeCase(name))
    return "a name is snake_case: lower-case letters, digits and underscores, "
           "with a letter first";
  if (name.back() == '_' || name.find("__") != std::string_view::npos)
    return "a name has single underscores, between words";
  if (name.starts_with("scrape_"))
    return "names with the prefix scrape_ belong to Prometheus; choose another "
           "prefix";
  const std::string_view base = WithoutTotal(name);
  if (kind == Kind::kCounter && base == name) {
    return Concat("a counter ends in _total; call it ",
                  Quote(Concat(name, "_total")));
  }
  if (kind != Kind::kCounter && base != name) {
    return Concat(
        "only a counter ends in _total; make it a counter, or call it ",
        Quote(base));
  }
  for (std::string_view suffix : kReservedSuffixes) {
    if (base.ends_with(suffix)) {
      return Concat(
          "the suffix ", suffix,
          " belongs to histograms and summaries; choose another last word");
    }
  }
  if (kind != Kind::kGauge && base.ends_with("_info")) {
    return "only a gauge that is always 1 ends in _info; choose another last "
           "word";
  }
  const std::vector<std::string_view> words = Words(base);
  if (words.size() < 2)
    return "a name begins with a prefix that says whose it is, as in "
           "myservice_requests_total";
  for (std::string_view word : words) {
    if (word == "counter" || word == "gauge" || word == "histogram" ||
        word == "summary") {
      return Concat("a name doesn't say its type; leave out ", Quote(word));
    }
    if (const std::string_view unit = BaseUnitFor(word); !unit.empty()) {
      return Concat(Quote(word), " is not a base unit; measure in ", unit);
    }
  }
  return "";
}

std::string LabelProblem(std::string_view label) {
  if (label.starts_with("__"))
    return "names with two leading underscores belong to Prometheus";
  if (!IsSnakeCase(label))
    return "a label is snake_case: lower-case letters, digits and underscores, "
           "with a letter first";
  if (label == "le" || label == "quantile")
    return "it belongs to histograms and summaries";
  if (label == "job" || label == "instance")
    return "the scrape adds it, the program must not";
  return "";
}

}  // namespace

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kCounter:
      return "counter";
    case Kind::kGauge:
      return "gauge";
    case Kind::kHistogram:
      return "histogram";
  }
  return "";
}

std::string_view UnitOf(std::string_view name) {
  const std::string_view word = Words(WithoutTotal(name)).back();
  return std::find(kBaseUnits.begin(), kBaseUnits.end(), word) ==
                 kBaseUnits.end()
             ? ""
             : word;
}

absl::Status Validate(Kind kind, const Definition& definition) {
  const std::string what = Concat("metric ", Quote(definition.name), ": ");
  if (std::string problem = NameProblem(kind, definition.name);
      !problem.empty()) {
    return absl::InvalidArgumentError(what + problem);
  }
  if (definition.help.find_first_not_of(" \t\r\n") == std::string::npos) {
    return absl::InvalidArgumentError(
        what + "help is empty; say in a sentence what it measures");
  }
  for (auto label = definition.labels.begin(); label != definition.labels.end();
       ++label) {
    if (std::string problem = LabelProblem(*label); !problem.empty()) {
      return absl::InvalidArgumentError(
          Concat(what, "label ", Quote(*label), ": ", problem));
    }
    if (std::find(definition.labels.begin(), label, *label) != label) {
      return absl::InvalidArgumentError(
          Concat(what, "label ", Quote(*label), " is there twice"));
    }
  }
  if (definition.max_series == 0)
    return absl::InvalidArgumentError(what +
                                      "max_series is 0; it must be at least 1");
  return absl::OkStatus();
}

}  // namespace braid::metrics
