#include "braid/backend/byte_view.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace braid {
namespace {

size_t Size(ByteView view) { return view.size(); }

TEST(ByteViewTest, TextIsMeantUpToItsZero) {
  EXPECT_EQ(Size("hello"), 5u);
  const char* const pointer = "hello";
  EXPECT_EQ(Size(pointer), 5u);
  EXPECT_EQ(Size(std::string("a\0b", 3)), 3u);
  EXPECT_EQ(ByteView(std::string_view("hello")).text(), "hello");
}

TEST(ByteViewTest, BytesAreMeantWhole) {
  const std::byte bytes[4] = {};
  uint8_t octets[5] = {};
  EXPECT_EQ(Size(bytes), 4u);
  EXPECT_EQ(Size(octets), 5u);
  EXPECT_EQ(Size(std::array<char, 6>()), 6u);
  EXPECT_EQ(Size(std::vector<uint8_t>(7)), 7u);
  EXPECT_EQ(Size({}), 0u);
}

// A buffer of four characters was sent up to a zero somewhere behind it.
TEST(ByteViewTest, ABufferOfCharactersSaysHowMuch) {
  static_assert(!std::is_convertible_v<char(&)[4], ByteView>);
  static_assert(!std::is_convertible_v<const char8_t(&)[4], ByteView>);
  static_assert(std::is_convertible_v<char(&)[4], MutableByteView>);
  char buffer[4] = {'a', 'b', 'c', 'd'};
  EXPECT_EQ(ByteView(std::span(buffer).first(2)).text(), "ab");
  EXPECT_EQ(ByteView(std::string_view(buffer, 3)).text(), "abc");
  const ByteView kept = std::span(buffer).last(1);
  EXPECT_EQ(kept.text(), "d");
}

TEST(ByteViewTest, OnlyBytes) {
  static_assert(!std::is_convertible_v<std::vector<int>, ByteView>);
  static_assert(!std::is_convertible_v<std::vector<bool>, ByteView>);
  static_assert(!std::is_convertible_v<const std::string&, MutableByteView>);
  static_assert(!std::is_convertible_v<std::string, MutableByteView>);
}

}  // namespace
}  // namespace braid
