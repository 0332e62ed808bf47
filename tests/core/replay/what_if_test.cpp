// Another policy over the same attempts: each rule of docs/what_if.md about lockouts has its
// example.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "what_if_cases.hpp"

namespace portcullis::core {
namespace {

using testing::Contains;
using testing::HasSubstr;

// --- lockouts

TEST(what_if, a_lower_threshold_locks_out_more_users_and_says_when) {
  lived node(with_threshold(10));
  const auto s = node.sign_in();
  fail(node, s.id, 6);
  const auto tried = node.try_policy(with_threshold(5));
  EXPECT_EQ(tried.report.totals.users, (lockout_difference{0, 1, 1, 0}));
  EXPECT_FALSE(tried.report.totals.approximate);
  ASSERT_EQ(tried.report.rows.size(), 1U);
  const auto& [place, row] = *tried.report.rows.begin();
  EXPECT_EQ(place.first, lived::start_ms - lived::start_ms % 3'600'000);
  EXPECT_EQ(place.second, "acme");
  EXPECT_EQ(row.users.more, 1U);
  ASSERT_EQ(tried.report.examples.size(), 1U);
  EXPECT_EQ(tried.report.examples[0].what, what_if_example::kind::lockout_more);
  EXPECT_EQ(tried.report.examples[0].handle, s.handle);
  EXPECT_EQ(tried.report.examples[0].at_ms, lived::start_ms + 4 * 2'000);
}

TEST(what_if, the_same_lockout_a_little_earlier_is_no_difference) {
  lived node(with_threshold(10));
  const auto s = node.sign_in();
  fail(node, s.id, 10);
  const auto report = node.try_policy(with_threshold(5)).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 1, 0, 0}));
  EXPECT_TRUE(report.rows.empty());
}

TEST(what_if, a_higher_threshold_counts_what_failed_while_locked_out_and_says_approximate) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3 + 2);  // five in all
  const auto all_fail = node.try_policy(with_threshold(5)).report;
  EXPECT_EQ(all_fail.totals.users, (lockout_difference{1, 1, 0, 0}));
  EXPECT_TRUE(all_fail.totals.approximate);
  const auto too_few = node.try_policy(with_threshold(6)).report;
  EXPECT_EQ(too_few.totals.users, (lockout_difference{1, 0, 0, 1}));
  EXPECT_TRUE(too_few.rows.begin()->second.approximate);
}

TEST(what_if, a_lockout_with_nothing_in_it_goes_exactly) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3);
  const auto report = node.try_policy(with_threshold(4)).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 0, 0, 1}));
  EXPECT_FALSE(report.totals.approximate);
}

TEST(what_if, refusals_of_sources_that_never_failed_are_taken_as_good_requests) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3);
  fail(node, s.id, 5, home);  // the user, locked out
  const auto report = node.try_policy(with_threshold(5)).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 0, 0, 1}));
  EXPECT_TRUE(report.totals.approximate);
}

TEST(what_if, refusals_of_sources_that_failed_in_an_earlier_window_are_too) {
  const auto short_window = [](std::uint32_t threshold) {
    auto book = with_threshold(threshold);
    book.lockout.window_s = 20;
    return book;
  };
  lived node(short_window(3));
  const auto s = node.sign_in();
  fail(node, s.id, 1, elsewhere, 21'000);
  fail(node, s.id, 3);
  fail(node, s.id, 5, elsewhere);
  EXPECT_EQ(node.try_policy(short_window(4)).report.totals.users, (lockout_difference{1, 0, 0, 1}));
}

TEST(what_if, refusals_of_sources_whose_failures_pass_in_the_other_world_are_too) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3 + 4);
  const auto report =
      node.try_policy(changed(with_threshold(4),
                              [](policy_book& book) { book.session.ip_binding = ip_binding::off; }))
          .report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 0, 0, 1}));
}

TEST(what_if, many_refusals_of_one_second_are_bounded_work) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3, abroad, 10);
  for (int i = 0; i < 1'000; ++i) (void)node.validate(s.id, abroad);
  node.pass(2'000);
  const auto report = node.try_policy(with_threshold(900)).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 1, 0, 0}));
  EXPECT_EQ(node.try_policy(with_threshold(1'100)).report.totals.users,
            (lockout_difference{1, 0, 0, 1}));
}

TEST(what_if, a_scope_of_sources_locks_out_the_source_instead_of_the_user) {
  lived node(with_threshold(5));
  const auto s = node.sign_in();
  fail(node, s.id, 3, abroad);
  fail(node, s.id, 2, elsewhere);
  const auto report = node.try_policy(changed(with_threshold(3),
                                              [](policy_book& book) {
                                                book.lockout.scope = lockout_scope::user_source;
                                              }))
                          .report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 0, 0, 1}));
  EXPECT_EQ(report.totals.sources, (lockout_difference{0, 1, 1, 0}));
}

TEST(what_if, a_shorter_window_forgets_in_time) {
  lived node(with_threshold(4));
  const auto s = node.sign_in();
  fail(node, s.id, 4, abroad, 20'000);
  const auto report =
      node.try_policy(
              changed(with_threshold(4), [](policy_book& book) { book.lockout.window_s = 30; }))
          .report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 0, 0, 1}));
}

TEST(what_if, repeats_that_were_collapsed_count_where_nothing_collapses) {
  auto book = with_threshold(5);
  book.lockout.repeat_collapse_s = 60;
  lived node(book);
  const auto s = node.sign_in();
  fail(node, s.id, 5);
  EXPECT_TRUE(node.started.empty());
  const auto report = node.try_policy(with_threshold(5)).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{0, 1, 1, 0}));
  EXPECT_TRUE(report.totals.approximate);
  // And the other way round, exactly.
  lived strict(with_threshold(5));
  const auto t = strict.sign_in();
  fail(strict, t.id, 5);
  const auto collapsed = strict.try_policy(book).report;
  EXPECT_EQ(collapsed.totals.users, (lockout_difference{1, 0, 0, 1}));
  EXPECT_FALSE(collapsed.totals.approximate);
}

TEST(what_if, clearing_and_forgetting_end_counters_in_both_worlds) {
  for (const bool forget : {false, true}) {
    lived node(with_threshold(10));
    auto s = node.sign_in();
    fail(node, s.id, 4);
    if (forget)
      node.forget("alice");
    else
      node.clear("alice");
    node.pass(1'000);
    s = node.sign_in();
    fail(node, s.id, 4);
    EXPECT_EQ(node.try_policy(with_threshold(5)).report.totals.users, lockout_difference{});
    EXPECT_EQ(node.try_policy(with_threshold(4)).report.totals.users.more, 2U);
  }
}

TEST(what_if, good_requests_of_a_user_that_only_the_other_world_locks_out_are_refused) {
  lived node(with_threshold(10));
  const auto s = node.sign_in();
  fail(node, s.id, 5);
  for (int i = 0; i < 3; ++i) {
    node.pass(60'000);
    EXPECT_EQ(node.validate(s.id, home), verdict::valid);
  }
  const auto report = node.try_policy(with_threshold(5)).report;
  EXPECT_EQ(report.totals.refused, 3U);
  EXPECT_TRUE(report.totals.approximate);
}

TEST(what_if, repeats_are_told_apart_by_the_whole_address_and_not_by_its_network) {
  const auto collapsing =
      changed(with_threshold(2), [](policy_book& book) { book.lockout.repeat_collapse_s = 600; });
  for (const auto& [second, locks] : {std::pair("2001:db8::2", 1U), std::pair("2001:db8::1", 0U)}) {
    lived node(with_threshold(10));
    const auto s = node.sign_in();
    fail(node, s.id, 1, context_of("2001:db8::1"));
    fail(node, s.id, 1, context_of(second));
    auto report = node.try_policy(collapsing).report;
    EXPECT_EQ(report.totals.users.other, locks) << second;
    EXPECT_FALSE(report.totals.approximate);
    node.forget("alice");
    report = node.try_policy(collapsing).report;
    EXPECT_EQ(report.totals.users.other, 0U) << "one source is taken as one address";
  }
}

TEST(what_if, a_lockout_by_repeats_of_who_is_forgotten_says_approximate) {
  const auto collapsing =
      changed(with_threshold(2), [](policy_book& book) { book.lockout.repeat_collapse_s = 600; });
  lived node(with_threshold(10));
  const auto s = node.sign_in();
  fail(node, s.id, 1);
  fail(node, s.id, 1, elsewhere);
  node.forget("alice");
  const auto report = node.try_policy(collapsing).report;
  EXPECT_EQ(report.totals.users.more, 1U);
  EXPECT_TRUE(report.totals.approximate);
}

// --- findings

policy_book binding(ip_binding how, int prefix_v4 = 32) {
  auto book = with_threshold(3);
  book.session.ip_binding = how;
  book.session.ip_prefix_v4 = prefix_v4;
  return book;
}

TEST(what_if, an_address_that_is_only_observed_fails_nobody) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3);
  for (const auto how : {ip_binding::observe, ip_binding::challenge, ip_binding::off}) {
    const auto report = node.try_policy(binding(how)).report;
    EXPECT_EQ(report.totals.users, (lockout_difference{1, 0, 0, 1}));
    EXPECT_FALSE(report.totals.approximate);
  }
}

TEST(what_if, a_device_that_differs_fails_whatever_the_address_is) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3, context_of("198.51.100.9", "curl/8"));
  EXPECT_EQ(node.try_policy(binding(ip_binding::off)).report.totals.users,
            (lockout_difference{1, 1, 0, 0}));
  const auto nothing = changed(binding(ip_binding::off), [](policy_book& book) {
    book.session.enforced = bit(context_field::accept);
  });
  EXPECT_EQ(node.try_policy(nothing).report.totals.users, (lockout_difference{1, 0, 0, 1}));
}

TEST(what_if, addresses_are_compared_under_the_other_prefix) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3, next_door);
  EXPECT_EQ(node.try_policy(binding(ip_binding::enforce, 24)).report.totals.users,
            (lockout_difference{1, 0, 0, 1}));
  EXPECT_EQ(node.try_policy(binding(ip_binding::enforce, 26)).report.totals.users,
            (lockout_difference{1, 1, 0, 0}));
}

TEST(what_if, a_forgotten_user_is_taken_as_recorded_and_says_approximate) {
  lived node(with_threshold(3));
  const auto s = node.sign_in();
  fail(node, s.id, 3, next_door);
  node.forget("alice");
  const auto report = node.try_policy(binding(ip_binding::enforce, 24)).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{1, 1, 0, 0}));
  EXPECT_TRUE(report.totals.approximate);
}

TEST(what_if, a_tenant_has_its_own_policy) {
  lived node(with_threshold(3));
  const auto a = node.sign_in("alice", "acme"), b = node.sign_in("bob", "other");
  fail(node, a.id, 3);
  fail(node, b.id, 3);
  auto book = with_threshold(3);
  book.tenants["other"] = binding(ip_binding::off).session;
  const auto report = node.try_policy(book).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{2, 1, 0, 1}));
  ASSERT_EQ(report.rows.size(), 1U);
  EXPECT_EQ(report.rows.begin()->first.second, "other");
}

TEST(what_if, a_signal_is_at_least_one_failed_attempt_where_it_is_enforced) {
  lived node(binding(ip_binding::observe));
  const auto s = node.sign_in();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(node.validate(s.id, abroad), verdict::valid);
    node.pass(60'000);
  }
  const auto report = node.try_policy(binding(ip_binding::enforce)).report;
  EXPECT_EQ(report.totals.users, (lockout_difference{0, 1, 1, 0}));
  EXPECT_EQ(report.totals.refused, 0U) << "the requests that failed are no good ones";
  EXPECT_TRUE(report.totals.approximate);
  EXPECT_EQ(node.try_policy(binding(ip_binding::challenge)).report.rows.size(), 0U);
}

TEST(what_if, a_request_that_is_signalled_twice_fails_once) {
  auto book = binding(ip_binding::observe);
  book.session.enforced = 0;
  book.session.challenged = bit(context_field::user_agent);
  lived node(book);
  const auto s = node.sign_in();
  (void)node.validate(s.id, context_of("198.51.100.9", "curl/8"));
  const auto report = node.try_policy(changed(binding(ip_binding::enforce),
                                              [](policy_book& to) { to.lockout.threshold = 2; }))
                          .report;
  EXPECT_EQ(report.totals.users.other, 0U);
}

TEST(what_if, what_the_log_cannot_tell_is_said) {
  lived node(binding(ip_binding::off));
  (void)node.sign_in();
  auto other = binding(ip_binding::enforce);
  other.session.enforced |= bit(context_field::ja3);
  other.lockout.source_threshold = 5;
  const auto report = node.try_policy(other).report;
  EXPECT_THAT(report.notes, Contains(HasSubstr("addresses were not compared")));
  EXPECT_THAT(report.notes, Contains(HasSubstr("ja3 was not compared")));
  EXPECT_THAT(report.notes, Contains(HasSubstr("source_threshold")));
  EXPECT_TRUE(report.totals.approximate);
}

// --- what is counted

// Two actors: the attempts were decided before the revocation, and counted after it.
TEST(what_if, an_attempt_that_the_log_has_behind_its_sessions_end_is_still_one) {
  const std::pair<const char*, std::function<void(lived&, const lived::made&)>> ends[] = {
      {"tenant",
       [](lived& node, const lived::made&) { node.apply(node.tenant_revocation("acme")); }},
      {"user", [](lived& node, const lived::made&) { node.revoke_user(node.user()); }},
      {"session", [](lived& node, const lived::made& s) { node.revoke(s.handle); }},
      {"cap", [](lived& node, const lived::made&) { (void)node.sign_in(); }}};
  for (const auto& [what, end] : ends) {
    auto book = with_threshold(2);
    book.session.max_sessions_per_user = 1;
    book.session.on_cap = cap_action::evict_oldest;
    lived node(book);
    const auto s = node.sign_in();
    node.pass(5'000);
    const auto before = node.log.size();
    for (int i = 0; i < 2; ++i) EXPECT_EQ(node.validate(s.id, abroad), verdict::ip_mismatch);
    const auto counted = node.log.size();
    end(node, s);
    const auto at = [&](std::size_t i) {
      return node.log.begin() + static_cast<std::ptrdiff_t>(i);
    };
    std::rotate(at(before), at(counted), node.log.end());
    for (std::size_t i = before; i < node.log.size(); ++i) {
      auto& each = node.log[i];
      each.seq = i + 1;
      if (each.type() == event_type::session_created) each.session_seq = each.seq;
    }
    node.pass(5'000);
    EXPECT_EQ(node.log.front().seq, 1U);
    const auto own = node.try_policy(book).report;
    EXPECT_EQ(own.totals.users, (lockout_difference{1, 1, 0, 0})) << what;
    EXPECT_TRUE(own.rows.empty()) << what;
    EXPECT_FALSE(own.totals.approximate) << what;
    const auto lower = changed(book, [](policy_book& to) { to.lockout.threshold = 1; });
    EXPECT_EQ(node.try_policy(lower).report.totals.users, (lockout_difference{1, 1, 0, 0})) << what;
  }
}

TEST(what_if, an_attempt_on_a_session_that_the_other_world_had_ended_before_is_none) {
  auto book = with_threshold(2);
  lived node(book);
  const auto s = node.sign_in();
  node.pass(400'000);
  fail(node, s.id, 2);
  book.session.idle_ttl_s = 300;
  EXPECT_EQ(node.try_policy(book).report.totals.users, (lockout_difference{1, 0, 0, 1}));
}

TEST(what_if, examples_are_those_of_the_earliest_times_and_in_their_order) {
  what_if_tally tally({});
  std::vector<std::pair<millis, std::uint64_t>> expected;
  for (millis at_ms = 12; at_ms > 0; --at_ms) {  // as they become certain: a long lockout late
    for (const auto kind :
         {what_if_example::kind::lockout_more, what_if_example::kind::session_died}) {
      what_if_example one;
      one.what = kind;
      one.at_ms = at_ms;
      one.seq = static_cast<std::uint64_t>(100 + at_ms);
      tally.add(one);
      if (at_ms <= 10) expected.emplace_back(at_ms, one.seq);
    }
  }
  std::sort(expected.begin(), expected.end());
  std::vector<std::pair<millis, std::uint64_t>> told;
  for (const auto& each : tally.finish().examples) told.emplace_back(each.at_ms, each.seq);
  EXPECT_EQ(told, expected);
}

TEST(what_if, a_range_limits_what_is_counted_and_not_what_is_known) {
  lived node(with_threshold(10));
  const auto a = node.sign_in("alice"), b = node.sign_in("bob");
  fail(node, a.id, 5);
  const auto between_ms = node.now_ms;
  const auto seq = node.seq;
  node.pass(1'000);
  fail(node, b.id, 5);
  const auto more = [&](what_if_range range) {
    return node.try_policy(with_threshold(5), range).report.totals.users.more;
  };
  EXPECT_EQ(more({}), 2U);
  EXPECT_EQ(more({.from_ms = between_ms}), 1U);
  EXPECT_EQ(more({.to_ms = between_ms}), 1U);
  EXPECT_EQ(more({.from_seq = seq + 1}), 1U);
  EXPECT_EQ(more({.to_seq = seq}), 1U);
  EXPECT_EQ(more({.from_seq = seq + 3}), 1U) << "what came before is folded all the same";
}

}  // namespace
}  // namespace portcullis::core
