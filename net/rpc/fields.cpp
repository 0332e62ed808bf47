#include "net/rpc/fields.hpp"

#include "core/contract/texts.hpp"
#include "core/limits.hpp"

namespace portcullis::net {
namespace {

bool is_lower_hex(std::string_view text) noexcept {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
bool is_all_zero(std::string_view text) noexcept {
  return text.find_first_not_of('0') == std::string_view::npos;
}

}  // namespace

bool is_correlation_id(std::string_view text) noexcept {
  return core::is_name(text, core::limits::correlation_id_bytes_max);
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
