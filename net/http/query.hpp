// The query of a target: names and values, percent-encoded.
#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace portcullis::net {

/// Takes the next `name=value` off the front of `query`. False when none is left.
[[nodiscard]] inline bool take_parameter(std::string_view& query, std::string_view& name,
                                         std::string_view& value) noexcept {
  while (query.starts_with('&')) query.remove_prefix(1);
  if (query.empty()) return false;
  const auto size = std::min(query.find('&'), query.size());
  const auto part = query.substr(0, size);
  query.remove_prefix(size);
  const auto equals = std::min(part.find('='), part.size());
  name = part.substr(0, equals);
  value = part.substr(std::min(equals + 1, part.size()));
  return true;
}

/// The text that a value stands for: `%XX` is a byte, `+` a space (as HTML forms and
/// URLSearchParams write it). Absent for a `%` that is followed by something else.
[[nodiscard]] inline std::optional<std::string> decode_parameter(std::string_view value) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string text;
  text.reserve(value.size());
  for (std::size_t at = 0; at < value.size(); ++at) {
    if (value[at] != '%') {
      text += value[at] == '+' ? ' ' : value[at];
      continue;
    }
    if (value.size() - at < 3) return std::nullopt;
    const int high = digit(value[at + 1]), low = digit(value[at + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    text += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return text;
}

}  // namespace portcullis::net
