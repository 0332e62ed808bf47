// Which bytes may stand where in the head of an HTTP message.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace portcullis::net {

namespace detail {
constexpr std::array<bool, 256> bytes_of_set(std::string_view more) noexcept {
  std::array<bool, 256> set{};
  for (unsigned char c = '0'; c <= '9'; ++c) set[c] = true;
  for (unsigned char c = 'a'; c <= 'z'; ++c) set[c] = true;
  for (unsigned char c = 'A'; c <= 'Z'; ++c) set[c] = true;
  for (const char c : more) set[static_cast<unsigned char>(c)] = true;
  return set;
}
inline constexpr auto token_bytes = bytes_of_set("!#$%&'*+-.^_`|~");
inline constexpr auto host_bytes = bytes_of_set("-._~%!$&'()*+,;=:[]");
}  // namespace detail

/// Of a method or a field's name (RFC 9110, 5.6.2).
[[nodiscard]] constexpr bool is_token_byte(char c) noexcept {
  return detail::token_bytes[static_cast<unsigned char>(c)];
}
/// Of uri-host and port (RFC 3986, 3.2.2).
[[nodiscard]] constexpr bool is_host_byte(char c) noexcept {
  return detail::host_bytes[static_cast<unsigned char>(c)];
}
/// C0 but the tab, and DEL: in no field's value (RFC 9110, 5.5).
[[nodiscard]] constexpr bool is_field_control(char c) noexcept {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F;
}

/// The first control character in [at, end); else `end`.
[[nodiscard]] inline const char* find_field_control(const char* at, const char* end) noexcept {
#if defined(__SSE2__)
  for (; end - at >= 16; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i low =
        _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);  // unsigned: <= 0x1F
    const __m128i tab = _mm_cmpeq_epi8(block, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7F));
    const auto mask =
        static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del)));
    if (mask != 0) return at + std::countr_zero(mask);
  }
#endif
  while (at != end && !is_field_control(*at)) ++at;
  return at;
}

}  // namespace portcullis::net
