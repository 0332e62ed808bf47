// When a hosted breaker opens, how long it waits, and how it closes (breaker.md, State 1 to 4).
#include "core/breaker/hosted.hpp"

#include "world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

using enum call_outcome;

// --- closed to open

TEST(breaker_closed, is_how_it_begins) {
  world w;
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w->epoch(), 1U);
  EXPECT_EQ(w->due_ms(w.policy), 0);
  const auto answer = w.acquire();
  EXPECT_TRUE(answer.allowed);
  EXPECT_FALSE(answer.permit);
  EXPECT_EQ(answer.retry_after_ms, 0);
  EXPECT_TRUE(w.events.empty());
}

TEST(breaker_closed, stays_while_there_are_fewer_calls_than_min_calls) {
  world w;
  w.repeat(19, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_FALSE(w->rates(w.policy).failure);
  w.report(failure);
  EXPECT_EQ(w.state(), breaker_state::open);
}

TEST(breaker_closed, opens_at_the_failure_rate_threshold_and_not_below_it) {
  world w;
  w.repeat(11, success);
  w.repeat(10, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);  // 10 of 21
  EXPECT_DOUBLE_EQ(*w->rates(w.policy).failure, 10.0 / 21);
  w.report(failure);
  EXPECT_EQ(w.state(), breaker_state::open);  // 11 of 22
  EXPECT_EQ(w.last().cause, breaker_cause::failure_rate);
  EXPECT_EQ(w.last().counts, counts_of(11, 11));
  EXPECT_EQ(w.last().from, breaker_state::closed);
}

TEST(breaker_closed, may_open_by_a_success_that_makes_the_calls_enough) {
  world w;
  w.repeat(19, failure);
  w.report(success);
  EXPECT_EQ(w.state(), breaker_state::open);
}

TEST(breaker_closed, takes_a_timeout_for_a_failure) {
  world w;
  w.repeat(20, timeout);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::failure_rate);
  EXPECT_EQ(w.last().counts, counts_of(0, 0, 20));
}

TEST(breaker_closed, a_threshold_is_met_exactly_whatever_its_binary_form) {
  for (const auto& [threshold, failures, calls] :
       {std::tuple(0.1, 2, 20), {0.3, 6, 20}, {0.7, 21, 30}, {0.15, 3, 20}, {0.29, 29, 100}}) {
    breaker_policy policy;
    policy.failure_rate_threshold = threshold;
    policy.min_calls = static_cast<std::uint32_t>(calls);
    world w(policy);
    w.repeat(calls - failures, success);
    w.repeat(failures - 1, failure);
    EXPECT_EQ(w.state(), breaker_state::closed) << threshold;
    w.report(failure);
    EXPECT_EQ(w.state(), breaker_state::open) << threshold;
  }
}

TEST(breaker_closed, min_calls_is_never_more_than_a_count_window_holds) {
  breaker_policy policy;
  policy.window = window_kind::count;
  policy.window_calls = 5;
  world w(policy);
  w.repeat(4, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(failure);
  EXPECT_EQ(w.state(), breaker_state::open);
}

TEST(breaker_closed, calls_that_left_the_window_do_not_count) {
  world w;
  w.repeat(19, failure);
  w.now_ms += 60'000;
  w.repeat(19, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(failure);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().counts, counts_of(0, 20));
}

TEST(breaker_closed, ignored_calls_count_for_nothing_but_are_told) {
  world w;
  w.repeat(100, ignored, 1'000'000);
  w.repeat(19, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(failure);
  EXPECT_EQ(w.last().counts[call_result::ignored], 100U);
  EXPECT_EQ(w.total(call_result::ignored), 100U);
  EXPECT_EQ(w->tallies().duration_sum_ms, 20U);
}

TEST(breaker_closed, opens_by_slow_calls_also_when_they_succeed) {
  world w;
  w.repeat(19, success, 60'001);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(success, 60'001);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::slow_rate);
  EXPECT_EQ(w.last().counts[call_result::slow_success], 20U);
}

TEST(breaker_closed, as_long_as_slow_call_ms_is_not_slow) {
  world w;
  w.repeat(100, success, 60'000);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_DOUBLE_EQ(*w->rates(w.policy).slow, 0.0);
}

TEST(breaker_closed, slow_failures_and_slow_timeouts_are_slow_too) {
  breaker_policy policy;
  policy.failure_rate_threshold = 1.0;
  policy.slow_rate_threshold = 0.5;
  policy.slow_call_ms = 100;
  world w(policy);
  w.repeat(10, success);
  w.repeat(4, failure, 101);
  w.repeat(5, timeout, 101);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(timeout, 101);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::slow_rate);
  EXPECT_EQ(w.last().counts[call_result::slow_failure], 4U);
  EXPECT_EQ(w.last().counts[call_result::timeout], 6U);
}

TEST(breaker_closed, consecutive_failures_open_whatever_min_calls_is) {
  breaker_policy policy;
  policy.consecutive_failures = 3;
  world w(policy);
  w.repeat(2, failure);
  w.report(success);
  w.repeat(2, failure);
  w.report(ignored);  // says nothing either way
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(timeout);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::consecutive_failures);
}

TEST(breaker_closed, consecutive_failures_are_off_at_zero) {
  breaker_policy policy;
  policy.min_calls = 1'000;
  world w(policy);
  w.repeat(999, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
}

TEST(breaker_closed, a_row_of_failures_begins_anew_after_closing) {
  breaker_policy policy;
  policy.consecutive_failures = 3;
  policy.half_open_permits = 1;
  world w(policy);
  w.repeat(3, failure);
  w.advance(60'000);
  w.settle(w.permit(), success);
  ASSERT_EQ(w.state(), breaker_state::closed);
  w.repeat(2, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(failure);
  EXPECT_EQ(w.state(), breaker_state::open);
}

// --- open

TEST(breaker_open, rejects_and_says_how_long) {
  world w;
  w.trip();
  EXPECT_EQ(w->due_ms(w.policy), start_ms + 60'000);
  w.now_ms += 20'000;
  const auto answer = w.acquire();
  EXPECT_FALSE(answer.allowed);
  EXPECT_EQ(answer.retry_after_ms, 40'000);
  EXPECT_EQ(w.total(call_result::rejected), 1U);
  EXPECT_EQ(w.permits(permit_outcome::denied), 1U);
  EXPECT_EQ(*w->describe(w.policy, w.now_ms).retry_after_ms, 40'000);
}

TEST(breaker_open, becomes_half_open_by_time_alone) {
  world w;
  w.trip();
  w.advance(59'999);
  EXPECT_EQ(w.state(), breaker_state::open);
  w.advance(1);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w.last().cause, breaker_cause::wait_elapsed);
  EXPECT_EQ(w->due_ms(w.policy), w.now_ms + 30'000);
}

TEST(breaker_open, without_auto_half_open_waits_for_a_caller) {
  breaker_policy policy;
  policy.auto_half_open = false;
  world w(policy);
  w.trip();
  EXPECT_EQ(w->due_ms(w.policy), 0);
  w.advance(3'600'000);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(*w->describe(w.policy, w.now_ms).retry_after_ms, 0);
  const auto answer = w.acquire();
  EXPECT_TRUE(answer.permit);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w.events.size(), 2U);
}

TEST(breaker_open, tells_what_it_turned_away_when_it_half_opens) {
  world w;
  w.trip();
  for (int i = 0; i < 7; ++i) (void)w.acquire();
  w.advance(60'000);
  EXPECT_EQ(w.last().counts[call_result::rejected], 7U);
  EXPECT_EQ(w.last().counts.calls(), 0U);
}

TEST(breaker_open, waits_twice_as_long_after_each_failed_round_up_to_the_cap) {
  world w;
  w.trip();
  for (const millis wait_ms : {60'000, 120'000, 240'000, 300'000, 300'000}) {
    EXPECT_EQ(w->due_ms(w.policy), w.now_ms + wait_ms);
    w.advance(wait_ms - 1);
    EXPECT_EQ(w.state(), breaker_state::open);
    w.advance(1);
    ASSERT_EQ(w.state(), breaker_state::half_open);
    for (int i = 0; i < 5; ++i) w.settle(w.permit(), failure);
    ASSERT_EQ(w.state(), breaker_state::open);
  }
}

TEST(breaker_open, its_back_off_ends_with_closing) {
  world w;
  w.trip_and_wait();
  for (int i = 0; i < 5; ++i) w.settle(w.permit(), failure);
  w.advance(120'000);
  for (int i = 0; i < 10; ++i) w.settle(w.permit(), success);
  ASSERT_EQ(w.state(), breaker_state::closed);
  w.repeat(20, failure);
  EXPECT_EQ(w->due_ms(w.policy), w.now_ms + 60'000);
  EXPECT_EQ(w.last_as<breaker_opened>().failed_rounds, 0U);
}

TEST(breaker_open, sways_its_wait_by_a_fifth_either_way) {
  for (const auto& [bits, wait_ms] : {std::pair<std::uint64_t, millis>{0, 48'000},
                                      {std::uint64_t{1} << 62, 54'000},
                                      {no_sway, 60'000},
                                      {std::uint64_t{3} << 62, 66'000},
                                      {~std::uint64_t{0}, 72'000}}) {
    world w;
    w.random = fixed_random(bits);
    w.trip();
    EXPECT_EQ(w->due_ms(w.policy), start_ms + wait_ms);
    EXPECT_EQ(w.last_as<breaker_opened>().until_ms, start_ms + wait_ms);
  }
}

TEST(breaker_open, a_cap_below_the_first_wait_does_not_shorten_it) {
  breaker_policy policy;
  policy.open_wait_max_ms = 1'000;
  world w(policy);
  w.trip();
  EXPECT_EQ(w->due_ms(w.policy), start_ms + 60'000);
}

TEST(breaker_restored, waits_no_longer_than_the_policy_has_it) {
  world w;
  breaker_record stored;
  stored.service = "payments";
  stored.breaker = "default";
  stored.state = breaker_state::open;
  stored.epoch = 7;
  stored.since_ms = start_ms - 1'000;
  stored.until_ms = start_ms + 30 * millis{86'400'000};
  w.restore(stored);
  EXPECT_EQ(w->describe(w.policy, w.now_ms).retry_after_ms, 360'000) << "300 s and a fifth";
  stored.until_ms = start_ms + 50'000;
  w.restore(stored);
  EXPECT_EQ(w->describe(w.policy, w.now_ms).retry_after_ms, 50'000);
}

TEST(breaker_open, a_wait_after_very_many_failed_rounds_is_the_cap) {
  world w;
  breaker_record stored;
  stored.service = "payments";
  stored.breaker = "default";
  stored.state = breaker_state::half_open;
  stored.failed_rounds = 4'000'000'000;
  stored.until_ms = w.now_ms + 30'000;
  w.restore(stored);
  for (int i = 0; i < 5; ++i) w.settle(w.permit(), failure);
  EXPECT_EQ(w->due_ms(w.policy), w.now_ms + 300'000);
}

TEST(breaker_open, reports_of_calls_begun_before_count_as_stale) {
  world w;
  w.trip();
  auto late = world::call_of(success, 7);
  late.epoch = 1;
  EXPECT_TRUE(w.report(late));
  w.report(failure);
  EXPECT_EQ(w.permits(permit_outcome::stale), 2U);
  EXPECT_EQ(w.total(call_result::success), 1U);
  EXPECT_EQ(w.total(call_result::failure), 21U);
  EXPECT_EQ(w.events.size(), 1U);
}

// --- half-open to closed or open

TEST(breaker_half_open, closes_when_all_permits_are_settled_well) {
  world w;
  w.trip_and_wait();
  for (int i = 0; i < 9; ++i) w.settle(w.permit(), success);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  w.settle(w.permit(), success);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.last().cause, breaker_cause::probe_succeeded);
  EXPECT_EQ(w.last().counts, counts_of(10));
  EXPECT_EQ(w->due_ms(w.policy), 0);
}

TEST(breaker_half_open, closes_with_failures_below_the_threshold) {
  world w;
  w.trip_and_wait();
  for (int i = 0; i < 4; ++i) w.settle(w.permit(), failure);
  for (int i = 0; i < 6; ++i) w.settle(w.permit(), success);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.last().counts, counts_of(6, 4));
}

TEST(breaker_half_open, opens_as_soon_as_the_threshold_cannot_be_avoided) {
  world w;
  w.trip_and_wait();
  for (int i = 0; i < 4; ++i) w.settle(w.permit(), failure);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  w.settle(w.permit(), failure);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::probe_failed);
  EXPECT_EQ(w.last_as<breaker_opened>().failed_rounds, 1U);
}

TEST(breaker_half_open, opens_by_slow_probes) {
  breaker_policy policy;
  policy.slow_rate_threshold = 0.5;
  world w(policy);
  w.trip_and_wait();
  for (int i = 0; i < 4; ++i) w.settle(w.permit(), success, 60'001);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  w.settle(w.permit(), success, 60'001);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::probe_slow);
}

TEST(breaker_half_open, opens_when_it_lasts_too_long) {
  world w;
  w.trip_and_wait();
  w.settle(w.permit(), success);
  w.advance(29'999);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  w.advance(1);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::probe_timeout);
  EXPECT_EQ(w->due_ms(w.policy), w.now_ms + 120'000);
}

TEST(breaker_half_open, begins_closed_with_an_empty_window) {
  world w;
  w.trip_and_wait();
  for (int i = 0; i < 10; ++i) w.settle(w.permit(), success);
  EXPECT_FALSE(w->rates(w.policy).failure);
  w.repeat(19, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
}

TEST(breaker_half_open, shows_its_rates_once_all_permits_are_settled_and_not_before) {
  world w;
  w.trip_and_wait();
  w.settle(w.permit(), failure);
  EXPECT_FALSE(w->rates(w.policy).failure);
  EXPECT_FALSE(w->describe(w.policy, w.now_ms).failure_ratio);
}

// A round whose permits were made fewer while it ran stood until its end and then opened.
TEST(breaker_half_open, decides_when_the_policy_asks_for_no_more_permits_than_are_settled) {
  world w;
  w.trip_and_wait();
  for (int i = 0; i < 3; ++i) w.settle(w.permit(), success);
  w.policy.half_open_permits = 3;
  w.advance();
  EXPECT_EQ(w.state(), breaker_state::closed);
}

// --- epochs, events, time

TEST(breaker_epochs, grow_by_one_with_each_transition_and_each_is_told_once) {
  world w;
  w.trip_and_wait();
  for (int i = 0; i < 5; ++i) w.settle(w.permit(), failure);
  w.advance(120'000);
  for (int i = 0; i < 10; ++i) w.settle(w.permit(), success);
  const std::pair<event_type, breaker_state> expected[] = {
      {event_type::breaker_opened, breaker_state::closed},
      {event_type::breaker_half_opened, breaker_state::open},
      {event_type::breaker_opened, breaker_state::half_open},
      {event_type::breaker_half_opened, breaker_state::open},
      {event_type::breaker_closed, breaker_state::half_open}};
  ASSERT_EQ(w.events.size(), std::size(expected));
  for (std::size_t i = 0; i < w.events.size(); ++i) {
    const auto told = told_by(w.events[i]);
    EXPECT_EQ(told.type, expected[i].first);
    EXPECT_EQ(told.from, expected[i].second);
    EXPECT_EQ(told.epoch, i + 2);
  }
  EXPECT_EQ(w->epoch(), 6U);
  std::uint64_t moved = 0;
  for (const auto& each : w->tallies().transitions) moved += each.count;
  EXPECT_EQ(moved, 5U);
}

TEST(breaker_epochs, a_report_of_an_old_one_changes_nothing_when_closed_again) {
  breaker_policy policy;
  policy.half_open_permits = 1;
  world w(policy);
  w.trip_and_wait();
  w.settle(w.permit(), success);
  ASSERT_EQ(w.state(), breaker_state::closed);
  for (std::uint64_t epoch : {0, 1, 2, 3, 5, 99}) {
    for (int i = 0; i < 30; ++i) {
      auto old = world::call_of(failure);
      old.epoch = epoch;
      EXPECT_TRUE(w.report(old));
    }
  }
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.permits(permit_outcome::stale), 180U);
  EXPECT_EQ(w.total(call_result::failure), 200U);
}

TEST(breaker_time, a_leap_ahead_is_one_step_at_a_time) {
  world w;
  w.trip();
  w.advance(365LL * 86'400'000);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w.events.size(), 2U);
  (void)w.permit();
  w.advance(365LL * 86'400'000);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.events.size(), 3U);
}

TEST(breaker_time, open_time_is_counted_while_it_lasts_and_after) {
  world w;
  w.trip();
  w.advance(10'000);
  EXPECT_EQ(w->open_ms(w.now_ms), 10'000);
  w.advance(50'000);
  EXPECT_EQ(w->open_ms(w.now_ms), 60'000);
  w.advance(10'000);  // half-open
  EXPECT_EQ(w->open_ms(w.now_ms), 60'000);
  w.advance(20'000);
  EXPECT_EQ(w->open_ms(w.now_ms + 5'000), 65'000);
  EXPECT_EQ(w->open_ms(w.now_ms - 5'000), 60'000);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
