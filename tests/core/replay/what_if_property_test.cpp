// The policy of a log gives no difference, and what is not called approximate is exactly what a
// node under the other policy would have done, whatever happened.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "random_life.hpp"

namespace portcullis::core {
namespace {

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
  random_life life(any_policy());
  const auto steps = *rc::gen::inRange(1, 120);
  for (int i = 0; i < steps; ++i) life.step();
  if (life.node.log.empty()) return;
  const auto cut = *rc::gen::inRange<std::size_t>(0, life.node.log.size());
  const auto gone = *rc::gen::inRange<std::size_t>(0, life.node.log.size() + 1);
  const auto tried = life.node.try_policy(life.node.policies, {}, cut, gone);
  for (const auto& each : tried.report.examples)
    RC_LOG() << to_string(each.what) << " of event " << each.seq << " (" << each.cause << ")\n";
  RC_ASSERT(tried.report.rows.empty());
}

RC_GTEST_PROP(what_if, reading_past_the_range_changes_nothing_once_it_is_settled, ()) {
  random_life life(any_policy());
  const auto steps = *rc::gen::inRange(1, 120);
  for (int i = 0; i < steps; ++i) life.step();
  what_if_range range;
  range.to_seq = *rc::gen::inRange<std::uint64_t>(0, life.node.seq + 1);
  const auto other = any_policy();
  const auto early = life.node.try_policy(other, range).report;
  const auto late = life.node.try_policy(other, range, 0, 0, true).report;
  RC_ASSERT(early.totals.users == late.totals.users);
  RC_ASSERT(early.totals.sources == late.totals.sources);
  RC_ASSERT(early.totals.sessions == late.totals.sessions);
  RC_ASSERT(early.totals.refused == late.totals.refused);
  RC_ASSERT(early.examples.size() == late.examples.size());
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

}  // namespace
}  // namespace portcullis::core
