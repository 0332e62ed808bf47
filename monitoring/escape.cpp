#include "monitoring/escape.hpp"

#include <array>

namespace portcullis::monitoring {
namespace {

struct character {
  char32_t code = 0;
  std::size_t bytes = 0;  // 0: not UTF-8
};

/// The character at the start of `text`, strictly: no overlong form, surrogate or value above
/// U+10FFFF.
character next(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first >= 0xC2 && first <= 0xDF && tail(1))
    return {(first & 0x1FU) << 6 | (byte(1) & 0x3FU), 2};
  if (first >= 0xE0 && first <= 0xEF && tail(1) && tail(2)) {
    const char32_t code = (first & 0x0FU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU);
    if (code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) return {code, 3};
  }
  if (first >= 0xF0 && first <= 0xF4 && tail(1) && tail(2) && tail(3)) {
    const char32_t code = (first & 0x07U) << 18 | (byte(1) & 0x3FU) << 12 | (byte(2) & 0x3FU) << 6 |
                          (byte(3) & 0x3FU);
    if (code >= 0x10000 && code <= 0x10FFFF) return {code, 4};
  }
  return {};
}

bool harmful(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C || code == 0x200E ||
         code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

void append_code(core::byte_buffer& out, char32_t code) {
  constexpr std::string_view digits = "0123456789abcdef";
  switch (code) {
    case '\n':
      return out.append("\\n");
    case '\r':
      return out.append("\\r");
    case '\t':
      return out.append("\\t");
  }
  const std::array<char, 6> escape = {'\\',
                                      'u',
                                      digits[code >> 12 & 15],
                                      digits[code >> 8 & 15],
                                      digits[code >> 4 & 15],
                                      digits[code & 15]};
  out.append({escape.data(), escape.size()});
}

}  // namespace

void append_escaped(core::byte_buffer& out, std::string_view text, std::size_t bytes_max) {
  out.append('"');
  append_escaped_bare(out, text, bytes_max);
  out.append('"');
}

void append_escaped_bare(core::byte_buffer& out, std::string_view text, std::size_t bytes_max) {
  for (std::size_t at = 0; at < text.size();) {
    const auto [code, bytes] = next(text.substr(at));
    const std::size_t taken = bytes == 0 ? 1 : bytes;
    if (at + taken > bytes_max) {
      out.append("\u2026");
      break;
    }
    if (bytes == 0) {
      out.append("\uFFFD");
    } else if (code == '"' || code == '\\') {
      out.append('\\');
      out.append(static_cast<char>(code));
    } else if (harmful(code)) {
      append_code(out, code);
    } else {
      out.append(text.substr(at, bytes));
    }
    at += taken;
  }
}

}  // namespace portcullis::monitoring
