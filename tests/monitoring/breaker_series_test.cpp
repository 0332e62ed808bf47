// The series of circuit breakers as a scraper sees them.
#include "monitoring/breaker_series.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "page.hpp"

namespace portcullis::monitoring {
namespace {

using core::breaker_cause;
using core::breaker_kind;
using core::breaker_state;
using core::call_result;
using testing::HasSubstr;
using testing::Not;

std::unique_ptr<metrics> make(std::uint32_t most = 500) {
  auto made = metrics::create({"1.2.3", "abc", {}, most});
  EXPECT_TRUE(made);
  return std::move(*made);
}

breaker_reading reading(std::string service, std::uint64_t number,
                        breaker_kind kind = breaker_kind::hosted) {
  breaker_reading made;
  made.service = std::move(service);
  made.breaker = "default";
  made.number = number;
  made.kind = kind;
  return made;
}

breaker_reading called(std::string service, std::uint64_t number, std::uint64_t successes,
                       breaker_kind kind = breaker_kind::hosted) {
  auto made = reading(std::move(service), number, kind);
  made.tallies.calls[call_result::success] = successes;
  return made;
}

snapshot with(std::vector<breaker_reading> breakers, std::uint64_t incarnation = 1) {
  snapshot now;
  now.breakers.push_back({incarnation, std::move(breakers)});
  return now;
}

std::string successes_of(const std::string& service, const std::string& source = "hosted") {
  const auto breaker = service == overflow_label ? service : "default";
  return "circuit_breaker_requests_total{breaker=\"" + breaker +
         "\",result=\"success\",service=\"" + service + "\",source=\"" + source + "\"}";
}

/// The samples of breakers alone.
std::map<std::string, double> breaker_samples(const metrics& of) {
  auto all = samples(of.render());
  std::erase_if(all, [](const auto& each) { return !each.first.starts_with("circuit_breaker_"); });
  return all;
}
bool has(const metrics& of, const std::string& series) {
  return breaker_samples(of).contains(series);
}

TEST(breaker_series, no_breaker_has_no_series_but_every_row_is_described) {
  auto under_test = make();
  under_test->update({});
  EXPECT_TRUE(breaker_samples(*under_test).empty());
  EXPECT_THAT(under_test->render(), HasSubstr("# TYPE circuit_breaker_state gauge\n"));
}

TEST(breaker_series, a_hosted_breaker_has_its_known_series_at_zero_from_the_start) {
  auto under_test = make();
  under_test->update(with({reading("pay", 1)}));
  const auto all = breaker_samples(*under_test);
  const std::string which = R"({breaker="default",service="pay")";
  for (const auto name : core::call_result_names)
    EXPECT_EQ(all.at("circuit_breaker_requests_total{breaker=\"default\",result=\"" +
                     std::string(name) + "\",service=\"pay\",source=\"hosted\"}"),
              0);
  for (const auto name : core::call_error_names)
    EXPECT_EQ(all.at("circuit_breaker_errors_total{breaker=\"default\",kind=\"" +
                     std::string(name) + "\",service=\"pay\",source=\"hosted\"}"),
              0);
  for (const auto name : core::permit_outcome_names)
    EXPECT_EQ(all.at("circuit_breaker_permits_total{breaker=\"default\",outcome=\"" +
                     std::string(name) + "\",service=\"pay\"}"),
              0);
  for (const auto* change :
       {R"(from="closed",reason="failure_rate",service="pay",source="hosted",to="open")",
        R"(from="open",reason="wait_elapsed",service="pay",source="hosted",to="half_open")",
        R"(from="half_open",reason="probe_succeeded",service="pay",source="hosted",to="closed")",
        R"(from="half_open",reason="probe_failed",service="pay",source="hosted",to="open")"})
    EXPECT_EQ(all.at("circuit_breaker_transitions_total{breaker=\"default\"," +
                     std::string(change) + "}"),
              0);
  EXPECT_EQ(all.at("circuit_breaker_open_seconds_total" + which + "}"), 0);
  EXPECT_EQ(all.at("circuit_breaker_last_transition_timestamp_seconds" + which + "}"), 0);
  EXPECT_EQ(all.at("circuit_breaker_request_duration_seconds_count" + which + "}"), 0);
  for (const auto& [series, value] : all) {
    EXPECT_THAT(series, Not(HasSubstr("circuit_breaker_observed_"))) << "of observed ones";
    EXPECT_THAT(series, Not(HasSubstr("circuit_breaker_override_info")));
  }
  // state, state_active, requests, errors, duration, transitions, ratios, open, last, permits
  EXPECT_EQ(all.size(), 1U + 6 + 7 + 8 + 14 + 4 + 2 + 1 + 1 + 5);
}

TEST(breaker_series, an_observed_breaker_has_its_own) {
  auto under_test = make();
  under_test->update(with({reading("pay", 1, breaker_kind::observed)}));
  const auto all = breaker_samples(*under_test);
  for (const auto name : core::report_refusal_names)
    EXPECT_EQ(all.at("circuit_breaker_observed_reports_rejected_total{breaker=\"default\","
                     "reason=\"" +
                     std::string(name) + "\",service=\"pay\"}"),
              0);
  EXPECT_EQ(all.at("circuit_breaker_observed_last_report_timestamp_seconds{breaker=\"default\","
                   "service=\"pay\"}"),
            0);
  std::size_t transitions = 0;
  for (const auto& [series, value] : all) {
    EXPECT_THAT(series, Not(HasSubstr("circuit_breaker_permits_total"))) << "it gives out none";
    EXPECT_THAT(series, Not(HasSubstr(R"(source="hosted")")));
    if (!series.starts_with("circuit_breaker_transitions_total")) continue;
    ++transitions;
    EXPECT_THAT(series, HasSubstr(R"(reason="reported")"));
  }
  EXPECT_EQ(transitions, 6U);
  EXPECT_EQ(all.at(R"(circuit_breaker_transitions_total{breaker="default",from="closed",)"
                   R"(reason="reported",service="pay",source="observed",to="open"})"),
            0);
}

TEST(breaker_series, each_row_shows_what_the_breaker_counted) {
  auto under_test = make();
  auto pay = reading("pay", 1);
  pay.state = breaker_state::forced_open;
  pay.overridden = core::override_scope::node;
  pay.failure_ratio = 0.25;
  pay.slow_ratio = 0.125;
  pay.open_ms = 61'500;
  for (std::size_t i = 0; i < core::call_result_count; ++i) pay.tallies.calls.by_result[i] = 10 + i;
  for (std::size_t i = 0; i < pay.tallies.errors.size(); ++i) pay.tallies.errors[i] = 20 + i;
  for (std::size_t i = 0; i < pay.tallies.permits.size(); ++i) pay.tallies.permits[i] = 30 + i;
  pay.tallies.moved(breaker_state::closed, breaker_state::open, breaker_cause::slow_rate, 1'500);
  pay.tallies.moved(breaker_state::open, breaker_state::forced_open, breaker_cause::override_set,
                    2'500);
  auto seen = reading("seen", 2, breaker_kind::observed);
  seen.state = breaker_state::half_open;
  seen.tallies.last_report_at_ms = 1'700'000'000'250;
  for (std::size_t i = 0; i < seen.tallies.reports_rejected.size(); ++i)
    seen.tallies.reports_rejected[i] = 40 + i;
  under_test->update(with({pay, seen}));

  const auto all = breaker_samples(*under_test);
  const std::string which = R"({breaker="default",service="pay"})";
  EXPECT_EQ(all.at(R"(circuit_breaker_state{breaker="default",service="pay",source="hosted"})"), 4);
  EXPECT_EQ(all.at(R"(circuit_breaker_state{breaker="default",service="seen",source="observed"})"),
            2);
  for (const auto name : core::breaker_state_names)
    EXPECT_EQ(all.at("circuit_breaker_state_active{breaker=\"default\",service=\"pay\",source="
                     "\"hosted\",state=\"" +
                     std::string(name) + "\"}"),
              name == "forced_open" ? 1 : 0)
        << name;
  EXPECT_EQ(all.at(R"(circuit_breaker_override_info{breaker="default",scope="node",service="pay",)"
                   R"(state="forced_open"})"),
            1);
  EXPECT_EQ(all.at("circuit_breaker_failure_ratio" + which), 0.25);
  EXPECT_EQ(all.at("circuit_breaker_slow_ratio" + which), 0.125);
  EXPECT_EQ(all.at("circuit_breaker_open_seconds_total" + which), 61.5);
  EXPECT_EQ(all.at("circuit_breaker_last_transition_timestamp_seconds" + which), 2.5);
  for (std::size_t i = 0; i < core::call_result_count; ++i)
    EXPECT_EQ(
        all.at("circuit_breaker_requests_total{breaker=\"default\",result=\"" +
               std::string(core::call_result_names[i]) + "\",service=\"pay\",source=\"hosted\"}"),
        10 + i);
  EXPECT_EQ(all.at(R"(circuit_breaker_errors_total{breaker="default",kind="connect",service="pay",)"
                   R"(source="hosted"})"),
            20);
  EXPECT_EQ(all.at(R"(circuit_breaker_errors_total{breaker="default",kind="other",service="pay",)"
                   R"(source="hosted"})"),
            27);
  EXPECT_EQ(
      all.at(R"(circuit_breaker_permits_total{breaker="default",outcome="granted",service="pay"})"),
      30);
  EXPECT_EQ(
      all.at(
          R"(circuit_breaker_permits_total{breaker="default",outcome="duplicate",service="pay"})"),
      34);
  EXPECT_EQ(all.at(R"(circuit_breaker_transitions_total{breaker="default",from="closed",)"
                   R"(reason="slow_rate",service="pay",source="hosted",to="open"})"),
            1);
  EXPECT_EQ(all.at(R"(circuit_breaker_transitions_total{breaker="default",from="open",)"
                   R"(reason="override_set",service="pay",source="hosted",to="forced_open"})"),
            1);
  EXPECT_EQ(all.at(R"(circuit_breaker_observed_last_report_timestamp_seconds{breaker="default",)"
                   R"(service="seen"})"),
            1'700'000'000.25);
  EXPECT_EQ(all.at(R"(circuit_breaker_observed_reports_rejected_total{breaker="default",)"
                   R"(reason="source_limit",service="seen"})"),
            43);
}

TEST(breaker_series, durations_come_as_cumulative_buckets_in_seconds) {
  auto under_test = make();
  auto pay = reading("pay", 1);
  pay.tallies.timed(5);  // on the bound: within
  pay.tallies.timed(6);
  pay.tallies.timed(60'000);
  under_test->update(with({pay}));
  pay.tallies.timed(10'000);
  under_test->update(with({pay}));
  const std::string of = "circuit_breaker_request_duration_seconds";
  const std::string which = R"({breaker="default",service="pay")";
  const auto all = breaker_samples(*under_test);
  EXPECT_EQ(all.at(of + "_bucket" + which + ",le=\"0.005\"}"), 1);
  EXPECT_EQ(all.at(of + "_bucket" + which + ",le=\"0.01\"}"), 2);
  EXPECT_EQ(all.at(of + "_bucket" + which + ",le=\"5\"}"), 2);
  EXPECT_EQ(all.at(of + "_bucket" + which + ",le=\"10\"}"), 3);
  EXPECT_EQ(all.at(of + "_bucket" + which + ",le=\"+Inf\"}"), 4);
  EXPECT_EQ(all.at(of + "_count" + which + "}"), 4);
  EXPECT_NEAR(all.at(of + "_sum" + which + "}"), 70.011, 1e-9);
}

TEST(breaker_series, a_ratio_below_min_calls_is_no_number) {
  auto under_test = make();
  auto pay = reading("pay", 1);
  under_test->update(with({pay}));
  EXPECT_THAT(
      under_test->render(),
      HasSubstr("circuit_breaker_failure_ratio{breaker=\"default\",service=\"pay\"} NaN\n"));
  pay.failure_ratio = 0.0;
  under_test->update(with({pay}));
  const auto all = breaker_samples(*under_test);
  EXPECT_EQ(all.at(R"(circuit_breaker_failure_ratio{breaker="default",service="pay"})"), 0);
  EXPECT_TRUE(std::isnan(all.at(R"(circuit_breaker_slow_ratio{breaker="default",service="pay"})")));
}

TEST(breaker_series, an_override_that_ended_leaves_no_series) {
  auto under_test = make();
  auto pay = reading("pay", 1);
  pay.state = breaker_state::metrics_only;
  pay.overridden = core::override_scope::node;
  under_test->update(with({pay}));
  const std::string series =
      R"(circuit_breaker_override_info{breaker="default",scope="node",service="pay",)"
      R"(state="metrics_only"})";
  EXPECT_EQ(sample(*under_test, series), 1);
  pay.state = breaker_state::closed;
  pay.overridden.reset();
  under_test->update(with({pay}));
  EXPECT_FALSE(has(*under_test, series));
}

TEST(breaker_series, an_open_phase_shorter_than_a_scrape_interval_is_seen_afterwards) {
  auto under_test = make();
  auto pay = reading("pay", 1);
  under_test->update(with({pay}));
  pay.tallies.moved(breaker_state::closed, breaker_state::open, breaker_cause::failure_rate, 1'000);
  pay.tallies.moved(breaker_state::open, breaker_state::half_open, breaker_cause::wait_elapsed,
                    1'700);
  pay.tallies.moved(breaker_state::half_open, breaker_state::closed, breaker_cause::probe_succeeded,
                    1'800);
  pay.open_ms = 700;
  under_test->update(with({pay}));
  const auto all = breaker_samples(*under_test);
  EXPECT_EQ(all.at(R"(circuit_breaker_state{breaker="default",service="pay",source="hosted"})"), 0);
  EXPECT_EQ(all.at(R"(circuit_breaker_transitions_total{breaker="default",from="closed",)"
                   R"(reason="failure_rate",service="pay",source="hosted",to="open"})"),
            1);
  EXPECT_EQ(all.at(R"(circuit_breaker_open_seconds_total{breaker="default",service="pay"})"), 0.7);
}

TEST(breaker_series, open_time_that_turns_out_shorter_takes_nothing_back) {
  auto under_test = make();
  auto seen = called("seen", 1, 5, breaker_kind::observed);
  const std::string open =
      R"(circuit_breaker_open_seconds_total{breaker="default",service="seen"})";
  const auto after = [&](std::uint64_t open_ms) {
    seen.open_ms = open_ms;
    under_test->update(with({seen}));
    return sample(*under_test, open);
  };
  EXPECT_EQ(after(10'000), 10);
  EXPECT_EQ(after(8'000), 10) << "it heard of an earlier closing";
  EXPECT_EQ(after(9'000), 10);
  EXPECT_EQ(after(12'000), 12);
  EXPECT_EQ(sample(*under_test, successes_of("seen", "observed")), 5) << "counted once";
}

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

// Names are checked where they come in; this is the second lock.
TEST(breaker_series, hostile_names_stay_inside_their_quotes) {
  auto under_test = make();
  auto hostile = called("a\"} 1\nevil{x=\"\\", 1, 3);
  hostile.breaker = "\n# TYPE evil counter\nevil 1\n";
  under_test->update(with({hostile}));
  const auto page = under_test->render();
  EXPECT_THAT(page, Not(HasSubstr("\nevil")));
  EXPECT_THAT(page, Not(HasSubstr("\n# TYPE evil")));
  if (has_promtool()) {
    EXPECT_EQ(promtool_says(page), "");
  }
}

TEST(breaker_series, nobody_can_take_the_name_of_the_overflow) {
  auto under_test = make(1);
  auto thief = called("__overflow__", 1, 5);
  thief.breaker = "__overflow__";
  under_test->update(with({thief, called("a", 2, 1), called("b", 3, 2)}));
  EXPECT_EQ(sample(*under_test, successes_of("a")), 1);
  EXPECT_EQ(sample(*under_test, successes_of("__overflow__")), 7);
  if (has_promtool()) {
    EXPECT_EQ(promtool_says(under_test->render()), "");
  }
}

TEST(breaker_series, constant_labels_stand_on_every_series) {
  auto made = metrics::create({"1", "r", {{"region", "eu"}}, 1});
  ASSERT_TRUE(made);
  (*made)->update(with({reading("a", 1), reading("b", 2)}));
  const auto all = breaker_samples(**made);
  ASSERT_GT(all.size(), 50U);
  for (const auto& [series, value] : all) ASSERT_THAT(series, HasSubstr(R"(region="eu")"));
}

TEST(breaker_series, promtool_finds_nothing_to_say) {
  if (!has_promtool()) GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  auto under_test = make(2);
  auto overridden = called("pay", 1, 3);
  overridden.state = breaker_state::disabled;
  overridden.overridden = core::override_scope::node;
  overridden.tallies.timed(30);
  overridden.tallies.count(core::report_refusal::source_limit);
  under_test->update(with({overridden, called("seen", 2, 1, breaker_kind::observed),
                           called("more", 3, 1), called("most", 4, 1, breaker_kind::observed)}));
  EXPECT_EQ(promtool_says(under_test->render()), "");
}

}  // namespace
}  // namespace portcullis::monitoring
