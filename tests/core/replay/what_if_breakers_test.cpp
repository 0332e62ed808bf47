// Circuit breakers under another policy, from what the log counted of their calls.
#include <gtest/gtest.h>

#include "core/replay/what_if_breakers.hpp"

namespace portcullis::core {
namespace {

constexpr millis start_ms = 1'700'000'000'000;

struct tallied_log {
  explicit tallied_log(const breaker_book& other) { try_policy(other); }
  void try_policy(const breaker_book& other) { run.change_policies({}, other, now_ms); }

  void tell(event_body body) {
    event what;
    what.seq = ++seq;
    what.at_ms = what.decided_at_ms = now_ms;
    what.body = std::move(body);
    tally.at(seq);
    run.apply(what);
    recorded.apply(what);
  }
  /// Ten seconds of calls.
  void call(std::uint64_t successes, std::uint64_t failures, std::uint64_t slow = 0,
            const std::string& service = "mail") {
    calls_tallied body;
    body.from_ms = now_ms;
    now_ms += 10'000;
    call_counts counts;
    counts[call_result::success] = successes;
    counts[call_result::failure] = failures;
    counts[call_result::slow_success] = slow;
    body.tallies.push_back({service, "default", counts});
    tell(std::move(body));
  }
  void open(breaker_cause cause = breaker_cause::failure_rate) {
    breaker_opened body;
    body.service = "mail";
    body.breaker = "default";
    body.cause = cause;
    tell(std::move(body));
  }
  breaker_openings totals() { return tally.finish().openings; }

  millis now_ms = start_ms;
  what_if_tally tally{{}};
  breaker_standings recorded;
  what_if_breakers run{tally, recorded};
  std::uint64_t seq = 0;
};

breaker_book failing_at(double rate) {
  breaker_book book;
  book.fallback.failure_rate_threshold = rate;
  return book;
}

TEST(what_if_breakers, the_policy_of_the_log_opens_them_as_recorded) {
  tallied_log log{breaker_book{}};
  log.call(0, 100);
  log.open();
  EXPECT_EQ(log.totals(), (breaker_openings{1, 1}));
}

TEST(what_if_breakers, a_lower_failure_rate_opens_one_that_stayed_closed) {
  tallied_log log(failing_at(0.3));
  for (int i = 0; i < 3; ++i) log.call(60, 40);
  const auto report = log.tally.finish();
  EXPECT_EQ(report.openings, (breaker_openings{0, 1}));
  ASSERT_EQ(report.breakers.size(), 1U);
  EXPECT_EQ(report.breakers.begin()->first.second, "mail");
}

TEST(what_if_breakers, a_higher_one_leaves_one_closed_that_opened) {
  tallied_log log(failing_at(0.9));
  log.call(40, 60);
  log.open();
  EXPECT_EQ(log.totals(), (breaker_openings{1, 0}));
}

TEST(what_if_breakers, what_follows_a_half_open_phase_is_no_new_opening) {
  tallied_log log(failing_at(0.3));
  log.call(0, 40);
  for (int i = 0; i < 30; ++i) log.call(60, 40);
  log.open(breaker_cause::probe_failed);
  EXPECT_EQ(log.totals(), (breaker_openings{0, 1}));
}

TEST(what_if_breakers, one_that_recovers_may_open_again) {
  tallied_log log(failing_at(0.3));
  log.call(0, 40);
  for (int i = 0; i < 30; ++i) log.call(100, 0);
  log.call(0, 1'000);
  EXPECT_EQ(log.totals(), (breaker_openings{0, 2}));
}

TEST(what_if_breakers, slow_calls_are_those_that_the_log_called_slow) {
  breaker_book book;
  book.fallback.slow_rate_threshold = 0.5;
  tallied_log log(book);
  log.call(40, 0, 60);
  EXPECT_EQ(log.totals(), (breaker_openings{0, 1}));
}

TEST(what_if_breakers, ten_seconds_do_not_fall_into_a_window_of_two) {
  auto book = failing_at(0.3);
  book.fallback.window_s = 2;
  book.fallback.min_calls = 50;
  tallied_log log(book);
  for (int i = 0; i < 5; ++i) log.call(0, 100);  // twenty in two seconds
  EXPECT_EQ(log.totals(), (breaker_openings{0, 0}));
}

breaker_override_set overruled(override_mode mode) {
  breaker_override_set out;
  out.service = "mail";
  out.breaker = "default";
  out.epoch = 2;
  out.mode = mode;
  return out;
}

TEST(what_if_breakers, overrides_and_resets_hold_in_both_worlds) {
  tallied_log log(failing_at(0.3));
  log.tell(overruled(override_mode::disabled));
  log.call(0, 100);
  EXPECT_EQ(log.totals(), (breaker_openings{0, 0}));
}

TEST(what_if_breakers, an_override_from_before_the_policies_parted_holds_in_both_worlds) {
  tallied_log log{breaker_book{}};
  log.tell(overruled(override_mode::metrics_only));
  log.call(0, 100);
  log.try_policy(failing_at(0.3));
  log.call(0, 100);
  EXPECT_EQ(log.totals(), (breaker_openings{0, 0}));
}

TEST(what_if_breakers, an_override_from_before_a_cut_holds_in_both_worlds) {
  tallied_log log(failing_at(0.3));
  event what;
  what.at_ms = what.decided_at_ms = start_ms - 1'000;
  what.body = overruled(override_mode::metrics_only);
  log.recorded.apply(what);
  log.run.begin(start_ms);
  log.call(0, 100);
  EXPECT_EQ(log.totals(), (breaker_openings{0, 0}));
}

TEST(what_if_breakers, what_no_server_can_have_counted_is_tried_in_its_shares) {
  tallied_log log(failing_at(0.3));
  log.call(6'000'000'000'000'000'000, 9'000'000'000'000'000'000, 9'000'000'000'000'000'000);
  const auto report = log.tally.finish();
  EXPECT_EQ(report.openings, (breaker_openings{0, 1}));
  EXPECT_EQ(report.notes.size(), 1U);
}

TEST(what_if_breakers, more_calls_than_a_report_may_have_are_counted) {
  tallied_log log(failing_at(0.3));
  log.call(7'000'000, 90'000'000);
  EXPECT_EQ(log.totals(), (breaker_openings{0, 1}));
}

TEST(what_if_breakers, where_the_calls_are_gone_what_opened_is_as_recorded) {
  tallied_log log(failing_at(0.9));
  calls_tallied gone;
  gone.dropped.emplace();
  log.tell(gone);
  log.open();
  EXPECT_EQ(log.totals(), (breaker_openings{1, 1}));
}

TEST(what_if_breakers, only_services_whose_policy_differs_are_tried) {
  breaker_book book;
  book.patterns["pay/*"] = failing_at(0.3).fallback;
  tallied_log log(book);
  log.call(60, 40);
  log.call(60, 40, 0, "pay");
  const auto report = log.tally.finish();
  ASSERT_EQ(report.breakers.size(), 1U);
  EXPECT_EQ(report.breakers.begin()->first.second, "pay");
}

}  // namespace
}  // namespace portcullis::core
