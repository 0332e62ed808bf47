#include "net/rpc/params.hpp"

#include <bit>

#include "net/rpc/fields.hpp"

// This file: which method takes which parameters, and params as a whole. Single values:
// params_values.cpp.

namespace portcullis::net {
namespace {

using core::error_code;
using core::method;
using json::token_kind;

template <class... Params>
constexpr param_set set_of(Params... which) noexcept {
  return (param_set{0} | ... | (param_set{1} << static_cast<unsigned>(which)));
}

struct signature {
  param_set required = 0;
  param_set optional = 0;
  param_set without_alias = 0;  // required where there is no `alias`
};

constexpr signature signature_of(method value) noexcept {
  using enum param;
  switch (value) {
    case method::session_validate:
      return {set_of(context), set_of(alias, tenant_id, touch), set_of(session_id)};
    case method::session_create:
      return {set_of(tenant_id, user_id, context), set_of(alias, data, idle_ttl_s, absolute_ttl_s)};
    case method::session_update:
      return {set_of(context, data), set_of(alias, tenant_id, version), set_of(session_id)};
    case method::session_rotate:
      return {set_of(context), set_of(alias, tenant_id, grace), set_of(session_id)};
    case method::session_revoke:
      return {0, set_of(session_id, handle, alias, tenant_id)};
    case method::session_revoke_user:
      return {set_of(tenant_id, user_id), set_of(except_session_id)};
    case method::session_revoke_tenant:
      return {set_of(tenant_id), 0};
    case method::session_list:
      return {set_of(tenant_id, user_id), set_of(limit, cursor)};
    case method::session_find:
      return {set_of(tenant_id), set_of(ip, user_agent, limit, cursor)};
    case method::lockout_status:
      return {set_of(tenant_id, user_id), 0};
    case method::lockout_list:
      return {0, set_of(tenant_id, limit, cursor)};
    case method::lockout_clear:
    case method::admin_forget:
      return {set_of(tenant_id, user_id, reason), 0};
    case method::breaker_acquire:
    case method::breaker_status:
      return {set_of(service), set_of(breaker)};
    case method::breaker_report:
      return {set_of(service, outcome, duration_ms), set_of(breaker, epoch, permit, error_kind)};
    case method::breaker_report_batch:
      return {set_of(service, source, seq, epoch, counts), set_of(breaker, duration_buckets)};
    case method::breaker_observe:
      return {set_of(service, source, source_epoch, seq, state, counts),
              set_of(breaker, duration_buckets, transition)};
    case method::breaker_list:
      return {0, set_of(limit, cursor)};
    case method::breaker_override:
      return {set_of(service, mode, reason), set_of(breaker, ttl_s)};
    case method::breaker_reset:
      return {set_of(service, reason), set_of(breaker)};
    case method::events_subscribe:
      return {0, set_of(after, types, tenant_id)};
    case method::events_unsubscribe:
      return {set_of(subscription), 0};
    case method::events_query:
      return {0, set_of(after, limit, types, tenant_id, user_id, handle, service, from_ms, to_ms)};
    case method::server_info:
      return {0, set_of(digest)};
    case method::server_connections:
      return {0, set_of(limit, cursor)};
    case method::auth_login:
      return {set_of(token), 0};
    case method::admin_backup:
      return {set_of(path), 0};
    case method::admin_crash:
      return {set_of(actor), 0};
    case method::session_stats:
    case method::server_ping:
    case method::server_version:
    case method::admin_reload:
    case method::admin_drain:
    case method::admin_rotate_keys:
      return {};
  }
  __builtin_unreachable();
}

}  // namespace

std::optional<core::error> params_reader::read(method called, std::size_t index,
                                               core::request& out) {
  out.method = called;
  const bool whole = (index == 0 || collect(called, index)) && !error_ &&
                     require(needed_by(called)) && dispatch(called, out);
  out.has_alias = has(param::alias);
  out.correlation_id = correlation_id_;
  return whole ? std::nullopt : error_;
}

void params_reader::read_correlation_id(std::size_t index) {
  if (index == 0 || document_.at(index).kind != token_kind::object) return;
  const std::size_t end = document_.at(index).next;
  for (std::size_t key = index + 1; key < end; key = document_.at(key + 1).next) {
    if (document_.text(key) != "_meta") continue;
    places_[static_cast<std::size_t>(param::meta)] = static_cast<std::uint32_t>(key + 1);
    static_cast<void>(read_meta());
    return;
  }
}

bool params_reader::collect(method called, std::size_t index) {
  const json::token& params = document_.at(index);
  if (params.kind == token_kind::array) {
    const bool ignores = called == method::server_ping || called == method::server_version;
    if (params.next != index + 1 && !ignores)
      return refuse(core::fail(error_code::INVALID_PARAMS, "params", "object"));
    const std::string_view ambiguity = document_.ambiguity(index);
    if (!ambiguity.empty())
      return refuse(core::fail(error_code::INVALID_PARAMS, "params", ambiguity));
    return true;
  }
  if (params.kind != token_kind::object)
    return refuse(core::fail(error_code::INVALID_PARAMS, "params", "object"));

  const signature expected = signature_of(called);
  const param_set allowed =
      expected.required | expected.optional | expected.without_alias | set_of(param::meta);
  // Goes on after an error, so that _meta is found wherever it stands.
  for (std::size_t key = index + 1; key < params.next; key = document_.at(key + 1).next)
    collect_member(key, allowed);
  if (has(param::meta)) read_meta();
  return !error_;
}

bool params_reader::collect_member(std::size_t key, param_set allowed) {
  if (document_.at(key).lone_surrogate)
    return refuse(core::fail(error_code::INVALID_PARAMS, "params", "lone_surrogate"));
  const std::size_t which = param_names.find(document_.text(key));
  if (which == param_count || (allowed >> which & 1) == 0)
    return refuse(core::fail(error_code::INVALID_PARAMS, "params", "unknown_parameter"));
  const param_set bit = param_set{1} << which;
  if ((seen_ & bit) != 0)
    return refuse(core::fail(error_code::INVALID_PARAMS, param_names[which], "duplicate_key"));
  seen_ |= bit;
  places_[which] = static_cast<std::uint32_t>(key + 1);
  return true;
}

param_set params_reader::needed_by(method called) const noexcept {
  const signature expected = signature_of(called);
  return expected.required | (has(param::alias) ? 0 : expected.without_alias);
}

bool params_reader::require(param_set needed) {
  const param_set missing = needed & ~seen_;
  if (missing == 0) return true;
  return refuse(core::fail(error_code::INVALID_PARAMS,
                           param_names[static_cast<std::size_t>(std::countr_zero(missing))],
                           "required"));
}

bool params_reader::read_meta() {
  const std::size_t index = place(param::meta);
  const json::token& meta = document_.at(index);
  if (meta.kind != token_kind::object)
    return refuse(core::fail(error_code::INVALID_PARAMS, "_meta", "object"));
  const std::string_view ambiguity = document_.ambiguity(index);
  if (!ambiguity.empty()) return refuse(core::fail(error_code::INVALID_PARAMS, "_meta", ambiguity));
  bool good = true;
  for (std::size_t key = index + 1; key < meta.next; key = document_.at(key + 1).next)
    good = read_meta_member(document_.text(key), key + 1) && good;
  if (correlation_id_.empty()) correlation_id_ = trace_id_;
  return good;
}

bool params_reader::read_meta_member(std::string_view name, std::size_t value) {
  const bool is_string = document_.at(value).kind == token_kind::string;
  if (name == "traceparent") {
    if (is_string) trace_id_ = trace_id_of(document_.text(value));
  } else if (name == "correlation_id") {
    if (!is_string)
      return refuse(core::fail(error_code::INVALID_PARAMS, "_meta.correlation_id", "string"));
    const std::string_view text = document_.text(value);
    if (!is_correlation_id(text))
      return refuse(core::fail(error_code::INVALID_PARAMS, "_meta.correlation_id",
                               "1_to_64_of_letters_digits_dot_underscore_hyphen"));
    correlation_id_ = text;
  }
  return true;
}

bool params_reader::dispatch(method called, core::request& out) {
  core::request_params& to = out.params;
  switch (called) {
    case method::session_validate:
      return read(to.emplace<core::validate_session>());
    case method::session_create:
      return read(to.emplace<core::create_session>());
    case method::session_update:
      return read(to.emplace<core::update_session>());
    case method::session_rotate:
      return read(to.emplace<core::rotate_session>());
    case method::session_revoke:
      return read(to.emplace<core::revoke_session>());
    case method::session_revoke_user:
      return read(to.emplace<core::revoke_user>());
    case method::session_revoke_tenant:
      return read(to.emplace<core::revoke_tenant>());
    case method::session_list:
      return read(to.emplace<core::list_sessions>());
    case method::session_find:
      return read(to.emplace<core::find_sessions>());
    case method::session_stats:
      return read(to.emplace<core::session_stats>());
    case method::lockout_status:
      return read(to.emplace<core::lockout_status>());
    case method::lockout_list:
      return read(to.emplace<core::list_lockouts>());
    case method::lockout_clear:
      return read(to.emplace<core::clear_lockout>());
    case method::breaker_acquire:
      return read(to.emplace<core::acquire_permit>());
    case method::breaker_report:
      return read(to.emplace<core::report_call>());
    case method::breaker_report_batch:
      return read(to.emplace<core::report_calls>());
    case method::breaker_observe:
      return read(to.emplace<core::observe_breaker>());
    case method::breaker_status:
      return read(to.emplace<core::breaker_question>());
    case method::breaker_list:
      return read(to.emplace<core::list_breakers>());
    case method::breaker_override:
      return read(to.emplace<core::override_breaker>());
    case method::breaker_reset:
      return read(to.emplace<core::reset_breaker>());
    case method::events_subscribe:
      return read(to.emplace<core::subscribe_events>());
    case method::events_unsubscribe:
      return read(to.emplace<core::unsubscribe_events>());
    case method::events_query:
      return read(to.emplace<core::query_events>());
    case method::server_ping:
      return read(to.emplace<core::ping>());
    case method::server_version:
      return read(to.emplace<core::version_request>());
    case method::server_info:
      return read(to.emplace<core::info_request>());
    case method::server_connections:
      return read(to.emplace<core::list_connections>());
    case method::auth_login:
      return read(to.emplace<core::login>());
    case method::admin_reload:
      return read(to.emplace<core::reload_config>());
    case method::admin_drain:
      return read(to.emplace<core::drain>());
    case method::admin_backup:
      return read(to.emplace<core::backup>());
    case method::admin_forget:
      return read(to.emplace<core::forget_user>());
    case method::admin_rotate_keys:
      return read(to.emplace<core::rotate_keys>());
    case method::admin_crash:
      return read(to.emplace<core::crash_actor>());
  }
  __builtin_unreachable();
}

}  // namespace portcullis::net
