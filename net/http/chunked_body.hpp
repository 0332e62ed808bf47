// A body in the chunked coding (RFC 9112, 7.1), one byte after the other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/bytes.hpp"

namespace portcullis::net {

/// Extensions and trailer fields are dropped, but must be well-formed and, with the chunks' sizes,
/// no longer than `framing_bytes_max`.
class chunked_body {
 public:
  enum class status : std::uint8_t { need_more, complete, malformed, too_large };

  chunked_body(std::size_t bytes_max, std::size_t framing_bytes_max)
      : bytes_max_(bytes_max), framing_bytes_max_(framing_bytes_max) {}

  /// Takes bytes up to the body's end; `used` is how many. Must not be called again unless more is
  /// needed.
  [[nodiscard]] status feed(std::string_view bytes, std::size_t& used);
  /// What came in the chunks.
  [[nodiscard]] std::string_view view() const noexcept { return body_.view(); }

 private:
  enum class at : std::uint8_t {
    size,       // a chunk's first digit
    digits,     // its further ones
    space,      // after those
    extension,  // what follows them
    size_end,   // LF
    data,
    data_cr,
    data_end,
    trailer,  // a field's first byte, or the CR of the end
    name,
    value,
    line_end,
    last_end
  };
  [[nodiscard]] status step(char c);
  [[nodiscard]] status after_digits(char c);
  [[nodiscard]] status expect(char c, char what, at next) noexcept;

  std::size_t bytes_max_, framing_bytes_max_;
  std::size_t framing_bytes_ = 0;
  std::uint64_t left_ = 0;  // of the chunk
  at at_ = at::size;
  core::byte_buffer body_;
};

}  // namespace portcullis::net
