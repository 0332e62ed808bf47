// The forms of the names and texts that configuration holds. For this folder alone.
#pragma once
#include <string_view>

namespace portcullis::core {

/// 1..64 of [A-Za-z0-9_.-].
[[nodiscard]] bool is_node_name(std::string_view text);
/// What parse_endpoint takes.
[[nodiscard]] bool is_endpoint(std::string_view text);
[[nodiscard]] bool is_endpoint_or_empty(std::string_view text);
/// An address, or a network as ADDRESS/BITS whose other bits are zero.
[[nodiscard]] bool is_address_prefix(std::string_view text);
/// A host name (RFC 1123, 2.1) or an address, without port.
[[nodiscard]] bool is_host_name(std::string_view text);
/// scheme://host[:port], as browsers send it (RFC 6454, 6.2); "null" is none.
[[nodiscard]] bool is_origin(std::string_view text);
/// What a cookie or a header field may be called: a conservative part of token (RFC 9110, 5.6.2).
[[nodiscard]] bool is_field_name_or_empty(std::string_view text);
/// KIND:VALUE, where KIND is DNS, URI, EMAIL or IP.
[[nodiscard]] bool is_alternative_name(std::string_view text);
/// One of log_component_names.
[[nodiscard]] bool is_component_name(std::string_view text);
/// A Prometheus label name that none of our metrics has.
[[nodiscard]] bool is_label_name(std::string_view text);
/// What a request may give as tenant_id, so that no policy is out of reach.
[[nodiscard]] bool is_tenant_name(std::string_view text);

/// SERVICE/BREAKER, where one of the two may be `*`: both would be every breaker, which is
/// `[breaker]` itself.
[[nodiscard]] bool is_breaker_section(std::string_view text);

/// What follows the last dot.
[[nodiscard]] std::string_view last_part(std::string_view dotted_name);

/// The number of single-character edits that turn one text into the other (Levenshtein).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace portcullis::core
