// ByteView and MutableByteView: bytes to send, and room to receive into,
// however the caller keeps them.
//
//   co_await socket.Send("hello");     // text
//   std::array<std::byte, 512> buffer;
//   co_await stream.Receive(buffer);   // any range of one-byte elements
//
// Views, as std::span is: what they refer to must outlive the call they are
// passed to, or the await of what it returns.
//
// Arrays: text in quotes is sent up to its terminating zero, bytes (std::byte,
// uint8_t) are sent whole. What is meant of an array of char isn't plain, so it
// doesn't convert: std::span(buffer).first(n), or std::string_view(buffer).

#ifndef BRAID_BACKEND_BYTE_VIEW_H_
#define BRAID_BACKEND_BYTE_VIEW_H_

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

#include "absl/base/attributes.h"

namespace braid {

template <typename R>
concept ByteRange =
    std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
    sizeof(std::ranges::range_value_t<R>) == 1 &&
    std::is_trivially_copyable_v<std::ranges::range_value_t<R>>;

namespace detail {
template <typename T>
concept Character = std::same_as<T, char> || std::same_as<T, char8_t>;
}  // namespace detail

// Bytes that are only read.
class ByteView : public std::span<const std::byte> {
 public:
  constexpr ByteView() = default;
  // Text up to its terminating zero, as a literal means it.
  // NOLINTNEXTLINE(google-explicit-constructor)
  ByteView(const char* text ABSL_ATTRIBUTE_LIFETIME_BOUND)
      : ByteView(std::string_view(text)) {}
  // A buffer may be filled in part, and have no zero at all.
  template <size_t N>
  ByteView(char (&buffer)[N]) = delete;
  // Of what holds its bytes itself, and of a view.
  template <ByteRange R>
    requires(!std::ranges::borrowed_range<R> &&
             !(std::is_array_v<R> &&
               detail::Character<std::ranges::range_value_t<R>>))
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr ByteView(const R& range ABSL_ATTRIBUTE_LIFETIME_BOUND)
      : span(std::as_bytes(
            std::span(std::ranges::data(range), std::ranges::size(range)))) {}
  template <ByteRange R>
    requires std::ranges::borrowed_range<R>
  constexpr ByteView(const R& view)  // NOLINT(google-explicit-constructor)
      : span(std::as_bytes(
            std::span(std::ranges::data(view), std::ranges::size(view)))) {}

  std::string_view text() const {
    return {reinterpret_cast<const char*>(data()), size()};
  }
};

// Bytes that are written to.
class MutableByteView : public std::span<std::byte> {
 public:
  constexpr MutableByteView() = default;
  template <ByteRange R>
    requires(!std::is_const_v<
                 std::remove_reference_t<std::ranges::range_reference_t<R>>> &&
             (std::is_lvalue_reference_v<R> || std::ranges::borrowed_range<R>))
  // NOLINTNEXTLINE(google-explicit-constructor,*-forwarding-reference-overload)
  constexpr MutableByteView(R&& range)
      : span(std::as_writable_bytes(
            std::span(std::ranges::data(range), std::ranges::size(range)))) {}

  std::string_view text() const {
    return {reinterpret_cast<const char*>(data()), size()};
  }
};

}  // namespace braid

template <>
inline constexpr bool std::ranges::enable_borrowed_range<braid::ByteView> =
    true;
template <>
inline constexpr bool
    std::ranges::enable_borrowed_range<braid::MutableByteView> = true;
template <>
inline constexpr bool std::ranges::enable_view<braid::ByteView> = true;
template <>
inline constexpr bool std::ranges::enable_view<braid::MutableByteView> = true;

#endif  // BRAID_BACKEND_BYTE_VIEW_H_
