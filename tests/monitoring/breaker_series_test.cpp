// The series of circuit breakers as a scraper sees them.
#include "monitoring/breaker_series.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "breaker_readings.hpp"

namespace portcullis::monitoring {
namespace {

using core::breaker_cause;
using core::breaker_kind;
using core::breaker_state;
using testing::HasSubstr;
using testing::Not;

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
        R"(from="closed",reason="slow_rate",service="pay",source="hosted",to="open")",
        R"(from="closed",reason="consecutive_failures",service="pay",source="hosted",to="open")",
        R"(from="open",reason="wait_elapsed",service="pay",source="hosted",to="half_open")",
        R"(from="half_open",reason="probe_succeeded",service="pay",source="hosted",to="closed")",
        R"(from="half_open",reason="probe_failed",service="pay",source="hosted",to="open")",
        R"(from="half_open",reason="probe_slow",service="pay",source="hosted",to="open")",
        R"(from="half_open",reason="probe_timeout",service="pay",source="hosted",to="open")"})
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
  EXPECT_EQ(all.size(), 1U + 6 + 7 + 8 + 14 + 8 + 2 + 1 + 1 + 5);
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
    EXPECT_THAT(series, testing::AnyOf(HasSubstr(R"(reason="reported")"),
                                       HasSubstr(R"(reason="source_silent")")));
  }
  EXPECT_EQ(transitions, 7U);
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
