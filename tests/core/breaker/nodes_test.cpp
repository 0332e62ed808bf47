// Hosted breakers of several nodes: one state for all, who tries it, and opening on one alone.
#include "nodes.hpp"
#include "core/breaker/stored.hpp"

namespace portcullis::core::breaker_tests {
namespace {

TEST(a_breaker_of_nodes, opens_by_the_failures_of_all) {
  nodes n(5);
  for (std::size_t i = 0; i < 5; ++i) n[i].repeat(4, call_outcome::failure);
  EXPECT_EQ(n.events(), 0u) << "each is below min_calls alone";
  for (std::size_t i = 0; i < 4; ++i) n.count(i);
  EXPECT_EQ(n[4].state(), breaker_state::open);
  EXPECT_EQ(n[4].last().cause, breaker_cause::failure_rate);
  EXPECT_EQ(n[4].last().counts[call_result::failure], 20u);
  EXPECT_EQ(n[0].state(), breaker_state::closed) << "it has not heard of the last four";
  n.tell(4);
  EXPECT_EQ(n[0].state(), breaker_state::open);
  EXPECT_EQ(n[0]->epoch(), 2u);
}

TEST(a_breaker_of_nodes, opens_on_one_node_where_only_that_fails) {
  nodes n(3);
  n[1].repeat(30, call_outcome::success);
  n[2].repeat(10, call_outcome::success);
  n.count(1);
  n.count(2);
  n[0].repeat(200, call_outcome::failure);
  n.count(0);
  EXPECT_EQ(n.events(), 0u);
  EXPECT_EQ(n[0]->position().state, breaker_state::open);
  EXPECT_EQ(n[0]->position().epoch, 1u);
  EXPECT_EQ(n[0]->base_state(), breaker_state::closed);
  const auto denied = n[0].acquire();
  EXPECT_FALSE(denied.allowed);
  EXPECT_GT(denied.retry_after_ms, 0);
  EXPECT_LE(denied.retry_after_ms, n[0].policy.open_wait_ms);
  const auto row = n[0]->describe(n[0].policy, n[0].now_ms);
  EXPECT_EQ(row.state, breaker_state::open);
  EXPECT_EQ(row.base_state, breaker_state::closed);
  for (std::size_t i = 1; i < 3; ++i) EXPECT_TRUE(n[i].acquire().allowed) << "the others go on";
  EXPECT_EQ(n[0]->due_ms(n[0].policy), n[0].now_ms + n[0].policy.open_wait_ms);
  n.advance(n[0].policy.open_wait_ms);
  EXPECT_TRUE(n[0].acquire().allowed);
  EXPECT_EQ(n[0]->open_ms(n[0].now_ms), n[0].policy.open_wait_ms);
  EXPECT_EQ(n.events(), 0u);
}

TEST(a_breaker_of_nodes, opens_for_all_when_a_second_node_fails) {
  nodes n(3);
  n[1].repeat(5, call_outcome::success);
  n.count(1);
  n[0].repeat(30, call_outcome::failure);
  n.count(0);
  EXPECT_EQ(n[0]->shown_state(), breaker_state::open);
  EXPECT_EQ(n[1].state(), breaker_state::closed);
  n[1].report(call_outcome::failure);
  EXPECT_EQ(n[1].state(), breaker_state::open);
  n.tell(1);
  EXPECT_EQ(n[0].state(), breaker_state::open);
  EXPECT_FALSE(n[0]->is_open_here()) << "no more than for all";
  EXPECT_EQ(n[0]->epoch(), 2u);
}

TEST(a_breaker_of_nodes, needs_one_node_where_no_other_had_calls) {
  nodes n(3);
  n[0].repeat(20, call_outcome::failure);
  EXPECT_EQ(n[0].state(), breaker_state::open);
  EXPECT_EQ(n[0]->epoch(), 2u);
}

TEST(a_breaker_of_nodes, may_ask_for_more_nodes) {
  breaker_policy rules;
  rules.trip_quorum = 3;
  nodes n(4, rules);
  n[3].repeat(1, call_outcome::success);
  n[1].repeat(15, call_outcome::failure);
  n.count(3);
  n.count(1);
  n[0].repeat(15, call_outcome::failure);
  EXPECT_EQ(n.events(), 0u) << "two of four";
  n[2].repeat(1, call_outcome::failure);
  n.count(2);
  EXPECT_EQ(n[0].state(), breaker_state::open);
}

TEST(a_breaker_of_nodes, forgets_nodes_whose_calls_are_old) {
  nodes n(2);
  n[1].repeat(5, call_outcome::success);
  n.count(1);
  n.advance(1'000 * n[0].policy.window_s + 6'000);
  n[0].repeat(20, call_outcome::failure);
  EXPECT_EQ(n[0].state(), breaker_state::open) << "nobody else had calls within the window";
}

TEST(a_breaker_of_nodes, opens_by_rows_of_failures_on_several_nodes) {
  breaker_policy rules;
  rules.consecutive_failures = 3;
  nodes n(3, rules);
  n[1].repeat(1, call_outcome::failure);
  n[1].repeat(1, call_outcome::success);
  n.count(1);
  n[0].repeat(3, call_outcome::failure);
  EXPECT_EQ(n[0].state(), breaker_state::closed) << "on the other they are over";
  EXPECT_EQ(n[0]->shown_state(), breaker_state::open);
  n.count(0);
  n[1].repeat(3, call_outcome::failure);
  EXPECT_EQ(n[1].state(), breaker_state::open);
  EXPECT_EQ(n[1].last().cause, breaker_cause::consecutive_failures);
}

TEST(a_breaker_of_nodes, is_half_open_by_time_where_it_was_used) {
  nodes n(3);
  n.trip();
  n[1].acquire();
  n[1].advance(n[1].policy.open_wait_ms);
  EXPECT_EQ(n[1].state(), breaker_state::half_open);
  n[2].advance(n[2].policy.open_wait_ms);
  EXPECT_EQ(n[2].state(), breaker_state::open) << "nobody calls there";
  n[2].advance(limits::fleet_breaker_late_ms);
  EXPECT_EQ(n[2].state(), breaker_state::half_open) << "and nobody else did";
}

TEST(a_breaker_of_nodes, gives_permits_out_on_one_node) {
  nodes n(2);
  n.trip();
  n[0].now_ms += n[0].policy.open_wait_ms;
  n[1].now_ms = n[0].now_ms;
  const auto permit = n[0].permit();
  n.tell(0);
  EXPECT_EQ(n[1].state(), breaker_state::half_open);
  EXPECT_TRUE(n[1]->is_guest());
  EXPECT_EQ(n[1]->prober(), 1u);
  const auto denied = n[1].acquire();
  EXPECT_FALSE(denied.allowed);
  EXPECT_GT(denied.retry_after_ms, 0);
  EXPECT_LE(denied.retry_after_ms, 1'000);
  auto call = world::call_of(call_outcome::success);
  call.permit = permit;
  EXPECT_TRUE(n[1].report(call)) << "not an error where it was not given out";
  EXPECT_EQ(n[1].permits(permit_outcome::stale), 1u);
  EXPECT_TRUE(n[0]->is_out(permit));
  for (int i = 0; i < 10; ++i) n[0].settle(i == 0 ? permit : n[0].permit(), call_outcome::success);
  EXPECT_EQ(n[0].state(), breaker_state::closed);
  n.tell(0);
  EXPECT_EQ(n[1].state(), breaker_state::closed);
  EXPECT_EQ(n[1]->epoch(), n[0]->epoch());
}

TEST(a_breaker_of_nodes, is_tried_anew_where_who_tried_is_gone) {
  nodes n(2);
  n.trip();
  n[0].advance(n[0].policy.open_wait_ms);
  n[1].now_ms = n[0].now_ms;
  const auto lost = n[0].permit();
  n.tell(0);
  EXPECT_FALSE(n[1].acquire().allowed);
  n[1]->prober_is_gone();
  const auto epoch = n[1]->epoch();
  const auto permit = n[1].permit();
  EXPECT_EQ(n[1]->epoch(), epoch + 1);
  EXPECT_EQ(n[1].last().type, event_type::breaker_half_opened);
  EXPECT_EQ(n[1].last().from, breaker_state::half_open);
  n.tell(1);
  EXPECT_TRUE(n[0]->is_guest()) << "it was not gone after all";
  n[0].settle(lost, call_outcome::failure);
  EXPECT_EQ(n[0].state(), breaker_state::half_open);
  n[1].settle(permit, call_outcome::success);
}

TEST(a_breaker_of_nodes, whose_phase_time_alone_began_is_tried_where_it_is_called) {
  nodes n(2);
  n.trip();
  n[0].advance(n[0].policy.open_wait_ms + limits::fleet_breaker_late_ms);
  n[1].now_ms = n[0].now_ms;
  EXPECT_EQ(n[0].state(), breaker_state::half_open);
  n.tell(0);
  EXPECT_TRUE(n[1].acquire().allowed);
  EXPECT_EQ(n[1].last().type, event_type::breaker_half_opened);
}

TEST(a_breaker_of_nodes, opens_again_where_who_tried_does_not_say_so) {
  nodes n(2);
  n.trip();
  n[0].now_ms += n[0].policy.open_wait_ms;
  (void)n[0].permit();
  n.tell(0);
  n[1].now_ms = n[0].now_ms;
  n[1].advance(n[1].policy.max_half_open_ms);
  EXPECT_EQ(n[1].state(), breaker_state::half_open) << "that is for the other to do";
  n[1].advance(limits::fleet_breaker_late_ms);
  EXPECT_EQ(n[1].state(), breaker_state::open);
  EXPECT_EQ(n[1].last().cause, breaker_cause::probe_timeout);
}

TEST(a_breaker_of_nodes, takes_over_what_the_log_says) {
  nodes n(2);
  n.trip();
  breaker_record logged;
  logged.state = breaker_state::open;
  logged.epoch = 2;
  logged.until_ms = n[0].now_ms + n[0].policy.open_wait_ms;
  logged.cause = breaker_cause::failure_rate;
  n[0].advance(n[0].policy.open_wait_ms + limits::fleet_breaker_late_ms);
  for (int i = 0; i < 10; ++i) n[0].settle(n[0].permit(), call_outcome::success);
  EXPECT_EQ(n[0].state(), breaker_state::closed);
  n[0]->take_over(logged, 0, n[0].policy, n[0].now_ms);
  EXPECT_EQ(n[0].state(), breaker_state::open) << "closing it is not in the log";
  EXPECT_EQ(n[0]->epoch(), 2u);
}

TEST(a_breaker_of_nodes, shows_the_calls_of_all) {
  nodes n(2);
  n[0].repeat(3, call_outcome::success);
  n[1].repeat(4, call_outcome::failure);
  n.count(1);
  const auto row = n[0]->describe(n[0].policy, n[0].now_ms);
  EXPECT_EQ(row.counts[call_result::success], 3u);
  EXPECT_EQ(row.counts[call_result::failure], 4u);
  EXPECT_EQ(n[0].total(call_result::failure), 0u) << "metrics are each node's own";
}

TEST(a_breaker_of_nodes, has_an_empty_window_when_it_closes) {
  nodes n(2);
  n[1].repeat(15, call_outcome::failure);
  n.count(1);
  EXPECT_TRUE(n[0].reset()) << "others have called";
  n.tell(0);
  n[0].repeat(15, call_outcome::failure);
  n.count(0);
  EXPECT_EQ(n[0]->shown_state(), breaker_state::closed);
  EXPECT_EQ(n[1]->shown_state(), breaker_state::closed);
}

TEST(a_breaker_of_nodes, that_was_overruled_is_open_on_one_node_no_more) {
  nodes n(2);
  n[1].repeat(5, call_outcome::success);
  n.count(1);
  n[0].repeat(20, call_outcome::failure);
  EXPECT_TRUE(n[0]->is_open_here());
  EXPECT_TRUE(n[1].override_with(override_mode::disabled));
  n.tell(1);
  EXPECT_TRUE(n[0].acquire().allowed);
  EXPECT_EQ(n[0]->shown_state(), breaker_state::disabled);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
