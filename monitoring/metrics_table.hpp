// The one table of all metrics: registration, zero series and the reference page (docs/metrics.md)
// come from it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/breaker/types.hpp"

namespace portcullis::monitoring {

enum class metric : std::uint8_t {
  sessions,
  sessions_created,
  aliases,
  sessions_ended,
  validations,
  failed_attempts,
  session_reuse,
  lockouts,
  lockouts_active,
  users_in_doubt,
  breaker_state,
  breaker_state_active,
  breaker_requests,
  breaker_errors,
  breaker_request_duration,
  breaker_transitions,
  breaker_failure_ratio,
  breaker_slow_ratio,
  breaker_open_seconds,
  breaker_last_transition,
  breaker_permits,
  breaker_override_info,
  breaker_observed_last_report,
  breaker_observed_reports_rejected,
  request_duration,
  requests,
  requests_in_flight,
  connections,
  connections_opened,
  connection_rejections,
  tls_handshakes,
  tls_handshake_failures,
  tls_reloads,
  tls_certificate_expiry,
  tls_revocation_list_expiry,
  http_requests,
  event_log_appends,
  event_log_commit,
  event_log_queue,
  event_log_silent,
  event_log_bytes,
  event_log_replay,
  store_operation,
  store_errors,
  store_degraded,
  fleet_nodes,
  fleet_entries,
  fleet_overtaken,
  fleet_refused,
  fleet_in_flight,
  fleet_staleness,
  breaker_shared_store_degraded,
  redis_commands,
  redis_timeouts,
  redis_connects,
  redis_losses,
  mailbox_depth,
  loop_lag,
  subscribers,
  subscriber_drops,
  log_messages,
  log_dropped,
  log_write_errors,
  config_reloads,
  config_last_reload,
  scrape_gap,
  label_overflow,
  build_info,
  process_cpu,
  process_resident_memory,
  process_virtual_memory,
  process_open_fds,
  process_max_fds,
  process_start_time
};
inline constexpr std::size_t metric_count =
    static_cast<std::size_t>(metric::process_start_time) + 1;

enum class metric_type : std::uint8_t { counter, gauge, histogram };
[[nodiscard]] std::string_view to_string(metric_type type) noexcept;

/// Who knows a label's values: the table, the build (one value), or each breaker, which has a name.
enum class label_source : std::uint8_t { table, build, breaker };

/// A label and every value that it can have; `values` is of source table alone.
struct metric_label {
  std::string_view name;
  std::vector<std::string_view> values = {};
  label_source source = label_source::table;
};

struct metric_row {
  metric id;
  std::string_view name;
  metric_type type;
  std::vector<metric_label> labels;
  std::string_view help;
  std::string_view fed_by;
  /// Which combinations of label values exist from the start; null: all. Others appear once they
  /// have happened.
  bool (*from_start)(std::size_t series) = nullptr;

  /// Whether its series come and go with breakers.
  [[nodiscard]] bool per_breaker() const noexcept;
  /// How many combinations of label values there are; of one breaker.
  [[nodiscard]] std::size_t series_count() const noexcept;
};

/// Every row, in the order of `metric`. Any thread.
[[nodiscard]] std::span<const metric_row> metrics_table();

/// The transitions of an ordinary life, which a breaker's series begin with, at zero.
struct breaker_transition_kind {
  core::breaker_state from, to;
  core::breaker_cause cause;
};
[[nodiscard]] std::span<const breaker_transition_kind> usual_transitions(
    core::breaker_kind kind) noexcept;

/// The page docs/metrics.md.
[[nodiscard]] std::string metrics_reference();

}  // namespace portcullis::monitoring
