// A header field of a request, as a parser of HTTP leaves it.
#pragma once
#include <cstddef>
#include <string_view>

namespace portcullis::net {

/// Views the request's bytes. The name in any case; white space around the value does not count.
struct header_field {
  std::string_view name;
  std::string_view value;
};

constexpr char to_lower_ascii(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Whether both are the same but for the case of ASCII letters; `lower` is in lower case.
[[nodiscard]] constexpr bool is_named(std::string_view name, std::string_view lower) noexcept {
  if (name.size() != lower.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i)
    if (to_lower_ascii(name[i]) != lower[i]) return false;
  return true;
}

/// Without spaces and tabs around it (RFC 9110, OWS).
[[nodiscard]] constexpr std::string_view trim_ows(std::string_view text) noexcept {
  // Not by find_first_not_of: on the way of every request, and there is nearly never one.
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace portcullis::net
