#include "monitoring/event_rows.hpp"

#include <algorithm>

#include "core/event/codec.hpp"

namespace portcullis::monitoring {
namespace {

using core::event_type;
using core::log_level;

// What every session goes through is debug: the event log keeps it all, and at 100,000 sessions a
// second the log would keep nothing else. What someone did on purpose is info, what hints at an
// attack is warn. OWASP's names: Application Logging Vocabulary, OWASP Cheat Sheet Series.
constexpr std::array<event_row, core::event_type_count> rows = {{
    {event_type::session_created, true, log_level::debug, component::session,
     "A session was created.", "session_created", "success"},
    {event_type::session_touched, false, log_level::trace, component::session,
     "Sessions were used.", "", "success"},
    {event_type::session_rotated, true, log_level::debug, component::session,
     "A session got a new id.", "session_renewed", "success"},
    {event_type::session_successor_used, true, log_level::debug, component::session,
     "A session's new id was used.", "", "success"},
    {event_type::session_rekeyed, true, log_level::debug, component::session,
     "A session's id was hashed under the newest key.", "", "success"},
    {event_type::session_updated, true, log_level::debug, component::session,
     "A session's data was replaced.", "", "success"},
    {event_type::session_revoked, true, log_level::info, component::session,
     "Sessions were revoked.", "session_expired", "success"},
    {event_type::session_expired, true, log_level::debug, component::session, "A session expired.",
     "session_expired", "success"},
    {event_type::session_evicted, true, log_level::info, component::session,
     "A session was evicted by the session cap.", "session_expired", "success"},
    {event_type::session_reuse_detected, true, log_level::warn, component::session,
     "A replaced session id was used again.", "authn_token_reuse", "failure"},
    {event_type::validation_failed, true, log_level::info, component::session,
     "A validation failed.", "authn_login_fail", "failure"},
    {event_type::validation_signalled, true, log_level::info, component::session,
     "An observed field of a session's context changed.", "", "success"},
    {event_type::lockout_started, true, log_level::warn, component::lockout,
     "A user was locked out.", "authn_login_lock", "failure"},
    {event_type::lockout_ended, true, log_level::info, component::lockout, "A lockout ended.", "",
     "success"},
    {event_type::lockout_cleared, true, log_level::warn, component::lockout,
     "A lockout was cleared.", "authz_admin", "success"},
    {event_type::source_limited, true, log_level::warn, component::session,
     "A source of unknown session ids was limited.", "excess_rate_limit_exceeded", "failure"},
    {event_type::node_started, true, log_level::info, component::server, "The node started.",
     "sys_startup", "success"},
    {event_type::node_stopped, true, log_level::info, component::server, "The node stopped.",
     "sys_shutdown", "success"},
    {event_type::config_reloaded, true, log_level::info, component::config,
     "The configuration was reloaded.", "authz_admin", "success"},
    {event_type::store_degraded, true, log_level::error, component::store, "The store is degraded.",
     "", "failure"},
    {event_type::store_recovered, true, log_level::warn, component::store, "The store recovered.",
     "", "success"},
    {event_type::auth_failed, true, log_level::warn, component::auth, "A login failed.",
     "authn_login_fail", "failure"},
    {event_type::breaker_opened, true, log_level::warn, component::breaker,
     "A circuit breaker opened.", "", "failure"},
    {event_type::breaker_half_opened, true, log_level::info, component::breaker,
     "A circuit breaker lets some calls through.", "", "success"},
    {event_type::breaker_closed, true, log_level::info, component::breaker,
     "A circuit breaker closed.", "", "success"},
    {event_type::breaker_would_open, true, log_level::warn, component::breaker,
     "A circuit breaker that only measures would have opened.", "", "failure"},
    {event_type::breaker_override_set, true, log_level::warn, component::breaker,
     "A circuit breaker was overridden.", "authz_admin", "success"},
    {event_type::breaker_override_cleared, true, log_level::warn, component::breaker,
     "A circuit breaker's override ended.", "authz_admin", "success"},
    {event_type::breaker_retired, true, log_level::info, component::breaker,
     "An idle circuit breaker was forgotten.", "", "success"},
    {event_type::user_forgotten, true, log_level::warn, component::session, "A user was forgotten.",
     "user_deleted", "success"},
    {event_type::checkpoint, true, log_level::debug, component::store,
     "The event log was signed up to here.", "", "success"},
    {event_type::calls_tallied, false, log_level::trace, component::breaker, "Calls were counted.",
     "", "success"},
}};
constexpr bool in_order() {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<std::size_t>(rows[i].type) != i) return false;
  return true;
}
static_assert(in_order());

/// A W3C trace id, as opposed to a correlation id of the caller's own making.
bool is_trace_id(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == text.npos &&
         text.find_first_not_of('0') != text.npos;
}

std::string field_list(core::field_set set) {
  std::string text;
  const auto add = [&](std::string_view name) {
    if (!text.empty()) text += ',';
    text += name;
  };
  if ((set & core::ip_bit) != 0) add("ip");
  for (std::size_t i = 0; i < core::context_field_count; ++i)
    if ((set & core::bit(static_cast<core::context_field>(i))) != 0)
      add(core::context_field_names[i]);
  return text;
}

}  // namespace

std::span<const event_row> event_rows() noexcept { return rows; }

event_row row_for(const core::event& of) noexcept {
  auto row = rows[static_cast<std::size_t>(of.type())];
  const auto* failed = std::get_if<core::validation_failed>(&of.body);
  if (failed == nullptr) return row;
  switch (failed->reason) {
    case core::invalid_reason::ip_mismatch:
    case core::invalid_reason::fingerprint_mismatch:
    case core::invalid_reason::locked_out:
      row.level = log_level::warn;
      break;
    case core::invalid_reason::expired:
    case core::invalid_reason::revoked:
      row.owasp = "session_use_after_expire";
      break;
    case core::invalid_reason::not_found:
      break;
  }
  return row;
}

/// One overload an event: what its body adds.
struct event_fields::body_fields {
  event_fields& to;
  void add(field which) const { to.fields_.push_back(which); }

  void operator()(const core::session_created& body) const {
    add({"session.expires_at_ms", body.expires_at_ms});
  }
  void operator()(const core::session_touched&) const {}
  void operator()(const core::session_rotated& body) const { add({"session.grace", body.grace}); }
  void operator()(const core::session_successor_used&) const {}
  void operator()(const core::session_rekeyed&) const {}
  void operator()(const core::session_updated& body) const {
    add({"session.version", body.version});
  }
  void operator()(const core::session_revoked& body) const {
    add({"session.revoke_scope", core::to_string(body.scope)});
    add({"session.count", body.count});
    add({"event.reason", body.reason});
    if (body.except_handle)
      add({"session.except_handle", to.keep(core::to_text(*body.except_handle))});
  }
  void operator()(const core::session_expired& body) const {
    add({"event.reason", core::to_string(body.kind)});
  }
  void operator()(const core::session_evicted&) const {}
  void operator()(const core::session_reuse_detected&) const {}
  void operator()(const core::validation_failed& body) const {
    add({"event.reason", core::to_string(body.reason)});
    if (body.attempt) add({"lockout.attempt", *body.attempt});
    if (body.count) add({"event.count", *body.count});
    if (body.source) to.add_source(*body.source);
  }
  void operator()(const core::validation_signalled& body) const {
    add({"session.signal_fields", to.keep(field_list(body.fields))});
    add({"session.signal_action", core::to_string(body.action)});
    add({"event.count", body.count});
    if (body.source) to.add_source(*body.source);
  }
  void operator()(const core::lockout_started& body) const {
    add({"lockout.attempts", body.attempts});
    add({"lockout.locked_until_ms", body.locked_until_ms});
    if (body.source) to.add_source(*body.source);
  }
  void operator()(const core::lockout_ended& body) const {
    if (body.source) to.add_source(*body.source);
  }
  void operator()(const core::lockout_cleared& body) const { add({"event.reason", body.reason}); }
  void operator()(const core::source_limited& body) const {
    to.add_source(body.source);
    add({"source.limited_until_ms", body.until_ms});
  }
  void operator()(const core::node_started&) const {}
  void operator()(const core::node_stopped&) const {}
  void operator()(const core::config_reloaded&) const {}
  void operator()(const core::store_degraded& body) const { add({"event.reason", body.reason}); }
  void operator()(const core::store_recovered&) const {}
  void operator()(const core::auth_failed& body) const { to.add_source(body.source); }
  void operator()(const core::breaker_opened& body) const { add_transition(body); }
  void operator()(const core::breaker_half_opened& body) const { add_transition(body); }
  void operator()(const core::breaker_closed& body) const { add_transition(body); }
  void operator()(const core::breaker_would_open& body) const {
    add_breaker(body);
    add({"event.reason", core::to_string(body.cause)});
    add_calls(body.counts);
  }
  void operator()(const core::breaker_override_set& body) const {
    add_breaker(body);
    add({"breaker.override", core::to_string(body.mode)});
    if (body.from) add({"breaker.from", core::to_string(*body.from)});
    add({"event.reason", body.reason});
    if (body.expires_at_ms) add({"breaker.override_expires_at_ms", *body.expires_at_ms});
  }
  void operator()(const core::breaker_override_cleared& body) const {
    add_breaker(body);
    add({"breaker.override", core::to_string(body.mode)});
    add({"breaker.from", core::to_string(body.from)});
    add({"breaker.cause", core::to_string(body.cause)});
    add({"event.reason", body.reason});
  }
  void operator()(const core::breaker_retired& body) const { add_breaker(body); }
  void operator()(const core::user_forgotten& body) const {
    add({"session.count", body.count});
    add({"event.reason", body.reason});
  }
  void operator()(const core::checkpoint&) const {}
  void operator()(const core::calls_tallied&) const {}

  template <class Body>
  void add_breaker(const Body& body) const {
    add({"breaker.service", body.service});
    add({"breaker.name", body.breaker});
    add({"breaker.epoch", body.epoch});
  }
  void add_calls(const core::call_counts& counts) const {
    add({"breaker.calls", counts.calls()});
    add({"breaker.failures", counts.failures()});
  }
  void add_transition(const core::breaker_transition& body) const {
    add_breaker(body);
    add({"breaker.from", core::to_string(body.from)});
    add({"breaker.kind", core::to_string(body.kind)});
    add({"event.reason",
         body.reason.empty() ? core::to_string(body.cause) : std::string_view(body.reason)});
    if (!body.source.empty()) add({"breaker.source", body.source});
    add_calls(body.counts);
  }
};

event_fields::event_fields(const core::event& of, const event_row& row, const user_naming& naming) {
  fields_.reserve(20);
  fields_.push_back({"event.action", core::to_string(of.type())});
  fields_.push_back({"event.code", row.owasp});
  fields_.push_back({"event.outcome", row.outcome});
  fields_.push_back({"event.sequence", of.seq});
  if (is_trace_id(of.correlation_id)) fields_.push_back({"trace.id", of.correlation_id});
  fields_.push_back({"correlation.id", of.correlation_id});
  fields_.push_back({"tenant.id", of.tenant_id});
  if (!of.user_id.empty()) {
    if (naming.hashed) {
      const auto hash =
          naming.key.begin().update_sized(of.tenant_id).update_sized(of.user_id).finish();
      fields_.push_back({"user.hash", keep(core::to_hex(core::cut<16>(hash)))});
    } else {
      fields_.push_back({"user.id", of.user_id});
    }
  }
  if (of.handle) fields_.push_back({"session.handle", keep(core::to_text(*of.handle))});
  fields_.push_back({"actor.name", of.actor});
  std::visit(body_fields{*this}, of.body);
}

std::string_view event_fields::keep(std::string text) {
  auto& place = texts_.at(used_++);
  place = std::move(text);
  return place;
}

void event_fields::add_source(const core::short_hash& source) {
  fields_.push_back({"source.hash", keep(core::to_hex(source))});
}

}  // namespace portcullis::monitoring
