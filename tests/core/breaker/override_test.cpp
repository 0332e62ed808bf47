// What an administrator may put on top of a breaker, and reset (breaker.md, State 5).
#include "core/breaker/hosted.hpp"
#include "world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

using enum call_outcome;

constexpr auto every_override = {override_mode::forced_open, override_mode::disabled,
                                 override_mode::metrics_only};
constexpr auto every_base = {breaker_state::closed, breaker_state::open, breaker_state::half_open};

world in(breaker_state base) {
  world w;
  if (base != breaker_state::closed) w.trip();
  if (base == breaker_state::half_open) w.advance(60'000);
  EXPECT_EQ(w.state(), base);
  return w;
}

TEST(breaker_override, tells_what_was_counted_before_and_what_it_was) {
  world w;
  w.repeat(3, success);
  w.repeat(2, failure);
  w.override_with(override_mode::metrics_only);
  const auto set = w.last_as<breaker_override_set>();
  EXPECT_EQ(set.cause, breaker_cause::override_set);
  EXPECT_EQ(set.from, breaker_state::closed);
  EXPECT_EQ(set.counts, counts_of(3, 2));
  w.repeat(4, success);
  w.override_with(override_mode::metrics_only, {}, "another reason");
  const auto explained = w.last_as<breaker_override_set>();
  EXPECT_FALSE(explained.cause || explained.from || explained.counts) << "no change of state";
  w.override_with(override_mode::none);
  const auto cleared = w.last_as<breaker_override_cleared>();
  EXPECT_EQ(cleared.from, breaker_state::metrics_only);
  EXPECT_EQ(cleared.counts, counts_of(4));
}

TEST(breaker_override, works_from_every_state_and_ends_closed_with_an_empty_window) {
  for (const auto base : every_base) {
    for (const auto mode : every_override) {
      auto w = in(base);
      if (base == breaker_state::closed) w.repeat(19, failure);
      const auto epoch = w->epoch();
      const auto events = w.events.size();
      EXPECT_TRUE(w.override_with(mode));
      EXPECT_EQ(w.state(), state_of(mode));
      EXPECT_EQ(w->base_state(), base);  // frozen
      EXPECT_EQ(w->epoch(), epoch + 1);
      const auto& set = w.last_as<breaker_override_set>();
      EXPECT_EQ(set.mode, mode);
      EXPECT_EQ(set.epoch, epoch + 1);
      EXPECT_EQ(set.reason, "drill");
      EXPECT_EQ(w->override_in_force().actor, "ada");
      w.advance(86'400'000);
      EXPECT_EQ(w->base_state(), base);
      EXPECT_TRUE(w.override_with(override_mode::none));
      EXPECT_EQ(w.state(), breaker_state::closed);
      EXPECT_EQ(w->epoch(), epoch + 2);
      EXPECT_EQ(w.last_as<breaker_override_cleared>().mode, mode);
      EXPECT_EQ(w.last_as<breaker_override_cleared>().cause, breaker_cause::override_cleared);
      EXPECT_EQ(w.events.size(), events + 2);
      w.report(failure);
      EXPECT_EQ(w.state(), breaker_state::closed);
      EXPECT_FALSE(w->rates(w.policy).failure);
    }
  }
}

TEST(breaker_override, its_end_makes_a_window_of_metrics_only_empty_too) {
  world w;
  w.override_with(override_mode::metrics_only);
  w.repeat(19, failure);
  w.override_with(override_mode::none);
  w.repeat(19, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
}

TEST(breaker_override, forced_open_rejects_all) {
  world w;
  w.override_with(override_mode::forced_open);
  const auto answer = w.acquire();
  EXPECT_FALSE(answer.allowed);
  EXPECT_EQ(answer.retry_after_ms, 60'000);
  w.repeat(30, success);
  EXPECT_EQ(w.permits(permit_outcome::stale), 30U);
  EXPECT_EQ(w.total(call_result::rejected), 1U);
  EXPECT_EQ(w->due_ms(w.policy), 0);
}

TEST(breaker_override, forced_open_with_a_ttl_says_how_long) {
  world w;
  w.override_with(override_mode::forced_open, 90);
  w.now_ms += 30'000;
  EXPECT_EQ(w.acquire().retry_after_ms, 60'000);
  EXPECT_EQ(*w->describe(w.policy, w.now_ms).retry_after_ms, 60'000);
  EXPECT_EQ(w->due_ms(w.policy), start_ms + 90'000);
}

TEST(breaker_override, forced_open_counts_as_open_time_without_a_gap) {
  world w;
  w.trip();
  w.advance(10'000);
  w.override_with(override_mode::forced_open);
  w.advance(100'000);
  EXPECT_EQ(w->open_ms(w.now_ms), 110'000);
  w.override_with(override_mode::none);
  w.advance(10'000);
  EXPECT_EQ(w->open_ms(w.now_ms), 110'000);
}

TEST(breaker_override, disabled_admits_all_and_records_nothing) {
  auto w = in(breaker_state::open);
  w.override_with(override_mode::disabled);
  const auto calls = w->tallies().calls;
  const auto permits = w->tallies().permits;
  const auto events = w.events.size();
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(w.acquire().allowed);
    w.report(failure);
  }
  EXPECT_TRUE(w.batch("app", 1, counts_of(0, 500)));
  EXPECT_EQ(w->tallies().calls, calls);
  EXPECT_EQ(w->tallies().permits, permits);
  EXPECT_EQ(w.events.size(), events);
  EXPECT_EQ(w.state(), breaker_state::disabled);
}

TEST(breaker_override, metrics_only_admits_all_and_tells_once_a_breach) {
  auto w = in(breaker_state::open);
  w.override_with(override_mode::metrics_only);
  const auto epoch = w->epoch();
  const auto events = w.events.size();
  w.repeat(19, failure);
  EXPECT_EQ(w.events.size(), events);
  w.repeat(30, failure);
  ASSERT_EQ(w.events.size(), events + 1);
  EXPECT_EQ(w.last().type, event_type::breaker_would_open);
  EXPECT_EQ(w.last().cause, breaker_cause::failure_rate);
  EXPECT_EQ(w.last().counts, counts_of(0, 20));
  EXPECT_EQ(w.last().epoch, epoch);
  EXPECT_EQ(w->epoch(), epoch);
  EXPECT_TRUE(w.acquire().allowed);
  EXPECT_EQ(w.state(), breaker_state::metrics_only);
  EXPECT_DOUBLE_EQ(*w->rates(w.policy).failure, 1.0);
}

TEST(breaker_override, metrics_only_tells_again_when_it_had_recovered) {
  world w;
  w.override_with(override_mode::metrics_only);
  w.repeat(20, failure);
  w.repeat(21, success);  // below the threshold
  w.repeat(2, failure);
  EXPECT_EQ(w.events.size(), 3U);
}

// A breach whose calls had left the window was not over until a report found so.
TEST(breaker_override, metrics_only_recovers_by_time_too) {
  world w;
  w.override_with(override_mode::metrics_only);
  EXPECT_TRUE(w.batch("app", 1, counts_of(0, 20)));
  w.advance(60'000);
  EXPECT_FALSE(w->rates(w.policy).failure);
  EXPECT_TRUE(w.batch("app", 2, counts_of(0, 20)));
  ASSERT_EQ(w.events.size(), 3U);
  EXPECT_EQ(w.last().type, event_type::breaker_would_open);
}

TEST(breaker_override, metrics_only_tells_of_slow_calls_and_rows_of_failures) {
  breaker_policy policy;
  policy.consecutive_failures = 3;
  world w(policy);
  w.override_with(override_mode::metrics_only);
  w.repeat(3, failure);
  EXPECT_EQ(w.last().cause, breaker_cause::consecutive_failures);
  world slow;
  slow.override_with(override_mode::metrics_only);
  slow.repeat(20, success, 60'001);
  EXPECT_EQ(slow.last().cause, breaker_cause::slow_rate);
}

TEST(breaker_override, the_same_again_changes_nothing) {
  for (const auto mode : every_override) {
    world w;
    EXPECT_TRUE(w.override_with(mode));
    w.advance(5'000);
    EXPECT_FALSE(w.override_with(mode));
    EXPECT_EQ(w.events.size(), 1U);
    EXPECT_TRUE(w.override_with(override_mode::none));
    EXPECT_FALSE(w.override_with(override_mode::none));
    EXPECT_EQ(w.events.size(), 2U);
  }
}

TEST(breaker_override, prolonged_or_explained_anew_keeps_state_and_epoch) {
  world w;
  w.override_with(override_mode::metrics_only, 60);
  w.repeat(20, failure);
  const auto epoch = w->epoch();
  const auto since_ms = w->describe(w.policy, w.now_ms).since_ms;
  w.advance(30'000);
  EXPECT_TRUE(w.override_with(override_mode::metrics_only, 60));
  EXPECT_TRUE(w.override_with(override_mode::metrics_only, 60, "still needed"));
  EXPECT_TRUE(w.override_with(override_mode::metrics_only, 60, "still needed", "grace"));
  EXPECT_FALSE(w.override_with(override_mode::metrics_only, 60, "still needed", "grace"));
  EXPECT_EQ(w->epoch(), epoch);
  EXPECT_EQ(w.last_as<breaker_override_set>().epoch, epoch);
  EXPECT_EQ(w->describe(w.policy, w.now_ms).since_ms, since_ms);
  EXPECT_DOUBLE_EQ(*w->rates(w.policy).failure, 1.0);  // its window went on
  w.advance(59'999);
  EXPECT_EQ(w.state(), breaker_state::metrics_only);
  EXPECT_TRUE(w.override_with(override_mode::metrics_only));  // from now on without an end
  EXPECT_EQ(w->due_ms(w.policy), 0);
}

TEST(breaker_override, another_scope_is_another_override) {
  world w;
  w.override_with(override_mode::disabled);
  override_breaker order;
  order.mode = override_mode::disabled;
  order.reason = "drill";
  EXPECT_FALSE(w->decide_override(order, "ada", override_scope::node, w.now_ms));
  EXPECT_TRUE(w->decide_override(order, "ada", override_scope::fleet, w.now_ms));
}

TEST(breaker_override, one_may_follow_another) {
  world w;
  w.override_with(override_mode::forced_open, 60);
  w.override_with(override_mode::disabled);
  EXPECT_EQ(w.state(), breaker_state::disabled);
  EXPECT_EQ(w->epoch(), 3U);
  w.advance(60'000);
  EXPECT_EQ(w.state(), breaker_state::disabled);
  EXPECT_EQ(w->open_ms(w.now_ms), 0);
}

TEST(breaker_override, ends_with_its_ttl) {
  for (const auto mode : every_override) {
    for (const auto base : every_base) {
      auto w = in(base);
      w.override_with(mode, 60);
      const auto epoch = w->epoch();
      w.advance(59'999);
      EXPECT_EQ(w.state(), state_of(mode));
      w.advance(1);
      EXPECT_EQ(w.state(), breaker_state::closed);
      EXPECT_EQ(w->base_state(), breaker_state::closed);
      EXPECT_EQ(w->epoch(), epoch + 1);
      EXPECT_EQ(w.last_as<breaker_override_cleared>().cause, breaker_cause::override_expired);
      EXPECT_EQ(w->override_in_force().mode, override_mode::none);
    }
  }
}

TEST(breaker_override, makes_the_permits_of_before_stale) {
  auto w = in(breaker_state::half_open);
  const auto before = w.permit();
  w.override_with(override_mode::metrics_only);
  w.settle(before, failure);
  EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
  w.settle(before, failure);
  EXPECT_EQ(w.permits(permit_outcome::duplicate), 1U);
}

// --- reset

TEST(breaker_reset, closes_from_every_state) {
  for (const auto base : every_base) {
    auto w = in(base);
    if (base == breaker_state::closed) w.report(failure);
    const auto epoch = w->epoch();
    EXPECT_TRUE(w.reset());
    EXPECT_EQ(w.state(), breaker_state::closed);
    EXPECT_EQ(w->epoch(), epoch + 1);
    EXPECT_EQ(w.last().type, event_type::breaker_closed);
    EXPECT_EQ(w.last().cause, breaker_cause::reset);
    EXPECT_EQ(w.last().from, base);
    EXPECT_EQ(w.last_as<breaker_closed>().reason, "mended");
    EXPECT_FALSE(w.reset());
    EXPECT_EQ(w->due_ms(w.policy), 0);
  }
  for (const auto mode : every_override) {
    world w;
    w.override_with(mode);
    EXPECT_TRUE(w.reset());
    EXPECT_EQ(w.state(), breaker_state::closed);
    EXPECT_EQ(w.last().from, state_of(mode));
    EXPECT_EQ(w->override_in_force().mode, override_mode::none);
    EXPECT_FALSE(w.reset());
  }
}

TEST(breaker_reset, of_one_that_has_nothing_to_forget_changes_nothing) {
  world w;
  EXPECT_FALSE(w.reset());
  w.report(success);
  EXPECT_TRUE(w.reset());
  w.report(success);
  w.now_ms += 60'000;
  EXPECT_FALSE(w.reset());  // the window did it
  EXPECT_EQ(w.events.size(), 1U);
}

TEST(breaker_reset, forgets_the_window_the_row_and_the_back_off) {
  breaker_policy policy;
  policy.consecutive_failures = 15;
  world w(policy);
  w.repeat(14, failure);
  EXPECT_TRUE(w.reset());
  EXPECT_EQ(w.last().counts, counts_of(0, 14));
  w.repeat(14, failure);
  EXPECT_EQ(w.state(), breaker_state::closed);
  w.report(failure);
  w.advance(60'000);
  w.advance(30'000);  // a failed round
  EXPECT_EQ(w->due_ms(policy), w.now_ms + 120'000);
  EXPECT_TRUE(w.reset());
  w.repeat(15, failure);
  EXPECT_EQ(w->due_ms(policy), w.now_ms + 60'000);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
