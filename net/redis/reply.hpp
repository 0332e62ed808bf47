// A reply of a Redis server: RESP2, taken apart.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::net::redis {

enum class reply_type : std::uint8_t { nil, status, error, integer, text, array };

/// One value, which owns what it consists of. At most limits::reply_depth_max arrays deep and
/// limits::reply_elements_max values large.
struct reply {
  reply_type type = reply_type::nil;
  std::int64_t integer = 0;          // of an integer
  std::string text = {};             // of a status, an error or a text; any bytes
  std::vector<reply> elements = {};  // of an array

  [[nodiscard]] bool is(reply_type what) const noexcept { return type == what; }
  [[nodiscard]] bool is_ok() const noexcept { return is(reply_type::status) && text == "OK"; }
  /// The first word of an error, by which programs tell errors apart; empty for anything else.
  [[nodiscard]] std::string_view error_code() const noexcept {
    if (!is(reply_type::error)) return {};
    return std::string_view(text).substr(0, text.find(' '));
  }
  friend bool operator==(const reply&, const reply&) = default;
};

}  // namespace portcullis::net::redis
