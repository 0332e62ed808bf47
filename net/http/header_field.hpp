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
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace portcullis::net
