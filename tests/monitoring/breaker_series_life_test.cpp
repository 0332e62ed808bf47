// The series of circuit breakers over time: the cap, retirement, restarts of their owner.
#include <gmock/gmock.h>

#include "breaker_readings.hpp"

namespace portcullis::monitoring {
namespace {

using core::breaker_cause;
using core::breaker_kind;
using core::breaker_state;
using testing::HasSubstr;
using testing::Not;

TEST(breaker_series, past_the_cap_all_share_the_overflow_first_come_by_number) {
  auto under_test = make(2);
  auto c = called("c", 1, 1), b = called("b", 2, 2), a = called("a", 3, 4), d = called("d", 4, 8);
  a.state = breaker_state::open;
  a.tallies.timed(7);
  a.open_ms = 500;
  d.tallies.timed(7);
  d.open_ms = 1'000;
  snapshot now;
  now.breakers = {{1, {b, a}}, {1, {c, d}}};
  under_test->update(now);
  EXPECT_EQ(sample(*under_test, successes_of("c")), 1);
  EXPECT_EQ(sample(*under_test, successes_of("b")), 2);
  EXPECT_FALSE(has(*under_test, successes_of("a")));
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 12);
  EXPECT_EQ(sample(*under_test, "portcullis_metrics_label_overflow_total"), 2);
  const std::string which = R"({breaker="__overflow__",service="__overflow__"})";
  EXPECT_EQ(sample(*under_test, "circuit_breaker_request_duration_seconds_count" + which), 2);
  EXPECT_EQ(sample(*under_test, "circuit_breaker_open_seconds_total" + which), 1.5);
  for (const auto& [series, value] : breaker_samples(*under_test)) {
    if (series.find("__overflow__") == std::string::npos) continue;
    EXPECT_THAT(series, Not(testing::StartsWith("circuit_breaker_state")));
    EXPECT_THAT(series, Not(HasSubstr("_ratio{")));
    EXPECT_THAT(series, Not(HasSubstr("_timestamp_seconds")));
  }
  EXPECT_THAT(under_test->render(), Not(HasSubstr("service=\"a\"")));

  under_test->update(now);
  EXPECT_EQ(sample(*under_test, "portcullis_metrics_label_overflow_total"), 2);
}

TEST(breaker_series, both_kinds_past_the_cap_are_one_where_no_label_tells_them_apart) {
  auto under_test = make(0);
  auto hosted = called("h", 1, 3), observed = called("o", 2, 4, breaker_kind::observed);
  hosted.tallies.timed(1);
  hosted.tallies.count(core::permit_outcome::denied);
  hosted.open_ms = 1'000;
  observed.tallies.timed(1);
  observed.tallies.count(core::report_refusal::old_epoch);
  observed.open_ms = 2'000;
  under_test->update(with({hosted, observed}));
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 3);
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__", "observed")), 4);
  const auto all = breaker_samples(*under_test);
  const std::string which = R"(breaker="__overflow__",)", service = R"(service="__overflow__"})";
  EXPECT_EQ(all.at("circuit_breaker_request_duration_seconds_count{" + which + service), 2);
  EXPECT_EQ(all.at("circuit_breaker_open_seconds_total{" + which + service), 3);
  EXPECT_EQ(all.at("circuit_breaker_permits_total{" + which + "outcome=\"denied\"," + service), 1);
  EXPECT_EQ(all.at("circuit_breaker_observed_reports_rejected_total{" + which +
                   "reason=\"old_epoch\"," + service),
            1);
  if (has_promtool()) {
    EXPECT_EQ(promtool_says(under_test->render()), "");
  }
}

TEST(breaker_series, a_retired_breaker_loses_its_series_and_makes_room) {
  auto under_test = make(1);
  under_test->update(with({called("a", 1, 5), called("b", 2, 7)}));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 5);
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 7);
  under_test->update(with({called("b", 2, 10)}));
  EXPECT_THAT(under_test->render(), Not(HasSubstr("service=\"a\"")));
  EXPECT_EQ(sample(*under_test, successes_of("b")), 3) << "each call counts in one series";
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 7);
}

TEST(breaker_series, the_overflow_keeps_what_a_retired_breaker_gave_it) {
  auto under_test = make(0);
  under_test->update(with({called("a", 1, 5), called("b", 2, 7)}));
  under_test->update(with({called("b", 2, 8)}));
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 13);
  under_test->update(with({}));
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 13);
  under_test->update(with({called("a", 3, 1)}));
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 14);
}

TEST(breaker_series, a_name_that_was_retired_and_came_again_starts_at_zero) {
  auto under_test = make();
  under_test->update(with({called("a", 1, 5)}));
  under_test->update(with({called("a", 2, 6)}));  // no scrape saw it missing
  EXPECT_EQ(sample(*under_test, successes_of("a")), 6);
  under_test->update(with({}));
  EXPECT_FALSE(has(*under_test, successes_of("a")));
  under_test->update(with({called("a", 3, 2)}));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 2);
}

TEST(breaker_series, counters_go_on_over_a_restart_of_their_shard) {
  auto under_test = make();
  auto pay = called("pay", 1, 10);
  pay.open_ms = 4'000;
  pay.tallies.moved(breaker_state::closed, breaker_state::open, breaker_cause::failure_rate, 9'000);
  under_test->update(with({pay}, 1));
  // More than before: only the incarnation tells.
  auto again = called("pay", 7, 15);
  again.open_ms = 1'000;
  again.tallies.moved(breaker_state::closed, breaker_state::open, breaker_cause::failure_rate, 0);
  under_test->update(with({again}, 2));
  const auto all = breaker_samples(*under_test);
  EXPECT_EQ(all.at(successes_of("pay")), 25);
  EXPECT_EQ(all.at(R"(circuit_breaker_open_seconds_total{breaker="default",service="pay"})"), 5);
  EXPECT_EQ(all.at(R"(circuit_breaker_transitions_total{breaker="default",from="closed",)"
                   R"(reason="failure_rate",service="pay",source="hosted",to="open"})"),
            2);
  EXPECT_EQ(all.at(R"(circuit_breaker_last_transition_timestamp_seconds{breaker="default",)"
                   R"(service="pay"})"),
            9);
}

TEST(breaker_series, one_that_a_restart_lost_goes_on_when_it_comes_again) {
  auto under_test = make();
  under_test->update(with({called("a", 1, 10), called("b", 2, 1)}, 1));
  under_test->update(with({}, 2));
  EXPECT_FALSE(has(*under_test, successes_of("a")));
  under_test->update(with({called("a", 3, 1)}, 2));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 11);
  under_test->update(with({}, 2));
  under_test->update(with({called("a", 4, 1)}, 2));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 1) << "retired in between";
  under_test->update(with({}, 3));
  under_test->update(with({called("b", 5, 1)}, 3));
  EXPECT_EQ(sample(*under_test, successes_of("b")), 1) << "two restarts are a new life";
}

TEST(breaker_series, a_restart_takes_series_from_nobody_and_keeps_the_cap) {
  auto under_test = make(1);
  under_test->update(with({called("a", 1, 10), called("b", 2, 1)}, 1));
  under_test->update(with({called("b", 3, 1), called("a", 4, 2)}, 2));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 12);
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 2);
  EXPECT_EQ(sample(*under_test, "portcullis_metrics_label_overflow_total"), 1);
  under_test->update(with({}, 3));
  under_test->update(with({called("b", 5, 4)}, 3));
  EXPECT_EQ(sample(*under_test, successes_of("b")), 4);
  under_test->update(with({called("b", 5, 4), called("a", 6, 8)}, 3));
  EXPECT_EQ(sample(*under_test, successes_of("b")), 4);
  EXPECT_FALSE(has(*under_test, successes_of("a"))) << "its place is taken";
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 10);
}

TEST(breaker_series, counters_that_go_back_are_a_fresh_start_of_that_breaker_alone) {
  auto under_test = make();
  under_test->update(with({called("a", 1, 10), called("b", 2, 10)}));
  under_test->update(with({called("a", 1, 3), called("b", 2, 11)}));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 13);
  EXPECT_EQ(sample(*under_test, successes_of("b")), 11);
}

TEST(breaker_series, a_shard_that_is_not_in_a_snapshot_loses_nothing) {
  auto under_test = make(1);
  under_test->update(with({called("a", 1, 10)}));
  under_test->update({});
  EXPECT_EQ(sample(*under_test, successes_of("a")), 10);
  under_test->update(with({called("a", 1, 11)}));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 11);
}

}  // namespace
}  // namespace portcullis::monitoring
