#include "core/bytes.hpp"

#include <algorithm>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace portcullis::core {
namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::string_view base64url_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

template <std::size_t N>
constexpr std::array<std::int8_t, 256> inverse(const char (&alphabet)[N]) {
  std::array<std::int8_t, 256> table{};
  for (auto& value : table) value = -1;
  for (std::size_t i = 0; i + 1 < N; ++i)
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  return table;
}

constexpr auto hex_values = inverse("0123456789abcdef");
constexpr auto base64url_values =
    inverse("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

#if defined(__SSE2__)
bool eight_from_hex(const char* text, std::uint8_t* out) noexcept {
  const __m128i digits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  const __m128i number = _mm_sub_epi8(digits, _mm_set1_epi8('0'));
  const __m128i letter = _mm_sub_epi8(digits, _mm_set1_epi8('a'));
  const __m128i is_number = _mm_cmpeq_epi8(_mm_min_epu8(number, _mm_set1_epi8(9)), number);
  const __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
  if (_mm_movemask_epi8(_mm_or_si128(is_number, is_letter)) != 0xFFFF) return false;
  const __m128i nibbles =
      _mm_or_si128(_mm_and_si128(is_number, number),
                   _mm_and_si128(is_letter, _mm_add_epi8(letter, _mm_set1_epi8(10))));
  const __m128i pairs = _mm_and_si128(
      _mm_or_si128(_mm_slli_epi16(nibbles, 4), _mm_srli_epi16(nibbles, 8)), _mm_set1_epi16(0xFF));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(pairs, pairs));
  return true;
}
#endif

}  // namespace

void to_hex(byte_view bytes, char* out) noexcept {
  for (auto byte : bytes) {
    *out++ = hex_digits[byte >> 4];
    *out++ = hex_digits[byte & 15];
  }
}

std::string to_hex(byte_view bytes) {
  std::string text(bytes.size() * 2, '\0');
  to_hex(bytes, text.data());
  return text;
}

bool from_hex(std::string_view text, std::span<std::uint8_t> out) noexcept {
  if (text.size() != out.size() * 2) return false;
  int bad = 0;
  std::size_t i = 0;
#if defined(__SSE2__)
  // Every validation decodes a session id here: 16 digits at a time.
  for (; i + 8 <= out.size(); i += 8)
    if (!eight_from_hex(text.data() + 2 * i, out.data() + i)) return false;
#endif
  for (; i < out.size(); ++i) {
    const int high = hex_values[static_cast<unsigned char>(text[2 * i])];
    const int low = hex_values[static_cast<unsigned char>(text[2 * i + 1])];
    bad |= high | low;
    out[i] = static_cast<std::uint8_t>((high << 4) | (low & 15));
  }
  return bad >= 0;
}

void to_base64url(byte_view bytes, char* out) noexcept {
  const auto digit = [](std::uint32_t bits, int shift) {
    return base64url_alphabet[(bits >> shift) & 63];
  };
  std::size_t at = 0;
  for (; at + 3 <= bytes.size(); at += 3, out += 4) {
    const std::uint32_t bits =
        std::uint32_t{bytes[at]} << 16 | std::uint32_t{bytes[at + 1]} << 8 | bytes[at + 2];
    out[0] = digit(bits, 18);
    out[1] = digit(bits, 12);
    out[2] = digit(bits, 6);
    out[3] = digit(bits, 0);
  }
  const auto left = bytes.size() - at;
  if (left == 0) return;
  const std::uint32_t bits =
      std::uint32_t{bytes[at]} << 16 | (left == 2 ? std::uint32_t{bytes[at + 1]} << 8 : 0U);
  out[0] = digit(bits, 18);
  out[1] = digit(bits, 12);
  if (left == 2) out[2] = digit(bits, 6);
}

std::string to_base64url(byte_view bytes) {
  std::string text(base64url_size(bytes.size()), '\0');
  to_base64url(bytes, text.data());
  return text;
}

bool from_base64url(std::string_view text, std::span<std::uint8_t> out) noexcept {
  if (text.size() != base64url_size(out.size())) return false;
  const auto value = [&](std::size_t at) {
    return int{base64url_values[static_cast<unsigned char>(text[at])]};
  };
  int bad = 0;  // negative once any character was not of the alphabet
  std::size_t from = 0;
  std::size_t to = 0;
  for (; to + 3 <= out.size(); from += 4, to += 3) {
    const int a = value(from), b = value(from + 1), c = value(from + 2), d = value(from + 3);
    bad |= a | b | c | d;
    const auto bits = static_cast<std::uint32_t>(((a & 63) << 18) | ((b & 63) << 12) |
                                                 ((c & 63) << 6) | (d & 63));
    out[to] = static_cast<std::uint8_t>(bits >> 16);
    out[to + 1] = static_cast<std::uint8_t>(bits >> 8);
    out[to + 2] = static_cast<std::uint8_t>(bits);
  }
  const auto left = out.size() - to;
  if (left == 0) return bad >= 0;
  const int a = value(from), b = value(from + 1), c = left == 2 ? value(from + 2) : 0;
  bad |= a | b | c;
  const auto bits =
      static_cast<std::uint32_t>(((a & 63) << 18) | ((b & 63) << 12) | ((c & 63) << 6));
  out[to] = static_cast<std::uint8_t>(bits >> 16);
  if (left == 2) out[to + 1] = static_cast<std::uint8_t>(bits >> 8);
  // One text for one value: no bits past the last byte.
  return bad >= 0 && (bits & (left == 2 ? 0xffU : 0xffffU)) == 0;
}

std::optional<std::string> from_base64url(std::string_view text) {
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes(text.size() * 3 / 4, '\0');
  if (!from_base64url(text, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}))
    return std::nullopt;
  return bytes;
}

void byte_buffer::grow(std::size_t n) {
  const auto wanted = std::max({capacity_ * 2, size_ + n, std::size_t{512}});
  std::unique_ptr<char[]> larger(new char[wanted]);
  if (size_ > 0) std::memcpy(larger.get(), bytes_.get(), size_);
  bytes_ = std::move(larger);
  capacity_ = wanted;
}

void append_json_string(byte_buffer& out, std::string_view text) {
  char* at = out.reserve(text.size() * 6 + 2);
  char* const begin = at;
  *at++ = '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && c != '"' && c != '\\') {
      *at++ = c;
      continue;
    }
    *at++ = '\\';
    switch (c) {
      case '"':
      case '\\':
        *at++ = c;
        break;
      case '\b':
        *at++ = 'b';
        break;
      case '\f':
        *at++ = 'f';
        break;
      case '\n':
        *at++ = 'n';
        break;
      case '\r':
        *at++ = 'r';
        break;
      case '\t':
        *at++ = 't';
        break;
      default:
        *at++ = 'u';
        *at++ = '0';
        *at++ = '0';
        *at++ = hex_digits[byte >> 4];
        *at++ = hex_digits[byte & 15];
    }
  }
  *at++ = '"';
  out.commit(static_cast<std::size_t>(at - begin));
}

}  // namespace portcullis::core
