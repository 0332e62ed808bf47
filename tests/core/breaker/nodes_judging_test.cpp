// Which calls of several nodes are judged together, and what is told late or was overtaken.
#include "nodes.hpp"

namespace portcullis::core::breaker_tests {
namespace {

// Regression: what a node had counted as stale was held against the thresholds by the others.
TEST(a_breaker_of_nodes, is_not_opened_by_what_is_stale_elsewhere) {
  nodes n(2);
  n.trip();
  const auto before = n[1]->epoch();
  const auto permit = n.mend();
  const auto events = n.events();
  auto late = world::call_of(call_outcome::timeout);
  late.epoch = before;
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(n[1].report(late));
  EXPECT_TRUE(n[1].batch("p-1", 1, counts_of(0, 50), 0)) << "a process' first";
  auto of_a_permit = world::call_of(call_outcome::failure);
  of_a_permit.permit = permit;
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(n[1].report(of_a_permit));
  EXPECT_EQ(n[1].permits(permit_outcome::stale), 61U);
  n.count(1);
  n[0].report(call_outcome::failure);
  n.count(0);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(n[i]->shown_state(), breaker_state::closed);
    EXPECT_FALSE(n[i]->rates(n[i].policy).failure) << "there was one call";
  }
  EXPECT_EQ(n.events(), events);
  EXPECT_EQ(n[0]->describe(n[0].policy, n[0].now_ms).counts[call_result::timeout], 30U)
      << "and yet they are shown";
}

// Regression: the failures that one node told after another's reset were of before it.
TEST(a_breaker_of_nodes, judges_no_calls_of_before_a_reset) {
  nodes n(3);
  n[1].repeat(15, call_outcome::failure);
  n[2].repeat(1, call_outcome::success);
  n.count(2);
  const auto late = n.tally(1);
  EXPECT_TRUE(n[0].reset());
  n.tell(0);
  n.settle();
  n.give(1, late);
  n[0].repeat(15, call_outcome::failure);
  n.count(0);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(n[i]->shown_state(), breaker_state::closed);
  n[1].repeat(5, call_outcome::failure);
  n.count(1);
  EXPECT_EQ(n[0].state(), breaker_state::open) << "with those of after it, they are enough";
}

TEST(a_breaker_of_nodes, judges_the_calls_of_before_its_own_decision_nowhere_else) {
  nodes n(2);
  n[1].repeat(15, call_outcome::failure);
  EXPECT_TRUE(n[1].reset());
  n.tell(1);
  n.count(1);
  n[0].repeat(15, call_outcome::failure);
  EXPECT_EQ(n[0]->shown_state(), breaker_state::closed);
}

// Regression: where nobody had told of calls yet, one sick node was all nodes.
TEST(a_breaker_of_nodes, that_closed_is_not_opened_by_one_node_at_once) {
  nodes n(3);
  n.trip();
  (void)n.mend();
  const auto events = n.events();
  n[1].repeat(3, call_outcome::success);
  n[2].repeat(3, call_outcome::success);
  n[0].repeat(25, call_outcome::failure);
  EXPECT_EQ(n[0]->shown_state(), breaker_state::open);
  EXPECT_EQ(n[0]->base_state(), breaker_state::closed) << "on this node alone";
  for (std::size_t i = 0; i < 3; ++i) n.count(i);
  n.settle();
  n.settle();
  EXPECT_EQ(n.events(), events);
  for (std::size_t i = 1; i < 3; ++i) EXPECT_EQ(n[i]->shown_state(), breaker_state::closed);
}

TEST(a_breaker_of_nodes, that_begins_waits_for_what_others_tell) {
  nodes n(2);
  EXPECT_TRUE(n[0].override_with(override_mode::disabled));
  EXPECT_TRUE(n[0].override_with(override_mode::none));
  n.tell(0);
  n[0].repeat(25, call_outcome::failure);
  EXPECT_EQ(n[0]->base_state(), breaker_state::closed);
  EXPECT_EQ(n[0]->shown_state(), breaker_state::open);
  EXPECT_EQ(n[0]->due_ms(n[0].policy), n[0].now_ms + 2 * limits::fleet_tally_calls_every_ms);
  n.settle();
  EXPECT_EQ(n[0].state(), breaker_state::open) << "nobody had any calls";
  EXPECT_EQ(n[0]->epoch(), 4U);
  EXPECT_FALSE(n[0]->is_open_here());
}

TEST(a_breaker_of_nodes, waits_for_nobody_where_no_other_lives) {
  nodes n(1);
  n[0]->be_alone(true);
  EXPECT_TRUE(n[0].override_with(override_mode::disabled));
  EXPECT_TRUE(n[0].override_with(override_mode::none));
  n[0].repeat(20, call_outcome::failure);
  EXPECT_EQ(n[0].state(), breaker_state::open);
}

TEST(a_breaker_of_nodes, counts_who_is_turned_away_among_those_that_have_calls) {
  breaker_policy rules;
  rules.open_wait_ms = 5'000;
  nodes n(2, rules);
  n.trip();
  n[1].acquire();
  n.count(1);
  (void)n.mend();
  n.settle();
  n[0].repeat(25, call_outcome::failure);
  EXPECT_EQ(n[0]->base_state(), breaker_state::closed) << "the other is called, too";
  EXPECT_TRUE(n[0]->is_open_here());
}

// Regression: each node told of the same breach.
TEST(a_breaker_of_nodes, would_open_once) {
  nodes n(3);
  EXPECT_TRUE(n[0].override_with(override_mode::metrics_only));
  n.tell(0);
  n.settle();
  const auto events = n.events();
  for (int i = 0; i < 10; ++i)
    for (std::size_t k = 0; k < 3; ++k) {
      n[k].report(call_outcome::failure);
      const auto more = n.tally(k);
      n.tell(k);
      n.give(k, more);
      n.tell((k + 1) % 3);
      n.tell((k + 2) % 3);
    }
  EXPECT_EQ(n.events(), events + 1);
}

// Regression: BREAKER_PERMIT_INVALID.
TEST(a_breaker_of_nodes, counts_a_late_permit_of_another_node_as_stale) {
  nodes n(2);
  n.trip();
  for (std::size_t i = 0; i < 2; ++i)
    n[i].now_ms += n[i].policy.open_wait_ms - static_cast<millis>(i);
  auto call = world::call_of(call_outcome::success);
  call.permit = n[0].permit();
  EXPECT_TRUE(n[1].report(call)) << "it has not read yet who tries";
  n.tell(0);
  for (int i = 0; i < 10; ++i)
    n[0].settle(i == 0 ? *call.permit : n[0].permit(), call_outcome::success);
  n.tell(0);
  EXPECT_EQ(n[1].state(), breaker_state::closed);
  EXPECT_TRUE(n[1].report(call));
  EXPECT_EQ(n[1].permits(permit_outcome::stale), 2U);
}

/// What the log says when a node has begun a half-open phase.
breaker_record logged_of(const world& of, const breaker_half_opened& what) {
  breaker_record logged;
  logged.state = breaker_state::half_open;
  logged.epoch = what.epoch;
  logged.until_ms = what.until_ms;
  logged.cause = what.cause;
  logged.since_ms = of.now_ms;
  return logged;
}

TEST(a_breaker_of_nodes, counts_the_permits_of_a_phase_that_was_overtaken_as_stale) {
  nodes n(2);
  n.trip();
  for (std::size_t i = 0; i < 2; ++i) n[i].now_ms += n[i].policy.open_wait_ms + 1 - i;
  auto lost = world::call_of(call_outcome::success), good = lost;
  lost.permit = n[1].permit();
  good.permit = n[0].permit();
  n[1]->take_over(logged_of(n[0], n[0].last_as<breaker_half_opened>()), 1, n[1].policy,
                  n[1].now_ms);
  EXPECT_TRUE(n[1]->is_guest());
  EXPECT_TRUE(n[1].report(good));
  EXPECT_TRUE(n[1].report(lost));
  EXPECT_EQ(n[1].permits(permit_outcome::stale), 2U);
}

// Regression: of idle nodes that begin it at the same time, the overtaken ones denied until the
// phase was over.
TEST(a_breaker_of_nodes, whose_phase_time_alone_began_is_tried_also_where_that_was_overtaken) {
  nodes n(2);
  n.trip();
  for (std::size_t i = 0; i < 2; ++i)
    n[i].advance(n[i].policy.open_wait_ms + limits::fleet_breaker_late_ms);
  EXPECT_EQ(n[1].state(), breaker_state::half_open);
  const auto logged = logged_of(n[0], n[0].last_as<breaker_half_opened>());
  n[1]->take_over(logged, 1, n[1].policy, n[1].now_ms);
  EXPECT_TRUE(n[1]->is_guest());
  EXPECT_TRUE(n[1].acquire().allowed);
  EXPECT_EQ(n[1]->epoch(), logged.epoch + 1);
}

TEST(a_breaker_of_nodes, that_a_caller_tries_elsewhere_is_left_to_that) {
  nodes n(2);
  n.trip();
  for (std::size_t i = 0; i < 2; ++i) n[i].now_ms += n[i].policy.open_wait_ms;
  (void)n[0].permit();
  (void)n[1].permit();
  const auto logged = logged_of(n[0], n[0].last_as<breaker_half_opened>());
  n[1]->take_over(logged, 1, n[1].policy, n[1].now_ms);
  EXPECT_FALSE(n[1].acquire().allowed);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
