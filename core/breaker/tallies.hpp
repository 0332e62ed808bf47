// What one breaker has counted since its owner started: the metrics circuit_breaker_*.
#pragma once
#include <algorithm>
#include <vector>

#include "core/breaker/types.hpp"

namespace portcullis::core {

/// What became of the right to call. granted and denied: each acquire. expired, stale and
/// duplicate: permits not reported in time, and reports that change no state.
enum class permit_outcome : std::uint8_t { granted, denied, expired, stale, duplicate };
inline constexpr std::array<std::string_view, 5> permit_outcome_names = {
    "granted", "denied", "expired", "stale", "duplicate"};

/// Why a report of counts was refused.
enum class report_refusal : std::uint8_t {
  counts_decreased,
  delta_too_large,
  old_epoch,
  source_limit
};
inline constexpr std::array<std::string_view, 4> report_refusal_names = {
    "counts_decreased", "delta_too_large", "old_epoch", "source_limit"};

struct breaker_tallies {
  struct transition {
    breaker_state from, to;
    breaker_cause cause;
    std::uint64_t count = 0;
  };

  call_counts calls;
  std::array<std::uint64_t, call_error_names.size()> errors{};
  duration_buckets durations{};
  /// Of single reports exactly; of reported buckets by their middles.
  std::uint64_t duration_sum_ms = 0;
  std::array<std::uint64_t, permit_outcome_names.size()> permits{};
  std::array<std::uint64_t, report_refusal_names.size()> reports_rejected{};
  std::vector<transition> transitions;  // those that happened
  millis open_ms = 0;                   // open or forced open, in phases that are over
  millis open_since_ms = 0;             // 0: it is not
  millis last_transition_at_ms = 0;     // 0: none yet
  millis last_report_at_ms = 0;         // observed; 0: none yet

  void count(permit_outcome outcome) noexcept { ++permits[static_cast<std::size_t>(outcome)]; }
  void count(report_refusal reason) noexcept {
    ++reports_rejected[static_cast<std::size_t>(reason)];
  }
  void timed(millis duration_ms) noexcept {
    ++durations[duration_bucket(duration_ms)];
    duration_sum_ms += static_cast<std::uint64_t>(duration_ms);
  }
  void timed(const duration_buckets& more) noexcept {
    for (std::size_t i = 0; i < duration_bucket_count; ++i) {
      durations[i] += more[i];
      const auto below = i == 0 ? 0 : call_duration_bounds_ms[i - 1];
      const auto above = i == call_duration_bounds_ms.size() ? below : call_duration_bounds_ms[i];
      duration_sum_ms += more[i] * static_cast<std::uint64_t>(below + above) / 2;
    }
  }
  void moved(breaker_state from, breaker_state to, breaker_cause cause, millis now_ms) {
    last_transition_at_ms = now_ms;
    const auto same = [&](const transition& each) {
      return each.from == from && each.to == to && each.cause == cause;
    };
    const auto found = std::find_if(transitions.begin(), transitions.end(), same);
    if (found != transitions.end())
      ++found->count;
    else
      transitions.push_back({from, to, cause, 1});
  }
};

}  // namespace portcullis::core
