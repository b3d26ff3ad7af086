#include "braid/metrics/detail/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace braid::detail {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool IsContinuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

bool AppendSpecial(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    return false;
  }
  return true;
}

template <typename... Format>
void AppendChars(std::string& out, double value, Format... format) {
  std::array<char, 32> buffer;
  const auto result = std::to_chars(
      buffer.data(), buffer.data() + buffer.size(), value, format...);
  out.append(buffer.data(), result.ptr);
}

}  // namespace

size_t Utf8Length(std::string_view text) {
  if (text.empty()) return 0;
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead & 0xF0) == 0xE0        ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  // No overlong forms, no surrogates, nothing beyond U+10FFFF.
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
      (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  return length;
}

void AppendUtf8(std::string& out, std::string_view text, size_t limit) {
  const size_t end = out.size() + limit;
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = Utf8Length(text.substr(at));
    const std::string_view piece =
        length == 0 ? kReplacement : text.substr(at, length);
    if (out.size() + piece.size() > end) return;
    out += piece;
    at += std::max<size_t>(length, 1);
  }
}

std::string OneLine(std::string_view text, size_t limit) {
  std::string clean;
  AppendUtf8(clean, text, limit);
  std::string line;
  for (char c : clean) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      line += "\\n";
    } else if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      constexpr std::string_view kHex = "0123456789abcdef";
      line += "\\x";
      line += kHex[byte >> 4];
      line += kHex[byte & 15];
    } else {
      line += c;
    }
  }
  if (text.size() > limit) line += "...";
  return line;
}

void AppendInteger(std::string& out, uint64_t value) {
  std::array<char, 20> buffer;
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  out.append(buffer.data(), result.ptr);
}

void AppendDouble(std::string& out, double value) {
  if (AppendSpecial(out, value)) return;
  if (value == std::trunc(value) && std::abs(value) < 0x1p53) {
    if (std::signbit(value)) out += '-';
    AppendInteger(out, static_cast<uint64_t>(std::abs(value)));
    return;
  }
  AppendChars(out, value);
}

void AppendCanonicalDouble(std::string& out, double value) {
  if (AppendSpecial(out, value)) return;
  const double magnitude = std::abs(value);
  if (magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e6)) {
    AppendChars(out, value, std::chars_format::scientific);
    return;
  }
  AppendChars(out, value, std::chars_format::fixed);
  if (value == std::trunc(value)) out += ".0";
}

void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '\\' && c != '\n' && !(quotes && c == '"')) continue;
    out += text.substr(begin, i - begin);
    out += '\\';
    out += c == '\n' ? 'n' : c;
    begin = i + 1;
  }
  out += text.substr(begin);
}

size_t EditDistance(std::string_view a, std::string_view b) {
  // Optimal string alignment, three rows at a time.
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> previous(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1,
                         previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, row);
  }
  return previous[b.size()];
}

}  // namespace braid::detail
