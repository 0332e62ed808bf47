// A decoded request. Every view points into the read block that the request came in; whoever keeps
// a request longer than the call it was handed in keeps a reference to that block too.
#pragma once
#include <memory>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "core/breaker/types.hpp"
#include "core/contract/method.hpp"
#include "core/contract/types.hpp"

namespace portcullis::core {

struct user_name {
  std::string_view tenant_id;
  std::string_view user_id;
};

struct page_request {
  std::uint32_t limit = 100;  // 1..1000
  std::string_view cursor;    // empty: from the start; otherwise as it came, not yet checked
};

/// A session named by what the caller chose at its creation, instead of by its id. Secret, as an id
/// is.
struct session_alias {
  std::string_view tenant_id;
  std::string_view alias;  // empty: it is named by its id
};

struct create_session {
  user_name user;
  core::context context;
  std::string_view data;  // minified JSON object; empty: none
  std::optional<std::int64_t> idle_ttl_s;
  std::optional<std::int64_t> absolute_ttl_s;
  std::string_view alias = {};  // empty: none
};
// Where `by` has an alias, `id` is what the gateway derives from it (actors/gateway_aliases.cpp).
struct validate_session {
  session_id id;
  core::context context;
  bool touch = true;
  session_alias by = {};
};
struct update_session {
  session_id id;
  core::context context;
  std::string_view data;
  std::optional<std::uint32_t> version;  // 0: given, and not any session's
  session_alias by = {};
};
struct rotate_session {
  session_id id;
  core::context context;
  bool grace = true;
  session_alias by = {};
};
struct revoke_session {
  std::variant<session_id, session_handle> target;
  session_alias by = {};
};
struct revoke_user {
  user_name user;
  std::optional<session_id> except;
};
struct revoke_tenant {
  std::string_view tenant_id;
};
struct list_sessions {
  user_name user;
  page_request page;
};
struct find_sessions {
  std::string_view tenant_id;
  std::variant<ip_address, std::string_view> by;  // address, or user agent (exact)
  page_request page;
};
struct session_stats {};
struct lockout_status {
  user_name user;
};
struct list_lockouts {
  std::string_view tenant_id;  // empty: all
  page_request page;
};
struct clear_lockout {
  user_name user;
  std::string_view reason;
};
struct acquire_permit {
  breaker_name name;
};
struct report_call {
  breaker_name name;
  call_outcome outcome = call_outcome::success;
  millis duration_ms = 0;
  std::optional<std::uint64_t> epoch;  // absent: the one in force
  std::optional<breaker_permit> permit;
  std::optional<call_error> error;
};
/// Many calls at once. Of breaker.report_batch since its last report, of breaker.observe since
/// source_epoch.
struct reported_calls {
  call_counts counts;
  std::optional<duration_buckets> durations;
};
struct report_calls {
  breaker_name name;
  std::string_view source;
  std::uint64_t seq = 0, epoch = 0;
  std::shared_ptr<const reported_calls> calls;  // never null
};
struct observe_breaker {
  struct transition {
    breaker_state from = breaker_state::closed, to = breaker_state::closed;
    millis at_ms = 0;
  };
  breaker_name name;
  std::string_view source;
  std::uint64_t source_epoch = 0, seq = 0;
  breaker_state state = breaker_state::closed;
  std::shared_ptr<const reported_calls> calls;  // never null
  std::optional<transition> changed;
};
struct breaker_question {
  breaker_name name;
};
struct list_breakers {
  page_request page;
};
struct override_breaker {
  breaker_name name;
  override_mode mode = override_mode::none;
  std::optional<std::int64_t> ttl_s;
  std::string_view reason;
};
struct reset_breaker {
  breaker_name name;
  std::string_view reason;
};
struct subscribe_events {
  std::optional<std::string_view> after;  // cursor text, not yet checked
  std::vector<std::string_view> types;    // empty: all but session_touched
  std::string_view tenant_id;             // empty: all
};
struct unsubscribe_events {
  std::string_view subscription;
};
struct query_events {
  std::optional<std::string_view> after;
  std::uint32_t limit = 100;
  std::vector<std::string_view> types;
  std::string_view tenant_id, user_id;
  std::optional<session_handle> handle;
  std::string_view service;
  std::optional<millis> from_ms, to_ms;
};
struct ping {};
struct version_request {};
struct info_request {
  bool digest = false;
};
struct list_connections {
  page_request page;
};
struct login {
  std::string_view token;
};
struct reload_config {};
struct drain {};
struct backup {
  std::string_view path;
};
struct forget_user {
  user_name user;
  std::string_view reason;
};
struct rotate_keys {};
struct crash_actor {
  std::string_view actor;
};

using request_params =
    std::variant<validate_session, create_session, update_session, rotate_session, revoke_session,
                 revoke_user, revoke_tenant, list_sessions, find_sessions, session_stats,
                 lockout_status, list_lockouts, clear_lockout, acquire_permit, report_call,
                 report_calls, observe_breaker, breaker_question, list_breakers, override_breaker,
                 reset_breaker, subscribe_events, unsubscribe_events, query_events, ping,
                 version_request, info_request, list_connections, login, reload_config, drain,
                 backup, forget_user, rotate_keys, crash_actor>;

struct request {
  core::method method = core::method::server_ping;
  bool has_alias = false;  // create: gives one; otherwise: names its session by one
  /// From params._meta: its correlation_id, else its traceparent's trace id; empty: make one up
  /// where one is needed.
  std::string_view correlation_id;
  request_params params;
};

}  // namespace portcullis::core
