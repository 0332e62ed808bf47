// What a request is answered with. Views need to live only until the reply is encoded, which
// happens within the call that hands it over.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/breaker/types.hpp"
#include "core/contract/types.hpp"
#include "core/error/catalogue.hpp"

namespace portcullis::core {

struct session_made {  // create and rotate
  session_id id;
  session_handle handle;
  std::uint32_t version = 1;
  millis created_at_ms = 0, expires_at_ms = 0, idle_expires_at_ms = 0, absolute_expires_at_ms = 0;
};
struct session_valid {
  std::string_view tenant_id, user_id;
  session_handle handle;
  std::string_view data;  // JSON object; empty: the session has none
  std::uint32_t version = 1;
  millis created_at_ms = 0, expires_at_ms = 0;
  bool rotated = false;
  field_set observed = 0, challenged = 0;  // signals
};
struct session_invalid {
  invalid_reason reason = invalid_reason::not_found;
  std::optional<std::int64_t> retry_after_ms;
};
struct session_changed {
  std::uint32_t version = 1;
};
struct sessions_revoked {
  std::uint64_t count = 0;
};
struct session_row {
  session_handle handle;
  millis created_at_ms = 0, last_seen_at_ms = 0, expires_at_ms = 0;
  std::string ip, user_agent;  // user_agent empty: null
  std::string user_id;         // find only
};
struct session_page {
  std::vector<session_row> rows;
  std::string cursor;  // empty: the end
  bool with_user = false;
};
struct session_counts {
  std::uint64_t live = 0, created = 0, revoked = 0, expired = 0, evicted = 0;
};
struct lockout_state_reply {
  bool locked = false;
  std::uint32_t failed_attempts = 0, threshold = 0;
  std::optional<millis> window_ends_at_ms, locked_until_ms;
};
struct lockout_row {
  std::string tenant_id, user_id;
  std::uint32_t failed_attempts = 0;
  std::optional<millis> locked_until_ms;
};
struct lockout_page {
  std::vector<lockout_row> rows;
  std::string cursor;
};
struct lockout_was_cleared {
  bool cleared = false;
};
struct permit_granted {
  breaker_state state = breaker_state::closed;
  std::uint64_t epoch = 0;
  std::optional<breaker_permit> permit;  // half-open only
};
struct permit_denied {
  breaker_state state = breaker_state::open;
  std::uint64_t epoch = 0;
  millis retry_after_ms = 0;
};
struct breaker_position {  // report, override, reset
  breaker_state state = breaker_state::closed;
  std::uint64_t epoch = 0;
};
struct calls_counted {  // report_batch
  breaker_position now;
  bool accepted = false, duplicate = false;
};
struct report_observed {
  bool accepted = false, duplicate = false;
};
struct breaker_source_row {
  std::string source;
  breaker_state state = breaker_state::closed;
  millis last_report_at_ms = 0;
};
struct breaker_row {
  std::string service, breaker;
  breaker_kind kind = breaker_kind::hosted;
  breaker_state state = breaker_state::closed, base_state = breaker_state::closed;
  std::uint64_t epoch = 0;
  millis since_ms = 0;  // when the state began
  breaker_cause cause = breaker_cause::created;
  std::optional<breaker_override> override_;
  call_counts counts;                               // all that were ever counted
  std::optional<double> failure_ratio, slow_ratio;  // absent: below min_calls; shown as null
  std::optional<millis> retry_after_ms;
  std::vector<breaker_source_row> sources;  // status only
};
struct breaker_status {
  breaker_row row;
};
struct breaker_page {
  std::vector<breaker_row> rows;
  std::string cursor;
};
struct subscribed {
  std::string subscription, cursor;
};
struct event_page {
  std::vector<std::string> events;  // each a rendered JSON object
  std::string cursor;
};
struct done {};  // {}
struct version_reply {
  std::string_view version;
};
/// A node that shares the log, as the others hear it.
struct node_row {
  std::string node_id, version;
  millis started_at_ms = 0, heard_at_ms = 0;
  std::uint64_t seq = 0, sessions = 0, connections = 0;
};
struct info_reply {
  std::string node_id, mode, version, store_kind;
  std::int64_t uptime_ms = 0;
  bool degraded = false;
  std::uint64_t loops = 1, sessions = 0, connections = 0, seq = 0;
  std::string digest;           // empty: not asked for
  std::vector<node_row> nodes;  // where several share a log; by their start
};
struct connection_row {
  std::uint64_t id = 0;
  std::string listener, address, name, role;
  millis since_ms = 0;
  std::uint64_t in_flight = 0, requests = 0;
  std::string ja3, ja4;  // empty: no TLS
};
struct connection_page {
  std::vector<connection_row> rows;
  std::string cursor;
};
struct logged_in {
  core::role role = core::role::none;
  std::string_view name;
};
struct reloaded {
  std::vector<std::string> changed;
};
struct backed_up {
  std::string_view path;
  std::uint64_t seq = 0, bytes = 0;
};
struct user_was_forgotten {
  bool forgotten = false;
};
struct keys_rotated {
  std::uint64_t keys = 0;
};
struct failed {
  core::error why;
  std::string_view correlation_id;  // empty: the encoder makes one up
};

using reply =
    std::variant<session_valid, session_invalid, session_made, session_changed, sessions_revoked,
                 session_page, session_counts, lockout_state_reply, lockout_page,
                 lockout_was_cleared, permit_granted, permit_denied, breaker_position,
                 calls_counted, report_observed, breaker_status, breaker_page, subscribed,
                 event_page, done, version_reply, info_reply, connection_page, logged_in, reloaded,
                 backed_up, user_was_forgotten, keys_rotated, failed>;

}  // namespace portcullis::core
