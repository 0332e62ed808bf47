#include "monitoring/metrics_table.hpp"

#include <algorithm>
#include <array>

#include "core/error/catalogue.hpp"
#include "monitoring/metrics_rows.hpp"
#include "monitoring/tallies.hpp"

namespace portcullis::monitoring {
namespace {

using core::error_code;

std::vector<std::string_view> method_values() {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < core::method_count; ++i)
    names.push_back(to_string(static_cast<core::method>(i)));
  names.push_back("unknown");
  return names;
}

std::vector<std::string_view> error_values() {
  std::vector<std::string_view> names;
  for (const auto& row : core::error_catalogue()) names.push_back(row.name);
  names.push_back("none");
  return names;
}

/// Errors that every method can end with. A failure that is rare is worth a zero: without one its
/// first increase is invisible to increase().
bool any_method_may_fail_with(error_code code) {
  return code == error_code::INTERNAL || code == error_code::INVALID_PARAMS ||
         code == error_code::AUTH_REQUIRED || code == error_code::FORBIDDEN ||
         code == error_code::STORE_UNAVAILABLE || code == error_code::STORE_TIMEOUT ||
         code == error_code::STORE_FULL || code == error_code::NODE_DRAINING ||
         code == error_code::OVERLOADED || code == error_code::REQUEST_TIMEOUT;
}

bool has_no_method(error_code code) {
  return code == error_code::PARSE_ERROR || code == error_code::INVALID_REQUEST ||
         code == error_code::METHOD_NOT_FOUND || code == error_code::VALUE_TOO_LARGE ||
         code == error_code::NESTING_TOO_DEEP || code == error_code::BATCH_TOO_LARGE;
}

/// All methods with all errors are some 1,400 series, most of them impossible.
bool request_series_from_start(std::size_t series) {
  const std::size_t row = series / (core::error_code_count + 1);
  const std::size_t error = series % (core::error_code_count + 1);
  if (error == core::request_tallies::no_error) return true;
  const auto code = static_cast<error_code>(error);
  return row == core::request_tallies::unknown_method ? has_no_method(code)
                                                      : any_method_may_fail_with(code);
}

using core::breaker_cause;
using state = core::breaker_state;
constexpr breaker_transition_kind hosted_transitions[] = {
    {state::closed, state::open, breaker_cause::failure_rate},
    {state::closed, state::open, breaker_cause::slow_rate},
    {state::closed, state::open, breaker_cause::consecutive_failures},
    {state::open, state::half_open, breaker_cause::wait_elapsed},
    {state::half_open, state::closed, breaker_cause::probe_succeeded},
    {state::half_open, state::open, breaker_cause::probe_failed},
    {state::half_open, state::open, breaker_cause::probe_slow},
    {state::half_open, state::open, breaker_cause::probe_timeout},
};
// Its application may go from any to any, as far as reports show.
constexpr breaker_transition_kind observed_transitions[] = {
    {state::closed, state::open, breaker_cause::reported},
    {state::closed, state::half_open, breaker_cause::reported},
    {state::open, state::closed, breaker_cause::reported},
    {state::open, state::closed, breaker_cause::source_silent},
    {state::open, state::half_open, breaker_cause::reported},
    {state::half_open, state::closed, breaker_cause::reported},
    {state::half_open, state::open, breaker_cause::reported},
};

bool is_usual_transition(std::size_t series) {
  const auto causes = core::breaker_cause_names.size(), states = core::breaker_state_names.size();
  for (const auto kind : {core::breaker_kind::hosted, core::breaker_kind::observed})
    for (const auto& each : usual_transitions(kind))
      if (series ==
          (static_cast<std::size_t>(each.from) * states + static_cast<std::size_t>(each.to)) *
                  causes +
              static_cast<std::size_t>(each.cause))
        return true;
  return false;
}

std::vector<metric_row> make_table() {
  using enum metric;
  constexpr auto counter = metric_type::counter;
  constexpr auto gauge = metric_type::gauge;
  constexpr auto histogram = metric_type::histogram;
  const metric_label method{"method", method_values()};
  const metric_label listener{"listener", all(core::listener_names)};
  const metric_label op{"op", all(store_operations)};
  constexpr std::string_view shards = "session, lockout and directory actors";
  constexpr std::string_view loops = "each loop's connections";
  constexpr std::string_view journal = "journal";
  const metric_label service{"service", {}, label_source::breaker};
  const metric_label breaker{"breaker", {}, label_source::breaker};
  const metric_label source{"source", all(core::breaker_kind_names)};
  const metric_label state_label{"state", all(core::breaker_state_names)};
  constexpr std::string_view breakers = "each shard's breakers";

  return {
      {sessions, "portcullis_sessions", gauge, {}, "Live sessions on this node.", shards},
      {sessions_created,
       "portcullis_sessions_created_total",
       counter,
       {},
       "Sessions created.",
       shards},
      {aliases,
       "portcullis_aliases",
       gauge,
       {},
       "Aliases that this node knows: of sessions that are remembered, also ended, and of creates "
       "under way.",
       "the table that the shards share"},
      {sessions_ended,
       "portcullis_sessions_ended_total",
       counter,
       {{"reason", all(end_reasons)}},
       "Sessions ended, and session ids replaced (reason rotated).",
       shards},
      {validations,
       "portcullis_validations_total",
       counter,
       {{"result", all(validation_results)}},
       "Validations answered, by their result.",
       shards},
      {failed_attempts,
       "portcullis_failed_attempts_total",
       counter,
       {},
       "Validations counted as failed attempts of a user.",
       shards},
      {session_reuse,
       "portcullis_session_reuse_detected_total",
       counter,
       {},
       "Replaced session ids that were used after their grace; each ended its session.",
       shards},
      {lockouts, "portcullis_lockouts_total", counter, {}, "Lockouts started.", shards},
      {lockouts_active,
       "portcullis_lockouts_active",
       gauge,
       {},
       "Users with a lock now, of themselves or of one of their sources.",
       shards},
      {users_in_doubt,
       "portcullis_users_in_doubt",
       gauge,
       {},
       "Users whose requests wait until a failed attempt has been counted.",
       shards},
      {metric::breaker_state,
       "circuit_breaker_state",
       gauge,
       {service, breaker, source},
       "State of the breaker: 0 closed, 1 open, 2 half-open, 3 disabled, 4 forced open, 5 metrics "
       "only. Of an observed one, the worst of its sources.",
       breakers},
      {breaker_state_active,
       "circuit_breaker_state_active",
       gauge,
       {service, breaker, source, state_label},
       "1 for the state that the breaker is in, 0 for the others.",
       breakers},
      {breaker_requests,
       "circuit_breaker_requests_total",
       counter,
       {service, breaker, source, {"result", all(core::call_result_names)}},
       "Calls, each by one result. A slow timeout is a timeout; a rejected call never began.",
       breakers},
      {breaker_errors,
       "circuit_breaker_errors_total",
       counter,
       {service, breaker, source, {"kind", all(core::call_error_names)}},
       "Calls that failed, by what their callers say of it.",
       breakers},
      {breaker_request_duration,
       "circuit_breaker_request_duration_seconds",
       histogram,
       {service, breaker},
       "Duration of calls, as far as it was reported; the sum of what came in buckets is an "
       "estimate.",
       breakers},
      {breaker_transitions,
       "circuit_breaker_transitions_total",
       counter,
       {service,
        breaker,
        source,
        {"from", all(core::breaker_state_names)},
        {"to", all(core::breaker_state_names)},
        {"reason", all(core::breaker_cause_names)}},
       "Changes of state. Of an observed breaker, of each of its sources.",
       breakers,
       is_usual_transition},
      {breaker_failure_ratio,
       "circuit_breaker_failure_ratio",
       gauge,
       {service, breaker},
       "Part of the calls in the window that failed; NaN below breaker.min_calls, and of observed "
       "breakers.",
       breakers},
      {breaker_slow_ratio,
       "circuit_breaker_slow_ratio",
       gauge,
       {service, breaker},
       "Part of the calls in the window that were slow; NaN below breaker.min_calls, and of "
       "observed breakers.",
       breakers},
      {breaker_open_seconds,
       "circuit_breaker_open_seconds_total",
       counter,
       {service, breaker},
       "Time open or forced open, the phase under way included. Of an observed breaker, of all its "
       "sources together, each until its last report.",
       breakers},
      {breaker_last_transition,
       "circuit_breaker_last_transition_timestamp_seconds",
       gauge,
       {service, breaker},
       "Last change of state, in seconds since the Unix epoch; 0 before the first one seen.",
       breakers},
      {breaker_permits,
       "circuit_breaker_permits_total",
       counter,
       {service, breaker, {"outcome", all(core::permit_outcome_names)}},
       "Of hosted breakers: calls that were allowed and that were not; permits that expired; "
       "reports that changed no state, late or a second time.",
       breakers},
      {breaker_override_info,
       "circuit_breaker_override_info",
       gauge,
       {service,
        breaker,
        {"state",
         {core::breaker_state_names.begin() + core::base_state_count,
          core::breaker_state_names.end()}},
        {"scope", all(core::override_scope_names)}},
       "1 while an override is in force; no series without one.",
       breakers,
       [](std::size_t) { return false; }},
      {breaker_observed_last_report,
       "circuit_breaker_observed_last_report_timestamp_seconds",
       gauge,
       {service, breaker},
       "Of observed breakers: the last report, in seconds since the Unix epoch; 0 before the first "
       "one.",
       breakers},
      {breaker_observed_reports_rejected,
       "circuit_breaker_observed_reports_rejected_total",
       counter,
       {service, breaker, {"reason", all(core::report_refusal_names)}},
       "Reports of counts that were refused. Of a hosted breaker, once it happened.",
       breakers},
      {request_duration,
       "portcullis_request_duration_seconds",
       histogram,
       {method},
       "Time from a request's decoding to its encoded answer.",
       loops},
      {requests,
       "portcullis_requests_total",
       counter,
       {method, {"error", error_values()}},
       "Requests answered, by the name of their error, or none. A session that is not valid is no "
       "error.",
       loops,
       request_series_from_start},
      {requests_in_flight,
       "portcullis_requests_in_flight",
       gauge,
       {},
       "Requests decoded and not yet answered.",
       loops},
      {connections, "portcullis_connections", gauge, {listener}, "Open connections.", loops},
      {connections_opened,
       "portcullis_connections_total",
       counter,
       {listener},
       "Connections accepted.",
       loops},
      {connection_rejections,
       "portcullis_connection_rejections_total",
       counter,
       {listener, {"reason", all(core::rejection_names)}},
       "Connections turned away at accept or cut off by the server.",
       loops},
      {tls_handshakes,
       "portcullis_tls_handshakes_total",
       counter,
       {{"version", all(core::tls_version_labels)}, {"resumed", {"no", "yes"}}},
       "TLS handshakes done, by what was agreed on.",
       loops},
      {tls_handshake_failures,
       "portcullis_tls_handshake_failures_total",
       counter,
       {{"reason", all(core::tls_failure_names)}},
       "TLS handshakes that failed.",
       loops},
      {tls_reloads,
       "portcullis_tls_reloads_total",
       counter,
       {},
       "Times that certificates, keys and revocation lists were read anew.",
       loops},
      {tls_certificate_expiry,
       "portcullis_tls_certificate_expiry_timestamp_seconds",
       gauge,
       {},
       "When the server's certificate ends; 0: no TLS.",
       loops},
      {tls_revocation_list_expiry,
       "portcullis_tls_revocation_list_expiry_timestamp_seconds",
       gauge,
       {},
       "When the first of tls.crl_file's lists ends: then no client certificate passes; 0: none.",
       loops},
      {http_requests,
       "portcullis_http_requests_total",
       counter,
       {{"route", all(core::http_route_names)}, {"status", all(core::http_status_classes)}},
       "HTTP requests answered.",
       loops},
      {event_log_appends,
       "portcullis_event_log_appends_total",
       counter,
       {},
       "Events made durable.",
       journal},
      {event_log_commit,
       "portcullis_event_log_commit_seconds",
       histogram,
       {},
       "Time of a group commit, its fsync included.",
       journal},
      {event_log_queue,
       "portcullis_event_log_queue",
       gauge,
       {},
       "Events that wait to be committed. When the queue is full, validation fails closed. As it "
       "was "
       "last told: portcullis_event_log_silent_seconds.",
       journal},
      {event_log_silent,
       "portcullis_event_log_silent_seconds",
       gauge,
       {},
       "How long the journal has not answered the scrapes: its disk hangs. 0: it has just "
       "answered.",
       "metrics"},
      {event_log_bytes,
       "portcullis_event_log_bytes",
       gauge,
       {},
       "Size of the event log on disk.",
       journal},
      {event_log_replay,
       "portcullis_event_log_replay_seconds",
       gauge,
       {},
       "How long the last start took to replay the event log.",
       journal},
      {store_operation,
       "portcullis_store_operation_seconds",
       histogram,
       {op},
       "Time of one operation on the store.",
       journal},
      {store_errors,
       "portcullis_store_errors_total",
       counter,
       {op, {"error", all(store_failures)}},
       "Operations on the store that failed.",
       journal},
      {store_degraded,
       "portcullis_store_degraded",
       gauge,
       {},
       "1 while the store refuses durable commands, else 0.",
       journal},
  };
}

}  // namespace

std::string_view to_string(metric_type type) noexcept {
  switch (type) {
    case metric_type::counter:
      return "counter";
    case metric_type::gauge:
      return "gauge";
    case metric_type::histogram:
      return "histogram";
  }
  __builtin_unreachable();
}

std::size_t metric_row::series_count() const noexcept {
  std::size_t count = 1;
  for (const auto& label : labels)
    if (!label.values.empty()) count *= label.values.size();
  return count;
}

bool metric_row::per_breaker() const noexcept {
  return std::any_of(labels.begin(), labels.end(), [](const metric_label& label) {
    return label.source == label_source::breaker;
  });
}

std::span<const breaker_transition_kind> usual_transitions(core::breaker_kind kind) noexcept {
  switch (kind) {
    case core::breaker_kind::hosted:
      return hosted_transitions;
    case core::breaker_kind::observed:
      return observed_transitions;
  }
  __builtin_unreachable();
}

std::span<const metric_row> metrics_table() {
  static const auto table = [] {
    auto rows = make_table();
    for (auto& each : node_rows()) rows.push_back(std::move(each));
    return rows;
  }();
  return table;
}

}  // namespace portcullis::monitoring
