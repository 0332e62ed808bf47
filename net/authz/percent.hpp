// Texts as values of header fields.
#pragma once
#include <string_view>

#include "core/bytes.hpp"

namespace portcullis::net {

/// Appends `bytes` with everything but visible ASCII, and with `%`, percent-encoded (RFC 3986, 2.1;
/// upper-case digits): any text becomes the value of one field, and decodes to itself.
inline void append_percent_encoded(core::byte_buffer& out, std::string_view bytes) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  char* const begin = out.reserve(3 * bytes.size());
  char* to = begin;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7F && c != '%') {
      *to++ = c;
      continue;
    }
    *to++ = '%';
    *to++ = digits[byte >> 4];
    *to++ = digits[byte & 15U];
  }
  out.commit(static_cast<std::size_t>(to - begin));
}

}  // namespace portcullis::net
