#include "net/http/host_rules.hpp"

#include <algorithm>
#include <utility>

namespace portcullis::net {
namespace {

bool is_port(std::string_view text) noexcept {
  return text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// The host without its port, an IPv6 address without its brackets; empty when malformed.
struct host_part {
  std::string_view text;
  bool bracketed = false;
};
host_part without_port(std::string_view host) noexcept {
  const bool bracketed = host.starts_with('[');
  const auto end = bracketed ? host.find(']') : host.find(':');
  const auto after = bracketed ? end + 1 : end;
  if (bracketed && end == std::string_view::npos) return {};
  if (after < host.size() && (host[after] != ':' || !is_port(host.substr(after + 1)))) return {};
  return {bracketed ? host.substr(1, end - 1) : host.substr(0, end), bracketed};
}

}  // namespace

bool is_loopback(const core::ip_address& address) noexcept {
  if (address.is_v4()) return address.bytes[12] == 127;
  core::ip_address one;
  one.bytes[15] = 1;
  return address == one;
}

host_rules::host_rules(settings from)
    : origins_(std::move(from.origins)),
      on_loopback_(from.listener && is_loopback(*from.listener)) {
  for (auto& host : from.hosts) {
    const auto inside = without_port(host);
    if (const auto address = core::parse_ip(inside.bracketed ? inside.text : host)) {
      addresses_.push_back(*address);
      continue;
    }
    std::transform(host.begin(), host.end(), host.begin(), to_lower_ascii);
    names_.push_back(std::move(host));
  }
  if (from.listener) addresses_.push_back(*from.listener);
  if (on_loopback_) names_.emplace_back("localhost");
}

bool host_rules::address_allowed(const core::ip_address& address) const noexcept {
  return (on_loopback_ && is_loopback(address)) ||
         std::find(addresses_.begin(), addresses_.end(), address) != addresses_.end();
}

bool host_rules::host_allowed(std::string_view host) const noexcept {
  const auto part = without_port(host);
  if (part.text.empty()) return false;
  const bool v6 = part.text.find(':') != std::string_view::npos;
  if (part.bracketed && !v6) return false;
  if (const auto address = core::parse_ip(part.text)) return address_allowed(*address);
  if (part.bracketed) return false;
  return std::any_of(names_.begin(), names_.end(),
                     [&](const std::string& name) { return is_named(part.text, name); });
}

bool host_rules::origin_allowed(std::string_view origin) const noexcept {
  return origin != "null" && std::find(origins_.begin(), origins_.end(), origin) != origins_.end();
}

bool is_cross_site(std::span<const header_field> fields) noexcept {
  return std::any_of(fields.begin(), fields.end(), [](const header_field& field) {
    return is_named(field.name, "sec-fetch-site") && is_named(field.value, "cross-site");
  });
}

bool is_json_media_type(std::string_view content_type) noexcept {
  constexpr std::string_view json = "application/json";
  const auto first = content_type.find_first_not_of(" \t");
  if (first == std::string_view::npos) return false;
  content_type.remove_prefix(first);
  if (!is_named(content_type.substr(0, json.size()), json)) return false;
  content_type.remove_prefix(json.size());
  const auto next = content_type.find_first_not_of(" \t");
  if (next == std::string_view::npos) return true;
  // A comma inside a quoted parameter is no list, but nobody's parameter either.
  return content_type[next] == ';' && content_type.find(',') == std::string_view::npos;
}

}  // namespace portcullis::net
