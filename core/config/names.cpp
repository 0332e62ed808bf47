#include "core/config/names.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/config/config.hpp"
#include "core/contract/address_set.hpp"
#include "core/contract/texts.hpp"

namespace portcullis::core {
namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

// Labels of our own metrics (docs/metrics.md), of this version and of what comes: a constant label
// of the same name would be a series with two of them.
constexpr std::string_view own_labels[] = {
    "actor", "service", "breaker", "source",  "state",  "result",  "kind",     "from",
    "to",    "reason",  "outcome", "scope",   "method", "error",   "le",       "listener",
    "op",    "route",   "status",  "resumed", "level",  "version", "revision", "quantile"};

}  // namespace

bool is_node_name(std::string_view text) { return is_name(text, limits::node_name_bytes_max); }

bool is_endpoint(std::string_view text) { return parse_endpoint(text).has_value(); }

bool is_endpoint_or_empty(std::string_view text) { return text.empty() || is_endpoint(text); }

bool is_address_prefix(std::string_view text) { return address_set::parse_one(text).has_value(); }

bool is_host_name(std::string_view text) {
  if (parse_ip(text)) return true;
  return !text.empty() && !text.starts_with('.') && !text.starts_with('-') &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return lower(c) || upper(c) || digit(c) || c == '-' || c == '.';
         });
}

bool is_origin(std::string_view text) {
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return false;
  const auto rest = text.substr(scheme + 3);
  return !rest.empty() &&
         text.find_first_of(" /\\?#@,*\"'", scheme + 3) == std::string_view::npos &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7F && !upper(c); });
}

bool is_field_name_or_empty(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return lower(c) || upper(c) || digit(c) || c == '-' || c == '_' || c == '.';
  });
}

bool is_alternative_name(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return false;
  const auto kind = text.substr(0, colon), value = text.substr(colon + 1);
  if (kind == "IP") {
    const auto address = parse_ip(value);
    return address && to_text(*address) == value;  // one text for one address
  }
  return (kind == "DNS" || kind == "URI" || kind == "EMAIL") &&
         std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

bool is_component_name(std::string_view text) {
  return std::find(log_component_names.begin(), log_component_names.end(), text) !=
         log_component_names.end();
}

bool is_label_name(std::string_view text) {
  if (text.empty() || text.size() > 64 || digit(text.front()) || text.starts_with("__"))
    return false;
  if (std::find(std::begin(own_labels), std::end(own_labels), text) != std::end(own_labels))
    return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return lower(c) || upper(c) || digit(c) || c == '_'; });
}

bool is_tenant_name(std::string_view text) {
  return !text.empty() && text.size() <= limits::tenant_id_bytes_max && is_identifier_text(text);
}

bool is_breaker_section(std::string_view text) { return text != "*/*" && is_breaker_pattern(text); }

std::string_view last_part(std::string_view dotted_name) {
  return dotted_name.substr(dotted_name.rfind('.') + 1);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace portcullis::core
