// Sessions that would have died or lived under another policy: each rule of docs/what_if.md has its
// example.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "what_if_cases.hpp"

namespace portcullis::core {
namespace {

using testing::Contains;
using testing::HasSubstr;

TEST(what_if, a_shorter_idle_time_ends_sessions_and_tells_which_were_used_after) {
  lived node(idle(900));
  const auto used = node.sign_in("alice"), left = node.sign_in("bob");
  node.pass(400'000);
  EXPECT_EQ(node.validate(used.id, home), verdict::valid);
  node.pass(1'000);
  const auto report = node.try_policy(idle(300)).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{2, 1, 0, 0}));
  EXPECT_TRUE(report.totals.approximate) << "activity is known up to the granularity";
  ASSERT_EQ(report.examples.size(), 2U);
  EXPECT_EQ(report.examples[0].cause, "idle");
  EXPECT_EQ(report.examples[0].at_ms, lived::start_ms + 300'000);
  (void)left;
}

TEST(what_if, a_use_past_the_range_is_not_counted) {
  lived node(idle(900));
  const auto s = node.sign_in("alice");
  node.pass(310'000);
  (void)node.sign_in("bob");
  node.pass(90'000);
  EXPECT_EQ(node.validate(s.id, home), verdict::valid);
  const auto until = [&](millis to_ms) {
    return node.try_policy(idle(300), {.to_ms = to_ms}, 0, 0, true).report.totals.sessions;
  };
  EXPECT_EQ(until(node.now_ms), (session_difference{1, 1, 0, 0}));
  EXPECT_EQ(until(node.now_ms - 1), (session_difference{1, 0, 0, 0}));
}

TEST(what_if, a_longer_idle_time_keeps_sessions_and_tells_which_were_asked_for) {
  lived node(idle(300));
  const auto asked = node.sign_in("alice");
  (void)node.sign_in("bob");
  node.pass(400'000);
  EXPECT_EQ(node.validate(asked.id, home), verdict::expired);
  node.pass(2'000);
  const auto report = node.try_policy(idle(900)).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{0, 0, 2, 1}));
}

TEST(what_if, an_absolute_time_is_exact_and_what_a_client_asked_for_stays) {
  lived node;
  auto command = node.creation("bob");
  (void)node.sign_in("alice");
  (void)node.user("bob");
  command.absolute_ttl_s = 700;
  (void)node.create(command);
  node.pass(650'000);
  (void)node.sign_in("cyd");  // the log goes on
  auto other = policy_book{};
  other.session.absolute_ttl_s = 600;
  other.session.idle_ttl_s = 600;
  const auto shorter = node.try_policy(other).report;
  EXPECT_EQ(shorter.totals.sessions.died, 2U);
  EXPECT_FALSE(shorter.totals.approximate);
  other = policy_book{};
  other.session.absolute_ttl_s = 86'400;
  node.pass(100'000);
  (void)node.sign_in("cyd");
  EXPECT_EQ(node.try_policy(other).report.totals.sessions, session_difference{});
}

TEST(what_if, a_cap_evicts_or_refuses_and_a_wider_one_does_not) {
  lived node;
  const auto first = node.sign_in();
  node.pass(2'000);
  const auto second = node.sign_in();
  node.pass(2'000);
  auto other = policy_book{};
  other.session.max_sessions_per_user = 1;
  other.session.on_cap = cap_action::evict_oldest;
  auto report = node.try_policy(other).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{1, 0, 0, 0}));
  EXPECT_EQ(report.examples[0].handle, first.handle);
  other.session.on_cap = cap_action::deny;
  node.pass(60'000);
  (void)node.validate(second.id, home);
  report = node.try_policy(other).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{1, 1, 0, 0}));
  EXPECT_EQ(report.examples[0].handle, second.handle);
  EXPECT_EQ(report.examples[0].cause, "cap");

  other.session.on_cap = cap_action::evict_oldest;
  lived capped(other);
  (void)capped.sign_in();
  capped.pass(2'000);
  (void)capped.sign_in();
  capped.pass(2'000);
  report = capped.try_policy({}).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{0, 0, 1, 0}));
  EXPECT_FALSE(report.totals.approximate);
}

TEST(what_if, the_session_that_a_lockout_revokes_dies_or_lives) {
  auto revoking = with_threshold(3);
  revoking.lockout.revoke_offending = true;
  lived lenient(with_threshold(3));
  const auto s = lenient.sign_in();
  fail(lenient, s.id, 3);
  auto report = lenient.try_policy(revoking).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{1, 0, 0, 0}));
  EXPECT_EQ(report.examples[0].cause, "lockout");
  lived strict(revoking);
  const auto t = strict.sign_in();
  fail(strict, t.id, 3);
  report = strict.try_policy(with_threshold(3)).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{0, 0, 1, 0}));
  EXPECT_EQ(strict.try_policy(revoking).report.totals.sessions, session_difference{});
}

policy_book capped(std::uint32_t most) {
  auto book = idle(900);
  book.session.touch_granularity_s = 30;
  book.session.max_sessions_per_user = most;
  book.session.on_cap = cap_action::evict_oldest;
  return book;
}

// The create that evicts stands behind the eviction.
TEST(what_if, a_range_that_ends_with_an_eviction_tells_no_difference_of_the_same_policy) {
  lived node(capped(1));
  (void)node.sign_in();
  node.pass(5'000);
  (void)node.sign_in();
  node.pass(5'000);
  ASSERT_EQ(node.log[1].type(), event_type::session_evicted);
  for (std::uint64_t to = 0; to <= node.log.size(); ++to) {
    const auto report = node.try_policy(capped(1), {.to_seq = to}).report;
    EXPECT_EQ(report.totals.sessions, session_difference{}) << to;
  }
}

// One that has run out, and is not swept, takes no place: also where it is not known when it ran
// out.
TEST(what_if, where_activity_is_gone_a_cap_evicts_nobody_for_who_ran_out) {
  for (const millis late_ms : {0, 500, 5'000}) {
    lived node(capped(3));
    (void)node.sign_in();
    auto short_one = node.creation("alice");
    short_one.idle_ttl_s = 60;
    (void)node.create(short_one);
    const auto used = node.sign_in();
    node.pass(59'000);
    EXPECT_EQ(node.validate(used.id, home), verdict::valid);
    node.now_ms += 1'000 + late_ms;
    (void)node.sign_in();
    node.pass(5'000);
    for (const auto& each : node.log) EXPECT_NE(each.type(), event_type::session_evicted);
    const auto report = node.try_policy(capped(3), {}, 0, node.log.size()).report;
    EXPECT_EQ(report.totals.sessions, session_difference{}) << late_ms;
  }
}

TEST(what_if, who_is_revoked_is_revoked_in_both_worlds) {
  lived node(idle(300));
  const auto s = node.sign_in();
  node.pass(100'000);
  node.revoke(s.handle);
  node.pass(400'000);
  EXPECT_EQ(node.try_policy(idle(900)).report.totals.sessions, session_difference{});
  lived all(idle(300));
  (void)all.sign_in();
  all.pass(100'000);
  all.revoke_user(all.user());
  all.pass(400'000);
  EXPECT_EQ(all.try_policy(idle(900)).report.totals.sessions, session_difference{});
}

TEST(what_if, failed_attempts_that_pass_keep_a_session_alive) {
  lived node(idle(300));
  const auto s = node.sign_in();
  fail(node, s.id, 3, abroad, 200'000);
  EXPECT_EQ(
      node.try_policy(changed(idle(300),
                              [](policy_book& book) { book.session.ip_binding = ip_binding::off; }))
          .report.totals.sessions.lived,
      1U);
}

TEST(what_if, sessions_and_counters_of_before_a_cut_are_in_both_worlds) {
  lived node(with_threshold(10));
  const auto s = node.sign_in();
  fail(node, s.id, 4);
  const auto cut = node.log.size();
  fail(node, s.id, 2);
  const auto report = node.try_policy(with_threshold(5), {}, cut).report;
  EXPECT_EQ(report.totals.users.more, 1U);
  node.pass(500'000);
  (void)node.validate(s.id, home);
  EXPECT_EQ(node.try_policy(idle(300), {}, cut).report.totals.sessions,
            (session_difference{1, 1, 0, 0}));
}

TEST(what_if, a_session_whose_activity_before_a_cut_is_gone_may_have_been_used_until_then) {
  auto book = idle(900);
  book.lockout.threshold = 3;
  lived node(book);
  const auto s = node.sign_in();
  for (int i = 0; i < 5; ++i) {
    node.pass(600'000);
    EXPECT_EQ(node.validate(s.id, home), verdict::valid);
  }
  const auto cut = node.log.size();
  node.pass(600'000);
  fail(node, s.id, 3);
  const auto own = node.try_policy(node.policies, {}, cut, cut).report;
  EXPECT_TRUE(own.rows.empty());
  EXPECT_EQ(own.totals.users, (lockout_difference{1, 1, 0, 0}));
  EXPECT_THAT(own.notes, Contains(HasSubstr("old records of activity are gone")));
  // Not used for 600 s, whatever was before.
  const auto shorter = changed(node.policies, [](policy_book& to) { to.session.idle_ttl_s = 300; });
  EXPECT_EQ(node.try_policy(shorter, {}, cut, cut).report.totals.users,
            (lockout_difference{1, 0, 0, 1}));
}

TEST(what_if, a_session_whose_last_use_only_the_other_world_refuses_dies_there) {
  auto observing = idle(900);
  observing.session.ip_binding = ip_binding::observe;
  const auto enforcing = idle(900);
  lived node(observing);
  const auto s = node.sign_in();
  node.pass(600'000);
  EXPECT_EQ(node.validate(s.id, abroad), verdict::valid);
  node.pass(1'000'000);
  const auto report = node.try_policy(enforcing).report;
  EXPECT_EQ(report.totals.sessions, (session_difference{1, 0, 0, 0}));
  ASSERT_EQ(report.examples.size(), 1U);
  EXPECT_EQ(report.examples[0].at_ms, lived::start_ms + 900'000);
}

TEST(what_if, so_does_one_whose_user_it_alone_locks_out) {
  auto book = with_threshold(10);
  book.session.idle_ttl_s = 900;
  lived node(book);
  const auto s = node.sign_in();
  node.pass(500'000);
  fail(node, s.id, 5);
  EXPECT_EQ(node.validate(s.id, home), verdict::valid);
  node.pass(1'000'000);
  EXPECT_EQ(node.try_policy(changed(book, [](policy_book& to) { to.lockout.threshold = 5; }))
                .report.totals.sessions.died,
            1U);
}

TEST(what_if, where_activity_is_gone_idle_times_are_as_recorded_and_that_is_said) {
  lived node(idle(900));
  const auto s = node.sign_in();
  for (int i = 0; i < 15; ++i) {
    node.pass(200'000);
    EXPECT_EQ(node.validate(s.id, home), verdict::valid);
  }
  node.update(s.id, "{}");
  node.pass(1'000'000);
  const auto report = node.try_policy(idle(300), {}, 0, node.log.size()).report;
  EXPECT_THAT(report.notes, Contains(HasSubstr("old records of activity are gone")));
  EXPECT_EQ(report.totals.sessions.died_in_use, 0U);
}

}  // namespace
}  // namespace portcullis::core
