// Many calls reported at once, numbered by their source, and what survives a restart.
#include "core/breaker/hosted.hpp"
#include "world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

using enum call_outcome;

TEST(breaker_batch, counts_like_single_reports) {
  world w;
  const auto answer = w.batch("app", 1, counts_of(10, 9));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->accepted);
  EXPECT_FALSE(answer->duplicate);
  EXPECT_EQ(answer->now.state, breaker_state::closed);
  EXPECT_EQ(w.state(), breaker_state::closed);
  const auto opens = w.batch("app", 2, counts_of(0, 0, 1));
  EXPECT_EQ(opens->now.state, breaker_state::open);
  EXPECT_EQ(opens->now.epoch, 2U);
  EXPECT_EQ(w.last().counts, counts_of(10, 9, 1));
  EXPECT_EQ(w->tallies().errors[static_cast<std::size_t>(call_error::other)], 10U);
}

TEST(breaker_batch, of_slow_calls_opens_by_them) {
  world w;
  call_counts slow;
  slow[call_result::slow_success] = 19;
  slow[call_result::slow_failure] = 1;
  EXPECT_TRUE(w.batch("app", 1, slow));
  EXPECT_EQ(w.last().cause, breaker_cause::slow_rate);
}

TEST(breaker_batch, with_nothing_in_it_is_accepted) {
  world w;
  EXPECT_TRUE(w.batch("app", 1, {})->accepted);
  EXPECT_EQ(w.state(), breaker_state::closed);
}

TEST(breaker_batch, rejected_and_ignored_calls_are_told_and_not_judged) {
  world w;
  auto counts = counts_of(0, 19);
  counts[call_result::ignored] = 500;
  counts[call_result::rejected] = 700;
  EXPECT_TRUE(w.batch("app", 1, counts));
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_TRUE(w.batch("app", 2, counts_of(0, 1)));
  EXPECT_EQ(w.last().counts[call_result::ignored], 500U);
  EXPECT_EQ(w.last().counts[call_result::rejected], 700U);
}

TEST(breaker_batch, a_row_of_failures_goes_on_over_batches_and_a_success_ends_it) {
  breaker_policy policy;
  policy.consecutive_failures = 5;
  policy.min_calls = 1'000;
  world w(policy);
  EXPECT_TRUE(w.batch("app", 1, counts_of(0, 4)));
  EXPECT_TRUE(w.batch("app", 2, counts_of(1, 400)));
  EXPECT_TRUE(w.batch("app", 3, {}));
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_TRUE(w.batch("app", 4, counts_of(0, 2)));
  w.repeat(2, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_TRUE(w.batch("app", 5, counts_of(0, 0, 1)));
  EXPECT_EQ(w.last().cause, breaker_cause::consecutive_failures);
}

TEST(breaker_batch, durations_are_taken_over) {
  world w;
  duration_buckets durations{};
  durations[0] = 2;
  durations[duration_bucket_count - 1] = 1;
  EXPECT_TRUE(w.batch("app", 1, counts_of(3), {}, durations));
  EXPECT_EQ(w->tallies().durations, durations);
  EXPECT_EQ(w->tallies().duration_sum_ms, 5U + 10'000);
}

TEST(breaker_batch, a_duplicate_counts_nothing) {
  world w;
  EXPECT_TRUE(w.batch("app", 7, counts_of(0, 10))->accepted);
  for (int i = 0; i < 10; ++i) {
    const auto again = w.batch("app", 7, counts_of(0, 10));
    EXPECT_FALSE(again->accepted);
    EXPECT_TRUE(again->duplicate);
  }
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.total(call_result::failure), 10U);
  EXPECT_EQ(w.permits(permit_outcome::duplicate), 10U);
}

TEST(breaker_batch, those_that_overtook_each_other_count_once_each) {
  world w;
  for (const std::uint64_t seq : {5, 3, 4, 1, 2, 8, 6, 7}) {
    EXPECT_TRUE(w.batch("app", seq, counts_of(1))->accepted) << seq;
    EXPECT_TRUE(w.batch("app", seq, counts_of(1))->duplicate) << seq;
  }
  EXPECT_EQ(w.total(call_result::success), 8U);
}

TEST(breaker_batch, duplicates_are_known_over_the_last_64_numbers) {
  world w;
  EXPECT_TRUE(w.batch("app", 0, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("app", 63, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("app", 0, counts_of(1))->duplicate);
  EXPECT_TRUE(w.batch("app", 1'000, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("app", 937, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("app", 937, counts_of(1))->duplicate);
}

// Regression: a straggler of 64 numbers ago began the source anew, and whatever was reported twice
// after that counted twice.
TEST(breaker_batch, a_number_further_back_is_a_duplicate) {
  world w;
  EXPECT_TRUE(w.batch("app", 1'000, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("app", 937, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("app", 936, counts_of(1))->duplicate);
  EXPECT_TRUE(w.batch("app", 1, counts_of(1))->duplicate);
  EXPECT_TRUE(w.batch("app", 1'000, counts_of(1))->duplicate);
  EXPECT_EQ(w.total(call_result::success), 2U);
}

TEST(breaker_batch, of_too_many_calls_is_refused_and_counted) {
  world w;
  const auto refused = w.batch("app", 1, counts_of(limits::reported_calls_max, 1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::INVALID_PARAMS);
  EXPECT_EQ(refused.error().rule, "delta_max");
  duration_buckets many{};
  many[0] = many[11] = limits::reported_calls_max;
  EXPECT_EQ(w.batch("app", 1, counts_of(1), {}, many).error().field, "duration_buckets");
  EXPECT_EQ(
      w->tallies().reports_rejected[static_cast<std::size_t>(report_refusal::delta_too_large)], 2U);
  EXPECT_EQ(w.total(call_result::success), 0U);
  EXPECT_TRUE(w.batch("app", 1, counts_of(limits::reported_calls_max))->accepted)
      << "its number was not used up";
}

// Regression: the results of one report were added one after the other, and in a window of fewer
// calls the last one pushed out all others.
TEST(breaker_batch, of_more_calls_than_a_count_window_holds_keeps_the_rate) {
  breaker_policy policy;
  policy.window = window_kind::count;
  policy.window_calls = 100;
  policy.min_calls = 10;
  policy.failure_rate_threshold = 0.5;
  world w(policy);
  EXPECT_TRUE(w.batch("app", 1, counts_of(150, 60)));
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_NEAR(w->rates(w.policy).failure.value_or(-1), 60.0 / 210, 0.01);
  for (std::uint64_t seq = 2; seq < 50; ++seq) {
    EXPECT_TRUE(w.batch("app", seq, counts_of(1'000 - 10 * seq, 0, 10 * seq)));
    EXPECT_NEAR(w->rates(w.policy).failure.value_or(-1), 0.01 * static_cast<double>(seq), 0.011);
  }
  EXPECT_TRUE(w.batch("app", 50, counts_of(499'999, 500'001)));
  EXPECT_EQ(w.state(), breaker_state::open);
}

TEST(breaker_batch, what_an_open_breakers_callers_turned_away_is_of_its_phase) {
  world w;
  w.trip();
  call_counts rejected;
  rejected[call_result::rejected] = 700;
  EXPECT_TRUE(w.batch("app", 1, rejected)->accepted);
  EXPECT_EQ(w.permits(permit_outcome::stale), 0U) << "nothing in it is late";
  w.advance(w.policy.open_wait_ms);
  ASSERT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w.last().counts[call_result::rejected], 700U);
}

TEST(breaker_batch, sources_have_numbers_of_their_own) {
  world w;
  EXPECT_TRUE(w.batch("a", 1, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("b", 1, counts_of(1))->accepted);
  EXPECT_TRUE(w.batch("a", 1, counts_of(1))->duplicate);
  EXPECT_EQ(w->describe(w.policy, w.now_ms).sources.size(), 2U);
}

TEST(breaker_batch, of_an_old_epoch_counts_in_the_totals_only) {
  world w;
  w.trip();
  w.reset();
  for (const std::uint64_t epoch : {1, 2, 4, 99})
    EXPECT_TRUE(w.batch("app", 100 + epoch, counts_of(0, 50), epoch)->accepted);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.total(call_result::failure), 220U);
  EXPECT_EQ(w.permits(permit_outcome::stale), 4U);
  EXPECT_FALSE(w->rates(w.policy).failure);
}

TEST(breaker_batch, while_open_or_half_open_changes_nothing) {
  world w;
  w.trip();
  EXPECT_TRUE(w.batch("app", 1, counts_of(500))->accepted);
  EXPECT_EQ(w.state(), breaker_state::open);
  w.advance(60'000);
  EXPECT_TRUE(w.batch("app", 2, counts_of(500))->accepted);
  EXPECT_EQ(w.state(), breaker_state::half_open);
}

TEST(breaker_batch, a_65th_source_is_refused_until_one_was_silent_for_long) {
  world w;
  for (std::size_t i = 0; i < limits::breaker_sources_max; ++i) {
    EXPECT_TRUE(w.batch("app-" + std::to_string(i), 1, counts_of(1)));
    w.now_ms += 1;
  }
  const auto refused = w.batch("late", 1, counts_of(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::BREAKER_SOURCE_LIMIT);
  EXPECT_EQ(w.total(call_result::success), 64U);
  EXPECT_EQ(w->tallies().reports_rejected[static_cast<std::size_t>(report_refusal::source_limit)],
            1U);
  EXPECT_TRUE(w.batch("app-0", 2, counts_of(1)));
  w.now_ms = start_ms + 1 + limits::source_silent_ms - 1;
  EXPECT_FALSE(w.batch("late", 1, counts_of(1)));
  w.now_ms += 1;
  EXPECT_TRUE(w.batch("late", 1, counts_of(1)));  // in the place of app-1
  const auto row = w->describe(w.policy, w.now_ms);
  EXPECT_EQ(row.sources.size(), 64U);
  for (const auto& each : row.sources) EXPECT_NE(each.source, "app-1");
}

// --- policies that change while it runs

TEST(breaker_policy_change, of_the_windows_shape_begins_an_empty_one) {
  world w;
  w.repeat(19, failure);
  w.policy.window = window_kind::count;
  w.policy.window_calls = 50;
  w.repeat(19, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(failure);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().counts, counts_of(0, 20));
}

TEST(breaker_policy_change, of_the_shape_takes_hold_under_metrics_only_too) {
  world w;
  w.override_with(override_mode::metrics_only);
  w.repeat(19, failure);
  w.policy.window_s = 30;
  w.report(failure);
  EXPECT_EQ(w.events.size(), 1U);
}

TEST(breaker_policy_change, of_a_threshold_holds_from_the_next_call) {
  world w;
  w.repeat(30, success);
  w.repeat(10, failure);
  w.policy.failure_rate_threshold = 0.2;
  w.advance();
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(success);
  EXPECT_EQ(w.state(), breaker_state::open);
}

// --- restoring

breaker_record stored_as(breaker_state state) {
  breaker_record out;
  out.service = "payments";
  out.breaker = "default";
  out.state = state;
  out.epoch = 17;
  out.cause = breaker_cause::failure_rate;
  out.since_ms = start_ms - 5'000;
  out.until_ms = start_ms + 5'000;
  out.failed_rounds = 2;
  return out;
}

TEST(breaker_restored, is_what_it_was) {
  for (const auto state : {breaker_state::closed, breaker_state::open, breaker_state::half_open}) {
    world w;
    w.restore(stored_as(state));
    EXPECT_EQ(w.state(), state);
    EXPECT_EQ(w->epoch(), 17U);
    const auto row = w->describe(w.policy, w.now_ms);
    EXPECT_EQ(row.since_ms, start_ms - 5'000);
    EXPECT_EQ(row.cause, breaker_cause::failure_rate);
    EXPECT_TRUE(w.events.empty());
  }
}

TEST(breaker_restored, open_waits_on_and_never_closes_by_itself) {
  world w;
  w.restore(stored_as(breaker_state::open));
  EXPECT_EQ(w.acquire().retry_after_ms, 5'000);
  EXPECT_EQ(w->due_ms(w.policy), start_ms + 5'000);
  w.advance(5'000);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w->epoch(), 18U);
  for (int i = 0; i < 5; ++i) w.settle(w.permit(), failure);
  EXPECT_EQ(w.last_as<breaker_opened>().failed_rounds, 3U);
}

TEST(breaker_restored, open_long_after_its_wait_tries_first) {
  world w;
  w.now_ms += 86'400'000;
  w.restore(stored_as(breaker_state::open));
  EXPECT_TRUE(w.permit() != breaker_permit{});
  EXPECT_EQ(w.state(), breaker_state::half_open);
}

TEST(breaker_restored, half_open_begins_its_phase_anew) {
  world before;
  before.restore(stored_as(breaker_state::half_open));
  const auto old = before.permit();
  world w;
  w.now_ms += 1;
  w.restore(stored_as(breaker_state::half_open));
  const auto now = w.permit();
  EXPECT_NE(now.round, old.round);
  EXPECT_EQ(now.epoch, 17U);
  w.settle(old, failure);
  EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
  w.settle(now, success);
  for (int i = 0; i < 9; ++i) w.settle(w.permit(), success);
  EXPECT_EQ(w.state(), breaker_state::closed);
}

// The time that the server was away counted as a round that failed, and doubled the wait.
TEST(breaker_restored, half_open_has_its_whole_time_again) {
  world w;
  w.now_ms += 3'600'000;
  w.restore(stored_as(breaker_state::half_open));
  w.advance();
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w->due_ms(w.policy), w.now_ms + 30'000);
  w.advance(30'000);
  EXPECT_EQ(w.state(), breaker_state::open);
}

TEST(breaker_restored, under_an_override_keeps_it_and_its_end) {
  for (const auto mode :
       {override_mode::forced_open, override_mode::disabled, override_mode::metrics_only}) {
    auto stored = stored_as(breaker_state::half_open);
    stored.override_ = {mode, override_scope::node, "ada", "drill", start_ms + 1'000};
    world w;
    w.restore(stored);
    EXPECT_EQ(w.state(), state_of(mode));
    EXPECT_EQ(w->override_in_force().reason, "drill");
    w.advance(1'000);
    EXPECT_EQ(w.state(), breaker_state::closed);
    EXPECT_EQ(w->epoch(), 18U);
  }
}

TEST(breaker_restored, open_time_counts_from_the_restart) {
  world w;
  w.restore(stored_as(breaker_state::open));
  w.advance(2'000);
  EXPECT_EQ(w->open_ms(w.now_ms), 2'000);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
