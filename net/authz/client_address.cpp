#include "net/authz/client_address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace portcullis::net {
namespace {

bool is_port(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Without the last entry, and that entry.
std::string_view take_last_entry(std::string_view& list) noexcept {
  const auto comma = list.rfind(',');
  const bool only = comma == std::string_view::npos;
  const auto entry = trim_ows(only ? list : list.substr(comma + 1));
  list = only ? std::string_view() : list.substr(0, comma);
  return entry;
}

}  // namespace

address_text::address_text(const core::ip_address& address) noexcept {
  if (!address.is_v4()) {
    inet_ntop(AF_INET6, address.bytes.data(), text_.data(), INET6_ADDRSTRLEN);
    size_ = std::strlen(text_.data());
    return;
  }
  // inet_ntop prints by format; this is on the way of every request.
  char* at = text_.data();
  for (std::size_t i = 12; i < 16; ++i) {
    if (i > 12) *at++ = '.';
    at = std::to_chars(at, at + 3, address.bytes[i]).ptr;
  }
  size_ = static_cast<std::size_t>(at - text_.data());
}

std::optional<core::ip_address> parse_forwarded_address(std::string_view entry) noexcept {
  if (entry.starts_with('[')) {
    const auto end = entry.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const auto inside = entry.substr(1, end - 1);
    const auto after = entry.substr(end + 1);
    const bool well_formed = after.empty() || (after.front() == ':' && is_port(after.substr(1)));
    if (!well_formed || inside.find(':') == std::string_view::npos) return std::nullopt;
    return core::parse_ip(inside);
  }
  const auto colon = entry.find(':');
  const bool has_port = colon != std::string_view::npos && entry.find('.') < colon;
  if (!has_port) return core::parse_ip(entry);
  if (!is_port(entry.substr(colon + 1))) return std::nullopt;
  return core::parse_ip(entry.substr(0, colon));
}

std::optional<core::ip_address> client_address(const core::ip_address& from,
                                               std::span<const header_field> fields,
                                               const core::address_set& trusted) noexcept {
  core::ip_address nearest = from;
  if (!trusted.contains(from)) return nearest;
  for (auto field = fields.rbegin(); field != fields.rend(); ++field) {
    if (!is_named(field->name, "x-forwarded-for")) continue;
    for (auto list = field->value; !list.empty();) {
      const auto entry = take_last_entry(list);
      if (entry.empty()) continue;
      const auto address = parse_forwarded_address(entry);
      if (!address) return std::nullopt;
      nearest = *address;
      if (!trusted.contains(nearest)) return nearest;
    }
  }
  return nearest;
}

}  // namespace portcullis::net
