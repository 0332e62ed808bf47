// Cases of resilience4j's CircuitBreakerStateMachineTest and of its sliding-window tests.
#pragma once
#include "script.hpp"

namespace portcullis::core::breaker_tests {

inline std::vector<published_case> resilience4j_state_machine_cases() {
  const auto usual = rules([](breaker_policy& p) {
    p.window_s = 5;
    p.window_buckets = 5;
    p.min_calls = 5;
    p.slow_call_ms = 4'000;
    p.slow_rate_threshold = 0.5;
    p.open_wait_ms = 5'000;
    p.open_wait_max_ms = 5'000;
    p.half_open_permits = p.half_open_concurrency = 4;
  });
  auto backing_off = usual;
  backing_off.open_wait_max_ms = 300'000;
  auto at_most_a_second = usual;
  at_most_a_second.max_half_open_ms = 1'000;
  auto by_traffic = usual;
  by_traffic.auto_half_open = false;
  constexpr std::string_view early = "opens as soon as the threshold cannot be avoided";
  constexpr std::string_view no_command =
      "no call may move a base state: the way there is its own calls";
  return {
      {"shouldThrowCallNotPermittedExceptionWhenStateIsOpen", usual, "F*5 =open - rejected=1"},
      {"shouldThrowCallNotPermittedExceptionWhenStateIsForcedOpen", usual,
       "set:forced_open - rejected=1"},
      {"shouldIncreaseCounterOnReleasePermission", usual, "F*5 >5s + + + + - - I0 + - =half_open"},
      {"shouldThrowCallNotPermittedExceptionWhenNotFurtherTestCallsArePermitted", usual,
       "F*5 >5s + + + + - rejected=1"},
      {"shouldOnlyPermitFourCallsInHalfOpenState", usual,
       "F*5 >5s =half_open + + + + - - F0 F1 =open >5s + + + + - -", early},
      {"shouldOpenAfterFailureRateThresholdExceeded", usual,
       "F rate=none F F S =closed rate=none S =open cause=failure_rate rate=0.6 - rejected=1"},
      {"shouldOpenAfterSlowCallRateThresholdExceeded", usual,
       "S:5000 S:5000 F:100 S:100 =closed S:5000 =open cause=slow_rate slow=0.6 rate=0.2",
       "one failure fewer: at both thresholds the failure rate is named as the cause"},
      {"slow_calls_are_longer_than_the_threshold", usual, "S:4000*5 =closed slow=0"},
      {"shouldTransitionToHalfOpenAfterWaitDuration", by_traffic,
       "F*5 - >3s =open - rejected=2 >3s =open + =half_open rate=none"},
      {"shouldTransitionToHalfOpenAfterWaitDuration_automatically", usual,
       "F*5 - >3s =open - >3s =half_open +"},
      {"shouldTransitionToHalfOpenAfterWaitInterval", backing_off,
       "F*5 - >3s =open - >3s + =half_open F0 F =open >6s =open - >4s + =half_open"},
      {"shouldTransitionBackToOpenStateWhenFailureRateIsAboveThreshold", usual,
       "F*5 >5s F F =open cause=probe_failed", early},
      {"failures_after_successes_open_at_the_last", usual, "F*5 >5s S S F =half_open F =open"},
      {"shouldTransitionBackToOpenStateWhenSlowCallRateIsAboveThreshold", usual,
       "F*5 >5s S:5000 =half_open S:5000 =open cause=probe_slow", early},
      {"shouldTransitionBackToClosedStateWhenFailureIsBelowThreshold", usual,
       "F*5 >5s F S S =half_open S =closed cause=probe_succeeded rate=none + S =closed"},
      {"shouldResetMetrics", usual, "S F reset cause=reset rate=none F*4 =closed"},
      {"shouldDisableCircuitBreaker", usual,
       "set:disabled =disabled S F*100 =disabled calls=0 granted=0"},
      {"shouldForceOpenCircuitBreaker", usual,
       "set:forced_open - >6s - =forced_open rejected=2 events=1"},
      {"shouldReleasePermissionWhenExceptionIgnored", usual,
       "F*5 >5s S S S =half_open I =half_open F =closed"},
      {"shouldIgnoreExceptionsAndThenTransitionToClosed", usual,
       "F*5 >5s I*4 =half_open S S S =half_open S =closed"},
      {"shouldNotAllowTransitionFromClosedToHalfOpen", usual, ">3600s =closed events=0",
       no_command},
      {"shouldNotAllowTransitionFromClosedToClosed", usual, "set:metrics_only set:none =closed @3",
       no_command},
      {"shouldResetToClosedState", usual, "F*5 =open reset =closed @3"},
      {"shouldResetClosedState", usual, "S S reset =closed rate=none F*4 =closed"},
      {"shouldResetMetricsAfterMetricsOnlyStateTransition", usual,
       "F*4 set:metrics_only =metrics_only rate=none F*4 rate=none events=1"},
      {"shouldRecordMetricsInMetricsOnlyState", usual,
       "set:metrics_only + F F F S events=1 S events=2 cause=failure_rate rate=0.6 F events=2 "
       "=metrics_only @2"},
      {"shouldTransitionToOpenAfterMaxWaitDurationInHalfOpenState", at_most_a_second,
       "F*5 >5s =half_open + S0 >999ms =half_open >1ms =open cause=probe_timeout"},
      {"calls_begun_when_closed_do_not_count_in_half_open", usual,
       "+ + F*5 >5s =half_open S0 F1 stale=2 =half_open S*4 =closed"},
      {"calls_begun_in_an_earlier_half_open_do_not_count", usual,
       "F*5 >5s + + + + F0 F1 =open >5s =half_open F2 F3 =half_open stale=2 S*4 =closed"},
      {"calls_begun_before_a_reset_do_not_count_after_it", usual,
       "S + + + + + reset F0 F1 F2 F3 F4 =closed stale=5"},
      {"a_disabled_one_becomes_closed_when_enabled", usual,
       "F*5 set:disabled F*9 set:none =closed rate=none F*4 =closed F =open"},
      {"a_forced_open_one_becomes_closed_when_released", usual,
       "F*5 set:forced_open - set:none =closed + @4"},
  };
}

inline std::vector<published_case> resilience4j_window_cases() {
  const auto last_five = rules([](breaker_policy& p) {
    p.window = window_kind::count;
    p.window_calls = 5;
    p.min_calls = 1;
    p.failure_rate_threshold = p.slow_rate_threshold = 1.0;
    p.slow_call_ms = 50;
  });
  const auto five_seconds = rules([](breaker_policy& p) {
    p.window_s = p.window_buckets = 5;
    p.min_calls = 1;
    p.failure_rate_threshold = p.slow_rate_threshold = 1.0;
    p.slow_call_ms = 50;
  });
  auto of_ten = last_five;
  of_ten.window_calls = of_ten.min_calls = 10;
  of_ten.failure_rate_threshold = 0.5;
  return {
      {"FixedSizeSlidingWindowMetrics_initial", last_five, "rate=none slow=none"},
      {"FixedSizeSlidingWindowMetrics_record_success", last_five, "S rate=0 slow=0"},
      {"FixedSizeSlidingWindowMetrics_record_slow_success", last_five, "S S:100 rate=0 slow=0.5"},
      {"FixedSizeSlidingWindowMetrics_record_error", last_five, "S F rate=0.5 slow=0"},
      {"FixedSizeSlidingWindowMetrics_record_slow_error", last_five, "S F:100 rate=0.5 slow=0.5"},
      {"FixedSizeSlidingWindowMetrics_the_oldest_leaves_with_the_sixth", last_five,
       "S F:100 S S F slow=0.2 rate=0.4 S rate=0.4 S rate=0.2 slow=0 S*3 rate=0"},
      {"SlidingWindowSize_ten_calls_are_needed_for_a_rate", of_ten,
       "F*9 rate=none =closed F =open rate=1"},
      {"SlidingTimeWindowMetrics_initial", five_seconds, "rate=none slow=none"},
      {"SlidingTimeWindowMetrics_record_success", five_seconds, "S rate=0 slow=0"},
      {"SlidingTimeWindowMetrics_record_error", five_seconds, "S F rate=0.5 slow=0"},
      {"SlidingTimeWindowMetrics_record_slow", five_seconds, "S S:100 F:100 S slow=0.5 rate=0.25"},
      {"SlidingTimeWindowMetrics_second_by_second", five_seconds,
       "S F rate=0.5 >1s S rate=0.33 >1s F rate=0.5 >1s S rate=0.4 >1s S rate=0.33 "
       ">1s S rate=0.2 >1s rate=0.25 >1s rate=0 >3s rate=none"},
      {"SlidingTimeWindowMetrics_a_leap_empties_it", five_seconds,
       "S F S >100s rate=none S rate=0"},
      {"SlidingTimeWindowMetrics_within_one_second_all_are_one_bucket", five_seconds,
       "S F >999ms S S rate=0.25 >1ms rate=0.25 >4s rate=none"},
  };
}

}  // namespace portcullis::core::breaker_tests
