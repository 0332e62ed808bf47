// Cases of gobreaker, opossum, Polly, failsafe-go and brpc.
#pragma once
#include "script.hpp"

namespace portcullis::core::breaker_tests {

inline std::vector<published_case> gobreaker_cases() {
  const auto defaults = rules([](breaker_policy& p) {
    p.min_calls = 1'000'000;  // only the row of failures decides
    p.consecutive_failures = 6;
    p.open_wait_max_ms = 60'000;
    p.half_open_permits = 1;
  });
  const auto custom = rules([](breaker_policy& p) {
    p.window_s = 30;
    p.window_buckets = 1;
    p.min_calls = 3;
    p.failure_rate_threshold = 0.6;
    p.open_wait_ms = p.open_wait_max_ms = 90'000;
    p.half_open_permits = p.half_open_concurrency = 3;
  });
  constexpr std::string_view rate_in_half_open =
      "one failure of three is below the threshold: there any failure opens";
  return {
      {"TestDefaultCircuitBreaker", defaults,
       "F*5 =closed S =closed F =closed F*5 =open - - >59s =open >1s =half_open F =open >60s "
       "=half_open S =closed calls=14"},
      {"TestCustomCircuitBreaker", custom,
       "S F S F S F S F S F =closed >29s S =closed rate=0.45 >1s rate=none F =closed S F =open "
       ">90s =half_open S S =half_open + - S0 =closed"},
      {"TestTwoStepCircuitBreaker", defaults,
       "+ + F0 F1 F*3 =closed S =closed F*5 =closed F =open - >59s - >1s + - F2 =open >60s + S3 "
       "=closed"},
      {"TestGeneration", custom, "S + reset S0 stale=1 rate=none",
       "a window that rolls is no generation; a transition is"},
      {"TestGeneration_a_call_of_the_window_before_counts", custom, "S S + >30s F0 stale=0 =closed",
       "it counts when it ends"},
      {"half_open_admits_no_more_than_MaxRequests", custom,
       "S F F =open >90s + + + - - =half_open"},
      {"half_open_failure_opens", custom, "S F F >90s F =half_open S S =closed", rate_in_half_open},
      {"half_open_failures_open", custom, "S F F >90s F F =open"},
      {"done_called_twice_counts_once", custom, "S F F >90s + S0 S0 S0 =half_open duplicate=2"},
      {"a_panic_is_a_failure", defaults, "F F F F F =closed F =open"},
  };
}

inline std::vector<published_case> opossum_cases() {
  const auto usual = rules([](breaker_policy& p) {
    p.window_s = 10;
    p.min_calls = 1;
    p.open_wait_ms = 100;
    p.open_wait_max_ms = 100;
    p.half_open_permits = 1;
  });
  auto volume = usual;
  volume.min_calls = 6;
  volume.failure_rate_threshold = 0.01;
  auto lenient = usual;
  lenient.min_calls = 4;
  lenient.failure_rate_threshold = 0.75;
  return {
      {"opens_after_the_threshold_of_failures", usual, "F =open -"},
      {"resets_after_resetTimeout", usual, "F =open >99ms =open >1ms =half_open"},
      {"half_open_admits_a_single_call", usual, "F >100ms + - - S0 =closed + +"},
      {"half_open_closes_on_success", usual, "F >100ms S =closed events=3"},
      {"half_open_opens_on_failure_and_half_opens_again", usual,
       "F >100ms F =open >100ms =half_open F =open >100ms S =closed"},
      {"half_open_on_timeout_opens", usual, "F >100ms T =open"},
      {"a_rejected_call_while_half_open_leaves_the_pending_one", usual,
       "F >100ms + - =half_open S0 =closed rejected=1"},
      {"timeout_is_one_failure_not_two", lenient, "S T S T =closed rate=0.5 calls=4",
       "there a timeout emits timeout and failure"},
      {"volumeThreshold_not_reached", volume, "F*5 =closed"},
      {"volumeThreshold_reached", volume, "F*5 =closed F =open"},
      {"volumeThreshold_counts_successes_too", volume, "S*5 F =open"},
      {"errorFilter_forgives", usual, "I*100 =closed calls=0"},
      {"errorFilter_forgiven_counts_as_success_there", lenient, "I*9 F F =closed F =closed F =open",
       "forgiven calls do not count at all: there they are successes"},
      {"errorFilter_in_half_open_closes_there", usual, "F >100ms I =half_open S =closed",
       "a forgiven probe gives its permit back: there it closes"},
      {"closed_by_hand", usual, "F =open reset =closed +"},
      {"opened_by_hand_stays_so", usual, "set:forced_open - >3600s - set:none + =closed"},
      {"disable_and_enable", usual, "set:disabled F*9 =disabled set:none =closed"},
      {"state_restored_as_open_rejects", usual, "F - - >50ms - >50ms +"},
      {"the_rolling_window_forgets", lenient, "F F F >10s F =closed rate=none"},
  };
}

inline std::vector<published_case> polly_cases() {
  const auto consecutive = rules([](breaker_policy& p) {  // v7's first kind
    p.min_calls = 1'000'000;
    p.consecutive_failures = 2;
    p.open_wait_max_ms = 60'000;
    p.half_open_permits = 1;
  });
  const auto advanced = rules([](breaker_policy& p) {
    p.window_s = 10;
    p.min_calls = 4;
    p.open_wait_ms = p.open_wait_max_ms = 30'000;
    p.half_open_permits = 1;
  });
  auto single_window = advanced;
  single_window.window_buckets = 1;
  auto lost_probe = advanced;
  lost_probe.permit_ttl_ms = 30'000;
  return {
      {"CircuitStateController_Ctor_closed", advanced, "=closed @1 events=0"},
      {"IsolateAsync_rejects_until_closed", advanced,
       "set:forced_open - >3600s - =forced_open set:none + =closed"},
      {"CloseCircuitAsync_from_isolated", advanced, "set:forced_open reset =closed S =closed"},
      {"CloseCircuitAsync_from_open", advanced, "F*4 =open reset =closed +"},
      {"CloseCircuitAsync_when_closed_does_nothing", advanced, "S reset =closed >60s events=1"},
      {"OnActionPreExecute_open_until_the_break_is_over", advanced,
       "F*4 - >29999ms - >1ms + =half_open"},
      {"OnActionPreExecute_half_open_one_at_a_time", advanced, "F*4 >30s + - - =half_open"},
      {"OnActionPreExecute_lost_probe_after_another_break_duration", lost_probe,
       "F*4 >30s + >29999ms - >1ms =open expired=1 >30s + =half_open",
       "an unreported probe is a failure: there another may simply try"},
      {"OnHalfOpen_success_closes", advanced, "F*4 >30s S =closed cause=probe_succeeded"},
      {"OnHalfOpen_unhandled_outcome_closes_there", advanced, "F*4 >30s I =half_open S =closed",
       "an ignored probe gives its permit back"},
      {"OnHalfOpen_failure_breaks_again", advanced, "F*4 >30s F =open >30s =half_open"},
      {"OnActionFailure_when_open_or_isolated_changes_nothing", advanced,
       "+ F*4 =open F0 =open set:forced_open - =forced_open stale=1"},
      {"OnActionSuccess_late_when_open_does_not_close", advanced, "+ F*4 =open S0 =open stale=1"},
      {"OnActionSuccess_late_when_isolated_does_not_close", advanced,
       "+ set:forced_open S0 =forced_open stale=1"},
      {"OnActionFailure_below_throughput", advanced, "F F F =closed F =open"},
      {"OnActionFailure_at_the_threshold", advanced, "S S F =closed F =open rate=0.5"},
      {"OnActionFailure_below_the_threshold", advanced, "S S S F =closed rate=0.25"},
      {"OnActionSuccess_may_break_here", advanced, "F F S =closed S =open",
       "successes are evaluated too: there the next failure would open"},
      {"Flow_closed_open_half_open_closed", advanced,
       "F*4 =open >30s S =closed F*3 =closed F =open @5"},
      {"HealthMetrics_single_window_resets_whole", single_window,
       "F F S rate=none >9999ms F rate=0.75 =open"},
      {"HealthMetrics_single_window_over", single_window,
       "S S S F rate=0.25 >10s rate=none F*3 =closed"},
      {"HealthMetrics_rolling_window_drops_the_oldest", advanced,
       "S S >1s S S F rate=0.2 >9s rate=none >1s rate=none"},
      {"HealthMetrics_rolling_window_keeps_the_young", advanced,
       "S S >5s S S S F rate=0.17 >5s rate=0.25 >5s rate=none"},
      {"HealthMetrics_reset_on_close", advanced, "F F S reset F F F =closed"},
      {"ConsecutiveCount_two_in_a_row", consecutive, "F S F S F =closed F =open"},
      {"ConsecutiveCount_unhandled_does_not_interrupt", consecutive, "F I =closed F =open"},
      {"ConsecutiveCount_half_open_failure", consecutive,
       "F F >60s F =open >60s S =closed F =closed"},
  };
}

inline std::vector<published_case> failsafe_cases() {
  const auto three_in_a_row = rules([](breaker_policy& p) {
    p.min_calls = 1'000'000;
    p.consecutive_failures = 3;
    p.half_open_permits = 1;
    p.open_wait_max_ms = 60'000;
  });
  const auto two_of_three = rules([](breaker_policy& p) {
    p.window = window_kind::count;
    p.window_calls = p.min_calls = 3;
    p.failure_rate_threshold = 0.66;
    p.half_open_permits = p.half_open_concurrency = 3;
    p.open_wait_max_ms = 60'000;
  });
  const auto rate_over_time = rules([](breaker_policy& p) {
    p.window_s = 10;
    p.min_calls = 10;
    p.failure_rate_threshold = 0.3;
    p.half_open_permits = p.half_open_concurrency = 10;
    p.open_wait_max_ms = 60'000;
  });
  auto growing = three_in_a_row;
  growing.open_wait_ms = 1'000;
  growing.open_wait_max_ms = 3'000;
  constexpr std::string_view early = "opens as soon as the threshold cannot be avoided";
  return {
      {"ClosedState_FailureWithDefaultConfig", rules([](breaker_policy& p) {
         p.min_calls = 1'000'000;
         p.consecutive_failures = 1;
       }),
       "=closed F =open"},
      {"ClosedState_FailureWithFailureThreshold", three_in_a_row, "F S F F =closed F =open"},
      {"ClosedState_FailureWithFailureRatio", two_of_three, "F S =closed F =open rate=0.67"},
      {"ClosedState_FailureRatio_rolls", two_of_three, "F S S =closed F =closed S =closed F =open"},
      {"ClosedState_FailureThresholdRate", rate_over_time,
       "S*7 F*2 =closed F =open cause=failure_rate"},
      {"ClosedState_FailureThresholdRate_below_throughput", rate_over_time, "F*9 =closed F =open"},
      {"ClosedState_SuccessWithDefaultConfig", three_in_a_row, "S*100 =closed events=0"},
      {"ClosedState_SuccessWithFailureThreshold", three_in_a_row, "F F S F F S =closed"},
      {"OpenState_TryAcquirePermit_before_the_delay", three_in_a_row, "F*3 - >59s - =open"},
      {"OpenState_TryAcquirePermit_after_the_delay", three_in_a_row, "F*3 >60s + =half_open"},
      {"OpenState_RemainingDelay", three_in_a_row, "F*3 >20s - retry=40000 >39999ms - retry=1"},
      {"OpenState_delay_grows_by_backoff", growing,
       "F*3 - retry=1000 >1s F - retry=2000 >2s F - retry=3000 >3s F - retry=3000 >3s S =closed "
       "F*3 - retry=1000"},
      {"OpenState_no_state_change_by_results", three_in_a_row, "+ + F*3 S0 F1 =open stale=2"},
      {"HalfOpenState_FailureWithDefaultConfig", three_in_a_row, "F*3 >60s F =open"},
      {"HalfOpenState_SuccessWithDefaultConfig", three_in_a_row, "F*3 >60s S =closed"},
      {"HalfOpenState_FailureWithFailureRatio", two_of_three, "F*3 >60s F =half_open F =open",
       early},
      {"HalfOpenState_FailureRatio_with_a_success_between", two_of_three,
       "F*3 >60s F S =half_open F =open"},
      {"HalfOpenState_SuccessWithFailureRatio", two_of_three, "F*3 >60s S F =half_open S =closed"},
      {"HalfOpenState_SuccessWithFailureThresholdRate", rate_over_time,
       "F*10 >60s S*8 =half_open F =half_open F =closed"},
      {"HalfOpenState_FailureWithFailureThresholdRate", rate_over_time,
       "F*10 >60s S*7 F F =half_open F =open"},
      {"HalfOpenState_permits_are_limited", two_of_three, "F*3 >60s + + + - S0 - S1 - S2 =closed"},
      {"HalfOpenState_permits_after_results_are_not_more", two_of_three,
       "F*3 >60s + + + - F0 - =half_open", "a settled permit is used up in its phase"},
      {"Manual_open_close_half_open", two_of_three, "set:forced_open =forced_open set:none =closed",
       "half-open is never set by hand"},
  };
}

inline std::vector<published_case> brpc_cases() {
  // There isolation doubles while a node breaks again soon, up to a cap, and falls back after.
  const auto isolating = rules([](breaker_policy& p) {
    p.window = window_kind::count;
    p.window_calls = p.min_calls = 10;
    p.open_wait_ms = 100;
    p.open_wait_max_ms = 1'000;
    p.half_open_permits = 1;
  });
  return {
      {"should_not_isolate", isolating, "S*100 F*4 =closed"},
      {"should_isolate", isolating, "S*5 F*5 =open cause=failure_rate"},
      {"should_isolate_without_half_open_successes", isolating,
       "F*10 - retry=100 >100ms F - retry=200 >200ms F - retry=400 >400ms F - retry=800 >800ms F "
       "- retry=1000 >1s F - retry=1000"},
      {"isolation_duration_falls_back_after_recovery", isolating,
       "F*10 >100ms F - retry=200 >200ms S =closed F*10 - retry=100"},
      {"should_isolate_with_half_open", isolating,
       "F*10 =open - >100ms =half_open + - S0 =closed + +"},
      {"slow_calls_count_as_a_cost_of_their_own", rules([](breaker_policy& p) {
         p.window = window_kind::count;
         p.window_calls = p.min_calls = 10;
         p.slow_call_ms = 100;
         p.slow_rate_threshold = 0.5;
       }),
       "S:10*6 S:200*4 =closed S:200 =open cause=slow_rate",
       "there latency weighs into an error cost by a moving average"},
      {"mark_as_broken_by_hand", isolating, "set:forced_open - reset =closed +"},
  };
}

}  // namespace portcullis::core::breaker_tests
