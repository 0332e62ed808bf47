#include "net/rpc/fields.hpp"

#include <algorithm>

#include "core/limits.hpp"

namespace portcullis::net {
namespace {

constexpr unsigned char byte_at(std::string_view text, std::size_t at) noexcept {
  return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
}

// The text is valid UTF-8, so two and three byte sequences can be recognised by their bytes.
bool is_c1(std::string_view text, std::size_t at) noexcept {
  return byte_at(text, at) == 0xC2 && byte_at(text, at + 1) < 0xA0;
}
bool is_bidirectional_override(std::string_view text, std::size_t at) noexcept {
  if (byte_at(text, at) != 0xE2) return false;
  const unsigned second = byte_at(text, at + 1);
  const unsigned third = byte_at(text, at + 2);
  return (second == 0x80 && third >= 0xAA && third <= 0xAE) ||
         (second == 0x81 && third >= 0xA6 && third <= 0xA9);
}

constexpr bool is_name_byte(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}
bool is_name(std::string_view text, std::size_t bytes_max) noexcept {
  return !text.empty() && text.size() <= bytes_max &&
         std::all_of(text.begin(), text.end(), is_name_byte);
}

bool is_lower_hex(std::string_view text) noexcept {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
bool is_all_zero(std::string_view text) noexcept {
  return text.find_first_not_of('0') == std::string_view::npos;
}

}  // namespace

bool has_no_controls(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const unsigned byte = byte_at(text, at);
    if (byte < 0x20 || byte == 0x7F || is_c1(text, at)) return false;
  }
  return true;
}

bool is_identifier_text(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const unsigned byte = byte_at(text, at);
    if (byte < 0x20) return false;
    if (byte >= 0xC2 && (is_c1(text, at) || is_bidirectional_override(text, at))) return false;
  }
  return true;
}

bool is_service_name(std::string_view text) noexcept {
  return is_name(text, core::limits::breaker_name_bytes_max);
}

bool is_correlation_id(std::string_view text) noexcept {
  return is_name(text, core::limits::correlation_id_bytes_max);
}

std::string_view trace_id_of(std::string_view traceparent) noexcept {
  // version "-" trace-id "-" parent-id "-" flags; a later version may append "-" and more.
  if (traceparent.size() < 55) return {};
  if (traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') return {};
  const auto version = traceparent.substr(0, 2);
  const auto trace = traceparent.substr(3, 32);
  const auto parent = traceparent.substr(36, 16);
  const auto flags = traceparent.substr(53, 2);
  if (!is_lower_hex(version) || !is_lower_hex(trace) || !is_lower_hex(parent) ||
      !is_lower_hex(flags))
    return {};
  if (version == "ff" || is_all_zero(trace) || is_all_zero(parent)) return {};
  if (traceparent.size() > 55 && (version == "00" || traceparent[55] != '-')) return {};
  return trace;
}

}  // namespace portcullis::net
