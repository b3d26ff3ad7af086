// ByteView and MutableByteView: bytes to send, and room to receive into,
// however the caller keeps them.
//
//   co_await socket.Send("hello");     // text
//   std::array<std::byte, 512> buffer;
//   co_await stream.Receive(buffer);   // any range of one-byte elements
//
// Views, as std::span is: what they refer to must outlive the call they are
// passed to, or the await of what it returns.

#ifndef BRAID_BACKEND_BYTE_VIEW_H_
#define BRAID_BACKEND_BYTE_VIEW_H_

#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>

namespace braid {

template <typename R>
concept ByteRange =
    std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
    sizeof(std::ranges::range_value_t<R>) == 1 &&
    std::is_trivially_copyable_v<std::ranges::range_value_t<R>>;

// Bytes that are only read.
class ByteView : public std::span<const std::byte> {
 public:
  constexpr ByteView() = default;
  // Text up to its terminating zero, as a literal means it.
  ByteView(const char* text)  // NOLINT(google-explicit-constructor)
      : ByteView(std::string_view(text)) {}
  template <ByteRange R>
    requires(!std::is_array_v<std::remove_cvref_t<R>>)
  constexpr ByteView(const R& range)  // NOLINT(google-explicit-constructor)
      : span(std::as_bytes(
            std::span(std::ranges::data(range), std::ranges::size(range)))) {}

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
