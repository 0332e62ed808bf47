// The pieces of scanning inside a JSON string: runs of plain ASCII, \uXXXX, UTF-8 sequences.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace portcullis::net::json {

#if defined(__SSE2__)
/// A bit for each of the 16 bytes that is a quote, a backslash, a control character or not ASCII.
[[nodiscard]] inline unsigned special_mask(const char* bytes) noexcept {
  const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  // Signed: bytes from 0x80 on are below the space as well.
  const __m128i low = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));
  const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
  return static_cast<unsigned>(
      _mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash))));
}
#endif

/// The first position in [at, size) that is a quote, a backslash, a control character or not ASCII;
/// else `size`. Reads nothing at or past `size`.
[[nodiscard]] inline std::size_t skip_plain_text(const char* bytes, std::size_t at,
                                                 std::size_t size) noexcept {
#if defined(__SSE2__)
  while (size - at >= 16) {
    const unsigned mask = special_mask(bytes + at);
    if (mask != 0) return at + static_cast<unsigned>(std::countr_zero(mask));
    at += 16;
  }
  if (at == size) return size;
  if (size >= 16) {
    // The last block overlaps what came before; those bits are shifted out.
    const unsigned mask = special_mask(bytes + size - 16) >> (16 - (size - at));
    return mask != 0 ? at + static_cast<unsigned>(std::countr_zero(mask)) : size;
  }
#endif
  while (at < size) {
    const auto byte = static_cast<unsigned char>(bytes[at]);
    if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\') break;
    ++at;
  }
  return at;
}

[[nodiscard]] constexpr bool is_high_surrogate(std::uint32_t unit) noexcept {
  return unit >= 0xD800 && unit <= 0xDBFF;
}
[[nodiscard]] constexpr bool is_low_surrogate(std::uint32_t unit) noexcept {
  return unit >= 0xDC00 && unit <= 0xDFFF;
}

[[nodiscard]] constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

struct hex4 {
  std::uint32_t unit = 0;
  std::size_t bad_at = 0;  // the first byte that is no hex digit; 0: none
  bool complete = false;
};

/// The four hex digits from `at` on, as far as they are there. `at` > 0.
[[nodiscard]] constexpr hex4 read_hex4(const char* bytes, std::size_t at,
                                       std::size_t size) noexcept {
  hex4 read;
  for (std::size_t i = at; i < at + 4; ++i) {
    if (i >= size) return read;
    const int digit = hex_value(bytes[i]);
    if (digit < 0) {
      read.bad_at = i;
      return read;
    }
    read.unit = read.unit << 4 | static_cast<std::uint32_t>(digit);
  }
  read.complete = true;
  return read;
}

struct utf8_sequence {
  std::size_t size = 0;  // bytes of the sequence; when bad: offset of the offending byte in it
  char32_t scalar = 0;   // when complete
  bool bad = false;      // overlong, surrogate, above U+10FFFF, stray or missing continuation
  bool complete = false;
};

/// The UTF-8 sequence that starts at `at` (< size), as far as it is there (Unicode, table 3-7).
[[nodiscard]] constexpr utf8_sequence read_utf8(const char* bytes, std::size_t at,
                                                std::size_t size) noexcept {
  utf8_sequence read;
  const auto lead = static_cast<unsigned char>(bytes[at]);
  if (lead < 0x80) return {1, lead, false, true};
  if (lead < 0xC2 || lead > 0xF4) {
    read.bad = true;
    return read;
  }
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  char32_t scalar = lead & (length == 2 ? 0x1FU : length == 3 ? 0x0FU : 0x07U);
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i >= size) return read;
    const auto byte = static_cast<unsigned char>(bytes[at + i]);
    if (byte < low || byte > high) {
      read.bad = true;
      read.size = i;
      return read;
    }
    low = 0x80;
    high = 0xBF;
    scalar = scalar << 6 | (byte & 0x3FU);
  }
  return {length, scalar, false, true};
}

}  // namespace portcullis::net::json
