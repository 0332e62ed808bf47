// A strict, resumable scanner of one JSON value (RFC 8259) in a byte buffer. It checks form and
// UTF-8, finds the value's end, and leaves a tape of tokens so that nothing is scanned twice.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/limits.hpp"

namespace portcullis::net::json {

enum class token_kind : std::uint8_t {
  object,
  array,
  string,
  number,
  literal_true,
  literal_false,
  literal_null
};

/// One value, or one key of an object. Offsets count from the value's first byte.
struct token {
  std::uint32_t begin = 0;  // strings: the first byte inside the quotes; all else: the first byte
  std::uint32_t end = 0;    // strings: the closing quote; all else: one past the last byte
  std::uint32_t next = 0;   // index of the token after this one and all that is inside it
  token_kind kind = token_kind::literal_null;
  bool escaped = false;         // a string with at least one backslash
  bool lone_surrogate = false;  // a string with a \uD800..\uDFFF that is no pair
};
static_assert(sizeof(token) == 16);

enum class scan_status : std::uint8_t { complete, incomplete, malformed, too_large, too_deep };

struct scan_limits {
  std::size_t value_bytes_max = core::limits::value_bytes_max;
  std::size_t nesting_depth_max = core::limits::nesting_depth_max;  // `{}` has depth 1; at most 64
};

/// Scans one value, in as many steps as its bytes come in; the total work is linear in the value's
/// length. Not thread-safe; an instance is reused, and then allocates nothing.
class scanner {
 public:
  explicit scanner(scan_limits limits = {});

  /// Forgets the value: the next resume() starts a new one. Keeps the tape's memory.
  void reset() noexcept;

  /// Goes on where the last call stopped. `bytes` starts with the value's first byte (no white
  /// space before it), holds all that was given before, at whatever address, and possibly more.
  /// `eof`: no more will come.
  ///
  /// - complete: the value is bytes[0, end()); what follows may be another value, without any
  ///   delimiter. A top-level number or literal is complete only when the byte after it, or `eof`,
  ///   shows its end.
  /// - incomplete: more is needed; never with `eof`.
  /// - malformed: offset() is the offending byte; bytes.size() when the value ends too early at
  ///   `eof`.
  /// - too_large: the value is longer than value_bytes_max; found without looking past that byte.
  /// - too_deep: offset() is the bracket that opens one level too many.
  ///
  /// After anything but incomplete only reset() may follow. Duplicate keys and lone surrogates are
  /// no errors.
  [[nodiscard]] scan_status resume(std::string_view bytes, bool eof);

  [[nodiscard]] std::size_t end() const noexcept { return position_; }
  [[nodiscard]] std::size_t offset() const noexcept { return position_; }

  /// The complete value's tokens in the order of the text; the first is the value itself. The
  /// caller may change them (the decoder unescapes in place); they live until reset().
  [[nodiscard]] std::span<token> tape() noexcept { return {tape_.data(), count_}; }

 private:
  enum class state : std::uint8_t {
    value,
    first_element,  // a value or ]
    first_key,      // a string or }
    key,
    colon,
    after_value,
    in_string,  // from here on: inside a token, where white space is not skipped
    number_minus,
    number_zero,
    number_int,
    number_point,
    number_fraction,
    number_e,
    number_e_sign,
    number_exponent,
    literal,
    finished
  };
  enum class step : std::uint8_t { go_on, starved, bad, deep };

  scan_status scan(std::string_view bytes, bool eof);
  step run(const char* bytes, std::size_t size);
  step slow_step(const char* bytes, std::size_t size);
  void push(token_kind kind, std::size_t begin);
  token& last() noexcept { return tape_[count_ - 1]; }
  step open(token_kind kind);
  step close(bool object);
  step start_value(char first);
  step scan_escape(const char* bytes, std::size_t size);
  step scan_utf8(const char* bytes, std::size_t size);
  step scan_number(const char* bytes, std::size_t size);
  step scan_literal(const char* bytes, std::size_t size);
  step end_scalar(char next);
  void value_ended() noexcept { state_ = depth_ == 0 ? state::finished : state::after_value; }
  [[nodiscard]] bool ends_at_eof() const noexcept;

  scan_limits limits_;
  std::vector<token> tape_;  // the first count_ are used
  std::uint32_t count_ = 0;
  std::size_t position_ = 0;
  std::uint64_t objects_ = 0;  // a bit an open container, the innermost lowest: 1 is an object
  std::uint32_t open_ = 0;  // the innermost open container; its `next` holds its parent meanwhile
  std::uint32_t depth_ = 0;
  state state_ = state::value;
  bool string_is_key_ = false;
  bool recording_ =
      true;  // false: the tape was dropped while waiting, and is made again at the end
};

}  // namespace portcullis::net::json
