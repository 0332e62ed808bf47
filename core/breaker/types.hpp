// The words of circuit breakers: what a breaker is, how a call ended, why a state changed. Texts
// are the contract's, in the order of each enumeration.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/contract/types.hpp"

namespace portcullis::core {

/// hosted: the server runs the state machine. observed: the application runs it and reports.
enum class breaker_kind : std::uint8_t { hosted, observed };
inline constexpr std::array<std::string_view, 2> breaker_kind_names = {"hosted", "observed"};

/// The number is the value of the metric circuit_breaker_state. The first three are base states,
/// the others overrides.
enum class breaker_state : std::uint8_t {
  closed,
  open,
  half_open,
  disabled,
  forced_open,
  metrics_only
};
inline constexpr std::array<std::string_view, 6> breaker_state_names = {
    "closed", "open", "half_open", "disabled", "forced_open", "metrics_only"};
inline constexpr std::size_t base_state_count = 3;

/// How a call ended, as its caller reports it.
enum class call_outcome : std::uint8_t { success, failure, timeout, ignored };
inline constexpr std::array<std::string_view, 4> call_outcome_names = {"success", "failure",
                                                                       "timeout", "ignored"};

/// How a call is counted: each in exactly one. A slow timeout is a timeout; `rejected` never began.
enum class call_result : std::uint8_t {
  success,
  failure,
  timeout,
  ignored,
  rejected,
  slow_success,
  slow_failure
};
inline constexpr std::array<std::string_view, 7> call_result_names = {
    "success", "failure", "timeout", "ignored", "rejected", "slow_success", "slow_failure"};
inline constexpr std::size_t call_result_count = call_result_names.size();

/// Why a call failed, as far as its caller says.
enum class call_error : std::uint8_t {
  connect,
  tls,
  dns,
  reset,
  protocol,
  status_5xx,
  status_4xx,
  other
};
inline constexpr std::array<std::string_view, 8> call_error_names = {
    "connect", "tls", "dns", "reset", "protocol", "status_5xx", "status_4xx", "other"};

/// What an administrator may put on top of the base state. none: takes it away.
enum class override_mode : std::uint8_t { none, forced_open, disabled, metrics_only };
inline constexpr std::array<std::string_view, 4> override_mode_names = {"none", "forced_open",
                                                                        "disabled", "metrics_only"};
/// Whom an override concerns: this node, or (several nodes over one store) all.
enum class override_scope : std::uint8_t { node, fleet };
inline constexpr std::array<std::string_view, 2> override_scope_names = {"node", "fleet"};

/// Why a state is what it is.
enum class breaker_cause : std::uint8_t {
  created,
  failure_rate,
  slow_rate,
  consecutive_failures,
  wait_elapsed,
  probe_succeeded,
  probe_failed,
  probe_slow,
  probe_timeout,  // half-open for max_half_open_s
  reset,
  override_set,
  override_cleared,
  override_expired,
  reported,      // observed: its application says so
  source_silent  // observed: its application has said nothing for limits::source_silent_ms
};
inline constexpr std::array<std::string_view, 15> breaker_cause_names = {
    "created",          "failure_rate",    "slow_rate",    "consecutive_failures",
    "wait_elapsed",     "probe_succeeded", "probe_failed", "probe_slow",
    "probe_timeout",    "reset",           "override_set", "override_cleared",
    "override_expired", "reported",        "source_silent"};

[[nodiscard]] constexpr std::string_view to_string(breaker_kind value) noexcept {
  return breaker_kind_names[static_cast<std::size_t>(value)];
}
[[nodiscard]] constexpr std::string_view to_string(breaker_state value) noexcept {
  return breaker_state_names[static_cast<std::size_t>(value)];
}
[[nodiscard]] constexpr std::string_view to_string(call_outcome value) noexcept {
  return call_outcome_names[static_cast<std::size_t>(value)];
}
[[nodiscard]] constexpr std::string_view to_string(call_result value) noexcept {
  return call_result_names[static_cast<std::size_t>(value)];
}
[[nodiscard]] constexpr std::string_view to_string(call_error value) noexcept {
  return call_error_names[static_cast<std::size_t>(value)];
}
[[nodiscard]] constexpr std::string_view to_string(override_mode value) noexcept {
  return override_mode_names[static_cast<std::size_t>(value)];
}
[[nodiscard]] constexpr std::string_view to_string(override_scope value) noexcept {
  return override_scope_names[static_cast<std::size_t>(value)];
}
[[nodiscard]] constexpr std::string_view to_string(breaker_cause value) noexcept {
  return breaker_cause_names[static_cast<std::size_t>(value)];
}
/// Whether calls are turned away: the time in it is circuit_breaker_open_seconds_total.
[[nodiscard]] constexpr bool is_shut(breaker_state state) noexcept {
  return state == breaker_state::open || state == breaker_state::forced_open;
}
/// The state that an override shows as. Not of `none`.
[[nodiscard]] constexpr breaker_state state_of(override_mode mode) noexcept {
  switch (mode) {
    case override_mode::forced_open:
      return breaker_state::forced_open;
    case override_mode::disabled:
      return breaker_state::disabled;
    case override_mode::metrics_only:
      return breaker_state::metrics_only;
    case override_mode::none:
      break;
  }
  __builtin_unreachable();
}

/// Calls by how they are counted. Only grows within the life of what counts.
struct call_counts {
  std::array<std::uint64_t, call_result_count> by_result{};

  [[nodiscard]] std::uint64_t& operator[](call_result which) noexcept {
    return by_result[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] std::uint64_t operator[](call_result which) const noexcept {
    return by_result[static_cast<std::size_t>(which)];
  }
  /// Calls that took place and count: all but ignored and rejected ones.
  [[nodiscard]] std::uint64_t calls() const noexcept {
    return (*this)[call_result::success] + (*this)[call_result::slow_success] + failures();
  }
  [[nodiscard]] std::uint64_t failures() const noexcept {
    return (*this)[call_result::failure] + (*this)[call_result::timeout] +
           (*this)[call_result::slow_failure];
  }
  [[nodiscard]] std::uint64_t sum() const noexcept {
    std::uint64_t all = 0;
    for (const auto each : by_result) all += each;
    return all;
  }
  /// Those alone.
  [[nodiscard]] call_counts taken_place() const noexcept {
    auto some = *this;
    some[call_result::ignored] = some[call_result::rejected] = 0;
    return some;
  }
  call_counts& operator+=(const call_counts& more) noexcept {
    for (std::size_t i = 0; i < call_result_count; ++i) by_result[i] += more.by_result[i];
    return *this;
  }
  friend bool operator==(const call_counts&, const call_counts&) = default;
};

/// Where several nodes share a log: the calls that one held against the thresholds, and in which
/// epoch. Those of an old one are judged nowhere.
struct epoch_calls {
  std::uint64_t epoch = 0;
  call_counts calls;
  friend bool operator==(const epoch_calls&, const epoch_calls&) = default;
};

/// Upper bounds of circuit_breaker_request_duration_seconds, in milliseconds (inclusive, as
/// Prometheus has them); then +Inf.
inline constexpr std::array<millis, 11> call_duration_bounds_ms = {5,   10,   25,   50,   100,  250,
                                                                   500, 1000, 2500, 5000, 10000};
inline constexpr std::size_t duration_bucket_count = call_duration_bounds_ms.size() + 1;
/// Calls by duration; each call in one bucket (not cumulative).
using duration_buckets = std::array<std::uint64_t, duration_bucket_count>;
[[nodiscard]] constexpr std::size_t duration_bucket(millis duration_ms) noexcept {
  std::size_t i = 0;
  while (i < call_duration_bounds_ms.size() && duration_ms > call_duration_bounds_ms[i]) ++i;
  return i;
}

/// Which service's breaker; both 1..64 of [A-Za-z0-9_.-].
struct breaker_name {
  std::string_view service;
  std::string_view breaker;
  friend bool operator==(const breaker_name&, const breaker_name&) = default;
};
inline constexpr std::string_view default_breaker = "default";

/// The right to try one call while the breaker is half-open, as acquire hands it out.
struct breaker_permit {
  std::uint32_t breaker = 0;  // of the name: tag_of()
  std::uint32_t epoch = 0;    // the low 32 bits
  std::uint32_t round = 0;    // random, one a half-open phase
  std::uint32_t number = 0;   // 0, 1, ... in the phase
  friend bool operator==(const breaker_permit&, const breaker_permit&) = default;
};
inline constexpr std::size_t permit_text_size = 24;  // p_ and 22 characters of base64url
void to_text(const breaker_permit& permit, char (&out)[permit_text_size]) noexcept;
/// Absent: not the form of a permit.
[[nodiscard]] std::optional<breaker_permit> parse_permit(std::string_view text) noexcept;
/// Of a table that the names' authors cannot aim at, where the seed is random and kept.
[[nodiscard]] std::uint64_t hash_of(const breaker_name& name, std::uint64_t seed) noexcept;
/// Tells the permits of one breaker from another's. Not secret, the same on every node.
[[nodiscard]] std::uint32_t tag_of(const breaker_name& name) noexcept;

/// What an administrator has put on top of a breaker.
struct breaker_override {
  override_mode mode = override_mode::none;
  override_scope scope = override_scope::node;
  std::string actor, reason;
  std::optional<millis> expires_at_ms;
};

}  // namespace portcullis::core
