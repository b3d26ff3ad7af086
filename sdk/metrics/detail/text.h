// Text as the metrics, logs and configuration write it: numbers, escapes,
// UTF-8. Pure functions on std:: types.

#ifndef BRAID_METRICS_DETAIL_TEXT_H_
#define BRAID_METRICS_DETAIL_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace braid::detail {

// The parts, one after the other.
template <typename... Parts>
std::string Concat(const Parts&... parts) {
  std::string text;
  text.reserve((std::string_view(parts).size() + ... + 0));
  (text.append(std::string_view(parts)), ...);
  return text;
}

// `text` for a message of one line: control characters and quotes escaped,
// invalid UTF-8 replaced, cut at `limit` bytes.
std::string OneLine(std::string_view text, size_t limit = 200);

void AppendInteger(std::string& out, uint64_t value);

// The shortest text that reads back as `value`: "0.1", "12", "1e+300"; "+Inf",
// "-Inf", "NaN". Whole numbers that a double holds exactly have no exponent.
void AppendDouble(std::string& out, double value);

// `value` as OpenMetrics 1.0 wants the bound of a bucket or a quantile: always
// with a point or an exponent ("1.0", "0.005", "1e+06"), so that one bound has
// one name in every format.
void AppendCanonicalDouble(std::string& out, double value);

// `text` with backslash and newline escaped, and double quotes if `quotes`.
void AppendEscaped(std::string& out, std::string_view text, bool quotes);

// `text` with each ill-formed sequence replaced by U+FFFD (Unicode 15, table
// 3-7), at most `limit` bytes of it, cut between characters.
void AppendUtf8(std::string& out, std::string_view text, size_t limit);

// Bytes of the well-formed UTF-8 character that `text` begins with, 0 if it is
// ill-formed or empty.
size_t Utf8Length(std::string_view text);

// The number of single-character edits (insert, remove, replace, swap of
// neighbours) from `a` to `b`, for "did you mean".
size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace braid::detail

#endif  // BRAID_METRICS_DETAIL_TEXT_H_
