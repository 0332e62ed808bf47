#include <algorithm>
#include <charconv>
#include <limits>

#include "core/contract/texts.hpp"
#include "core/event/event.hpp"
#include "core/limits.hpp"
#include "net/rpc/params.hpp"

// The values of params: one reader a type of the contract, then one a method.

namespace portcullis::net {
namespace {

using core::error_code;
using json::token_kind;
namespace limits = core::limits;

constexpr std::string_view name_of(param which) noexcept {
  return param_names[static_cast<std::size_t>(which)];
}

// Bit 0..5: the context's fields in the order of core::context_field; then ip.
constexpr std::size_t context_ip = core::context_field_count;
constexpr auto context_names = [] {
  std::array<std::string_view, context_ip + 1> names;
  std::copy(core::context_field_names.begin(), core::context_field_names.end(), names.begin());
  names[context_ip] = "ip";
  return names;
}();
constexpr json::name_table context_members(context_names);
constexpr std::array<std::string_view, context_ip + 1> context_paths = {"context.user_agent",
                                                                        "context.accept",
                                                                        "context.accept_language",
                                                                        "context.accept_encoding",
                                                                        "context.ja3",
                                                                        "context.ja4",
                                                                        "context.ip"};
static_assert([] {
  for (std::size_t i = 0; i < context_names.size(); ++i)
    if (context_paths[i].substr(std::string_view("context.").size()) != context_names[i])
      return false;
  return true;
}());

core::error invalid(std::string_view field, std::string_view rule, std::int64_t limit = -1,
                    unsigned line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) {
  return core::fail(error_code::INVALID_PARAMS, field, rule, limit, __builtin_FILE(), line,
                    function);
}

}  // namespace

// --- single values

bool params_reader::string_at(std::size_t index, std::string_view field, std::string_view& out) {
  const json::token& value = document_.at(index);
  if (value.kind != token_kind::string) return refuse(invalid(field, "string"));
  if (value.lone_surrogate) return refuse(invalid(field, "lone_surrogate"));
  out = document_.text(index);
  return true;
}

bool params_reader::read_string(param which, std::size_t bytes_min, std::size_t bytes_max,
                                std::string_view& out) {
  if (!has(which)) return true;
  std::string_view text;
  if (!string_at(place(which), name_of(which), text)) return false;
  if (text.size() < bytes_min)
    return refuse(invalid(name_of(which), "bytes_min", static_cast<std::int64_t>(bytes_min)));
  if (text.size() > bytes_max)
    return refuse(invalid(name_of(which), "bytes_max", static_cast<std::int64_t>(bytes_max)));
  out = text;
  return true;
}

bool params_reader::read_identifier(param which, std::size_t bytes_max, std::string_view& out) {
  std::string_view text;
  if (!read_string(which, 1, bytes_max, text)) return false;
  if (!core::is_identifier_text(text))
    return refuse(invalid(name_of(which), "no_controls_or_bidirectional_overrides"));
  out = text;
  return true;
}

bool params_reader::read_integer(param which, std::int64_t min, std::int64_t max,
                                 std::int64_t& out) {
  return !has(which) || integer_at(place(which), name_of(which), min, max, out);
}

bool params_reader::integer_at(std::size_t index, std::string_view field, std::int64_t min,
                               std::int64_t max, std::int64_t& out) {
  if (document_.at(index).kind != token_kind::number) return refuse(invalid(field, "integer"));
  const std::string_view text = document_.raw(index);
  std::int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ptr != text.data() + text.size())
    return refuse(invalid(field, "integer_without_fraction_or_exponent"));
  const bool out_of_range = read.ec == std::errc::result_out_of_range;
  const bool negative = text.front() == '-';
  if (out_of_range ? negative : value < min) return refuse(invalid(field, "min", min));
  if (out_of_range || value > max) return refuse(invalid(field, "max", max));
  out = value;
  return true;
}

bool params_reader::read_boolean(param which, bool& out) {
  if (!has(which)) return true;
  const token_kind kind = document_.at(place(which)).kind;
  if (kind != token_kind::literal_true && kind != token_kind::literal_false)
    return refuse(invalid(name_of(which), "boolean"));
  out = kind == token_kind::literal_true;
  return true;
}

bool params_reader::read_session_id(param which, core::session_id& out) {
  if (!has(which)) return true;
  std::string_view text;
  if (!string_at(place(which), name_of(which), text)) return false;
  if (!core::from_hex(text, out.bytes))
    return refuse(invalid(name_of(which), "64_lower_case_hex_digits"));
  return true;
}

bool params_reader::read_handle(core::session_handle& out) {
  std::string_view text;
  if (!string_at(place(param::handle), "handle", text)) return false;
  const auto handle = core::parse_handle(text);
  if (!handle && !core::has_handle_form(text))
    return refuse(invalid("handle", "s_and_22_characters_of_base64url"));
  // A second text of a handle is well-formed, and unknown: one handle has one text.
  out = handle.value_or(core::nothings_handle);
  return true;
}

bool params_reader::read_alias(std::string_view& out) {
  std::string_view text;
  if (!read_string(param::alias, limits::alias_bytes_min, limits::alias_bytes_max, text))
    return false;
  if (!core::is_identifier_text(text))
    return refuse(invalid("alias", "no_controls_or_bidirectional_overrides"));
  out = text;
  return true;
}

/// By its id, or by its alias and whose it is.
bool params_reader::read_named_session(core::session_id& id, core::session_alias& by) {
  if (!has(param::alias)) {
    if (has(param::tenant_id)) return refuse(invalid("tenant_id", "only_with_alias"));
    return read_session_id(param::session_id, id);
  }
  if (has(param::session_id)) return refuse(invalid("alias", "not_with_session_id"));
  if (!has(param::tenant_id)) return refuse(invalid("tenant_id", "required"));
  return read_identifier(param::tenant_id, limits::tenant_id_bytes_max, by.tenant_id) &&
         read_alias(by.alias);
}

bool params_reader::read_ttl(param which, std::optional<std::int64_t>& out) {
  if (!has(which)) return true;
  constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
  constexpr auto highest = std::numeric_limits<std::int64_t>::max();
  std::int64_t value = 0;
  if (!read_integer(which, lowest, highest, value)) {
    // A whole number that is too large for us is not malformed, but out of every policy's range.
    if (error_->rule == "min" || error_->rule == "max")
      error_ = core::fail(error_code::TTL_OUT_OF_RANGE, name_of(which), error_->rule);
    return false;
  }
  if (value < 1) return refuse(core::fail(error_code::TTL_OUT_OF_RANGE, name_of(which), "min", 1));
  out = value;
  return true;
}

bool params_reader::read_version(std::optional<std::uint32_t>& out) {
  if (!has(param::version)) return true;
  using limits = std::numeric_limits<std::int64_t>;
  std::int64_t value = 0;
  if (!read_integer(param::version, limits::min(), limits::max(), value)) {
    if (error_->rule != "min" && error_->rule != "max") return false;
    error_.reset();
  }
  // An integer that no version can be is stale, not malformed; no session's version is 0.
  const bool possible = value >= 1 && value <= std::numeric_limits<std::uint32_t>::max();
  out = possible ? static_cast<std::uint32_t>(value) : 0;
  return true;
}

// --- compound values

bool params_reader::read(core::user_name& out) {
  return read_identifier(param::tenant_id, limits::tenant_id_bytes_max, out.tenant_id) &&
         read_identifier(param::user_id, limits::user_id_bytes_max, out.user_id);
}

bool params_reader::read(core::page_request& out) {
  std::int64_t limit = limits::page_rows_default;
  if (!read_integer(param::limit, 1, limits::page_rows_max, limit)) return false;
  out.limit = static_cast<std::uint32_t>(limit);
  if (!has(param::cursor)) return true;
  std::string_view cursor;
  if (!string_at(place(param::cursor), "cursor", cursor)) return false;
  // No cursor that was ever given out is empty or as long.
  if (cursor.empty() || cursor.size() > limits::cursor_bytes_max)
    return refuse(core::fail(error_code::CURSOR_INVALID, "cursor"));
  out.cursor = cursor;
  return true;
}

bool params_reader::read_context(core::context& out) {
  const std::size_t index = place(param::context);
  const json::token& context = document_.at(index);
  if (context.kind != token_kind::object) return refuse(invalid("context", "object"));
  unsigned seen = 0;
  for (std::size_t key = index + 1; key < context.next; key = document_.at(key + 1).next)
    if (!read_context_member(key, out, seen)) return false;
  return (seen >> context_ip & 1U) != 0 || limits_.context_ip_optional ||
         refuse(invalid("context.ip", "required"));
}

bool params_reader::read_context_member(std::size_t key, core::context& out, unsigned& seen) {
  if (document_.at(key).lone_surrogate) return refuse(invalid("context", "lone_surrogate"));
  const std::size_t which = context_members.find(document_.text(key));
  if (which > context_ip) return refuse(invalid("context", "unknown_parameter"));
  const std::string_view path = context_paths[which];
  if ((seen >> which & 1U) != 0) return refuse(invalid(path, "duplicate_key"));
  seen |= 1U << which;
  std::string_view text;
  if (!string_at(key + 1, path, text)) return false;
  if (text.size() > limits::context_field_bytes_max)
    return refuse(
        invalid(path, "bytes_max", static_cast<std::int64_t>(limits::context_field_bytes_max)));
  if (which != context_ip) {
    out.fields[which] = text;
    return true;
  }
  if (text.empty()) return refuse(invalid(path, "required"));
  const auto address = core::parse_ip(text);
  if (!address) return refuse(invalid(path, "ipv4_or_ipv6_text"));
  out.ip = *address;
  return true;
}

bool params_reader::read_data(std::string_view& out) {
  if (!has(param::data)) return true;
  const std::size_t index = place(param::data);
  if (document_.at(index).kind != token_kind::object) return refuse(invalid("data", "object"));
  const std::string_view ambiguity = document_.ambiguity(index);
  if (!ambiguity.empty()) return refuse(invalid("data", ambiguity));
  const std::string_view data = document_.minify(index);
  if (data.size() > limits_.data_bytes_max)
    return refuse(core::fail(error_code::DATA_TOO_LARGE, "data", "bytes_max",
                             static_cast<std::int64_t>(limits_.data_bytes_max)));
  out = data;
  return true;
}

bool params_reader::read_types(std::vector<std::string_view>& out) {
  if (!has(param::types)) return true;
  const std::size_t index = place(param::types);
  const json::token& types = document_.at(index);
  if (types.kind != token_kind::array) return refuse(invalid("types", "array_of_strings"));
  for (std::size_t i = index + 1; i < types.next; i = document_.at(i).next) {
    std::string_view name;
    if (!string_at(i, "types", name)) return false;
    if (!core::parse_event_type(name)) return refuse(invalid("types", "event_type"));
    if (out.size() == limits::event_types_per_filter_max)
      return refuse(invalid("types", "entries_max", limits::event_types_per_filter_max));
    out.push_back(name);
  }
  // An empty list would pass nothing, or everything: ask for what is meant.
  return !out.empty() || refuse(invalid("types", "entries_min", 1));
}

// --- one a method

bool params_reader::read(core::validate_session& out) {
  return read_named_session(out.id, out.by) && read_context(out.context) &&
         read_boolean(param::touch, out.touch);
}

bool params_reader::read(core::create_session& out) {
  return read(out.user) && (!has(param::alias) || read_alias(out.alias)) &&
         read_context(out.context) && read_ttl(param::idle_ttl_s, out.idle_ttl_s) &&
         read_ttl(param::absolute_ttl_s, out.absolute_ttl_s) && read_data(out.data);
}

bool params_reader::read(core::update_session& out) {
  return read_named_session(out.id, out.by) && read_context(out.context) &&
         read_version(out.version) && read_data(out.data);
}

bool params_reader::read(core::rotate_session& out) {
  return read_named_session(out.id, out.by) && read_context(out.context) &&
         read_boolean(param::grace, out.grace);
}

bool params_reader::read(core::revoke_session& out) {
  if (has(param::session_id) + has(param::handle) + has(param::alias) != 1)
    return refuse(invalid("session_id", "exactly_one_of_session_id_handle_and_alias"));
  auto& id = out.target.emplace<core::session_id>();
  if (!has(param::handle)) return read_named_session(id, out.by);
  if (has(param::tenant_id)) return refuse(invalid("tenant_id", "only_with_alias"));
  return read_handle(out.target.emplace<core::session_handle>());
}

bool params_reader::read(core::revoke_user& out) {
  if (!read(out.user)) return false;
  if (!has(param::except_session_id)) return true;
  return read_session_id(param::except_session_id, out.except.emplace());
}

bool params_reader::read(core::revoke_tenant& out) {
  return read_identifier(param::tenant_id, limits::tenant_id_bytes_max, out.tenant_id);
}

bool params_reader::read(core::list_sessions& out) { return read(out.user) && read(out.page); }

bool params_reader::read(core::find_sessions& out) {
  if (has(param::ip) == has(param::user_agent))
    return refuse(invalid("ip", "exactly_one_of_ip_and_user_agent"));
  if (!read_identifier(param::tenant_id, limits::tenant_id_bytes_max, out.tenant_id) ||
      !read(out.page))
    return false;
  std::string_view text;
  if (has(param::user_agent)) {
    if (!read_string(param::user_agent, 1, limits::context_field_bytes_max, text)) return false;
    out.by = text;
    return true;
  }
  if (!string_at(place(param::ip), "ip", text)) return false;
  const auto address = core::parse_ip(text);
  if (!address) return refuse(invalid("ip", "ipv4_or_ipv6_text"));
  out.by = *address;
  return true;
}

bool params_reader::read(core::lockout_status& out) { return read(out.user); }

bool params_reader::read(core::list_lockouts& out) {
  return read_identifier(param::tenant_id, limits::tenant_id_bytes_max, out.tenant_id) &&
         read(out.page);
}

bool params_reader::read(core::clear_lockout& out) {
  return read(out.user) && read_reason(out.reason);
}

bool params_reader::read(core::forget_user& out) {
  return read(out.user) && read_reason(out.reason);
}

bool params_reader::read(core::subscribe_events& out) {
  if (!read_identifier(param::tenant_id, limits::tenant_id_bytes_max, out.tenant_id) ||
      !read_types(out.types))
    return false;
  return !has(param::after) || read_after(out.after.emplace());
}

bool params_reader::read(core::unsubscribe_events& out) {
  return read_string(param::subscription, 1, limits::cursor_bytes_max, out.subscription);
}

bool params_reader::read(core::query_events& out) {
  constexpr auto latest = std::numeric_limits<std::int64_t>::max();
  core::user_name user;
  core::page_request page;
  std::int64_t from_ms = 0;
  std::int64_t to_ms = 0;
  if (!read(user) || !read(page) || !read_types(out.types) ||
      !read_integer(param::from_ms, 0, latest, from_ms) ||
      !read_integer(param::to_ms, 0, latest, to_ms) ||
      !read_string(param::service, 1, limits::breaker_name_bytes_max, out.service))
    return false;
  if (has(param::service) && !core::is_name(out.service, limits::breaker_name_bytes_max))
    return refuse(invalid("service", "letters_digits_underscore_dot_hyphen"));
  out.tenant_id = user.tenant_id;
  out.user_id = user.user_id;
  out.limit = page.limit;
  if (has(param::from_ms)) out.from_ms = from_ms;
  if (has(param::to_ms)) out.to_ms = to_ms;
  if (has(param::handle) && !read_handle(out.handle.emplace())) return false;
  return !has(param::after) || read_after(out.after.emplace());
}

bool params_reader::read_after(std::string_view& out) {
  if (!string_at(place(param::after), "after", out)) return false;
  return out.size() <= limits::cursor_bytes_max ||
         refuse(core::fail(error_code::CURSOR_INVALID, "after"));
}

bool params_reader::read(core::info_request& out) {
  return read_boolean(param::digest, out.digest);
}

bool params_reader::read(core::list_connections& out) { return read(out.page); }

bool params_reader::read(core::login& out) {
  return string_at(place(param::token), "token", out.token);
}

bool params_reader::read(core::backup& out) {
  if (!read_string(param::path, 1, limits::path_bytes_max, out.path)) return false;
  return out.path.find('\0') == std::string_view::npos || refuse(invalid("path", "no_nul"));
}

bool params_reader::read(core::crash_actor& out) {
  return read_string(param::actor, 1, limits::breaker_name_bytes_max, out.actor);
}

}  // namespace portcullis::net
