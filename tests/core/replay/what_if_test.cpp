// Another policy over the same attempts: the same policy gives no difference, a stricter one gives
// exactly what it would have given, and each rule of docs/what_if.md has its example.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "lived.hpp"

namespace portcullis::core {
namespace {

using testing::Contains;
using testing::HasSubstr;

const context home = context_of("192.0.2.7");
const context abroad = context_of("198.51.100.9");
const context elsewhere = context_of("203.0.113.5");
const context next_door = context_of("192.0.2.99");
const context other_agent = context_of("192.0.2.7", "curl/8");

policy_book with_threshold(std::uint32_t threshold) {
  policy_book book;
  book.lockout.threshold = threshold;
  return book;
}
template <class Change>
policy_book changed(policy_book book, Change&& change) {
  change(book);
  return book;
}

// --- properties

/// A policy with a bit of everything.
policy_book any_policy() {
  policy_book book;
  book.lockout.threshold = *rc::gen::inRange(1U, 6U);
  book.lockout.window_s = *rc::gen::element<std::int64_t>(20, 60, 900);
  book.lockout.duration_s = *rc::gen::element<std::int64_t>(10, 60, 900);
  book.lockout.scope = *rc::gen::element(lockout_scope::user, lockout_scope::user_source);
  book.lockout.user_threshold = *rc::gen::inRange(4U, 12U);
  book.lockout.repeat_collapse_s = *rc::gen::element<std::int64_t>(0, 0, 5, 60);
  book.lockout.revoke_offending = *rc::gen::arbitrary<bool>();
  book.session.max_sessions_per_user = *rc::gen::element(0U, 1U, 2U);
  book.session.on_cap = cap_action::evict_oldest;
  book.session.idle_ttl_s = *rc::gen::element<std::int64_t>(120, 900);
  book.session.absolute_ttl_s = *rc::gen::element<std::int64_t>(300, 43'200);
  book.session.ip_binding =
      *rc::gen::element(ip_binding::enforce, ip_binding::enforce, ip_binding::observe,
                        ip_binding::challenge, ip_binding::off);
  return book;
}

/// Anything that can happen to a few users.
class random_life {
 public:
  explicit random_life(policy_book book) : node(std::move(book)) {}
  void step() {
    static constexpr std::string_view users[] = {"alice", "bob"};
    const auto who = users[*rc::gen::inRange(0, 2)];
    switch (*rc::gen::inRange(0, 12)) {
      case 0:
      case 1:
        ids.push_back(node.sign_in(who).id);
        break;
      case 2:
        with_any([&](const session_id& id) { (void)node.validate(id, home); });
        break;
      case 3:
      case 4:
      case 5:
        with_any([&](const session_id& id) {
          const context* from[] = {&abroad, &abroad, &elsewhere, &next_door, &other_agent};
          const auto& presented = *from[*rc::gen::inRange(0, 5)];
          for (auto n = *rc::gen::inRange(1, 4); n > 0; --n) (void)node.validate(id, presented);
        });
        break;
      case 6:
        with_any([&](const session_id& id) {
          if (node.verdict_of(id) == verdict::valid) ids.push_back(node.rotate(id));
        });
        break;
      case 7:
        with_any([&](const session_id& id) {
          if (node.verdict_of(id) == verdict::valid) node.update(id, "{\"u\":2}");
        });
        break;
      case 8:
        node.clear(who);
        break;
      case 9:
        if (*rc::gen::inRange(0, 4) == 0) node.revoke_user(node.user(who));
        if (*rc::gen::inRange(0, 8) == 0) node.forget(who);
        break;
      case 10:
      case 11:
        break;
    }
    node.pass(*rc::gen::element<millis>(1, 300, 1'000, 7'000, 31'000, 61'000, 400'000));
  }
  lived node;
  std::vector<session_id> ids;

 private:
  template <class Do>
  void with_any(Do&& act) {
    if (!ids.empty())
      act(ids[static_cast<std::size_t>(*rc::gen::inRange<int>(0, static_cast<int>(ids.size())))]);
  }
};

RC_GTEST_PROP(what_if, the_policy_of_the_log_gives_no_difference, ()) {
  random_life life(any_policy());
  const auto steps = *rc::gen::inRange(1, 120);
  for (int i = 0; i < steps; ++i) life.step();
  const auto tried = life.node.try_policy(life.node.policies);
  RC_ASSERT(tried.report.rows.empty());
  RC_ASSERT(!tried.report.totals.approximate);
  RC_ASSERT(tried.report.totals.users.recorded + tried.report.totals.sources.recorded ==
            life.node.started.size());
  RC_ASSERT(tried.locks == life.node.started);
}

RC_GTEST_PROP(what_if, nor_where_the_beginning_was_cut_off_or_activity_is_gone, ()) {
  const bool forgetful = *rc::gen::arbitrary<bool>();
  auto policy = any_policy();
  // Whom a cap evicts depends on who is idle, up to the sweep that tells: seconds later, here.
  if (forgetful) policy.session.max_sessions_per_user = 0;
  random_life life(policy);
  const auto steps = *rc::gen::inRange(1, 120);
  for (int i = 0; i < steps; ++i) life.step();
  if (life.node.log.empty()) return;
  const auto cut = *rc::gen::inRange<std::size_t>(0, life.node.log.size());
  const auto tried = life.node.try_policy(life.node.policies, {}, cut, forgetful);
  for (const auto& each : tried.report.examples)
    RC_LOG() << to_string(each.what) << " of event " << each.seq << " (" << each.cause << ")\n";
  RC_ASSERT(tried.report.rows.empty());
}

/// The same attempts under two policies.
struct two_lives {
  two_lives(const policy_book& a, const policy_book& b) : recorded(a), other(b) {}
  void sign_in(std::string_view name) {
    ids.emplace_back(recorded.sign_in(name).id, other.sign_in(name).id);
  }
  void validate(std::size_t whose, const context& presented) {
    (void)recorded.validate(ids[whose].first, presented);
    (void)other.validate(ids[whose].second, presented);
  }
  void pass(millis time_ms) {
    recorded.pass(time_ms);
    other.pass(time_ms);
  }
  lived recorded, other;
  std::vector<std::pair<session_id, session_id>> ids;
};

std::vector<lived::lock> sorted(std::vector<lived::lock> locks) {
  // Sources are hashed under keys of each node's own.
  for (auto& each : locks)
    if (each.source) each.source = short_hash{};
  std::sort(locks.begin(), locks.end());
  return locks;
}

policy_book long_lived(std::uint32_t threshold) {
  auto book = with_threshold(threshold);
  book.session.idle_ttl_s = book.session.absolute_ttl_s = 100 * 86'400;
  return book;
}

RC_GTEST_PROP(what_if, what_is_not_called_approximate_is_exactly_what_would_have_been, ()) {
  auto a = long_lived(*rc::gen::inRange(2U, 8U));
  a.lockout.window_s = *rc::gen::element<std::int64_t>(30, 900);
  a.lockout.scope = *rc::gen::element(lockout_scope::user, lockout_scope::user_source);
  a.lockout.user_threshold = a.lockout.threshold * 2;
  auto b = a;
  b.lockout.threshold = *rc::gen::inRange(1U, a.lockout.threshold + 1);
  b.lockout.window_s = *rc::gen::element<std::int64_t>(30, 900);
  b.lockout.duration_s = *rc::gen::element<std::int64_t>(60, 900);
  b.lockout.scope = *rc::gen::element(lockout_scope::user, lockout_scope::user_source);
  b.session.ip_prefix_v4 = *rc::gen::element(32, 24);
  two_lives both(a, b);
  both.sign_in("alice");
  both.sign_in("bob");
  const auto steps = *rc::gen::inRange(1, 80);
  for (int i = 0; i < steps; ++i) {
    const auto whose = static_cast<std::size_t>(*rc::gen::inRange(0, 2));
    const context* from[] = {&home, &abroad, &abroad, &elsewhere, &next_door, &other_agent};
    both.validate(whose, *from[*rc::gen::inRange(0, 6)]);
    both.pass(*rc::gen::element<millis>(1, 900, 5'000, 40'000, 300'000));
  }
  both.pass(2'000);  // what is gathered gets into the log
  const auto tried = both.recorded.try_policy(b);
  RC_CLASSIFY(tried.report.totals.approximate, "approximate");
  RC_CLASSIFY(!both.other.started.empty(), "with lockouts");
  const auto& totals = tried.report.totals;
  RC_ASSERT(totals.users.other + totals.sources.other == tried.locks.size());
  if (totals.approximate) return;
  RC_ASSERT(sorted(tried.locks) == sorted(both.other.started));
}

RC_GTEST_PROP(what_if, where_all_attempts_fail_even_the_estimate_is_exact, ()) {
  const auto a = long_lived(*rc::gen::inRange(1U, 8U));
  auto b = long_lived(*rc::gen::inRange(1U, 12U));
  b.lockout.duration_s = *rc::gen::element<std::int64_t>(60, 900);
  two_lives both(a, b);
  both.sign_in("alice");
  both.sign_in("bob");
  const auto steps = *rc::gen::inRange(1, 80);
  for (int i = 0; i < steps; ++i) {
    both.validate(static_cast<std::size_t>(*rc::gen::inRange(0, 2)), abroad);
    both.pass(*rc::gen::element<millis>(1'000, 5'000, 40'000, 300'000));
  }
  both.pass(1'000);
  RC_ASSERT(sorted(both.recorded.try_policy(b).locks) == sorted(both.other.started));
}

// --- lockouts

void fail(lived& node, const session_id& id, int times, const context& from = abroad,
          millis apart_ms = 2'000) {
  for (int i = 0; i < times; ++i) {
    (void)node.validate(id, from);
    node.pass(apart_ms);
  }
}

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

// --- sessions

policy_book idle(std::int64_t ttl_s) {
  policy_book book;
  book.session.idle_ttl_s = ttl_s;
  book.session.touch_granularity_s = std::min<std::int64_t>(60, ttl_s / 2);
  return book;
}

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

TEST(what_if, where_activity_is_gone_idle_times_are_as_recorded_and_that_is_said) {
  lived node(idle(900));
  const auto s = node.sign_in();
  for (int i = 0; i < 15; ++i) {
    node.pass(200'000);
    EXPECT_EQ(node.validate(s.id, home), verdict::valid);
  }
  node.update(s.id, "{}");
  node.pass(1'000'000);
  const auto report = node.try_policy(idle(300), {}, 0, true).report;
  EXPECT_THAT(report.notes, Contains(HasSubstr("old records of activity are gone")));
  EXPECT_EQ(report.totals.sessions.died_in_use, 0U);
}

// --- what is counted

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
