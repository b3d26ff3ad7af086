#include "braid/metrics/detail/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>

namespace braid::detail {
namespace {

std::string Double(double value) {
  std::string text;
  AppendDouble(text, value);
  return text;
}

std::string Canonical(double value) {
  std::string text;
  AppendCanonicalDouble(text, value);
  return text;
}

std::string Utf8(std::string_view text, size_t limit = 1000) {
  std::string clean;
  AppendUtf8(clean, text, limit);
  return clean;
}

std::string Escaped(std::string_view text, bool quotes) {
  std::string escaped;
  AppendEscaped(escaped, text, quotes);
  return escaped;
}

TEST(TextTest, DoublesAreShortestAndExact) {
  EXPECT_EQ(Double(0), "0");
  EXPECT_EQ(Double(-0.0), "-0");
  EXPECT_EQ(Double(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(Double(0.3), "0.3");
  EXPECT_EQ(Double(1e6), "1000000");
  EXPECT_EQ(Double(-12), "-12");
  EXPECT_EQ(Double(9007199254740991), "9007199254740991");
  EXPECT_EQ(Double(1e300), "1e+300");
  EXPECT_EQ(Double(5e-324), "5e-324");
  EXPECT_EQ(Double(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(Double(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(Double(std::nan("")), "NaN");
}

TEST(TextTest, EveryDoubleReadsBack) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100000; ++i) {
    const uint64_t bits = random();
    double value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isnan(value)) continue;
    EXPECT_EQ(std::strtod(Double(value).c_str(), nullptr), value);
    EXPECT_EQ(std::strtod(Canonical(value).c_str(), nullptr), value);
  }
}

// The examples of the OpenMetrics specification ("Considerations: Canonical
// Numbers").
TEST(TextTest, CanonicalBounds) {
  EXPECT_EQ(Canonical(0), "0.0");
  EXPECT_EQ(Canonical(1), "1.0");
  EXPECT_EQ(Canonical(10), "10.0");
  EXPECT_EQ(Canonical(100000), "100000.0");
  EXPECT_EQ(Canonical(1e6), "1e+06");
  EXPECT_EQ(Canonical(1e10), "1e+10");
  EXPECT_EQ(Canonical(0.001), "0.001");
  EXPECT_EQ(Canonical(0.0001), "0.0001");
  EXPECT_EQ(Canonical(1e-5), "1e-05");
  EXPECT_EQ(Canonical(-2.5), "-2.5");
  EXPECT_EQ(Canonical(std::numeric_limits<double>::infinity()), "+Inf");
}

TEST(TextTest, Escapes) {
  EXPECT_EQ(Escaped("plain", true), "plain");
  EXPECT_EQ(Escaped("a\\b\nc\"d", true), "a\\\\b\\nc\\\"d");
  EXPECT_EQ(Escaped("a\\b\nc\"d", false), "a\\\\b\\nc\"d");
  EXPECT_EQ(Escaped("\n", false), "\\n");
  EXPECT_EQ(Escaped("", true), "");
}

TEST(TextTest, IllFormedUtf8IsReplaced) {
  EXPECT_EQ(Utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z"),
            "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z");
  constexpr const char* kBad = "\xEF\xBF\xBD";
  for (std::string bad :
       {"\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",
        "\xF5\x80\x80\x80", "\xF4\x90\x80\x80", "\xF0\x80\x80\x80", "\xFF",
        "\xE2\x82"}) {
    const std::string clean = Utf8("<" + bad + ">");
    EXPECT_EQ(clean.substr(0, 4), std::string("<") + kBad);
    EXPECT_EQ(clean.back(), '>');
    for (std::string_view rest = clean; !rest.empty();
         rest.remove_prefix(Utf8Length(rest)))
      ASSERT_GT(Utf8Length(rest), 0u);
  }
}

TEST(TextTest, Utf8IsCutBetweenCharacters) {
  EXPECT_EQ(Utf8("a\xE2\x82\xAC", 3), "a");
  EXPECT_EQ(Utf8("a\xE2\x82\xAC", 4), "a\xE2\x82\xAC");
  EXPECT_EQ(Utf8("abc", 0), "");
}

TEST(TextTest, OneLine) {
  EXPECT_EQ(OneLine("a\nb\"c\\d\x01\x7F"), "a\\nb\\\"c\\\\d\\x01\\x7f");
  EXPECT_EQ(OneLine("abcdef", 3), "abc...");
  EXPECT_EQ(OneLine(std::string_view("\0", 1)), "\\x00");
}

TEST(TextTest, EditDistance) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("listen", "lisetn"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("limit", "limits"), 1u);
}

TEST(TextTest, Concat) {
  EXPECT_EQ(Concat("a", std::string("b"), std::string_view("c")), "abc");
  EXPECT_EQ(Concat(), "");
}

}  // namespace
}  // namespace braid::detail
